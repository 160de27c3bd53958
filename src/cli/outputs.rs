//! Files that a command writes. An existing file is replaced, but for music, an input of the same command, and what
//! the library cannot make again.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::args;
use super::context::Context;
use voisin::{Engine, LabelSource};
use voisin_audio::is_audio_candidate;
use voisin_base::output::{OutputTarget, check_folder};
use voisin_base::regular_file;
use voisin_library::{Library, OpenMode};

/// A file named on the command line, or `-`.
pub(crate) fn output_file(context: &Context, path: &Path) -> anyhow::Result<OutputTarget> {
    check_replaced(path, &context.library_dir(), 1)?;
    Ok(OutputTarget::new(path)?)
}

/// A file named on the command line that is written as a whole.
pub(crate) fn whole_file(context: &Context, path: &Path) -> anyhow::Result<OutputTarget> {
    check_replaced(path, &context.library_dir(), 1)?;
    Ok(OutputTarget::whole(path)?)
}

/// A file that is written beside the one named on the command line.
pub(crate) fn second_file(context: &Context, path: &Path) -> anyhow::Result<OutputTarget> {
    check_replaced(path, &context.library_dir(), 0)?;
    Ok(OutputTarget::whole(path)?)
}

pub(crate) fn check_output_folder(
    context: &Context,
    folder: &Path,
    names: &[&str],
) -> anyhow::Result<()> {
    check_folder(folder)?;
    for name in names {
        check_replaced(&folder.join(name), &context.library_dir(), 0)?;
    }
    Ok(())
}

/// - `mentions`: how often the command line names it as an output
pub(crate) fn check_replaced(path: &Path, library: &Path, mentions: usize) -> anyhow::Result<()> {
    let Ok(target) = path.canonicalize() else {
        return Ok(());
    };
    if !target.is_file() {
        return Ok(());
    }
    let shown = path.display();
    if is_audio_candidate(path) || is_audio_candidate(&target) || begins_as_music(&target) {
        bail!("{shown} is music, which is never replaced: name another file");
    }
    if times_named(&target) > mentions {
        bail!("{shown} is an input of this command: name another file to write");
    }
    let is_target = |other: PathBuf| other.canonicalize().is_ok_and(|other| other == target);
    // Its database, head, index, synonyms, token.
    let of_library = library.canonicalize();
    if of_library.is_ok_and(|library| target.parent() == Some(&library)) {
        bail!("{shown} is a file of the library: name another file to write");
    }
    if label_table(library).is_some_and(is_target) {
        bail!("{shown} is the table that the library's labels come from: name another file");
    }
    Ok(())
}

/// Whether it begins with the mark of a common format of music.
fn begins_as_music(path: &Path) -> bool {
    let mut beginning = [0; 8];
    let read = regular_file::open(path).and_then(|mut file| file.read_exact(&mut beginning));
    let marks: [&[u8]; 5] = [b"fLaC", b"OggS", b"RIFF", b"FORM", b"ID3"];
    read.is_ok()
        && (marks.iter().any(|mark| beginning.starts_with(mark)) || beginning.ends_with(b"ftyp"))
}

/// How many arguments of the command line name this file.
fn times_named(target: &Path) -> usize {
    let is_verb = |word: &OsStr| {
        let command = args::command();
        command
            .get_subcommands()
            .any(|verb| verb.get_name() == word)
    };
    let mut words: Vec<_> = std::env::args_os().skip(1).collect();
    // A file may have a verb's name: `voisin export export`.
    if let Some(verb) = words.iter().position(|word| is_verb(word)) {
        words.remove(verb);
    }
    words.iter().filter(|word| names(word, target)).count()
}

/// Whether a word (`FILE`, `--option=FILE`, `-oFILE`, `table:FILE`) names this file.
fn names(word: &OsStr, target: &Path) -> bool {
    let text = word.to_string_lossy();
    let short = text.strip_prefix('-').and_then(|all| all.split_once('o'));
    let behind = text
        .match_indices([':', '='])
        .map(|(at, _)| &text[at + 1..])
        .chain(short.map(|(_, file)| file));
    std::iter::once(Path::new(word))
        .chain(behind.map(Path::new))
        .any(|path| path.canonicalize().is_ok_and(|path| path == target))
}

fn label_table(library: &Path) -> Option<PathBuf> {
    let library = Library::open(library, OpenMode::ReadOnly).ok()?;
    match Engine::from_library(library).label_source() {
        LabelSource::File(table) => Some(table),
        LabelSource::Tags | LabelSource::Folder => None,
    }
}
