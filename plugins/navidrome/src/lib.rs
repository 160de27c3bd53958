//! Answers Navidrome's requests for similar songs by requests to a voisin server.
//!
//! For: the capability `SonicSimilarity`, and similar songs and artists of `MetadataAgent`. Songs are sent as references
//! (title, artists, album, length, MBID, ISRC) in both directions, so that neither side needs the other's ids.
//!
//! A request that takes more than two seconds is an error; nine for a path, for which the server may first have to find the
//! neighbours of all tracks. The response for an unknown song is empty, as Navidrome expects; after an error it retries
//! later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use extism_pdk::{Error, FnResult, Json, config, host_fn, plugin_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Timeout of a request, and of one for a path, in milliseconds; Navidrome's own is ten seconds.
const TIMEOUT: u32 = 2000;
const PATH_TIMEOUT: u32 = 9000;
/// Longest list that the server returns.
const MAX_COUNT: u64 = 1000;

#[derive(Serialize)]
struct HttpRequest {
    method: &'static str,
    url: String,
    headers: Map<String, Value>,
    body: String,
    #[serde(rename = "timeoutMs")]
    timeout_ms: u32,
    /// The token must not be sent to another server.
    #[serde(rename = "noFollowRedirects")]
    no_follow_redirects: bool,
}

#[derive(Serialize)]
struct HttpSendCall {
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
struct HttpSendResult {
    result: Option<HttpResponse>,
    error: Option<String>,
}

#[host_fn("extism:host/user")]
extern "ExtismHost" {
    fn http_send(call: Json<HttpSendCall>) -> Json<HttpSendResult>;
}

/// Sends a request to the server; `None` if it does not have the song or artist.
fn post(path: &str, request_body: &Value) -> Result<Option<Value>, Error> {
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
        body: STANDARD.encode(request_body.to_string()),
        timeout_ms: if path == "path" { PATH_TIMEOUT } else { TIMEOUT },
        no_follow_redirects: true,
    };
    // Errors do not contain the request, which has the token, since Navidrome writes them to its log.
    let Json(sent) = unsafe { http_send(Json(HttpSendCall { request })) }?;
    let response = match (sent.result, sent.error) {
        (Some(result), None) => result,
        (_, error) => {
            let reason = error.unwrap_or_else(|| "no response".to_owned());
            return Err(Error::msg(format!(
                "voisin: {url} does not answer: {reason}: is \"voisin serve\" running?"
            )));
        }
    };
    let body = STANDARD.decode(&response.body).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match response.status_code {
        200 => Ok(Some(body)),
        // Not in the library: no error, so that Navidrome does not retry.
        404 if body["detail"].is_string() => Ok(None),
        status => {
            let detail = body["detail"].as_str().unwrap_or("expected a response of voisin");
            let next = body["next"].as_str().unwrap_or("check the address in the plugin's settings");
            Err(Error::msg(format!("voisin: {url} returned {status}: {detail}: {next}")))
        }
    }
}

/// Settings of mixes, with the server's names.
const MIX_SETTINGS: [&str; 6] = ["max_per_artist", "max_per_album", "near_only", "variety", "taste", "not_heard"];

/// Requests songs that follow these; empty settings have the server's defaults.
fn mix(seed_kind: &str, named: Value, count: Option<i64>) -> Result<Option<Value>, Error> {
    let mut mixing = Map::new();
    for name in MIX_SETTINGS {
        let value_text = config::get(name).ok().flatten().unwrap_or_default();
        // Numbers and switches are passed as text.
        if let Ok(value) = serde_json::from_str::<Value>(value_text.trim()) {
            mixing.insert(name.to_owned(), value);
        }
    }
    let excluded = config::get("exclude_genre").ok().flatten().unwrap_or_default();
    let excluded: Vec<&str> = Some(excluded.trim()).filter(|genres| !genres.is_empty()).into_iter().collect();
    let filters = json!({"exclude_genre": excluded});
    post("similar", &json!({seed_kind: [named], "count": self::count(count), "mixing": mixing, "filters": filters}))
}

/// Navidrome's song as the server's reference, without Navidrome's id, which the server does not know.
fn reference(song: &Value) -> Value {
    let mut song = song.clone();
    if let Some(fields) = song.as_object_mut() {
        fields.remove("id");
        fields.retain(|_, value| !value.is_null());
    }
    song
}

/// The server's song in Navidrome's form.
fn navidrome_song(song: &Value) -> Value {
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
    number.and_then(|number| u64::try_from(number).ok()).filter(|&number| number > 0).unwrap_or(10).min(MAX_COUNT)
}

#[derive(Deserialize)]
struct SonicRequest {
    song: Value,
    count: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SonicPathRequest {
    start_song: Value,
    end_song: Value,
    count: Option<i64>,
}

/// A song, an album or an artist, by name.
#[derive(Deserialize)]
struct NameRequest {
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
        .map(|found| json!({"song": navidrome_song(&found["song"]), "similarity": found["similarity"]}))
        .collect();
    Json(json!({ "matches": matches }))
}

fn songs(answer: Option<Value>) -> Json<Value> {
    let all = answer.as_ref().and_then(|answer| answer["matches"].as_array());
    let songs: Vec<Value> = all.into_iter().flatten().map(|found| navidrome_song(&found["song"])).collect();
    Json(json!({ "songs": songs }))
}

#[plugin_fn]
pub fn nd_get_sonic_similar_tracks(Json(request): Json<SonicRequest>) -> FnResult<Json<Value>> {
    Ok(matches(mix("songs", reference(&request.song), request.count)?))
}

#[plugin_fn]
pub fn nd_find_sonic_path(Json(request): Json<SonicPathRequest>) -> FnResult<Json<Value>> {
    let start = reference(&request.start_song);
    let end = reference(&request.end_song);
    let answer = post("path", &json!({"start": start, "end": end, "count": count(request.count).max(2)}))?;
    let mut answer = matches(answer);
    // The ends are the requested songs: with their ids, Navidrome need not search for them, which may fail.
    if let Some([first, .., last]) = answer.0["matches"].as_array_mut().map(Vec::as_mut_slice) {
        for (end, end_song) in [(first, &request.start_song), (last, &request.end_song)] {
            if let Some(id) = end_song.get("id").filter(|id| id.is_string()) {
                end["song"]["id"] = id.clone();
            }
        }
    }
    Ok(answer)
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_track(Json(request): Json<NameRequest>) -> FnResult<Json<Value>> {
    let song = reference(&json!({"name": request.name, "artist": request.artist, "mbid": request.mbid}));
    Ok(songs(mix("songs", song, request.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_album(Json(request): Json<NameRequest>) -> FnResult<Json<Value>> {
    let album = reference(&json!({"name": request.name, "artist": request.artist}));
    Ok(songs(mix("albums", album, request.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_songs_by_artist(Json(request): Json<NameRequest>) -> FnResult<Json<Value>> {
    Ok(songs(mix("artists", json!({"name": request.name}), request.count)?))
}

#[plugin_fn]
pub fn nd_get_similar_artists(Json(request): Json<NameRequest>) -> FnResult<Json<Value>> {
    let limit = request.limit.or(request.count);
    let answer = post("artists", &json!({"artist": {"name": request.name}, "count": count(limit)}))?;
    let all = answer.as_ref().and_then(|answer| answer["artists"].as_array());
    let artists: Vec<Value> =
        all.into_iter().flatten().map(|artist| json!({"name": artist["name"]})).collect();
    Ok(Json(json!({ "artists": artists })))
}
