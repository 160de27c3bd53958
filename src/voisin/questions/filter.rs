//! Which tracks may be in an answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Deserialize;

use super::read::Refused;
use super::spans::{ENERGY, KeyWish, LENGTHS, TEMPOS, Tag, YEARS};
use super::values::at_most;
use crate::{Engine, EngineError, Seed};
use voisin_library::{
    Library, LibraryError, MusicalKey, NameOf, ScaleBound, ScaleName, TrackFilter, licence_fits,
    licence_id, licences_named, stored_path,
};

const MOST_LICENCES: usize = 20;

/// Filters of tracks.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize, JsonSchema)]
#[command(next_help_heading = "Filters (commas: any of them; !X: not)")]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Only tracks of this genre
    #[arg(long, value_name = "GENRE")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub genre: Vec<String>,
    /// Only tracks by this artist
    #[arg(long, value_name = "ARTIST")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub artist: Vec<String>,
    /// Only tracks below this folder, as the library stores it (several: any of them)
    #[arg(long, value_name = "DIR", value_parser = folder(), value_hint = ValueHint::DirPath, help = "Only tracks below this folder (several: any of them)")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) folder: Vec<PathBuf>,
    /// Only tracks of this year, or of a span such as 1970-1979, 1990- or -1965
    #[arg(long, value_name = "YEARS", value_parser = |text: &str| YEARS.checked(text), allow_hyphen_values = true)]
    pub(crate) year: Option<String>,
    /// Only tracks of this length, or of a span such as 2m-8m, 1:30- or -10m
    #[arg(long, value_name = "TIMES", value_parser = |text: &str| LENGTHS.checked(text), allow_hyphen_values = true)]
    pub(crate) duration: Option<String>,
    /// Only tracks of this tempo, in beats a minute, or of a span such as 120-128
    #[arg(long, value_name = "BPM", value_parser = |text: &str| TEMPOS.checked(text), allow_hyphen_values = true)]
    pub(crate) bpm: Option<String>,
    /// Only tracks in these keys: names (Am, F#), Camelot numbers (8A), or with seeds `compatible`: those that mix with theirs
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) key: Vec<KeyWish>,
    /// Only tracks of this energy, 0 to 100, or of a span such as 60-100 or -20
    #[arg(long, value_name = "VALUES", value_parser = |text: &str| ENERGY.checked(text), allow_hyphen_values = true)]
    pub(crate) energy: Option<String>,
    /// Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of Creative Commons), or a part of
    /// another licence's name
    #[arg(long, visible_alias = "license", value_name = "LICENCE")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) licence: Vec<String>,
    /// Only tracks that this word or tag of `find` fits better than 80 % of the library; `calm:95`: better than 95 %; with `!`
    /// those that it fits no better than half (several: all of them)
    #[arg(long, value_name = "WORD[:PERCENT]", value_delimiter = ',')]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) tag: Vec<Tag>,
}

fn folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|folder| of_this_disk(&folder))
}

/// A folder of this disk, or `!` and a folder, in the form that libraries store.
fn of_this_disk(folder: &Path) -> PathBuf {
    match folder.to_str().and_then(|text| text.strip_prefix('!')) {
        None => stored_path(folder),
        Some(folder) => {
            let mut text = std::ffi::OsString::from("!");
            text.push(stored_path(folder.as_ref()));
            text.into()
        }
    }
}

/// Names that tracks must have, and names that they must not have.
#[derive(Debug, Default, PartialEq)]
struct Wanted<T> {
    any: Vec<T>,
    none: Vec<T>,
}

impl<T> Wanted<T> {
    fn put(&mut self, is_not: bool, name: T) {
        let names = if is_not {
            &mut self.none
        } else {
            &mut self.any
        };
        names.push(name);
    }
}

/// The names of texts, with commas between them; a `!` before a name, or before a whole text, means that tracks must not
/// have it.
fn names(texts: &[String]) -> Wanted<String> {
    let mut wanted = Wanted::default();
    for text in texts {
        let (all_not, text) = split_not(text);
        for part in parts(text) {
            let (is_not, name) = split_not(part);
            wanted.put(all_not || is_not, name.to_owned());
        }
    }
    wanted
}

fn split_not(text: &str) -> (bool, &str) {
    let text = text.trim();
    match text.strip_prefix('!') {
        Some(name) => (true, name.trim()),
        None => (false, text),
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

impl Filters {
    /// Whether a key must mix with those of the seeds.
    pub(crate) fn wants_compatible_keys(&self) -> bool {
        self.key.contains(&KeyWish::Compatible)
    }

    /// The filter, with the library's names.
    ///
    /// - `seeds`: for `compatible` keys
    pub fn filter(&self, engine: &Engine, seeds: &[Seed]) -> Result<TrackFilter, EngineError> {
        self.check_names()?;
        let artists = self.artists_meant(engine.library())?;
        let genres = names(&self.genre);
        let folders = self.folders_meant();
        let year = |bound: f64| bound as i32;
        let (year_from, year_to) = YEARS.bounds("year", self.year.as_deref())?;
        let (seconds_from, seconds_to) = LENGTHS.bounds("duration", self.duration.as_deref())?;
        let (tempo_from, tempo_to) = TEMPOS.bounds("bpm", self.bpm.as_deref())?;
        let energy = match ENERGY.bounds("energy", self.energy.as_deref())? {
            (None, None) => None,
            (from, to) => Some(ScaleBound {
                scale: ScaleName::ENERGY,
                from,
                to,
            }),
        };
        Ok(TrackFilter {
            // Genres may be unknown: labels may come later, or from another source.
            genres: genres.any,
            exclude_genres: genres.none,
            artists: artists.any,
            exclude_artists: artists.none,
            year_from: year_from.map(year),
            year_to: year_to.map(year),
            licences: self.licences().map(str::to_owned).collect(),
            words: self.tag.iter().map(|tag| tag.0.clone()).collect(),
            folders: folders.any,
            exclude_folders: folders.none,
            seconds_from,
            seconds_to,
            tempo_from,
            tempo_to,
            keys: self.keys(engine, seeds)?,
            scales: energy.into_iter().collect(),
        })
    }

    fn keys(&self, engine: &Engine, seeds: &[Seed]) -> Result<Vec<MusicalKey>, EngineError> {
        let named = self.key.iter().filter_map(|wish| match wish {
            KeyWish::Key(key) => Some(*key),
            KeyWish::Compatible => None,
        });
        let mut keys: Vec<MusicalKey> = named.collect();
        if self.wants_compatible_keys() {
            // None if no seed has a measured key: an empty filter would let all keys pass.
            let compatible = engine.compatible_keys(seeds)?;
            if compatible.is_empty() {
                let expected = "a seed of the library whose key was measured, for \"compatible\"";
                return Err(Refused::new("key", expected, "none").into());
            }
            keys.extend(compatible);
        }
        Ok(keys)
    }

    fn artists_meant(&self, library: &Library) -> Result<Wanted<String>, LibraryError> {
        let resolve = |name: &str| library.resolve_names(NameOf::Artist, name);
        let named = names(&self.artist);
        let meant = |names: Vec<String>| -> Result<Vec<String>, LibraryError> {
            let found: Result<Vec<_>, _> = names.iter().map(|name| resolve(name)).collect();
            Ok(found?.concat())
        };
        Ok(Wanted {
            any: meant(named.any)?,
            none: meant(named.none)?,
        })
    }

    fn folders_meant(&self) -> Wanted<PathBuf> {
        let mut wanted = Wanted::default();
        for folder in &self.folder {
            match folder.to_str().and_then(|text| text.strip_prefix('!')) {
                Some(folder) => wanted.put(true, folder.into()),
                None => wanted.put(false, folder.clone()),
            }
        }
        wanted
    }

    /// Refuses licences and folders that no track has.
    pub fn check(&self, engine: &Engine) -> Result<(), EngineError> {
        self.check_licences(engine.library())?;
        Ok(self.check_folders(engine)?)
    }

    fn check_licences(&self, library: &Library) -> Result<(), EngineError> {
        if self.licence.is_empty() {
            return Ok(());
        }
        let known = library.licences()?;
        for wanted in self.licences() {
            // A misspelt licence would silently exclude all tracks.
            if !known.iter().any(|text| licence_fits(text, wanted)) {
                let names: BTreeSet<String> = known.iter().map(|text| licence_id(text)).collect();
                let names: Vec<String> = names.into_iter().take(MOST_LICENCES).collect();
                let expected = if names.is_empty() {
                    "none: no track has a licence in its tags".to_owned()
                } else {
                    format!("a licence of these tracks ({})", names.join(", "))
                };
                return Err(Refused::new("licence", expected, wanted).into());
            }
        }
        Ok(())
    }

    /// The fields of tracks that the filters use, so that an answer can show them: keys of its JSON, and names of scales.
    pub fn fields(&self) -> Vec<String> {
        let named = [
            ("year", self.year.is_some()),
            ("licence", !self.licence.is_empty()),
            ("tempo", self.bpm.is_some()),
            ("key", !self.key.is_empty()),
            ("energy", self.energy.is_some()),
        ];
        let named = named.into_iter().filter(|(_, is_named)| *is_named);
        named.map(|(field, _)| field.to_owned()).collect()
    }

    fn check_names(&self) -> Result<(), Refused> {
        let all = [
            ("genre", "a genre", &self.genre),
            ("artist", "an artist", &self.artist),
            ("licence", "a licence, such as cc-by", &self.licence),
        ];
        for (field, expected, names) in all {
            let is_empty = |name: &&String| parts(split_not(name).1).next().is_none();
            // `--artist "$ARTIST"` with an empty variable would mean all artists.
            if let Some(empty) = names.iter().find(is_empty) {
                return Err(Refused::new(field, expected, format!("{empty:?}")));
            }
        }
        Ok(())
    }

    fn licences(&self) -> impl Iterator<Item = &str> {
        self.licence.iter().flat_map(|text| licences_named(text))
    }

    pub fn artists(&self) -> Vec<String> {
        let artists = names(&self.artist);
        [artists.any, artists.none].concat()
    }

    pub fn genres(&self) -> Vec<String> {
        let genres = names(&self.genre);
        [genres.any, genres.none].concat()
    }

    pub fn folders(&self) -> Vec<PathBuf> {
        let folders = self.folders_meant();
        [folders.any, folders.none].concat()
    }

    pub fn check_folders(&self, engine: &Engine) -> Result<(), LibraryError> {
        let lookup = engine.library();
        self.folders()
            .iter()
            .try_for_each(|folder| lookup.resolve_folder(folder).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_refused() {
        let refused = |filters: Filters| filters.check_names().map_err(|error| error.field);
        let texts = |text: &str| vec![text.to_owned()];
        for (text, is_refused) in [(",", true), (" ", true), ("!", true), ("x,", false)] {
            let genre = texts(text);
            let artist = texts(text);
            let none = Filters::default;
            let genre = Filters { genre, ..none() };
            let artist = Filters { artist, ..none() };
            assert_eq!(refused(genre).is_err(), is_refused, "{text}");
            assert_eq!(refused(artist).is_err(), is_refused, "{text}");
        }
    }

    #[test]
    fn commas_separate_names_and_marks_exclude_them() {
        for (text, any, none) in [
            ("Earth,Wind", "Earth|Wind", ""),
            ("Wind,", "Wind", ""),
            ("Stills,!Wind", "Stills", "Wind"),
            ("!Stills,Wind", "", "Stills|Wind"),
        ] {
            let meant = names(&[text.to_owned()]);
            let found = (meant.any.join("|"), meant.none.join("|"));
            assert_eq!(found, (any.to_owned(), none.to_owned()), "{text}");
        }
    }
}
