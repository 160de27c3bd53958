//! All tracks in the order that someone asks for.

use std::cmp::Ordering;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::{Library, Result, fold};
use voisin_base::track::TrackId;

/// What tracks can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// Number in the library.
    Id,
    /// Artist, album, disc, number on it.
    #[default]
    Artist,
    /// Album, disc, number on it.
    Album,
    /// Title.
    Title,
    /// First genre of the tags.
    Genre,
    /// Year.
    Year,
    /// Length.
    Time,
    /// When it was added.
    Added,
    /// Path of its first file.
    Path,
    /// Size of its first file.
    Size,
    /// Codec.
    Codec,
    /// Licence.
    Licence,
    /// Measured tempo.
    Bpm,
    /// Measured key.
    Key,
    /// Measured loudness.
    Loudness,
}

impl SortBy {
    /// All of them, with the names they are asked for by.
    pub const ALL: [(&'static str, Self); 15] = [
        ("id", Self::Id),
        ("artist", Self::Artist),
        ("album", Self::Album),
        ("title", Self::Title),
        ("genre", Self::Genre),
        ("year", Self::Year),
        ("time", Self::Time),
        ("added", Self::Added),
        ("path", Self::Path),
        ("size", Self::Size),
        ("codec", Self::Codec),
        ("licence", Self::Licence),
        ("bpm", Self::Bpm),
        ("key", Self::Key),
        ("loudness", Self::Loudness),
    ];

    fn columns(self) -> &'static [&'static str] {
        const ARTIST: &str = "coalesce(t.artist_key, t.album_artist_key)";
        match self {
            Self::Id => &[],
            Self::Artist => &[ARTIST, "t.album", "t.disc_number", "t.track_number", "t.title"],
            Self::Album => &["t.album", ARTIST, "t.disc_number", "t.track_number", "t.title"],
            Self::Title => &["t.title", ARTIST],
            Self::Genre => &["(SELECT genre_key FROM genres WHERE file = f.id AND position = 0)", ARTIST],
            Self::Year => &["t.year", ARTIST, "t.album", "t.disc_number", "t.track_number"],
            Self::Time => &["a.seconds"],
            Self::Added => &["a.added_at"],
            Self::Path => &["coalesce(f.path, a.last_path)"],
            Self::Size => &["f.size"],
            Self::Codec => &["a.codec", ARTIST],
            Self::Licence => &["t.licence", ARTIST],
            Self::Bpm => &["d.tempo"],
            Self::Key => &["d.key"],
            Self::Loudness => &["d.loudness"],
        }
    }
}

impl std::str::FromStr for SortBy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, sort)| *sort).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("expected one of {}, found \"{text}\"", names.join(", "))
        })
    }
}

/// One cell of what is sorted by.
enum Key {
    Missing,
    Number(f64),
    Text(Vec<u8>),
}

impl Key {
    fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => Self::Missing,
            ValueRef::Integer(number) => Self::Number(number as f64),
            ValueRef::Real(number) => Self::Number(number),
            ValueRef::Text(text) => Self::Text(fold(&String::from_utf8_lossy(text)).into_bytes()),
            ValueRef::Blob(bytes) => Self::Text(bytes.to_vec()),
        })
    }

    /// What is missing comes last, whichever way is up.
    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        match (self, other) {
            (Self::Missing, Self::Missing) => Ordering::Equal,
            (Self::Missing, _) | (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (_, Self::Missing) | (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Number(a), Self::Number(b)) => turned(a.total_cmp(b)),
            (Self::Text(a), Self::Text(b)) => turned(a.cmp(b)),
        }
    }
}

impl Library {
    /// Every track of the library in order; equal ones by id. Names compare without regard to case and accents.
    #[doc(hidden)]
    pub fn sorted(&self, by: SortBy, descending: bool) -> Result<Vec<TrackId>> {
        let columns: String = by.columns().iter().map(|column| format!(", {column}")).collect();
        let sql = format!(
            "SELECT a.id{columns} FROM audio a
             LEFT JOIN files f ON f.id = (SELECT min(id) FROM files WHERE track = a.id)
             LEFT JOIN tags t ON t.file = f.id LEFT JOIN descriptors d ON d.track = a.id"
        );
        let rows = self.connection.prepare(&sql).and_then(|mut statement| {
            let rows = statement.query_map([], |row| {
                let keys = (1..=by.columns().len()).map(|at| Key::read(row, at));
                Ok((TrackId(row.get(0)?), keys.collect::<rusqlite::Result<Vec<Key>>>()?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut rows = self.sql(rows)?;
        let by_id = by == SortBy::Id && descending;
        rows.sort_by(|(a, a_keys), (b, b_keys)| {
            let keys = a_keys.iter().zip(b_keys).map(|(a, b)| a.compare(b, descending));
            let ids = if by_id { b.cmp(a) } else { a.cmp(b) };
            keys.fold(Ordering::Equal, Ordering::then).then(ids)
        });
        Ok(rows.into_iter().map(|(id, _)| id).collect())
    }
}
