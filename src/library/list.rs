//! Sorting the tracks of a library.

use std::cmp::Ordering;

use super::{Library, Result, ScaleName};
use voisin_base::track::TrackId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    Id,
    /// Artist, album, disc, number on it.
    #[default]
    Artist,
    /// Album, disc, number on it.
    Album,
    Title,
    /// First genre of the tags.
    Genre,
    Year,
    Time,
    Added,
    Path,
    Size,
    Codec,
    Licence,
    Bpm,
    Key,
    Loudness,
    Scale(ScaleName),
}

const ARTIST: &str = "coalesce(t.artist_key, t.album_artist_key) COLLATE numbers";

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
        match self {
            Self::Id => &[],
            Self::Artist => &[
                ARTIST,
                "t.album_key COLLATE numbers",
                "t.disc_number",
                "t.track_number",
                "t.title_key COLLATE numbers",
            ],
            Self::Album => &[
                "t.album_key COLLATE numbers",
                ARTIST,
                "t.disc_number",
                "t.track_number",
                "t.title_key COLLATE numbers",
            ],
            Self::Title => &["t.title_key COLLATE numbers", ARTIST],
            Self::Genre => &[
                "(SELECT genre_key FROM genres WHERE file = f.id AND position = 0) COLLATE numbers",
                ARTIST,
            ],
            Self::Year => &[
                "t.year",
                ARTIST,
                "t.album_key COLLATE numbers",
                "t.disc_number",
                "t.track_number",
            ],
            Self::Time => &["a.seconds"],
            Self::Added => &["a.added_at"],
            // The collation is of texts, a path is bytes.
            Self::Path => &["CAST(coalesce(f.path, a.last_path) AS TEXT) COLLATE numbers"],
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
    /// Calls `visit` with each track in order, equal ones by id, until it returns false. Names compare without regard to
    /// case and accents.
    ///
    /// - `among`: these tracks alone
    pub fn sorted(
        &self,
        by: SortBy,
        descending: bool,
        among: Option<&[TrackId]>,
        mut visit: impl FnMut(TrackId) -> bool,
    ) -> Result<()> {
        let scale = match by {
            SortBy::Scale(name) => {
                format!(
                    " LEFT JOIN (SELECT track, \"{name}\" AS value FROM scales) s ON s.track = a.id"
                )
            }
            _ => String::new(),
        };
        let order = by.order(descending, "a.id");
        // A track has the tags of its first file.
        let all = |condition: &str| {
            format!(
                "SELECT a.id FROM audio a
                 LEFT JOIN files f ON f.id = (SELECT min(id) FROM files WHERE track = a.id)
                 LEFT JOIN tags t ON t.file = f.id LEFT JOIN descriptors d ON d.track = a.id{scale}
                 WHERE {condition} ORDER BY {order}"
            )
        };
        // The first page of a million tracks must not wait for all of them: orders by name have an index, in which
        // those without the name are missing.
        let queries = match (by, among) {
            (_, Some(_)) => vec![all("a.id IN (SELECT value FROM json_each(?1))")],
            (SortBy::Artist | SortBy::Album | SortBy::Title, None) => {
                let nameless = all(&format!("{} IS NULL", by.columns()[0]));
                vec![along_index(by, descending), nameless]
            }
            _ => vec![all("true")],
        };
        let list = among.map(|ids| serde_json::json!(ids).to_string());
        for sql in queries {
            let mut query = self.sql(self.connection.prepare_cached(&sql))?;
            let mut rows = self.sql(query.query(rusqlite::params_from_iter(&list)))?;
            while let Some(row) = self.sql(rows.next())? {
                if !visit(TrackId(self.sql(row.get(0))?)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// SQL for the tracks along the index of a name, as `tags_by_artist`: each by its first file's tags.
fn along_index(by: SortBy, descending: bool) -> String {
    // SQLite keeps the order of a CROSS JOIN, so the index is scanned; tracks of one name are sorted when the scan
    // reaches them, so that the query stops early. No name is missing here.
    let order = by
        .order(descending, "f.track")
        .replacen(" NULLS LAST", "", 1);
    let name = by.columns()[0];
    format!(
        "SELECT f.track FROM tags t CROSS JOIN files f ON f.id = t.file WHERE {name} IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM files o WHERE o.track = f.track AND o.id < f.id) ORDER BY {order}"
    )
}

/// The order of texts whose numbers sort by their value: "part 2" before "part 10".
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    // Paths begin alike: letters before the first number need no tokens.
    let begins = a.bytes().zip(b.bytes());
    let same = begins.take_while(|(a, b)| a == b && !a.is_ascii_digit());
    let same = a.floor_char_boundary(same.count());
    tokens(&a[same..]).cmp(tokens(&b[same..]))
}

/// Letters, and numbers in place of a zero with their lengths and digits.
fn tokens(mut text: &str) -> impl Iterator<Item = (char, usize, &str)> {
    std::iter::from_fn(move || {
        let end = text.find(|c: char| !c.is_ascii_digit());
        let end = end.unwrap_or(text.len());
        let first = text.chars().next()?;
        let (token, rest) = text.split_at(end.max(first.len_utf8()));
        text = rest;
        let digits = token.trim_start_matches('0');
        Some(if first.is_ascii_digit() {
            ('0', digits.len(), digits)
        } else {
            (first, 0, "")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    #[test]
    fn numbers_sort_by_their_value() {
        let mut texts = [
            "10", "part 10", "2", "part 2b", "part 2", "é", "è", "1", "part 02a", "",
        ];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(
            texts,
            [
                "", "1", "2", "10", "part 2", "part 02a", "part 2b", "part 10", "è", "é"
            ]
        );
    }

    #[test]
    fn the_order_by_artist_goes_along_its_index() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for (seed, artist) in [
            (1, Some("Zz 10")),
            (2, None),
            (3, Some("Björk")),
            (4, Some("ZZ 9")),
            (5, Some("bjork")),
        ] {
            let mut new = track(seed, vec![0.6, 0.8]);
            new.tags.artist = artist.map(str::to_owned);
            // A file that is there, or the second of this track would take its place.
            new.file.path = dir.path().join("song");
            new.file.path.set_extension(seed.to_string());
            std::fs::write(&new.file.path, "").unwrap();
            library.insert_track(&new).unwrap();
        }
        // A second file of a track has another artist, which does not count.
        let mut second = track(1, vec![0.6, 0.8]);
        second.file.path = "/m/other.ogg".into();
        second.tags.artist = Some("AAA".into());
        library
            .attach_file(TrackId(1), &second.file, &second.tags)
            .unwrap();
        for (descending, expected) in [(false, [3, 5, 4, 1, 2]), (true, [1, 4, 5, 3, 2])] {
            for count in 1..=5 {
                let mut found = Vec::new();
                library
                    .sorted(SortBy::Artist, descending, None, |id| {
                        found.push(id.0);
                        found.len() < count
                    })
                    .unwrap();
                assert_eq!(found, expected[..count]);
            }
            let mut found = Vec::new();
            let keep = |id: TrackId| {
                found.push(id.0);
                true
            };
            let among = [TrackId(2), TrackId(5), TrackId(4)];
            library
                .sorted(SortBy::Artist, descending, Some(&among), keep)
                .unwrap();
            let mut chosen = expected.to_vec();
            chosen.retain(|id| [2, 5, 4].contains(id));
            assert_eq!(found, chosen);
            for by in [SortBy::Artist, SortBy::Album, SortBy::Title] {
                let sql = format!("EXPLAIN QUERY PLAN {}", along_index(by, descending));
                let mut plan = library.connection.prepare(&sql).unwrap();
                let plan = plan.query_map([], |row| row.get(3)).unwrap();
                let plan: Vec<String> = plan.collect::<rusqlite::Result<_>>().unwrap();
                assert!(plan[0].contains("USING INDEX tags_by_"), "{plan:?}");
                let whole = |step: &String| step.contains("TEMP") && !step.contains("FOR LAST");
                assert!(!plan.iter().any(whole), "{plan:?}");
            }
        }
    }
}
