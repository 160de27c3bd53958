//! A library as exploring sees it: vectors, neighbours and what is known of each track, in one row order.

use std::collections::BTreeSet;

use ndarray::{Array2, aview1, s};

use super::search::stacked;
use super::{Engine, EngineError, LibrarySpace, Seed};
use voisin_base::track::TrackId;
use voisin_encoder::Parts;
use voisin_explore::{KnnGraph, TrackMeta, WindowSet};
use voisin_index::{IndexError, Neighbor, SearchMode, SearchParams};
use voisin_learn::genre::{Genre, Spellings, Taxonomy};
use voisin_library::{Library, Track, TrackSet};

/// Tracks whose neighbours are found by comparing all with all.
const EXACT_UP_TO: usize = 10_000;

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
    /// Tracks of the library, of which these may be some.
    of: usize,
    /// Rows in front that are no tracks of the library, see [`Collection::take_in`].
    guests: usize,
}

impl Collection {
    /// The row of a track.
    pub fn row(&self, track: TrackId) -> Option<usize> {
        self.ids.binary_search(&track).ok()
    }

    /// How many there are in the whole library, those taken in counted too.
    pub fn total(&self) -> usize {
        self.guests + self.of
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
        let unknown = |id: &TrackId| TrackMeta::new(*id, String::new());
        let mut facts = Vec::with_capacity(vectors.ids.len());
        let mut genres = vec![Vec::new(); vectors.ids.len()];
        // Both come ascending.
        self.for_each_labelled(&self.label_source(), |track, own| {
            if let Ok(row) = vectors.ids.binary_search(&track.id)
                && row >= facts.len()
            {
                facts.extend(vectors.ids[facts.len()..row].iter().map(unknown));
                facts.push(meta(&track, &taxonomy));
                genres[row] = own;
            }
            Ok(())
        })?;
        facts.extend(vectors.ids[facts.len()..].iter().map(unknown));
        let mut meta = facts;
        spell_alike(&mut meta, &mut genres);
        let space = LibrarySpace::of(self.library(), &vectors)?;
        let (ids, vectors) = (vectors.ids, space.centre_rows(vectors.values));
        let of = ids.len();
        Ok(Collection { ids, vectors, meta, genres, taxonomy, space, of, guests: 0 })
    }

    /// As [`collection`](Self::collection), but of the tracks alone that are nearest to each of some seeds, `most` of them
    /// where so many fit; genres are spelt as in these. For each seed, too, the similarity that no other track which fits
    /// exceeds.
    pub fn collection_near(
        &mut self,
        seeds: &[Seed],
        most: usize,
        allowed: Option<&TrackSet>,
    ) -> Result<(Collection, Vec<f32>), EngineError> {
        /// The index keeps 16 bits a component.
        const ROUNDING: f32 = 1e-3;
        let dimension = self.model()?.dimension;
        let space = self.space()?.clone();
        let queries = space.centre_rows(stacked(seeds, dimension)?);
        let found = self.with_index(|engine| {
            let all = |_, found| Ok(found);
            engine.search_until_all(queries.view(), most, SearchMode::Exact, allowed, all)
        })?;
        let last = |found: &Vec<Neighbor>| match found.last() {
            Some(last) if found.len() >= most => last.similarity + ROUNDING,
            _ => f32::NEG_INFINITY,
        };
        let least = found.iter().map(last).collect();
        let near = found.iter().flatten().map(|neighbor| neighbor.track);
        let ids: BTreeSet<TrackId> = near.chain(seeds.iter().filter_map(|seed| seed.track)).collect();
        let ids = Vec::from_iter(ids);
        let taxonomy = self.taxonomy()?;
        let _snapshot = self.library.snapshot()?;
        let tracks = self.library.tracks_by_id(&ids)?;
        let mut genres = self.genres_of(&tracks)?;
        let mut meta: Vec<TrackMeta> = tracks.iter().map(|track| meta(track, &taxonomy)).collect();
        spell_alike(&mut meta, &mut genres);
        let mut vectors = Array2::zeros((ids.len(), dimension));
        for (&id, mut row) in ids.iter().zip(vectors.rows_mut()) {
            let vector = self.vector(id)?;
            let dimensions = IndexError::Dimension { expected: dimension, actual: vector.len() };
            row.assign(&(vector.len() == dimension).then(|| aview1(&vector)).ok_or(dimensions)?);
        }
        let (vectors, of) = (space.centre_rows(vectors), self.library.status()?.vectors as usize);
        Ok((Collection { ids, vectors, meta, genres, taxonomy, space, of, guests: 0 }, least))
    }

    /// The `k` nearest other tracks of every track; exact for small libraries, by the index for large ones.
    pub fn knn_graph(&mut self, collection: &Collection, k: usize) -> Result<KnnGraph, EngineError> {
        match self.graph_of_index(collection, k)? {
            Some(graph) => Ok(graph),
            None => Ok(KnnGraph::exact(collection.vectors.view(), k)?),
        }
    }

    /// As [`knn_graph`](Self::knn_graph), for those who need no vectors afterwards: those of a large collection, which has no
    /// guests, are given up before the index is read.
    pub fn knn_graph_alone(
        &mut self,
        collection: &mut Collection,
        k: usize,
    ) -> Result<KnnGraph, EngineError> {
        if collection.ids.len() > EXACT_UP_TO {
            collection.vectors = Array2::zeros((0, collection.vectors.ncols()));
            if let Some(graph) = self.graph_of_index(collection, k)? {
                return Ok(graph);
            }
            *collection = self.collection()?;
        }
        self.knn_graph(collection, k)
    }

    /// As [`knn_graph`](Self::knn_graph), for those who need no index afterwards: the vectors of a large collection, which has
    /// no guests, are given up while the index is read, and read again when it is closed.
    pub fn knn_graph_by_turns(
        &mut self,
        collection: &mut Collection,
        k: usize,
    ) -> Result<KnnGraph, EngineError> {
        let graph = self.knn_graph_alone(collection, k)?;
        if collection.vectors.nrows() == collection.ids.len() {
            return Ok(graph);
        }
        self.index = None;
        let vectors = self.library().vectors()?;
        if vectors.ids == collection.ids && LibrarySpace::of(self.library(), &vectors)? == collection.space {
            collection.vectors = collection.space.centre_rows(vectors.values);
            return Ok(graph);
        }
        // Another process changed the library meanwhile.
        *collection = self.collection()?;
        self.knn_graph(collection, k)
    }

    /// The graph by the index; `None` for few tracks, and where the index is of others.
    fn graph_of_index(&mut self, collection: &Collection, k: usize) -> Result<Option<KnnGraph>, EngineError> {
        let n = collection.ids.len();
        if n <= EXACT_UP_TO {
            return Ok(None);
        }
        let index = self.index()?;
        let lists = index.knn_graph(k, &SearchParams::default())?;
        let guests = collection.guests;
        let same = index.tracks() == collection.ids[guests..] && self.space == collection.space;
        if !same || lists.iter().any(|list| list.len() < k) {
            // Another process changed the library meanwhile.
            return Ok(None);
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
        Ok(Some(graph))
    }
}

/// One spelling for all: legends and clusters count genres by name.
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
        composers: track.composers.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;
    use voisin_base::vector::{dot, make_unit};
    use voisin_library::TrackFilter;
    use voisin_library::testing::{library, track};

    #[test]
    fn tracks_near_to_seeds_are_those_of_the_whole_collection() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 16);
        let mut rng = Random::new(5);
        let mut unit = || {
            let mut vector: Vec<f32> = (0..16).map(|_| rng.f32() - 0.3).collect();
            make_unit(&mut vector);
            vector
        };
        for seed in 0..300 {
            let mut new = track(seed, unit(), 0);
            new.tags.year = Some(1900 + seed as i32 % 100);
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let whole = engine.collection().unwrap();
        let seeds = [engine.seed_of(whole.ids[7]).unwrap(), Seed::of_vector(unit())];
        for filter in [
            TrackFilter::default(),
            TrackFilter { year_from: Some(1900), year_to: Some(1919), ..TrackFilter::default() },
        ] {
            let allowed = engine.matching(&filter).unwrap();
            let (near, least) = engine.collection_near(&seeds, 30, allowed.as_ref()).unwrap();
            assert!((31..=61).contains(&near.ids.len()) && near.total() == 300, "{}", near.ids.len());
            for (row, &id) in near.ids.iter().enumerate() {
                let same = whole.row(id).unwrap();
                assert_eq!(near.vectors.row(row), whole.vectors.row(same));
                assert_eq!(
                    (&near.meta[row].path, near.meta[row].year),
                    (&whole.meta[same].path, whole.meta[same].year)
                );
            }
            let queries = near.space.centre_rows(stacked(&seeds, 16).unwrap());
            for (query, least) in queries.rows().into_iter().zip(least) {
                let of =
                    |row: usize| dot(query.to_slice().unwrap(), whole.vectors.row(row).to_slice().unwrap());
                let fits = |id: TrackId| allowed.as_ref().is_none_or(|allowed| allowed.contains(id));
                let others =
                    (0..300).filter(|&row| fits(whole.ids[row]) && near.row(whole.ids[row]).is_none());
                let nearest = others.map(of).fold(f32::NEG_INFINITY, f32::max);
                assert!(nearest <= least && least < 1.0, "{nearest} {least}");
            }
        }
        let few = engine.matching(&TrackFilter { year_to: Some(1900), ..TrackFilter::default() }).unwrap();
        let (_, least) = engine.collection_near(&seeds, 30, few.as_ref()).unwrap();
        assert_eq!(least, [f32::NEG_INFINITY; 2], "three fit, and all are there");
    }

    #[test]
    fn a_graph_is_the_same_where_vectors_are_given_up_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 8);
        let mut rng = Random::new(3);
        for seed in 0..=EXACT_UP_TO as u64 {
            let mut vector: Vec<f32> = (0..8).map(|_| rng.f32() - 0.5).collect();
            make_unit(&mut vector);
            library.insert_track(&track(seed, vector, 0)).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let whole = engine.collection().unwrap();
        let graph = engine.knn_graph(&whole, 5).unwrap();
        let mut collection = engine.collection().unwrap();
        let by_turns = engine.knn_graph_by_turns(&mut collection, 5).unwrap();
        assert_eq!((by_turns.neighbours, &collection.vectors), (graph.neighbours.clone(), &whole.vectors));
        let alone = engine.knn_graph_alone(&mut collection, 5).unwrap();
        assert_eq!((alone.neighbours, alone.similarities), (graph.neighbours, graph.similarities));
        assert_eq!((collection.vectors.dim(), collection.ids.len()), ((0, 8), EXACT_UP_TO + 1));

        // An index of other tracks is of no use: then all is compared with all.
        engine.library_mut().remove_tracks(&[TrackId(1)]).unwrap();
        let mut collection = whole;
        let exact = engine.knn_graph_alone(&mut collection, 5).unwrap();
        assert_eq!((exact.len(), collection.vectors.dim()), (EXACT_UP_TO, (EXACT_UP_TO, 8)));
    }
}
