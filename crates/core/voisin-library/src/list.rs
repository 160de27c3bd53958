//! Sorting the tracks of a library.

use std::cmp::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row};

use super::{Library, Result, ScaleName, fold};
use voisin_base::track::TrackId;

/// Sort orders of tracks.
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
    /// Value of a scale.
    Scale(ScaleName),
}

impl SortBy {
    /// All orders but scales, with their names on the command line.
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
            Self::Artist => &[
                ARTIST,
                "t.album",
                "t.disc_number",
                "t.track_number",
                "t.title",
            ],
            Self::Album => &[
                "t.album",
                ARTIST,
                "t.disc_number",
                "t.track_number",
                "t.title",
            ],
            Self::Title => &["t.title", ARTIST],
            Self::Genre => &[
                "(SELECT genre_key FROM genres WHERE file = f.id AND position = 0)",
                ARTIST,
            ],
            Self::Year => &[
                "t.year",
                ARTIST,
                "t.album",
                "t.disc_number",
                "t.track_number",
            ],
            Self::Time => &["a.seconds"],
            Self::Added => &["a.added_at"],
            Self::Path => &["coalesce(f.path, a.last_path)"],
            Self::Size => &["f.size"],
            Self::Codec => &["a.codec", ARTIST],
            Self::Licence => &["t.licence", ARTIST],
            Self::Bpm => &["d.tempo"],
            Self::Key => &["d.key"],
            Self::Loudness => &["d.loudness"],
            Self::Scale(_) => &["s.value"],
        }
    }
}

impl std::str::FromStr for SortBy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, sort)| *sort)
            .or_else(|| text.parse().ok().map(Self::Scale))
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
                format!(
                    "expected one of {}, or a scale, found \"{text}\"",
                    names.join(", ")
                )
            })
    }
}

/// One cell of a sort key.
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
            // Folding a column that is folded already, such as `artist_key`, changes nothing.
            ValueRef::Text(text) => Self::Text(fold(&String::from_utf8_lossy(text)).into_bytes()),
            ValueRef::Blob(bytes) => Self::Text(bytes.to_vec()),
        })
    }

    /// Missing values come last, ascending and descending.
    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        match (self, other) {
            (Self::Missing, Self::Missing) => Ordering::Equal,
            // A column of a STRICT table never has both numbers and texts; the order only has to be
            // total.
            (Self::Missing, _) | (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (_, Self::Missing) | (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Number(a), Self::Number(b)) => turned(a.total_cmp(b)),
            (Self::Text(a), Self::Text(b)) => turned(a.cmp(b)),
        }
    }
}

/// Tables that the sort keys come from; a track has the tags of its first file.
const SORTED_FROM: &str = "FROM audio a
     LEFT JOIN files f ON f.id = (SELECT min(id) FROM files WHERE track = a.id)
     LEFT JOIN tags t ON t.file = f.id LEFT JOIN descriptors d ON d.track = a.id";

/// A track with its sort key.
struct Sortable {
    id: TrackId,
    keys: Vec<Key>,
}

impl Sortable {
    fn read(row: &Row<'_>, by: SortBy) -> rusqlite::Result<Self> {
        // Column 0 is the track's id.
        let keys = (1..=by.columns().len()).map(|at| Key::read(row, at));
        Ok(Self {
            id: TrackId(row.get(0)?),
            keys: keys.collect::<rusqlite::Result<_>>()?,
        })
    }

    fn compare(&self, other: &Self, by: SortBy, descending: bool) -> Ordering {
        let keys = self
            .keys
            .iter()
            .zip(&other.keys)
            .map(|(a, b)| a.compare(b, descending));
        // Ties go by id, which makes the order total: pages neither overlap nor leave out tracks.
        let ids = self.id.cmp(&other.id);
        let ids = if by == SortBy::Id && descending {
            ids.reverse()
        } else {
            ids
        };
        keys.fold(Ordering::Equal, Ordering::then).then(ids)
    }
}

impl Library {
    /// Every track of the library in order; equal ones by id. Names compare without regard to case and accents.
    #[doc(hidden)]
    pub fn sorted(&self, by: SortBy, descending: bool) -> Result<Vec<TrackId>> {
        let columns: String = by
            .columns()
            .iter()
            .map(|column| format!(", {column}"))
            .collect();
        let scale = match by {
            // a name has no quotes
            SortBy::Scale(name) => {
                format!(" LEFT JOIN scales s ON s.content = a.content AND s.scale = '{name}'")
            }
            _ => String::new(),
        };
        let rows = self
            .connection
            .prepare(&format!("SELECT a.id{columns} {SORTED_FROM}{scale}"));
        let rows = rows.and_then(|mut statement| {
            let rows = statement.query_map([], |row| Sortable::read(row, by))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut rows = self.sql(rows)?;
        // sorted here, since SQLite does not fold case and accents
        rows.sort_by(|a, b| a.compare(b, by, descending));
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// The first `count` of the [`sorted`](Self::sorted) tracks that fit, after the track `after` if one is
    /// given, read along an index. `None` if no index has this order, or the tracks in it do not suffice: it
    /// lacks those without an artist.
    #[doc(hidden)]
    pub fn first_sorted(
        &self,
        by: SortBy,
        descending: bool,
        after: Option<TrackId>,
        count: usize,
        fits: impl Fn(TrackId) -> bool,
    ) -> Result<Option<Vec<TrackId>>> {
        // Only the default order has an index: the first page of a million tracks must not wait for
        // all of them.
        if by != SortBy::Artist {
            return Ok(None);
        }
        let Some(id) = after else {
            return self.sql(self.along_artists(descending, None, count, fits));
        };
        let columns = by.columns().join(", ");
        let sql = format!("SELECT a.id, {columns} {SORTED_FROM} WHERE a.id = ?1");
        let last = self
            .connection
            .query_row(&sql, [id.0], |row| Sortable::read(row, by))
            .optional();
        match self.sql(last)? {
            // A track without an artist is not in the index: from there on all tracks have to be
            // sorted.
            Some(last) if !matches!(last.keys[0], Key::Missing) => {
                self.sql(self.along_artists(descending, Some(&last), count, fits))
            }
            _ => Ok(None),
        }
    }

    fn along_artists(
        &self,
        descending: bool,
        after: Option<&Sortable>,
        count: usize,
        fits: impl Fn(TrackId) -> bool,
    ) -> rusqlite::Result<Option<Vec<TrackId>>> {
        let by = SortBy::Artist;
        let mut statement = self
            .connection
            .prepare(&by_artist(descending, after.is_some()))?;
        // The scan begins at the artist of the last track: more of that artist may follow.
        let start = after.and_then(|after| match &after.keys[0] {
            Key::Text(text) => Some(String::from_utf8_lossy(text)),
            Key::Missing | Key::Number(_) => None,
        });
        let mut rows = statement.query(rusqlite::params_from_iter(start))?;
        let mut found = Vec::new();
        let mut of_one = Vec::<Sortable>::new();
        loop {
            let next = rows
                .next()?
                .map(|row| Sortable::read(row, by))
                .transpose()?;
            let goes_on = next.as_ref().is_some_and(|next| {
                of_one
                    .first()
                    .is_none_or(|one| one.keys[0].compare(&next.keys[0], false).is_eq())
            });
            if !goes_on {
                // All tracks of one artist are read: the rest of the sort key is not in the index.
                of_one.sort_by(|a, b| a.compare(b, by, descending));
                found.extend(of_one.drain(..).map(|row| row.id));
            }
            if found.len() >= count {
                found.truncate(count);
                return Ok(Some(found));
            }
            // The index ended before the page was full: tracks without an artist, which it lacks,
            // come next.
            let Some(next) = next else { return Ok(None) };
            let is_after = after.is_none_or(|after| after.compare(&next, by, descending).is_lt());
            if is_after && fits(next.id) {
                of_one.push(next);
            }
        }
    }
}

/// SQL for the tracks by artist along the index `tags_by_artist`: each by its first file's tags.
fn by_artist(descending: bool, from_one: bool) -> String {
    let columns = SortBy::Artist.columns().join(", ");
    let artist = SortBy::Artist.columns()[0];
    let (at_least, order) = if descending {
        ("<=", "DESC")
    } else {
        (">=", "ASC")
    };
    let from = if from_one {
        format!("AND {artist} {at_least} ?1")
    } else {
        String::new()
    };
    // SQLite keeps the order of a CROSS JOIN, so the index of artists is scanned and the query
    // stops early.
    format!(
        "SELECT f.track, {columns} FROM tags t CROSS JOIN files f ON f.id = t.file
         WHERE {artist} IS NOT NULL {from}
         AND NOT EXISTS (SELECT 1 FROM files o WHERE o.track = f.track AND o.id < f.id)
         ORDER BY {artist} {order}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    #[test]
    fn first_tracks_along_the_index_are_those_of_the_full_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let artists = [
            Some("Björk"),
            Some("bjork"),
            None,
            Some("ABBA"),
            Some("Zz Top"),
            Some("ÅBBA"),
            Some(""),
            Some("ﬁne"),
        ];
        for seed in 1..=60_u64 {
            let mut new = track(seed, vec![0.6, 0.8], 0);
            new.tags.artist = artists[seed as usize * 7 % 8].map(str::to_owned);
            new.tags.album_artist = (seed % 5 == 0).then(|| "Mud".to_owned());
            new.tags.album = (seed % 3 > 0).then(|| format!("Album {}", seed % 4));
            new.tags.track_number = (seed % 4 > 0).then_some((60 - seed) as u32);
            library.insert_track(&new).unwrap();
        }
        // a second file of a track has another artist, which does not count
        let mut second = track(3, vec![0.6, 0.8], 0);
        second.file.path = "/m/other.ogg".into();
        second.tags.artist = Some("AAA".into());
        library
            .files_mut()
            .attach_file(TrackId(3), &second.file, &second.tags)
            .unwrap();
        let mut compared = 0;
        for descending in [false, true] {
            let all = library.sorted(SortBy::Artist, descending).unwrap();
            assert_eq!(all.len(), 60);
            for after in [None, Some(0), Some(7), Some(20), Some(57)] {
                let rest = &all[after.map_or(0, |at| at + 1)..];
                for count in [1, 4, 17] {
                    let fits = |id: TrackId| id.0 % 4 != 1;
                    let expected: Vec<TrackId> = rest
                        .iter()
                        .copied()
                        .filter(|id| fits(*id))
                        .take(count)
                        .collect();
                    let after = after.map(|at| all[at]);
                    let found = library
                        .first_sorted(SortBy::Artist, descending, after, count, fits)
                        .unwrap();
                    compared += usize::from(found.is_some());
                    if let Some(found) = found {
                        assert_eq!(found, expected, "{descending} {after:?} {count}");
                    } else {
                        assert!(after == Some(all[57]), "{descending} {after:?} {count}");
                    }
                }
            }
        }
        assert_eq!(compared, 24);
        for (descending, from_one) in [(false, false), (true, false), (false, true), (true, true)] {
            let sql = format!("EXPLAIN QUERY PLAN {}", by_artist(descending, from_one));
            let mut statement = library.connection.prepare(&sql).unwrap();
            let start = from_one.then_some("abba");
            let rows = statement
                .query_map(rusqlite::params_from_iter(start), |row| row.get(3))
                .unwrap();
            let plan: Vec<String> = rows.collect::<rusqlite::Result<_>>().unwrap();
            assert!(plan[0].contains("USING INDEX tags_by_artist"), "{plan:?}");
            assert!(
                !plan.iter().any(|step| step.contains("TEMP B-TREE")),
                "{plan:?}"
            );
        }
        assert_eq!(
            library
                .first_sorted(SortBy::Artist, false, Some(TrackId(99)), 1, |_| true)
                .unwrap(),
            None
        );
        assert_eq!(
            library
                .first_sorted(SortBy::Title, false, None, 1, |_| true)
                .unwrap(),
            None
        );
    }
}
