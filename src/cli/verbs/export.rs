//! `voisin export`.

use anyhow::bail;

use crate::base::address;
use crate::cli::Ending;
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::remote::PULL;
use crate::cli::render::{self, count};
use crate::cli::source::LibraryTarget;
use crate::engine::{Engine, export};
use crate::library::Library;

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    if args.format != ExportFormat::Parquet && address::scheme(&args.output).is_some() {
        bail!(
            "expected a folder on this machine, found the address {}: only --format parquet goes there",
            args.output.display()
        );
    }
    let engine = engine(context, args)?;
    if args.format == ExportFormat::Parquet {
        return columnar::export(&engine, args);
    }
    let of_parquet = [
        ("--compression", args.compression.compression.is_some()),
        ("--changes", args.changes),
    ];
    if let Some((name, _)) = of_parquet.iter().find(|(_, given)| *given) {
        bail!("{name}: expected with it --format parquet");
    }
    let summary = export(&engine, &args.output, !args.no_windows, args.force)?;
    let text = format!(
        "{} and {} of {} dimensions in {}",
        count(summary.tracks as u64, "track"),
        count(summary.windows as u64, "window"),
        summary.dimension,
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(if summary.tracks == 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

fn engine(context: &Context, args: &ExportArgs) -> anyhow::Result<Engine> {
    match LibraryTarget::open_remote(context, &args.backend, !args.no_windows)? {
        Some(LibraryTarget::Remote { mut remote, sample }) => {
            if args.changes {
                bail!("--changes: expected a library on this disk, found a backend: {PULL}");
            }
            remote.take_exact();
            remote.fetch_some(sample)?;
            let (engine, folder) = remote.into_parts();
            context.keep(folder);
            Ok(engine)
        }
        _ => Ok(Engine::from_library(Library::open_to_read(
            &context.library_dir(),
        )?)),
    }
}
