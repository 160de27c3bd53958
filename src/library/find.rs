//! Resolves a user's words, ids, paths and names to tracks.

use std::ffi::OsStr;
use std::iter::once;
use std::path::{Path, PathBuf};

use super::{
    Library, LibraryError, Resolution, Result, Track, TrackFilter, TrackSet, fold, stored_path,
};
use crate::artists::artists;
use crate::recording::APART;
use voisin_base::text::spelt_alike;
use voisin_base::track::TrackId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameOf {
    Artist,
    Album,
}

/// What a text is found by: itself, the people whom it names, and what stands between commas, at which lists are split.
fn forms(kind: NameOf, text: &str) -> Vec<&str> {
    let people = match kind {
        NameOf::Album => Vec::new(),
        NameOf::Artist => artists(text),
    };
    let between = people.iter().flat_map(|name| name.split(", "));
    once(text)
        .chain(people.iter().copied())
        .chain(between)
        .collect()
}

impl Library {
    /// The names in tags that are equal to a text without case, accents and punctuation; of an artist, also those that
    /// name others too (`Alpha feat. Beta`). No match is an error with suggestions.
    pub fn resolve_names(&self, kind: NameOf, name: &str) -> Result<Vec<String>> {
        let all = self.names(kind)?;
        let wanted = fold(name);
        let is_named = |text: &&String| forms(kind, text).iter().any(|form| fold(form) == wanted);
        let found: Vec<String> = all.iter().filter(is_named).cloned().collect();
        if found.is_empty() {
            let (what, next) = match kind {
                NameOf::Artist => (
                    "artist",
                    "\"voisin similar --by artist -l all\" lists all artists",
                ),
                NameOf::Album => (
                    "album",
                    "\"voisin similar --by album -l all\" lists all albums",
                ),
            };
            let suggestions = spelt_alike(name, all.iter().flat_map(|text| forms(kind, text)))
                .into_iter()
                .map(str::to_owned)
                .collect();
            return Err(LibraryError::UnknownName {
                what,
                name: name.to_owned(),
                suggestions,
                next,
            });
        }
        Ok(found)
    }

    /// The folder as the library stores it. One that holds no track is an error.
    pub fn resolve_folder(&self, folder: &Path) -> Result<PathBuf> {
        let stored = stored_path(folder);
        let below = TrackFilter {
            folders: vec![stored.clone()],
            ..TrackFilter::default()
        };
        if self.matching(&below)?.is_empty() {
            let what = "folder of this library";
            let name = stored.display().to_string();
            let suggestions = Vec::new();
            let next = "\"voisin list --sort path\" shows its folders";
            return Err(LibraryError::UnknownName {
                what,
                name,
                suggestions,
                next,
            });
        }
        Ok(stored)
    }

    /// Resolves `text`: an id (`17`, or `#17` where a title is a number too), the path of a file in
    /// the library, or words of artist, title, album or file name. At most `limit` candidates are
    /// listed.
    pub fn resolve(&self, text: &OsStr, limit: usize) -> Result<Resolution> {
        if let Some(text) = text.to_str() {
            // The order matters: an id, then a path, then words. A title that is a number needs a
            // word of its artist as well.
            let digits = text.strip_prefix('#').unwrap_or(text);
            if !digits.is_empty()
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && let Ok(id) = digits.parse().map(TrackId)
                // a number may also be a title, so only ids that exist count
                && self.contains(id)?
            {
                return Ok(Resolution::One(id));
            }
        }
        if let Some(track) = self.find_by_path(Path::new(text))? {
            return Ok(Resolution::One(track));
        }
        match text.to_str() {
            Some(text) => self.resolve_words(text, limit),
            None => Ok(Resolution::Nothing),
        }
    }

    /// As [`resolve`](Library::resolve), for words alone, without access to the disk.
    pub fn resolve_words(&self, text: &str, limit: usize) -> Result<Resolution> {
        let ranked = self.rank(text)?;
        match ranked.as_slice() {
            [] => Ok(Resolution::Nothing),
            [(_, only)] => Ok(Resolution::One(*only)),
            // One title is equal to the words, the others only contain them.
            [(first, best), (second, _), ..] if first > second && *first >= EXACT => {
                Ok(Resolution::One(*best))
            }
            several => match self.one_recording(several)? {
                Some(first) => Ok(Resolution::One(first)),
                None => several
                    .iter()
                    .take(limit)
                    .map(|(_, id)| self.track(*id))
                    .collect::<Result<Vec<Track>>>()
                    .map(Resolution::Ambiguous),
            },
        }
    }

    /// The first of the tracks that fit best, where these are all copies of one recording.
    fn one_recording(&self, ranked: &[(u8, TrackId)]) -> Result<Option<TrackId>> {
        let best = ranked.first().map_or(0, |(score, _)| *score);
        let fitting = ranked
            .iter()
            .filter(|(score, _)| best < EXACT || *score == best)
            .map(|(_, id)| *id);
        let mut first: Option<Track> = None;
        for id in fitting {
            let track = self.track(id)?;
            match &first {
                None => first = Some(track),
                Some(known) if known.recording().has_name_of(&track.recording(), APART) => {}
                Some(_) => return Ok(None),
            }
        }
        Ok(first.map(|track| track.id))
    }

    /// Tracks of which some file has all words of `text` in artist, title, album, album artist or name,
    /// best first: whole titles, then whole words, then parts of words. At most `limit`.
    pub fn search_words(&self, text: &str, limit: usize) -> Result<Vec<TrackId>> {
        Ok(self
            .rank(text)?
            .into_iter()
            .take(limit)
            .map(|(_, id)| id)
            .collect())
    }

    /// Whether some file has these words as whole words in this order.
    pub fn has_words(&self, text: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM tags WHERE instr(' ' || search || ' ', ' ' || ?1 || ' ') LIMIT 1";
        let found: Vec<i64> = self.query_all(sql, [fold(text)], |row| row.get(0))?;
        Ok(!found.is_empty())
    }

    /// The tracks that [`search_words`](Self::search_words) finds.
    pub fn tracks_with_words(&self, text: &str) -> Result<TrackSet> {
        let found = self.rank(text)?;
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// The distinct names of this kind in files' tags, sorted.
    pub fn names(&self, kind: NameOf) -> Result<Vec<String>> {
        let sql = match kind {
            NameOf::Artist => "SELECT artist FROM tags UNION SELECT album_artist FROM tags",
            NameOf::Album => "SELECT DISTINCT album FROM tags",
        };
        let names: Vec<Option<String>> = self.query_all(sql, [], |row| row.get(0))?;
        let mut names: Vec<String> = names.into_iter().flatten().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The tracks with exactly this name in the tags of one of their files.
    pub fn tracks_named(&self, kind: NameOf, name: &str) -> Result<Vec<TrackId>> {
        let condition = match kind {
            NameOf::Artist => "t.artist = ?1 OR t.album_artist = ?1",
            NameOf::Album => "t.album = ?1",
        };
        let sql = format!(
            "SELECT DISTINCT f.track FROM tags t JOIN files f ON f.id = t.file WHERE {condition} ORDER BY f.track"
        );
        self.query_all(&sql, [name], |row| row.get(0).map(TrackId))
    }

    /// Tracks whose words, or whose title, are spelt much like `text`, which may be misspelt: the most alike first.
    pub fn spelt_alike(&self, text: &str, limit: usize) -> Result<Vec<TrackId>> {
        // Bytes; the time goes with the product of both lengths.
        const LONGEST: usize = 1000;
        let query = fold(text);
        let words = query.split(' ').filter(|word| !word.is_empty());
        let words: Vec<Spelling<'_>> = words.map(Spelling::new).collect();
        // every word is compared with every word of every file
        if words.is_empty() || words.len() > 8 || text.len() > LONGEST {
            return Ok(Vec::new());
        }
        let query = Spelling::new(&query);
        // Each word's nearest; a track is as alike as its worst word.
        let likeness = |search: &str| {
            let known: Vec<_> = search.split(' ').map(Spelling::new).collect();
            let nearest = |word: &Spelling<'_>| {
                let likenesses = known.iter().map(|known| word.likeness(known));
                likenesses.fold(0.0, f64::max)
            };
            // One word that is unlike all decides.
            let min = |worst: f64, near: f64| (near >= ALIKE).then(|| near.min(worst));
            words.iter().map(nearest).try_fold(1.0, min).unwrap_or(0.0)
        };
        let sql = "SELECT file, search, title_key FROM tags";
        let likeness = |row: &rusqlite::Row<'_>| {
            // In a word of three letters one is a third: the title as a whole is compared as well.
            let title = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
            let title = query.likeness(&Spelling::new(title));
            let words = likeness(row.get_ref(1)?.as_str()?);
            Ok((words.max(title), row.get(0)?))
        };
        let mut found: Vec<(f64, i64)> = self.query_all(sql, [], likeness)?;
        found.retain(|(alike, _)| *alike >= ALIKE);
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut tracks: Vec<TrackId> = Vec::new();
        let sql = "SELECT track FROM files WHERE id = ?1";
        // A track with several files comes once for each; the list is short, so looking through it is cheap.
        for (_, file) in found {
            if tracks.len() < limit
                && let Some(track) = self.query_opt(sql, [file], |row| row.get(0).map(TrackId))?
                && !tracks.contains(&track)
            {
                tracks.push(track);
            }
        }
        Ok(tracks)
    }

    /// Score and track, best first, then by id.
    fn rank(&self, text: &str) -> Result<Vec<(u8, TrackId)>> {
        let query = fold(text);
        let words: Vec<&str> = query.split(' ').filter(|word| !word.is_empty()).collect();
        if words.is_empty() || words.len() > MOST_WORDS {
            return Ok(Vec::new());
        }
        let conditions = (1..=words.len())
            .map(|n| format!("holds(t.search, ?{n})"))
            .collect::<Vec<_>>()
            .join(" AND ");
        let sql = format!(
            "SELECT f.track, t.search, t.title_key, t.artist_key FROM tags t JOIN files f ON f.id = t.file WHERE {conditions}"
        );
        let read = |row: &rusqlite::Row<'_>| {
            let title = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
            let artist = row.get_ref(3)?.as_str_or_null()?.unwrap_or_default();
            let search = row.get_ref(1)?.as_str()?;
            let score = score(&query, &words, title, artist, search);
            Ok((score, TrackId(row.get(0)?)))
        };
        let bound = rusqlite::params_from_iter(&words);
        let mut found: Vec<(u8, TrackId)> = self.query_all(&sql, bound, read)?;
        // Two sorts: by track, best file first, to keep that one; then by score, as the answer is
        // read.
        found.sort_unstable_by_key(|&(score, id)| (id, std::cmp::Reverse(score)));
        // the best file of a track counts
        found.dedup_by_key(|(_, id)| *id);
        found.sort_by_key(|&(score, id)| (std::cmp::Reverse(score), id));
        Ok(found)
    }
}

/// Least likeness of words that are spelt alike, stricter than for names (0.8 in `text::spelt_alike`): here
/// each word has all words of a track to match.
const ALIKE: f64 = 0.88;

/// A text with the set of its characters (a bit for the rest of each by 64) and their number.
struct Spelling<'a> {
    text: &'a str,
    set: u64,
    length: u32,
}

impl<'a> Spelling<'a> {
    fn new(text: &'a str) -> Self {
        let add = |(set, length), c| (set | 1 << (c as u32 % 64), length + 1);
        let (set, length) = text.chars().fold((0, 0), add);
        Self { text, set, length }
    }

    /// Most of its characters that may be in the other text too.
    fn shared(&self, other: &Self) -> u32 {
        self.length - (self.set & !other.set).count_ones()
    }

    /// The likeness of Jaro and Winkler, or 0 where the characters alone exclude [`ALIKE`], as for nearly all
    /// words: the comparison itself would take most of the time.
    fn likeness(&self, other: &Self) -> f64 {
        let shared = f64::from(self.shared(other).min(other.shared(self)));
        let lengths = [self.length, other.length].map(|length| f64::from(length.max(1)));
        let most = (shared / lengths[0] + shared / lengths[1] + 1.0) / 3.0;
        // A common beginning of up to four characters adds a tenth each of what is missing.
        if most + 0.4 * (1.0 - most) < ALIKE {
            return 0.0;
        }
        strsim::jaro_winkler(self.text, other.text)
    }
}

/// Most words of a query.
// Each is one more step of a condition, and SQLite parses none that is deeper than 1000.
const MOST_WORDS: usize = 64;

/// Least score of a title that is equal to the words.
const EXACT: u8 = 3;

fn score(query: &str, words: &[&str], title: &str, artist: &str, search: &str) -> u8 {
    // "artist title" in either order without building the text: this runs for every file that
    // matches.
    let joined = |a: &str, b: &str| {
        query.len() == a.len() + 1 + b.len()
            && query.starts_with(a)
            && query.ends_with(b)
            && query.as_bytes()[a.len()] == b' '
    };
    if !title.is_empty() && (joined(artist, title) || joined(title, artist)) {
        4
    } else if query == title {
        EXACT
    } else if words
        .iter()
        // `holds` found the words anywhere, "art" in "party" too: whole words are worth more.
        .all(|word| search.split(' ').any(|known| known == *word))
    {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    #[test]
    fn words_that_fit_copies_alone_name_the_first_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for (seed, title, seconds) in [
            (1, "Nebula", 200.0),
            (2, "NEBULA", 200.6),
            (3, "Comet", 200.0),
            (4, "Comet", 260.0),
        ] {
            let mut new = track(seed, vec![1.0, 0.0]);
            new.tags.title = Some(title.into());
            new.tags.artist = Some("Alpha".into());
            new.audio.seconds = seconds;
            library.insert_track(&new).unwrap();
        }
        let resolved = |words: &str| library.resolve_words(words, 10).unwrap();
        assert!(matches!(resolved("nebula"), Resolution::One(TrackId(1))));
        assert!(matches!(
            resolved("alpha nebula"),
            Resolution::One(TrackId(1))
        ));
        assert!(matches!(resolved("comet"), Resolution::Ambiguous(_)));
        assert!(matches!(resolved("alpha"), Resolution::Ambiguous(_)));
    }
}
