//! `voisin export`.

use crate::cli::Ending;
use crate::cli::args::ExportArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::engine::{Engine, export};
use crate::library::Library;

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    let engine = Engine::from_library(Library::open_to_read(&context.library_dir())?);
    let summary = export(&engine, &args.output, !args.no_windows)?;
    let text = format!(
        "{} and {} of {} dimensions in {}",
        count(summary.tracks as u64, "track"),
        count(summary.windows as u64, "window"),
        summary.dimension,
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(if summary.tracks == 0 { Ending::Partial } else { Ending::Fine })
}
