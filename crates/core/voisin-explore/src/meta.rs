//! Metadata of a track, besides its vector.

use serde::{Deserialize, Serialize};

use voisin_base::artists::artists;
use voisin_base::cue::{self, Place};
use voisin_base::key::MusicalKey;
use voisin_base::song::SongTitle;
use voisin_base::text::fold;
use voisin_base::track::TrackId;

/// A track's tags, predictions and file facts, as far as clusters, maps and playlists show them.
///
/// Missing facts are empty or `None`: nothing here is required but the id and the path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrackMeta {
    /// Key in the library.
    pub id: TrackId,
    /// Path of the (preferred) file, UTF-8 with replacement characters where it is not.
    pub path: String,
    /// The path itself where it is not UTF-8: playlists must name the file that is there.
    #[serde(skip)]
    pub raw_path: Option<std::path::PathBuf>,
    /// Title from the tags; empty if there is none.
    pub title: String,
    /// Artist from the tags.
    pub artist: Option<String>,
    /// Its composers, where these count in the place of its artist.
    #[serde(skip)]
    pub composers: Option<String>,
    /// Album from the tags.
    pub album: Option<String>,
    /// Whose the album is, from the tags.
    #[serde(skip)]
    pub album_artist: Option<String>,
    /// Genres from the tags, normalised, most specific as written by the owner.
    pub genres: Vec<String>,
    /// Best genre of the classifier.
    pub predicted_genre: Option<String>,
    /// Its probability, 0 to 1.
    pub predicted_probability: Option<f32>,
    /// Tags from the encoder's own tagger (mood, instrument …), best first.
    pub tags: Vec<String>,
    /// Year of release.
    pub year: Option<i32>,
    /// Measured beats a minute.
    pub tempo: Option<f64>,
    /// Measured key.
    pub key: Option<MusicalKey>,
    /// Measured energy, 0 to 100.
    pub energy: Option<f64>,
    /// Length in seconds.
    pub seconds: f64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Codec, as the audio module names it ("mp3", "flac" …).
    pub codec: String,
    /// Sample rate in Hz, 0 if unknown.
    pub sample_rate: u32,
    /// Number of channels, 0 if unknown.
    pub channels: u16,
    /// Share of the audio that decoded without damage, 0 to 1.
    pub decoded_share: f64,
    /// Largest absolute sample, 1 is full scale; `None` if unknown.
    pub peak: Option<f32>,
}

impl TrackMeta {
    /// A track of which only the key and the file's path are known.
    pub fn new(id: TrackId, path: impl Into<String>) -> Self {
        Self {
            id,
            path: path.into(),
            raw_path: None,
            title: String::new(),
            artist: None,
            composers: None,
            album: None,
            album_artist: None,
            genres: Vec::new(),
            predicted_genre: None,
            predicted_probability: None,
            tags: Vec::new(),
            year: None,
            tempo: None,
            key: None,
            energy: None,
            seconds: 0.0,
            bytes: 0,
            codec: String::new(),
            sample_rate: 0,
            channels: 0,
            decoded_share: 1.0,
            peak: None,
        }
    }

    /// A track of which only the key and the file are known.
    pub fn of_file(id: TrackId, path: &std::path::Path) -> Self {
        let raw_path = path.to_str().is_none().then(|| path.to_owned());
        Self {
            raw_path,
            ..Self::new(id, path.to_string_lossy())
        }
    }

    /// The id, of a track of the library; `None` of any other file.
    pub fn library_id(&self) -> Option<TrackId> {
        Some(self.id).filter(|id| id.0 > 0)
    }

    /// The path as the system knows it.
    pub fn system_path(&self) -> &std::path::Path {
        self.raw_path
            .as_deref()
            .unwrap_or(std::path::Path::new(&self.path))
    }

    /// Which part of a longer file it is, if it is one.
    pub(crate) fn part(&self) -> Option<cue::CuePart> {
        Place::part(self.system_path())
    }

    /// Title, or the file's name without its extension.
    pub fn display_title(&self) -> &str {
        if !self.title.trim().is_empty() {
            return self.title.trim();
        }
        let name = self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path);
        match name.rfind('.') {
            Some(dot) if dot > 0 => &name[..dot],
            _ => name,
        }
    }

    /// "Artist – Title", or the title alone.
    pub fn display(&self) -> String {
        match self
            .artist
            .as_deref()
            .map(str::trim)
            .filter(|artist| !artist.is_empty())
        {
            Some(artist) => format!("{artist} – {}", self.display_title()),
            None => self.display_title().to_owned(),
        }
    }

    /// The folder that holds the file; empty for a bare name.
    pub fn folder(&self) -> &str {
        let above = |path: &'_ str| path.rfind(['/', '\\']).unwrap_or(0);
        let folder = &self.path[..above(&self.path)];
        // A part of a file lies below what describes it, a CUE sheet or the file itself.
        if cue::above(std::path::Path::new(&self.path)).is_some() {
            &folder[..above(folder)]
        } else {
            folder
        }
    }

    /// Everybody whom it counts as by: its artists, or the composers in their place.
    pub fn people(&self) -> Vec<&str> {
        artists(
            self.composers
                .as_deref()
                .or(self.artist.as_deref())
                .unwrap_or_default(),
        )
    }

    /// Everybody whom it counts as by, to compare by: lower-cased; empty if unknown.
    pub fn artist_keys(&self) -> Vec<String> {
        self.people().into_iter().map(str::to_lowercase).collect()
    }

    /// Which album it is on, to compare by: its title, and its artist or else the folder, which the
    /// discs of a set share; `None` without an album.
    pub fn album_key(&self) -> Option<String> {
        let title = fold(self.album.as_deref()?);
        let owner = self
            .album_artist
            .as_deref()
            .map(fold)
            .filter(|owner| !owner.is_empty());
        (!title.is_empty()).then(|| {
            format!(
                "{title}\n{}",
                owner.unwrap_or_else(|| without_disc(self.folder()).to_owned())
            )
        })
    }

    /// Its title as one of versions of a song, where its tags identify one.
    #[doc(hidden)]
    pub fn song(&self) -> Option<SongTitle> {
        SongTitle::new(self.artist.as_deref(), Some(self.title.as_str()))
    }

    /// Mean bit rate in kbit/s, if size and length are known.
    pub fn kilobits_per_second(&self) -> Option<f64> {
        (self.bytes > 0 && self.seconds > 0.0)
            .then(|| self.bytes as f64 * 8.0 / self.seconds / 1000.0)
    }
}

/// A folder without a last step that is a disc's: `Box/CD 2`, `Box/disc02 - Live`.
fn without_disc(folder: &str) -> &str {
    const DISCS: [&str; 6] = ["cd", "disc", "disk", "disque", "dvd", "lp"];
    let at = folder.rfind(['/', '\\']).unwrap_or(0);
    let name = folder[at..].trim_start_matches(['/', '\\']).to_lowercase();
    let rest = DISCS.iter().find_map(|word| name.strip_prefix(word));
    let number = rest.map(|rest| rest.trim_start_matches([' ', '_', '-', '.', '#']));
    let is_disc = number.is_some_and(|number| {
        let digits = number.chars().take_while(char::is_ascii_digit).count();
        let behind = number[digits..].chars().next();
        (1..=2).contains(&digits) && !behind.is_some_and(char::is_alphanumeric)
    });
    if is_disc { &folder[..at] } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_of_a_set_are_one_album() {
        let key = |path: &str| {
            let mut track = TrackMeta::new(TrackId(1), path);
            track.album = Some("Box".to_owned());
            track.album_key()
        };
        for path in [
            "m/Box/CD2/1.mp3",
            "m/Box/cd 02/1.mp3",
            "m/Box/Disc 3 - Live/1.mp3",
            "m/Box/1.mp3",
        ] {
            assert_eq!(key(path), key("m/Box/CD1/1.mp3"), "{path}");
        }
        for path in ["m/Other/CD1/1.mp3", "m/Box/CD1000/1.mp3", "m/Box/cdx/1.mp3"] {
            assert_ne!(key(path), key("m/Box/CD1/1.mp3"), "{path}");
        }
    }

    #[test]
    fn names_fall_back_to_the_file() {
        let mut track = TrackMeta::new(TrackId(1), "a/b/Song.one.mp3");
        assert_eq!(track.display(), "Song.one");
        assert_eq!(track.folder(), "a/b");
        track.artist = Some("  X ".into());
        track.title = "T".into();
        assert_eq!(track.display(), "X – T");
        assert_eq!(track.artist_keys(), ["x"]);
        track.artist = Some("X feat. Y".into());
        assert_eq!(track.artist_keys(), ["x", "y"]);
        assert_eq!(
            TrackMeta::new(TrackId(2), ".hidden").display_title(),
            ".hidden"
        );
    }
}
