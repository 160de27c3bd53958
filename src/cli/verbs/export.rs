//! `voisin export`.

use crate::cli::Ending;
use crate::cli::args::ExportArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::engine::{Engine, export};
use crate::library::Library;

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    let engine = engine(context, args)?;
    #[cfg(feature = "parquet")]
    if args.format == crate::cli::args::ExportFormat::Parquet {
        let summary = voisin_parquet::export_parquet(&engine, &args.output, !args.no_windows)?;
        let text = format!(
            "{} and {} in {}",
            count(summary.tracks, "file"),
            count(summary.failures, "failure"),
            args.output.display()
        );
        render::print_line(&render::terminal_safe(&text))?;
        return Ok(if summary.tracks == 0 { Ending::Partial } else { Ending::Fine });
    }
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

#[cfg_attr(not(feature = "postgres"), allow(unused_variables))]
fn engine(context: &Context, args: &ExportArgs) -> anyhow::Result<Engine> {
    #[cfg(feature = "postgres")]
    if let Some(place) = crate::cli::source::place(args.backend.backend.as_deref())? {
        use crate::backend::{Postgres, Remote, TracksNeeded};
        let mut remote = Remote::open(Postgres::open(&place)?, !args.no_windows)?;
        context.listen_quietly(remote.engine());
        let most = args.backend.sample.map(|sample| sample.of(usize::MAX));
        remote.fetch_some(most.map_or(TracksNeeded::All, TracksNeeded::Sample))?;
        let (engine, folder) = remote.into_parts();
        context.keep(folder);
        return Ok(engine);
    }
    Ok(Engine::from_library(Library::open_to_read(&context.library_dir())?))
}
