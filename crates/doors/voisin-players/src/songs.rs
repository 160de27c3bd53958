//! References of players to songs: by MBID, ISRC or path, or by title, artists, album and length.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use serde::Deserialize;

use voisin_base::text::count;
use voisin_base::track::TrackId;
use voisin_http::problem::Problem;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{Library, LibraryError, NameOf, PathLookup, Track, fold};
use voisin_music::artists::artists;

/// A source of tracks for a reference.
pub(super) trait Finder {
    /// Tracks with this `MusicBrainz` id, or this ISRC.
    fn by_code(&self, mbid: Option<&str>, isrc: Option<&str>)
    -> Result<Vec<TrackId>, LibraryError>;
    /// Tracks whose path is this one, or ends with it.
    fn by_path(&self, path: &Path) -> Result<Vec<TrackId>, LibraryError>;
    /// The track of a path of another system, if that is supported.
    fn by_meant_path(&self, _path: &Path) -> Result<Option<TrackId>, LibraryError> {
        Ok(None)
    }
    /// Tracks that may have this title.
    fn by_title(&self, title: &str) -> Result<Vec<TrackId>, LibraryError>;
    fn tracks(&self, ids: &[TrackId]) -> Result<Vec<Track>, LibraryError>;
}

impl Finder for Library {
    fn by_code(
        &self,
        mbid: Option<&str>,
        isrc: Option<&str>,
    ) -> Result<Vec<TrackId>, LibraryError> {
        self.files().find_by_code(mbid, isrc)
    }

    fn by_path(&self, path: &Path) -> Result<Vec<TrackId>, LibraryError> {
        // A whole path is found directly; an end among all files of that name.
        if let Some(track) = self.files().find_by_stored_path(path)? {
            return Ok(vec![track]);
        }
        Ok(self
            .files()
            .find_by_path_end(path)?
            .into_iter()
            .map(|(_, track)| track)
            .collect())
    }

    fn by_meant_path(&self, path: &Path) -> Result<Option<TrackId>, LibraryError> {
        PathLookup::new(self).track(path)
    }

    fn by_title(&self, title: &str) -> Result<Vec<TrackId>, LibraryError> {
        self.lookup().search_words(title, MOST_CANDIDATES)
    }

    fn tracks(&self, ids: &[TrackId]) -> Result<Vec<Track>, LibraryError> {
        self.tracks_by_id(ids)
    }
}

/// Most candidates for one title.
const MOST_CANDIDATES: usize = 1000;

/// The whole library in memory, for many songs at once.
#[derive(Default)]
pub(super) struct Everything {
    tracks: HashMap<TrackId, Track>,
    by_code: HashMap<String, Vec<TrackId>>,
    by_title: HashMap<String, Vec<TrackId>>,
    ends: PathEnds,
}

/// The files of a library by the end of their path, since players have other music folders.
#[derive(Default)]
pub(super) struct PathEnds(HashMap<OsString, Vec<(PathBuf, TrackId)>>);

impl PathEnds {
    pub(super) fn of(library: &Library) -> Result<Self, LibraryError> {
        let mut ends: HashMap<OsString, Vec<(PathBuf, TrackId)>> = HashMap::new();
        for (path, track) in library.files().paths_of_tracks()? {
            if let Some(name) = path.file_name() {
                ends.entry(name.to_owned()).or_default().push((path, track));
            }
        }
        Ok(Self(ends))
    }

    /// The files whose path is this one, or ends with it.
    pub(super) fn find(&self, end: &Path) -> impl Iterator<Item = (&Path, TrackId)> {
        // Players' paths start at their own root: "/Artist/Album/1.flac" is an end here.
        let relative = end.strip_prefix("/").unwrap_or(end).to_owned();
        let named = end
            .file_name()
            .and_then(|name| self.0.get(name))
            .into_iter()
            .flatten();
        named
            .filter(move |(known, _)| known.ends_with(&relative))
            .map(|(known, track)| (known.as_path(), *track))
    }
}

impl Everything {
    pub(super) fn of(library: &Library) -> Result<Self, LibraryError> {
        // Tracks and paths are two reads, which must be of one snapshot.
        let _snapshot = library.snapshot()?;
        let mut all = Self::default();
        library.for_each_track(|track| {
            for code in [&track.tags.mbid, &track.tags.isrc].into_iter().flatten() {
                all.by_code
                    .entry(code.to_ascii_lowercase())
                    .or_default()
                    .push(track.id);
            }
            let title = fold(track.tags.title.as_deref().unwrap_or_default());
            if !title.is_empty() {
                all.by_title.entry(title).or_default().push(track.id);
            }
            all.tracks.insert(track.id, track);
            Ok(())
        })?;
        all.ends = PathEnds::of(library)?;
        Ok(all)
    }

    pub(super) fn len(&self) -> usize {
        self.tracks.len()
    }
}

impl Finder for Everything {
    fn by_code(
        &self,
        mbid: Option<&str>,
        isrc: Option<&str>,
    ) -> Result<Vec<TrackId>, LibraryError> {
        let codes = [mbid, isrc]
            .into_iter()
            .flatten()
            .map(str::to_ascii_lowercase);
        let mut found: Vec<TrackId> = codes
            .flat_map(|code| self.by_code.get(&code).cloned().unwrap_or_default())
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn by_path(&self, path: &Path) -> Result<Vec<TrackId>, LibraryError> {
        Ok(self.ends.find(path).map(|(_, track)| track).collect())
    }

    fn by_title(&self, title: &str) -> Result<Vec<TrackId>, LibraryError> {
        let mut found = self.by_title.get(&fold(title)).cloned().unwrap_or_default();
        found.truncate(MOST_CANDIDATES);
        Ok(found)
    }

    fn tracks(&self, ids: &[TrackId]) -> Result<Vec<Track>, LibraryError> {
        Ok(ids
            .iter()
            .filter_map(|id| self.tracks.get(id).cloned())
            .collect())
    }
}

/// Recordings whose lengths differ by more seconds are different.
const SAME_LENGTH: f64 = 5.0;

/// A player's reference to an artist.
#[derive(Debug, Clone, Deserialize)]
pub struct ArtistRef {
    /// The name in the player.
    pub name: String,
}

/// A player's reference to an album.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AlbumRef {
    /// The name in the player.
    pub name: String,
    artist: Option<String>,
}

/// Navidrome's artists, folded, of albums of several artists, or of none.
const ANYBODY: [&str; 2] = ["various artists", "unknown artist"];

/// Navidrome's album, folded, of songs without one.
const NO_ALBUM: &str = "unknown album";

/// The tracks of an album or an artist of this name, regardless of case and accents.
fn tracks_called(
    library: &Library,
    kind: NameOf,
    name: &str,
) -> Result<Vec<TrackId>, LibraryError> {
    let folded = fold(name);
    let mut found = Vec::new();
    let is_named = |known: &&String| {
        // "A & B" is one album, but two artists.
        let parts = if kind == NameOf::Album {
            Vec::new()
        } else {
            artists(known)
        };
        !folded.is_empty()
            && parts
                .into_iter()
                .chain([known.as_str()])
                .any(|name| fold(name) == folded)
    };
    for known in library.lookup().names(kind)?.iter().filter(is_named) {
        found.extend(library.lookup().tracks_named(kind, known)?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

impl ArtistRef {
    /// The tracks of this artist, also among several, regardless of case and accents.
    pub fn tracks(&self, library: &Library) -> Result<Vec<TrackId>, LibraryError> {
        tracks_called(library, NameOf::Artist, &self.name)
    }
}

impl AlbumRef {
    /// The tracks of this album, and of this artist if one is given.
    pub fn tracks(&self, library: &Library) -> Result<Vec<TrackId>, LibraryError> {
        let song = SongRef {
            artist: self.artist.clone(),
            ..SongRef::default()
        };
        let mut tracks =
            library.tracks_by_id(&tracks_called(library, NameOf::Album, &self.name)?)?;
        if tracks.is_empty() && fold(&self.name) == NO_ALBUM {
            library.for_each_track(|track| {
                if track.tags.album.is_none() {
                    tracks.push(track);
                }
                Ok(())
            })?;
        }
        // A compilation may not be tagged as one.
        let is_anybodys = self
            .artist
            .as_deref()
            .is_some_and(|artist| ANYBODY.contains(&fold(artist).as_str()));
        if !is_anybodys || tracks.iter().any(|track| song.has_artist_of(track)) {
            tracks.retain(|track| song.has_artist_of(track));
        }
        Ok(tracks.into_iter().map(|track| track.id).collect())
    }
}

/// A reference of Navidrome's plugins to a song. Missing fields are unknown; other fields are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SongRef {
    pub(super) name: String,
    pub(super) mbid: Option<String>,
    pub(super) isrc: Option<String>,
    /// The library's path, or its end.
    pub(super) path: Option<String>,
    pub(super) artist: Option<String>,
    pub(super) artists: Vec<ArtistRef>,
    pub(super) album: Option<String>,
    /// Seconds.
    pub(super) duration: Option<f64>,
    pub(super) duration_ms: Option<f64>,
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

impl SongRef {
    /// The track, and what it was found by, the most reliable first.
    pub(super) fn find(
        &self,
        library: &dyn Finder,
    ) -> Result<Option<(TrackId, &'static str)>, LibraryError> {
        for (how, mbid, isrc) in [
            ("mbid", given(self.mbid.as_ref()), None),
            ("isrc", None, given(self.isrc.as_ref())),
        ] {
            if mbid.is_some() || isrc.is_some() {
                let found = library.by_code(mbid, isrc)?;
                // A recording may be on several albums, all with its code.
                if let Some(track) = self.best(library, &found)? {
                    return Ok(Some((track, how)));
                }
            }
        }
        if let Some(path) = given(self.path.as_ref()) {
            let mut found = library.by_path(Path::new(path))?;
            found.dedup();
            // A bare name of several files is ambiguous.
            if let [track] = found[..] {
                return Ok(Some((track, "path")));
            }
        }
        if let Some(track) = self.by_tags(library)? {
            return Ok(Some((track, "tags")));
        }
        // Paths of other systems come last: the end of a missing path may be that of another song.
        let path = given(self.path.as_ref()).map(path_in_table);
        let meant = path.map_or(Ok(None), |path| library.by_meant_path(&path))?;
        Ok(meant.map(|track| (track, "path")))
    }

    /// As [`find`](Self::find), but a bare title of songs of several artists is an error.
    pub fn find_sure(&self, library: &Library) -> Result<Option<(TrackId, &'static str)>, Problem> {
        let found = self.find(library)?;
        let more = [&self.artist, &self.album].map(|text| given(text.as_ref()));
        let is_title_alone = more == [None, None]
            && self.artists.is_empty()
            && self.duration.or(self.duration_ms).is_none();
        if is_title_alone && found.is_some_and(|(_, how)| how == "tags") {
            let tracks = library.tracks_by_id(&self.titled(library)?)?;
            let artist = |track: &Track| fold(track.tags.artist.as_deref().unwrap_or_default());
            if tracks.iter().map(artist).collect::<HashSet<_>>().len() > 1 {
                let line = |track: &Track| voisin_engine::candidate(track, false);
                let lines: Vec<String> = tracks.iter().take(10).map(line).collect();
                let number = count(tracks.len() as u64, "track");
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    format!("{:?} fits {number}:\n{}", self.name, lines.join("\n")),
                    "name its artist too, or send its id to POST /api/v1/mix",
                ));
            }
        }
        Ok(found)
    }

    fn by_tags(&self, library: &dyn Finder) -> Result<Option<TrackId>, LibraryError> {
        self.best(library, &self.titled(library)?)
    }

    /// Tracks of this title, by one of its artists if given.
    fn titled(&self, library: &dyn Finder) -> Result<Vec<TrackId>, LibraryError> {
        let title = fold(&self.name);
        if title.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = library.by_title(&self.name)?;
        let tracks = library.tracks(&found)?;
        let fits = |track: &Track| {
            fold(track.tags.title.as_deref().unwrap_or_default()) == title
                && self.has_artist_of(track)
        };
        let fitting: Vec<TrackId> = tracks
            .iter()
            .filter(|track| fits(track))
            .map(|track| track.id)
            .collect();
        found.retain(|id| fitting.contains(id));
        Ok(found)
    }

    /// As [`find`](Self::find), for a server with the same files: the end of the path is most reliable.
    pub(super) fn find_linked(
        &self,
        library: &dyn Finder,
    ) -> Result<Option<(TrackId, &'static str)>, LibraryError> {
        // A bare name may be that of another file; a name with its folder is this one.
        let has_folder =
            given(self.path.as_ref()).is_some_and(|path| path.trim_matches('/').contains('/'));
        if has_folder {
            let only_path = Self {
                path: self.path.clone(),
                ..Self::default()
            };
            if let Some(found) = only_path.find(library)? {
                return Ok(Some(found));
            }
        }
        self.find(library)
    }

    fn has_artist_of(&self, track: &Track) -> bool {
        let mut named = self
            .artists
            .iter()
            .map(|artist| fold(&artist.name))
            .collect::<Vec<_>>();
        named.extend(given(self.artist.as_ref()).map(fold));
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

    /// Of several candidates the one of the same album, then of the nearest length; none of another length.
    fn best(
        &self,
        library: &dyn Finder,
        candidates: &[TrackId],
    ) -> Result<Option<TrackId>, LibraryError> {
        let seconds = self
            .duration_ms
            .map(|ms| ms / 1000.0)
            .or(self.duration)
            .filter(|seconds| *seconds > 0.0);
        let album = given(self.album.as_ref()).map(fold);
        let mut best: Option<((bool, f64), TrackId)> = None;
        for track in library.tracks(candidates)? {
            let apart = seconds.map_or(0.0, |seconds| (seconds - track.audio.seconds).abs());
            // A single candidate is accepted regardless of its length, by its tags or its
            // code.
            if candidates.len() > 1 && apart > SAME_LENGTH {
                continue;
            }
            let other_album = album.is_some() && track.tags.album.as_deref().map(fold) != album;
            let rank = (other_album, apart);
            if best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, track.id));
            }
        }
        Ok(best.map(|(_, track)| track))
    }

    /// As [`find_sure`](Self::find_sure), with an error if there is none.
    pub fn required(&self, library: &Library) -> Result<(TrackId, &'static str), Problem> {
        let names = [
            Some(&self.name),
            self.path.as_ref(),
            self.mbid.as_ref(),
            self.isrc.as_ref(),
        ];
        let Some(name) = names.into_iter().find_map(given) else {
            return Err(Problem::bad("a song's name, path, mbid or isrc", "none"));
        };
        self.find_sure(library)?.ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            Problem::not_found(
                format!("the library has no song like {name:?}"),
                "add it to the library; songs are found by MBID, ISRC, path, then title and artists",
            )
        })
    }
}
