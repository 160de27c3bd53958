//! How the library's genres lie to each other.

use std::collections::HashMap;

use super::{Engine, EngineError};
use crate::genre::{Genre, Kinship, KinshipOptions, Spellings, Taxonomy, TrainingSet, kinship};
use crate::library::fold;

impl Engine {
    /// Measures how near the genres of the library lie, by the vectors of their tracks.
    ///
    /// Tracks of one artist never count as each other's neighbours.
    pub fn kinship(&self, taxonomy: &Taxonomy, options: &KinshipOptions) -> Result<Kinship, EngineError> {
        let vectors = self.library.vectors()?;
        let rows: HashMap<_, _> = vectors.ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
        let mut labels: Vec<Vec<Genre>> = vec![Vec::new(); rows.len()];
        let mut groups = vec![0; rows.len()];
        let mut artists: HashMap<String, usize> = HashMap::new();
        self.library.for_each_track(|track| {
            if let Some(&row) = rows.get(&track.id) {
                labels[row] = taxonomy.parse(&track.tags.genres);
                // A track whose artist nobody knows is an artist of its own.
                let artist = track.tags.artist.or(track.tags.album_artist);
                let key = artist.map_or_else(|| format!("\0{}", track.id), |artist| fold(&artist));
                let next = artists.len();
                groups[row] = *artists.entry(key).or_insert(next);
            }
            Ok(())
        })?;
        if labels.iter().all(Vec::is_empty) {
            return Err(EngineError::NoLabels);
        }
        // One spelling per genre: the commonest.
        let spellings = Spellings::count(labels.iter().flatten()).genres();
        for genre in labels.iter_mut().flatten() {
            if let Some(commonest) = spellings.iter().find(|other| *other == genre) {
                *genre = commonest.clone();
            }
        }
        let set = TrainingSet {
            ids: &vectors.ids,
            vectors: vectors.values.view(),
            labels: &labels,
            groups: &groups,
            windows: None,
        };
        Ok(kinship(&set, options)?)
    }
}
