//! Answers about the whole library, stored in its settings until something that they depend on changes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::genre::table_state;
use super::{Engine, EngineError, LabelSource};
use voisin_library::OpenMode;

impl Engine {
    /// The stored answer, if neither vectors nor tags nor labels changed since; else a new one, which is stored.
    ///
    /// - `name`: of the setting; `source`: of the labels that the answer depends on
    pub(crate) fn kept<A: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        source: &LabelSource,
        work: impl FnOnce(&mut Self) -> Result<A, EngineError>,
    ) -> Result<A, EngineError> {
        if self.library.status()?.vectors == 0 {
            return work(self);
        }
        // First, since that may change the mean, and with it the generation.
        self.space()?;
        let basis = self.basis(source)?;
        let text = self.library.setting(name)?;
        let stored = text.as_deref().and_then(|text| text.split_once('\n'));
        if let Some((_, answer)) = stored.filter(|(of, _)| *of == basis)
            // One that cannot be read is computed again.
            && let Ok(answer) = serde_json::from_str(answer)
        {
            return Ok(answer);
        }
        let answer = work(self)?;
        // Another program may have changed the library meanwhile.
        if self.library.mode() != OpenMode::ReadOnly
            && self.basis(source)? == basis
            && let Ok(text) = serde_json::to_string(&answer)
        {
            // If it cannot be stored, it is computed again next time.
            let stored = format!("{basis}\n{text}");
            self.library.set_setting(name, Some(&stored)).ok();
        }
        Ok(answer)
    }

    /// The last stored answer, whatever changed since.
    pub(crate) fn last_kept<A: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<A>, EngineError> {
        let text = self.library.setting(name)?;
        let stored = text.as_deref().and_then(|text| text.split_once('\n'));
        Ok(stored.and_then(|(_, answer)| serde_json::from_str(answer).ok()))
    }

    fn basis(&self, source: &LabelSource) -> Result<String, EngineError> {
        let table = match source {
            LabelSource::File(path) => table_state(path),
            LabelSource::Tags | LabelSource::Folder => None,
        };
        let state = (
            self.library.generation()?,
            self.library.metadata_generation()?,
            source,
            table,
            self.synonyms_state(),
        );
        Ok(format!("{state:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::questions::explore::Clusters;
    use voisin_base::track::TrackId;
    use voisin_explore::clusters::Clustering;
    use voisin_library::NewTrack;
    use voisin_library::testing::{library, track};

    /// One of two groups of twenty tracks.
    fn new(seed: u8) -> NewTrack {
        let angle = f32::from(seed % 20) * 0.01 + f32::from(seed / 20);
        let mut new = track(seed.into(), vec![angle.cos(), angle.sin()]);
        new.tags.genres = vec!["Rock".to_owned()];
        new
    }

    /// The stored clusters, if they are current.
    fn stored(engine: &mut Engine) -> Option<Clustering> {
        let source = engine.label_source();
        let none = |_: &mut Engine| Err(EngineError::no_labels());
        engine.kept("clusters", &source, none).ok()
    }

    #[test]
    fn clusters_are_read_until_labels_or_tags_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for seed in 0..40 {
            library.insert_track(&new(seed)).unwrap();
        }
        let first = Clusters::all(&mut Engine::from_library(library)).unwrap();
        assert_eq!(first.clusters.len(), 2, "{first:?}");
        let mut engine = Engine::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert_eq!(stored(&mut engine).as_ref(), Some(&first));
        let is_named = |found: &Clustering| found.clusters.iter().any(|c| c.name.contains("Zeuhl"));
        assert!(!is_named(&first));

        let contents: Vec<_> = (0..20).map(|seed| new(seed).audio.content).collect();
        let library = engine.library_mut();
        library.set_labels(&contents, Some("Zeuhl")).unwrap();
        assert_eq!(stored(&mut engine), None);
        let named = Clusters::all(&mut engine).unwrap();
        assert!(is_named(&named), "{named:?}");
        assert_eq!(stored(&mut engine).as_ref(), Some(&named));

        let mut retagged = new(30);
        retagged.tags.genres = vec!["Dub".to_owned()];
        let library = engine.library_mut();
        library
            .attach_file(TrackId(31), &retagged.file, &retagged.tags)
            .unwrap();
        assert_eq!(stored(&mut engine), None);
        assert_eq!(engine.last_kept("clusters").unwrap(), Some(named));
    }
}
