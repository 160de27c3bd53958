//! What sounds like this, which genre is it, the way from here to there, a list for an evening.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use super::{Answer, Filters, MOST, bytes, share, within, written};
use crate::answers::genre::AnswerJson;
use crate::answers::graph::clustered;
use crate::answers::playlist::{Copies, PlaylistConstraints, listed};
use crate::answers::similar::{PassagesJson, SimilarJson};
use crate::answers::track::ListedJson;
use crate::answers::walk::WalkJson;
use crate::engine::{Classifier, ClassifyOptions, Embedder, EngineError, LabelSource, Seed, SimilarOptions};
use crate::explore::TrackMeta;
use crate::explore::clusters::ClusterOptions;
use crate::explore::path::{PathOptions, path as walk_between};
use crate::explore::playlist::{Length, PlaylistOptions, SeedUse};
use crate::index::SearchMode;
use crate::library::{Resolution, SortBy};
use crate::serve::ask;
use crate::serve::guard::LONGEST_FILE;
use crate::serve::problem::Problem;
use crate::serve::state::{Desk, Explored, Shared, State as Server};
use crate::track::TrackId;

/// Tracks that a question may start from.
const MOST_SEEDS: usize = 500;

/// A track: by its id, by its path as the library has it, or by words that fit it alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedSeed {
    id: Option<i64>,
    path: Option<String>,
    words: Option<String>,
}

impl NamedSeed {
    fn seed(&self, desk: &Desk) -> Result<Seed, Problem> {
        let (engine, library) = (&desk.engine, desk.engine.library());
        match (self.id, &self.path, &self.words) {
            (Some(id), None, None) => Ok(engine.seed_of(TrackId(id))?),
            (None, Some(path), None) => {
                let path = std::path::PathBuf::from(path);
                let track = library
                    .find_by_stored_path(&path)?
                    .ok_or(EngineError::NotInLibrary { path: path.clone() })?;
                Ok(Seed { path, is_named_file: true, ..engine.seed_of(track)? })
            }
            (None, None, Some(words)) => match library.resolve_words(words, 10)? {
                Resolution::One(track) => Ok(engine.seed_of(track)?),
                Resolution::Ambiguous(tracks) => {
                    let count = library.search_words(words, usize::MAX)?.len();
                    let candidates = tracks
                        .iter()
                        .map(|track| format!("id:{}  {}", track.id, track.display_name()))
                        .collect();
                    Err(EngineError::Ambiguous { text: words.clone(), count, candidates }.into())
                }
                Resolution::Nothing => {
                    Err(EngineError::NoSuchTrack { text: words.clone(), candidates: Vec::new() }.into())
                }
            },
            _ => Err(Problem::bad("a track named by one of id, path or words", "none of them, or several")),
        }
    }
}

fn seeds(named: &[NamedSeed], desk: &Desk, least: usize) -> Result<Vec<Seed>, Problem> {
    if !(least..=MOST_SEEDS).contains(&named.len()) {
        return Err(Problem::bad(format!("{least} to {MOST_SEEDS} tracks"), named.len().to_string()));
    }
    named.iter().map(|named| named.seed(desk)).collect()
}

fn mode(text: Option<&str>) -> Result<SearchMode, Problem> {
    match text {
        None => Ok(SearchMode::Auto),
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad("a search of auto, exact, scan, lists or hnsw", format!("{text:?}"))),
    }
}

fn ten() -> usize {
    10
}

/// The options of `similar` besides its seeds and filters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeighborOptions {
    #[serde(default = "ten")]
    limit: usize,
    max_per_artist: Option<usize>,
    min_similarity: Option<f32>,
    #[serde(default)]
    include_seed: bool,
    search: Option<String>,
    /// `similarity`, `bpm`, `key` or `loudness`.
    sort: Option<String>,
}

/// What neighbours are sorted by besides similarity.
fn sorted_by(text: Option<&str>) -> Result<Option<SortBy>, Problem> {
    match text {
        None | Some("similarity") => Ok(None),
        Some("bpm") => Ok(Some(SortBy::Bpm)),
        Some("key") => Ok(Some(SortBy::Key)),
        Some("loudness") => Ok(Some(SortBy::Loudness)),
        Some(_) => Err(Problem::bad("sort by similarity, bpm, key or loudness", "another order")),
    }
}

impl NeighborOptions {
    fn options(&self) -> Result<SimilarOptions, Problem> {
        if let Some(most) = self.max_per_artist {
            within("max_per_artist", most, usize::MAX)?;
        }
        if let Some(least) = self.min_similarity {
            share("min_similarity", least, -1.0..=1.0)?;
        }
        Ok(SimilarOptions {
            limit: within("limit", self.limit, MOST)?,
            max_per_artist: self.max_per_artist,
            min_similarity: self.min_similarity,
            include_seed: self.include_seed,
            mode: mode(self.search.as_deref())?,
            ..SimilarOptions::default()
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarQuestion {
    seeds: Vec<NamedSeed>,
    #[serde(default = "ten")]
    limit: usize,
    #[serde(default)]
    filters: Filters,
    max_per_artist: Option<usize>,
    min_similarity: Option<f32>,
    #[serde(default)]
    include_seed: bool,
    #[serde(default)]
    unlike: Vec<NamedSeed>,
    unlike_weight: Option<f32>,
    /// A passage of the one seed, in seconds.
    from: Option<f64>,
    to: Option<f64>,
    /// Answer from the stored windows alone, without listening to the best tracks again.
    #[serde(default)]
    rough: bool,
    search: Option<String>,
    sort: Option<String>,
}

pub(super) async fn similar(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<SimilarQuestion>,
) -> Result<Response<Body>, Problem> {
    let near = NeighborOptions {
        limit: asked.limit,
        max_per_artist: asked.max_per_artist,
        min_similarity: asked.min_similarity,
        include_seed: asked.include_seed,
        search: asked.search.clone(),
        sort: asked.sort.clone(),
    };
    let mut options = near.options()?;
    let sort = sorted_by(near.sort.as_deref())?;
    if let Some(weight) = asked.unlike_weight {
        options.unlike_weight = share("unlike_weight", weight, 0.0..=1.0)?;
    }
    let passage = match (asked.from, asked.to) {
        (None, None) => None,
        (Some(from), Some(to)) => {
            if asked.seeds.len() != 1 || !asked.unlike.is_empty() {
                return Err(Problem::bad("one seed, and no \"unlike\", with \"from\" and \"to\"", "others"));
            }
            if sort.is_some() || asked.filters.wants_compatible_keys() {
                let expected = "no sort and no key compatible with \"from\" and \"to\"";
                return Err(Problem::bad(expected, "one of them"));
            }
            Some((from, to))
        }
        _ => return Err(Problem::bad("\"from\" and \"to\" together", "one of them")),
    };
    if let Some((from, to)) = passage {
        // All windows of the library are gone through, and files are listened to.
        let answer = state.once(format!("passage {asked:?}"), false, move |state, desk, _| {
            let generation = state.index(desk)?;
            let seeds = seeds(&asked.seeds, desk, 1)?;
            let filter = asked.filters.filter(&desk.engine, &seeds)?;
            let options = SimilarOptions { filter, ..options.clone() };
            let embedder = state.model(desk)?;
            let passage = desk.engine.passage_of(seeds[0].clone(), from, to, &embedder)?;
            let listening = (!asked.rough).then_some(&*embedder);
            let found = desk.engine.similar_passages(&passage, listening, &options)?;
            bytes(generation, PassagesJson::new(&passage, from, to, &found))
        });
        return Ok(written((*answer.await?).clone()));
    }
    state
        .ask(move |state, desk| {
            let generation = state.index(desk)?;
            let seeds = seeds(&asked.seeds, desk, 1)?;
            let filter = asked.filters.filter(&desk.engine, &seeds)?;
            let mut options = SimilarOptions { filter, ..options.clone() };
            options.unlike = self::seeds(&asked.unlike, desk, 0)?;
            let mut found = desk.engine.similar(&seeds, &options)?;
            if let Some(by) = sort {
                desk.engine.sort_by_sound(&mut found, by)?;
            }
            Ok(Answer { generation, answer: SimilarJson::new(&seeds, &found) }.into_response())
        })
        .await
}

/// A copy of a body, which goes when it is dropped.
async fn received(headers: &HeaderMap, body: Body) -> Result<tempfile::NamedTempFile, Problem> {
    use futures_util::StreamExt as _;
    ask::is_file(headers)?;
    let fault =
        |_| Problem::later(30, "the file cannot be kept for reading", "free some space, then ask again");
    let copy = tempfile::NamedTempFile::new().map_err(fault)?;
    let mut file = tokio::fs::File::from_std(copy.reopen().map_err(fault)?);
    let (mut body, mut length) = (body.into_data_stream(), 0);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Problem::bad("a whole file", "one that ended early"))?;
        length += piece.len() as u64;
        if length > LONGEST_FILE {
            let expected = format!("a file of at most {} MB", LONGEST_FILE / 1_000_000);
            return Err(Problem::request(StatusCode::PAYLOAD_TOO_LARGE, expected, "a larger one"));
        }
        file.write_all(&piece).await.map_err(fault)?;
    }
    if length == 0 {
        return Err(Problem::bad("the bytes of an audio file", "an empty body"));
    }
    file.flush().await.map_err(fault)?;
    Ok(copy)
}

/// What an uploaded file is called in answers and messages.
const UPLOADED: &str = "(uploaded)";

/// Says of an uploaded file what would be said of its temporary copy.
fn unnamed(copy: &std::path::Path) -> impl Fn(EngineError) -> Problem {
    let copy = copy.display().to_string();
    move |error| Problem::from(error).with_name(&copy, UPLOADED)
}

fn seed_of_copy(state: &Server, desk: &Desk, copy: &std::path::Path) -> Result<Seed, Problem> {
    let seed = desk.engine.seed(copy.as_os_str(), || state.model(desk)).map_err(unnamed(copy))?;
    Ok(Seed { path: UPLOADED.into(), ..seed })
}

pub(super) async fn similar_to_file(
    State(state): State<Shared>,
    ask::SplitQuery(near, filters): ask::SplitQuery<NeighborOptions, Filters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<SimilarJson>, Problem> {
    let options = near.options()?;
    let sort = sorted_by(near.sort.as_deref())?;
    let copy = received(&headers, body).await?;
    state
        .ask(move |state, desk| {
            let generation = state.index(desk)?;
            let seed = seed_of_copy(state, desk, copy.path())?;
            let filter = filters.filter(&desk.engine, std::slice::from_ref(&seed))?;
            let options = SimilarOptions { filter, ..options.clone() };
            let mut found = desk.engine.similar(std::slice::from_ref(&seed), &options)?;
            if let Some(by) = sort {
                desk.engine.sort_by_sound(&mut found, by)?;
            }
            Ok(Answer { generation, answer: SimilarJson::new(&[seed], &found) })
        })
        .await
}

/// How tracks are classified; as the command line's options.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Classify {
    neighbours: Option<usize>,
    other_artists: bool,
    among: Vec<String>,
    precision: Option<f32>,
    /// `tags` or `folder`.
    label_from: Option<String>,
    search: Option<String>,
}

/// Where genres come from. A file of labels is named on the command line alone.
pub(super) fn labels(text: Option<&str>) -> Result<Option<LabelSource>, Problem> {
    match text {
        None => Ok(None),
        Some("tags") => Ok(Some(LabelSource::Tags)),
        Some("folder") => Ok(Some(LabelSource::Folder)),
        Some(_) => Err(Problem::bad("label_from of tags or folder", "another source")),
    }
}

impl Classify {
    fn options(&self) -> Result<ClassifyOptions, Problem> {
        if let Some(neighbours) = self.neighbours {
            within("neighbours", neighbours, MOST)?;
        }
        if let Some(precision) = self.precision {
            share("precision", precision, 0.0..=1.0)?;
        }
        if self.among.len() > 100 {
            return Err(Problem::bad("at most 100 genres in among", self.among.len().to_string()));
        }
        Ok(ClassifyOptions {
            labels: labels(self.label_from.as_deref())?,
            neighbours: self.neighbours,
            other_artists: self.other_artists,
            among: self.among.clone(),
            precision: self.precision,
            or_share: false,
            mode: mode(self.search.as_deref())?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassifyQuestion {
    tracks: Vec<NamedSeed>,
    neighbours: Option<usize>,
    #[serde(default)]
    other_artists: bool,
    #[serde(default)]
    among: Vec<String>,
    precision: Option<f32>,
    label_from: Option<String>,
    search: Option<String>,
}

#[derive(Serialize)]
struct Genres<'a> {
    items: Vec<AnswerJson<'a>>,
    /// What is worth knowing about who answers.
    notes: Vec<String>,
}

/// - `copy`: the tracks are this one file
fn classified(
    state: &Server,
    desk: &mut Desk,
    options: &ClassifyOptions,
    seeds: Vec<Seed>,
    copy: Option<&std::path::Path>,
) -> Result<Bytes, Problem> {
    let generation = desk.engine.library().generation()?;
    let mut notes = Vec::new();
    let model = state.model(desk);
    let embedder = |_: Option<&crate::library::Library>| -> Result<Arc<Embedder>, EngineError> { model };
    let classifier =
        Classifier::open(Some(&mut desk.engine), options, embedder, |news| notes.push(news.to_string()))?;
    let answers = match &classifier {
        Classifier::Labelled(labelled) => labelled.classify(&desk.engine, seeds)?,
        Classifier::FirstGuess(guess) => {
            let named = seeds.iter().map(|seed| copy.unwrap_or(&seed.path));
            let heard = named.map(|path| guess.listen(path).map_err(unnamed(path)));
            let mut heard = heard.collect::<Result<Vec<_>, Problem>>()?;
            for (answer, seed) in heard.iter_mut().zip(&seeds) {
                answer.path.clone_from(&seed.path);
            }
            heard
        }
    };
    let answer = Genres { items: answers.iter().map(AnswerJson::new).collect(), notes };
    bytes(generation, answer)
}

pub(super) async fn classify(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<ClassifyQuestion>,
) -> Result<Response<Body>, Problem> {
    let how = Classify {
        neighbours: asked.neighbours,
        other_artists: asked.other_artists,
        among: asked.among.clone(),
        precision: asked.precision,
        label_from: asked.label_from.clone(),
        search: asked.search.clone(),
    };
    let options = how.options()?;
    let answer = state
        .ask(move |state, desk| {
            state.index(desk)?;
            let seeds = seeds(&asked.tracks, desk, 1)?;
            classified(state, desk, &options, seeds, None)
        })
        .await?;
    Ok(written(answer))
}

pub(super) async fn classify_file(
    State(state): State<Shared>,
    ask::Query(how): ask::Query<Classify>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    let options = how.options()?;
    let copy = received(&headers, body).await?;
    let answer = state
        .ask(move |state, desk| {
            state.index(desk)?;
            let seed = seed_of_copy(state, desk, copy.path())?;
            classified(state, desk, &options, vec![seed], Some(copy.path()))
        })
        .await?;
    Ok(written(answer))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathQuestion {
    from: NamedSeed,
    to: NamedSeed,
    #[serde(default)]
    via: Vec<NamedSeed>,
    steps: Option<usize>,
    max_per_artist: Option<usize>,
}

fn row(explored: &Explored, seed: &Seed) -> Result<usize, Problem> {
    Ok(explored.collection.row_of(seed)?)
}

pub(super) async fn path(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<PathQuestion>,
) -> Result<Response<Body>, Problem> {
    if let Some(steps) = asked.steps {
        within("steps", steps, MOST - 1)?;
    }
    if let Some(most) = asked.max_per_artist {
        within("max_per_artist", most, usize::MAX)?;
    }
    state
        .ask_explored(move |_, desk, explored| {
            let collection = &explored.collection;
            let from = row(explored, &asked.from.seed(desk)?)?;
            let to = row(explored, &asked.to.seed(desk)?)?;
            let via = seeds(&asked.via, desk, 0)?;
            let via = via.iter().map(|seed| row(explored, seed)).collect::<Result<_, _>>()?;
            let options = PathOptions {
                via,
                tracks: asked.steps.map(|steps| steps + 1),
                max_per_artist: asked.max_per_artist,
            };
            let walk = walk_between(
                collection.vectors.view(),
                &explored.graph,
                &collection.meta,
                from,
                to,
                &options,
            )?;
            let answer = WalkJson::new(collection, &walk);
            Ok(Answer { generation: explored.generation, answer }.into_response())
        })
        .await
}

/// Tracks of one artist in a playlist, where nobody says how many, as on the command line.
const PER_ARTIST: usize = 2;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaylistQuestion {
    #[serde(default)]
    seeds: Vec<NamedSeed>,
    /// They hold for all of the list but the seeds; without seeds, all tracks that pass them are seeds.
    #[serde(default)]
    filters: Filters,
    cluster: Option<u32>,
    limit: Option<usize>,
    /// Total length in seconds, instead of `limit`.
    length: Option<f64>,
    /// 2 where it is not said, 0 for no limit.
    max_per_artist: Option<usize>,
    #[serde(default)]
    diversity: f32,
    shuffle: Option<u64>,
    min_similarity: Option<f32>,
    #[serde(default)]
    no_duplicates: bool,
    #[serde(default)]
    keep_duplicates: bool,
    #[serde(default)]
    harmonic: bool,
    max_bpm_step: Option<f64>,
}

#[derive(Serialize)]
struct Listed<'a> {
    items: Vec<ListedJson<'a>>,
}

pub(super) async fn playlist(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<PlaylistQuestion>,
) -> Result<Response<Body>, Problem> {
    let length = match (asked.length, asked.limit) {
        (Some(_), Some(_)) => return Err(Problem::bad("one of limit and length", "both")),
        (Some(seconds), None) if seconds > 0.0 && seconds <= 864_000.0 => Length::Seconds(seconds),
        (Some(seconds), None) => {
            return Err(Problem::bad("a length of up to 864000 seconds", seconds.to_string()));
        }
        (None, limit) => Length::Tracks(within("limit", limit.unwrap_or(20), MOST)?),
    };
    let options = PlaylistOptions {
        length,
        max_per_artist: Some(asked.max_per_artist.unwrap_or(PER_ARTIST)).filter(|&most| most > 0),
        diversity: share("diversity", asked.diversity, 0.0..=1.0)?,
        shuffle: asked.shuffle,
        seeds: SeedUse::Open(asked.seeds.len()),
        min_similarity: asked
            .min_similarity
            .map(|least| share("min_similarity", least, -1.0..=1.0))
            .transpose()?,
    };
    let copies = match (asked.no_duplicates, asked.keep_duplicates) {
        (true, true) => return Err(Problem::bad("one of no_duplicates and keep_duplicates", "both")),
        (true, false) => Copies::LookedFor,
        (false, true) => Copies::Kept,
        (false, false) => Copies::LeftOut,
    };
    if asked.max_bpm_step.is_some_and(|step| step <= 0.0) {
        return Err(Problem::bad("max_bpm_step above 0", "another number"));
    }
    if asked.shuffle.is_some() && (asked.harmonic || asked.max_bpm_step.is_some()) {
        return Err(Problem::bad("shuffle, or harmonic and max_bpm_step", "both"));
    }
    // Clusters and copies are looked for in the whole library.
    let is_whole = asked.cluster.is_some() || copies == Copies::LookedFor;
    let key = format!("playlist {asked:?}");
    let work = move |desk: &mut Desk, explored: &Explored| -> Result<Bytes, Problem> {
        let collection = &explored.collection;
        let named = seeds(&asked.seeds, desk, 0)?;
        let mut rows = named.iter().map(|seed| row(explored, seed)).collect::<Result<Vec<_>, _>>()?;
        if let Some(cluster) = asked.cluster {
            let options = ClusterOptions::default();
            let found = clustered(&mut desk.engine, collection, &explored.graph, None, &options)?;
            let before = rows.len();
            let belongs = |row: &usize| cluster != 0 && found.assignment[*row] == cluster;
            rows.extend((0..collection.ids.len()).filter(belongs));
            if rows.len() == before {
                let detail = format!("there is no cluster {cluster}");
                return Err(Problem::not_found(detail, "see those there are: GET /api/v1/clusters"));
            }
        }
        let filter = asked.filters.filter(&desk.engine, &named)?;
        let allowed = desk.engine.matching(&filter)?;
        if let (true, Some(allowed)) = (rows.is_empty(), &allowed) {
            rows = collection.rows_of(allowed);
            if rows.is_empty() {
                let next = "loosen the filters";
                return Err(Problem::not_found("no track passes the filters", next));
            }
        }
        if rows.is_empty() {
            return Err(Problem::bad("seeds, filters or a cluster", "none of them"));
        }
        let wanted = PlaylistConstraints {
            copies,
            harmonic: asked.harmonic,
            max_bpm_step: asked.max_bpm_step,
            allowed: allowed.as_ref(),
        };
        let list = listed(&mut desk.engine, collection, &rows, named.len(), &wanted, &options)?;
        let tracks: Vec<&TrackMeta> = list.rows.iter().map(|&row| &collection.meta[row]).collect();
        let items = ListedJson::list(&tracks).collect();
        bytes(explored.generation, Listed { items })
    };
    let answer = if is_whole {
        let answer = state.once_explored(key, false, move |_, desk, explored, _| work(desk, explored));
        (*answer.await?).clone()
    } else {
        state.ask_explored(move |_, desk, explored| work(desk, explored)).await?
    };
    Ok(written(answer))
}
