//! `voisin similar`.

mod passages;

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::{ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::seeds::seeds;
use crate::cli::sound;
use crate::cli::source::AskedLibrary;
use crate::engine::{Engine, Seed, SimilarOptions};

pub(crate) fn run(context: &Context, args: &SimilarArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let windows = args.from.is_some();
    let mut source = AskedLibrary::open(context, &args.backend, windows)?;
    if let (Some(from), Some(to)) = (args.from, args.to) {
        if args.filters.sound.wants_compatible_keys() {
            bail!("--key compatible looks for whole tracks: name the keys, or leave out --from and --to");
        }
        if source.is_there() {
            bail!(
                "--from and --to compare the windows of all tracks: bring the library here with \"voisin pull\" first"
            );
        }
        return passages::run(context, source.engine(), args, from.0, to.0);
    }
    source.know_names(&args.seeds)?;
    source.know_names(&args.unlike)?;
    source.know_filters(&args.filters)?;
    let limit = args.limit.of(source.tracks()?);
    let engine = source.engine();
    let wanted = seeds(context, engine, &args.seeds)?;
    let options = SimilarOptions {
        unlike: seeds(context, engine, &args.unlike)?,
        unlike_weight: args.unlike_weight,
        limit,
        ..options(engine, args)?
    };
    let options = SimilarOptions {
        filter: sound::with_compatible_keys(engine, options.filter, &args.filters.sound, &wanted)?,
        ..options
    };
    let mut neighbours = source.similar(&wanted, &options)?;
    let engine = source.engine();
    if let Some(by) = args.sort.by() {
        engine.sort_by_sound(&mut neighbours, by)?;
    }
    if args.output.format == ListFormat::Table {
        context.console.note(&nearest_to(engine, &wanted)?);
    }
    if neighbours.is_empty() {
        context.console.note("nothing found: loosen the filters or add more music");
        if args.output.format == ListFormat::Table {
            return Ok(Ending::Partial);
        }
    }
    let ending = if neighbours.is_empty() { Ending::Partial } else { Ending::Fine };
    print_neighbours(&wanted, &neighbours, &args.output)?;
    Ok(ending)
}

/// Which track was asked about: words may have meant any.
fn nearest_to(engine: &Engine, seeds: &[Seed]) -> anyhow::Result<String> {
    let [seed] = seeds else {
        return Ok(format!("nearest to the middle of {}", count(seeds.len() as u64, "seed")));
    };
    Ok(match seed.track {
        Some(id) => format!("nearest to {} (id:{id})", engine.library().track(id)?.display_name()),
        None => format!("nearest to {}, which is not in the library", seed.path.display()),
    })
}

fn options(engine: &Engine, args: &SimilarArgs) -> anyhow::Result<SimilarOptions> {
    Ok(SimilarOptions {
        limit: args.limit.of(engine.library().status()?.vectors as usize),
        filter: args.filters.filter(engine.library())?,
        max_per_artist: args.max_per_artist.map(|n| n as usize),
        min_similarity: args.min_similarity,
        include_seed: args.include_seed,
        mode: args.search.mode(),
        ..SimilarOptions::default()
    })
}
