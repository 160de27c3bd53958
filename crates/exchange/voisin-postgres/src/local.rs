//! The library on this disk as a store of tracks.

use super::{Effort, Result, StoredTrack, TrackStore};
use voisin_base::track::ContentId;
use voisin_engine::{Engine, LibrarySpace};
use voisin_index::{Neighbor, SearchMode};
use voisin_library::{Changes, TrackFilter};

impl TrackStore for Engine {
    fn space(&mut self) -> Result<LibrarySpace> {
        Ok(Engine::space(self)?.clone())
    }

    fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        effort: Effort,
    ) -> Result<Vec<Neighbor>> {
        let mode = if effort == Effort::Exact {
            SearchMode::Exact
        } else {
            SearchMode::Auto
        };
        Ok(self.nearest_to(query, limit, filter, mode)?)
    }

    fn upsert(&mut self, tracks: &[StoredTrack]) -> Result<()> {
        let mut new = Vec::new();
        for StoredTrack { record, .. } in tracks {
            let content = &record.facts.audio.content;
            // A known recording keeps its id and its labels; only the fields in the record are replaced.
            if let Some(track) = self.library().files().find_by_content(content)? {
                self.library_mut()
                    .replace_vectors(track, &record.vector, &record.windows)?;
                for file in &record.facts.files {
                    self.library_mut()
                        .files_mut()
                        .attach_file(track, &file.record, &file.tags)?;
                }
                if let Some(measured) = &record.facts.descriptors {
                    self.library_mut()
                        .derived_mut()
                        .set_descriptors(track, measured)?;
                }
            } else {
                new.push((None, record.clone()));
            }
        }
        self.library_mut().transfer_mut().take_in(&new)?;
        Ok(())
    }

    fn remove(&mut self, contents: &[ContentId]) -> Result<u64> {
        let found = contents
            .iter()
            .filter_map(|content| self.library().files().find_by_content(content).transpose());
        let found = found.collect::<Result<Vec<_>, _>>()?;
        Ok(self.library_mut().remove_tracks(&found)?.tracks)
    }

    fn changes(&mut self, since: u64) -> Result<Option<Changes>> {
        Ok(self.library().changes().changes_since(since)?)
    }
}
