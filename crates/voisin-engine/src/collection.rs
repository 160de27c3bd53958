//! A library as exploring sees it: vectors, neighbours and what is known of each track, in one row order.

use std::collections::HashMap;

use ndarray::{Array2, s};

use super::search::stacked;
use super::{Engine, EngineError, LibrarySpace, Seed};
use voisin_base::track::TrackId;
use voisin_encoder::Parts;
use voisin_explore::{KnnGraph, TrackMeta, WindowSet};
use voisin_index::SearchParams;
use voisin_learn::genre::{Genre, Spellings, Taxonomy};
use voisin_library::{Library, Track, TrackSet};

/// All tracks of a library that have a vector.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Who they are; ascending.
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, in the library's space, unit rows.
    pub vectors: Array2<f32>,
    /// Tags and file facts, in the same order.
    pub meta: Vec<TrackMeta>,
    /// Genres as the library's label source has them, in the same order; each spelt as most tracks of the library spell it.
    pub genres: Vec<Vec<Genre>>,
    /// How genres are read: what comes with voisin, and the library's own synonyms.
    pub taxonomy: Taxonomy,
    /// The space that the vectors are in.
    space: LibrarySpace,
    /// Rows in front that are no tracks of the library, see [`Collection::take_in`].
    guests: usize,
}

impl Collection {
    /// The row of a track.
    pub fn row(&self, track: TrackId) -> Option<usize> {
        self.ids.binary_search(&track).ok()
    }

    /// The rows of the tracks of a set.
    pub fn rows_of(&self, tracks: &TrackSet) -> Vec<usize> {
        (0..self.ids.len()).filter(|&row| tracks.contains(self.ids[row])).collect()
    }

    /// The row of a seed: a track of the library, or one that was [taken in](Self::take_in).
    pub fn row_of(&self, seed: &Seed) -> Result<usize, EngineError> {
        let guest = || self.meta[..self.guests].iter().position(|guest| guest.system_path() == seed.path);
        seed.track
            .map_or_else(guest, |track| self.row(track))
            .ok_or_else(|| EngineError::NotInLibrary { path: seed.path.clone() })
    }

    /// Takes in the seeds that are not in the library as rows in front of all others, with ids below 1, so that lists
    /// and walks may begin and end with them. Nothing of it is stored.
    pub fn take_in<'a>(&mut self, seeds: impl IntoIterator<Item = &'a Seed>) -> Result<(), EngineError> {
        let mut guests: Vec<&Seed> = Vec::new();
        for seed in seeds {
            if seed.track.is_none() && guests.iter().all(|guest| guest.path != seed.path) {
                guests.push(seed);
            }
        }
        if guests.is_empty() || self.guests > 0 {
            return Ok(());
        }
        let n = guests.len();
        let front = self.space.centre_rows(stacked(&guests, self.vectors.ncols())?);
        let mut vectors = Array2::zeros((n + self.vectors.nrows(), self.vectors.ncols()));
        vectors.slice_mut(s![..n, ..]).assign(&front);
        vectors.slice_mut(s![n.., ..]).assign(&self.vectors);
        self.vectors = vectors;
        let ids = (0..n).map(|i| TrackId(i as i64 + 1 - n as i64));
        let meta = ids.clone().zip(&guests).map(|(id, seed)| guest(id, &seed.path));
        self.meta.splice(..0, meta);
        self.genres.splice(..0, std::iter::repeat_n(Vec::new(), n));
        self.ids.splice(..0, ids);
        self.guests = n;
        Ok(())
    }
}

impl Engine {
    /// Reads everything that exploring needs.
    pub fn collection(&self) -> Result<Collection, EngineError> {
        let taxonomy = self.taxonomy()?;
        let _snapshot = self.library().snapshot()?;
        let vectors = self.library().vectors()?;
        if vectors.ids.is_empty() {
            return Err(EngineError::EmptyLibrary { dir: self.library().dir().to_owned() });
        }
        let mut known = HashMap::with_capacity(vectors.ids.len());
        self.for_each_labelled(&self.label_source(), |track, genres| {
            known.insert(track.id, (meta(&track, &taxonomy), genres));
            Ok(())
        })?;
        let unknown = |id: TrackId| (TrackMeta::new(id, String::new()), Vec::new());
        let (mut meta, mut genres): (Vec<TrackMeta>, Vec<Vec<Genre>>) =
            vectors.ids.iter().map(|id| known.remove(id).unwrap_or_else(|| unknown(*id))).unzip();
        // One spelling for all: legends and clusters count genres by name.
        let spelt = Spellings::count(genres.iter().flatten()).genres();
        for (track, genres) in meta.iter_mut().zip(&mut genres) {
            for genre in &mut *genres {
                if let Ok(at) = spelt.binary_search(genre) {
                    *genre = spelt[at].clone();
                }
            }
            track.genres = genres.iter().map(ToString::to_string).collect();
        }
        let space = LibrarySpace::of(self.library(), &vectors)?;
        let (ids, vectors) = (vectors.ids, space.centre_rows(vectors.values));
        Ok(Collection { ids, vectors, meta, genres, taxonomy, space, guests: 0 })
    }

    /// The `k` nearest other tracks of every track; exact for small libraries, by the index for large ones.
    pub fn knn_graph(&mut self, collection: &Collection, k: usize) -> Result<KnnGraph, EngineError> {
        const EXACT_UP_TO: usize = 10_000;
        let n = collection.ids.len();
        if n <= EXACT_UP_TO {
            return Ok(KnnGraph::exact(collection.vectors.view(), k)?);
        }
        let index = self.index()?;
        let lists = index.knn_graph(k, &SearchParams::default())?;
        let guests = collection.guests;
        let same = index.tracks() == collection.ids[guests..] && self.space == collection.space;
        if !same || lists.iter().any(|list| list.len() < k) {
            // Another process changed the library meanwhile.
            return Ok(KnnGraph::exact(collection.vectors.view(), k)?);
        }
        let mut graph =
            KnnGraph { k, neighbours: Array2::zeros((n, k)), similarities: Array2::zeros((n, k)) };
        for (row, list) in lists.iter().enumerate() {
            for (column, neighbor) in list.iter().enumerate() {
                let other = collection.row(neighbor.track).unwrap_or_default();
                graph.neighbours[[guests + row, column]] = other as u32;
                graph.similarities[[guests + row, column]] = neighbor.similarity;
            }
        }
        for row in 0..guests {
            let similarities = collection.vectors.dot(&collection.vectors.row(row));
            let mut others: Vec<usize> = (0..n).filter(|&other| other != row).collect();
            others.sort_by(|&a, &b| similarities[b].total_cmp(&similarities[a]).then(a.cmp(&b)));
            for (column, &other) in others.iter().take(k).enumerate() {
                graph.neighbours[[row, column]] = other as u32;
                graph.similarities[[row, column]] = similarities[other];
            }
        }
        Ok(graph)
    }
}

/// What is known of a file that is not in the library.
fn guest(id: TrackId, path: &std::path::Path) -> TrackMeta {
    let tags = voisin_audio::tags::read_tags(path).unwrap_or_default();
    TrackMeta {
        title: tags.title.unwrap_or_default(),
        artist: tags.artist,
        album: tags.album,
        ..TrackMeta::of_file(id, path)
    }
}

/// The window vectors of a track, as aligning wants them.
///
/// - `parts`: of the library's model, see [`Engine::parts`]
pub fn window_set(library: &Library, parts: &Parts, track: TrackId) -> Option<WindowSet> {
    let windows = library.windows(track).ok().flatten()?;
    Some(balanced(parts, &windows.starts, windows.vectors.mapv(f32::from)))
}

/// Windows as the encoder gave them, as aligning wants them.
pub(super) fn balanced(parts: &Parts, starts: &[f32], mut windows: Array2<f32>) -> WindowSet {
    for mut row in windows.rows_mut() {
        row.as_slice_mut().into_iter().for_each(|row| parts.balance(row));
    }
    WindowSet::new(starts, &windows)
}

/// What playlists and pictures show of a track.
pub fn meta(track: &Track, taxonomy: &Taxonomy) -> TrackMeta {
    let genres = taxonomy.parse(&track.tags.genres).iter().map(ToString::to_string).collect();
    TrackMeta {
        title: track.tags.title.clone().unwrap_or_default(),
        artist: track.main_artist().map(str::to_owned),
        album: track.tags.album.clone(),
        album_artist: track.tags.album_artist.clone(),
        genres,
        year: track.tags.year,
        seconds: track.audio.seconds,
        bytes: track.files.first().map_or(0, |file| file.record.size),
        codec: track.audio.codec.clone(),
        sample_rate: track.audio.sample_rate,
        channels: track.audio.channels,
        decoded_share: 1.0 - track.audio.damaged_packets as f64 / track.audio.packets.max(1) as f64,
        ..TrackMeta::of_file(track.id, &track.path)
    }
}
