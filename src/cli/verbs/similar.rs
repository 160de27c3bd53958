//! `voisin similar`.

use super::artists;
use crate::cli::Ending;
use crate::cli::args::{ListFormat, SimilarArgs};
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::{clock, count};
use crate::cli::seeds::{seed_names, seeds};
use crate::cli::source::{Source, warn_of_lost_labels};
use voisin::questions::Similar;
use voisin::{Engine, Seed, read_directions};

pub(crate) fn run(context: &Context, args: &SimilarArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    if let Some(by) = args.by {
        return artists::run(context, args, by, output.format);
    }
    let question = &args.question;
    question.validate(question.seeds.len() + usize::from(args.vector.is_some()))?;
    let mut source = Source::open(context)?;
    warn_of_lost_labels(context, source.engine());
    let named = seed_names(&question.seeds)?;
    let unlike = seed_names(&question.unlike)?;
    source.fetch(&named)?;
    source.fetch(&unlike)?;
    source.fetch_filters(&question.filters)?;
    let engine = source.engine();
    let mut wanted = part_of(context, engine, question, seeds(context, engine, &named)?)?;
    if let Some(file) = &args.vector {
        for row in read_directions(file)?.rows() {
            wanted.push(Seed {
                path: file.clone(),
                ..engine.seed_of_vector(row.to_vec())?
            });
        }
    }
    let unlike = seeds(context, engine, &unlike)?;
    let answer = source.similar(question, &wanted, unlike)?;
    let engine = source.engine();
    if output.format == ListFormat::Table {
        context.console.note(&nearest_to(engine, &wanted)?);
    }
    if answer.neighbours.is_empty() {
        context.nothing_found(&question.filters, "");
        // Programs still get an empty list in their format.
        if output.format == ListFormat::Table {
            return Ok(Ending::Partial);
        }
    }
    if let Some(far) = &answer.far.note {
        context.console.note(far);
    }
    print_neighbours(&answer, question.filters.fields(), &output)?;
    Ok(Ending::partial_if(answer.neighbours.is_empty()))
}

/// The seeds, or the part of one that the query names.
fn part_of(
    context: &Context,
    engine: &Engine,
    question: &Similar,
    seeds: Vec<Seed>,
) -> anyhow::Result<Vec<Seed>> {
    let seeds = question.part_of(engine, seeds, || context.embedder(Some(engine.library())))?;
    if let (Some((from, to)), [Seed { seconds, .. }]) = (question.part(), &seeds[..]) {
        let length = seconds.unwrap_or(to - from);
        // A smaller difference is from rounding to whole samples.
        if length + 0.05 < to - from {
            context.console.note(&format!(
                "the track ends at {}: the part is {length:.1} s long",
                clock(from + length)
            ));
        }
    }
    Ok(seeds)
}

fn nearest_to(engine: &Engine, seeds: &[Seed]) -> anyhow::Result<String> {
    let [seed] = seeds else {
        return Ok(format!(
            "nearest to the mean of {}",
            count(seeds.len() as u64, "seed")
        ));
    };
    Ok(match seed.track {
        Some(id) => format!(
            "nearest to {} (id:{id})",
            engine.library().track(id)?.display_name()
        ),
        None => format!(
            "nearest to {}, which is not in the library",
            seed.path.display()
        ),
    })
}
