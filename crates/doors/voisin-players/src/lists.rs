//! Saved lists: their queries, their destinations, and pushing them there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::link::{LinkError, jellyfin, plex};
use super::mpd::{Mpd, MpdAddress, MpdError};
use super::subsonic::{Login, call, id_of};
use super::upstream::{ServerAddress, Upstream, runtime};
use voisin_base::output::{OutputError, OutputTarget};
use voisin_base::remedy::Remedy;
use voisin_base::track::{ContentId, TrackId};
use voisin_engine::meta;
use voisin_explore::TrackMeta;
use voisin_explore::playlist::{Format, PathStyle, write};
use voisin_genre::Taxonomy;
use voisin_http::problem::Problem;
use voisin_http::process::ended;
use voisin_http::state::State;
use voisin_library::{Library, LibraryError, Track};
use voisin_questions::read::Refused;
use voisin_questions::saved::{SavedQuestion, check_name, smart_playlist};
use voisin_questions::seed::NamedSeed;

/// A saved list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedList {
    /// Its query.
    #[serde(serialize_with = "as_json")]
    pub question: SavedQuestion,
    /// Its destinations.
    #[serde(default)]
    pub to: Vec<ListPlace>,
    /// Time of the last push, in seconds since 1970 UTC.
    #[serde(default)]
    pub pushed: Option<i64>,
    /// Content ids, in hexadecimal, of the tracks that the query names by id, which changes when a recording is removed and
    /// added again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    recordings: BTreeMap<i64, String>,
    /// Artists and titles of these tracks, for messages after their removal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<i64, String>,
}

fn as_json<S: serde::Serializer>(
    question: &SavedQuestion,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    question.as_json().serialize(serializer)
}

/// A media server with an API of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// Jellyfin 10.9 or later, which can change a playlist.
    Jellyfin,
    /// Plex, with its token as the password.
    Plex,
}

/// A destination of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListPlace {
    /// A playlist of a Subsonic server.
    Subsonic {
        /// Its address.
        server: String,
        /// The playlist's owner.
        user: String,
        /// The playlist's id on the server, once it was created.
        #[serde(default)]
        id: Option<String>,
    },
    /// A playlist of Jellyfin or Plex.
    Media {
        /// The server's API.
        kind: MediaKind,
        /// Its address.
        server: String,
        /// The playlist's owner.
        user: String,
        /// The playlist's id on the server, once it was created.
        #[serde(default)]
        id: Option<String>,
    },
    /// A stored playlist of MPD.
    Mpd {
        /// A host or socket, as for MPD's own programs; empty: their default.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A file: a playlist of paths (`.m3u8`), or rules that Navidrome evaluates (`.nsp`).
    File(PathBuf),
}

impl ListPlace {
    /// Whether it is the same playlist, regardless of its id.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Subsonic { server, user, .. },
                Self::Subsonic {
                    server: at,
                    user: login,
                    ..
                },
            )
            | (
                Self::Media { server, user, .. },
                Self::Media {
                    server: at,
                    user: login,
                    ..
                },
                // Without the id, which is known only once the playlist was created.
            ) => server == at && user == login,
            _ => self == other,
        }
    }
}

impl std::fmt::Display for ListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Subsonic { server, user, .. } | Self::Media { server, user, .. } => {
                write!(f, "{server} as {user}")
            }
            Self::Mpd { host, port } => match (host.as_str(), *port) {
                ("", _) => f.write_str("MPD"),
                (host, port) => write!(f, "MPD at {}", MpdAddress::read(host, port)),
            },
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a list cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no such list.
    #[error("there is no list \"{0}\": \"voisin lists\" shows the saved ones")]
    Unknown(String),
    /// The value under its name is no list.
    #[error("the list \"{name}\" cannot be read: {reason}: remove it and save it again")]
    Unreadable {
        /// Its name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// All of its seeds were removed from the library.
    #[error(
        "the list \"{name}\" has seeds that were removed from the library, {}: add them again, or save the list again with others",
        tracks.join(", ")
    )]
    Gone {
        /// Its name.
        name: String,
        /// The tracks, by artist and title if these are known.
        tracks: Vec<String>,
    },
    /// A playlist of that name exists that is not this list's.
    #[error(
        "{place} already has another playlist \"{name}\": rename the list, or replace that playlist with --force"
    )]
    Taken {
        /// Where.
        place: String,
        /// The name.
        name: String,
    },
    /// The server failed, with its message.
    #[error("{0}")]
    Server(String),
    /// The server refuses this user.
    #[error("{0}")]
    Login(String),
    /// The destination has none of the list's songs.
    #[error("{place} has none of the songs of \"{name}\": {next}")]
    NoSongs {
        /// Where.
        place: String,
        /// The list.
        name: String,
        /// The next step.
        next: &'static str,
    },
    /// MPD failed.
    #[error(transparent)]
    Mpd(#[from] MpdError),
    /// The query cannot be written as rules.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The library failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The playlist cannot be written in this format.
    #[error(transparent)]
    Format(#[from] voisin_explore::ExploreError),
    /// The file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The system's threads failed.
    #[error("cannot start the requests to the server")]
    Runtime(#[source] std::io::Error),
}

impl ListError {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Login(_) => Some(Remedy::OtherLogin),
            Self::Mpd(error) => error.remedy(),
            Self::Library(error) => error.remedy(),
            _ => None,
        }
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Unknown(name) => Self::not_found(
                format!("there is no list {name:?}"),
                "see the lists: GET /api/v1/lists",
            ),
            ListError::Refused(refused) => refused.into(),
            ListError::Library(error) => error.into(),
            other => Self::new(
                StatusCode::CONFLICT,
                other.to_string(),
                "try again when that is fixed",
            ),
        }
    }
}

/// Parses a content id in hexadecimal.
fn content_of(text: &str) -> Option<ContentId> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes().chunks(2);
    // ASCII only, as bytes are paired below.
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(ContentId(bytes))
}

impl SavedList {
    /// All lists of a library, by name.
    ///
    /// - `unreadable`: called with the error of each unreadable list, which is left out
    pub fn all(
        library: &Library,
        mut unreadable: impl FnMut(&ListError),
    ) -> Result<Vec<(String, Self)>, ListError> {
        let mut all = Vec::new();
        for (name, text) in library.lists().saved_lists()? {
            match Self::read(library, &name, &text) {
                Ok(list) => all.push((name, list)),
                // An unreadable list must not prevent the others from being shown and renewed.
                Err(error @ ListError::Unreadable { .. }) => unreadable(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The list of this name.
    pub fn named(library: &Library, name: &str) -> Result<Self, ListError> {
        let text = library
            .lists()
            .saved_list(name)?
            .ok_or_else(|| ListError::Unknown(name.to_owned()))?;
        Self::read(library, name, &text)
    }

    fn read(library: &Library, name: &str, text: &str) -> Result<Self, ListError> {
        let unreadable = |reason: String| ListError::Unreadable {
            name: name.to_owned(),
            reason,
        };
        let mut list: Self =
            serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        list.follow_recordings(library)?;
        Ok(list)
    }

    /// Updates the ids of recordings that were added again under another one.
    fn follow_recordings(&mut self, library: &Library) -> Result<(), LibraryError> {
        let mut moved: BTreeMap<i64, i64> = BTreeMap::new();
        for (&id, content) in &self.recordings {
            if library.contains(TrackId(id))? {
                continue;
            }
            let content = content_of(content);
            if let Some(now) =
                content.map_or(Ok(None), |it| library.files().find_by_content(&it))?
            {
                moved.insert(id, now.0);
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let renamed = |seed: &NamedSeed| match seed {
            NamedSeed::Id(id) => NamedSeed::Id(*moved.get(id).unwrap_or(id)),
            other => other.clone(),
        };
        self.question
            // `pin` visits the seeds of each kind of list.
            .pin(|named| Ok::<_, LibraryError>(named.iter().map(renamed).collect()))?;
        self.recordings = std::mem::take(&mut self.recordings)
            .into_iter()
            .map(|(id, content)| (*moved.get(&id).unwrap_or(&id), content))
            .collect();
        self.names = std::mem::take(&mut self.names)
            .into_iter()
            .map(|(id, name)| (*moved.get(&id).unwrap_or(&id), name))
            .collect();
        Ok(())
    }

    /// Refuses a list whose seeds were all removed.
    pub fn check_seeds(&self, library: &Library, name: &str) -> Result<(), ListError> {
        let lost = self.question.lost(library)?;
        if lost.is_empty() {
            return Ok(());
        }
        let named = |id: TrackId| match self.names.get(&id.0) {
            Some(track) => format!("\"{track}\""),
            None => format!("id:{id}"),
        };
        Err(ListError::Gone {
            name: name.to_owned(),
            tracks: lost.into_iter().map(named).collect(),
        })
    }

    /// The tracks that a query names by id.
    fn tracks_of(library: &Library, question: &SavedQuestion) -> Result<Vec<Track>, LibraryError> {
        let mut ids = Vec::new();
        question.clone().pin(|named| {
            ids.extend(named.iter().filter_map(|seed| match seed {
                NamedSeed::Id(id) => Some(TrackId(*id)),
                _ => None,
            }));
            Ok::<_, LibraryError>(named.to_vec())
        })?;
        ids.sort_unstable();
        ids.dedup();
        let mut tracks = Vec::new();
        for id in ids {
            if library.contains(id)? {
                tracks.push(library.track(id)?);
            }
        }
        Ok(tracks)
    }

    /// Saves a query under a name, with the destinations of the former list of that name.
    pub fn keep(
        library: &mut Library,
        name: &str,
        question: SavedQuestion,
    ) -> Result<Self, ListError> {
        check_name(name)?;
        question.validate()?;
        let (to, pushed) = match Self::named(library, name) {
            Ok(before) => (before.to, before.pushed),
            // An unreadable list is replaced by the new one.
            Err(ListError::Unknown(_) | ListError::Unreadable { .. }) => (Vec::new(), None),
            // If the library fails for a moment, the destinations would be lost.
            Err(error) => return Err(error),
        };
        let tracks = Self::tracks_of(library, &question)?;
        let list = Self {
            recordings: tracks
                .iter()
                .map(|track| (track.id.0, track.audio.content.to_string()))
                .collect(),
            names: tracks
                .iter()
                .map(|track| (track.id.0, track.display_name()))
                .collect(),
            question,
            to,
            pushed,
        };
        list.store(library, name)?;
        Ok(list)
    }

    /// Stores the list in the library.
    pub fn store(&self, library: &mut Library, name: &str) -> Result<(), ListError> {
        let text = serde_json::to_string(self).unwrap_or_default();
        Ok(library.lists_mut().save_list(name, Some(&text))?)
    }

    /// Removes a list from the library; pushed playlists stay.
    pub fn remove(library: &mut Library, name: &str) -> Result<(), ListError> {
        library
            .lists()
            .saved_list(name)?
            .ok_or_else(|| ListError::Unknown(name.to_owned()))?;
        Ok(library.lists_mut().save_list(name, None)?)
    }

    /// Pushes songs to a destination, and remembers it. Returns the number of songs that the destination does not have.
    ///
    /// - `password`: called if a server needs one
    /// - `is_forced`: replace another playlist of that name
    pub fn push(
        &mut self,
        library: &Library,
        name: &str,
        place: &ListPlace,
        tracks: &[Track],
        password: &dyn Fn() -> Result<String, String>,
        is_forced: bool,
    ) -> Result<usize, ListError> {
        // A destination of an earlier push may be overwritten.
        let known = self.to.iter().position(|one| one.is(place));
        let is_ours = is_forced || known.is_some();
        let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
        let mut place = known.map_or_else(|| place.clone(), |at| self.to[at].clone());
        let left_out = match &mut place {
            ListPlace::File(path) => {
                if !is_ours && path.exists() {
                    return Err(ListError::Taken {
                        place: folder_of(path),
                        name: name.to_owned(),
                    });
                }
                write_file(name, &self.question, tracks, path)?;
                0
            }
            ListPlace::Mpd { host, port } => {
                let address = if host.is_empty() {
                    MpdAddress::usual()
                } else {
                    MpdAddress::read(host, *port)
                };
                put_at_mpd(library, name, &address, &ids, is_ours)?
            }
            ListPlace::Subsonic { server, user, id } => {
                let address: ServerAddress = server.parse().map_err(ListError::Server)?;
                let password = password().map_err(ListError::Login)?;
                let (playlist, left_out) = subsonic::put(
                    library,
                    name,
                    address,
                    &Login::new(user, &password),
                    &ids,
                    (id.as_deref(), is_forced),
                )?;
                *id = Some(playlist);
                left_out
            }
            ListPlace::Media {
                kind,
                server,
                user,
                id,
            } => {
                let address: ServerAddress = server.parse().map_err(ListError::Server)?;
                let password = password().map_err(ListError::Login)?;
                let made = (id.as_deref(), is_forced);
                let login = (user.as_str(), password.as_str());
                let (playlist, left_out) =
                    put_at_media(library, name, address, *kind, login, &ids, made)?;
                *id = Some(playlist);
                left_out
            }
        };
        // Only after the push: a destination that refused it is not remembered.
        match known {
            Some(at) => self.to[at] = place,
            None => self.to.push(place),
        }
        Ok(left_out)
    }
}

/// Interval of the check for old lists.
const LOOK: Duration = Duration::from_mins(1);
/// Delay after a failed push.
const AFTER_FAILURE: Duration = Duration::from_mins(10);

/// Renews lists that are older than `age`, until `stop` is set: in a process of its own, whose memory is returned.
pub fn renew(state: &State, age: Duration, stop: &AtomicBool) {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if Instant::now() < next {
            continue;
        }
        // An age below a minute is for tests.
        next = Instant::now() + LOOK.min(age);
        let Some(push) = state.push.as_ref().filter(|_| is_due(state, age)) else {
            continue;
        };
        let mut command = push();
        command.arg("--older-than").arg(age.as_secs().to_string());
        match ended(command) {
            Ok((_, messages)) => messages.iter().for_each(|line| state.log(line)),
            Err(error) => state.log(&format!("cannot renew the lists: {error}")),
        }
        // Still old, so the push failed: it is not repeated every minute.
        if is_due(state, age) {
            next = Instant::now() + AFTER_FAILURE.min(age);
        }
    }
}

/// Whether a list has destinations and is old. An unavailable library is checked again later.
fn is_due(state: &State, age: Duration) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let is_old = |list: &SavedList| {
        list.pushed
            .is_none_or(|at| now - at >= age.as_secs() as i64)
    };
    let all = Library::open_to_read(&state.dir)
        .map_err(ListError::from)
        // The process that renews the others reports unreadable ones.
        .and_then(|library| SavedList::all(&library, |_| ()));
    all.is_ok_and(|all| {
        all.iter()
            .any(|(_, list)| !list.to.is_empty() && is_old(list))
    })
}

fn folder_of(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

fn write_file(
    name: &str,
    question: &SavedQuestion,
    tracks: &[Track],
    path: &Path,
) -> Result<(), ListError> {
    let bytes = if path.extension().is_some_and(|extension| extension == "nsp") {
        let rules = smart_playlist(name, question)?;
        serde_json::to_vec_pretty(&rules).unwrap_or_default()
    } else {
        // Relative, since the folder may have another path for a server or a phone.
        let style = PathStyle::Relative(path.parent().unwrap_or(path).to_owned());
        let tracks: Vec<TrackMeta> = tracks
            .iter()
            .map(|track| meta(track, &Taxonomy::default()))
            .collect();
        write(
            &tracks.iter().collect::<Vec<_>>(),
            name,
            Format::M3u8,
            &style,
        )?
    };
    // Whether it may be replaced was checked before.
    Ok(OutputTarget::data(path, true)?.write(bytes)?)
}

fn put_at_mpd(
    library: &Library,
    name: &str,
    address: &MpdAddress,
    tracks: &[TrackId],
    is_ours: bool,
) -> Result<usize, ListError> {
    let mut mpd = Mpd::connect(address)?;
    if !is_ours && mpd.has_playlist(name)? {
        return Err(ListError::Taken {
            place: format!("MPD at {address}"),
            name: name.to_owned(),
        });
    }
    let songs = mpd.songs(library)?;
    let files: Vec<&str> = tracks
        .iter()
        .filter_map(|&track| songs.file(track))
        .collect();
    if files.is_empty() {
        let next = "run \"voisin add\" on MPD's music folder, and \"mpc update\"";
        return Err(ListError::NoSongs {
            place: format!("MPD at {address}"),
            name: name.to_owned(),
            next,
        });
    }
    let stored = mpd.store_playlist(name, &files)?;
    Ok(tracks.len() - stored)
}

/// Creates or updates a playlist of Jellyfin or Plex; returns its id, and the number of songs that the server does not have.
fn put_at_media(
    library: &Library,
    name: &str,
    address: ServerAddress,
    kind: MediaKind,
    (user, password): (&str, &str),
    tracks: &[TrackId],
    made: (Option<&str>, bool),
) -> Result<(String, usize), ListError> {
    let place = address.to_string();
    let known = linked_items(library, name, &address, tracks)?;
    let items: Vec<&str> = known.iter().map(String::as_str).collect();
    // The caller has no runtime: this is the command line's process.
    let runtime = runtime().map_err(ListError::Runtime)?;
    let upstream = Upstream::new(address);
    let id = runtime.block_on(async {
        match kind {
            MediaKind::Jellyfin => {
                jellyfin::put(&upstream, (user, password), name, &items, made).await
            }
            MediaKind::Plex => plex::put(&upstream, password, name, &items, made).await,
        }
    });
    let id = id.map_err(|error| match error {
        LinkError::Login(text) => ListError::Login(text),
        other => ListError::Server(other.to_string()),
    })?;
    let id = id.ok_or_else(|| ListError::Taken {
        place,
        name: name.to_owned(),
    })?;
    Ok((id, tracks.len() - items.len()))
}

/// The server's ids of its tracks, in their order.
fn linked_items(
    library: &Library,
    name: &str,
    address: &ServerAddress,
    tracks: &[TrackId],
) -> Result<Vec<String>, ListError> {
    let known = library.links().items_of(address.as_str(), tracks)?;
    let items: Vec<String> = tracks
        .iter()
        .filter_map(|track| known.get(track).cloned())
        .collect();
    if items.is_empty() {
        return Err(ListError::NoSongs {
            place: address.to_string(),
            name: name.to_owned(),
            next: "run \"voisin link\" on it first",
        });
    }
    Ok(items)
}

mod subsonic {
    use super::{
        Library, ListError, Login, ServerAddress, TrackId, Upstream, Value, call, id_of,
        linked_items, runtime,
    };

    /// Creates or updates a playlist of a server; returns its id, and the number of songs that the server does not have.
    ///
    /// - `made`: the id of this list's playlist there, and whether another one of its name may be replaced
    pub(super) fn put(
        library: &Library,
        name: &str,
        address: ServerAddress,
        login: &Login,
        tracks: &[TrackId],
        made: (Option<&str>, bool),
    ) -> Result<(String, usize), ListError> {
        let known = linked_items(library, name, &address, tracks)?;
        let items: Vec<&str> = known.iter().map(String::as_str).collect();
        let id = runtime().map_err(ListError::Runtime)?.block_on(replace(
            &Upstream::new(address),
            login,
            name,
            &items,
            made,
        ))?;
        Ok((id, tracks.len() - items.len()))
    }

    async fn replace(
        upstream: &Upstream,
        login: &Login,
        name: &str,
        items: &[&str],
        (made, is_forced): (Option<&str>, bool),
    ) -> Result<String, ListError> {
        let question = async |endpoint: &str, parameters: &[(&str, &str)]| {
            call(upstream, login, endpoint, parameters)
                .await
                .map_err(|refusal| match refusal.reason(upstream) {
                    (true, text) => ListError::Login(text),
                    (false, text) => ListError::Server(text),
                })
        };
        let playlists = async || {
            let answer = question("getPlaylists", &[]).await?;
            Ok::<_, ListError>(
                answer["playlists"]["playlist"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            )
        };
        let user = login.get("u").unwrap_or_default();
        let is_own = |one: &Value| {
            one["owner"]
                .as_str()
                .is_none_or(|owner| owner.eq_ignore_ascii_case(user))
        };
        let is_so_called = |one: &&Value| one["name"] == name && is_own(one);
        let before = playlists().await?;
        let ours = before
            .iter()
            .find(|one| made.is_some() && id_of(one).as_deref() == made);
        // By id first, since the user may have renamed it on the server.
        let there = ours.or_else(|| before.iter().find(is_so_called));
        if ours.is_none() && there.is_some() && !is_forced {
            return Err(ListError::Taken {
                place: upstream.address.to_string(),
                name: name.to_owned(),
            });
        }
        let id = there.and_then(id_of);
        let which = match &id {
            Some(id) => ("playlistId", id.as_str()),
            None => ("name", name),
        };
        let parameters: Vec<_> = std::iter::once(which)
            .chain(items.iter().map(|item| ("songId", *item)))
            .collect();
        let answer = question("createPlaylist", &parameters).await?;
        // Servers before 1.14 do not return the new playlist.
        let new_id = id.or_else(|| id_of(&answer["playlist"]));
        let id = match new_id {
            Some(id) => id,
            None => playlists()
                .await?
                .iter()
                .find(is_so_called)
                .and_then(id_of)
                .ok_or_else(|| {
                    ListError::Server(format!(
                        "{} does not list the playlist that it created",
                        upstream.address
                    ))
                })?,
        };
        // A comment for users of the server; not all servers have comments.
        let comment = [
            ("playlistId", id.as_str()),
            ("name", name),
            ("comment", "made by voisin"),
        ];
        let _ = question("updatePlaylist", &comment).await;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_library::OpenMode;
    use voisin_questions::saved::TEMPLATES;

    #[test]
    fn an_unreadable_list_leaves_the_others_usable() {
        let folder = tempfile::tempdir().unwrap();
        let mut library = Library::open(folder.path(), OpenMode::Create).unwrap();
        let question = || TEMPLATES[0].question();
        SavedList::keep(&mut library, "a", question()).unwrap();
        library.lists_mut().save_list("b", Some("{}")).unwrap();
        let names = |library: &Library, unreadable: &mut Vec<String>| -> Vec<String> {
            let all = SavedList::all(library, |error| unreadable.push(error.to_string()));
            all.unwrap().into_iter().map(|(name, _)| name).collect()
        };
        let mut unreadable = Vec::new();
        assert_eq!(names(&library, &mut unreadable), ["a"]);
        assert!(
            matches!(&unreadable[..], [text] if text.contains("\"b\"")),
            "{unreadable:?}"
        );
        SavedList::keep(&mut library, "b", question()).unwrap();
        assert_eq!(names(&library, &mut unreadable), ["a", "b"]);
    }
}
