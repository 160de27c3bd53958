//! `voisin pull`.

use voisin_exchange::postgres::{BackendError, Postgres, pull};

use super::place;
use crate::cli::Ending;
use crate::cli::args::PullArgs;
use crate::cli::context::Context;
use crate::cli::merge_outcome::finish;
use crate::cli::render::count;
use voisin_library::OpenMode;

pub(crate) fn run(context: &Context, args: &PullArgs) -> anyhow::Result<Ending> {
    let place = place(args.from.as_deref(), "--from")?;
    let mut store = Postgres::open(&place)?;
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    // One writer at a time: an `add` meanwhile would see an incomplete library.
    let lock = engine.library().lock_for_writing()?;
    let stop =
        context.stop_with_message("stopping after this batch (Ctrl-C again to stop at once)")?;
    let (taken, removed) = match pull(&mut store, &mut engine, &stop) {
        Err(BackendError::Interrupted) => {
            context
                .console
                .note("interrupted: fetched tracks are kept; the same command resumes from here");
            return Ok(Ending::Interrupted);
        }
        pulled => pulled?,
    };
    if removed > 0 {
        context.console.note(&format!(
            "{} removed, as in the database",
            count(removed, "track")
        ));
    }
    let ending = finish(context, &mut engine, taken, args.format)?;
    // Held until `finish` has updated the index.
    drop(lock);
    Ok(ending)
}
