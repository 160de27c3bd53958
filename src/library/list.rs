//! Sorting the tracks of a library.

use super::{Library, Result, ScaleName};
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
                "t.album_key",
                "t.disc_number",
                "t.track_number",
                "t.title_key",
            ],
            Self::Album => &[
                "t.album_key",
                ARTIST,
                "t.disc_number",
                "t.track_number",
                "t.title_key",
            ],
            Self::Title => &["t.title_key", ARTIST],
            Self::Genre => &[
                "(SELECT genre_key FROM genres WHERE file = f.id AND position = 0)",
                ARTIST,
            ],
            Self::Year => &[
                "t.year",
                ARTIST,
                "t.album_key",
                "t.disc_number",
                "t.track_number",
            ],
            Self::Time => &["a.seconds"],
            Self::Added => &["a.added_at"],
            Self::Path => &["coalesce(f.path, a.last_path)"],
            Self::Size => &["f.size"],
            Self::Codec => &["a.codec COLLATE NOCASE", ARTIST],
            Self::Licence => &["t.licence COLLATE NOCASE", ARTIST],
            Self::Bpm => &["d.tempo"],
            Self::Key => &["d.key"],
            Self::Loudness => &["d.loudness"],
            Self::Scale(_) => &["s.value"],
        }
    }

    /// The terms of `ORDER BY`: tracks without a value come last either way, and equal ones go by id, so that pages
    /// neither overlap nor leave out tracks.
    fn order(self, descending: bool, id: &str) -> String {
        let direction = if descending { "DESC" } else { "ASC" };
        let columns = self.columns().iter();
        let terms = columns.map(|column| format!("{column} {direction} NULLS LAST, "));
        let by_id = if self == Self::Id { direction } else { "ASC" };
        terms.collect::<String>() + &format!("{id} {by_id}")
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

impl Library {
    /// Every track of the library in order; equal ones by id. Names compare without regard to case and accents.
    pub fn sorted(&self, by: SortBy, descending: bool) -> Result<Vec<TrackId>> {
        let scale = match by {
            // a name has no quotes
            SortBy::Scale(name) => {
                format!(" LEFT JOIN scales s ON s.content = a.content AND s.scale = '{name}'")
            }
            _ => String::new(),
        };
        // A track has the tags of its first file.
        let sql = format!(
            "SELECT a.id FROM audio a
             LEFT JOIN files f ON f.id = (SELECT min(id) FROM files WHERE track = a.id)
             LEFT JOIN tags t ON t.file = f.id LEFT JOIN descriptors d ON d.track = a.id{scale} ORDER BY {}",
            by.order(descending, "a.id")
        );
        self.query_all(&sql, [], |row| row.get(0).map(TrackId))
    }

    /// The first `count` of the [`sorted`](Self::sorted) tracks that fit, after the track `after` if one is
    /// given, read along an index. `None` if no index has this order, or the tracks in it do not suffice: it
    /// lacks those without an artist.
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
        let artist = "SELECT coalesce(artist_key, album_artist_key) FROM tags
            WHERE file = (SELECT min(id) FROM files WHERE track = ?1)";
        let start: Option<String> = match after {
            Some(after) => match self
                .query_opt(artist, [after.0], |row| row.get(0))?
                .flatten()
            {
                // From a track without an artist on all tracks have to be sorted.
                None => return Ok(None),
                start => start,
            },
            None => None,
        };
        let read = self
            .connection
            .prepare_cached(&by_artist(descending, start.is_some()));
        let read = read.and_then(|mut statement| {
            let mut rows = statement.query(rusqlite::params_from_iter(start))?;
            let mut found = Vec::new();
            let mut is_after = after.is_none();
            while let Some(row) = rows.next()? {
                let id = TrackId(row.get(0)?);
                if is_after && fits(id) {
                    found.push(id);
                }
                is_after |= Some(id) == after;
                if found.len() >= count {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        });
        self.sql(read)
    }
}

/// SQL for the tracks by artist along the index `tags_by_artist`: each by its first file's tags.
fn by_artist(descending: bool, from_one: bool) -> String {
    let artist = SortBy::Artist.columns()[0];
    let at_least = if descending { "<=" } else { ">=" };
    let from = if from_one {
        format!("AND {artist} {at_least} ?1")
    } else {
        String::new()
    };
    // SQLite keeps the order of a CROSS JOIN, so the index of artists is scanned; tracks of one artist are sorted when
    // the scan reaches them, so that the query stops early. No artist is missing here.
    let order = SortBy::Artist
        .order(descending, "f.track")
        .replacen(" NULLS LAST", "", 1);
    format!(
        "SELECT f.track FROM tags t CROSS JOIN files f ON f.id = t.file
         WHERE {artist} IS NOT NULL {from}
         AND NOT EXISTS (SELECT 1 FROM files o WHERE o.track = f.track AND o.id < f.id) ORDER BY {order}"
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
            let mut new = track(seed, vec![0.6, 0.8]);
            new.tags.artist = artists[seed as usize * 7 % 8].map(str::to_owned);
            new.tags.album_artist = (seed % 5 == 0).then(|| "Mud".to_owned());
            new.tags.album = (seed % 3 > 0).then(|| format!("Album {}", seed % 4));
            new.tags.track_number = (seed % 4 > 0).then_some((60 - seed) as u32);
            library.insert_track(&new).unwrap();
        }
        // a second file of a track has another artist, which does not count
        let mut second = track(3, vec![0.6, 0.8]);
        second.file.path = "/m/other.ogg".into();
        second.tags.artist = Some("AAA".into());
        library
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
            let sorts = plan.iter().filter(|step| step.contains("TEMP B-TREE"));
            assert!(
                sorts.clone().all(|step| step.contains("FOR LAST")),
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
