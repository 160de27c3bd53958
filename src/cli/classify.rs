//! `voisin classify`.

use std::collections::BTreeMap;

use serde::Serialize;
use voisin::engine::{Classification, ClassifyOptions, EngineError, Seed};
use voisin::genre::{Taxonomy, VoteOptions};

use super::Ending;
use super::args::{ClassifyArgs, TableFormat};
use super::context::Context;
use super::render::{self, Align, Table};
use super::similar::{lossy, mode, seeds};

/// Shares below this are not worth a line.
const SMALLEST_SHARE: f32 = 0.01;

/// The documented JSON of `classify`: a list of these.
#[derive(Serialize)]
struct ClassifyJson {
    path: String,
    genre: Option<String>,
    probability: f32,
    votes: BTreeMap<String, f32>,
    evidence: Vec<EvidenceJson>,
}

#[derive(Serialize)]
struct EvidenceJson {
    path: String,
    genre: String,
    similarity: f32,
    weight: f32,
    artist: Option<String>,
}

pub(crate) fn run(context: &Context, args: &ClassifyArgs) -> anyhow::Result<Ending> {
    if let Some(ending) = super::first_guess::run_if_unlabelled(context, args)? {
        return Ok(ending);
    }
    let mut engine = context.open_engine()?;
    let labels = engine.labels(&Taxonomy::default())?;
    if labels.is_empty() {
        return Err(EngineError::NoLabels.into());
    }
    let options = ClassifyOptions {
        vote: VoteOptions { k: args.neighbours as usize, ..VoteOptions::default() },
        other_artists: args.other_artists,
        mode: mode(args.search),
    };
    context.console.detail(&engine.refresh_index()?.to_string());
    let mut failed = 0;
    let mut wanted: Vec<Seed> = Vec::new();
    if args.all {
        for id in engine.library().vectors()?.ids {
            wanted.push(engine.seed_of(id)?);
        }
    } else {
        for text in &args.tracks {
            match seeds(context, &engine, std::slice::from_ref(text)) {
                Ok(found) => wanted.extend(found),
                Err(error) if args.tracks.len() == 1 => return Err(error),
                Err(error) => {
                    render::print_error(&error);
                    failed += 1;
                }
            }
        }
    }
    let mut answers = Vec::with_capacity(wanted.len());
    for seed in wanted {
        answers.push(engine.classify(seed, &labels, &options)?);
    }
    print(&answers, args)?;
    Ok(if failed > 0 || answers.iter().any(|answer| answer.genre.is_none()) {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

fn print(answers: &[Classification], args: &ClassifyArgs) -> anyhow::Result<()> {
    match args.format {
        TableFormat::Table if args.all => {
            let mut table =
                Table::new(&[("genre", Align::Left), ("share", Align::Right), ("path", Align::Left)]);
            for answer in answers {
                table.row([genre_name(answer), percent(answer.probability), lossy(&answer.seed.path)]);
            }
            table.print()
        }
        TableFormat::Table => {
            for (i, answer) in answers.iter().enumerate() {
                if i > 0 {
                    render::print_line("")?;
                }
                print_one(answer)?;
            }
            Ok(())
        }
        TableFormat::Json => render::print_json(&answers.iter().map(json).collect::<Vec<_>>()),
        TableFormat::Csv => render::print_csv(
            ["path", "genre", "probability"],
            answers.iter().map(|answer| {
                let genre = answer.genre.as_ref().map_or_else(String::new, ToString::to_string);
                [lossy(&answer.seed.path), genre, format!("{:.4}", answer.probability)]
            }),
        ),
    }
}

/// One answer with its evidence, for people.
pub(crate) fn print_one(answer: &Classification) -> anyhow::Result<()> {
    let path = lossy(&answer.seed.path);
    render::print_line(&format!(
        "{}: {} ({} of the votes)",
        render::terminal_safe(&path),
        render::terminal_safe(&genre_name(answer)),
        percent(answer.probability)
    ))?;
    let others: Vec<String> = answer
        .votes
        .shares
        .iter()
        .skip(1)
        .filter(|share| share.share >= SMALLEST_SHARE)
        .map(|share| format!("{} {}", share.genre, percent(share.share)))
        .collect();
    if !others.is_empty() {
        render::print_line(&format!("  then: {}", render::terminal_safe(&others.join(", "))))?;
    }
    let mut table = Table::new(&[
        ("  voter", Align::Left),
        ("genre", Align::Left),
        ("similarity", Align::Right),
        ("weight", Align::Right),
    ]);
    for voter in &answer.evidence {
        let genres: Vec<&str> = voter.genres.iter().map(voisin::genre::Genre::name).collect();
        table.row([
            format!("  {}", voter.display),
            genres.join(", "),
            format!("{:.3}", voter.similarity),
            percent(voter.weight),
        ]);
    }
    table.print()
}

fn genre_name(answer: &Classification) -> String {
    answer.genre.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn percent(share: f32) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn json(answer: &Classification) -> ClassifyJson {
    ClassifyJson {
        path: lossy(&answer.seed.path),
        genre: answer.genre.as_ref().map(ToString::to_string),
        probability: answer.probability,
        votes: answer.votes.shares.iter().map(|share| (share.genre.to_string(), share.share)).collect(),
        evidence: answer
            .evidence
            .iter()
            .map(|voter| EvidenceJson {
                path: lossy(&voter.path),
                genre: voter.genres.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                similarity: voter.similarity,
                weight: voter.weight,
                artist: voter.artist.clone(),
            })
            .collect(),
    }
}
