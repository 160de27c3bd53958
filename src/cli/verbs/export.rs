//! `voisin export`.

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::interrupt;
use crate::cli::remote::PULL;
use crate::cli::render::{self, count};
use crate::cli::source;
use voisin_base::address;
use voisin_engine::export;

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    if args.format != ExportFormat::Parquet && address::scheme(&args.output).is_some() {
        bail!(
            "expected a folder on this machine, found the address {}: only --format parquet goes there",
            args.output.display()
        );
    }
    let mut source = source::open_to_read(context, &args.backend)?;
    if args.changes && source.is_remote() {
        bail!("--changes: expected a library on this disk, found a backend: {PULL}");
    }
    // Exact vectors, as 16 bits would lose digits.
    source.set_vectors(!args.no_windows, true);
    source.fetch_all(args.backend.sample.map(|sample| sample.of(usize::MAX)))?;
    let engine = source.engine();
    if args.format == ExportFormat::Parquet {
        return columnar::export(engine, args);
    }
    let of_parquet = [
        ("--compression", args.compression.compression.is_some()),
        ("--changes", args.changes),
    ];
    if let Some((name, _)) = of_parquet.iter().find(|(_, given)| *given) {
        bail!("{name}: expected with it --format parquet");
    }
    // If that fails, Ctrl-C leaves temporary files behind.
    let _ = interrupt::install_handler();
    let summary = export(engine, &args.output, !args.no_windows, args.force)?;
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
