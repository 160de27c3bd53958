//! `voisin show`.

use crate::cli::Ending;
use crate::cli::args::{ReportFormat, ShowArgs};
use crate::cli::context::Context;
use crate::cli::render::list::print_cards;
use crate::cli::seeds::{expand_names, library_seeds};
use crate::cli::source::Source;

pub(crate) fn run(context: &Context, args: &ShowArgs) -> anyhow::Result<Ending> {
    let named = expand_names(&args.tracks)?;
    let mut source = Source::open(context)?;
    source.fetch(&named)?;
    let seeds = library_seeds(context, source.engine(), &named)?;
    let mut standings = Vec::new();
    // A database sends only a part of the library, which has no standing.
    if args.format == ReportFormat::Table && source.is_local() {
        for seed in &seeds {
            let seed = std::slice::from_ref(seed);
            standings.push(source.engine().standing(seed)?);
        }
    }
    let cards = source.cards(context, seeds, |news| {
        context.console.detail(&news.text);
    })?;
    for (standing, card) in standings.iter_mut().zip(&cards) {
        let similarities = card.nearest.iter().map(|found| found.similarity);
        *standing = standing.take().map(|known| known.beside(similarities));
    }
    print_cards(&cards, &standings, args.format)?;
    Ok(Ending::partial_if(cards.is_empty()))
}
