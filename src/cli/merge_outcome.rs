//! The end of a run that imported tracks of other libraries.

use super::Ending;
use super::args::ReportFormat;
use super::context::Context;
use super::render::{self, count};
use voisin::Engine;
use voisin_library::MergeOutcome;

/// Brings the index up to date and reports what was imported.
pub(crate) fn finish(
    context: &Context,
    engine: &mut Engine,
    taken: MergeOutcome,
    format: ReportFormat,
) -> anyhow::Result<Ending> {
    let MergeOutcome {
        added,
        updated,
        unchanged,
        refused,
        ..
    } = taken;
    // Data that `add` derives from vectors is computed here for the new ones: index, moods.
    if added + updated > 0 && engine.library().status()?.vectors > 0 {
        engine.maintain_index()?;
        engine.fill_moods()?;
    }
    if refused > 0 {
        context.console.warn(&format!(
            "{} left out; \"voisin list --failed\" lists new files of theirs. The first: {}",
            count(refused, "track"),
            taken.refusal.as_deref().unwrap_or_default()
        ));
    }
    match format {
        ReportFormat::Json => render::print_json(&taken)?,
        ReportFormat::Table => {
            render::print_line(&format!(
                "added {added}, updated {updated}, unchanged {unchanged}"
            ))?;
        }
    }
    Ok(Ending::partial_if(refused > 0))
}
