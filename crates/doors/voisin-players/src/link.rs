//! Links the songs of a media server to tracks, so that requests can use the server's own ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::songs::{Everything, SongRef};
use super::subsonic::{Login, call, id_of, song_ref};
use super::upstream::{ServerAddress, Upstream, runtime};
use voisin_base::remedy::Remedy;
use voisin_base::track::TrackId;
use voisin_http::process::ended;
use voisin_http::state::{MakeCommand, State};
use voisin_library::{Library, LibraryError};

pub(super) mod plex;

/// Songs of a page.
const PAGE: usize = 500;

/// Why a server's songs cannot be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server failed, or its answer is invalid.
    #[error("{0}")]
    Server(String),
    /// The server refuses this user.
    #[error("{0}")]
    Login(String),
    /// The server has no songs.
    #[error("{0} has no songs: let it scan its music first, or log in as a user who may see it")]
    NoSongs(String),
    /// The library failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The system's threads failed.
    #[error("cannot start the requests to the server")]
    Runtime(#[source] std::io::Error),
}

impl LinkError {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Login(_) => Some(Remedy::OtherLogin),
            Self::Library(error) => error.remedy(),
            _ => None,
        }
    }
}

/// A song for which the library has no track.
#[derive(Debug, Serialize)]
pub struct Unmatched {
    pub(crate) item: String,
    /// Its artist.
    pub artist: Option<String>,
    /// Its title.
    pub title: String,
    /// Its path on the server.
    pub path: Option<String>,
}

/// Counts of the songs of a server.
#[derive(Debug, Serialize)]
pub struct LinkReport {
    /// The address of the server.
    pub server: String,
    pub(crate) songs: usize,
    /// Songs that are tracks of the library.
    pub linked: usize,
    /// Counts by the means of matching: `path`, `mbid`, `isrc`, `tags`.
    pub found_by: HashMap<&'static str, usize>,
    /// Tracks of the library that the server does not have.
    pub unknown_to_server: usize,
    /// Songs that are not in the library.
    pub unmatched: Vec<Unmatched>,
}

/// The API of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The Subsonic API of Navidrome and others.
    Subsonic,
    /// Jellyfin's own API.
    Jellyfin,
    /// Plex's own API; its token is the password.
    Plex,
}

/// Interval of the check for new tracks, how long the library must have been unchanged, and the longest delay for that.
const LOOK: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_mins(10);
/// Delays of retries, since the server may scan new files later than the library.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(20),
    Duration::from_mins(2),
    Duration::from_mins(15),
    Duration::from_hours(1),
];

/// Links a server's songs again when the library has tracks that are not linked, until `stop` is set: in a process of its own,
/// whose memory is returned.
///
/// - `link`: `voisin link` of the server
pub fn keep_linked(state: &State, server: &ServerAddress, link: &MakeCommand, stop: &AtomicBool) {
    // The numbers of tracks, and of those that are not linked.
    let count = || -> Result<(u64, u64), LibraryError> {
        // Opened for the count only, since this thread lives as long as the server.
        let library = Library::open_to_read(&state.dir)?;
        let tracks = library.status()?.tracks;
        let linked = library.links().linked_tracks(server.as_str())?.len() as u64;
        Ok((tracks, tracks.saturating_sub(linked)))
    };
    let mut look = Instant::now();
    let mut version = None;
    let mut known = (0, 0);
    // When linking is due, its latest time, and the number of attempts.
    let mut due = None::<Instant>;
    let mut latest = None::<Instant>;
    let mut tries = 0;
    let mut last = None::<Instant>;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        let now = Instant::now();
        if now < look {
            continue;
        }
        look = now + LOOK;
        let found = state.version().ok();
        // Only after a commit, since counting opens the library.
        if found.is_some() && found != version {
            version = found;
            let Ok(counted) = count() else { continue };
            if counted != known {
                known = counted;
                tries = 0;
                // A scan changes the counts all the time: linking waits until it is quiet, up to
                // the longest delay.
                latest = (known.1 > 0).then(|| latest.unwrap_or(now + LATEST));
                due = latest.map(|latest| latest.min(now + QUIET));
            }
        }
        // Changed ids of the server are found by requests that use them, and linked again by path.
        if due.is_none() && last.is_none_or(|last| now > last + LATEST) {
            due = state
                .is_unlinked
                .swap(false, Ordering::Relaxed)
                .then_some(now);
        }
        if due.is_none_or(|due| now < due) {
            continue;
        }
        last = Some(now);
        let before = known.1;
        let failed = match ended(link()) {
            Ok((true, _)) => None,
            Ok((false, messages)) => Some(messages.join(" ")),
            Err(error) => Some(error.to_string()),
        };
        known = count().unwrap_or(known);
        match failed {
            Some(why) => state.log(&format!("cannot link the songs of {server} again: {why}")),
            None if known.1 < before => {
                state.log(&format!(
                    "linked again with {server}: {}",
                    voisin_base::text::count(known.0 - known.1, "track")
                ));
            }
            None => {}
        }
        // A limited number of retries, since the server may never have some songs.
        let after = AGAIN.get(tries).filter(|_| known.1 > 0);
        due = after.map(|after| Instant::now() + *after);
        (latest, tries) = (None, tries + 1);
    }
}

/// A song of a server.
struct Song {
    item: String,
    song: SongRef,
}

/// Fetches all songs of a server and links them to tracks.
pub fn link(
    library: &mut Library,
    address: ServerAddress,
    kind: ServerKind,
    user: &str,
    password: &str,
    progress: &dyn Fn(usize),
) -> Result<LinkReport, LinkError> {
    let runtime = runtime().map_err(LinkError::Runtime)?;
    let upstream = Upstream::new(address);
    let songs = runtime.block_on(async {
        match kind {
            ServerKind::Subsonic => {
                all_songs(&upstream, &Login::new(user, password), progress).await
            }
            ServerKind::Jellyfin => jellyfin::all_songs(&upstream, user, password, progress).await,
            ServerKind::Plex => plex::all_songs(&upstream, password, progress).await,
        }
    })?;
    if songs.all.is_empty() {
        return Err(LinkError::NoSongs(upstream.address.to_string()));
    }
    // In memory, as thousands of songs would be as many searches in the database.
    let everything = Everything::of(library)?;
    let mut linked = LinkReport {
        server: upstream.address.to_string(),
        songs: songs.all.len(),
        linked: 0,
        found_by: HashMap::new(),
        unknown_to_server: 0,
        unmatched: Vec::new(),
    };
    let mut links: Vec<(String, TrackId)> = Vec::with_capacity(songs.all.len());
    for Song { item, song } in songs.all {
        match song.find_linked(&everything)? {
            Some((track, how)) => {
                *linked.found_by.entry(how).or_default() += 1;
                links.push((item, track));
            }
            None => linked.unmatched.push(Unmatched {
                item,
                artist: song.artist,
                title: song.name,
                path: song.path,
            }),
        }
    }
    library
        .links_mut()
        .set_links(upstream.address.as_str(), &links, &songs.artists)?;
    linked.linked = links.len();
    // Counted from the library, as several songs may be one track.
    let known = library.links().linked_tracks(upstream.address.as_str())?;
    linked.unknown_to_server = everything.len().saturating_sub(known.len());
    Ok(linked)
}

async fn all_songs(
    upstream: &Upstream,
    login: &Login,
    progress: &dyn Fn(usize),
) -> Result<Songs, LinkError> {
    let question = async |endpoint: &str, parameters: &[(&str, &str)]| {
        call(upstream, login, endpoint, parameters)
            .await
            .map_err(|refusal| match refusal.reason(upstream) {
                (true, text) => LinkError::Login(text),
                (false, text) => LinkError::Server(text),
            })
    };
    let mut songs = Songs::default();
    let size = PAGE.to_string();
    loop {
        let offset = songs.all.len().to_string();
        let parameters = [
            ("query", ""),
            ("artistCount", "0"),
            ("albumCount", "0"),
            ("songCount", &*size),
            ("songOffset", &*offset),
        ];
        let answer = question("search3", &parameters).await?;
        let page = answer["searchResult3"]["song"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // Stops if the server repeats its songs.
        if songs.take(&page) == 0 {
            break;
        }
        progress(songs.all.len());
    }
    if !songs.all.is_empty() {
        return Ok(songs);
    }
    // For servers that find nothing for an empty search, by albums.
    let mut offset = 0;
    loop {
        let text = offset.to_string();
        let parameters = [
            ("type", "alphabeticalByName"),
            ("size", &*size),
            ("offset", &*text),
        ];
        let answer = question("getAlbumList2", &parameters).await?;
        let albums = answer["albumList2"]["album"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let before = songs.all.len();
        for id in albums.iter().filter_map(id_of) {
            let answer = question("getAlbum", &[("id", &id)]).await?;
            songs.take(
                answer["album"]["song"]
                    .as_array()
                    .map_or(&[][..], Vec::as_slice),
            );
            progress(songs.all.len());
        }
        // No new song on a page: the server repeats its albums, or they are empty.
        if albums.is_empty() || songs.all.len() == before {
            return Ok(songs);
        }
        offset += albums.len();
    }
}

/// Songs without repetitions, and their artists by the server's ids.
#[derive(Default)]
pub(super) struct Songs {
    all: Vec<Song>,
    artists: BTreeMap<String, String>,
    seen: std::collections::HashSet<String>,
}

impl Songs {
    /// Adds the new songs of a page and returns their number.
    fn take(&mut self, page: &[Value]) -> usize {
        let before = self.all.len();
        for song in page {
            if let Some(item) = id_of(song) {
                self.add(item, song_ref(song));
                let several = ["artists", "albumArtists"]
                    .into_iter()
                    .filter_map(|name| song[name].as_array());
                for artist in several.flatten() {
                    // OpenSubsonic lists the artists; the field below has all of them in
                    // one text.
                    self.add_artist(id_of(artist), &artist["name"]);
                }
                self.add_artist(
                    song["artistId"].as_str().map(str::to_owned),
                    &song["artist"],
                );
            }
        }
        self.all.len() - before
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Sets the name of an artist's id, unless it has one.
    pub(super) fn add_artist(&mut self, item: Option<String>, name: &Value) {
        if let (Some(item), Some(name)) = (item, name.as_str()) {
            self.artists.entry(item).or_insert_with(|| name.to_owned());
        }
    }

    pub(super) fn add(&mut self, item: String, song: SongRef) {
        if self.seen.insert(item.clone()) {
            self.all.push(Song { item, song });
        }
    }
}

/// Jellyfin's songs and playlists.
pub(super) mod jellyfin {
    use axum::body::Bytes;
    use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
    use serde_json::{Value, json};

    use super::{LinkError, PAGE, Songs};
    use crate::songs::{ArtistRef, SongRef};
    use crate::upstream::Upstream;

    /// Units of lengths in a second.
    const TICKS: f64 = 10_000_000.0;

    /// A session of a Jellyfin server.
    struct JellyfinSession<'a> {
        upstream: &'a Upstream,
        token: Option<String>,
    }

    impl JellyfinSession<'_> {
        async fn send(
            &self,
            method: Method,
            path: &str,
            body: Option<&Value>,
        ) -> Result<Value, LinkError> {
            let server = &self.upstream.address;
            let token = self
                .token
                .as_ref()
                .map_or_else(String::new, |token| format!(", Token=\"{token}\""));
            let version = env!("CARGO_PKG_VERSION");
            let who = format!(
                "MediaBrowser Client=\"voisin\", Device=\"voisin\", DeviceId=\"voisin\", Version=\"{version}\"{token}"
            );
            let mut who = HeaderValue::from_str(&who)
                .map_err(|_| LinkError::Server(format!("{server} returned an invalid token")))?;
            // Hides it from logs of the HTTP client.
            who.set_sensitive(true);
            let headers: [(HeaderName, HeaderValue); 2] = [
                (header::AUTHORIZATION, who),
                (
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                ),
            ];
            let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
            let answer = self.upstream.send(method, path, &headers, body).await;
            let (status, body) = answer.map_err(|error| LinkError::Server(error.to_string()))?;
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(LinkError::Login(format!(
                    "{server} refuses name or password"
                )));
            }
            if !status.is_success() {
                let text = format!("{server} answers {status}: is it a Jellyfin server?");
                return Err(LinkError::Server(text));
            }
            // Some answers have an empty body.
            Ok(serde_json::from_slice(&body).unwrap_or_default())
        }
    }

    /// Signs in; returns the session and the user's id.
    async fn sign_in<'a>(
        upstream: &'a Upstream,
        user: &str,
        password: &str,
    ) -> Result<(JellyfinSession<'a>, String), LinkError> {
        let mut session = JellyfinSession {
            upstream,
            token: None,
        };
        let question = json!({"Username": user, "Pw": password});
        let answer = session
            .send(Method::POST, "/Users/AuthenticateByName", Some(&question))
            .await?;
        session.token = answer["AccessToken"].as_str().map(str::to_owned);
        let Some(user) = answer["User"]["Id"]
            .as_str()
            .filter(|_| session.token.is_some())
        else {
            let text = format!(
                "{} returned no session: is it a Jellyfin server?",
                upstream.address
            );
            return Err(LinkError::Server(text));
        };
        let user: String = form_urlencoded::byte_serialize(user.as_bytes()).collect();
        Ok((session, user))
    }

    /// Creates or updates a playlist with these songs; returns its id. `None`: another playlist has this name.
    ///
    /// - `made`: the id of this list's playlist there, and whether another one of its name may be replaced
    pub(crate) async fn put(
        upstream: &Upstream,
        (user, password): (&str, &str),
        name: &str,
        items: &[&str],
        (made, is_forced): (Option<&str>, bool),
    ) -> Result<Option<String>, LinkError> {
        let (session, user) = sign_in(upstream, user, password).await?;
        let path = format!(
            "/Items?userId={user}&recursive=true&includeItemTypes=Playlist&mediaTypes=Audio"
        );
        let all = session.send(Method::GET, &path, None).await?;
        let all = all["Items"].as_array().cloned().unwrap_or_default();
        let ours = all
            .iter()
            .find(|one| made.is_some() && one["Id"].as_str() == made);
        let there = ours.or_else(|| all.iter().find(|one| one["Name"] == name));
        if ours.is_none() && there.is_some() && !is_forced {
            // Otherwise the session stays in the server's list of devices.
            let _ = session.send(Method::POST, "/Sessions/Logout", None).await;
            return Ok(None);
        }
        let id = if let Some(id) = there.and_then(|one| one["Id"].as_str()) {
            let encoded: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
            let question = json!({"Ids": items});
            let path = format!("/Playlists/{encoded}");
            session.send(Method::POST, &path, Some(&question)).await?;
            id.to_owned()
        } else {
            let question =
                json!({"Name": name, "Ids": items, "UserId": user, "MediaType": "Audio"});
            let made = session
                .send(Method::POST, "/Playlists", Some(&question))
                .await?;
            let server = &upstream.address;
            let unnamed =
                || LinkError::Server(format!("{server} returned no id of the new playlist"));
            made["Id"].as_str().ok_or_else(unnamed)?.to_owned()
        };
        let _ = session.send(Method::POST, "/Sessions/Logout", None).await;
        Ok(Some(id))
    }

    pub(super) async fn all_songs(
        upstream: &Upstream,
        user: &str,
        password: &str,
        progress: &dyn Fn(usize),
    ) -> Result<Songs, LinkError> {
        let (session, user) = sign_in(upstream, user, password).await?;
        let mut songs = Songs::default();
        let mut start = 0;
        loop {
            let path = format!(
                "/Items?userId={user}&recursive=true&includeItemTypes=Audio&fields=Path,ProviderIds&startIndex={start}&limit={PAGE}"
            );
            let page = session.send(Method::GET, &path, None).await?;
            let items = page["Items"].as_array().cloned().unwrap_or_default();
            let before = songs.all.len();
            for item in &items {
                if let Some(id) = item["Id"].as_str() {
                    // Plugins use ids without dashes.
                    songs.add(id.replace('-', ""), song(item));
                }
                let several = ["ArtistItems", "AlbumArtists"]
                    .into_iter()
                    .filter_map(|name| item[name].as_array());
                for artist in several.flatten() {
                    songs.add_artist(
                        artist["Id"].as_str().map(|id| id.replace('-', "")),
                        &artist["Name"],
                    );
                }
            }
            start += items.len();
            progress(songs.all.len());
            if songs.all.len() == before {
                break;
            }
        }
        // The session is no longer needed.
        let _ = session.send(Method::POST, "/Sessions/Logout", None).await;
        Ok(songs)
    }

    fn song(item: &Value) -> SongRef {
        let text = |name: &str| item[name].as_str().map(str::to_owned);
        let artists = item["Artists"].as_array().into_iter().flatten();
        let artists = artists.filter_map(|name| {
            Some(ArtistRef {
                name: name.as_str()?.to_owned(),
            })
        });
        SongRef {
            name: text("Name").unwrap_or_default(),
            mbid: item["ProviderIds"]["MusicBrainzRecording"]
                .as_str()
                .map(str::to_owned),
            path: text("Path"),
            artist: text("AlbumArtist"),
            artists: artists.collect(),
            album: text("Album"),
            duration: item["RunTimeTicks"].as_f64().map(|ticks| ticks / TICKS),
            ..SongRef::default()
        }
    }
}
