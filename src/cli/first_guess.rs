//! `voisin classify` before any track is labelled: a first guess from the model's tags.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::engine::{DEFAULT_WINDOWS, Embedder, Engine, EngineError, WindowPlan};
use crate::genre::{Basis, DefaultGenres, Genre, Guess, Taxonomy};
use crate::library::LibraryError;
use serde::Serialize;

use super::Ending;
use super::args::{ClassifyArgs, TableFormat};
use super::context::Context;
use super::render::{self, Align, Table};

/// Shares below this are not worth a line.
const SMALLEST_SHARE: f32 = 0.02;

#[derive(Serialize)]
struct GuessJson {
    path: String,
    genre: Option<String>,
    probability: f32,
    /// Always `default`: no labelled neighbour was asked.
    source: &'static str,
    shares: Vec<ShareJson>,
}

#[derive(Serialize)]
struct ShareJson {
    genre: String,
    probability: f32,
    basis: Basis,
}

/// Answers if there is no library, or one without a labelled track, and the model has the tags; else `None`.
pub(crate) fn run_if_unlabelled(context: &Context, args: &ClassifyArgs) -> anyhow::Result<Option<Ending>> {
    let taxonomy = Taxonomy::default();
    let engine = match context.open_engine() {
        Ok(engine) => Some(engine),
        Err(error) => {
            let missing = error
                .downcast_ref::<EngineError>()
                .is_some_and(|error| matches!(error, EngineError::Library(LibraryError::NotFound { .. })));
            if !missing || args.all {
                return Err(error);
            }
            None
        }
    };
    if let Some(engine) = &engine
        && !engine.labels(&args.labels.source())?.is_empty()
    {
        return Ok(None);
    }
    let embedder = context.embedder(engine.as_ref().map(Engine::library))?;
    let head = DefaultGenres::shipped(&taxonomy)?;
    let tags = embedder.encoder().manifest().tags.clone().unwrap_or_default();
    if tags != head.tags() || embedder.encoder().tags() != tags.len() {
        context
            .console
            .note("no first guess: this model does not have the 50 tags of the Million Song Dataset");
        return Ok(None);
    }
    context.console.note(
        "no track of the library is labelled: this is a first guess from the model's tags, not your own genres",
    );
    let plan = engine.as_ref().map_or(Ok(DEFAULT_WINDOWS), Engine::windows_setting)?;
    let among = super::classify::asked(args, &taxonomy);
    // A wrong list is said once, before anything is listened to.
    head.guess(&vec![0.0; tags.len()], &among)?;
    super::classify::tell_unknown(context, &among, head.genres().map(|(genre, _)| genre));
    let mut failed = 0;
    let mut answers = Vec::new();
    for path in paths(context, engine.as_ref(), args, &mut failed)? {
        match guess(&embedder, &head, &among, &path, plan) {
            Ok(guess) => answers.push((path, guess)),
            Err(error) => {
                render::print_error(&error);
                failed += 1;
            }
        }
    }
    print(&answers, args)?;
    let unknown = answers.iter().any(|(_, guess)| guess.genre.is_none());
    Ok(Some(if failed > 0 || unknown { Ending::Partial } else { Ending::Fine }))
}

fn guess(
    embedder: &Embedder,
    head: &DefaultGenres,
    among: &[Genre],
    path: &Path,
    plan: WindowPlan,
) -> anyhow::Result<Guess> {
    let info = crate::audio::probe(path)?;
    Ok(head.guess(&embedder.tag_logits(path, &info, plan)?, among)?)
}

/// Files to listen to: what is named, or every track of the library.
fn paths(
    context: &Context,
    engine: Option<&Engine>,
    args: &ClassifyArgs,
    failed: &mut usize,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if let Some(engine) = engine.filter(|_| args.all) {
        engine.library().for_each_track(|track| {
            paths.push(track.path);
            Ok(())
        })?;
        return Ok(paths);
    }
    for text in &args.tracks {
        let named = if text == "-" || (engine.is_some() && !Path::new(text).is_file()) {
            named(context, engine, text)
        } else {
            Ok(vec![PathBuf::from(text)])
        };
        match named {
            Ok(found) => paths.extend(found),
            Err(error) if args.tracks.len() == 1 => return Err(error),
            Err(error) => {
                render::print_error(&error);
                *failed += 1;
            }
        }
    }
    Ok(paths)
}

fn named(context: &Context, engine: Option<&Engine>, text: &OsString) -> anyhow::Result<Vec<PathBuf>> {
    let Some(engine) = engine else { anyhow::bail!("there is no library yet: expected the names of files") };
    let seeds = super::similar::seeds(context, engine, std::slice::from_ref(text))?;
    Ok(seeds.into_iter().map(|seed| seed.path).collect())
}

fn name(guess: &Guess) -> String {
    guess.genre.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Labels => "labelled tracks",
        Basis::Tags => "tags only",
    }
}

fn print(answers: &[(PathBuf, Guess)], args: &ClassifyArgs) -> anyhow::Result<()> {
    let lossy = |path: &Path| path.to_string_lossy().into_owned();
    match args.format {
        TableFormat::Table => {
            for (path, guess) in answers {
                render::print_line(&format!(
                    "{}: {} ({:.0} %)",
                    render::terminal_safe(&lossy(path)),
                    render::terminal_safe(&name(guess)),
                    100.0 * guess.probability
                ))?;
                if args.all {
                    continue;
                }
                let mut table = Table::new(&[
                    ("  genre", Align::Left),
                    ("probability", Align::Right),
                    ("rests on", Align::Left),
                ]);
                for share in guess.shares.iter().filter(|share| share.probability >= SMALLEST_SHARE) {
                    table.row([
                        format!("  {}", share.genre),
                        format!("{:.0} %", 100.0 * share.probability),
                        basis(share.basis).to_owned(),
                    ]);
                }
                table.print()?;
            }
            Ok(())
        }
        TableFormat::Json => {
            let list: Vec<GuessJson> = answers
                .iter()
                .map(|(path, guess)| GuessJson {
                    path: lossy(path),
                    genre: guess.genre.as_ref().map(ToString::to_string),
                    probability: guess.probability,
                    source: "default",
                    shares: guess
                        .shares
                        .iter()
                        .map(|share| ShareJson {
                            genre: share.genre.to_string(),
                            probability: share.probability,
                            basis: share.basis,
                        })
                        .collect(),
                })
                .collect();
            render::print_json(&list)
        }
        TableFormat::Csv => render::print_csv(
            ["path", "genre", "probability", "basis"],
            answers.iter().map(|(path, guess)| {
                let genre = guess.genre.as_ref().map_or_else(String::new, ToString::to_string);
                let basis = guess.shares.first().map_or("", |share| basis(share.basis));
                [lossy(path), genre, format!("{:.4}", guess.probability), basis.to_owned()]
            }),
        ),
    }
}
