//! The songs of a media server that the library has, in memory.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::client::id_of;
use voisin_base::track::TrackId;
use voisin_library::{LibraryError, PathLookup};

/// A song as a media server lists it.
pub(super) struct ListedSong {
    pub(super) id: String,
    /// From the server's own root.
    path: Option<String>,
    album: Option<String>,
    artists: HashSet<String>,
}

impl ListedSong {
    pub(super) fn of(song: &Value) -> Option<Self> {
        let lists = ["artists", "albumArtists"];
        let listed = lists.iter().filter_map(|name| song[name].as_array());
        let listed = listed.flatten().map(|artist| &artist["id"]);
        let artists = [&song["artistId"]].into_iter().chain(listed);
        Some(Self {
            id: id_of(&song["id"])?,
            path: song["path"].as_str().map(str::to_owned),
            album: id_of(&song["albumId"]),
            artists: artists.filter_map(id_of).collect(),
        })
    }
}

/// The songs that the server shows a user, by the server's ids.
#[derive(Default)]
pub(super) struct ServerSongs {
    /// `None` for a song that the library lacks.
    songs: HashMap<String, Option<TrackId>>,
    albums: HashMap<String, Vec<TrackId>>,
    artists: HashMap<String, Vec<TrackId>>,
    /// The server's id of each track; the first one of several.
    items: HashMap<TrackId, String>,
}

impl ServerSongs {
    /// Finds the track of each song by the end of its path.
    pub(super) fn of(
        songs: &[ListedSong],
        library: &mut PathLookup<'_>,
    ) -> Result<Self, LibraryError> {
        let mut all = Self::default();
        for song in songs {
            let path = song.path.as_deref().map(Path::new);
            let track = path.map(|path| library.track(path)).transpose()?.flatten();
            if let Some(id) = &song.album {
                all.albums.entry(id.clone()).or_default().extend(track);
            }
            for id in &song.artists {
                all.artists.entry(id.clone()).or_default().extend(track);
            }
            if let Some(track) = track {
                let item = all.items.entry(track).or_insert_with(|| song.id.clone());
                if song.id < *item {
                    item.clone_from(&song.id);
                }
            }
            all.songs.insert(song.id.clone(), track);
        }
        Ok(all)
    }

    /// The tracks of an id of a song, an album or an artist, as far as the library has them; `None` for an unknown id.
    pub(super) fn tracks_of(&self, id: &str, artist_first: bool) -> Option<Vec<TrackId>> {
        // Ids do not say what they are of, and some servers count each kind from 1.
        let artist = self.artists.get(id);
        if let Some(tracks) = artist.filter(|_| artist_first) {
            return Some(tracks.clone());
        }
        if let Some(track) = self.songs.get(id) {
            return Some(track.iter().copied().collect());
        }
        self.albums.get(id).or(artist).cloned()
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = TrackId> {
        self.items.keys().copied()
    }

    /// The server's id of a track.
    pub(super) fn item_of(&self, track: TrackId) -> Option<&String> {
        self.items.get(&track)
    }
}
