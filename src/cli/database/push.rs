//! `voisin push`.

use std::time::{Duration, Instant};

use voisin_exchange::postgres::{BackendError, PushSummary, ddl, push};

use super::place;
use crate::cli::Ending;
use crate::cli::args::{PushArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, count, grouped};
use voisin::Engine;
use voisin_library::Library;

const PAUSE: Duration = Duration::from_secs(5);

pub(crate) fn run(context: &Context, args: &PushArgs) -> anyhow::Result<Ending> {
    // Read-only, so that a push neither blocks nor waits for a running `add`.
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = Engine::from_library(library);
    let model = engine.model()?;
    if args.print_ddl {
        render::print_line(&ddl::print(model.dimension))?;
        return Ok(Ending::Fine);
    }
    let place = place(args.to.as_deref(), "--to")?;
    let stop =
        context.stop_with_message("stopping after this batch (Ctrl-C again to stop at once)")?;
    let console = context.console;
    let mut last_shown = Instant::now();
    let mut progress = |done: usize, total: usize| {
        // Millions of tracks have thousands of batches, too many for a log.
        if last_shown.elapsed() > PAUSE {
            last_shown = Instant::now();
            console.note(&format!(
                "{} of {}",
                grouped(done as u64),
                count(total as u64, "track")
            ));
        }
    };
    let summary = match push(&engine, &place, &mut progress, &stop) {
        Err(BackendError::Interrupted) => {
            console.note("interrupted: the database is as it was");
            return Ok(Ending::Interrupted);
        }
        summary => summary?,
    };
    let PushSummary {
        added,
        updated,
        unchanged,
        removed,
        seconds,
    } = summary;
    match args.format {
        ReportFormat::Json => render::print_json(&summary)?,
        ReportFormat::Table => render::print_line(&format!(
            "added {added}, updated {updated}, unchanged {unchanged}, removed {removed} in {seconds:.1} s"
        ))?,
    }
    Ok(Ending::Fine)
}
