//! `voisin export`.

use crate::engine::{Engine, export};
use crate::library::OpenMode;

use super::Ending;
use super::args::ExportArgs;
use super::context::Context;
use super::render::{self, count};

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    let engine = Engine::open(&context.library_dir(), OpenMode::ReadOnly)?;
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
