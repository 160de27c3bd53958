//! Metadata of a track, besides its vector.

use serde::{Deserialize, Serialize};

use voisin_base::musical_key::MusicalKey;
use voisin_base::text::fold;
use voisin_base::track::TrackId;
use voisin_library::artists::{artists, is_nobody};
use voisin_library::recording::Recording;
use voisin_library::song::song;

/// Common album titles, folded and without "the".
const COMMON_TITLES: [&str; 20] = [
    "greatest hits",
    "hits",
    "best of",
    "very best of",
    "best",
    "gold",
    "collection",
    "anthology",
    "essential",
    "singles",
    "singles collection",
    "live",
    "unplugged",
    "mtv unplugged",
    "demo",
    "remixes",
    "das beste",
    "le meilleur de",
    "lo mejor de",
    "grandes exitos",
];

/// A track's tags, predictions and file facts for clusters, maps and playlists.
///
/// Missing facts are empty or `None`; only the id and the path are required.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrackMeta {
    /// Key in the library.
    pub id: TrackId,
    /// Path of the (preferred) file, with replacement characters if it is not UTF-8.
    pub path: String,
    /// The exact path if it is not UTF-8, for playlists.
    #[serde(skip)]
    pub raw_path: Option<std::path::PathBuf>,
    /// Title from the tags; empty if there is none.
    pub title: String,
    /// Artist from the tags.
    pub artist: Option<String>,
    /// Its composers, if the library is set to these in place of artists.
    #[serde(skip)]
    pub composers: Option<String>,
    /// Album from the tags.
    pub album: Option<String>,
    /// Album artist from the tags.
    #[serde(skip)]
    pub album_artist: Option<String>,
    /// Disc number from the tags.
    #[serde(skip)]
    pub disc: Option<u32>,
    /// Genres from the tags, normalised.
    pub genres: Vec<String>,
    /// Best genre of the classifier.
    pub predicted_genre: Option<String>,
    /// Its probability, 0 to 1.
    pub predicted_probability: Option<f32>,
    /// Tags from the encoder's own tagger (mood, instrument …), best first.
    pub tags: Vec<String>,
    /// Year of release.
    pub year: Option<i32>,
    /// Measured beats per minute.
    pub tempo: Option<f64>,
    /// Measured key.
    pub key: Option<MusicalKey>,
    /// Measured energy, 0 to 100.
    pub energy: Option<f64>,
    /// Length in seconds.
    pub seconds: f64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Codec, as named by the audio module ("mp3", "flac" …).
    pub codec: String,
    /// Sample rate in Hz, 0 if unknown.
    pub sample_rate: u32,
    /// Number of channels, 0 if unknown.
    pub channels: u16,
    /// Share of the audio that decoded without damage, 0 to 1.
    pub decoded_share: f64,
}

impl TrackMeta {
    /// A track with only an id and a path.
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
            disc: None,
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
        }
    }

    /// A track with only an id and a file.
    pub fn of_file(id: TrackId, path: &std::path::Path) -> Self {
        let raw_path = path.to_str().is_none().then(|| path.to_owned());
        Self {
            raw_path,
            ..Self::new(id, path.to_string_lossy())
        }
    }

    /// The id of a track of the library; `None` for other files.
    pub fn library_id(&self) -> Option<TrackId> {
        Some(self.id).filter(|id| id.0 > 0)
    }

    /// The exact path.
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

    /// Its artists, or the composers in their place.
    pub fn people(&self) -> Vec<&str> {
        artists(
            self.composers
                .as_deref()
                .or(self.artist.as_deref())
                .unwrap_or_default(),
        )
    }

    /// The same in lower case as keys; empty if unknown.
    pub fn artist_keys(&self) -> Vec<String> {
        self.people().into_iter().map(str::to_lowercase).collect()
    }

    /// A key of its album: the title without a disc's name, and the album artist or else the folder, which is common to
    /// the discs of a set, and the track's artist for common titles; a sampler by nobody is one in all folders. `None`
    /// without an album.
    pub fn album_key(&self) -> Option<String> {
        let title = fold(&title_without_disc(self.album.as_deref()?));
        let owner = self.album_artist.as_deref().map(str::trim);
        let owner = owner.filter(|owner| !owner.is_empty());
        let is_common = COMMON_TITLES.contains(&title.strip_prefix("the ").unwrap_or(&title));
        let owner = match owner {
            Some(name) if !is_nobody(name) => fold(name),
            // "Greatest Hits" by nobody may be many albums.
            Some(_) if !is_common => String::new(),
            nobody => {
                let folder = without_disc(self.folder());
                // A single track does not show whether the artists in a folder share an album or only its
                // title. Different albums in a folder mostly have a common title; samplers rarely do.
                let is_shared = !is_common || nobody.is_some();
                match self.artist_keys().first().filter(|_| !is_shared) {
                    Some(artist) => format!("{folder}\n{artist}"),
                    None => folder.to_owned(),
                }
            }
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

/// An album's title without the name of a disc at its end: `Box (Disc 1)`, `Box CD2`.
fn title_without_disc(title: &str) -> String {
    // Halves of a work are albums of their own, unlike folders of one album.
    const NO_DISCS: [&str; 4] = ["part", "side", "teil", "lp"];
    let title = title.replace(['/', '\\'], " ");
    let cut = without_disc(&title);
    let tail = title[cut.len()..].to_lowercase();
    let is_disc = !cut.is_empty() && !NO_DISCS.iter().any(|word| tail.contains(word));
    if is_disc { cut.to_owned() } else { title }
}

/// A folder without the name of a disc in its last component: `Box/CD 2`, `Box/disc02 - Live`,
/// `Box/Disc One`, `Box/2`, `Box (Disc 1)`.
pub(crate) fn without_disc(folder: &str) -> &str {
    let start = folder.rfind(['/', '\\']).map_or(0, |at| at + 1);
    let parent = folder[..start].trim_end_matches(['/', '\\']);
    // Only letters whose lower case has as many bytes, so that positions are the same as in the folder.
    let lower = |c: char| {
        let mut lower = c.to_lowercase();
        let first = lower
            .next()
            .filter(|lower| lower.len_utf8() == c.len_utf8());
        first.filter(|_| lower.next().is_none()).unwrap_or(c)
    };
    let name: String = folder[start..].chars().map(lower).collect();
    // A number suffices, since only folders with the same album title are compared.
    let is_number = name.len() <= 2
        && name
            .parse::<u8>()
            .is_ok_and(|number| (1..=30).contains(&number));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let of_several = name.split_once(" of ");
    let is_counted = of_several.is_some_and(|(disc, discs)| is_digits(disc) && is_digits(discs));
    let is_bonus = ["bonus", "bonus cd", "bonus disc", "bonus disk"].contains(&name.as_str());
    if is_number || is_counted || is_bonus || behind_disc(&name).is_some() {
        return parent;
    }
    let mut ends = name
        .char_indices()
        .filter(|(_, c)| !c.is_alphanumeric())
        .map(|(at, c)| at + c.len_utf8());
    let title = ends.find_map(|at| {
        let behind = behind_disc(&name[at..])?;
        // "Live (Disc 2 of 3)" and "Box CD 2", but not "Box CD 2 extras": outside brackets nothing may
        // follow.
        let is_disc = name[..at].ends_with(['(', '[']) || behind.trim().is_empty();
        is_disc.then(|| name[..at].trim_end_matches([' ', '(', '[', '-', '_', ',', ':']))
    });
    match title {
        Some("") => parent,
        Some(title) => &folder[..start + title.len()],
        None => folder,
    }
}

/// The rest of a text in lower case after a disc's name: ` - live` of `cd 2 - live`.
fn behind_disc(text: &str) -> Option<&str> {
    const DISCS: &str = "cd disc disco disk disque dvd lp side part vinyl teil platte schijf płyta skiva levy диск δίσκος \
        ディスク 光盘 碟 디스크";
    const NUMBERS: [&str; 22] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "i", "ii",
        "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "a", "b",
    ];
    DISCS.split(' ').find_map(|word| {
        let rest = text.strip_prefix(word)?;
        let number = rest.trim_start_matches([' ', '_', '-', '.', '#']);
        let end = number
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(number.len());
        let (number, behind) = number.split_at(end);
        let is_digits = number.len() <= 2 && number.parse::<u8>().is_ok();
        // "disc1", but not "cdx".
        let is_apart = !rest.starts_with(char::is_alphanumeric);
        (is_digits || is_apart && NUMBERS.contains(&number)).then_some(behind)
    })
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
        let same = "Box/CD2; Box/cd 02; Box/Disc 3 - Live; Box/Disc One; Box/disk_II; Box/Side B; Box/2; Box/02; \
                  Box (Disc 1); Box [Disc Two - Live]; Box - CD2; Box/Диск 1; Box/ディスク1; Box/Vinyl 1; Box/disco 2; \
                  Box/Bonus CD; Box/01 of 2; Box";
        for folder in same.split("; ") {
            assert_eq!(
                key(&format!("m/{folder}/1.mp3")),
                key("m/Box/CD1/1.mp3"),
                "{folder}"
            );
        }
        for path in [
            "m/Other/CD1/1.mp3",
            "m/Box/CD1000/1.mp3",
            "m/Box/cdx/1.mp3",
            "m/Box/31/1.mp3",
            "m/Box/Sideways/1.mp3",
            "m/Box Part of It/1.mp3",
        ] {
            assert_ne!(key(path), key("m/Box/CD1/1.mp3"), "{path}");
        }
    }

    #[test]
    fn albums_with_a_common_title_are_separated_by_artist() {
        let key = |artist: &str, album: &str, owner: Option<&str>| {
            let mut track = TrackMeta::new(TrackId(1), "m/1.mp3");
            track.artist = Some(artist.to_owned());
            track.album = Some(album.to_owned());
            track.album_artist = owner.map(str::to_owned);
            track.album_key()
        };
        let ann = key("Ann", "Greatest Hits", None);
        assert_eq!(key("ann feat. Cy", "greatest hits", None), ann);
        assert_ne!(key("Bo", "Greatest Hits", None), ann);
        assert_ne!(
            key("Bo", "The Best Of", None),
            key("Ann", "The Best Of", None)
        );
        assert_eq!(
            key("Ann", "Greatest Hits", Some("Various")),
            key("Bo", "Greatest Hits", Some("Various"))
        );
        let in_folder = |folder: &str, album: &str, owner: Option<&str>| {
            let mut track = TrackMeta::new(TrackId(1), format!("m/{folder}/Sampler/1.mp3"));
            track.album = Some(album.to_owned());
            track.album_artist = owner.map(str::to_owned);
            track.album_key()
        };
        let sampler = in_folder("Ann", "Summer", Some("VA"));
        assert_eq!(in_folder("Bo", "Summer", Some("Various Artists")), sampler);
        assert_ne!(in_folder("Bo", "Summer", None), sampler);
        let hits = in_folder("Ann", "Greatest Hits", Some("VA"));
        assert_ne!(in_folder("Bo", "Greatest Hits", Some("VA")), hits);
        let boxed = in_folder("Ann", "Box", None);
        for title in ["Box (Disc 1)", "Box [CD 2]", "Box CD1", "Box - Disc One"] {
            assert_eq!(in_folder("Ann", title, None), boxed, "{title}");
        }
        for title in ["Box (Part 2)", "Box 2", "CD 1"] {
            assert_ne!(in_folder("Ann", title, None), boxed, "{title}");
        }
        // A sampler has tracks by many artists.
        assert_eq!(key("Ann", "Summer", None), key("Bo", "Summer", None));
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
