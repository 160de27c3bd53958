//! CUE sheets: text files with the starts and titles of the tracks of one long audio file.
//!
//! A part of a file has a path below the sheet's, `album.cue/03` for TRACK 03. A FLAC file may have an embedded sheet;
//! its parts are below it, `album.flac/03`. Everything that reads audio or tags accepts such paths, and resolves them
//! to a [`Place`].

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::flac::{self, FlacCues};
use voisin_base::encoding::{self, OldEncoding};
use voisin_base::path_matching::folded;
use voisin_base::regular_file;

/// Most bytes of a sheet.
const LARGEST: u64 = 1 << 20;
/// Most tracks: a CD has 99, lists of long mixes have more.
const MOST_TRACKS: u32 = 999;
/// Most last steps of a name that are searched for: no collection is deeper.
const DEEPEST: usize = 32;
/// Frames per second, the unit of times.
pub const FRAMES: u64 = 75;
/// Frames before the first track above which they are a hidden track. Fewer are a pause, of two seconds on nearly all
/// discs, and too short for the models, which need three seconds.
const LONGEST_PAUSE: u64 = 4 * FRAMES;
/// Extensions of encoded files: sheets often name the file from before it was encoded.
const ENDINGS: [&str; 10] = [
    "flac", "wav", "mp3", "m4a", "ogg", "opus", "aiff", "aif", "mka", "aac",
];

/// A part of an audio file, described by a sheet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CuePart {
    /// The sheet, or the file with an embedded one.
    pub sheet: PathBuf,
    /// The file that it is part of.
    pub audio: PathBuf,
    /// Its number on the sheet; 0 for hidden music before the first track.
    pub number: u32,
    /// Its start, in frames of 1/75 s from the start of the file.
    pub start: u64,
    /// Its end: the start of the next one; `None`: the end of the file.
    pub end: Option<u64>,
    /// TITLE of the part, as written.
    pub title: Option<String>,
    /// PERFORMER of the part, else the sheet's.
    pub artist: Option<String>,
    /// TITLE of the sheet.
    pub album: Option<String>,
    /// PERFORMER of the sheet.
    pub album_artist: Option<String>,
    /// REM GENRE of the sheet.
    pub genre: Option<String>,
    /// REM DATE of the sheet.
    pub date: Option<String>,
    /// ISRC of the part.
    pub isrc: Option<String>,
}

impl CuePart {
    /// Its path in the library.
    pub fn path(&self) -> PathBuf {
        self.sheet.join(format!("{:02}", self.number))
    }

    /// Its start and end, in seconds.
    pub fn seconds(&self) -> (f64, Option<f64>) {
        let seconds = |frames: u64| frames as f64 / FRAMES as f64;
        (seconds(self.start), self.end.map(seconds))
    }

    /// Metadata of the sheet and of the file.
    pub fn metadata(&self) -> io::Result<(Metadata, Metadata)> {
        Ok((
            std::fs::metadata(&self.sheet)?,
            std::fs::metadata(&self.audio)?,
        ))
    }
}

/// The file, or part of a file, that a track's path refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// A file, which need not exist.
    File(&'a Path),
    /// A part of a longer file.
    Part(Box<CuePart>),
}

impl<'a> Place<'a> {
    /// Resolves a path; reads only the sheet, if the path is below one.
    ///
    /// # Errors
    /// `NotFound`: the sheet has no such part, or its file is missing. `InvalidData`: the sheet is invalid.
    pub fn of(path: &'a Path) -> io::Result<Self> {
        let Some(sheet) = above(path).filter(|sheet| sheet.is_file()) else {
            return Ok(Self::File(path));
        };
        let none = || {
            io::Error::new(
                ErrorKind::NotFound,
                format!("{} has no such part", sheet.display()),
            )
        };
        let name = path.file_name().unwrap_or_default();
        let mut parts = read(sheet)?.parts.into_iter();
        let part = parts
            .find(|part| *name == *format!("{:02}", part.number))
            .ok_or_else(none)?;
        Ok(Self::Part(Box::new(part)))
    }

    /// The part that a path refers to; `None` for a file and for a missing part.
    pub fn part(path: &'a Path) -> Option<CuePart> {
        match Self::of(path) {
            Ok(Self::Part(part)) => Some(*part),
            _ => None,
        }
    }

    /// Whether a file, or a part of one, exists at this path.
    pub fn exists(path: &'a Path) -> bool {
        Self::of(path).is_ok_and(|place| place.audio().is_file())
    }

    /// The file whose bytes hold the audio.
    pub fn audio(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Part(part) => &part.audio,
        }
    }
}

/// A parsed sheet: parts of its existing files, and names of missing ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Its audio tracks, in the sheet's order.
    pub parts: Vec<CuePart>,
    /// Its titles of files that are a single track.
    pub wholes: Vec<CuePart>,
    /// FILE entries whose file is missing.
    pub missing: Vec<String>,
}

impl Sheet {
    /// A fault of a sheet that could be parsed.
    pub fn fault(&self) -> Option<io::Error> {
        let name = self.missing.first()?;
        Some(fault(format!(
            "expected the file that its FILE line names, found no {name:?} beside it: put it there, or mend the line"
        )))
    }
}

fn fault(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

/// Whether a file is a CUE sheet by its name.
pub fn is_sheet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("cue"))
}

/// Whether a file may hold a sheet, by its name.
pub fn may_hold_sheet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("flac"))
}

/// The sheet, or file that may hold one, that a path with a number is below, by names alone.
pub fn above(path: &Path) -> Option<&Path> {
    let is_number = |name: &str| name.len() >= 2 && name.bytes().all(|byte| byte.is_ascii_digit());
    let has_number = || {
        path.file_name()
            .and_then(OsStr::to_str)
            .is_some_and(is_number)
    };
    path.parent()
        .filter(|above| is_sheet(above) || may_hold_sheet(above) && has_number())
}

/// The folder of a file, or of a part's sheet.
pub fn folder(path: &Path) -> Option<&Path> {
    above(path).unwrap_or(path).parent()
}

/// The titles for a file that is a single track, from a sheet beside it.
pub fn of_whole(audio: &Path) -> Option<CuePart> {
    let entries = std::fs::read_dir(audio.parent()?).ok()?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut sheets: Vec<PathBuf> = paths.filter(|path| is_sheet(path)).collect();
    sheets.sort();
    let mut wholes = sheets.iter().filter_map(|sheet| read(sheet).ok());
    wholes.find_map(|sheet| sheet.wholes.into_iter().find(|part| part.audio == audio))
}

/// Reads a sheet. A file that is a single track gives no part.
///
/// # Errors
/// It cannot be read, or is invalid: one line with the place.
pub fn read(path: &Path) -> io::Result<Sheet> {
    if may_hold_sheet(path) {
        return held_by(path);
    }
    let bytes = regular_file::read(path, LARGEST)?;
    let sheet = assemble(path, &encoding::decode_file(&bytes))?;
    // UTF-8 is certain: then the file is really missing.
    if sheet.missing.is_empty() || std::str::from_utf8(&bytes).is_ok() {
        return Ok(sheet);
    }
    // An encoding in which the names exist beside the sheet is better evidence than letters.
    let mut others = OldEncoding::COMMON.iter().filter_map(|encoding| {
        let other = assemble(path, &encoding.decode(&bytes)).ok()?;
        other.missing.is_empty().then_some(other)
    });
    Ok(others.next().unwrap_or(sheet))
}

/// Builds a sheet from its text.
fn assemble(path: &Path, text: &str) -> io::Result<Sheet> {
    let parsed = parse(text).map_err(fault)?;
    let mut sheet = Sheet::default();
    for file in &parsed.files {
        let is_whole = file.tracks.len() < 2;
        match find(path.parent().unwrap_or(Path::new("")), &file.name) {
            Some(audio) if is_whole => sheet.wholes.extend(parts(path, &audio, &parsed, file)),
            Some(audio) => sheet.parts.extend(parts(path, &audio, &parsed, file)),
            // Sheets of single-track rips often have outdated names, which loses nothing.
            None if is_whole => {}
            None => sheet.missing.push(file.name.clone()),
        }
    }
    Ok(sheet)
}

fn parts(sheet: &Path, audio: &Path, parsed: &Parsed, file: &ParsedFile) -> Vec<CuePart> {
    let part = |track: &ParsedTrack, next: Option<&ParsedTrack>| CuePart {
        sheet: sheet.to_owned(),
        audio: audio.to_owned(),
        number: track.number,
        start: track.start,
        end: next.map(|next| next.start),
        title: track.title.clone(),
        artist: track.artist.clone().or_else(|| parsed.artist.clone()),
        album: parsed.title.clone(),
        album_artist: parsed.artist.clone(),
        genre: parsed.genre.clone(),
        date: parsed.date.clone(),
        isrc: track.isrc.clone(),
    };
    let tracks = &file.tracks;
    let first = tracks.first().filter(|first| {
        let is_late = first.number == 1 && first.start > LONGEST_PAUSE;
        first.is_audio && is_late && tracks.len() > 1
    });
    let hidden = first.map(|first| part(&ParsedTrack::default(), Some(first)));
    let others = tracks.iter().enumerate();
    let others = others.filter(|(_, track)| track.is_audio);
    // The next of all tracks, even a data track: audio ends where it begins.
    let others = others.map(|(i, track)| part(track, tracks.get(i + 1)));
    hidden.into_iter().chain(others).collect()
}

/// The embedded sheet of a FLAC file: its comment, else its block, which has no titles. Both are about this file,
/// whatever name the comment has; an invalid one is ignored.
fn held_by(path: &Path) -> io::Result<Sheet> {
    let found = flac::read(path)?;
    let of_comment = found
        .text
        .as_ref()
        .and_then(|bytes| parse(&encoding::decode_file(bytes)).ok());
    for parsed in of_comment.into_iter().chain(of_block(&found)) {
        // A sheet of several files cannot be about this one alone.
        let mut files = parsed.files.iter().filter(|file| file.tracks.len() > 1);
        if let (Some(file), None) = (files.next(), files.next()) {
            return Ok(Sheet {
                parts: parts(path, path, &parsed, file),
                ..Sheet::default()
            });
        }
    }
    Ok(Sheet::default())
}

/// `None` if the tracks are not in order.
fn of_block(found: &FlacCues) -> Option<Parsed> {
    // Samples come from the file: the product may overflow, and the rate be 0.
    let frames = |samples: u64| samples.checked_mul(FRAMES)?.checked_div(found.rate.into());
    let mut file = ParsedFile {
        name: String::new(),
        tracks: Vec::new(),
    };
    for cue in &found.tracks {
        let start = frames(cue.start)?;
        if file
            .tracks
            .last()
            .is_some_and(|last| last.start >= start || last.number >= cue.number)
        {
            return None;
        }
        let number = cue.number;
        let is_audio = cue.is_audio;
        let isrc = cue.isrc.clone();
        file.tracks.push(ParsedTrack {
            number,
            is_audio,
            start,
            isrc,
            ..ParsedTrack::default()
        });
    }
    Some(Parsed {
        files: vec![file],
        ..Parsed::default()
    })
}

/// The file that a sheet in `folder` names, never outside of the folder: of a path that leads out of it, the longest end
/// that exists below it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    if name.contains('\0') {
        return None;
    }
    // Most sheets were written on Windows.
    let name = name.replace('\\', "/");
    let has_drive = name.as_bytes().get(1) == Some(&b':');
    let steps = name.split('/');
    // Only Windows has drives, and joining `C:x.wav` to a folder leaves it. Elsewhere it is a valid name.
    let steps = steps.map(|step| match step.rsplit_once(':') {
        Some((_, rest)) if cfg!(windows) => rest,
        _ => step,
    });
    let steps: Vec<&str> = steps.filter(|step| !matches!(*step, "" | ".")).collect();
    // A sheet must not make voisin read `../../private.wav`.
    let behind = steps.iter().rposition(|step| *step == "..");
    let first = behind.map_or(0, |at| at + 1);
    let ends = if name.starts_with('/') || has_drive || behind.is_some() {
        first.max(steps.len().saturating_sub(DEEPEST))..steps.len()
    } else {
        0..1
    };
    let mut ends = ends.filter_map(|start| below(folder, &steps[start..]));
    ends.next()
}

/// The file at these steps below a folder. Names may differ in case and accents, and that of the file, after encoding, in
/// its extension.
fn below(folder: &Path, steps: &[&str]) -> Option<PathBuf> {
    let (name, folders) = steps.split_last()?;
    let mut folder = folder.to_owned();
    for step in folders {
        let exact = folder.join(step);
        folder = if exact.is_dir() {
            exact
        } else {
            alike(&folder, step, &[], Path::is_dir)?
        };
    }
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    alike(&folder, name, &ENDINGS, Path::is_file)
}

/// - `endings`: extensions that the name may have instead of its own
fn alike(
    folder: &Path,
    name: &str,
    endings: &[&str],
    is_kind: fn(&Path) -> bool,
) -> Option<PathBuf> {
    let wanted = folded(name);
    let stem = Path::new(&wanted).file_stem()?.to_str()?;
    let mut names: Vec<OsString> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    // Names from before UTF-8 are decoded together, as one alone is short.
    let old = OldEncoding::detect(names.iter().map(|name| name.as_encoded_bytes()));
    let mut alike: Vec<(bool, PathBuf)> = names
        .iter()
        .filter_map(|name| {
            let found = folded(&old.decode(name.as_encoded_bytes()));
            let (same_stem, ending) = found.rsplit_once('.').unwrap_or((&found, ""));
            let other_ending = same_stem == stem && endings.contains(&ending);
            // `false` sorts first: the same name before one with another extension.
            (found == wanted || other_ending).then(|| (found != wanted, folder.join(name)))
        })
        .filter(|(_, path)| is_kind(path))
        .collect();
    alike.sort();
    alike.into_iter().next().map(|(_, path)| path)
}

#[derive(Debug, Default)]
struct Parsed {
    title: Option<String>,
    artist: Option<String>,
    genre: Option<String>,
    date: Option<String>,
    files: Vec<ParsedFile>,
}

#[derive(Debug)]
struct ParsedFile {
    name: String,
    /// The tracks that begin in it, in order.
    tracks: Vec<ParsedTrack>,
}

#[derive(Debug, Default)]
struct ParsedTrack {
    number: u32,
    is_audio: bool,
    start: u64,
    title: Option<String>,
    artist: Option<String>,
    isrc: Option<String>,
}

/// Parses the relevant lines and ignores all others.
fn parse(text: &str) -> Result<Parsed, String> {
    let mut sheet = Parsed::default();
    let mut numbers = HashSet::new();
    // The current track and its first line, until its INDEX 01 gives the start.
    let mut open: Option<(ParsedTrack, usize)> = None;
    // Whether lines are about a track rather than the album.
    let mut in_track = false;
    // Old Macs end lines with CR alone. `\r\n` must not count as two line ends.
    let text = text.replace("\r\n", "\n");
    for (n, line) in text
        .split(['\n', '\r'])
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()))
    {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "FILE" => {
                let (name, kind) = rest.rsplit_once(char::is_whitespace).unwrap_or((rest, ""));
                // Some programs leave out the kind (`WAVE`); a quoted name may have blanks.
                let name = if rest.ends_with('"') { rest } else { name };
                let Some(name) = unquoted(name) else {
                    return Err(format!(
                        "line {n}: expected FILE \"name\" WAVE, found {line:?}"
                    ));
                };
                // The image of a whole disc, sectors of raw bytes: no decoder reads it.
                if matches!(kind.to_ascii_uppercase().as_str(), "BINARY" | "MOTOROLA") {
                    return Err(format!(
                        "line {n}: expected a file of audio, found a disc's data ({kind})"
                    ));
                }
                // Bounded, as each is searched in the folder.
                if sheet.files.len() >= MOST_TRACKS as usize {
                    return Err(format!(
                        "line {n}: expected at most {MOST_TRACKS} FILE lines, found more"
                    ));
                }
                sheet.files.push(ParsedFile {
                    name,
                    tracks: Vec::new(),
                });
            }
            "TRACK" => {
                unplaced(open.take())?;
                let (number, kind) = rest
                    .split_once(char::is_whitespace)
                    .unwrap_or((rest, "AUDIO"));
                let number = number
                    .parse()
                    .ok()
                    .filter(|number| (1..=MOST_TRACKS).contains(number));
                let Some(number) = number else {
                    return Err(format!(
                        "line {n}: expected TRACK with a number from 1 to {MOST_TRACKS}, found {line:?}"
                    ));
                };
                // Numbers become paths, which must be unique in a sheet.
                if !numbers.insert(number) {
                    return Err(format!("line {n}: TRACK {number:02} is there twice"));
                }
                let is_audio = kind.trim().eq_ignore_ascii_case("AUDIO");
                open = Some((
                    ParsedTrack {
                        number,
                        is_audio,
                        ..ParsedTrack::default()
                    },
                    n,
                ));
                in_track = true;
            }
            "INDEX" => {
                let (number, time) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                // 00 is the silence before a track, which belongs to the previous one; 02 and more are within the
                // track.
                if number.parse() != Ok(1_u32) {
                    continue;
                }
                let Some((mut track, _)) = open.take() else {
                    return Err(format!(
                        "line {n}: expected a TRACK before this INDEX 01, found none"
                    ));
                };
                track.start = frames(time.trim()).ok_or_else(|| {
                    format!("line {n}: expected a time such as 03:25:74, found {time:?}")
                })?;
                let Some(file) = sheet.files.last_mut() else {
                    return Err(format!(
                        "line {n}: expected a FILE before the first TRACK, found none"
                    ));
                };
                // Compared within a file: each FILE starts at 0.
                if let Some(last) = file.tracks.last().filter(|last| last.start >= track.start) {
                    return Err(format!(
                        "line {n}: expected TRACK {:02} to begin after TRACK {:02}, found {}",
                        track.number,
                        last.number,
                        time.trim()
                    ));
                }
                file.tracks.push(track);
            }
            word @ ("TITLE" | "PERFORMER" | "ISRC") => {
                // Some programs write a track's title after its INDEX.
                let placed = sheet
                    .files
                    .iter_mut()
                    .rev()
                    .find_map(|file| file.tracks.last_mut());
                let track = match &mut open {
                    Some((track, _)) => Some(track),
                    None => placed.filter(|_| in_track),
                };
                let field = match (word, track) {
                    ("TITLE", Some(track)) => &mut track.title,
                    ("PERFORMER", Some(track)) => &mut track.artist,
                    ("ISRC", Some(track)) => &mut track.isrc,
                    ("TITLE", None) => &mut sheet.title,
                    ("PERFORMER", None) => &mut sheet.artist,
                    // An ISRC of the album is ignored.
                    _ => continue,
                };
                *field = unquoted(rest);
            }
            "REM" => {
                let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                match word.to_ascii_uppercase().as_str() {
                    "GENRE" => sheet.genre = unquoted(rest.trim()),
                    "DATE" => sheet.date = unquoted(rest.trim()),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    unplaced(open)?;
    if sheet.files.iter().all(|file| file.tracks.is_empty()) {
        return Err("expected FILE, TRACK and INDEX 01 lines, found none".to_owned());
    }
    Ok(sheet)
}

/// Refuses an audio track without INDEX 01; data tracks often have none.
fn unplaced(open: Option<(ParsedTrack, usize)>) -> Result<(), String> {
    match open {
        Some((track, n)) if track.is_audio => Err(format!(
            "line {n}: expected an INDEX 01 for TRACK {:02}, found none",
            track.number
        )),
        _ => Ok(()),
    }
}

/// Text without the quotes around it; `None` if nothing is left.
fn unquoted(text: &str) -> Option<String> {
    let inside = text
        .strip_prefix('"')
        .map(|text| text.strip_suffix('"').unwrap_or(text));
    let text = inside.unwrap_or(text).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Parses `mm:ss:ff` to frames. Minutes may exceed 59.
fn frames(time: &str) -> Option<u64> {
    let digits = |part: &str, below: u64| {
        let is_number =
            // Rust would parse a sign as well; six digits prevent an overflow.
            (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>()
            .ok()
            .filter(|number| is_number && *number < below)
    };
    let mut parts = time.split(':');
    let minutes = parts.next()?;
    let seconds = parts.next()?;
    let frames = parts.next()?;
    let whole = digits(minutes, 1_000_000)? * 60 + digits(seconds, 60)?;
    let frames = digits(frames, FRAMES)?;
    parts.next().is_none().then_some(whole * FRAMES + frames)
}

#[cfg(test)]
mod tests;
