//! The table of queries that the server, assistants and Python share: what each is called, its fields, and its answer.

use std::fmt::Debug;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answers::card::{Card, cards, nearest_options};
use super::answers::clusters::ClustersJson;
use super::answers::duplicates::GroupJson;
use super::answers::failed::FailureJson;
use super::answers::find::FoundJson;
use super::answers::genre::{AnswerJson, AnswersJson};
use super::answers::genres::GenresJson;
use super::answers::graph::MappedLibrary;
use super::answers::labels::{HandLabelJson, HandLabelsJson};
use super::answers::list::PageJson;
use super::answers::map::MapJson;
use super::answers::playlist::PlaylistJson;
use super::answers::similar::SimilarJson;
use super::answers::status::StatusJson;
use super::answers::suspects::SuspectJson;
use super::answers::track::TrackRef;
use super::answers::walk::WalkJson;
use super::explore::{Clusters, Duplicates, PathBetween};
use super::genre::{Classify, GenreRelations, Suspects};
use super::list::{Find, List};
use super::playlist::Playlist;
use super::read::{Refused, from_arguments};
use super::seed::{NamedSeed, at_least_one, seeds};
use super::values::Limit;
use super::{Similar, schema};
use crate::{Embedder, Engine, EngineError, GenreNews, NamedSeeds, PredictedTags};
use voisin_base::track::TrackId;
use voisin_explore::ExploreError;
use voisin_library::Library;

const WORDS: usize = 5;

pub struct Query {
    pub name: &'static str,
    pub about: &'static str,
    pub schema: fn() -> Value,
    pub answer: fn(&mut SchemaGenerator) -> Schema,
    pub read: ReadQuestion,
}

type ReadQuestion = fn(Map<String, Value>) -> Result<Box<dyn Question>, Refused>;

pub static QUERIES: [Query; 15] = [
    query::<Similar, SimilarJson>("similar", "What sounds like these tracks"),
    query::<Find, FoundJson<'_>>("find", "Music by what it sounds like, in words"),
    query::<Playlist, PlaylistJson>("playlist", "A playlist around tracks"),
    query::<PathBetween, WalkJson>("path", "The way from one track to another"),
    query::<List, ListedPage>("list", "The tracks of the library, a page at a time"),
    query::<Show, Card>("show", "A track: tags, measurements, genre, neighbours"),
    query::<Classify, AnswersJson<'_>>("classify", "Which genre these tracks are"),
    query::<GenreRelations, GenresJson>("genres", "How close the genres are to one another"),
    query::<HandLabels, HandLabelsJson>("labels", "Genres given by hand"),
    query::<Suspects, Items<SuspectJson>>("suspects", "Labels that look wrong"),
    query::<Clusters, ClustersJson>("clusters", "Groups of tracks that sound alike"),
    query::<MapOfTracks, MapJson>("map", "Where each track lies on the map"),
    query::<Duplicates, Items<GroupJson>>("duplicates", "Recordings that are there several times"),
    query::<Failed, Items<FailureJson>>("failed", "Files that could not be added, and why"),
    query::<LibraryStatus, StatusJson>("status", "What the library holds, and its index"),
];

const fn query<Q, A>(name: &'static str, about: &'static str) -> Query
where
    Q: Question + DeserializeOwned + JsonSchema + 'static,
    A: JsonSchema,
{
    Query {
        name,
        about,
        schema: schema::of::<Q>,
        answer: schema_of_answer::<A>,
        read: boxed::<Q>,
    }
}

fn schema_of_answer<A: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Answer<A>>()
}

fn boxed<Q: Question + DeserializeOwned + JsonSchema + 'static>(
    fields: Map<String, Value>,
) -> Result<Box<dyn Question>, Refused> {
    Ok(Box::new(from_arguments::<Q>(fields)?))
}

impl Query {
    /// The query as a client asks it, whom no answer sends a whole library.
    pub fn read_bounded(&self, fields: Map<String, Value>) -> Result<Box<dyn Question>, Refused> {
        let question = (self.read)(fields)?;
        question.limit().map_or(Ok(()), Limit::check_bounded)?;
        Ok(question)
    }
}

pub fn named(name: &str) -> Option<&'static Query> {
    QUERIES.iter().find(|query| query.name == name)
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Answer<T> {
    /// The library's generation, which grows with every change of a vector.
    generation: u64,
    #[serde(flatten)]
    answer: T,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Items<T> {
    items: Vec<T>,
}

/// What a query needs before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    pub index: bool,
    pub tags: bool,
    /// It is about the whole library: its answer takes long, and is the same for all until the library changes.
    pub whole: bool,
}

const INDEX: Needs = Needs {
    index: true,
    tags: false,
    whole: false,
};
const WHOLE: Needs = Needs {
    index: false,
    tags: false,
    whole: true,
};
const WHOLE_INDEX: Needs = Needs {
    index: true,
    ..WHOLE
};

pub struct QueryInput<'a> {
    pub engine: &'a mut Engine,
    pub model: &'a dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError>,
    /// Seeds in place of the query's: those of a program on this machine, or of an uploaded file.
    pub seeds: Option<NamedSeeds>,
    /// [`Needs::tags`]; `None` within for a model without tags.
    pub tags: Option<Arc<Option<PredictedTags>>>,
    /// The name of an uploaded file, in place of the path of its temporary copy.
    pub seed_name: Option<&'static str>,
    pub notes: Vec<String>,
}

impl QueryInput<'_> {
    fn tags(&mut self) -> Result<Arc<Option<PredictedTags>>, EngineError> {
        match &self.tags {
            Some(tags) => Ok(Arc::clone(tags)),
            None => Ok(Arc::new(self.engine.words_if_any()?)),
        }
    }

    fn seeds(&mut self, named: &[NamedSeed]) -> Result<NamedSeeds, EngineError> {
        match self.seeds.take() {
            Some(given) => Ok(given),
            None => Ok(NamedSeeds {
                named: seeds(named, self.engine)?,
                of_lists: Vec::new(),
            }),
        }
    }

    fn written<T: Serialize>(&self, answer: T) -> Result<Vec<u8>, EngineError> {
        let generation = self.engine.library().generation()?;
        let answer = Answer { generation, answer };
        Ok(serde_json::to_vec(&answer).map_err(ExploreError::from)?)
    }
}

pub trait Question: Debug + Send + Sync {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Most tracks of its answer, if a limit bounds it.
    fn limit(&self) -> Option<Limit> {
        None
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError>;
}

impl Question for Similar {
    fn needs(&self) -> Needs {
        INDEX
    }

    fn limit(&self) -> Option<Limit> {
        Some(self.limit)
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let mut named = input.seeds(&self.seeds)?.all();
        if !self.vector.is_empty() {
            named.push(input.engine.seed_of_vector(self.vector.clone())?);
        }
        self.validate(named.len())?;
        self.filters.check(input.engine)?;
        let model = input.model;
        let engine = &mut *input.engine;
        let mut named = self.part_of(engine, named, || model(engine.library()))?;
        if let Some(name) = input.seed_name {
            named.iter_mut().for_each(|seed| seed.path = name.into());
        }
        let unlike = seeds(&self.unlike, engine)?;
        let found = self.run(engine, &named, unlike)?;
        input.written(found)
    }
}

impl Question for Find {
    fn needs(&self) -> Needs {
        Needs {
            tags: true,
            ..Needs::default()
        }
    }

    fn limit(&self) -> Option<Limit> {
        Some(self.limit)
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        self.filters.check(input.engine)?;
        let tags = input.tags()?;
        let Some(tags) = &*tags else {
            // The reason why there are none.
            input.engine.predicted_tags()?;
            return Err(EngineError::Interrupted);
        };
        let found = self.run(input.engine, tags)?;
        input.notes.extend(found.notes.iter().cloned());
        input.written(FoundJson::new(input.engine, &found, tags)?)
    }
}

impl Question for Playlist {
    fn needs(&self) -> Needs {
        Needs {
            // A cluster may lie anywhere in the library.
            whole: self.cluster.is_some(),
            ..INDEX
        }
    }

    fn limit(&self) -> Option<Limit> {
        self.limit
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        self.validate()?;
        let named = input.seeds(&self.seeds)?;
        self.filters.check(input.engine)?;
        let list = self.run(input.engine, &named.named, &named.of_lists)?;
        input.notes.extend(list.far.note.clone());
        input.written(list)
    }
}

impl Question for PathBetween {
    fn needs(&self) -> Needs {
        INDEX
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let stops = input.seeds(&self.stops())?.all();
        let walk = self.run(input.engine, &stops)?;
        input.written(walk)
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ListedPage {
    #[serde(flatten)]
    page: PageJson,
    /// `after` of the next page; null on the last one.
    next: Option<TrackId>,
}

impl Question for List {
    fn needs(&self) -> Needs {
        Needs {
            tags: self.words,
            ..Needs::default()
        }
    }

    fn limit(&self) -> Option<Limit> {
        Some(self.limit)
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        self.filters.check(input.engine)?;
        let query = self.query(input.engine)?;
        let page = input.engine.list(&query)?;
        let ids: Vec<TrackId> = page.tracks.iter().map(|track| track.id).collect();
        let mut words = None;
        if self.words {
            let tags = input.tags()?;
            let strongest = Option::as_ref(&tags).map(|tags| tags.strongest(&ids, WORDS));
            words = Some(strongest.unwrap_or_default());
        }
        input.written(ListedPage {
            page: PageJson::new(&page, words.as_ref()),
            next: page.next,
        })
    }
}

/// A track
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Show {
    /// The track
    track: NamedSeed,
    /// Include the model's strongest tags
    #[serde(default)]
    words: bool,
}

impl Question for Show {
    fn needs(&self) -> Needs {
        Needs {
            tags: self.words,
            ..INDEX
        }
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let named = input.seeds(std::slice::from_ref(&self.track))?.all();
        let tags = if self.words {
            input.tags()?
        } else {
            Arc::default()
        };
        let mut nearest = Vec::new();
        for seed in &named {
            let seed = std::slice::from_ref(seed);
            nearest.push(input.engine.similar(seed, &nearest_options())?);
        }
        let notes = &mut input.notes;
        let report = |news: GenreNews| notes.push(news.text);
        let tags = tags.as_ref().as_ref();
        let mut found = cards(input.engine, named, nearest, tags, self.words, report)?;
        let card = found.pop().ok_or(EngineError::Interrupted)?;
        input.written(card)
    }
}

impl Question for Classify {
    fn needs(&self) -> Needs {
        INDEX
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let tracks = input.seeds(&self.tracks)?.all();
        at_least_one("tracks", tracks.len())?;
        let mut notes = Vec::new();
        let report = |news: GenreNews| notes.push(news.text);
        let mut found = self.run(input.engine, tracks, input.model, report)?;
        if let Some(name) = input.seed_name {
            found
                .iter_mut()
                .for_each(|answer| answer.path = name.into());
        }
        input.notes.extend(notes.iter().cloned());
        input.written(AnswersJson {
            items: found.iter().map(AnswerJson::new).collect(),
            notes,
        })
    }
}

impl Question for GenreRelations {
    fn needs(&self) -> Needs {
        WHOLE
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let found = Self::run(input.engine)?;
        input.written(GenresJson::new(input.engine, &found)?)
    }
}

/// Genres given by hand
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HandLabels {}

impl Question for HandLabels {
    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let library = input.engine.library();
        let mut by_hand = Vec::new();
        for (content, genre) in library.hand_labels()? {
            // A label outlives its track.
            if let Some(track) = library.find_by_content(&content)? {
                by_hand.push((track, genre));
            }
        }
        by_hand.sort();
        let (ids, genres): (Vec<TrackId>, Vec<String>) = by_hand.into_iter().unzip();
        let tracks = library.tracks_by_id(&ids)?;
        let labels = tracks.iter().zip(genres);
        let labels = labels.map(|(track, genre)| HandLabelJson {
            track: TrackRef::of_track(track),
            genre,
        });
        input.written(HandLabelsJson {
            source: input.engine.label_source().to_string(),
            by_hand: labels.collect(),
        })
    }
}

impl Question for Suspects {
    fn needs(&self) -> Needs {
        WHOLE
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let (items, _) = self.run(input.engine)?;
        input.written(Items { items })
    }
}

impl Question for Clusters {
    fn needs(&self) -> Needs {
        WHOLE_INDEX
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let found = Self::all(input.engine)?;
        input.written(ClustersJson::new(input.engine, &found)?)
    }
}

/// The map
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MapOfTracks {}

impl Question for MapOfTracks {
    fn needs(&self) -> Needs {
        WHOLE_INDEX
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let mapped = MappedLibrary::of(input.engine)?;
        input.written(MapJson::new(input.engine, &mapped)?)
    }
}

impl Question for Duplicates {
    fn needs(&self) -> Needs {
        WHOLE_INDEX
    }

    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let items = Self::run(input.engine, |_| ())?;
        input.written(Items { items })
    }
}

/// Files that could not be analysed
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Failed {}

impl Question for Failed {
    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let items = FailureJson::list(&input.engine.library().failures()?);
        input.written(Items { items })
    }
}

/// The state of the library
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LibraryStatus {}

impl Question for LibraryStatus {
    fn answer(&self, input: &mut QueryInput<'_>) -> Result<Vec<u8>, EngineError> {
        let status = input.engine.library().status()?;
        input.written(StatusJson::new(input.engine, &status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_describes_itself() {
        for query in &QUERIES {
            let schema = (query.schema)();
            let name = query.name;
            assert_eq!(schema["type"], "object", "{name}");
            assert_eq!(schema["additionalProperties"], false, "{name}");
            assert!(!schema.to_string().contains("$ref"), "{name}");
            assert!(named(name).is_some_and(|found| found.about == query.about));
            assert_eq!(
                (query.read)(Map::new()).is_ok(),
                schema["required"].is_null()
            );
        }
    }
}
