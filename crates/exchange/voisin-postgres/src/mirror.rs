//! A copy of a database's library on this disk that follows it, for a process that answers for long: its answers come at the
//! speed of this disk, and its ids are short.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::push::{BATCH, fixed_mean, gone, labelled, restore_settings};
use super::server::WantedVectors;
use super::{BackendError, Postgres, Result, TrackStore as _};
use voisin_base::track::TrackId;
use voisin_library::{Library, OpenMode};

/// Setting of a copy: what it is of, and how far it is.
const COPIED: &str = "copied";

/// The identity of a copy's source: equal ones are copies of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    identity: String,
    fingerprint: String,
    generation: u64,
    /// Of the library's settings, which have no generation.
    settings: String,
    /// The last track that was brought, by the database's id; `None`: all were.
    #[serde(default)]
    after: Option<i64>,
}

/// A copy that follows a database.
pub struct Mirror {
    store: Postgres,
    library: Library,
    seen: Option<Seen>,
}

impl Mirror {
    /// - `dir`: a folder that is empty or has a copy of before, which is gone on with at the first [`follow`](Self::follow)
    pub fn open(store: Postgres, dir: &Path) -> Result<Self> {
        let mut library = Library::open(dir, OpenMode::Create)?;
        let seen: Option<Seen> = library
            .settings()
            .setting(COPIED)?
            .and_then(|text| serde_json::from_str(&text).ok());
        // A library that somebody made is nobody's copy, and would lose its tracks.
        if seen.is_none() && library.status()?.tracks > 0 {
            return Err(BackendError::NoCopy {
                dir: dir.to_owned(),
            });
        }
        library.set_model(store.model())?;
        Ok(Self {
            store,
            library,
            seen,
        })
    }

    /// Brings the copy up to date, some tracks at a time; asks for one row where nothing has changed. Returns whether
    /// something had. One that was broken off goes on where it was.
    ///
    /// - `progress`: is told how many of the tracks that are to be brought are there, and how many these are
    pub fn follow(
        &mut self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<bool> {
        // Read first: what changes from here on is seen as new the next time.
        let now = self.now()?;
        if self.seen.as_ref() == Some(&now) {
            return Ok(false);
        }
        if now.fingerprint != self.store.model().fingerprint {
            let held = self.store.model().clone();
            let offered = now.fingerprint;
            return Err(BackendError::OtherModel {
                place: self.store.place().to_string(),
                held: "another one".to_owned(),
                held_fingerprint: offered,
                offered: held.name,
                offered_fingerprint: held.fingerprint,
            });
        }
        // Before tracks: their labels depend on the label source that the settings name.
        restore_settings(&mut self.store, &mut self.library, true)?;
        self.store.read_mean()?;
        self.library
            .derived_mut()
            .set_mean(&fixed_mean(&self.store))?;
        // Labels may mean others after a change of settings.
        let before = self.seen.clone().filter(|seen| {
            (&seen.identity, &seen.settings) == (&now.identity, &now.settings)
                && seen.generation <= now.generation
        });
        // Of another database, or of one that was put back from a copy of its own: nothing tells what went.
        let is_other =
            |seen: &Seen| seen.identity != now.identity || seen.generation > now.generation;
        if self.seen.as_ref().is_some_and(is_other) {
            let all = self.library.track_ids()?;
            self.library.remove_tracks(&all)?;
        }
        let since = before.as_ref().map_or(0, |seen| seen.generation);
        let Some(mut changes) = self.store.changes(since)? else {
            return Ok(false);
        };
        if let Some(after) = before.as_ref().and_then(|seen| seen.after) {
            // Of those before that place only what has changed is missing.
            // Ids are brought in ascending order, so a place says what is still missing of the
            // first copy.
            let rest = self
                .store
                .changes(0)?
                .map_or_else(Vec::new, |all| all.added);
            changes
                .added
                .extend(rest.into_iter().filter(|id| id.0 > after));
            changes.added.sort_unstable();
            changes.added.dedup();
        }
        let mut removed = Vec::new();
        for content in gone(&mut self.store, since)? {
            // By content: of two recordings that share a short id one has another number here.
            removed.extend(self.library.files().find_by_content(&content)?);
        }
        self.library.remove_tracks(&removed)?;
        let total = changes.added.len() as u64;
        let mut again = Vec::new();
        let mut done = 0;
        for ids in changes.added.chunks(BATCH) {
            progress(done, total);
            if stop.load(Ordering::Relaxed) {
                return Err(BackendError::Interrupted);
            }
            // Two tracks that changed places wait for each other.
            if self.take(ids)? > 0 {
                again.extend_from_slice(ids);
            }
            done += ids.len() as u64;
            // A place in the middle of changes says nothing of what is behind it, unless all is being brought.
            if before.as_ref().is_none_or(|seen| seen.after.is_some()) && again.is_empty() {
                let after = ids.last().map(|id| id.0);
                self.note(Seen {
                    after,
                    ..now.clone()
                })?;
            }
        }
        // Once more, now that all others have left their old paths.
        for ids in again.chunks(BATCH) {
            self.take(ids)?;
        }
        progress(total, total);
        self.note(now)?;
        Ok(true)
    }

    fn note(&mut self, seen: Seen) -> Result<()> {
        let text = serde_json::to_string(&seen).map_err(std::io::Error::other)?;
        self.library
            .settings_mut()
            .set_setting(COPIED, Some(&text))?;
        self.seen = Some(seen);
        Ok(())
    }

    fn now(&mut self) -> Result<Seen> {
        self.store.run(|tx| {
            let row = tx.query_one(
                "select identity::text, coalesce(fingerprint, ''), generation,
                 coalesce((select md5(string_agg(name || md5(value), ' ' order by name)) from voisin_setting), '')
                 from voisin_state",
                &[],
            )?;
            Ok(Seen {
                identity: row.get(0),
                fingerprint: row.get(1),
                generation: row.get::<_, i64>(2) as u64,
                settings: row.get(3),
                after: None,
            })
        })
    }

    /// Puts tracks in the place of what is known of them, under the ids that they have here. Returns how many found their
    /// paths taken.
    fn take(&mut self, ids: &[TrackId]) -> Result<u64> {
        let (fetched, _) = self.store.fetch(
            ids,
            WantedVectors {
                windows: true,
                exact: true,
            },
        )?;
        let mut records = Vec::with_capacity(fetched.len());
        let mut labels = Vec::new();
        let mut known = Vec::new();
        for (there, record, genres) in fetched {
            let record = labelled(&self.library, record, &genres)?;
            let content = record.facts.audio.content;
            let mut id = self.library.files().find_by_content(&content)?;
            if let Some(id) = id {
                // A change of settings brings all tracks again, of which most are as they were.
                if self.library.transfer().record(id, true)?.as_ref() == Some(&record) {
                    continue;
                }
                known.push(id);
                labels.push((content, record.facts.label.clone()));
            } else if !self.library.contains(Postgres::short_id(there))? {
                // Of two whose ids begin alike, one has a number of its own.
                id = Some(Postgres::short_id(there))
                    .filter(|&id| records.iter().all(|(known, _)| *known != Some(id)));
            }
            records.push((id, record));
        }
        self.library.remove_tracks(&known)?;
        for (content, label) in labels {
            self.library
                .labels_mut()
                .set_labels(&[content], label.as_deref())?;
        }
        Ok(self.library.transfer_mut().take_in(&records)?.conflicts)
    }
}
