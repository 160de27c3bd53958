//! Which tracks may be in an answer.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::QuestionError;
use super::read::Refused;
use super::spans::{KeyWish, LoudnessSpan, NotTag, ScaleSpan, Seconds, Tag, TempoSpan, YearSpan};
use super::values::{at_most, check_scale};
use voisin_base::text::fold;
use voisin_engine::{Engine, Seed};
use voisin_library::{
    Library, LibraryError, MusicalKey, NameOf, TrackFilter, licence_fits, licence_id,
    licences_named, stored_path,
};

/// Most licences in an error message.
const MOST_LICENCES: usize = 20;

/// Filters of tracks.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize, JsonSchema)]
#[command(next_help_heading = "Filters")]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Only tracks of this genre (several, also with commas: any of them)
    #[arg(long, value_name = "GENRE")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub genre: Vec<String>,
    /// No tracks of this genre (several, also with commas: none of them)
    #[arg(long, value_name = "GENRE")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub exclude_genre: Vec<String>,
    /// Only tracks by this artist (several, also with commas: any of them)
    #[arg(long, value_name = "ARTIST")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub artist: Vec<String>,
    /// No tracks by this artist
    #[arg(long, value_name = "ARTIST")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub exclude_artist: Vec<String>,
    /// Only tracks by this composer (several, also with commas: any of them)
    #[arg(long, value_name = "COMPOSER")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub composer: Vec<String>,
    /// Only tracks of this year, or of a span such as 1970-1979, 1990- or -1965
    #[arg(long, value_name = "YEARS", allow_hyphen_values = true)]
    pub(crate) year: Option<YearSpan>,
    /// Only tracks below this folder, as the library stores it (several: any of them)
    #[arg(long, value_name = "DIR", value_parser = folder(), value_hint = ValueHint::DirPath, help = "Only tracks below this folder (several: any of them)")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) folder: Vec<PathBuf>,
    /// No tracks below this folder, as the library stores it (several: none of them)
    #[arg(long, value_name = "DIR", value_parser = folder(), value_hint = ValueHint::DirPath, help = "No tracks below this folder (several: none of them)")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) exclude_folder: Vec<PathBuf>,
    /// Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of Creative Commons), or a part of
    /// another licence's name (several, also with commas: any of them)
    #[arg(long, visible_alias = "license", value_name = "LICENCE")]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) licence: Vec<String>,
    /// Only tracks that this word or tag of `find` fits better than 80 % of the library; `calm:95`: better than 95 %
    /// (several: all of them)
    #[arg(long, value_name = "WORD[:PERCENT]", value_delimiter = ',')]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) tag: Vec<Tag>,
    /// No tracks that this word or tag fits better than half of the library; `voice:80`: better than 80 %
    #[arg(long, value_name = "WORD[:PERCENT]", value_delimiter = ',')]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) not_tag: Vec<NotTag>,
    /// Only tracks at least this long: seconds
    #[arg(
        long,
        value_name = "TIME",
        help = "Only tracks at least this long: 90 (seconds), 1:30 or 2m"
    )]
    pub(crate) min_duration: Option<Seconds>,
    /// Only tracks at most this long
    #[arg(long, value_name = "TIME")]
    pub(crate) max_duration: Option<Seconds>,
    /// Only tracks of this tempo, in beats a minute, or of a span such as 120-128, 120- or -90; a span with two ends less than
    /// an octave apart also matches half and twice the tempo
    #[arg(long, value_name = "BPM", allow_hyphen_values = true)]
    pub(crate) bpm: Option<TempoSpan>,
    /// Do not match half or twice that tempo
    #[arg(
        long,
        requires = "bpm",
        help = "With --bpm: do not match half or twice that tempo"
    )]
    pub(crate) bpm_exact: bool,
    /// Only tracks in these keys: names (Am, F#), Camelot numbers (8A), several with commas, or with seeds `compatible`: those
    /// that mix with their keys
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    #[serde(deserialize_with = "keys")]
    #[schemars(length(max = 100))]
    pub(crate) key: Vec<KeyWish>,
    /// Only tracks of this loudness, in LUFS, or of a span such as -16..-9, -14.. or ..-9
    #[arg(long, value_name = "LUFS", allow_hyphen_values = true)]
    pub(crate) loudness: Option<LoudnessSpan>,
    /// Only tracks with these values of a scale, 0 to 100: `energy=60-100`, `energy=60-`, `brightness=-30` (several: all of
    /// them)
    #[arg(long, value_name = "NAME=VALUES", value_delimiter = ',')]
    #[serde(deserialize_with = "at_most::<100, _, _>")]
    #[schemars(length(max = 100))]
    pub(crate) scale: Vec<ScaleSpan>,
}

/// Parses a folder of this disk into the form that libraries store.
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|folder| stored_path(&folder))
}

/// Keys, also several in one text, as on the command line: `"8A,compatible"` is `["8A", "compatible"]`.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyWish>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a key, or a list of them")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Self::Value, A::Error> {
            at_most::<100, _, _>(SeqAccessDeserializer::new(texts))
        }
    }

    // A client may send a text or a list.
    let texts = deserializer.deserialize_any(Texts)?;
    // Empty parts are refused.
    let parts = texts.iter().flat_map(|text| text.split(','));
    parts
        .map(|part| {
            let text = serde::de::value::StrDeserializer::<D::Error>::new(part);
            KeyWish::deserialize(text)
        })
        .collect()
}

/// The names in one text, separated by commas.
pub(crate) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// Most commas within one name.
const MOST_COMMAS: usize = 8;

/// The texts before each comma, and the whole, the shortest first.
fn beginnings(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    let commas = text.match_indices(',').map(|(at, _)| at);
    let ends: Vec<usize> = commas.chain([text.len()]).take(MOST_COMMAS + 1).collect();
    ends.into_iter().map(|end| &text[..end])
}

/// A name, and all names that its commas may separate: `a, b, c` has `a, b` and `b, c`, too.
pub(crate) fn whole_and_parts(text: &str) -> impl Iterator<Item = &str> {
    // A database has to fetch the artists of all readings.
    let commas = text.match_indices(',').map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(commas);
    let names = starts.flat_map(|start| beginnings(&text[start..]).map(str::trim));
    let others = names.filter(move |name| !name.is_empty() && *name != text);
    std::iter::once(text).chain(others)
}

/// The names in tags that a text with commas means: the longest that are equal to a name, as a comma may be part of one;
/// if some part is equal to none, those that contain the whole, else each part's.
fn names_meant(library: &Library, kind: NameOf, text: &str) -> Result<Vec<String>, LibraryError> {
    let resolve = |name: &str| library.lookup().resolve_names(kind, name);
    let mut meant = Vec::new();
    let mut rest = text;
    while let Some(shortest) = beginnings(rest).next().filter(|_| !rest.is_empty()) {
        let exact = beginnings(rest).rev().find_map(|name| {
            let found = resolve(name).ok()?;
            let is_exact = found.iter().any(|known| fold(known) == fold(name));
            is_exact.then_some((name, found))
        });
        let (name, found) = match exact {
            Some(exact) => exact,
            None if shortest.trim().is_empty() => (shortest, Vec::new()),
            None => match resolve(text) {
                Ok(found) => return Ok(found),
                // The error of a part names the one that is unknown.
                Err(_) => (shortest, resolve(shortest.trim())?),
            },
        };
        meant.extend(found);
        rest = rest[name.len()..].trim_start_matches(',');
    }
    Ok(meant)
}

impl Filters {
    /// Whether a key must mix with those of the seeds.
    pub(crate) fn wants_compatible_keys(&self) -> bool {
        self.key.contains(&KeyWish::Compatible)
    }

    /// Whether half and twice the tempo fit, too: not for spans of an octave or more, which contain one of them anyway, nor
    /// for open spans.
    pub(crate) fn has_octaves(&self) -> bool {
        let tempo = self.bpm.unwrap_or_default().0;
        !self.bpm_exact
            && matches!((tempo.from, tempo.to), (Some(from), Some(to)) if to < 2.0 * from)
    }

    /// The filter, with the library's names.
    ///
    /// - `seeds`: for `compatible` keys
    pub fn filter(&self, engine: &Engine, seeds: &[Seed]) -> Result<TrackFilter, QuestionError> {
        self.check_names()?;
        let library = engine.library();
        let named = |kind: NameOf, names: &[String]| -> Result<Vec<String>, LibraryError> {
            let mut meant = Vec::new();
            for name in names {
                meant.extend(names_meant(library, kind, name)?);
            }
            Ok(meant)
        };
        // Genres may be unknown: labels may come later, or from another source.
        let each = |names: &[String]| {
            names
                .iter()
                .flat_map(|name| parts(name))
                .map(str::to_owned)
                .collect()
        };
        let mut keys: Vec<_> = self.key.iter().filter_map(|wish| wish.key()).collect();
        if self.wants_compatible_keys() {
            // None if no seed has a measured key: an empty filter would let all keys pass.
            let compatible = engine.compatible_keys(seeds)?;
            if compatible.is_empty() {
                let expected = "a seed of the library whose key was measured, for \"compatible\"";
                return Err(Refused::new("key", expected, "none").into());
            }
            keys.extend(compatible);
        }
        for span in &self.scale {
            check_scale(engine, "scale", span.0.scale, &[])?;
        }
        let tempo = self.bpm.unwrap_or_default().0;
        let loudness = self.loudness.unwrap_or_default().0;
        Ok(TrackFilter {
            genres: each(&self.genre),
            exclude_genres: each(&self.exclude_genre),
            artists: named(NameOf::Artist, &self.artist)?,
            exclude_artists: named(NameOf::Artist, &self.exclude_artist)?,
            composers: named(NameOf::Composer, &self.composer)?,
            year_from: self.year.and_then(YearSpan::from),
            year_to: self.year.and_then(YearSpan::to),
            licences: self.licences().map(str::to_owned).collect(),
            words: (self.tag.iter().map(|tag| &tag.0))
                .chain(self.not_tag.iter().map(|tag| &tag.0))
                .cloned()
                .collect(),
            folders: self.folder.clone(),
            exclude_folders: self.exclude_folder.clone(),
            seconds_from: self.min_duration.map(|time| time.0),
            seconds_to: self.max_duration.map(|time| time.0),
            tempo_from: tempo.from,
            tempo_to: tempo.to,
            tempo_octaves: self.has_octaves(),
            keys,
            loudness_from: loudness.from,
            loudness_to: loudness.to,
            scales: self.scale.iter().map(|span| span.0).collect(),
        })
    }

    /// The filter that no track of a library passes because none has a value: `year`, `tempo`, `key` or `loudness`. `None` for
    /// a library without tracks.
    pub fn without_values(&self, library: &Library) -> Result<Option<&'static str>, LibraryError> {
        // Each of these filters passes exactly the tracks that have a value.
        let any = TrackFilter::default;
        let given = [
            (
                "year",
                self.year.is_some(),
                TrackFilter {
                    year_from: Some(i32::MIN),
                    ..any()
                },
            ),
            (
                "tempo",
                self.bpm.is_some(),
                TrackFilter {
                    tempo_from: Some(0.0),
                    ..any()
                },
            ),
            (
                "key",
                !self.key.is_empty(),
                TrackFilter {
                    keys: MusicalKey::all().collect(),
                    ..any()
                },
            ),
            (
                "loudness",
                self.loudness.is_some(),
                TrackFilter {
                    loudness_from: Some(f64::MIN),
                    ..any()
                },
            ),
        ];
        if library.status()?.tracks == 0 {
            return Ok(None);
        }
        if !self.scale.is_empty() && library.scales().scale_names()?.is_empty() {
            return Ok(Some("scales"));
        }
        for (what, _, widest) in given.into_iter().filter(|(_, is_asked, _)| *is_asked) {
            if library.matching(&widest)?.is_empty() {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// Makes folders of this disk absolute, as a library stores them.
    pub fn of_this_disk(&mut self) {
        for folder in self.folder.iter_mut().chain(&mut self.exclude_folder) {
            *folder = stored_path(folder);
        }
    }

    /// Refuses a licence that no track of the library has.
    pub fn check_licences(&self, library: &Library) -> Result<(), QuestionError> {
        if self.licence.is_empty() {
            return Ok(());
        }
        let known = library.lookup().licences()?;
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
            ("composer", !self.composer.is_empty()),
            ("year", self.year.is_some()),
            ("licence", !self.licence.is_empty()),
            (
                "seconds",
                self.min_duration.is_some() || self.max_duration.is_some(),
            ),
            ("tempo", self.bpm.is_some()),
            ("key", !self.key.is_empty()),
            ("loudness", self.loudness.is_some()),
        ];
        let named = named.into_iter().filter(|(_, is_named)| *is_named);
        let scales = self.scale.iter().map(|span| span.0.scale.to_string());
        named
            .map(|(field, _)| field.to_owned())
            .chain(scales)
            .collect()
    }

    /// Refuses empty names.
    fn check_names(&self) -> Result<(), Refused> {
        let all = [
            ("genre", "a genre", &self.genre),
            ("exclude_genre", "a genre", &self.exclude_genre),
            ("artist", "an artist", &self.artist),
            ("exclude_artist", "an artist", &self.exclude_artist),
            ("composer", "a composer", &self.composer),
            ("licence", "a licence, such as cc-by", &self.licence),
        ];
        for (field, expected, names) in all {
            // `--artist "$ARTIST"` with an empty variable would mean all artists.
            if let Some(empty) = names.iter().find(|name| parts(name).next().is_none()) {
                return Err(Refused::new(field, expected, format!("{empty:?}")));
            }
        }
        Ok(())
    }

    /// The named licences.
    fn licences(&self) -> impl Iterator<Item = &str> {
        self.licence.iter().flat_map(|text| licences_named(text))
    }

    /// The named artists.
    pub fn artists(&self) -> impl Iterator<Item = &str> {
        self.artist
            .iter()
            .chain(&self.exclude_artist)
            .flat_map(|name| whole_and_parts(name))
    }

    /// The named genres.
    pub fn genres(&self) -> impl Iterator<Item = &str> {
        self.genre
            .iter()
            .chain(&self.exclude_genre)
            .flat_map(|name| parts(name))
    }

    /// The named folders.
    pub fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.folder.iter().chain(&self.exclude_folder)
    }

    /// Refuses folders without a track.
    pub fn check_folders(&self, engine: &Engine) -> Result<(), LibraryError> {
        self.folders()
            .try_for_each(|folder| engine.library().lookup().resolve_folder(folder).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{from_arguments, pairs};

    fn filters(name: &str, value: &str) -> Filters {
        from_arguments(pairs([(name.to_owned(), value.to_owned())])).unwrap()
    }

    #[test]
    fn empty_names_are_refused() {
        let refused = |name, value| {
            filters(name, value)
                .check_names()
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            refused("licence", ","),
            Err("licence: expected a licence, such as cc-by, found \",\"".to_owned())
        );
        assert_eq!(
            refused("exclude_artist", " "),
            Err("exclude_artist: expected an artist, found \" \"".to_owned())
        );
        for name in ["genre", "exclude_genre", "artist", "composer"] {
            assert!(refused(name, "").is_err(), "{name}");
            assert_eq!(refused(name, "x,"), Ok(()), "{name}");
        }
    }

    #[test]
    fn commas_are_part_of_names_or_separate_them() {
        use voisin_library::testing::{library, track};

        let dir = std::env::temp_dir().join(format!("voisin-commas-{}", std::process::id()));
        let mut library = library(&dir, 2);
        let known = "Earth|Wind|Earth, Wind & Fire|Crosby|Stills|Crosby, Stills, Nash & Young";
        for (seed, artist) in known.split('|').enumerate() {
            let mut new = track(seed as u64 + 1, vec![1.0, 0.0], 0);
            new.tags.artist = Some(artist.into());
            library.insert_track(&new).unwrap();
        }
        let meant =
            |text: &str| names_meant(&library, NameOf::Artist, text).map(|all| all.join("|"));
        for (text, expected) in [
            ("Earth,Wind", "Earth|Wind"),
            ("earth, wind & fire", "Earth, Wind & Fire"),
            ("Crosby,Stills", "Crosby|Stills"),
            (
                "Crosby, Stills, Nash & Young,Wind",
                "Crosby, Stills, Nash & Young|Wind",
            ),
            ("stills, nash", "Crosby, Stills, Nash & Young"),
            ("Wind,", "Wind"),
        ] {
            assert_eq!(meant(text).unwrap(), expected, "{text}");
        }
        let unknown = meant("Earth,Zeta").unwrap_err().to_string();
        assert!(unknown.contains("Zeta"), "{unknown}");
        drop(library);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn licences_are_split_at_commas() {
        let named = |text| {
            let filters = filters("licence", text);
            filters.licences().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named("CC BY 4.0,gpl"), ["CC BY 4.0", "gpl"]);
    }
}
