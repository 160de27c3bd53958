//! Navidrome asks this plugin which songs sound alike; the plugin asks a voisin server.
//!
//! For: the capabilities `SonicSimilarity` and, of `MetadataAgent`, what concerns songs and artists that are alike. Songs
//! travel as references (title, artists, album, length, MBID, ISRC) in both directions, so that neither side needs to know
//! the other's ids.
//!
//! An answer comes within two seconds or is an error; a path, for which the server may have to find the neighbours of all
//! tracks first, within nine. "Nothing is known of this song" is an empty answer, as Navidrome wants it; an error makes it ask
//! again later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use extism_pdk::{Error, FnResult, Json, config, host_fn, plugin_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Time for an answer, in milliseconds, and for a path, within the ten seconds that Navidrome gives a request.
const PATIENCE: u32 = 2000;
const PATIENCE_FOR_PATHS: u32 = 9000;
/// Longest list that the server gives.
const MOST: u64 = 1000;

#[derive(Serialize)]
struct HttpRequest {
    method: &'static str,
    url: String,
    headers: Map<String, Value>,
    body: String,
    #[serde(rename = "timeoutMs")]
    timeout_ms: u32,
    /// The token goes to the server that was named, and to no other.
    #[serde(rename = "noFollowRedirects")]
    no_follow_redirects: bool,
}

#[derive(Serialize)]
struct HttpQuestion {
    request: HttpRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpResponse {
    status_code: u16,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct HttpAnswer {
    result: Option<HttpResponse>,
    error: Option<String>,
}

#[host_fn("extism:host/user")]
extern "ExtismHost" {
    fn http_send(question: Json<HttpQuestion>) -> Json<HttpAnswer>;
}

/// Asks the server; `None` where it does not know what is asked about.
fn ask(path: &str, question: &Value) -> Result<Option<Value>, Error> {
    let setting = |name: &str| {
        let value = config::get(name).ok().flatten().map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::msg(format!("voisin: the setting {name:?} is missing: enter it in the plugin's settings"))
        })
    };
    let url = setting("url")?;
    let token = setting("token")?;
    let mut headers = Map::new();
    headers.insert("Authorization".to_owned(), format!("Bearer {token}").into());
    headers.insert("Content-Type".to_owned(), "application/json".into());
    let request = HttpRequest {
        method: "POST",
        url: format!("{}/api/v1/refs/{path}", url.trim_end_matches('/')),
        headers,
        body: STANDARD.encode(question.to_string()),
        timeout_ms: if path == "path" { PATIENCE_FOR_PATHS } else { PATIENCE },
        no_follow_redirects: true,
    };
    // The question holds the token and is not repeated in errors, which Navidrome writes to its log.
    let Json(answer) = unsafe { http_send(Json(HttpQuestion { request })) }?;
    let answer = match (answer.result, answer.error) {
        (Some(result), None) => result,
        (_, error) => {
            let reason = error.unwrap_or_else(|| "no answer".to_owned());
            return Err(Error::msg(format!(
                "voisin: {url} does not answer: {reason}: is \"voisin serve\" running?"
            )));
        }
    };
    let body = STANDARD.decode(&answer.body).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer.status_code {
        200 => Ok(Some(body)),
        // Not in the library: nothing to be said of it, now or later.
        404 if body["detail"].is_string() => Ok(None),
        status => {
            let detail = body["detail"].as_str().unwrap_or("not an answer of voisin");
            let next = body["next"].as_str().unwrap_or("see the address in the plugin's settings");
            Err(Error::msg(format!("voisin: {url} answers {status}: {detail}: {next}")))
        }
    }
}

/// Settings of the form that say what a mix is like, called as the server calls them.
const WISHES: [&str; 6] = ["max_per_artist", "max_per_album", "near_only", "variety", "taste", "not_heard"];

/// A question for songs to go on with. What the form leaves open is as the server was started with.
fn mix(seed_kind: &str, named: Value, count: Option<i64>) -> Result<Option<Value>, Error> {
    let mut mixing = Map::new();
    for name in WISHES {
        let value_text = config::get(name).ok().flatten().unwrap_or_default();
        // Numbers and switches arrive as text.
        if let Ok(value) = serde_json::from_str::<Value>(value_text.trim()) {
            mixing.insert(name.to_owned(), value);
        }
    }
    let excluded = config::get("exclude_genre").ok().flatten().unwrap_or_default();
    let excluded: Vec<&str> = Some(excluded.trim()).filter(|genres| !genres.is_empty()).into_iter().collect();
    let filters = json!({"exclude_genre": excluded});
    ask("similar", &json!({seed_kind: [named], "count": self::count(count), "mixing": mixing, "filters": filters}))
}

/// Navidrome's facts about a song, as the server takes them. Navidrome's own ids mean nothing there.
fn asked(song: &Value) -> Value {
    let mut song = song.clone();
    if let Some(fields) = song.as_object_mut() {
        fields.remove("id");
        fields.retain(|_, value| !value.is_null());
    }
    song
}

/// A song of the server's answer, as Navidrome looks for it.
fn answered(song: &Value) -> Value {
    let mut answer = Map::new();
    for name in ["name", "mbid", "isrc", "artist", "artists", "album", "durationMs"] {
        if let Some(value) = song.get(name).filter(|value| !value.is_null()) {
            answer.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(milliseconds) = song["durationMs"].as_f64() {
        answer.insert("duration".to_owned(), json!(milliseconds / 1000.0));
    }
    Value::Object(answer)
}

fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).filter(|&number| number > 0).unwrap_or(10).min(MOST)
}

#[derive(Deserialize)]
struct SonicQuestion {
    song: Value,
    count: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PathQuestion {
    start_song: Value,
    end_song: Value,
    count: Option<i64>,
}

/// A song, an album or an artist, by name.
#[derive(Deserialize)]
struct NamedQuestion {
    name: String,
    artist: Option<String>,
    mbid: Option<String>,
    count: Option<i64>,
    limit: Option<i64>,
}

fn matches(answer: Option<Value>) -> Json<Value> {
    let all = answer.as_ref().and_then(|answer| answer["matches"].as_array());
    let matches: Vec<Value> = all
        .into_iter()
        .flatten()
        .map(|found| json!({"song": answered(&found["song"]), "similarity": found["similarity"]}))
        .collect();
    Json(json!({ "matches": matches }))
}

fn songs(answer: Option<Value>) -> Json<Value> {
    let all = answer.as_ref().and_then(|answer| answer["matches"].as_array());
    let songs: Vec<Value> = all.into_iter().flatten().map(|found| answered(&found["song"])).collect();
    Json(json!({ "songs": songs }))
}

#[plugin_fn]
pub fn nd_get_sonic_similar_tracks(Json(question): Json<SonicQuestion>) -> FnResult<Json<Value>> {
    Ok(matches(mix("songs", asked(&question.song), question.count)?))
}

#[plugin_fn]
pub fn nd_find_sonic_path(Json(question): Json<PathQuestion>) -> FnResult<Json<Value>> {
    let start = asked(&question.start_song);
    let end = asked(&question.end_song);
    let answer = ask("path", &json!({"start": start, "end": end, "count": count(question.count).max(2)}))?;
    let mut answer = matches(answer);
    // The ends are the songs that were asked for: Navidrome need not look for them by their names, and may not lose them.
    if let Some([first, .., last]) = answer.0["matches"].as_array_mut().map(Vec::as_mut_slice) {
        for (end, end_song) in [(first, &question.start_song), (last, &question.end_song)] {
            if let Some(id) = end_song.get("id").filter(|id| id.is_string()) {
                end["song"]["id"] = id.clone();
            }
        }
    }
    Ok(answer)
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_track(Json(question): Json<NamedQuestion>) -> FnResult<Json<Value>> {
    let song = asked(&json!({"name": question.name, "artist": question.artist, "mbid": question.mbid}));
    Ok(songs(mix("songs", song, question.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_album(Json(question): Json<NamedQuestion>) -> FnResult<Json<Value>> {
    let album = asked(&json!({"name": question.name, "artist": question.artist}));
    Ok(songs(mix("albums", album, question.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_artist(Json(question): Json<NamedQuestion>) -> FnResult<Json<Value>> {
    Ok(songs(mix("artists", json!({"name": question.name}), question.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_artists(Json(question): Json<NamedQuestion>) -> FnResult<Json<Value>> {
    let limit = question.limit.or(question.count);
    let answer = ask("artists", &json!({"artist": {"name": question.name}, "count": count(limit)}))?;
    let all = answer.as_ref().and_then(|answer| answer["artists"].as_array());
    let artists: Vec<Value> =
        all.into_iter().flatten().map(|artist| json!({"name": artist["name"]})).collect();
    Ok(Json(json!({ "artists": artists })))
}
