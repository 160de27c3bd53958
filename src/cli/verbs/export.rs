//! `voisin export`.

use super::backup;
use crate::cli::Ending;
use crate::cli::args::ExportArgs;
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::outputs::check_output_folder;
use crate::cli::render::{self, count};
use voisin::{EXPORT_FILES, Engine, export};
use voisin_library::Library;

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    let is_file = |ending: &str| args.output.extension().is_some_and(|found| found == ending);
    if is_file("db") {
        return backup::run(context, &args.output);
    }
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = &Engine::from_library(library);
    if is_file("parquet") {
        return columnar::export(context, engine, &args.output);
    }
    check_output_folder(context, &args.output, &EXPORT_FILES)?;
    let summary = export(engine, &args.output)?;
    let text = format!(
        "{} of {} dimensions in {}",
        count(summary.tracks as u64, "track"),
        summary.dimension,
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::partial_if(summary.tracks == 0))
}
