//! CUE sheets: text files that say where the tracks of one long audio file begin, and what they are called.
//!
//! A part of a file has a path of its own below the sheet's, `album.cue/03` for TRACK 03. A FLAC file may hold a sheet itself;
//! its parts lie below it, `album.flac/03`. Everything that reads audio or tags takes such a path; nothing else needs to know
//! that there are parts.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::flac::{self, FlacCues};
use super::regular_file;

/// A sheet larger than this is none.
const LARGEST: u64 = 1 << 20;
/// A CD has 99 tracks; lists of long mixes have more.
const MOST_TRACKS: u32 = 999;
/// Times are counted in frames, of which a second has so many.
pub(crate) const FRAMES: u64 = 75;
/// Sheets often name the file as it was before it was encoded: one of these of the same name is meant then.
const ENDINGS: [&str; 10] = ["flac", "wav", "mp3", "m4a", "ogg", "opus", "aiff", "aif", "mka", "aac"];

/// Part of an audio file, as a sheet describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CuePart {
    /// The sheet, or the file itself that holds one.
    pub(crate) sheet: PathBuf,
    /// The file that it is part of.
    pub(crate) audio: PathBuf,
    pub(crate) number: u32,
    /// Where it begins, in frames of 1/75 s from the start of the file.
    pub(crate) start: u64,
    /// Where it ends: where the next one begins; `None` at the end of the file.
    pub(crate) end: Option<u64>,
    pub(crate) title: Option<String>,
    pub(crate) artist: Option<String>,
    pub(crate) album: Option<String>,
    pub(crate) album_artist: Option<String>,
    pub(crate) genre: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) isrc: Option<String>,
}

impl CuePart {
    /// The path that it has in the library.
    pub(crate) fn path(&self) -> PathBuf {
        self.sheet.join(format!("{:02}", self.number))
    }

    /// Where it begins and ends, in seconds.
    pub(crate) fn seconds(&self) -> (f64, Option<f64>) {
        let seconds = |frames: u64| frames as f64 / FRAMES as f64;
        (seconds(self.start), self.end.map(seconds))
    }

    /// What the system knows of the sheet and of the file.
    pub(crate) fn metadata(&self) -> io::Result<(Metadata, Metadata)> {
        Ok((std::fs::metadata(&self.sheet)?, std::fs::metadata(&self.audio)?))
    }
}

/// What a sheet gives: parts of the files that are there, and the names of those that are not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) parts: Vec<CuePart>,
    pub(crate) missing: Vec<String>,
}

impl Sheet {
    /// What is wrong with it although it could be read.
    pub(crate) fn fault(&self) -> Option<io::Error> {
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
pub(crate) fn is_sheet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("cue"))
}

/// Whether a file may hold a sheet, by its name.
pub(crate) fn may_hold_sheet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("flac"))
}

/// What a path must be a part of, by its name alone: the sheet that it lies below, or a file that may hold one, with a number.
pub(crate) fn above(path: &Path) -> Option<&Path> {
    let is_number = |name: &str| name.len() >= 2 && name.bytes().all(|byte| byte.is_ascii_digit());
    let has_number = || path.file_name().and_then(OsStr::to_str).is_some_and(is_number);
    path.parent().filter(|above| is_sheet(above) || may_hold_sheet(above) && has_number())
}

/// The part that a path means, if it lies below a sheet.
///
/// # Errors
/// `NotFound`: the sheet has no such part, or its file is not there. `InvalidData`: the sheet makes no sense.
pub(crate) fn part(path: &Path) -> Option<io::Result<CuePart>> {
    let sheet = above(path).filter(|sheet| sheet.is_file())?;
    let none = || io::Error::new(ErrorKind::NotFound, format!("{} has no such part", sheet.display()));
    Some(read(sheet).and_then(|read| {
        let name = path.file_name().unwrap_or_default();
        read.parts.into_iter().find(|part| *name == *format!("{:02}", part.number)).ok_or_else(none)
    }))
}

/// The folder that a file lies in, or that of its sheet.
pub(crate) fn folder(path: &Path) -> Option<&Path> {
    above(path).unwrap_or(path).parent()
}

/// Whether a path means a file, or a part of one.
pub(crate) fn is_there(path: &Path) -> bool {
    path.is_file() || matches!(part(path), Some(Ok(_)))
}

/// Reads a sheet. A file that is one track alone is no part of anything and left out.
///
/// # Errors
/// It cannot be read, or makes no sense: one line that says where.
pub(crate) fn read(path: &Path) -> io::Result<Sheet> {
    if may_hold_sheet(path) {
        return held_by(path);
    }
    let parsed = parse(&text(&regular_file::read(path, LARGEST)?)).map_err(fault)?;
    let mut sheet = Sheet::default();
    for file in parsed.files.iter().filter(|file| file.tracks.len() > 1) {
        let Some(audio) = find(path.parent().unwrap_or(Path::new("")), &file.name) else {
            sheet.missing.push(file.name.clone());
            continue;
        };
        sheet.parts.extend(parts(path, &audio, &parsed, file));
    }
    Ok(sheet)
}

fn parts<'a>(
    sheet: &'a Path,
    audio: &'a Path,
    parsed: &'a Parsed,
    file: &'a ParsedFile,
) -> impl Iterator<Item = CuePart> + 'a {
    file.tracks.iter().enumerate().filter(|(_, track)| track.is_audio).map(move |(i, track)| CuePart {
        sheet: sheet.to_owned(),
        audio: audio.to_owned(),
        number: track.number,
        start: track.start,
        end: file.tracks.get(i + 1).map(|next| next.start),
        title: track.title.clone(),
        artist: track.artist.clone().or_else(|| parsed.artist.clone()),
        album: parsed.title.clone(),
        album_artist: parsed.artist.clone(),
        genre: parsed.genre.clone(),
        date: parsed.date.clone(),
        isrc: track.isrc.clone(),
    })
}

/// The sheet that a FLAC file holds: its comment, else its block, which has no titles. Either is about the file that it lies
/// in, whatever the comment calls it; one that makes no sense is none.
fn held_by(path: &Path) -> io::Result<Sheet> {
    let found = flac::read(path)?;
    let of_comment = found.text.as_ref().and_then(|bytes| parse(&text(bytes)).ok());
    for parsed in of_comment.into_iter().chain(of_block(&found)) {
        let mut files = parsed.files.iter().filter(|file| file.tracks.len() > 1);
        if let (Some(file), None) = (files.next(), files.next()) {
            return Ok(Sheet { parts: parts(path, path, &parsed, file).collect(), missing: Vec::new() });
        }
    }
    Ok(Sheet::default())
}

/// `None` where the tracks do not follow each other.
fn of_block(found: &FlacCues) -> Option<Parsed> {
    let frames = |samples: u64| samples.checked_mul(FRAMES)?.checked_div(found.rate.into());
    let mut file = ParsedFile { name: String::new(), tracks: Vec::new() };
    for cue in &found.tracks {
        let start = frames(cue.start)?;
        if file.tracks.last().is_some_and(|last| last.start >= start || last.number >= cue.number) {
            return None;
        }
        let (number, is_audio, isrc) = (cue.number, cue.is_audio, cue.isrc.clone());
        file.tracks.push(ParsedTrack { number, is_audio, start, isrc, ..ParsedTrack::default() });
    }
    Some(Parsed { files: vec![file], ..Parsed::default() })
}

/// The file that a sheet in `folder` names, wherever it lay when the sheet was written: never outside of the folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let name = name.replace('\\', "/");
    let has_drive = name.as_bytes().get(1) == Some(&b':');
    let leads_out = name.starts_with('/') || has_drive || name.split('/').any(|step| step == "..");
    let name = if leads_out { name.rsplit('/').next()? } else { &name };
    let exact = folder.join(name);
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if exact.is_file() {
        return Some(exact);
    }
    let wanted = exact.file_name()?.to_str()?.to_lowercase();
    let stem = Path::new(&wanted).file_stem()?.to_str()?.to_owned();
    let mut alike: Vec<(bool, PathBuf)> = std::fs::read_dir(exact.parent()?)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let found = entry.file_name().to_str()?.to_lowercase();
            let (same_stem, ending) = found.rsplit_once('.')?;
            let other_ending = same_stem == stem && ENDINGS.contains(&ending);
            (found == wanted || other_ending).then(|| (found != wanted, entry.path()))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    alike.sort();
    alike.into_iter().next().map(|(_, path)| path)
}

/// UTF-8 or UTF-16 if it says so or can be, else Windows-1252, as most programs that write sheets have it.
fn text(bytes: &[u8]) -> String {
    const UPPER: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
    let units = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => return units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return units(u16::from_be_bytes),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_or_else(
        |_| {
            let one = |&byte: &u8| match byte {
                0x80..=0x9f => UPPER.chars().nth(usize::from(byte - 0x80)).unwrap_or('\u{fffd}'),
                byte => char::from(byte),
            };
            bytes.iter().map(one).collect()
        },
        str::to_owned,
    )
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
    /// Those that begin in it, in order.
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

/// Reads the lines that matter and passes over all others.
fn parse(text: &str) -> Result<Parsed, String> {
    let mut sheet = Parsed::default();
    let mut numbers = HashSet::new();
    // The track whose lines these are, and the line that it began in, until its INDEX 01 says where it lies.
    let mut open: Option<(ParsedTrack, usize)> = None;
    // Whether lines are about a track rather than the album.
    let mut in_track = false;
    for (n, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "FILE" => {
                let (name, kind) = rest.rsplit_once(char::is_whitespace).unwrap_or((rest, ""));
                let name = if rest.ends_with('"') { rest } else { name };
                let Some(name) = unquoted(name) else {
                    return Err(format!("line {n}: expected FILE \"name\" WAVE, found {line:?}"));
                };
                if matches!(kind.to_ascii_uppercase().as_str(), "BINARY" | "MOTOROLA") {
                    return Err(format!("line {n}: expected a file of audio, found a disc's data ({kind})"));
                }
                sheet.files.push(ParsedFile { name, tracks: Vec::new() });
            }
            "TRACK" => {
                unplaced(open.take())?;
                let (number, kind) = rest.split_once(char::is_whitespace).unwrap_or((rest, "AUDIO"));
                let number = number.parse().ok().filter(|number| (1..=MOST_TRACKS).contains(number));
                let Some(number) = number else {
                    return Err(format!(
                        "line {n}: expected TRACK with a number from 1 to {MOST_TRACKS}, found {line:?}"
                    ));
                };
                if !numbers.insert(number) {
                    return Err(format!("line {n}: TRACK {number:02} is there twice"));
                }
                let is_audio = kind.trim().eq_ignore_ascii_case("AUDIO");
                open = Some((ParsedTrack { number, is_audio, ..ParsedTrack::default() }, n));
                in_track = true;
            }
            "INDEX" => {
                let (number, time) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                // 00 is the silence before a track, which players count to the one before; 02 and more are inside of it.
                if number.parse() != Ok(1_u32) {
                    continue;
                }
                let Some((mut track, _)) = open.take() else {
                    return Err(format!("line {n}: expected a TRACK before this INDEX 01, found none"));
                };
                track.start = frames(time.trim())
                    .ok_or_else(|| format!("line {n}: expected a time such as 03:25:74, found {time:?}"))?;
                let Some(file) = sheet.files.last_mut() else {
                    return Err(format!("line {n}: expected a FILE before the first TRACK, found none"));
                };
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
                // Some programs write a track's title below its INDEX.
                let placed = sheet.files.iter_mut().rev().find_map(|file| file.tracks.last_mut());
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

/// A track without INDEX 01 lies nowhere; data on a disc often has none, and no audio either.
fn unplaced(open: Option<(ParsedTrack, usize)>) -> Result<(), String> {
    match open {
        Some((track, n)) if track.is_audio => {
            Err(format!("line {n}: expected an INDEX 01 for TRACK {:02}, found none", track.number))
        }
        _ => Ok(()),
    }
}

/// Text without the quotes around it; `None` if nothing is left.
fn unquoted(text: &str) -> Option<String> {
    let inside = text.strip_prefix('"').map(|text| text.strip_suffix('"').unwrap_or(text));
    let text = inside.unwrap_or(text).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// `mm:ss:ff`, in frames. Minutes go as far as they like.
fn frames(time: &str) -> Option<u64> {
    let digits = |part: &str, below: u64| {
        let is_number = (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|number| is_number && *number < below)
    };
    let mut parts = time.split(':');
    let (minutes, seconds, frames) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = digits(minutes, 1_000_000)? * 60 + digits(seconds, 60)?;
    let frames = digits(frames, FRAMES)?;
    parts.next().is_none().then_some(whole * FRAMES + frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALBUM: &str = "REM GENRE \"Dub Techno\"\nREM DATE 2003\nPERFORMER \"Various\"\nTITLE \"A \"long\" mix\"\n\
        FILE \"mix.wav\" WAVE\n  TRACK 01 AUDIO\n    TITLE \"One\"\n    PERFORMER \"X\"\n    INDEX 01 00:00:00\n  \
        TRACK 02 AUDIO\n    TITLE \"Two\"\n    ISRC USRC17607839\n    INDEX 00 03:20:00\n    INDEX 01 03:25:37\n";

    fn folder_with(sheet: &[u8], files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), b"x").unwrap();
        }
        let path = folder.path().join("album.cue");
        std::fs::write(&path, sheet).unwrap();
        (folder, path)
    }

    #[test]
    fn a_sheet_gives_parts_with_times_and_names() {
        let (folder, path) = folder_with(ALBUM.as_bytes(), &["mix.wav"]);
        let parts = read(&path).unwrap().parts;
        assert_eq!(parts.len(), 2);
        let one = &parts[0];
        assert_eq!((one.start, one.end), (0, Some((3 * 60 + 25) * 75 + 37)));
        assert_eq!((one.title.as_deref(), one.artist.as_deref()), (Some("One"), Some("X")));
        assert_eq!(one.album.as_deref(), Some("A \"long\" mix"));
        let two = &parts[1];
        assert_eq!((two.start, two.end), (one.end.unwrap(), None));
        assert_eq!((two.artist.as_deref(), two.isrc.as_deref()), (Some("Various"), Some("USRC17607839")));
        assert_eq!((two.genre.as_deref(), two.date.as_deref()), (Some("Dub Techno"), Some("2003")));
        assert_eq!(two.path(), path.join("02"));
        assert_eq!(part(&path.join("02")).unwrap().unwrap(), *two);
        assert_eq!(part(&path.join("3")).unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(part(&folder.path().join("mix.wav")).is_none() && !is_there(&path.join("03")));
    }

    #[test]
    fn any_encoding_is_read() {
        let title = |bytes: &[u8]| parse(&text(bytes)).unwrap().files[0].tracks[0].title.clone().unwrap();
        let lines = |title: &str| {
            format!("FILE a.wav WAVE\r\nTRACK 1 AUDIO\r\nTITLE {title}\r\nINDEX 01 00:00:00\r\n")
        };
        let utf16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(lines("Ž–é").encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let latin: Vec<u8> = lines("?")
            .bytes()
            .flat_map(|b| if b == b'?' { vec![0x8e, 0x96, 0xe9] } else { vec![b] })
            .collect();
        for bytes in
            [lines("Ž–é").into_bytes(), format!("\u{feff}{}", lines("Ž–é")).into_bytes(), utf16, latin]
        {
            assert_eq!(title(&bytes), "Ž–é");
        }
    }

    #[test]
    fn files_are_found_beside_the_sheet_and_nowhere_else() {
        let sheet = |name: &str| ALBUM.replace("mix.wav", name);
        for (name, there) in [
            ("MIX.WAV", "mix.wav"),
            ("mix.wav", "mix.flac"),
            (r"C:\Rips\mix.wav", "mix.mp3"),
            ("/elsewhere/mix.wav", "mix.wav"),
            ("../mix.wav", "mix.wav"),
        ] {
            let (folder, path) = folder_with(sheet(name).as_bytes(), &[there, "mix.txt"]);
            let parts = read(&path).unwrap().parts;
            assert!(parts.iter().all(|part| part.audio == folder.path().join(there)), "{name}: {parts:?}");
            assert_eq!(parts.len(), 2);
        }
        for name in ["../../../../../../../../../../etc/hostname", "..", "/", "a\0b"] {
            let (_folder, path) = folder_with(sheet(name).as_bytes(), &["mix.txt"]);
            let read = read(&path).unwrap();
            assert!(
                read.parts.is_empty() && read.fault().unwrap().to_string().contains("FILE line"),
                "{name}"
            );
        }
    }

    #[test]
    fn several_files_and_those_of_one_track_alone() {
        let text = "FILE a.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 00 01:00:00\n\
                    FILE b.wav WAVE\nINDEX 01 00:00:00\nTRACK 03 AUDIO\nINDEX 01 02:00:00\n\
                    FILE gone.wav WAVE\nTRACK 04 AUDIO\nINDEX 01 00:00:00\n";
        let (folder, path) = folder_with(text.as_bytes(), &["a.wav", "b.wav"]);
        let read = read(&path).unwrap();
        // TRACK 01 has a file of its own, and so has TRACK 04.
        let parts: Vec<_> = read.parts.iter().map(|part| (part.number, part.start, part.end)).collect();
        assert_eq!(parts, [(2, 0, Some(9000)), (3, 9000, None)]);
        assert_eq!((&read.parts[0].audio, read.missing.len()), (&folder.path().join("b.wav"), 0));
    }

    #[test]
    fn what_makes_no_sense_is_told_in_one_line() {
        let track = |index: &str| {
            format!("FILE a.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:01:00\nTRACK 02 AUDIO\n{index}\n")
        };
        for (text, expected) in [
            (track("INDEX 01 03:75:00"), "line 5: expected a time such as 03:25:74, found \"03:75:00\""),
            (track("INDEX 01 3:25"), "line 5: expected a time"),
            (track("INDEX 01 -3:25:00"), "line 5: expected a time"),
            (track("INDEX 01 99999999999999999999:00:00"), "line 5: expected a time"),
            (track("INDEX 01 00:00:74"), "line 5: expected TRACK 02 to begin after TRACK 01, found 00:00:74"),
            (track("INDEX 00 00:02:00"), "line 4: expected an INDEX 01 for TRACK 02"),
            (track("INDEX 01 00:02:00\nTRACK 2 AUDIO"), "line 6: TRACK 02 is there twice"),
            (track("INDEX 01 00:02:00\nINDEX 01 00:03:00"), "line 6: expected a TRACK before"),
            ("TRACK 01 AUDIO\nINDEX 01 00:00:00".into(), "line 2: expected a FILE before"),
            ("FILE a.bin BINARY\n".into(), "line 1: expected a file of audio"),
            ("FILE\n".into(), "line 1: expected FILE"),
            ("TRACK 0 AUDIO".into(), "line 1: expected TRACK with a number from 1 to 999"),
            (String::new(), "expected FILE, TRACK and INDEX 01 lines"),
            ("\u{0}\u{1b}[31m garbage\n".repeat(1000), "expected FILE, TRACK and INDEX 01 lines"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains(char::is_control), "{error}");
        }
    }

    /// The head of a FLAC file at 44.1 kHz with these blocks.
    fn flac(blocks: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut info = vec![0; 34];
        info[10..13].copy_from_slice(&(44_100_u32 << 4).to_be_bytes()[1..]);
        let mut file = b"fLaC".to_vec();
        let last = blocks.len();
        for (i, (kind, block)) in [&[(0, info)], blocks].concat().into_iter().enumerate() {
            file.push(kind | if i == last { 0x80 } else { 0 });
            file.extend(&(block.len() as u32).to_be_bytes()[1..]);
            file.extend(block);
        }
        [file, vec![0; 100]].concat()
    }

    fn comments(texts: &[&str]) -> (u8, Vec<u8>) {
        let sized = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let texts: Vec<u8> = texts.iter().flat_map(|text| sized(text)).collect();
        (4, [sized("maker"), vec![9, 0, 0, 0], texts].concat())
    }

    /// A CUESHEET block: numbers and seconds of its tracks, and the lead-out.
    fn block(tracks: &[(u8, u64)]) -> (u8, Vec<u8>) {
        let mut block = vec![0; 395];
        block.push(tracks.len() as u8 + 1);
        for &(number, second) in tracks.iter().chain(&[(170, 1000)]) {
            block.extend((44_100 * second).to_be_bytes());
            block.push(number);
            block.extend(if number == 2 { *b"USRC17607839" } else { [0; 12] });
            block.extend([0; 14]);
            // One index before the one that counts, which lies a second after the track's own offset.
            block.push(if number == 170 { 0 } else { 2 });
            if number != 170 {
                block.extend([0; 12]);
                block.extend([&44_100_u64.to_be_bytes()[..], &[1, 0, 0, 0]].concat());
            }
        }
        (5, block)
    }

    #[test]
    fn a_flac_file_holds_a_sheet_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("album.FLAC");
        let parts_of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).unwrap().parts
        };
        let comment = format!("cuesheet={}", ALBUM.replace("mix.wav", "of another name.wav"));
        let of_comment = comments(&["TITLE=A", &comment]);
        // The comment, which has titles, comes before the block; each alone is enough, and so it is behind an ID3 tag.
        for file in [vec![of_comment.clone()], vec![block(&[(1, 0), (2, 9)]), of_comment.clone()]] {
            let parts = parts_of(&[b"ID3\x04\0\0\0\0\x01\x02".to_vec(), vec![7; 130], flac(&file)].concat());
            assert_eq!((parts.len(), parts[0].title.as_deref()), (2, Some("One")));
            assert_eq!(
                (parts[1].start, parts[1].isrc.as_deref()),
                ((3 * 60 + 25) * 75 + 37, Some("USRC17607839"))
            );
            assert_eq!((&parts[1].audio, parts[1].path()), (&path, path.join("02")));
            assert_eq!(part(&path.join("02")).unwrap().unwrap(), parts[1]);
        }
        let nonsense = comments(&["CUESHEET=TRACK 01 AUDIO"]);
        let parts = parts_of(&flac(&[nonsense.clone(), block(&[(1, 0), (2, 9)])]));
        let of_block = [(1, 75, Some(750), None), (2, 750, None, Some("USRC17607839"))];
        let shown = |part: &CuePart| (part.number, part.start, part.end, part.isrc.clone());
        assert_eq!(
            parts.iter().map(shown).collect::<Vec<_>>(),
            of_block.map(|(number, start, end, isrc)| (number, start, end, isrc.map(str::to_owned)))
        );
        assert_eq!(super::folder(&path.join("02")), Some(folder.path()));
        assert_eq!(super::folder(&path), Some(folder.path()));
        assert_eq!(part(&path.join("03")).unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(part(&path).is_none() && part(&path.join("cover")).is_none());
        // No parts: nothing, one track, tracks that go backwards, and every head that ends too soon or lies.
        for file in [
            vec![],
            vec![nonsense],
            vec![block(&[(1, 0)])],
            vec![block(&[(2, 0), (1, 9)])],
            vec![block(&[(1, 9), (2, 9)])],
        ] {
            assert_eq!(parts_of(&flac(&file)), []);
        }
        let whole = flac(&[of_comment, block(&[(1, 0), (2, 9)])]);
        for end in (0..whole.len() - 100).step_by(7) {
            parts_of(&whole[..end]);
        }
        for at in (0..whole.len()).step_by(7) {
            let mut lying = whole.clone();
            lying[at] = !lying[at];
            parts_of(&lying);
        }
    }
}
