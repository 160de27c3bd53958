//! Which tracks are recordings of one song, by codes, stored comparisons and titles.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Deref, DerefMut};

use super::parts::DerivedTable;
use super::{Library, Result, Track};
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_music::song::SongTitle;

impl<L: Deref<Target = Library>> DerivedTable<L> {
    /// The songs of those of these tracks that were compared: recordings of one song have equal ids.
    #[doc(hidden)]
    pub fn known_songs(&self, tracks: &[TrackId]) -> Result<HashMap<TrackId, TrackId>> {
        let list = serde_json::json!(tracks).to_string();
        let sql = "SELECT track, song FROM songs WHERE track IN (SELECT value FROM json_each(?1))";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([list], |row| {
                        Ok((TrackId(row.get(0)?), TrackId(row.get(1)?)))
                    })?
                    .collect()
            });
        self.sql(found)
    }
}

impl<L: DerefMut<Target = Library>> DerivedTable<L> {
    /// Stores the song of each of these tracks, replacing all earlier ones. Deleted with the track.
    #[doc(hidden)]
    pub fn remember_songs(&mut self, songs: &BTreeMap<TrackId, TrackId>) -> Result<()> {
        self.write(|tx| {
            // Replaced as a whole: if a song was split, former rows would join it again.
            tx.execute("DELETE FROM songs", [])?;
            let mut statement = tx.prepare(
                "INSERT INTO songs (track, song) SELECT id, ?2 FROM audio WHERE id = ?1",
            )?;
            for (track, song) in songs {
                statement.execute((track.0, song.0))?;
            }
            Ok(())
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SongName {
    /// MBID or ISRC of the recording.
    Code(String),
    /// The song's number, if the track was compared with others.
    Compared(TrackId),
}

/// A recording by its title and its sound.
#[derive(Debug, Clone)]
struct Titled {
    title: SongTitle,
    vector: Option<Vec<f32>>,
    is_compared: bool,
}

/// Songs that a list has already. Two tracks are of one song if they share an MBID or ISRC; if both
/// were compared, by the result; else if artist and title agree and they sound alike.
#[derive(Debug, Clone, Default)]
pub struct SongSet {
    names: HashSet<SongName>,
    titled: BTreeMap<String, Vec<Titled>>,
}

impl SongSet {
    /// Adds the song that a track is a recording of.
    ///
    /// - `song`: its entry in [`DerivedTable::known_songs`](crate::DerivedTable::known_songs)
    /// - `vector`: the raw vector; without it the title alone decides
    pub fn insert(&mut self, track: &Track, song: Option<TrackId>, vector: Option<&[f32]>) {
        self.names.extend(codes(track));
        self.names.extend(song.map(SongName::Compared));
        if let Some(title) = track.song() {
            let key = title.key().to_owned();
            self.titled.entry(key).or_default().push(Titled {
                title,
                vector: vector.map(<[f32]>::to_vec),
                is_compared: song.is_some(),
            });
        }
    }

    /// Whether a track is a recording of one of these songs.
    ///
    /// - `song`: its entry in [`DerivedTable::known_songs`](crate::DerivedTable::known_songs)
    /// - `vector`: the raw vector
    pub fn contains(&self, track: &Track, song: Option<TrackId>, vector: Option<&[f32]>) -> bool {
        let has = |name: SongName| self.names.contains(&name);
        // Codes first, as only they are certain.
        codes(track).any(has) || song.map(SongName::Compared).is_some_and(has) || {
            track.song().is_some_and(|title| {
                let longer = format!("{} ", title.key());
                let behind = self.titled.range(longer.clone()..);
                let behind = behind.take_while(|(key, _)| key.starts_with(&longer));
                let keys = title.shorter_keys().chain([title.key()]);
                let known = keys.filter_map(|key| self.titled.get(key));
                let mut known = known.chain(behind.map(|(_, known)| known)).flatten();
                known.any(|known| {
                    // Both were compared and are of different songs: titles no longer count.
                    !(song.is_some() && known.is_compared) && known.is_like(&title, vector)
                })
            })
        }
    }
}

impl Titled {
    fn is_like(&self, title: &SongTitle, vector: Option<&[f32]>) -> bool {
        let Some(likeness) = self.title.likeness(title) else {
            return false;
        };
        match (self.vector.as_deref(), vector) {
            (Some(a), Some(b)) => likeness.is_version(dot(a, b)),
            // Without a vector the title decides.
            _ => likeness.is_sure(),
        }
    }
}

fn codes(track: &Track) -> impl Iterator<Item = SongName> {
    let kinds = [("mbid", &track.tags.mbid), ("isrc", &track.tags.isrc)];
    kinds.into_iter().filter_map(|(kind, code)| {
        Some(SongName::Code(format!(
            "{kind} {}",
            code.as_deref()?.to_ascii_lowercase()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    #[test]
    fn comparing_outweighs_titles_and_goes_with_its_track() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let titles = [
            "Hurt",
            "Hurt (Live)",
            "Hurt (Demo)",
            "Wounded, at last",
            "Hurt (Take 2)",
            "Other",
        ];
        for (seed, title) in (0..).zip(titles) {
            let mut new = track(seed, vec![1.0, 0.0], 0);
            (new.tags.artist, new.tags.title) = (Some("Alpha".into()), Some(title.into()));
            let isrc = [None, Some("us1"), None, None, None, Some("US1")][seed as usize];
            (new.tags.mbid, new.tags.isrc) = (None, isrc.map(str::to_owned));
            library.insert_track(&new).unwrap();
        }
        let tracks = library.tracks().unwrap();
        let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
        let again = |library: &Library, row: usize| -> Vec<&str> {
            let known = library.derived().known_songs(&ids).unwrap();
            let mut songs = SongSet::default();
            songs.insert(&tracks[row], known.get(&ids[row]).copied(), None);
            let is_again = |i: &usize| {
                *i != row && songs.contains(&tracks[*i], known.get(&ids[*i]).copied(), None)
            };
            (0..titles.len())
                .filter(is_again)
                .map(|i| titles[i])
                .collect()
        };
        assert_eq!(
            again(&library, 0),
            ["Hurt (Live)", "Hurt (Demo)", "Hurt (Take 2)"]
        );
        assert_eq!(
            again(&library, 1),
            ["Hurt", "Hurt (Demo)", "Hurt (Take 2)", "Other"],
            "one ISRC"
        );
        // The demo is another song, a track with another title is this song; the second take was added later.
        let as_ids =
            |pairs: &[(usize, usize)]| pairs.iter().map(|&(a, b)| (ids[a], ids[b])).collect();
        library
            .derived_mut()
            .remember_songs(&as_ids(&[(0, 0), (1, 0), (2, 2), (3, 0), (4, 2)]))
            .unwrap();
        library
            .derived_mut()
            .remember_songs(&as_ids(&[(0, 0), (1, 0), (2, 2), (3, 0)]))
            .unwrap();
        assert_eq!(
            again(&library, 0),
            ["Hurt (Live)", "Wounded, at last", "Hurt (Take 2)"]
        );
        assert_eq!(again(&library, 2), ["Hurt (Take 2)"]);
        assert_eq!(again(&library, 4), ["Hurt", "Hurt (Live)", "Hurt (Demo)"]);
        library.remove_tracks(&ids[..1]).unwrap();
        assert_eq!(library.derived().known_songs(&ids).unwrap().len(), 3);
        library
            .derived_mut()
            .remember_songs(&as_ids(&[(0, 0), (3, 3)]))
            .unwrap();
        assert_eq!(
            library.derived().known_songs(&ids).unwrap(),
            HashMap::from([(ids[3], ids[3])]),
            "a track that is gone is left out"
        );
    }

    #[test]
    fn sound_decides_between_like_titles() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let titles = [
            "Falling",
            "Falling (Wembley)",
            "Falling（ライブ）",
            "I. Allegro",
            "I. Allegro",
            "Falling Live at Wembley",
            "Falling BBC Session",
        ];
        for (seed, title) in (0..).zip(titles) {
            let mut new = track(seed, vec![1.0, 0.0], 0);
            new.tags.artist = Some("Alpha".into());
            new.tags.title = Some(title.into());
            new.tags.mbid = None;
            new.tags.isrc = None;
            library.insert_track(&new).unwrap();
        }
        let tracks = library.tracks().unwrap();
        let sound = |cosine: f32| vec![cosine, (1.0 - cosine * cosine).sqrt()];
        let is_again = |first: usize, second: usize, cosine: f32| {
            let mut songs = SongSet::default();
            songs.insert(&tracks[first], None, Some(&sound(1.0)));
            songs.contains(&tracks[second], None, Some(&sound(cosine)))
        };
        assert!(is_again(0, 1, 0.87) && is_again(2, 0, 0.87));
        assert!(!is_again(0, 1, 0.8), "another recording under such a title");
        assert!(
            is_again(1, 2, 0.95) && !is_again(1, 2, 0.87),
            "two versions"
        );
        assert!(!is_again(3, 4, 0.99), "a title that many pieces have");
        for (one, other) in [(0, 5), (5, 0)] {
            let is_heard = is_again(one, other, 0.87) && !is_again(one, other, 0.8);
            assert!(is_heard, "words of a version without a mark: {one} {other}");
        }
        assert!(is_again(0, 6, 0.95) && !is_again(6, 0, 0.87));
    }
}
