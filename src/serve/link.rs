//! Which track each song of a media server is, so that it can be asked about by the server's own ids.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::songs::{Everything, SongRef};
use super::subsonic::{Login, ask, id_of, song_ref};
use super::upstream::{ServerAddress, Upstream};
use crate::library::{Library, LibraryError};
use crate::track::TrackId;

/// Songs that are asked for at once.
const PAGE: usize = 500;

/// Why a server's songs are not linked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Server(String),
    #[error("{0} has no songs: let it scan its music first, or log in as a user who may see it")]
    NoSongs(String),
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot start to ask the server")]
    Runtime(#[source] std::io::Error),
}

/// A song that is not in the library, as far as can be told.
#[derive(Debug, Serialize)]
pub(crate) struct Unmatched {
    pub(crate) item: String,
    pub(crate) artist: Option<String>,
    pub(crate) title: String,
    pub(crate) path: Option<String>,
}

/// What became of a server's songs.
#[derive(Debug, Serialize)]
pub(crate) struct Linked {
    pub(crate) server: String,
    pub(crate) songs: usize,
    pub(crate) linked: usize,
    /// How they were found: `path`, `mbid`, `isrc`, `tags`.
    pub(crate) found_by: HashMap<&'static str, usize>,
    /// Tracks of the library that the server does not have.
    pub(crate) unknown_to_server: usize,
    pub(crate) unmatched: Vec<Unmatched>,
}

/// A song of a server.
struct Song {
    item: String,
    song: SongRef,
}

/// Asks a server for all its songs and notes which tracks they are.
pub(crate) fn link(
    library: &mut Library,
    address: ServerAddress,
    user: &str,
    password: &str,
    progress: &dyn Fn(usize),
) -> Result<Linked, LinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(LinkError::Runtime)?;
    let upstream = Upstream::new(address);
    let login = Login::new(user, password);
    let songs = runtime.block_on(all_songs(&upstream, &login, progress))?;
    if songs.is_empty() {
        return Err(LinkError::NoSongs(upstream.address.to_string()));
    }
    let everything = Everything::of(library)?;
    let mut linked = Linked {
        server: upstream.address.to_string(),
        songs: songs.len(),
        linked: 0,
        found_by: HashMap::new(),
        unknown_to_server: 0,
        unmatched: Vec::new(),
    };
    let mut links: Vec<(String, TrackId)> = Vec::with_capacity(songs.len());
    for Song { item, song } in songs {
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
    library.set_links(upstream.address.as_str(), &links)?;
    linked.linked = links.len();
    let known = library.linked_tracks(upstream.address.as_str())?;
    linked.unknown_to_server = everything.len().saturating_sub(known.len());
    Ok(linked)
}

async fn all_songs(
    upstream: &Upstream,
    login: &Login,
    progress: &dyn Fn(usize),
) -> Result<Vec<Song>, LinkError> {
    let question = async |endpoint: &str, parameters: &[(&str, &str)]| {
        ask(upstream, login, endpoint, parameters).await.map_err(|refusal| {
            let next =
                if matches!(refusal.code, 40 | 41 | 50) { ": see --user and the password" } else { "" };
            LinkError::Server(format!(
                "{} says: {}{next}",
                upstream.address,
                refusal.message.trim_end_matches('.')
            ))
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
        let page = answer["searchResult3"]["song"].as_array().cloned().unwrap_or_default();
        // A server that begins again, or says the same for ever, is not followed.
        if songs.take(&page) == 0 {
            break;
        }
        progress(songs.all.len());
    }
    if !songs.all.is_empty() {
        return Ok(songs.all);
    }
    // Servers that find nothing for no words list their albums.
    let mut offset = 0;
    loop {
        let text = offset.to_string();
        let parameters = [("type", "alphabeticalByName"), ("size", &*size), ("offset", &*text)];
        let answer = question("getAlbumList2", &parameters).await?;
        let albums = answer["albumList2"]["album"].as_array().cloned().unwrap_or_default();
        let before = songs.all.len();
        for id in albums.iter().filter_map(id_of) {
            let answer = question("getAlbum", &[("id", &id)]).await?;
            songs.take(answer["album"]["song"].as_array().map_or(&[][..], Vec::as_slice));
            progress(songs.all.len());
        }
        if albums.is_empty() || songs.all.len() == before {
            return Ok(songs.all);
        }
        offset += albums.len();
    }
}

/// Songs, each once.
#[derive(Default)]
struct Songs {
    all: Vec<Song>,
    seen: std::collections::HashSet<String>,
}

impl Songs {
    /// Takes those that are new, and says how many.
    fn take(&mut self, page: &[Value]) -> usize {
        let before = self.all.len();
        for song in page {
            if let Some(item) = id_of(song).filter(|item| self.seen.insert(item.clone())) {
                self.all.push(Song { item, song: song_ref(song) });
            }
        }
        self.all.len() - before
    }
}
