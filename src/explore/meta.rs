//! Metadata of a track, besides its vector.

use voisin_base::text::fold;
use voisin_base::track::TrackId;
use voisin_library::artists::{artist_keys, artists, is_nobody};
use voisin_library::recording::{Recording, song};

/// A track's tags, predictions and file facts for clusters, maps and playlists.
///
/// Missing facts are empty or `None`; only the id and the path are required.
#[derive(Debug, Clone, Default)]
pub struct TrackMeta {
    pub id: TrackId,
    /// Path of the (preferred) file, with replacement characters if it is not UTF-8.
    pub path: String,
    /// The exact path if it is not UTF-8, for playlists.
    pub raw_path: Option<std::path::PathBuf>,
    pub title: String,
    pub artist: Option<String>,
    pub album: Option<String>,
    pub album_artist: Option<String>,
    /// Genres from the tags, normalised.
    pub genres: Vec<String>,
    pub predicted_genre: Option<String>,
    /// Its probability, 0 to 1.
    pub predicted_probability: Option<f32>,
    /// Tags from the encoder's own tagger (mood, instrument …), best first.
    pub tags: Vec<String>,
    pub year: Option<i32>,
    pub seconds: f64,
    pub bytes: u64,
    /// Codec, as named by the audio module ("mp3", "flac" …).
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u16,
    /// Share of the audio that did not decode, 0 to 1.
    pub damaged: f64,
}

impl TrackMeta {
    pub fn new(id: TrackId, path: impl Into<String>) -> Self {
        Self {
            id,
            path: path.into(),
            ..Self::default()
        }
    }

    pub fn of_file(id: TrackId, path: &std::path::Path) -> Self {
        let raw_path = path.to_str().is_none().then(|| path.to_owned());
        Self {
            raw_path,
            ..Self::new(id, path.to_string_lossy())
        }
    }

    pub fn system_path(&self) -> &std::path::Path {
        self.raw_path
            .as_deref()
            .unwrap_or(std::path::Path::new(&self.path))
    }

    /// Title, or the file's name without its extension.
    pub fn display_title(&self) -> &str {
        if !self.title.trim().is_empty() {
            return self.title.trim();
        }
        let name = self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path);
        match name.rfind('.') {
            // A name whose only dot is the first character has no extension.
            Some(dot) if dot > 0 => &name[..dot],
            _ => name,
        }
    }

    pub(crate) fn named_artist(&self) -> Option<&str> {
        let artist = self.artist.as_deref().map(str::trim);
        artist.filter(|artist| !artist.is_empty())
    }

    /// "Artist – Title", or the title alone.
    pub fn display(&self) -> String {
        match self.named_artist() {
            Some(artist) => format!("{artist} – {}", self.display_title()),
            None => self.display_title().to_owned(),
        }
    }

    /// The facts by which copies are recognised.
    #[doc(hidden)]
    pub fn recording(&self) -> Recording<'_> {
        Recording {
            title: Some(self.title.as_str()),
            artist: self.artist.as_deref(),
            seconds: self.seconds,
        }
    }

    /// The folder that holds the file; empty for a bare name.
    pub fn folder(&self) -> &str {
        let end = self.path.rfind(['/', '\\']).unwrap_or(0);
        &self.path[..end]
    }

    pub fn artists(&self) -> Vec<&str> {
        artists(self.artist.as_deref().unwrap_or_default())
    }

    /// The same as keys; empty if unknown.
    pub fn artist_keys(&self) -> Vec<String> {
        artist_keys(self.artist.as_deref().unwrap_or_default())
    }

    /// A key of its album: the title without a disc's name, and the album artist or else the folder, which is common to
    /// the discs of a set; a sampler by nobody is one in all folders. `None` without an album.
    pub fn album_key(&self) -> Option<String> {
        let album = self.album.as_deref()?;
        let cut = without_disc(album);
        let title = fold(if cut.is_empty() { album } else { cut });
        let owner = self.album_artist.as_deref().map(str::trim);
        let owner = match owner.filter(|owner| !owner.is_empty()) {
            Some(name) if is_nobody(name) => String::new(),
            Some(name) => fold(name),
            None => without_disc(self.folder()).to_owned(),
        };
        (!title.is_empty()).then(|| format!("{title}\n{owner}"))
    }

    /// Its artist and title, by which it stands once in a list.
    #[doc(hidden)]
    pub fn song(&self) -> Option<[String; 2]> {
        song(self.artist.as_deref(), Some(self.title.as_str()))
    }

    /// Mean bit rate in kbit/s, if size and length are known.
    pub fn kilobits_per_second(&self) -> Option<f64> {
        (self.bytes > 0 && self.seconds > 0.0)
            .then(|| self.bytes as f64 * 8.0 / self.seconds / 1000.0)
    }
}

/// A folder or a title without the number of a disc at its end: `Box/CD 2`, `Box (Disc 1)`.
fn without_disc(text: &str) -> &str {
    let lower = text.to_ascii_lowercase();
    let cut = ["cd", "disc", "disk"].iter().find_map(|word| {
        let at = lower.rfind(word)?;
        let number = lower[at + word.len()..].trim_matches([' ', '_', '-', '.', '#', ')', ']']);
        let is_number = number.len() <= 2 && number.parse::<u8>().is_ok();
        let before = &text[..at];
        let is_word = !before.ends_with(char::is_alphanumeric);
        let ends = [' ', '(', '[', '-', '_', ',', ':', '/', '\\'];
        (is_number && is_word).then(|| before.trim_end_matches(ends))
    });
    cut.unwrap_or(text)
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
        let same = "Box/CD2; Box/cd 02; Box/disk_2; Box (Disc 1); Box - CD2; Box";
        for folder in same.split("; ") {
            assert_eq!(
                key(&format!("m/{folder}/1.mp3")),
                key("m/Box/CD1/1.mp3"),
                "{folder}"
            );
        }
        for path in ["m/Other/CD1/1.mp3", "m/Box/CD1000/1.mp3", "m/Box/cdx/1.mp3"] {
            assert_ne!(key(path), key("m/Box/CD1/1.mp3"), "{path}");
        }
    }

    #[test]
    fn a_sampler_is_one_album_in_all_folders() {
        let in_folder = |folder: &str, album: &str, owner: Option<&str>| {
            let mut track = TrackMeta::new(TrackId(1), format!("m/{folder}/Sampler/1.mp3"));
            track.album = Some(album.to_owned());
            track.album_artist = owner.map(str::to_owned);
            track.album_key()
        };
        let sampler = in_folder("Ann", "Summer", Some("VA"));
        assert_eq!(in_folder("Bo", "Summer", Some("Various Artists")), sampler);
        assert_ne!(in_folder("Bo", "Summer", None), sampler);
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
