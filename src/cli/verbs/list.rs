//! `voisin list`.

use super::failed;
use crate::cli::Ending;
use crate::cli::args::{ListArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::render::list::print_page;
use crate::cli::source::{Source, warn_of_lost_labels};
use voisin_base::text::did_you_mean;
use voisin_base::track::TrackId;
use voisin_library::SortBy;

const WORDS: usize = 5;

pub(crate) fn run(context: &Context, args: &ListArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    if args.failed {
        return failed::run(context, &output);
    }
    let mut source = Source::open(context)?;
    warn_of_lost_labels(context, source.engine());
    let question = &args.question;
    source.fetch_filters(&question.filters)?;
    let query = question.query(source.engine())?;
    let page = source.list(&query)?;
    let engine = source.engine();
    if page.tracks.is_empty() {
        // Words without a match are most often misspelt.
        let alike = engine.library().spelt_alike(&query.words, 3)?;
        let alike = engine.library().tracks_by_id(&alike)?;
        let alike: Vec<String> = alike
            .iter()
            .map(|track| format!("{} (id:{})", track.display_name(), track.id))
            .collect();
        let hint = did_you_mean(&alike);
        context.nothing_found(&question.filters, &hint);
    }
    // In formats with room for them, or if filtered by.
    let wants_words = matches!(output.format, ListFormat::Json | ListFormat::Csv)
        || output.format == ListFormat::Table && !query.filter.words.is_empty();
    let tags = if wants_words && !page.tracks.is_empty() {
        engine.predicted_tags_if_any()?
    } else {
        None
    };
    let ids: Vec<TrackId> = page.tracks.iter().map(|track| track.id).collect();
    let words = tags
        .map(|tags| tags.strongest(&ids, WORDS))
        .unwrap_or_default();
    // Only scales that the query filters or sorts by get a column; all would not fit.
    let sorted = match query.sort {
        SortBy::Scale(name) => Some(name),
        _ => None,
    };
    let filtered = query.filter.scales.iter().map(|bound| bound.scale);
    let shown = filtered.chain(sorted).collect();
    print_page(&page, &words, query.sort == SortBy::Album, &shown, &output)?;
    Ok(Ending::partial_if(page.tracks.is_empty()))
}
