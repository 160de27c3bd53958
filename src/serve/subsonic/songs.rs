//! Tracks of the library for songs of a media server: by the end of the path, else by title, artists, album and length.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use voisin_base::track::TrackId;
use voisin_library::{Library, LibraryError, Track, fold};

/// Recordings whose lengths differ by more seconds are different.
const SAME_LENGTH: f64 = 5.0;

/// A song as a media server describes it.
#[derive(Debug, Clone, Default)]
pub(super) struct SongRef {
    pub(super) title: String,
    /// From the server's own root.
    pub(super) path: Option<String>,
    pub(super) artists: Vec<String>,
    pub(super) album: Option<String>,
    pub(super) seconds: Option<f64>,
}

/// The library's tracks, in memory, since a server has many songs.
#[derive(Default)]
pub(super) struct LibrarySongs {
    tracks: HashMap<TrackId, Track>,
    by_title: HashMap<String, Vec<TrackId>>,
    /// Files by their name.
    by_name: HashMap<OsString, Vec<(PathBuf, TrackId)>>,
}

impl LibrarySongs {
    pub(super) fn of(library: &Library) -> Result<Self, LibraryError> {
        // Tracks and paths are two reads, which must be of one snapshot.
        let _snapshot = library.snapshot()?;
        let mut all = Self::default();
        library.for_each_track(|track| {
            let title = fold(track.tags.title.as_deref().unwrap_or_default());
            if !title.is_empty() {
                all.by_title.entry(title).or_default().push(track.id);
            }
            all.tracks.insert(track.id, track);
            Ok(())
        })?;
        for (path, track) in library.paths_of_tracks()? {
            if let Some(name) = path.file_name() {
                let named = all.by_name.entry(name.to_owned()).or_default();
                named.push((path, track));
            }
        }
        Ok(all)
    }

    /// The track of a song.
    pub(super) fn find(&self, song: &SongRef) -> Option<TrackId> {
        let path = song.path.as_deref().map(Path::new);
        // A bare name may be that of another file; a name with its folder is this one.
        let with_folder = path.filter(|path| path.components().count() > 1);
        with_folder
            .and_then(|path| self.by_path(path))
            .or_else(|| self.by_tags(song))
            .or_else(|| self.by_path(path?))
    }

    /// The track of the only file whose path ends with this one.
    fn by_path(&self, path: &Path) -> Option<TrackId> {
        // Servers' paths may start at their own root: "/Artist/Album/1.flac" is an end here.
        let end = path.strip_prefix("/").unwrap_or(path);
        let named = self.by_name.get(path.file_name()?)?;
        let fitting = named.iter().filter(|(known, _)| known.ends_with(end));
        let found: HashSet<TrackId> = fitting.map(|(_, track)| *track).collect();
        let mut found = found.into_iter();
        found.next().filter(|_| found.next().is_none())
    }

    /// Of the tracks of this title by one of these artists that of the same album, then that of the nearest length.
    fn by_tags(&self, song: &SongRef) -> Option<TrackId> {
        let titled = self.by_title.get(&fold(&song.title))?;
        let fitting = titled.iter().filter_map(|id| self.tracks.get(id));
        let fitting: Vec<&Track> = fitting.filter(|track| song.has_artist_of(track)).collect();
        let album = song.album.as_deref().map(fold);
        let apart = |track: &Track| {
            song.seconds
                .map_or(0.0, |seconds| (seconds - track.audio.seconds).abs())
        };
        let rank = |track: &Track| {
            let other_album = album.is_some() && track.tags.album.as_deref().map(fold) != album;
            (other_album, apart(track))
        };
        // A single candidate is accepted regardless of its length.
        let is_alone = fitting.len() == 1;
        fitting
            .into_iter()
            .filter(|track| is_alone || apart(track) <= SAME_LENGTH)
            .min_by(|a, b| {
                let a = rank(a);
                let b = rank(b);
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
            .map(|track| track.id)
    }
}

impl SongRef {
    fn has_artist_of(&self, track: &Track) -> bool {
        let mut named: Vec<String> = self.artists.iter().map(|artist| fold(artist)).collect();
        named.retain(|name| !name.is_empty());
        let known = [
            track.tags.artist.as_deref(),
            track.tags.album_artist.as_deref(),
        ];
        // "A feat. B" is a track of A and of B.
        let is_known = |name: &String| {
            known
                .iter()
                .flatten()
                // Whole words: "Air" does not match "Airbourne".
                .any(|known| format!(" {} ", fold(known)).contains(&format!(" {name} ")))
        };
        named.is_empty() || named.iter().any(is_known)
    }
}
