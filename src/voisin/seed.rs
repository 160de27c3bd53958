//! Seeds: turns the names that a user gives into vectors to search from.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{Embedder, Engine, EngineError, LibrarySpace, WindowPlan};
use crate::questions::read::Refused;
use voisin_base::track::{TrackId, is_same_recording};
use voisin_base::vector::{dot, make_unit};
use voisin_encoder::Embedding;
use voisin_library::scan::is_playlist;
use voisin_library::{LibraryError, MusicalKey, NameOf, Resolution, Track, stored_path};

/// The prefixes of names, in the order in which names without one are looked for.
pub(super) const NAME_PREFIXES: [(&str, NameOf); 2] =
    [("artist:", NameOf::Artist), ("album:", NameOf::Album)];

const MOST_CANDIDATES: usize = 10;
const NAME_TRACK: &str = "give a path, id:NUMBER, or words of artist and title";

/// A seed as a user writes it; docs/guide.md is its grammar.
///
/// All code that accepts seeds matches on this, so that each form is handled or refused everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedName<'a> {
    Playlist(&'a Path),
    Folder(&'a Path),
    Named(NameOf, &'a str),
    Id(TrackId),
    /// Any other file, in the library or not, or words that match one track.
    PathOrWords(&'a OsStr),
}

impl<'a> SeedName<'a> {
    /// Parses a name; checks on the disk which kind of file it names, if any.
    pub fn parse(text: &'a OsStr) -> Self {
        let path = Path::new(text);
        // Names of existing files come before prefixes: a file called `album:x.mp3` is that file.
        if path.is_dir() {
            return Self::Folder(path);
        }
        if is_playlist(path) && path.is_file() {
            return Self::Playlist(path);
        }
        if path.is_file() {
            return Self::PathOrWords(text);
        }
        let plain = text.to_str().unwrap_or_default();
        for (prefix, kind) in NAME_PREFIXES {
            if let Some(name) = plain.strip_prefix(prefix) {
                return Self::Named(kind, name);
            }
        }
        track_number(plain).map_or(Self::PathOrWords(text), Self::Id)
    }

    pub fn is_list(self) -> bool {
        matches!(self, Self::Playlist(_) | Self::Folder(_))
    }
}

#[derive(Debug, Clone)]
pub struct Seed {
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path where it was named by number or words.
    pub path: PathBuf,
    /// Whether the user named `path`: then results show this file, not another copy in the library.
    pub is_named_file: bool,
    pub seconds: Option<f64>,
    /// Its vector, raw, unit norm.
    pub vector: Vec<f32>,
    /// Whether the sound of a file outside the library hardly changes; that of tracks is in the library.
    pub is_steady: Option<bool>,
}

impl Seed {
    /// - `vector`: raw, unit norm
    pub fn of_vector(vector: Vec<f32>) -> Self {
        let path = PathBuf::new();
        Self {
            track: None,
            path,
            is_named_file: false,
            seconds: None,
            vector,
            is_steady: None,
        }
    }
}

/// - `has_path`: whether it shows the path, for users of this disk
fn candidate(track: &Track, has_path: bool) -> String {
    let mut line = format!("id:{}  {}", track.id, track.display_name());
    if has_path {
        line = format!("  {line}  ({})", track.path.display());
    }
    // Titles may have line ends in them.
    let breaks_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    line.replace(breaks_line, " ")
}

impl Engine {
    /// Turns what a user names into a seed: a file of the library or any other, `id:NUMBER`, or words.
    ///
    /// - `embedder`: loads the model, for a file outside the library; it must be the library's model
    pub fn seed<E>(
        &self,
        text: &OsStr,
        mut embedder: impl FnMut() -> Result<E, EngineError>,
    ) -> Result<Seed, EngineError>
    where
        E: std::ops::Deref<Target = Embedder>,
    {
        let path = Path::new(text);
        // In order of cost: a look-up, a number, reading the file, and last the search for words.
        if let Some(track) = self.library.find_by_path(path)? {
            return self.seed_of_file(track, path);
        }
        if let Some(track) = text.to_str().and_then(track_number) {
            return self.seed_of(track);
        }
        if path.exists() {
            let info = voisin_audio::probe(path)?;
            // A copy of a file in the library needs no network.
            if let Some(track) = self.library.find_by_content(&info.content)? {
                return self.seed_of_file(track, path);
            }
            let embedder = embedder()?;
            let embedding = embedder.embed(path, &info, embedder.plan())?;
            return Ok(Seed {
                seconds: Some(info.seconds()),
                is_steady: embedding.is_steady,
                // Results show it beside tracks, so that its path has the same form.
                path: stored_path(path),
                is_named_file: true,
                ..Seed::of_vector(embedding.vector.into_vec())
            });
        }
        // An id with a slip must never become words, which may fit another track.
        if let Some(number) = text.to_str().and_then(behind_id) {
            return Err(EngineError::NotFound(format!(
                "{}: expected a number after \"id:\", as in id:17, found {number:?}: \"voisin list\" lists all tracks",
                path.display()
            )));
        }
        let found = self.library.resolve(text, MOST_CANDIDATES)?;
        self.seed_found(&text.to_string_lossy(), found, true)
    }

    /// The one track of the library that words match.
    ///
    /// - `has_path`: whether errors show paths, for users of this disk
    pub fn seed_of_words(&self, words: &str, has_path: bool) -> Result<Seed, EngineError> {
        let found = self.library.resolve_words(words, MOST_CANDIDATES)?;
        self.seed_found(words, found, has_path)
    }

    fn seed_found(
        &self,
        text: &str,
        found: Resolution,
        has_path: bool,
    ) -> Result<Seed, EngineError> {
        let lines = |tracks: &[Track]| -> Vec<String> {
            let lines = tracks.iter().map(|track| candidate(track, has_path));
            lines.collect()
        };
        match found {
            Resolution::One(track) => self.seed_of(track),
            Resolution::Ambiguous(tracks) => Err(EngineError::Ambiguous {
                text: text.to_owned(),
                // The error lists ten candidates and counts all.
                count: self.library.search_words(text, usize::MAX)?.len(),
                candidates: lines(&tracks),
            }),
            Resolution::Nothing => {
                let alike = self.library.spelt_alike(text, 3)?;
                let candidates = lines(&self.library.tracks_by_id(&alike)?);
                let next = if candidates.is_empty() {
                    NAME_TRACK.to_owned()
                } else {
                    format!("did you mean one of these?\n{}", candidates.join("\n"))
                };
                Err(EngineError::NotFound(format!(
                    "\"{text}\" is neither a file nor a track of this library: {next}"
                )))
            }
        }
    }

    pub fn compatible_keys(&self, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let known = self.library().descriptors(&tracks)?;
        let keys = known.values().filter_map(|known| known.key);
        Ok(keys.flat_map(MusicalKey::compatible).collect())
    }

    pub fn seed_of(&self, track: TrackId) -> Result<Seed, EngineError> {
        let known = self.library.track(track)?;
        Ok(Seed {
            track: Some(track),
            path: known.path,
            seconds: Some(known.audio.seconds),
            ..Seed::of_vector(self.vector(track)?)
        })
    }

    /// A seed with the vector of a part of its file, by one window per second.
    ///
    /// - `from`, `to`: seconds from the file's start; a part that goes on after the file's end stops there
    pub fn part_of_seed(
        &self,
        seed: Seed,
        from: f64,
        to: f64,
        embedder: &Embedder,
    ) -> Result<Seed, EngineError> {
        let info = voisin_audio::probe(&seed.path)?;
        let seconds = info.seconds();
        if from >= seconds {
            let found = format!("{from:.2} s, of {seconds:.2} s");
            return Err(Refused::new("from", "a start inside the track", found).into());
        }
        let end = to.min(seconds);
        let milliseconds = |seconds: f64| (seconds * 1000.0).round() as u32;
        let part = WindowPlan::Part {
            from: milliseconds(from),
            to: milliseconds(end),
        };
        let embedded = embedder.embed(&seed.path, &info, part)?;
        Ok(Seed {
            seconds: Some(end - from),
            vector: embedded.vector.into_vec(),
            is_steady: embedded.is_steady,
            ..seed
        })
    }

    /// A seed of a vector from elsewhere, of which only the direction counts.
    pub fn seed_of_vector(&self, mut vector: Vec<f32>) -> Result<Seed, EngineError> {
        let expected = self.model()?.dimension;
        let found = vector.len();
        if expected != found {
            let expected = format!("a vector of dimension {expected}");
            return Err(Refused::new("vector", expected, format!("one of {found}")).into());
        }
        if !make_unit(&mut vector) {
            let expected = "finite numbers that are not all zero";
            return Err(Refused::new("vector", expected, "a vector without a direction").into());
        }
        Ok(Seed::of_vector(vector))
    }

    /// A track of the library as a seed, named by a file of it: one of the library's, or any other with its audio.
    pub fn seed_of_file(&self, track: TrackId, file: &Path) -> Result<Seed, EngineError> {
        Ok(Seed {
            path: stored_path(file),
            is_named_file: true,
            ..self.seed_of(track)?
        })
    }
}

pub fn track_number(text: &str) -> Option<TrackId> {
    behind_id(text)?.parse().ok().map(TrackId)
}

/// The rest of a text that begins with `id:`, in any case.
fn behind_id(text: &str) -> Option<&str> {
    let (prefix, number) = text.split_once(':')?;
    let is_id = prefix.trim().eq_ignore_ascii_case("id");
    is_id.then(|| number.trim())
}

impl LibrarySpace {
    /// Centred seeds, and the direction of their mean, away from that of other seeds (Rocchio).
    pub fn query(
        &self,
        seeds: &[Seed],
        unlike: &[Seed],
    ) -> Result<(Vec<Seed>, Embedding), EngineError> {
        const AWAY: f32 = 0.5;
        let seeds = self.centre_seeds(seeds);
        let query = mean(&seeds)?;
        if unlike.is_empty() {
            return Ok((seeds, query));
        }
        // Refuses vectors of another length.
        stacked(unlike, query.as_slice().len())?;
        let unwanted = mean(&self.centre_seeds(unlike))?;
        let both = query.as_slice().iter().zip(unwanted.as_slice());
        let away = both.map(|(like, unlike)| like - AWAY * unlike).collect();
        Ok((seeds, Embedding::new(away)?))
    }

    fn centre_seeds(&self, seeds: &[Seed]) -> Vec<Seed> {
        let centred = |seed: &Seed| Seed {
            vector: self.centre(&seed.vector),
            ..seed.clone()
        };
        seeds.iter().map(centred).collect()
    }
}

fn mean(seeds: &[Seed]) -> Result<Embedding, EngineError> {
    let Some(first) = seeds.first() else {
        let expected = "a seed: files, id:NUMBER, words, playlists or folders";
        return Err(Refused::new("seeds", expected, "none").into());
    };
    let mut sum = vec![0.0f32; first.vector.len()];
    for seed in seeds {
        for (sum, value) in sum.iter_mut().zip(&seed.vector) {
            *sum += value;
        }
    }
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    // Below a thousandth of the sum of all lengths, rounding dominates and the direction is noise.
    if norm < 1e-3 * seeds.len() as f32 {
        let found = "seeds in opposite directions, which leave nothing to search for";
        return Err(Refused::new("seeds", "fewer of them", found).into());
    }
    Ok(Embedding::new(sum)?)
}

pub(super) fn stacked<S: Borrow<Seed>>(
    seeds: &[S],
    dimension: usize,
) -> Result<Array2<f32>, EngineError> {
    let row = |row: usize| &seeds[row].borrow().vector;
    if let Some(found) = (0..seeds.len())
        .map(|at| row(at).len())
        .find(|&found| found != dimension)
    {
        return Err(LibraryError::dimension(dimension, found).into());
    }
    Ok(Array2::from_shape_fn(
        (seeds.len(), dimension),
        |(at, column)| row(at)[column],
    ))
}

pub(super) fn is_seed(seeds: &[Seed], track: TrackId, vector: Option<&[f32]>) -> bool {
    seeds.iter().any(|seed| {
        seed.track == Some(track)
            || vector.is_some_and(|vector| is_same_recording(dot(&seed.vector, vector)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_files_take_precedence_over_prefixes() {
        let dir = tempfile::tempdir().unwrap();
        let parse = |name: &str| {
            let path = dir.path().join(name);
            format!("{:?}", SeedName::parse(path.as_os_str()))
                .split('(')
                .next()
                .unwrap()
                .to_owned()
        };
        std::fs::create_dir(dir.path().join("a.m3u8")).unwrap();
        for file in ["b.m3u8", "d.mp3"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(parse("a.m3u8"), "Folder", "a folder may have any name");
        assert_eq!(parse("b.m3u8"), "Playlist");
        assert_eq!(parse("d.mp3"), "PathOrWords");
        assert_eq!(
            parse("gone.m3u8"),
            "PathOrWords",
            "a missing playlist is no list"
        );
    }

    #[test]
    fn opposite_seeds_are_refused() {
        assert!(matches!(
            mean(&[
                Seed::of_vector(vec![1.0, 0.0]),
                Seed::of_vector(vec![-1.0, 0.0])
            ]),
            Err(EngineError::Refused(_))
        ));
        assert!(matches!(mean(&[]), Err(EngineError::Refused(_))));
    }
}
