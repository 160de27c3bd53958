//! `voisin list --failed`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, Output};
use crate::cli::context::Context;
use crate::cli::render;
use crate::cli::render::Align;
use crate::cli::render::safe::table_path;
use crate::cli::render::track::{Column, print_rows};
use voisin::Engine;
use voisin::questions::answers::failed::FailureJson;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_library::{Failure, Library};

pub(crate) fn run(context: &Context, output: &Output) -> anyhow::Result<Ending> {
    let engine = Engine::from_library(Library::open_to_read(&context.library_dir())?);
    let failures = engine.library().failures()?;
    if output.format == ListFormat::Table {
        // One line a file, reason last; not cut, since the reason matters most.
        for failure in &failures {
            let line = format!("{}: {}", failure.path.display(), failure.reason);
            render::print_line(&render::one_line(&line))?;
        }
        if failures.is_empty() {
            context.console.note("no file has failed");
        }
        return Ok(Ending::Fine);
    }
    let column = |field: &str, cell: fn(&Failure) -> String| {
        Column::plain("", field, Align::Left, &failures, cell)
    };
    let columns = [
        column("path", |failure| table_path(&failure.path)),
        column("reason", |failure| failure.reason.clone()),
        column("attempts", |failure| failure.attempts.to_string()),
    ];
    // Not in the library, so without an id: a playlist needs only the path.
    let file = |failure: &Failure| TrackMeta::of_file(TrackId(0), &failure.path);
    let files: Vec<TrackMeta> = failures.iter().map(file).collect();
    let json = FailureJson::list(&failures);
    print_rows(&columns, &json, &files, "voisin list --failed", output)?;
    Ok(Ending::Fine)
}
