//! `voisin classify`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::args::ClassifyArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, Console, answers, count};
use crate::cli::seeds::{library_seeds, seed_names, seeds};
use crate::cli::source::Source;
use crate::cli::{Ending, NothingFound};
use voisin::{
    Classifier, ClassifyOptions, Engine, EngineError, FirstGuess, GenreAnswer, GenreNews, SeedName,
};
use voisin_audio::is_audio_candidate;
use voisin_library::scan::{self, Exclusions, Links};
use voisin_library::{Library, LibraryError};

/// Answers for the tracks named.
pub(super) struct Classified {
    pub(super) answers: Vec<GenreAnswer>,
    /// Whether there was a folder or playlist.
    of_lists: bool,
    failed: u64,
}

impl Classified {
    pub(super) fn ending(&self) -> Ending {
        // Without any genre, even an unlikely one, the library has no labels to answer from.
        let is_without_labels = self.answers.iter().any(|answer| answer.best.is_none());
        if self.failed > 0 || is_without_labels {
            Ending::Partial
        } else {
            Ending::Fine
        }
    }
}

pub(crate) fn run(context: &Context, args: &ClassifyArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    // Standard input is read before anything that takes long.
    let names = seed_names(&args.question.tracks)?;
    let mut source = open(context, args, &names)?;
    let engine = source.as_mut().map(Source::engine);
    let options = args.question.options();
    let names = (!args.all).then_some(names);
    let found = classified(context, engine, &options, names)?;
    answers::print(&found.answers, args.all || found.of_lists, &output)?;
    Ok(found.ending())
}

/// Classifies the tracks named.
///
/// - `names`: `None`: all tracks
pub(super) fn classified(
    context: &Context,
    mut engine: Option<&mut Engine>,
    options: &ClassifyOptions,
    names: Option<Vec<OsString>>,
) -> anyhow::Result<Classified> {
    let is_writing = options.or_share;
    let embedder = |library: Option<&Library>| context.embedder(library);
    let classifier = Classifier::open(engine.as_deref_mut(), options, embedder, |news| {
        report_news(context, &news);
    })?;
    if is_writing {
        classifier.check_for_writing()?;
    }
    let is_all = names.is_none();
    let names = names.unwrap_or_default();
    let joined = match &engine {
        Some(engine) if !is_writing => engine.joined_words(&names)?,
        _ => None,
    };
    let names = joined.map_or(names, |name| vec![name]);
    let mut failed = 0;
    let named = RequestedFiles::new(context, names, is_writing, &mut failed)?;
    let answers = match (&classifier, engine) {
        (Classifier::FirstGuess(guess), engine) => first_guesses(
            context,
            guess,
            engine.as_deref(),
            &named,
            is_all,
            &mut failed,
        )?,
        (Classifier::Labelled(labelled), Some(engine)) => {
            let seeds = if is_all {
                labelled.seeds(engine)?
            } else {
                named.each(context.console, &mut failed, |text| {
                    seeds(context, engine, std::slice::from_ref(text))
                })?
            };
            labelled.classify(engine, seeds)?
        }
        (Classifier::Labelled(_), None) => Vec::new(),
    };
    Ok(Classified {
        answers,
        of_lists: named.of_lists,
        failed,
    })
}

/// The library; `None` if there is none and files were named.
fn open(
    context: &Context,
    args: &ClassifyArgs,
    names: &[OsString],
) -> anyhow::Result<Option<Source>> {
    let opened = Source::open(context).and_then(|mut source| {
        if !source.is_local() {
            source.fetch(names)?;
            // Files that are not in it are analysed later, and their neighbours are not fetched.
            let seeds = library_seeds(context, source.engine(), names).unwrap_or_default();
            source.fetch_around(context, "a vote", &seeds)?;
        }
        Ok(source)
    });
    match opened {
        Ok(source) => Ok(Some(source)),
        Err(error) => {
            // Without a library files can still get a first guess, which needs only the model.
            let missing = error.downcast_ref::<EngineError>().is_some_and(|error| {
                matches!(error, EngineError::Library(LibraryError::NotFound { .. }))
            });
            if missing && !args.all {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}

fn report_news(context: &Context, news: &GenreNews) {
    if news.is_warning {
        context.console.warn(&news.text);
    } else {
        context.console.note(&news.text);
    }
}

/// The files to classify.
struct RequestedFiles {
    /// Names as they were given, with folders and playlists replaced by their files.
    names: Vec<OsString>,
    /// Whether there was a folder or playlist.
    of_lists: bool,
}

impl RequestedFiles {
    fn new(
        context: &Context,
        names: Vec<OsString>,
        is_writing: bool,
        failed: &mut u64,
    ) -> anyhow::Result<Self> {
        let mut this = Self {
            names: Vec::new(),
            of_lists: false,
        };
        for text in names {
            // Lists are expanded here and not as seeds, for an answer for each file instead of
            // their mean.
            if !SeedName::parse(&text).is_list() {
                this.names.push(text);
                continue;
            }
            let path = Path::new(&text);
            // Files behind links that lead elsewhere are not written to.
            let links = if is_writing {
                Links::Inside
            } else {
                Links::All
            };
            let none = Exclusions::default();
            let found = scan::scan_without(&[path.to_owned()], &is_audio_candidate, &none, links);
            for link in &found.leading_out {
                context.console.warn(&format!(
                    "not followed: {} leads out of its folder",
                    link.display()
                ));
            }
            for problem in &found.problems {
                context
                    .console
                    .warn(&format!("{}: {}", problem.path.display(), problem.reason));
                *failed += 1;
            }
            if found.files.is_empty() {
                let text = format!("{}: expected audio files in it, found none", path.display());
                return Err(NothingFound(text).into());
            }
            this.names.extend(
                found
                    .files
                    .into_iter()
                    .map(|file| file.path.into_os_string()),
            );
            this.of_lists = true;
        }
        Ok(this)
    }

    /// The meaning of each name, in order; of several, unknown ones are reported and counted.
    fn each<T>(
        &self,
        console: Console,
        failed: &mut u64,
        mut meaning: impl FnMut(&OsString) -> anyhow::Result<Vec<T>>,
    ) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        for (i, text) in self.names.iter().enumerate() {
            let _busy = console.busy(&progress(i, self.names.len()));
            match meaning(text) {
                Ok(found) => all.extend(found),
                // With one name its error is that of the command, with its own exit code.
                Err(error) if self.names.len() == 1 => return Err(error),
                Err(error) => {
                    render::print_error(&error);
                    *failed += 1;
                }
            }
        }
        Ok(all)
    }
}

/// The progress as text.
fn progress(done: usize, all: usize) -> String {
    if all > 1 {
        format!("{} of {}", done + 1, count(all as u64, "file"))
    } else {
        "working".to_owned()
    }
}

/// Analyses the files named, or every track of the library.
fn first_guesses(
    context: &Context,
    guess: &FirstGuess,
    engine: Option<&Engine>,
    named: &RequestedFiles,
    all: bool,
    failed: &mut u64,
) -> anyhow::Result<Vec<GenreAnswer>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    match engine {
        Some(engine) if all => engine.library().for_each_track(|track| {
            paths.push(track.path);
            Ok(())
        })?,
        _ => {
            paths = named.each(context.console, failed, |text| {
                files_named(context, engine, text)
            })?;
        }
    }
    let mut answers = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let _busy = context.console.busy(&progress(i, paths.len()));
        match guess.classify(path) {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                render::print_error(&error.into());
                *failed += 1;
            }
        }
    }
    Ok(answers)
}

fn files_named(
    context: &Context,
    engine: Option<&Engine>,
    text: &OsString,
) -> anyhow::Result<Vec<PathBuf>> {
    if Path::new(text).exists() {
        return Ok(vec![PathBuf::from(text)]);
    }
    let Some(engine) = engine else {
        let text = format!(
            "{}: there is no such file, and no library yet in which to search for its name",
            text.display()
        );
        return Err(NothingFound(text).into());
    };
    let seeds = seeds(context, engine, std::slice::from_ref(text))?;
    Ok(seeds.into_iter().map(|seed| seed.path).collect())
}
