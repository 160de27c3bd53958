//! A library as clusters, maps and playlists use it: vectors, neighbours and facts of each track, in one row order.

use std::collections::BTreeSet;

use ndarray::{Array2, aview1};

use super::seed::stacked;
use super::{Engine, EngineError, LibrarySpace, Seed};
use voisin_base::track::TrackId;
use voisin_explore::{KnnGraph, TrackMeta};
use voisin_genre::{Genre, Spellings, Taxonomy};
use voisin_index::SearchParams;
use voisin_library::{Track, TrackSet};

const EXACT_UP_TO: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphUse {
    /// Clusters, maps and votes: as exact as a search for each track.
    Exploring,
    /// Finding copies. They are so near each other that the index is searched a quarter as widely: among a million synthetic
    /// vectors this finds 0.999 of the copies with a cosine of 0.7 and 0.994 of those with one of 0.5.
    Copies,
}

#[derive(Debug, Clone)]
pub struct Collection {
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, in the library's space, unit rows.
    pub vectors: Array2<f32>,
    pub meta: Vec<TrackMeta>,
    /// Genres from the library's label source, in the same order, each in its most common spelling.
    pub genres: Vec<Vec<Genre>>,
    pub taxonomy: Taxonomy,
    space: LibrarySpace,
    pub total: usize,
}

impl Collection {
    pub fn row(&self, track: TrackId) -> Option<usize> {
        row_of(&self.ids, track)
    }

    pub fn rows_of(&self, tracks: &TrackSet) -> Vec<usize> {
        (0..self.ids.len())
            .filter(|&row| tracks.contains(self.ids[row]))
            .collect()
    }

    /// The row of a seed, which must be a track of the library.
    pub fn row_of(&self, seed: &Seed) -> Result<usize, EngineError> {
        let row = seed.track.and_then(|track| self.row(track));
        row.ok_or_else(|| EngineError::NotInLibrary {
            path: seed.path.clone(),
        })
    }
}

impl Engine {
    pub fn collection(&self) -> Result<Collection, EngineError> {
        // One state for vectors, tags and labels, even if an `add` commits meanwhile.
        let _snapshot = self.library().snapshot()?;
        let vectors = self.library().vectors()?;
        if vectors.ids.is_empty() {
            return Err(EngineError::no_tracks(self.library().dir()));
        }
        let space = LibrarySpace::of(self.library(), &vectors)?;
        let ids = vectors.ids;
        let taxonomy = self.taxonomy()?;
        let unknown = |id: &TrackId| TrackMeta::new(*id, String::new());
        let mut facts = Vec::with_capacity(ids.len());
        let mut genres = vec![Vec::new(); ids.len()];
        self.for_each_labelled(&self.label_source(), |track, genres_of_track| {
            // `row >= facts.len()` drops a repeated track, so that each row has one entry.
            if let Some(row) = row_of(&ids, track.id)
                && row >= facts.len()
            {
                facts.extend(ids[facts.len()..row].iter().map(unknown));
                facts.push(meta(&track, &taxonomy));
                genres[row] = genres_of_track;
            }
            Ok(())
        })?;
        // Tracks without facts, in the middle or at the end, still have a row.
        facts.extend(ids[facts.len()..].iter().map(unknown));
        spell_alike(&mut facts, &mut genres);
        Ok(Collection {
            vectors: space.centre_rows(vectors.values),
            total: ids.len(),
            ids,
            meta: facts,
            genres,
            taxonomy,
            space,
        })
    }

    /// As [`collection`](Self::collection), but only the `most` tracks nearest to each seed, in their own spelling of
    /// genres.
    pub fn collection_near(
        &mut self,
        seeds: &[Seed],
        most: usize,
        allowed: Option<&TrackSet>,
    ) -> Result<Collection, EngineError> {
        let dimension = self.model()?.dimension;
        let space = self.space()?.clone();
        let queries = space.centre_rows(stacked(seeds, dimension)?);
        let all = |_, found| Ok(found);
        let found = self.search_until_all(queries.view(), most, true, allowed, all)?;
        let near = found.iter().flatten().map(|neighbor| neighbor.id);
        let ids: BTreeSet<TrackId> = near
            .chain(seeds.iter().filter_map(|seed| seed.track))
            .collect();
        let ids = Vec::from_iter(ids);
        let taxonomy = self.taxonomy()?;
        let _snapshot = self.library.snapshot()?;
        let tracks = self.library.tracks_by_id(&ids)?;
        let mut genres = self.genres_of(&tracks)?;
        let mut meta: Vec<TrackMeta> = tracks.iter().map(|track| meta(track, &taxonomy)).collect();
        spell_alike(&mut meta, &mut genres);
        let mut vectors = Array2::zeros((ids.len(), dimension));
        // From the library, because the index has only 16 bits per component.
        for (&id, mut row) in ids.iter().zip(vectors.rows_mut()) {
            row.assign(&aview1(&self.vector(id)?));
        }
        Ok(Collection {
            vectors: space.centre_rows(vectors),
            total: self.library.status()?.vectors as usize,
            ids,
            meta,
            genres,
            taxonomy,
            space,
        })
    }

    /// The `k` nearest other tracks of every track: exact in small libraries, else from the index.
    pub fn knn_graph(
        &mut self,
        collection: &Collection,
        k: usize,
        to: GraphUse,
    ) -> Result<KnnGraph, EngineError> {
        if collection.ids.len() > EXACT_UP_TO {
            let same = self.index()?.ids() == collection.ids && *self.space()? == collection.space;
            // They differ if another process changed the library meanwhile.
            if same && let Some(graph) = self.graph_of_index(k, to)? {
                return Ok(graph);
            }
        }
        Ok(KnnGraph::exact(collection.vectors.view(), k)?)
    }

    /// The whole library, and the `k` nearest other tracks of each, or all if there are fewer.
    pub fn collection_and_graph(
        &mut self,
        k: usize,
        to: GraphUse,
    ) -> Result<(Collection, KnnGraph), EngineError> {
        if self.library.status()?.vectors as usize > EXACT_UP_TO {
            // First, since a new index may have another mean.
            self.index()?;
        }
        let collection = self.collection()?;
        let k = k.min(collection.ids.len() - 1);
        let graph = self.knn_graph(&collection, k, to)?;
        Ok((collection, graph))
    }

    /// The graph of the index's tracks, in their order; `None` if it does not find `k` for each.
    fn graph_of_index(&mut self, k: usize, to: GraphUse) -> Result<Option<KnnGraph>, EngineError> {
        const LEAST: usize = 8;
        let index = self.index()?;
        let fitted = index.stats().lists.filter(|_| to == GraphUse::Copies);
        let width = fitted.map(|lists| (lists / 4).max(LEAST));
        let lists = index.knn_graph(
            k,
            &SearchParams {
                width,
                ..SearchParams::default()
            },
        )?;
        let ids = index.ids();
        // The table has a fixed number of columns: for shorter lists the caller computes the graph
        // exactly.
        if lists.iter().any(|list| list.len() < k) {
            return Ok(None);
        }
        let mut graph = KnnGraph {
            k,
            neighbours: Array2::zeros((ids.len(), k)),
            similarities: Array2::zeros((ids.len(), k)),
        };
        for (row, list) in lists.iter().enumerate() {
            for (column, neighbor) in list.iter().enumerate() {
                graph.neighbours[[row, column]] =
                    row_of(&ids, neighbor.id).unwrap_or_default() as u32;
                graph.similarities[[row, column]] = neighbor.similarity;
            }
        }
        Ok(Some(graph))
    }
}

/// The position of a track in ascending ids that have few gaps.
fn row_of(ids: &[TrackId], track: TrackId) -> Option<usize> {
    // Without gaps the row is the difference to the first id, and no search is needed.
    let guess = usize::try_from(track.0 - ids.first()?.0).ok()?;
    if ids.get(guess) == Some(&track) {
        Some(guess)
    } else {
        ids.binary_search(&track).ok()
    }
}

/// Brings genres to one spelling, because legends and clusters count them by name.
fn spell_alike(meta: &mut [TrackMeta], genres: &mut [Vec<Genre>]) {
    let spelt = Spellings::count(genres.iter().flatten()).genres();
    for (track, genres) in meta.iter_mut().zip(genres) {
        for genre in &mut *genres {
            if let Ok(at) = spelt.binary_search(genre) {
                *genre = spelt[at].clone();
            }
        }
        track.genres = genres.iter().map(ToString::to_string).collect();
    }
}

pub fn meta(track: &Track, taxonomy: &Taxonomy) -> TrackMeta {
    let genres = taxonomy
        .parse(&track.tags.genres)
        .iter()
        .map(ToString::to_string)
        .collect();
    TrackMeta {
        title: track.tags.title.clone().unwrap_or_default(),
        artist: track.main_artist().map(str::to_owned),
        album: track.album().map(str::to_owned),
        album_artist: track.tags.album_artist.clone(),
        genres,
        year: track.tags.year,
        seconds: track.audio.seconds,
        bytes: track.files.first().map_or(0, |file| file.record.size),
        codec: track.audio.codec.clone(),
        sample_rate: track.audio.sample_rate,
        channels: track.audio.channels,
        damaged: track.audio.damaged_packets as f64 / track.audio.packets.max(1) as f64,
        ..TrackMeta::of_file(track.id, &track.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;
    use voisin_base::vector::make_unit;
    use voisin_library::testing::{library, track};

    #[test]
    fn the_graph_of_an_index_of_other_tracks_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 8);
        let mut rng = Random::new(3);
        for seed in 0..=EXACT_UP_TO as u64 {
            let mut vector: Vec<f32> = (0..8).map(|_| rng.f32() - 0.5).collect();
            make_unit(&mut vector);
            library.insert_track(&track(seed, vector)).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let (whole, of_index) = engine.collection_and_graph(5, GraphUse::Exploring).unwrap();
        let exact = KnnGraph::exact(whole.vectors.view(), 5).unwrap().neighbours;
        let both = of_index.neighbours.iter().zip(&exact);
        let equal = both.filter(|(found, expected)| found == expected).count();
        assert!(equal * 10 > exact.len() * 9, "{equal} of {}", exact.len());

        engine.library_mut().remove_tracks(&[TrackId(1)]).unwrap();
        let graph = engine.knn_graph(&whole, 5, GraphUse::Exploring).unwrap();
        assert_eq!(graph.neighbours, exact);
    }
}
