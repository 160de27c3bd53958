//! Saved lists: named queries that run again whenever their list is requested.

mod navidrome;
mod templates;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::explore::{NearSongs, PathBetween};
use super::filter::Filters;
use super::list::{Find, List};
use super::mix::Mix;
use super::read::{Refused, from_json};
use super::seed::NamedSeed;
use super::similar::Similar;
use super::values::{Limit, MOST};
use super::{Mixing, QuestionError};
use crate::answers::graph::neighbour_graph;
use voisin_base::track::TrackId;
use voisin_engine::{Collection, Engine, EngineError, PredictedTags, Seed, SimilarTrack};
use voisin_explore::KnnGraph;
use voisin_explore::artists::Makers;
use voisin_library::{Library, LibraryError, Track};

pub use navidrome::smart_playlist;
pub use templates::{TEMPLATES, Template, TemplateJson};

/// Longest name of a list, in bytes.
// File names have at most 255 bytes on most systems; this leaves room for an extension and a unique suffix.
const LONGEST_NAME: usize = 200;

/// The query of a saved list.
#[derive(Debug, Clone, Subcommand, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SavedQuestion {
    /// Tracks that sound like these (as voisin similar)
    Similar(Similar),
    /// Music by its sound, in words (as voisin find)
    Find(Find),
    /// The tracks that pass the filters, sorted (as voisin list)
    List(Sorted),
    /// A path from one track to another (as voisin path)
    Path(PathBetween),
    /// Songs that follow these well (as voisin mix); without tracks they follow one that is drawn each time from the liked ones
    /// that pass the filters, or from all if none is liked
    #[command(mut_arg("seeds", |seeds| seeds.required(false)))]
    Mix(Mix),
    /// Songs of the artists that are near to one (as voisin artists)
    Artists(NearSongs),
    /// The albums that are near to one, whole (as voisin albums)
    Albums(NearSongs),
}

/// The first tracks of an order.
#[derive(Debug, Clone, Args, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sorted {
    /// Filters of tracks
    #[command(flatten)]
    #[serde(default)]
    question: List,
    /// Number of tracks
    #[arg(long, short, default_value_t = hundred(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "hundred")]
    limit: Limit,
}

/// A request for the tracks of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListAgain {
    /// Where the random numbers of a mix start: the same number gives the same list
    pub random_seed: Option<u64>,
}

/// Parts of answers that a server has computed before.
#[derive(Clone, Copy, Default)]
pub struct KnownParts<'a> {
    /// The model's tags of all tracks.
    pub tags: Option<&'a PredictedTags>,
    /// All tracks and their neighbour graph.
    pub explored: Option<(&'a Collection, &'a KnnGraph)>,
}

fn hundred() -> Limit {
    Limit::from(100)
}

/// Refuses names that are no valid file names or that players cannot show.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let fits = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.trim() == name
        && !name.starts_with('.')
        // Also those that Windows refuses: a folder of playlists may be shared with it.
        && !name.contains(|c: char| c.is_control() || "/\\:*?\"<>|".contains(c));
    let expected = format!(
        "a name of 1 to {LONGEST_NAME} bytes that begins with no dot and has no blank at an end, nor any of / \\ : * ? \" < > |"
    );
    if fits {
        Ok(())
    } else {
        Err(Refused {
            field: "name".into(),
            ..Refused::text(expected, name)
        })
    }
}

/// Removes fields that are null, false or empty.
fn prune(value: &mut Value) {
    let is_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        // Except empty seeds: a mix without them draws its first track.
        fields.retain(|name, value| name == "seeds" || !is_nothing(value));
    }
}

impl SavedQuestion {
    /// Parses the output of [`as_json`](Self::as_json), or a client's request.
    pub fn read(json: &[u8]) -> Result<Self, Refused> {
        let read: Self = from_json(json)?;
        read.validate()?;
        Ok(read)
    }

    /// As it is stored, and as clients send it.
    pub fn as_json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(question) = &mut json {
            question.values_mut().for_each(prune);
        }
        json
    }

    /// Refuses invalid combinations.
    pub fn validate(&self) -> Result<(), Refused> {
        match self {
            // A part needs the model and the seed's file, which a saved list must not depend on.
            Self::Similar(question) if question.part().is_some() => Err(Refused {
                field: "from".into(),
                ..Refused::text("whole tracks, in a saved list", "a part")
            }),
            Self::Similar(question) => question.validate(question.seeds.len()),
            Self::Mix(_) | Self::Find(_) | Self::List(_) | Self::Path(_) => Ok(()),
            Self::Artists(question) | Self::Albums(question) => question.validate(),
        }
    }

    /// The kind of the query: `similar`, `find`, `list`, `path`, `mix`, `artists` or `albums`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Similar(_) => "similar",
            Self::Find(_) => "find",
            Self::List(_) => "list",
            Self::Path(_) => "path",
            Self::Mix(_) => "mix",
            Self::Artists(_) => "artists",
            Self::Albums(_) => "albums",
        }
    }

    /// Replaces the names of tracks by permanent ones.
    ///
    /// - `pin`: returns permanent names
    pub fn pin<E>(
        &mut self,
        mut pin: impl FnMut(&[NamedSeed]) -> Result<Vec<NamedSeed>, E>,
    ) -> Result<(), E> {
        let mut all = |named: &mut Vec<NamedSeed>| {
            *named = pin(named)?;
            Ok(())
        };
        match self {
            Self::Similar(question) => {
                all(&mut question.seeds)?;
                all(&mut question.unlike)
            }
            Self::Mix(question) => {
                all(&mut question.seeds)?;
                all(&mut question.played)
            }
            Self::Path(question) => {
                for one in [&mut question.from, &mut question.to] {
                    // An end is a single track.
                    if let Some(pinned) = pin(std::slice::from_ref(one))?.pop() {
                        *one = pinned;
                    }
                }
                question.via = pin(&question.via)?;
                Ok(())
            }
            Self::Find(_) | Self::List(_) | Self::Artists(_) | Self::Albums(_) => Ok(()),
        }
    }

    /// The number of its seeds, and of tracks to stay away from, that were removed.
    pub fn gone(&self, engine: &Engine) -> usize {
        let (seeds, unlike): (&[NamedSeed], &[NamedSeed]) = match self {
            Self::Similar(question) => (&question.seeds, &question.unlike),
            Self::Mix(question) => (&question.seeds, &[]),
            _ => (&[], &[]),
        };
        let is_gone =
            |one: &&NamedSeed| !matches!(one, NamedSeed::Sounds(_)) && one.seed(engine).is_err();
        seeds.iter().chain(unlike).filter(is_gone).count()
    }

    fn filters_mut(&mut self) -> Option<&mut Filters> {
        match self {
            Self::Similar(question) => Some(&mut question.filters),
            Self::Find(question) => Some(&mut question.filters),
            Self::List(question) => Some(&mut question.question.filters),
            Self::Mix(question) => Some(&mut question.filters),
            Self::Path(_) | Self::Artists(_) | Self::Albums(_) => None,
        }
    }

    /// The query without exclusions of artists and genres that are no longer in the library, and their names.
    pub fn without_absent(&self, engine: &Engine) -> (Self, Vec<String>) {
        let mut rest = self.clone();
        let absent = rest
            .filters_mut()
            .map(|filters| filters.drop_absent(engine));
        (rest, absent.unwrap_or_default())
    }

    /// Refuses unknown words, names, genres and folders, as the query would be refused where it is not saved.
    pub fn check(&self, engine: &mut Engine) -> Result<(), QuestionError> {
        if let Some(filters) = self.clone().filters_mut() {
            filters.check_folders(engine)?;
            // Compatible keys are those of seeds, which are known when it runs.
            if !filters.wants_compatible_keys() {
                engine.matching(&filters.filter(engine, &[])?)?;
            }
        }
        match self {
            Self::Find(_) | Self::Artists(_) | Self::Albums(_) => self
                .run(engine, &Mixing::default(), 0, KnownParts::default())
                .map(|_| ()),
            Self::Similar(_) | Self::List(_) | Self::Path(_) | Self::Mix(_) => Ok(()),
        }
    }

    /// The removed tracks without which the query fails: all of its seeds, or any stop of a path. Empty if it can run.
    pub fn lost(&self, library: &Library) -> Result<Vec<TrackId>, LibraryError> {
        let named = match self {
            Self::Similar(question) => question.seeds.clone(),
            Self::Mix(question) => question.seeds.clone(),
            Self::Path(question) => question.stops(),
            _ => Vec::new(),
        };
        let mut lost = Vec::new();
        for one in &named {
            // Saved lists name tracks by their ids (see
            // `pin`); phrases and words cannot be removed.
            if let NamedSeed::Id(id) = one
                && !library.contains(TrackId(*id))?
            {
                lost.push(TrackId(*id));
            }
        }
        // A path needs each of its stops; other queries use the seeds that are left.
        let goes_on = lost.len() < named.len() && !matches!(self, Self::Path(_));
        Ok(if goes_on { Vec::new() } else { lost })
    }

    /// The list.
    ///
    /// - `usual`: defaults of a mix's options
    /// - `random`: random seed of a mix without one
    /// - `known`: parts that were computed before
    pub fn run(
        &self,
        engine: &mut Engine,
        usual: &Mixing,
        random: u64,
        known: KnownParts<'_>,
    ) -> Result<Vec<Track>, QuestionError> {
        // An exclusion of nobody excludes nothing; the list is not lost until they return.
        let (rest, absent) = self.without_absent(engine);
        if !absent.is_empty() {
            return rest.run(engine, usual, random, known);
        }
        let tracks =
            |found: Vec<SimilarTrack>| found.into_iter().map(|found| found.track).collect();
        let computed = match self {
            Self::Find(_) if known.tags.is_none() => engine.words().words_if_any()?,
            _ => None,
        };
        let tags = known.tags.or(computed.as_ref());
        let space = match self {
            Self::Similar(question) => question.space.clone(),
            Self::Find(question) => question.space(engine, tags)?,
            _ => None,
        };
        let is_elsewhere = space.is_some();
        // From here on that space answers, and the parts
        // computed of the default one do not apply.
        let engine = match space {
            Some(space) => engine.within(&space)?,
            None => engine,
        };
        match self {
            Self::Similar(question) => {
                let named = present(&question.seeds, engine)?;
                // If all of these were removed, the query runs
                // without them.
                let unlike = present(&question.unlike, engine).unwrap_or_default();
                Ok(tracks(question.run(engine, &named, unlike)?.found))
            }
            Self::Find(question) => {
                let found = match tags.filter(|_| !is_elsewhere) {
                    Some(tags) => question.run(engine, tags)?,
                    None => question.run(engine, &engine.words().predicted_tags()?)?,
                };
                let found = found.tracks.into_iter();
                Ok(found.map(|found| found.track).collect())
            }
            Self::List(question) => {
                let query =
                    question
                        .question
                        .query(engine, question.limit.of(MOST as usize), None)?;
                Ok(engine.list(&query)?.tracks)
            }
            Self::Artists(question) | Self::Albums(question) => {
                let makers = if matches!(self, Self::Albums(_)) {
                    Makers::Albums
                } else {
                    Makers::Artists
                };
                match known.explored {
                    Some((collection, _)) => question.run(engine, collection, makers),
                    None => question.run(engine, &engine.collection()?, makers),
                }
            }
            Self::Path(question) => {
                let stops = question.stop_seeds(engine)?;
                let way = |engine: &Engine, collection: &Collection, graph: &KnnGraph| {
                    let walk = question.run(engine, collection, graph, &stops)?;
                    let ids: Vec<_> = walk.rows.iter().map(|&row| collection.ids[row]).collect();
                    Ok(engine.library().tracks_by_id(&ids)?)
                };
                if let Some((collection, graph)) = known.explored {
                    return way(engine, collection, graph);
                }
                let collection = engine.collection()?;
                let graph = neighbour_graph(engine, &collection)?;
                way(engine, &collection, &graph)
            }
            Self::Mix(question) => {
                let played: Vec<Seed> = question
                    .played
                    .iter()
                    // Removed tracks cannot be repeated.
                    .filter_map(|one| one.seed(engine).ok())
                    .collect();
                let usual = Mixing {
                    // The query's own number takes precedence in `run`.
                    random_seed: usual.random_seed.or(Some(random)),
                    ..usual.clone()
                };
                let named = present(&question.seeds, engine)?;
                Ok(tracks(question.run(engine, &named, played, &usual)?.found))
            }
        }
    }
}

/// The tracks that still exist: a saved list runs without those that were removed since.
///
/// # Errors
/// All of them were removed.
fn present(named: &[NamedSeed], engine: &Engine) -> Result<Vec<Seed>, EngineError> {
    let (found, gone): (Vec<_>, Vec<_>) = named
        .iter()
        .map(|named| named.seeds(engine))
        .partition(Result::is_ok);
    match gone.into_iter().find_map(Result::err) {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found.into_iter().flatten().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn written(words: &[&str]) -> SavedQuestion {
        let command = SavedQuestion::augment_subcommands(Command::new("save").no_binary_name(true));
        SavedQuestion::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let filters = [
            "--genre",
            "Jazz",
            "--exclude-artist",
            "X",
            "--year",
            "1990-",
            "--bpm",
            "119.5-128",
            "--key",
            "Am,8B,compatible",
            "--loudness=..-9.5",
            "--tag",
            "calm",
            "--not-tag",
            "voice:80.5",
            "--licence",
            "cc-by",
            "--min-duration",
            "1:30",
            "--folder",
            "/music",
        ];
        for (start, more) in [
            (
                &["similar", "x"][..],
                &[
                    "--more",
                    "guitar",
                    "--faster",
                    "--limit",
                    "7",
                    "--min-similarity",
                    "-0.3",
                    "--exact",
                    "--sort",
                    "bpm",
                ][..],
            ),
            (&["find", "calm", "guitar"], &["--limit", "all"]),
            (&["list", "nina"], &["--sort", "added", "--reverse"]),
            (
                &["mix"],
                &[
                    "--variety",
                    "0.8",
                    "--longest",
                    "20m",
                    "--near-only",
                    "--random-seed",
                    "7",
                    "--keep-versions=false",
                ],
            ),
        ] {
            let question = written(&[start, &filters, more].concat());
            let json = match &question {
                SavedQuestion::Similar(fields) => {
                    let seeds = vec![NamedSeed::Id(4)];
                    SavedQuestion::Similar(Similar {
                        seeds,
                        ..fields.clone()
                    })
                }
                other => other.clone(),
            }
            .as_json();
            let again = SavedQuestion::read(json.to_string().as_bytes())
                .unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(again.as_json(), json);
            let debugged = |question: &SavedQuestion| {
                let text = format!("{question:?}");
                text.split_once("filters")
                    .unwrap()
                    .1
                    .split_once("loudness")
                    .unwrap()
                    .0
                    .to_owned()
            };
            assert_eq!(debugged(&again), debugged(&question), "{json}");
            let fields = &json[question.kind()];
            let filters = fields
                .get("filters")
                .unwrap_or(&fields["question"]["filters"]);
            assert_eq!(filters["year"], "1990-");
            assert_eq!(filters["not_tag"][0], "voice:80.5");
            assert_eq!(filters["bpm"], "119.5..128");
            assert_eq!(filters["loudness"], "..-9.5");
            assert!(filters.get("exclude_genre").is_none(), "{json}");
        }
        let json = written(&["path", "a", "b", "--steps", "4"]);
        assert!(matches!(json, SavedQuestion::Path(_)));
    }

    #[test]
    fn queries_that_cannot_be_saved_are_refused() {
        for (json, field) in [
            (r#"{"similar": {"seeds": []}}"#, "seeds"),
            (
                r#"{"similar": {"seeds": [{"id": 1}], "from": 1, "to": 2}}"#,
                "from",
            ),
            (r#"{"mix": {"seeds": [], "limit": 0}}"#, "limit"),
            (r#"{"mix": {}, "list": {}}"#, ""),
            (r#"{"map": {}}"#, ""),
        ] {
            let refused = SavedQuestion::read(json.as_bytes()).unwrap_err();
            assert!(refused.field.ends_with(field), "{json}: {refused}");
        }
        for name in ["", " a", "a/b", ".a", "a\nb", &"x".repeat(201)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("Für heute, 20 Uhr").unwrap();
    }

    #[test]
    fn a_saved_list_runs_without_removed_tracks() {
        let dir = std::env::temp_dir().join(format!("voisin-saved-{}", std::process::id()));
        let mut library = voisin_library::testing::library(&dir, 2);
        for i in 0..4_u8 {
            let angle = 0.1 * f32::from(i);
            let vector = vec![angle.cos(), angle.sin()];
            let new = voisin_library::testing::track(i.into(), vector, 0);
            library.insert_track(&new).unwrap();
        }
        library.remove_tracks(&[TrackId(1)]).unwrap();
        let mut engine = Engine::from_library(library);
        let mut run = |json: &str| {
            let question = SavedQuestion::read(json.as_bytes()).unwrap();
            let found = question.run(&mut engine, &Mixing::default(), 1, KnownParts::default());
            found.map(|tracks| tracks.iter().map(|track| track.id.0).collect::<Vec<_>>())
        };
        let both = run(r#"{"similar": {"seeds": [{"id": 1}, {"id": 2}]}}"#).unwrap();
        assert_eq!(both, [3, 4]);
        let gone = run(r#"{"similar": {"seeds": [{"id": 1}]}}"#).unwrap_err();
        assert!(gone.to_string().contains("no track has the id 1"), "{gone}");
        let mix = br#"{"mix": {"seeds": [{"id": 1}, {"id": 2}]}}"#;
        let mix = SavedQuestion::read(mix).unwrap();
        assert_eq!(mix.gone(&engine), 1);
        let unlike = br#"{"similar": {"seeds": [{"id": 2}], "unlike": [{"id": 1}]}}"#;
        assert_eq!(SavedQuestion::read(unlike).unwrap().gone(&engine), 1);
        let excluding = |artist: &str| {
            let json = format!(
                r#"{{"list": {{"question": {{"filters": {{"exclude_artist": ["{artist}"]}}}}}}}}"#
            );
            SavedQuestion::read(json.as_bytes()).unwrap()
        };
        let absent = excluding("Nobody, Somebody");
        assert_eq!(absent.without_absent(&engine).1, ["Nobody", "Somebody"]);
        let all = absent.run(&mut engine, &Mixing::default(), 1, KnownParts::default());
        assert_eq!(all.unwrap().len(), 3);
        let refused = absent.check(&mut engine).unwrap_err();
        assert!(refused.to_string().contains("Nobody"), "{refused}");
        for (json, part) in [
            (r#"{"find": {"query": "xyzzyq"}}"#, ""),
            (
                r#"{"list": {"question": {"filters": {"genre": ["Nosuch"]}}}}"#,
                "Nosuch",
            ),
        ] {
            let question = SavedQuestion::read(json.as_bytes()).unwrap();
            let refused = question.check(&mut engine).unwrap_err().to_string();
            assert!(refused.contains(part), "{json}: {refused}");
        }
        let lost = |question: &SavedQuestion| question.lost(engine.library()).unwrap();
        assert!(lost(&mix).is_empty());
        let path = br#"{"path": {"from": {"id": 2}, "to": {"id": 1}}}"#;
        assert_eq!(lost(&SavedQuestion::read(path).unwrap()), [TrackId(1)]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_list_near_an_empty_name_is_refused() {
        let refused = |json: &str| {
            SavedQuestion::read(json.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert!(SavedQuestion::read(br#"{"albums": {"name": "x", "each": 2}}"#).is_ok());
        assert!(refused(r#"{"albums": {"name": ""}}"#).contains("an artist or an album"));
        assert!(refused(r#"{"artists": {"name": "x", "each": null}}"#).contains("each"));
    }
}
