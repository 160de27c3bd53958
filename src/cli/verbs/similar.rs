//! `voisin similar`.

mod passages;

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::SimilarArgs;
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::seeds::seeds;
use crate::cli::sound;
use crate::engine::SimilarOptions;

pub(crate) fn run(context: &Context, args: &SimilarArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    if let (Some(from), Some(to)) = (args.from, args.to) {
        if args.filters.sound.wants_compatible_keys() {
            bail!("--key compatible looks for whole tracks: name the keys, or leave out --from and --to");
        }
        return passages::run(context, &engine, args, from.0, to.0);
    }
    let wanted = seeds(context, &engine, &args.seeds)?;
    let options = SimilarOptions {
        unlike: seeds(context, &engine, &args.unlike)?,
        unlike_weight: args.unlike_weight,
        filter: sound::with_compatible_keys(&engine, args.filters.filter(), &args.filters.sound, &wanted)?,
        ..options(args)
    };
    let mut neighbours = engine.similar(&wanted, &options)?;
    sound::sort(engine.library(), &mut neighbours, args.sort)?;
    if neighbours.is_empty() {
        context.console.note("nothing found: loosen the filters or add more music");
    }
    let ending = if neighbours.is_empty() { Ending::Partial } else { Ending::Fine };
    print_neighbours(&wanted, &neighbours, &args.output)?;
    Ok(ending)
}

fn options(args: &SimilarArgs) -> SimilarOptions {
    SimilarOptions {
        limit: args.limit as usize,
        filter: args.filters.filter(),
        max_per_artist: args.max_per_artist.map(|n| n as usize),
        min_similarity: args.min_similarity,
        include_seed: args.include_seed,
        mode: args.search.mode(),
        ..SimilarOptions::default()
    }
}
