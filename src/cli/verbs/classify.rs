//! `voisin classify`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::args::ClassifyArgs;
use crate::cli::context::Context;
use crate::cli::named::scan_named;
use crate::cli::render::{self, answers, count};
use crate::cli::seeds::{library_seeds, seed_names, seeds};
use crate::cli::source::Source;
use crate::cli::{Ending, NothingFound};
use voisin::{
    Classifier, ClassifyOptions, Engine, EngineError, FirstGuess, GenreAnswer, GenreNews, SeedName,
};
use voisin_library::scan::{Exclusions, Links};
use voisin_library::{Library, LibraryError};

#[derive(Default)]
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

/// - `names`: `None`: all tracks
pub(super) fn classified(
    context: &Context,
    mut engine: Option<&mut Engine>,
    options: &ClassifyOptions,
    names: Option<Vec<OsString>>,
) -> anyhow::Result<Classified> {
    let is_writing = options.or_share;
    let embedder = |library: Option<&Library>| context.embedder(library);
    let report = |news: GenreNews| {
        if news.is_warning {
            context.console.warn(&news.text);
        } else {
            context.console.note(&news.text);
        }
    };
    let classifier = Classifier::open(engine.as_deref_mut(), options, embedder, report)?;
    if is_writing {
        classifier.check_for_writing()?;
    }
    let mut found = Classified::default();
    let names = match (names, &engine) {
        (None, _) => None,
        (Some(names), Some(engine)) if !is_writing => {
            let joined = engine.joined_words(&names)?;
            Some(joined.map_or(names, |name| vec![name]))
        }
        (names, _) => names,
    };
    let names = names.map(|names| files_of_lists(context, names, is_writing, &mut found));
    let names = names.transpose()?;
    match (&classifier, engine, names) {
        (Classifier::FirstGuess(guess), engine, names) => {
            let paths = match (&names, &engine) {
                (None, Some(engine)) => all_paths(engine)?,
                (names, engine) => {
                    let names = names.as_deref().unwrap_or_default();
                    found.each(context, names, |name| {
                        files_named(context, engine.as_deref(), name)
                    })?
                }
            };
            first_guesses(context, guess, engine.as_deref(), &paths, &mut found);
        }
        (Classifier::Labelled(labelled), Some(engine), None) => {
            let seeds = labelled.seeds(engine)?;
            found.answers = labelled.classify(engine, seeds)?;
        }
        (Classifier::Labelled(labelled), Some(engine), Some(names)) => {
            let seeds = found.each(context, &names, |name| {
                seeds(context, engine, std::slice::from_ref(name))
            })?;
            found.answers = labelled.classify(engine, seeds)?;
        }
        (Classifier::Labelled(_), None, _) => {}
    }
    Ok(found)
}

/// The library; `None` if there is none and files were named.
fn open(
    context: &Context,
    args: &ClassifyArgs,
    names: &[OsString],
) -> anyhow::Result<Option<Source>> {
    let mut source = match Source::open(context) {
        Ok(source) => source,
        // Without a library files can still get a first guess, which needs only the model.
        Err(error) if !args.all && is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !source.is_local() {
        source.fetch(names)?;
        // Files that are not in it are analysed later, and their neighbours are not fetched.
        let seeds = library_seeds(context, source.engine(), names).unwrap_or_default();
        source.fetch_around(context, "a vote", &seeds)?;
    }
    Ok(Some(source))
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(EngineError::Library(LibraryError::NotFound { .. }))
    )
}

/// The names as they were given, with folders and playlists replaced by their files: lists are expanded here and not as
/// seeds, for an answer for each file instead of their mean.
fn files_of_lists(
    context: &Context,
    names: Vec<OsString>,
    is_writing: bool,
    found: &mut Classified,
) -> anyhow::Result<Vec<OsString>> {
    // Files behind links that lead elsewhere are not written to.
    let links = if is_writing {
        Links::Inside
    } else {
        Links::All
    };
    let console = context.console;
    let mut files = Vec::new();
    for text in names {
        if !SeedName::parse(&text).is_list() {
            files.push(text);
            continue;
        }
        let path = PathBuf::from(text);
        let none = Exclusions::default();
        let listed = scan_named(std::slice::from_ref(&path), &none, links);
        for link in &listed.leading_out {
            console.warn(&format!(
                "not followed: {} leads out of its folder",
                link.display()
            ));
        }
        console.warn_of(&listed.problems);
        found.failed += listed.problems.len() as u64;
        if listed.files.is_empty() {
            let text = format!("{}: expected audio files in it, found none", path.display());
            return Err(NothingFound(text).into());
        }
        files.extend(
            listed
                .files
                .into_iter()
                .map(|file| file.path.into_os_string()),
        );
        found.of_lists = true;
    }
    Ok(files)
}

impl Classified {
    /// The meaning of each name, in order; of several, unknown ones are reported and counted.
    fn each<T>(
        &mut self,
        context: &Context,
        names: &[OsString],
        mut meaning: impl FnMut(&OsString) -> anyhow::Result<Vec<T>>,
    ) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        for (i, text) in names.iter().enumerate() {
            let _busy = context.console.busy(&progress(i, names.len()));
            match meaning(text) {
                Ok(found) => all.extend(found),
                // With one name its error is that of the command, with its own exit code.
                Err(error) if names.len() == 1 => return Err(error),
                Err(error) => self.fail(&error),
            }
        }
        Ok(all)
    }

    fn fail(&mut self, error: &anyhow::Error) {
        render::print_error(error);
        self.failed += 1;
    }
}

fn progress(done: usize, all: usize) -> String {
    if all > 1 {
        format!("{} of {}", done + 1, count(all as u64, "file"))
    } else {
        "working".to_owned()
    }
}

fn all_paths(engine: &Engine) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    engine.library().for_each_track(|track| {
        paths.push(track.path);
        Ok(())
    })?;
    Ok(paths)
}

fn first_guesses(
    context: &Context,
    guess: &FirstGuess,
    engine: Option<&Engine>,
    paths: &[PathBuf],
    found: &mut Classified,
) {
    for (i, path) in paths.iter().enumerate() {
        let _busy = context.console.busy(&progress(i, paths.len()));
        match guess.classify(engine, path) {
            Ok(answer) => found.answers.push(answer),
            Err(error) => found.fail(&error.into()),
        }
    }
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
