//! A copy of a database's library on this disk that is kept up to date, for a server: queries are
//! answered from this disk, and ids are short.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::push::{BATCH, fixed_mean, gone, labelled, restore_settings};
use super::server::WantedVectors;
use super::{BackendError, Postgres, Result, TrackStore as _};
use voisin_base::track::TrackId;
use voisin_library::{Library, OpenMode};

/// Setting of a copy: its source and its progress.
const COPIED: &str = "copied";

/// The state of the database that a copy has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    identity: String,
    fingerprint: String,
    generation: u64,
    /// Digest of the library's settings, which have no generation.
    settings: String,
    /// The last track that was copied, by the database's id; `None`: all were.
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
    /// - `dir`: a folder that is empty or has an earlier copy, which the first [`follow`](Self::follow) continues
    pub fn open(store: Postgres, dir: &Path) -> Result<Self> {
        let mut library = Library::open(dir, OpenMode::Create)?;
        let seen: Option<Seen> = library
            .settings()
            .setting(COPIED)?
            .and_then(|text| serde_json::from_str(&text).ok());
        // A library that is not a copy would lose its tracks.
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

    /// Brings the copy up to date in batches; if nothing has changed, it reads one row. Returns
    /// whether anything had changed. An interrupted update continues where it stopped.
    ///
    /// - `progress`: receives the tracks copied so far and the tracks to copy
    pub fn follow(
        &mut self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<bool> {
        // Read first, so that later changes are seen as new the next time.
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
        // Before the tracks: their labels depend on the label source in the settings.
        restore_settings(&mut self.store, &mut self.library, true)?;
        self.store.read_mean()?;
        self.library
            .derived_mut()
            .set_mean(&fixed_mean(&self.store))?;
        // After a change of settings labels may have another meaning.
        let before = self.seen.clone().filter(|seen| {
            (&seen.identity, &seen.settings) == (&now.identity, &now.settings)
                && seen.generation <= now.generation
        });
        // After a change of database, or a restore from a backup, removals are not known.
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
            // Tracks are copied in ascending order of ids, so all ids above this one are still
            // missing from the first copy; below it only changes are.
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
            // By content: of two recordings that share a short id, one has another id here.
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
            // Two tracks that swapped their paths block each other.
            if self.take(ids)? > 0 {
                again.extend_from_slice(ids);
            }
            done += ids.len() as u64;
            // The position is stored only during a full copy: amid changes it does not show which tracks are missing.
            if before.as_ref().is_none_or(|seen| seen.after.is_some()) && again.is_empty() {
                let after = ids.last().map(|id| id.0);
                self.note(Seen {
                    after,
                    ..now.clone()
                })?;
            }
        }
        // Again, now that the other tracks have left their old paths.
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

    /// Stores tracks in place of their former state, under the ids that they have here. Returns how
    /// many found their paths occupied.
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
                // A change of settings sends all tracks again, most of them unchanged.
                if self.library.transfer().record(id, true)?.as_ref() == Some(&record) {
                    continue;
                }
                known.push(id);
                labels.push((content, record.facts.label.clone()));
            } else if !self.library.contains(Postgres::short_id(there))? {
                // Of two recordings that share a short id, the second gets another id.
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
