//! Songs as players refer to them: by MBID, ISRC or path, or by title, artists, album and length.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use serde::Deserialize;

use voisin_base::text::count;
use voisin_base::track::TrackId;
use voisin_http::problem::Problem;
use voisin_http::state::AnswerSource;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{Library, LibraryError, NameOf, PathLookup, Track, fold};
use voisin_music::artists::artists;
use voisin_questions::Named;

/// Where songs are looked for.
pub(super) trait Finder {
    /// Tracks with this `MusicBrainz` id, or this ISRC.
    fn by_code(&self, mbid: Option<&str>, isrc: Option<&str>)
    -> Result<Vec<TrackId>, LibraryError>;
    /// Files whose path is this one, or ends with it.
    fn by_path(&self, path: &Path) -> Result<Vec<TrackId>, LibraryError>;
    /// The track of the file that a path of another system means, where that is looked for.
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
        // A whole path is found at once; an end is looked for among all files of that name.
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

/// Tracks that are looked at for one title.
const MOST_CANDIDATES: usize = 1000;

/// The whole library in memory, for many songs at once.
#[derive(Default)]
pub(super) struct Everything {
    tracks: HashMap<TrackId, Track>,
    by_code: HashMap<String, Vec<TrackId>>,
    by_title: HashMap<String, Vec<TrackId>>,
    ends: PathEnds,
}

/// The files of a library by the end of their path, as players name them, who have folders of their own.
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

    /// The files whose path is this one or ends with it.
    pub(super) fn find(&self, end: &Path) -> impl Iterator<Item = (&Path, TrackId)> {
        // Players name paths from their own root: "/Artist/Album/1.flac" is an end here.
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
        // Tracks and paths are two reads, and have to be of one state.
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

/// Lengths further apart than this, in seconds, are of two recordings.
const SAME_LENGTH: f64 = 5.0;

/// An artist as players refer to them.
#[derive(Debug, Clone, Deserialize)]
pub struct ArtistRef {
    /// As players write it.
    pub name: String,
}

/// An album as players refer to it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AlbumRef {
    /// As players write it.
    pub name: String,
    artist: Option<String>,
}

/// Whom Navidrome names, folded, where the artists of an album are several, or none.
const ANYBODY: [&str; 2] = ["various artists", "unknown artist"];

/// Navidrome's name, folded, of the album of songs that name none.
const NO_ALBUM: &str = "unknown album";

/// The tracks of an album or an artist that is so called, whatever case and accents.
fn tracks_called(
    library: &Library,
    kind: NameOf,
    name: &str,
) -> Result<Vec<TrackId>, LibraryError> {
    let folded = fold(name);
    let mut found = Vec::new();
    let is_named = |known: &&String| {
        // An album's "A & B" is one name; an artist's is two people.
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
    /// Those of this name, whatever case and accents, or one of whose artists is so called.
    pub fn tracks(&self, library: &Library) -> Result<Vec<TrackId>, LibraryError> {
        tracks_called(library, NameOf::Artist, &self.name)
    }
}

impl AlbumRef {
    /// Those of this album, and of this artist where one is named.
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
        // A compilation need not say in its tags that it is one.
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

/// A song as Navidrome's plugins refer to it. What is not known is left out; what is not understood is passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SongRef {
    pub(super) name: String,
    pub(super) mbid: Option<String>,
    pub(super) isrc: Option<String>,
    /// As the library has it, or its end.
    pub(super) path: Option<String>,
    pub(super) artist: Option<String>,
    pub(super) artists: Vec<ArtistRef>,
    pub(super) album: Option<String>,
    /// Seconds.
    pub(super) duration: Option<f64>,
    pub(super) duration_ms: Option<f64>,
}

fn said(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

impl SongRef {
    /// Makes known what may be meant, if the library is elsewhere: by the name of its file, by title and artist. Codes are
    /// looked at among these.
    pub fn fetch(&self, source: &mut AnswerSource) -> Result<(), Problem> {
        if let Some(path) = said(self.path.as_ref()) {
            let name = Path::new(path)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            source.fetch(Named::Path(Path::new(path)))?;
            source.fetch(Named::Words(&name))?;
        }
        let artists = self.artists.iter().map(|artist| artist.name.as_str());
        let mut artists: Vec<&str> = artists.chain(said(self.artist.as_ref())).collect();
        if artists.is_empty() {
            artists.push("");
        }
        if fold(&self.name).is_empty() {
            return Ok(());
        }
        for artist in artists {
            source.fetch(Named::Words(&format!("{} {artist}", self.name)))?;
        }
        Ok(())
    }

    /// The track that is meant, and what told: the surest sign first.
    pub(super) fn find(
        &self,
        library: &dyn Finder,
    ) -> Result<Option<(TrackId, &'static str)>, LibraryError> {
        for (how, mbid, isrc) in [
            ("mbid", said(self.mbid.as_ref()), None),
            ("isrc", None, said(self.isrc.as_ref())),
        ] {
            if mbid.is_some() || isrc.is_some() {
                let found = library.by_code(mbid, isrc)?;
                // A recording may lie on several albums, all with its code.
                if let Some(track) = self.best(library, &found)? {
                    return Ok(Some((track, how)));
                }
            }
        }
        if let Some(path) = said(self.path.as_ref()) {
            let mut found = library.by_path(Path::new(path))?;
            found.dedup();
            // A bare name that several files have says nothing.
            if let [track] = found[..] {
                return Ok(Some((track, "path")));
            }
        }
        if let Some(track) = self.by_tags(library)? {
            return Ok(Some((track, "tags")));
        }
        // Names that another system wrote come last: of a path that is not there an end may be another song's.
        let path = said(self.path.as_ref()).map(path_in_table);
        let meant = path.map_or(Ok(None), |path| library.by_meant_path(&path))?;
        Ok(meant.map(|track| (track, "path")))
    }

    /// As [`find`](Self::find), but of a title alone that several artists have a song of, it is not known which is meant.
    pub fn find_sure(&self, library: &Library) -> Result<Option<(TrackId, &'static str)>, Problem> {
        let found = self.find(library)?;
        let more = [&self.artist, &self.album].map(|text| said(text.as_ref()));
        let is_title_alone = more == [None, None]
            && self.artists.is_empty()
            && self.duration.or(self.duration_ms).is_none();
        if is_title_alone && found.is_some_and(|(_, how)| how == "tags") {
            let tracks = library.tracks_by_id(&self.titled(library)?)?;
            let artist = |track: &Track| fold(track.tags.artist.as_deref().unwrap_or_default());
            if tracks.iter().map(artist).collect::<HashSet<_>>().len() > 1 {
                let line = |track: &Track| format!("id:{}  {}", track.id, track.display_name());
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

    /// Tracks of this title, by one of its artists where they are known.
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

    /// As [`find`](Self::find), for a server that has the same files: a path that ends alike tells most.
    pub(super) fn find_linked(
        &self,
        library: &dyn Finder,
    ) -> Result<Option<(TrackId, &'static str)>, LibraryError> {
        // A bare name may be of another file; with a folder before it, it is this one.
        let has_folder =
            said(self.path.as_ref()).is_some_and(|path| path.trim_matches('/').contains('/'));
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
        named.extend(said(self.artist.as_ref()).map(fold));
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
                // Whole words: "Air" is not part of "Airbourne".
                .any(|known| format!(" {} ", fold(known)).contains(&format!(" {name} ")))
        };
        named.is_empty() || named.iter().any(is_known)
    }

    /// Of several candidates the one of the same album, then of the nearest length; none whose length is another.
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
        let album = said(self.album.as_ref()).map(fold);
        let mut best: Option<((bool, f64), TrackId)> = None;
        for track in library.tracks(candidates)? {
            let apart = seconds.map_or(0.0, |seconds| (seconds - track.audio.seconds).abs());
            // A single candidate stands whatever its length: its tags or its code have told
            // already.
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

    /// As [`find_sure`](Self::find_sure), where a song has to be named and known.
    pub fn required(&self, library: &Library) -> Result<(TrackId, &'static str), Problem> {
        let names = [
            Some(&self.name),
            self.path.as_ref(),
            self.mbid.as_ref(),
            self.isrc.as_ref(),
        ];
        let Some(name) = names.into_iter().find_map(said) else {
            return Err(Problem::bad("a song's name, path, mbid or isrc", "none"));
        };
        self.find_sure(library)?.ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            Problem::not_found(
                format!("the library has no song like {name:?}"),
                "add it to the library; it is looked for by MBID, ISRC, path, then title and artists",
            )
        })
    }
}
