//! `voisin list --failed`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, ListOutput};
use crate::cli::context::Context;
use crate::cli::render;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::print_files;
use voisin::Engine;
use voisin::questions::answers::failed::FailureJson;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_library::Library;

pub(crate) fn run(context: &Context, output: &ListOutput) -> anyhow::Result<Ending> {
    let engine = Engine::from_library(Library::open_to_read(&context.library_dir())?);
    let failures = engine.library().failures()?;
    match output.format {
        ListFormat::Table => {
            // One line a file, reason last; not cut, since the reason matters most.
            for failure in &failures {
                let line = format!("{}: {}", failure.path.display(), failure.reason);
                render::print_line(&render::one_line(&line))?;
            }
            if failures.is_empty() {
                context.console.note("no file has failed");
            }
        }
        ListFormat::Json => {
            render::print_json(&FailureJson::list(&failures))?;
        }
        ListFormat::Csv => render::print_csv(
            ["path", "reason", "attempts"],
            failures.iter().map(|failure| {
                [
                    table_path(&failure.path),
                    failure.reason.clone(),
                    failure.attempts.to_string(),
                ]
            }),
        )?,
        _ => {
            let tracks: Vec<TrackMeta> = failures
                .iter()
                // Not in the library, so without an id: a playlist needs only the path.
                .map(|failure| TrackMeta::of_file(TrackId(0), &failure.path))
                .collect();
            print_files(&tracks, "voisin list --failed", output)?;
        }
    }
    Ok(Ending::Fine)
}
