//! Which tracks are recordings of one song, as far as that is known without listening.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Library, Result, Track};
use voisin_base::track::TrackId;

impl Library {
    /// Which songs these tracks are recordings of, of those that were compared for it: equal ids, one song.
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

    /// Keeps which song each of these tracks is a recording of, in place of all that was known. It goes with the track.
    #[doc(hidden)]
    pub fn remember_songs(&mut self, songs: &BTreeMap<TrackId, TrackId>) -> Result<()> {
        self.write(|tx| {
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
    /// Of the recording: MBID or ISRC.
    Code(String),
    /// The song's number, of a track that was compared with others.
    Compared(TrackId),
    /// [`Track::song`].
    Title(String),
    /// The same, of a track that was not compared.
    TitleAlone(String),
}

/// Songs that a list has already. Two tracks are of one song if they have one MBID or ISRC; or if
/// both were compared with others for it, when they were found to be; and else if artist and title
/// agree.
#[derive(Debug, Clone, Default)]
pub struct SongSet(HashSet<SongName>);

impl SongSet {
    /// Adds the song that a track is a recording of.
    ///
    /// - `song`: its entry in [`Library::known_songs`]
    pub fn insert(&mut self, track: &Track, song: Option<TrackId>) {
        let title = track.song();
        self.0.extend(codes(track));
        self.0.extend(song.map(SongName::Compared));
        self.0.extend(title.clone().map(SongName::Title));
        self.0
            .extend(title.filter(|_| song.is_none()).map(SongName::TitleAlone));
    }

    /// Whether a track is a recording of one of these songs.
    ///
    /// - `song`: its entry in [`Library::known_songs`]
    pub fn contains(&self, track: &Track, song: Option<TrackId>) -> bool {
        let has = |name: SongName| self.0.contains(&name);
        let title = track.song().map(if song.is_some() {
            SongName::TitleAlone
        } else {
            SongName::Title
        });
        codes(track).any(has)
            || song.map(SongName::Compared).is_some_and(has)
            || title.is_some_and(has)
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
            let known = library.known_songs(&ids).unwrap();
            let mut songs = SongSet::default();
            songs.insert(&tracks[row], known.get(&ids[row]).copied());
            let is_again =
                |i: &usize| *i != row && songs.contains(&tracks[*i], known.get(&ids[*i]).copied());
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
        // The demo is of another song, and one with a title of its own is of this one; the second take came later.
        let as_ids =
            |pairs: &[(usize, usize)]| pairs.iter().map(|&(a, b)| (ids[a], ids[b])).collect();
        library
            .remember_songs(&as_ids(&[(0, 0), (1, 0), (2, 2), (3, 0), (4, 2)]))
            .unwrap();
        library
            .remember_songs(&as_ids(&[(0, 0), (1, 0), (2, 2), (3, 0)]))
            .unwrap();
        assert_eq!(
            again(&library, 0),
            ["Hurt (Live)", "Wounded, at last", "Hurt (Take 2)"]
        );
        assert_eq!(again(&library, 2), ["Hurt (Take 2)"]);
        assert_eq!(again(&library, 4), ["Hurt", "Hurt (Live)", "Hurt (Demo)"]);
        library.remove_tracks(&ids[..1]).unwrap();
        assert_eq!(library.known_songs(&ids).unwrap().len(), 3);
        library.remember_songs(&as_ids(&[(0, 0), (3, 3)])).unwrap();
        assert_eq!(
            library.known_songs(&ids).unwrap(),
            HashMap::from([(ids[3], ids[3])]),
            "a track that is gone is left out"
        );
    }
}
