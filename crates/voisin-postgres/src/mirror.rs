//! A copy of a database's library on this disk that follows it, for a process that answers for long: its answers come at the
//! speed of this disk, and its ids are short.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::push::{BATCH, fixed_mean, gone, labelled, restore_settings};
use super::{BackendError, Postgres, Result, TrackStore as _};
use voisin_base::track::TrackId;
use voisin_library::{Library, OpenMode};

/// What a copy is of: equal ones are copies of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    identity: String,
    fingerprint: String,
    generation: u64,
    /// Of the library's settings, which have no generation.
    settings: String,
}

/// A copy that follows a database.
pub struct Mirror {
    store: Postgres,
    library: Library,
    seen: Option<Seen>,
}

impl Mirror {
    /// - `dir`: an empty folder, where the copy comes into being with the first [`follow`](Self::follow)
    pub fn open(store: Postgres, dir: &Path) -> Result<Self> {
        let mut library = Library::open(dir, OpenMode::Create)?;
        library.set_model(store.model())?;
        Ok(Self { store, library, seen: None })
    }

    /// Brings the copy up to date, some tracks at a time; asks for one row where nothing has changed. Returns whether
    /// something had.
    pub fn follow(&mut self, stop: &AtomicBool) -> Result<bool> {
        let now = self.now()?;
        if self.seen.as_ref() == Some(&now) {
            return Ok(false);
        }
        if now.fingerprint != self.store.model().fingerprint {
            let (held, offered) = (self.store.model().clone(), now.fingerprint);
            return Err(BackendError::OtherModel {
                place: self.store.place().to_string(),
                held: "another one".to_owned(),
                held_fingerprint: offered,
                offered: held.name,
                offered_fingerprint: held.fingerprint,
            });
        }
        restore_settings(&mut self.store, &mut self.library, true)?;
        self.store.read_mean()?;
        self.library.set_mean(&fixed_mean(&self.store))?;
        let same = self.seen.as_ref().filter(|seen| seen.identity == now.identity);
        if same.is_none() {
            let all = self.library.track_ids()?;
            self.library.remove_tracks(&all)?;
        }
        // Labels may mean others after a change of settings.
        let since = same.filter(|seen| seen.settings == now.settings).map_or(0, |seen| seen.generation);
        let since = if since > now.generation { 0 } else { since };
        let Some(changes) = self.store.changes(since)? else { return Ok(false) };
        let mut removed = Vec::new();
        for content in gone(&mut self.store, since)? {
            removed.extend(self.library.find_by_content(&content)?);
        }
        self.library.remove_tracks(&removed)?;
        let mut again = Vec::new();
        for ids in changes.added.chunks(BATCH) {
            if stop.load(Ordering::Relaxed) {
                return Err(BackendError::Interrupted);
            }
            // Two tracks that changed places wait for each other.
            if self.take(ids)? > 0 {
                again.extend_from_slice(ids);
            }
        }
        for ids in again.chunks(BATCH) {
            self.take(ids)?;
        }
        self.seen = Some(now);
        Ok(true)
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
            })
        })
    }

    /// Puts tracks in the place of what is known of them, under the ids that they have here. Returns how many found their
    /// paths taken.
    fn take(&mut self, ids: &[TrackId]) -> Result<u64> {
        let (fetched, _) = self.store.fetch(ids, true)?;
        let mut records = Vec::with_capacity(fetched.len());
        let mut labels = Vec::new();
        let mut known = Vec::new();
        for (_, record, genres) in fetched {
            let record = labelled(&self.library, record, &genres)?;
            let content = record.facts.audio.content;
            let id = self.library.find_by_content(&content)?;
            if let Some(id) = id {
                if self.library.record(id, true)?.as_ref() == Some(&record) {
                    continue;
                }
                known.push(id);
                labels.push((content, record.facts.label.clone()));
            }
            records.push((id, record));
        }
        self.library.remove_tracks(&known)?;
        for (content, label) in labels {
            self.library.set_labels(&[content], label.as_deref())?;
        }
        Ok(self.library.take_in(&records)?.conflicts)
    }
}
