//! `voisin push`.

use std::time::{Duration, Instant};

use voisin_exchange::postgres::{
    BackendError, Postgres, PushEvent, PushOptions, PushSummary, ddl, push,
};

use super::place;
use crate::cli::Ending;
use crate::cli::args::{PushArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, count, grouped};
use voisin::Engine;
use voisin_library::Library;

/// Time between two lines of progress.
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
    let options = PushOptions {
        index_memory: args.index_memory,
    };
    let stop =
        context.stop_with_message("stopping after this batch (Ctrl-C again to stop at once)")?;
    let console = context.console;
    let mut store = Postgres::open_or_create(&place, &model)?;
    let mut last_shown: Option<Instant> = None;
    let mut progress = |event: PushEvent| match event {
        // A push of millions of tracks has thousands of batches, too many for a log.
        PushEvent::Sent { done, total }
            if done < total && last_shown.is_some_and(|time| time.elapsed() < PAUSE) => {}
        PushEvent::Sent { done, total } => {
            last_shown = Some(Instant::now());
            console.note(&format!("{} of {}", grouped(done), count(total, "track")));
        }
        PushEvent::Indexing { needed, given } => {
            let [needed_mb, given_mb] =
                [needed, given].map(|bytes| grouped(bytes.div_ceil(1 << 20)));
            console.note(&format!(
                "building the vector index: it needs some {needed_mb} MB, maintenance_work_mem is {given_mb} MB"
            ));
            // No error: the resulting index is the same, it only takes longer.
            if needed > given {
                console.warn(&format!(
                    "the index does not fit into maintenance_work_mem, so building it takes many times longer: stop here (Ctrl-C twice) and push again with --index-memory {}",
                    needed.div_ceil(1 << 20)
                ));
            }
        }
    };
    let summary = match push(&engine, &mut store, &options, &mut progress, &stop) {
        Err(BackendError::Interrupted) => {
            console.note("interrupted: sent tracks are kept; the same command resumes from here");
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
        index_seconds,
    } = summary;
    match args.format {
        ReportFormat::Json => render::print_json(&summary)?,
        ReportFormat::Table => {
            let index = index_seconds
                .map_or_else(String::new, |seconds| format!(", index in {seconds:.1} s"));
            render::print_line(&format!(
                "added {added}, updated {updated}, unchanged {unchanged}, removed {removed} in {seconds:.1} s{index}"
            ))?;
        }
    }
    Ok(Ending::Fine)
}
