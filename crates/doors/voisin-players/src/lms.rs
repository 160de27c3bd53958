//! The API of Bliss Mixer for Lyrion Music Server, on a separate port that only this machine can reach, since the plugin
//! cannot send a token.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, Response, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use chrono::{Datelike as _, Local};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::upstream::{ServerAddress, Upstream};
use voisin_base::random::Random;
use voisin_base::track::TrackId;
use voisin_engine::{EngineError, MixOptions, SimilarOptions, album_of};
use voisin_http::access::{Guard, LONGEST_BODY, LocalAddress, PATIENCE};
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{RequestContext, Shared, lock};
use voisin_library::{Library, LibraryError, Track, fold};
use voisin_music::artists::is_nobody;
use voisin_questions::answers::lossy;

/// Most songs of an answer.
const MOST: usize = 50;
/// Most seeds, and most previous songs.
const MOST_SEEDS: usize = 50;
const MOST_BEFORE: usize = 500;
/// Neighbours of each seed in the first round, for each song and in addition, and their maximum.
const REACH_EACH: usize = 2;
const REACH: usize = 50;
const FARTHEST: usize = 20_000;

/// Options for Lyrion.
#[derive(Debug, Clone)]
pub struct Lms {
    /// 0: any free port.
    pub port: u16,
    /// The Lyrion server to which the port is reported.
    pub report: Option<ServerAddress>,
}

/// A number, or a boolean, which the plugin sends as 1 or 0.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(flag) => f64::from(u8::from(flag)),
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => 0.0,
    })
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(number(deserializer)? != 0.0)
}

fn five() -> f64 {
    5.0
}

/// Fields of both requests. Others (`forest`, `adaptiveweights`, `debug`) are for another kind of comparison, and
/// ignored.
#[derive(Debug, Default, Deserialize)]
struct Common {
    #[serde(default = "five", deserialize_with = "number")]
    count: f64,
    #[serde(default, deserialize_with = "flag")]
    filtergenre: bool,
    /// Seconds; 0: none.
    #[serde(default, deserialize_with = "number")]
    min: f64,
    #[serde(default, deserialize_with = "number")]
    max: f64,
    #[serde(default, deserialize_with = "number")]
    maxbpmdiff: f64,
    #[serde(default)]
    genregroups: Vec<Vec<String>>,
    /// Whether all genres of a seed must be in a group, not only one.
    #[serde(default, deserialize_with = "flag")]
    allgenres: bool,
    #[serde(default, deserialize_with = "flag")]
    filterxmas: bool,
}

#[derive(Debug, Deserialize)]
struct LmsMixQuestion {
    #[serde(flatten)]
    common: Common,
    tracks: Vec<String>,
    #[serde(default)]
    previous: Vec<String>,
    #[serde(default, deserialize_with = "flag")]
    shuffle: bool,
    #[serde(default, deserialize_with = "number")]
    norepart: f64,
    #[serde(default, deserialize_with = "number")]
    norepalb: f64,
}

#[derive(Debug, Deserialize)]
struct LmsListQuestion {
    #[serde(flatten)]
    common: Common,
    track: String,
    #[serde(default, deserialize_with = "flag")]
    byartist: bool,
}

struct Mixer {
    state: Shared,
    guard: Guard,
    /// Lyrion's music folders: those of the server's options, and those derived from its requests.
    roots: Mutex<HashSet<PathBuf>>,
}

/// The routes, for a separate port.
///
/// - `folders`: possible music folders of Lyrion
pub fn router(state: &Shared, folders: &[PathBuf]) -> Router {
    let mixer = Arc::new(Mixer {
        state: Arc::clone(state),
        // No host names but localhost, and no token, which the plugin cannot send.
        guard: Guard::default(),
        roots: Mutex::new(folders.iter().cloned().collect()),
    });
    Router::new()
        .route("/api/ready", get(|| async { plain("1".to_owned()) }))
        .route("/api/mix", post(mix))
        .route("/api/list", post(list))
        .layer(DefaultBodyLimit::max(LONGEST_BODY as usize))
        .layer(middleware::from_fn_with_state(Arc::clone(&mixer), check))
        .with_state(mixer)
}

/// Accepts requests for this machine's own name, and none from foreign pages.
async fn check(State(mixer): State<Arc<Mixer>>, request: Request, next: Next) -> Response<Body> {
    let guard = &mixer.guard;
    let local = request.extensions().get::<LocalAddress>().copied();
    let host = guard.check_host(request.headers(), request.uri(), local);
    if let Err(problem) = host.and_then(|host| guard.check_origin(request.headers(), &host)) {
        return problem.into_response();
    }
    tokio::time::timeout(PATIENCE, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::later(5, "this took too long", "request less, or try again later")
                .into_response()
        })
}

fn plain(text: String) -> Response<Body> {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )],
        text,
    )
        .into_response()
}

/// Genres for comparison: those of the tags, in lower case.
fn genres(track: &Track) -> Vec<String> {
    // One tag may have several genres, separated by semicolons.
    let split = track.tags.genres.iter().flat_map(|genre| genre.split(';'));
    split
        .map(|genre| genre.trim().to_lowercase())
        .filter(|genre| !genre.is_empty())
        .collect()
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &[char], name: &[char]) -> bool {
    // Where to continue if the last * has to match one more.
    let mut p = 0;
    let mut n = 0;
    let mut star = None;
    while n < name.len() {
        // Backtracks only to the last star, so the time is at most pattern times name.
        if p < pattern.len() && (pattern[p] == '?' || (pattern[p] != '*' && pattern[p] == name[n]))
        {
            (p, n) = (p + 1, n + 1);
        } else if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, taken)) = star {
            (p, n) = (at + 1, taken + 1);
            star = Some((at, taken + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The rule for genres of a song.
struct GenreRule {
    groups: Vec<Vec<Vec<char>>>,
    /// The groups of the seeds; empty: only songs of no group.
    wanted: HashSet<usize>,
}

impl GenreRule {
    fn new(common: &Common, seeds: &[Track]) -> Self {
        let lower = |pattern: &String| pattern.to_lowercase().chars().collect();
        let groups: Vec<Vec<Vec<char>>> = common
            .genregroups
            .iter()
            .map(|group| group.iter().map(lower).collect())
            .collect();
        let mut rule = Self {
            groups,
            wanted: HashSet::new(),
        };
        let of_seeds = seeds
            .iter()
            .flat_map(|seed| rule.groups_of(&genres(seed), common.allgenres));
        rule.wanted = of_seeds.collect();
        rule
    }

    fn has(&self, group: usize, genre: &str) -> bool {
        let genre: Vec<char> = genre.chars().collect();
        self.groups[group]
            .iter()
            .any(|pattern| fits(pattern, &genre))
    }

    /// The groups that a song is in.
    ///
    /// - `all`: with all of its genres, not only one
    fn groups_of(&self, genres: &[String], all: bool) -> Vec<usize> {
        let is_in = |group: &usize| {
            let mut within = genres.iter().map(|genre| self.has(*group, genre));
            if all {
                !genres.is_empty() && within.all(|is_in| is_in)
            } else {
                within.any(|is_in| is_in)
            }
        };
        (0..self.groups.len()).filter(is_in).collect()
    }

    fn allows(&self, track: &Track) -> bool {
        let own_genres = genres(track);
        // A song without genres passes.
        if own_genres.is_empty() {
            return true;
        }
        if self.wanted.is_empty() {
            let in_any =
                |genre: &String| (0..self.groups.len()).any(|group| self.has(group, genre));
            // Seeds in no group: songs of a group are another kind of music.
            return !own_genres.iter().any(in_any);
        }
        self.groups_of(&own_genres, false)
            .iter()
            .any(|group| self.wanted.contains(group))
    }
}

impl Mixer {
    /// The tracks of Lyrion's paths, in their order, without those that the library does not have.
    fn tracks(&self, library: &Library, paths: &[String]) -> Result<Vec<TrackId>, LibraryError> {
        let mut tracks = Vec::new();
        for path in paths {
            tracks.extend(self.track(library, Path::new(path))?);
        }
        Ok(tracks)
    }

    fn track(&self, library: &Library, path: &Path) -> Result<Option<TrackId>, LibraryError> {
        // Below a known folder the full path is known, and found at once.
        let places: Vec<PathBuf> = lock(&self.roots)
            .iter()
            .map(|root| root.join(path))
            .collect();
        let known = places
            .iter()
            .map(|place| library.files().find_by_stored_path(place));
        let known = known
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>()?;
        // Below two folders the path may be two files; then the end of the path decides.
        if let [track] = known[..] {
            return Ok(Some(track));
        }
        let found = library.files().find_by_path_end(path)?;
        let mut ids: Vec<TrackId> = found.iter().map(|(_, track)| *track).collect();
        ids.dedup();
        // Ambiguous paths are ignored: a wrong seed is worse than none.
        let [track] = ids[..] else { return Ok(None) };
        let depth = path
            .components()
            .filter(|part| matches!(part, std::path::Component::Normal(_)))
            .count();
        // The rest of the path is a music folder.
        if let Some(root) = found[0].0.ancestors().nth(depth) {
            let mut roots = lock(&self.roots);
            // Bounded, since each root is tried for each path.
            if roots.len() < 100 {
                roots.insert(root.to_owned());
            }
        }
        Ok(Some(track))
    }

    /// Lyrion's form of a path: below its music folder.
    fn relative(&self, path: &Path) -> Option<String> {
        let roots = lock(&self.roots);
        let below = roots.iter().filter_map(|root| path.strip_prefix(root).ok());
        below
            .max_by_key(|rest| rest.components().count())
            .map(lossy)
    }
}

/// Tracks near to the seeds, nearest first: the best of each seed's own neighbours.
///
/// - `wanted`: number of songs; more are fetched if too few of them fit
/// - `mix`: rules of a mix, in another order each time; `None`: all, nearest first
/// - `accept`: gets all candidates, and returns whether they are enough
fn each_neighbour(
    context: &mut RequestContext,
    common: &Common,
    seeds: &[TrackId],
    artist: Option<&str>,
    wanted: usize,
    mix: Option<&MixOptions>,
    mut accept: impl FnMut(&[(Track, f32)]) -> bool,
) -> Result<(), Problem> {
    let bound = |value: f64, usual: Option<f64>| Some(value).filter(|value| *value > 0.0).or(usual);
    let measured = context.engine.library().derived().descriptors(seeds)?;
    let mut reach = REACH.max(REACH_EACH * wanted);
    loop {
        let mut best: HashMap<TrackId, (Track, f32)> = HashMap::new();
        for &track in seeds {
            let mut filter = mix.map(|mix| mix.filter.clone()).unwrap_or_default();
            filter.seconds_from = bound(common.min, mix.map(|mix| mix.shortest));
            filter.seconds_to = bound(common.max, mix.map(|mix| mix.longest));
            filter.artists.extend(artist.map(str::to_owned));
            // A seed without a tempo allows all.
            let tempo = measured.get(&track).and_then(|measured| measured.tempo);
            if let Some(tempo) = tempo.filter(|_| common.maxbpmdiff > 0.0) {
                filter.tempo_from = Some(tempo - common.maxbpmdiff);
                filter.tempo_to = Some(tempo + common.maxbpmdiff);
            }
            let seed = context.engine.seed_of(track)?;
            let options = SimilarOptions {
                limit: reach,
                filter,
                ..SimilarOptions::default()
            };
            for near in context
                .engine
                .similar(std::slice::from_ref(&seed), &options)?
            {
                let known = best
                    .entry(near.track.id)
                    .or_insert_with(|| (near.track.clone(), near.similarity));
                known.1 = known.1.max(near.similarity);
            }
        }
        let found = best.len();
        let mut all: Vec<(Track, f32)> = best.into_values().collect();
        all.sort_by(|a, b| {
            b.1.partial_cmp(&a.1)
                .unwrap_or(Ordering::Equal)
                .then(a.0.id.cmp(&b.0.id))
        });
        // Beyond `reach` tracks, nearer ones may be missing.
        all.truncate(reach);
        if let Some(mix) = mix {
            all = context.engine.arrange(all, mix)?;
        }
        // Fewer than requested are all that pass the filters.
        if accept(&all) || found < reach || reach >= FARTHEST {
            return Ok(());
        }
        reach *= 8;
    }
}

/// Album, and whether it is one of several artists.
fn album(track: &Track) -> Option<(String, bool)> {
    let is_various = track.tags.album_artist.as_deref().is_some_and(is_nobody);
    Some((album_of(track)?, is_various))
}

async fn mix(
    State(mixer): State<Arc<Mixer>>,
    extract::Body(request): extract::Body<LmsMixQuestion>,
) -> Result<Response<Body>, Problem> {
    let state = Arc::clone(&mixer.state);
    let answer = state.run(move |state, context| {
        state.index(context)?;
        let library = context.engine.library();
        let names = |all: &[String], most: usize| all[..all.len().min(most)].to_vec();
        let seeds = mixer.tracks(library, &names(&request.tracks, MOST_SEEDS))?;
        let before = mixer.tracks(library, &names(&request.previous, MOST_BEFORE))?;
        if seeds.is_empty() {
            return Ok(String::new());
        }
        let seed_tracks = library.tracks_by_id(&seeds)?;
        let before_tracks = library.tracks_by_id(&before)?;
        let rule = request.common.filtergenre.then(|| {
            GenreRule::new(
                &request.common,
                &[&seed_tracks[..], &before_tracks[..]].concat(),
            )
        });
        let no_christmas = request.common.filterxmas && Local::now().month() != 12;
        let known: HashSet<TrackId> = seeds.iter().chain(&before).copied().collect();
        let artists_of = |track: &Track| track.people().into_iter().map(fold).collect::<Vec<_>>();
        // From a float, as the plugin may send 5 or "5" or 5.0; the cast turns NaN into
        // 0.
        let count = (request.common.count as usize).clamp(1, MOST);
        // Shuffling the nearest few would return the same few each time.
        let wanted = if request.shuffle && count < 20 {
            5 * count
        } else {
            count
        };
        let usual = MixOptions {
            limit: wanted,
            filter: {
                let seeds = seeds.iter().map(|track| context.engine.seed_of(*track));
                let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
                state.mixes.filters.filter(context.engine, &seeds)?
            },
            ..state.mixes.mixing.options()
        };
        let (shortest, longest) =
            usual.lengths(seed_tracks.iter().map(|track| track.audio.seconds));
        let mix = MixOptions {
            shortest,
            longest,
            ..usual
        };
        let mut chosen: Vec<Track> = Vec::new();
        each_neighbour(
            context,
            &request.common,
            &seeds,
            None,
            wanted,
            Some(&mix),
            |all| {
                let mut titles: HashSet<String> = seed_tracks
                    .iter()
                    .chain(&before_tracks)
                    .filter_map(title_of)
                    .collect();
                let recent = |most: f64| before_tracks.iter().take(most.max(0.0) as usize);
                let mut artists: HashSet<String> =
                    recent(request.norepart).flat_map(artists_of).collect();
                let albums: HashSet<String> = recent(request.norepalb)
                    .filter_map(album)
                    .map(|(album, _)| album)
                    .collect();
                let mut taken: HashSet<String> = HashSet::new();
                let mut set_aside: Vec<Track> = Vec::new();
                // Each round gets all candidates, and starts again.
                chosen.clear();
                for (track, _) in all.iter().filter(|(track, _)| !known.contains(&track.id)) {
                    if rule.as_ref().is_some_and(|rule| !rule.allows(track))
                        || no_christmas && is_christmas(track)
                    {
                        continue;
                    }
                    let album = album(track);
                    // At most one song of an album in an answer, independent of the settings.
                    if album
                        .as_ref()
                        .is_some_and(|(album, _)| taken.contains(album))
                    {
                        continue;
                    }
                    let repeats_artist = request.norepart > 0.0
                        && artists_of(track)
                            .iter()
                            .any(|artist| artists.contains(artist));
                    let repeats_album = album
                        .as_ref()
                        .is_some_and(|(album, is_various)| !is_various && albums.contains(album));
                    let repeats_title =
                        title_of(track).is_some_and(|title| titles.contains(&title));
                    if repeats_artist || repeats_album || repeats_title {
                        set_aside.push(track.clone());
                        continue;
                    }
                    titles.extend(title_of(track));
                    artists.extend(artists_of(track));
                    taken.extend(album.map(|(album, _)| album));
                    chosen.push(track.clone());
                    if chosen.len() >= wanted {
                        return true;
                    }
                }
                // A repeated artist is better than silence.
                let missing = 2_usize.min(count).saturating_sub(chosen.len());
                chosen.extend(set_aside.into_iter().take(missing));
                false
            },
        )?;
        if request.shuffle {
            // A new seed, for another order each time.
            let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
            Random::new(seed).shuffle(&mut chosen);
        }
        chosen.truncate(count);
        Ok(lines(&mixer, &chosen))
    });
    Ok(plain(answer.await?))
}

async fn list(
    State(mixer): State<Arc<Mixer>>,
    extract::Body(request): extract::Body<LmsListQuestion>,
) -> Result<Response<Body>, Problem> {
    let state = Arc::clone(&mixer.state);
    let answer = state.run(move |state, context| {
        state.index(context)?;
        let library = context.engine.library();
        let seeds = mixer.tracks(library, std::slice::from_ref(&request.track))?;
        let Some(&seed) = seeds.first() else {
            return Ok(String::new());
        };
        let seed_track = library.track(seed).map_err(EngineError::from)?;
        let rule = request
            .common
            .filtergenre
            .then(|| GenreRule::new(&request.common, std::slice::from_ref(&seed_track)));
        let no_christmas = request.common.filterxmas && Local::now().month() != 12;
        let artist = seed_track
            .main_artist()
            .filter(|_| request.byartist)
            .map(str::to_owned);
        if request.byartist && artist.is_none() {
            return Ok(String::new());
        }
        let count = (request.common.count as usize).clamp(1, MOST);
        let mut chosen: Vec<Track> = Vec::new();
        each_neighbour(
            context,
            &request.common,
            &seeds,
            artist.as_deref(),
            count,
            None,
            |all| {
                let mut titles: HashSet<String> = title_of(&seed_track).into_iter().collect();
                let allowed = all.iter().map(|(track, _)| track);
                let allowed = allowed.filter(|track| {
                    rule.as_ref().is_none_or(|rule| rule.allows(track))
                        && !(no_christmas && is_christmas(track))
                        && title_of(track).is_none_or(|title| titles.insert(title))
                });
                chosen = allowed.take(count).cloned().collect();
                chosen.len() >= count
            },
        )?;
        Ok(lines(&mixer, &chosen))
    });
    Ok(plain(answer.await?))
}

fn title_of(track: &Track) -> Option<String> {
    track.tags.title.as_deref().map(fold)
}

fn is_christmas(track: &Track) -> bool {
    genres(track).iter().any(|genre| genre == "christmas")
}

/// One path a line, without those outside of Lyrion's folders.
fn lines(mixer: &Mixer, chosen: &[Track]) -> String {
    let paths = chosen.iter().filter_map(|track| {
        let mut files = track
            .files
            .iter()
            .map(|file| file.record.path.as_path())
            .chain([track.path.as_path()]);
        files.find_map(|path| mixer.relative(path))
    });
    // Without names that contain line breaks.
    paths
        .filter(|path| !path.contains(['\n', '\r']))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reports the port to Lyrion, as its plugin expects; with retries, since it may be starting.
pub async fn report(server: ServerAddress, port: u16) -> Result<(), String> {
    let question = json!({"id": 1, "method": "slim.request", "params": ["", ["blissmixer", "port", format!("number:{port}")]]});
    let upstream = Upstream::new(server);
    let kind = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    let mut last = String::new();
    for pause in [0, 1, 3, 10] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let body = question.to_string().into();
        match upstream
            .send(Method::POST, "/jsonrpc.js", &kind, body)
            .await
        {
            Ok((status, _)) if status.is_success() => return Ok(()),
            Ok((status, _)) => last = format!("{} answers {status}", upstream.address),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let fits = |pattern: &str, name: &str| {
            super::fits(
                &pattern.chars().collect::<Vec<_>>(),
                &name.chars().collect::<Vec<_>>(),
            )
        };
        for (pattern, name) in [
            ("rock", "rock"),
            ("*rock", "hard rock"),
            ("r?ck*", "rock/pop"),
            ("*", ""),
            ("**a*b", "xaxxb"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("rock", "hard rock"),
            ("?", ""),
            ("*rock", "rocks"),
            ("a*b*c", "acb"),
            ("", "x"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        // Many stars take no more time.
        assert!(!fits(&"*a".repeat(50), &"a".repeat(49)));
    }

    #[test]
    fn flags_are_numbers_texts_and_booleans() {
        let read = |json: &str| serde_json::from_str::<LmsMixQuestion>(json).unwrap();
        let request = read(
            r#"{"tracks": ["a"], "count": "7", "shuffle": true, "filtergenre": 1, "filterxmas": 0, "min": 60.0, "forest": 1, "adaptiveweights": {"a": 1}, "debug": 0}"#,
        );
        assert_eq!((request.common.count, request.common.min), (7.0, 60.0));
        assert!(request.shuffle && request.common.filtergenre && !request.common.filterxmas);
        assert_eq!(read(r#"{"tracks": []}"#).common.count, 5.0);
    }
}
