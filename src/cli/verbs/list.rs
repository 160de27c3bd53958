//! `voisin list`.

use crate::cli::Ending;
use crate::cli::args::ListArgs;
use crate::cli::context::Context;
use crate::cli::render::list::print_page;
use crate::cli::sound::with_compatible_keys;
use crate::engine::TrackQuery;

pub(crate) fn run(context: &Context, args: &ListArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let engine = context.open_engine()?;
    let page = engine.list(&TrackQuery {
        words: args.words.join(" "),
        filter: with_compatible_keys(
            &engine,
            args.filters.filter(engine.library())?,
            &args.filters.sound,
            &[],
        )?,
        sort: args.sort,
        descending: args.reverse,
        limit: Some(args.limit.of(engine.library().status()?.tracks as usize)),
        after: None,
    })?;
    if page.tracks.is_empty() {
        context.console.note("nothing found: loosen the filters or add more music");
    }
    print_page(&page, &args.output)?;
    Ok(if page.tracks.is_empty() { Ending::Partial } else { Ending::Fine })
}
