//! Listening history and ratings of each listener, as players report them.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use rusqlite::OptionalExtension as _;

use super::parts::HistoryTable;
use super::{Library, Result};
use voisin_base::track::TrackId;

/// An event that a player reports of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayerEvent {
    /// It was played, from this second since 1970 UTC on.
    Played(i64),
    /// It is liked or disliked; `None` takes either back.
    Liked(Option<bool>),
    /// It is rated with 1 to 5 stars; `None` takes the rating back.
    Rated(Option<u8>),
}

/// Last play and opinion of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Listened {
    /// When it was last played, in seconds since 1970 UTC.
    pub last: Option<i64>,
    /// From -1, disliked, to 1, liked; many plays alone count as a weak liking.
    pub opinion: f32,
}

/// Plays that give an unrated track the highest opinion that plays alone can give, and that
/// opinion.
// Chosen by hand. Plays count less than a like (1.0), since players also play what nobody chose; a
// like or stars replace them.
const OFTEN: f32 = 20.0;
const LIKED_BY_PLAYS: f32 = 0.5;

impl Listened {
    /// The opinion that this number of plays gives an unrated track.
    pub fn of_plays(plays: u64) -> Self {
        // Logarithmic: the second play counts more than the twentieth.
        let often = (plays as f32).ln_1p() / OFTEN.ln_1p();
        Self {
            last: None,
            opinion: LIKED_BY_PLAYS * often.min(1.0),
        }
    }
}

impl<L: DerefMut<Target = Library>> HistoryTable<L> {
    /// Stores events that a player reports; repeating one changes nothing.
    #[doc(hidden)]
    pub fn note_listening(
        &mut self,
        listener: &str,
        events: &[(TrackId, PlayerEvent)],
    ) -> Result<()> {
        self.write(|tx| {
            // The content id is read from the track's row, so an unknown or removed track inserts
            // nothing.
            let mut heard = tx.prepare_cached(
                "INSERT OR IGNORE INTO heard (content, listener, at) SELECT content, ?2, ?3 FROM audio WHERE id = ?1",
            )?;
            let mut liked = tx.prepare_cached(
                "INSERT INTO opinions (content, listener, liked) SELECT content, ?2, ?3 FROM audio WHERE id = ?1
                 ON CONFLICT (content, listener) DO UPDATE SET liked = excluded.liked",
            )?;
            let mut rated = tx.prepare_cached(
                "INSERT INTO opinions (content, listener, rating) SELECT content, ?2, ?3 FROM audio WHERE id = ?1
                 ON CONFLICT (content, listener) DO UPDATE SET rating = excluded.rating",
            )?;
            for (track, what) in events {
                match what {
                    // A player that got no response sends its plays again, hence OR IGNORE.
                    PlayerEvent::Played(at) => heard.execute((track.0, listener, at))?,
                    PlayerEvent::Liked(how) => {
                        liked.execute((track.0, listener, how.map(|likes| if likes { 1 } else { -1 })))?
                    }
                    // clamped: a value that the schema refuses would undo all events of the call
                    PlayerEvent::Rated(stars) => {
                        rated.execute((track.0, listener, stars.map(|stars| stars.clamp(1, 5))))?
                    }
                };
            }
            Ok(())
        })
    }

    /// Deletes all data of a listener; returns the number of plays and opinions deleted.
    #[doc(hidden)]
    pub fn forget_listener(&mut self, listener: &str) -> Result<u64> {
        self.write(|tx| {
            let plays = tx.execute("DELETE FROM heard WHERE listener = ?1", [listener])?;
            Ok(
                (plays + tx.execute("DELETE FROM opinions WHERE listener = ?1", [listener])?)
                    as u64,
            )
        })
    }
}

impl<L: Deref<Target = Library>> HistoryTable<L> {
    /// Last play and opinion of each of these tracks that has any; without a listener, of all
    /// together.
    #[doc(hidden)]
    pub fn listening(
        &self,
        listener: Option<&str>,
        tracks: &[TrackId],
    ) -> Result<HashMap<TrackId, Listened>> {
        let list = serde_json::json!(tracks).to_string();
        // All tracks in one statement: a mix needs hundreds.
        let sql = "SELECT a.id, max(h.at), count(*) FROM audio a JOIN heard h USING (content)
                   WHERE a.id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR h.listener = ?2) GROUP BY a.id";
        let heard: rusqlite::Result<Vec<(i64, i64, i64)>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let rows = statement.query_map((&list, listener), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
                rows.collect()
            });
        let mut all: HashMap<TrackId, Listened> = HashMap::new();
        for (track, last, plays) in self.sql(heard)? {
            all.insert(
                TrackId(track),
                Listened {
                    last: Some(last),
                    ..Listened::of_plays(plays as u64)
                },
            );
        }
        // Likes take precedence over stars, stars over plays; several listeners' opinions are
        // averaged.
        let sql = "SELECT a.id, avg(coalesce(o.liked, (o.rating - 3) / 2.0)) FROM audio a JOIN opinions o USING (content)
                   WHERE a.id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR o.listener = ?2)
                       AND (o.liked IS NOT NULL OR o.rating IS NOT NULL) GROUP BY a.id";
        let opinions: rusqlite::Result<Vec<(i64, f64)>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map((&list, listener), |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            });
        for (track, opinion) in self.sql(opinions)? {
            all.entry(TrackId(track)).or_default().opinion = opinion as f32;
        }
        Ok(all)
    }

    /// Whether a listener likes or dislikes a track explicitly; `None` for neither.
    #[doc(hidden)]
    pub fn liked(&self, listener: &str, track: TrackId) -> Result<Option<bool>> {
        let sql =
            "SELECT liked FROM opinions JOIN audio USING (content) WHERE id = ?1 AND listener = ?2";
        let opinion = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row((track.0, listener), |row| row.get(0))
                    .optional()
            });
        Ok(self
            .sql::<Option<Option<i64>>>(opinion)?
            .flatten()
            .map(|liked| liked > 0))
    }

    /// Tracks that a listener played, each once, the latest first.
    #[doc(hidden)]
    pub fn recently_played(&self, listener: &str) -> Result<Vec<TrackId>> {
        self.tracks_of(
            "SELECT a.id FROM heard h JOIN audio a USING (content) WHERE h.listener = ?1
             GROUP BY a.id ORDER BY max(h.at) DESC, a.id",
            listener,
        )
    }

    /// Tracks that a listener likes, the latest added first.
    #[doc(hidden)]
    pub fn liked_tracks(&self, listener: &str) -> Result<Vec<TrackId>> {
        self.tracks_of(
            "SELECT a.id FROM opinions o JOIN audio a USING (content) WHERE o.listener = ?1 AND o.liked > 0
             ORDER BY a.id DESC",
            listener,
        )
    }

    /// The stars of a listener's tracks, 1 to 5.
    #[doc(hidden)]
    pub fn ratings(&self, listener: &str) -> Result<Vec<(TrackId, f64)>> {
        let sql = "SELECT a.id, o.rating FROM opinions o JOIN audio a USING (content)
             WHERE o.listener = ?1 AND o.rating IS NOT NULL ORDER BY a.id";
        let found = self.connection.prepare_cached(sql).and_then(|mut select| {
            let rows = select.query_map([listener], |row| {
                Ok((TrackId(row.get(0)?), f64::from(row.get::<_, u8>(1)?)))
            })?;
            rows.collect()
        });
        self.sql(found)
    }

    /// All listeners, with the number of plays and the number of opinions of each.
    #[doc(hidden)]
    pub fn listeners(&self) -> Result<Vec<(String, u64, u64)>> {
        let sql = "SELECT listener, sum(plays), sum(opinions) FROM (
                       SELECT listener, count(*) AS plays, 0 AS opinions FROM heard GROUP BY listener
                       UNION ALL SELECT listener, 0, count(*) FROM opinions GROUP BY listener)
                   GROUP BY listener ORDER BY listener";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let one = |row: &rusqlite::Row<'_>| {
                    Ok((
                        row.get(0)?,
                        row.get::<_, i64>(1)? as u64,
                        row.get::<_, i64>(2)? as u64,
                    ))
                };
                statement.query_map([], one)?.collect()
            });
        self.sql(found)
    }
}

impl Library {
    fn tracks_of(&self, sql: &str, listener: &str) -> Result<Vec<TrackId>> {
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let ids = statement.query_map([listener], |row| Ok(TrackId(row.get(0)?)))?;
                ids.collect()
            });
        self.sql(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    #[test]
    fn plays_and_likes_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let mut add = |seed| {
            let new = track(seed, vec![1.0, 0.0], 0);
            library.insert_track(&new).unwrap()
        };
        let ids = [add(0), add(1), add(2)];
        let events = [
            (ids[0], PlayerEvent::Played(100)),
            (ids[1], PlayerEvent::Played(200)),
            (ids[0], PlayerEvent::Played(300)),
            (ids[0], PlayerEvent::Liked(Some(true))),
            (ids[1], PlayerEvent::Liked(Some(false))),
            (ids[2], PlayerEvent::Liked(Some(true))),
        ];
        library
            .history_mut()
            .note_listening("page", &events)
            .unwrap();
        let other = [(ids[1], PlayerEvent::Liked(Some(true)))];
        library
            .history_mut()
            .note_listening("other", &other)
            .unwrap();
        assert_eq!(
            library.history().recently_played("page").unwrap(),
            [ids[0], ids[1]]
        );
        assert_eq!(
            library.history().liked_tracks("page").unwrap(),
            [ids[2], ids[0]]
        );
        assert_eq!(library.history().recently_played("nobody").unwrap(), []);
    }

    #[test]
    fn listening_outlives_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let add = |library: &mut Library| -> Vec<TrackId> {
            (0..4)
                .map(|seed| {
                    library
                        .insert_track(&track(seed, vec![1.0, 0.0], 0))
                        .unwrap()
                })
                .collect()
        };
        let ids = add(&mut library);
        let events = [
            (ids[0], PlayerEvent::Played(100)),
            (ids[0], PlayerEvent::Played(100)),
            (ids[1], PlayerEvent::Played(50)),
            (ids[1], PlayerEvent::Rated(Some(1))),
            (ids[2], PlayerEvent::Rated(Some(5))),
            (ids[2], PlayerEvent::Liked(Some(false))),
        ];
        library
            .history_mut()
            .note_listening("ann", &events)
            .unwrap();
        library
            .history_mut()
            .note_listening(
                "ben",
                &[
                    (ids[2], PlayerEvent::Liked(Some(true))),
                    (ids[3], PlayerEvent::Played(9)),
                ],
            )
            .unwrap();
        assert_eq!(
            library.history().listeners().unwrap(),
            [("ann".into(), 2, 2), ("ben".into(), 1, 1)]
        );
        let ann = library.history().listening(Some("ann"), &ids).unwrap();
        assert_eq!(
            (ann[&ids[0]].last, ann[&ids[1]].last, ann.len()),
            (Some(100), Some(50), 3)
        );
        assert_eq!((ann[&ids[1]].opinion, ann[&ids[2]].opinion), (-1.0, -1.0));
        assert!((0.05..0.2).contains(&ann[&ids[0]].opinion), "{ann:?}");
        let all = library.history().listening(None, &ids).unwrap();
        assert_eq!(
            (all[&ids[2]].opinion, all[&ids[3]].last, all.len()),
            (0.0, Some(9), 4)
        );
        let liked =
            |library: &Library, listener| library.history().liked(listener, ids[2]).unwrap();
        assert_eq!(
            (liked(&library, "ann"), liked(&library, "ben")),
            (Some(false), Some(true))
        );
        assert_eq!(
            library.history().liked("ann", ids[1]).unwrap(),
            None,
            "stars alone"
        );
        library
            .history_mut()
            .note_listening("ann", &[(ids[2], PlayerEvent::Liked(None))])
            .unwrap();
        assert_eq!(liked(&library, "ann"), None);
        let ann = library.history().listening(Some("ann"), &ids[2..]).unwrap();
        assert_eq!(
            (ann[&ids[2]].opinion, ann.len()),
            (1.0, 1),
            "the stars are left"
        );
        // The same audio comes again, under another number.
        library.remove_tracks(&ids).unwrap();
        assert_eq!(
            library.history().listening(None, &ids).unwrap(),
            HashMap::new()
        );
        let again = add(&mut library);
        assert_eq!(
            library.history().listening(Some("ann"), &again).unwrap()[&again[0]].last,
            Some(100)
        );
        assert_eq!(library.history_mut().forget_listener("ann").unwrap(), 4);
        assert_eq!(
            library.history().listeners().unwrap(),
            [("ben".into(), 1, 1)]
        );
    }
}
