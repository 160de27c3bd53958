//! A stored summary of a large library's labels, with which the classification of a few tracks reads only the labels near
//! them.
//!
//! Frequencies of genres and the familiarity of labelled tracks may lag behind the library by
//! [`RENEWAL_SHARE`]; the labels that vote are always current.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::labels::{LabelSource, LabelledTracks, Labeller, TrackDisplay, artist_group, spell};
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_genre::{Familiarity, Genre, LabelCount, MeasuredFamiliarity, Priors, Taxonomy};
use voisin_library::{LabelTotals, OpenMode};

/// Tracks from which the summary is stored; in smaller libraries all labels are read quickly.
const KEPT_FROM: u64 = if cfg!(test) { 200 } else { 5000 };
/// Share of tracks added, removed or relabelled from which the summary is computed again.
const RENEWAL_SHARE: f64 = 0.05;
/// Least share of labelled tracks; with fewer, too many tracks would be read until enough of them vote.
const LABELLED_FROM: f64 = 0.05;

/// A summary of the labels in tags and of manual labels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptLabels {
    /// The space of the neighbours.
    space: String,
    /// The library's generation, and its number of tracks then.
    generation: u64,
    tracks: u64,
    totals: LabelTotals,
    /// Length and time of the user's synonyms.
    synonyms: Option<(u64, SystemTime)>,
    count: LabelCount,
    /// Names in their most common spelling with their keys, ascending by key.
    genres: Vec<(String, String)>,
    /// Sets of genres, as positions in `genres`, and the number of tracks with each set.
    sets: Vec<(Vec<usize>, usize)>,
    familiarity: MeasuredFamiliarity,
    /// The artist group of each reference track.
    groups: Vec<String>,
}

impl KeptLabels {
    /// Whether the contents are consistent, as after no damage.
    fn is_whole(&self) -> bool {
        // Strictly ascending, since spellings are looked up by binary search.
        let in_order = self.genres.is_sorted_by(|a, b| a.1 < b.1);
        let known = |set: &[usize]| !set.is_empty() && set.iter().all(|&at| at < self.genres.len());
        in_order
            && self.sets.iter().all(|(set, _)| known(set))
            && self.groups.len() == self.familiarity.reference.len()
    }

    fn is_current(&self, now: &Self) -> bool {
        // Generations count changes of vectors, totals those of labels.
        let changes = self.generation.abs_diff(now.generation) + self.totals.changes(&now.totals);
        self.space == now.space
            && self.synonyms == now.synonyms
            && (changes == 0 || (changes as f64) < RENEWAL_SHARE * self.tracks as f64)
    }
}

/// Labels that are read only for tracks that vote.
pub(super) struct NearLabels {
    pub(super) count: LabelCount,
    pub(super) priors: Priors,
    /// `None` after it was taken.
    pub(super) familiarity: Option<Box<Familiarity>>,
    pub(super) dimension: usize,
    taxonomy: Taxonomy,
    source: LabelSource,
    genres: Vec<Genre>,
    /// Group numbers of the reference tracks, by artist.
    groups: HashMap<String, usize>,
}

impl NearLabels {
    fn new(engine: &Engine, kept: KeptLabels) -> Result<Self, EngineError> {
        let parts = |names: Vec<(String, String)>| -> Vec<Genre> {
            names
                .into_iter()
                .map(|(name, key)| Genre::from_parts(name, key))
                .collect()
        };
        let genres = parts(kept.genres);
        let named = kept
            .sets
            .iter()
            .map(|(set, count)| (set.iter().map(|&at| &genres[at]), *count));
        let priors = Priors::of_sets(named);
        let dimension = engine.model()?.dimension;
        let mut groups: HashMap<String, usize> = HashMap::new();
        let mut values = Vec::new();
        let mut of_reference = Vec::new();
        // Tracks that were removed meanwhile are left out of the reference.
        for (&track, group) in kept.familiarity.reference.iter().zip(kept.groups) {
            if let Some(vector) = engine
                .library()
                .vector(track)?
                .filter(|vector| vector.len() == dimension)
            {
                let next = groups.len();
                values.extend(vector);
                of_reference.push(*groups.entry(group).or_insert(next));
            }
        }
        let vectors = Array2::from_shape_fn((of_reference.len(), dimension), |(row, at)| {
            values[row * dimension + at]
        });
        let familiarity = Some(Box::new(Familiarity::restore(
            kept.familiarity,
            vectors,
            of_reference,
        )));
        let taxonomy = engine.genres().taxonomy()?;
        let source = LabelSource::Tags;
        let count = kept.count;
        Ok(Self {
            count,
            priors,
            familiarity,
            dimension,
            taxonomy,
            source,
            genres,
            groups,
        })
    }
}

/// A voter's facts about a track.
pub(super) struct Ballot<'a> {
    pub(super) genres: &'a [Genre],
    pub(super) group: usize,
    pub(super) display: &'a TrackDisplay,
}

/// Labels of the tracks that were read so far.
pub(super) struct MetTracks<'a> {
    near: &'a NearLabels,
    labeller: Labeller<'a>,
    groups: HashMap<String, usize>,
    met: HashMap<TrackId, (Vec<Genre>, usize, TrackDisplay)>,
}

impl<'a> MetTracks<'a> {
    pub(super) fn new(engine: &Engine, near: &'a NearLabels) -> Result<Self, EngineError> {
        let labeller = Labeller::new(&near.taxonomy, &near.source, engine.library())?;
        Ok(Self {
            near,
            labeller,
            groups: HashMap::new(),
            met: HashMap::new(),
        })
    }

    pub(super) fn read(
        &mut self,
        engine: &Engine,
        tracks: impl Iterator<Item = TrackId>,
    ) -> Result<(), EngineError> {
        let new: Vec<TrackId> = tracks
            .filter(|track| !self.met.contains_key(track))
            .collect();
        for track in engine.library().tracks_by_id(&new)? {
            let mut genres = self.labeller.genres(&track);
            spell(&self.near.genres, genres.iter_mut());
            let group = artist_group(&track);
            let next = self.near.groups.len() + self.groups.len();
            // Group numbers continue those of the reference, so that an artist has the same number in
            // both.
            let known = self.near.groups.get(&group).copied();
            let group = known.unwrap_or_else(|| *self.groups.entry(group).or_insert(next));
            self.met
                .insert(track.id, (genres, group, TrackDisplay::of(&track)));
        }
        Ok(())
    }

    pub(super) fn ballot(&self, track: TrackId) -> Option<Ballot<'_>> {
        let (genres, group, display) = self.met.get(&track)?;
        Some(Ballot {
            genres,
            group: *group,
            display,
        })
    }
}

impl Engine {
    /// The stored summary; `None` if there is none, or too much has changed.
    pub(super) fn near_labels(&mut self) -> Result<Option<NearLabels>, EngineError> {
        if self.library.status()?.vectors < KEPT_FROM {
            return Ok(None);
        }
        // The space first, since that updates the index, whose stamp is compared below.
        self.space()?;
        let text = self.library.setting(&self.name_of_kept()?)?;
        let kept = text.and_then(|text| serde_json::from_str::<KeptLabels>(&text).ok());
        let now = self.labels_now()?;
        let kept = kept.filter(|kept| kept.is_whole() && kept.is_current(&now));
        kept.map(|kept| NearLabels::new(self, kept)).transpose()
    }

    fn name_of_kept(&self) -> Result<String, EngineError> {
        let fingerprint = &self.model()?.fingerprint;
        Ok(format!("labels.{fingerprint}"))
    }

    /// The current state of the library, without computed values.
    fn labels_now(&self) -> Result<KeptLabels, EngineError> {
        let status = self.library.status()?;
        Ok(KeptLabels {
            space: self.stamp.model_fingerprint.clone(),
            generation: status.generation,
            tracks: status.vectors,
            totals: self.library.label_totals()?,
            synonyms: self.synonyms_state(),
            count: LabelCount::default(),
            genres: Vec::new(),
            sets: Vec::new(),
            familiarity: MeasuredFamiliarity::default(),
            groups: Vec::new(),
        })
    }

    /// Stores the summary of the labels, if the library is large enough.
    pub(super) fn keep_labels(
        &mut self,
        tracks: &LabelledTracks,
        count: LabelCount,
        familiarity: &Familiarity,
    ) -> Result<(), EngineError> {
        let all = tracks.ids.len();
        if self.library.mode() == OpenMode::ReadOnly
            || (all as u64) < KEPT_FROM
            || (count.tracks as f64) < LABELLED_FROM * all as f64
        {
            return Ok(());
        }
        let now = self.labels_now()?;
        if now.tracks != all as u64 {
            // Another process has changed the library meanwhile.
            return Ok(());
        }
        let genres: BTreeSet<&Genre> = tracks.labels.iter().flatten().collect();
        let genres: Vec<&Genre> = genres.into_iter().collect();
        // Tracks with the same set of genres are counted together, which suffices for priors.
        let mut sets: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for labels in tracks.labels.iter().filter(|labels| !labels.is_empty()) {
            let labels: BTreeSet<usize> = labels
                .iter()
                .filter_map(|genre| genres.binary_search(&genre).ok())
                .collect();
            *sets.entry(labels.into_iter().collect()).or_default() += 1;
        }
        let measured = familiarity.measured().clone();
        let reference = self.library.tracks_by_id(&measured.reference)?;
        let parts = |genre: &Genre| (genre.name().to_owned(), genre.key().to_owned());
        let kept = KeptLabels {
            count,
            genres: genres.into_iter().map(parts).collect(),
            sets: sets.into_iter().collect(),
            familiarity: measured,
            groups: reference.iter().map(artist_group).collect(),
            ..now
        };
        // If it cannot be stored, it is computed again next time.
        let text = serde_json::to_string(&kept).unwrap_or_default();
        let name = self.name_of_kept()?;
        self.library.set_setting(&name, Some(&text)).ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::vote::Voters;
    use super::*;
    use crate::{ClassifyOptions, GenreAnswer, Labelled, Seed};
    use voisin_base::random::Random;
    use voisin_base::vector::make_unit;
    use voisin_library::testing::{library, track};
    use voisin_library::{Library, NewTrack};

    const TRACKS: u64 = 300;
    const GENRES: [&[&str]; 4] = [&["Rock"], &["jazz"], &["Jazz", "Bebop"], &["Ambient"]];

    /// A track near the direction of its genre; two thirds are labelled, each artist has two tracks.
    fn new(seed: u64) -> NewTrack {
        let mut rng = Random::new(seed);
        let mut vector: Vec<f32> = (0..16).map(|_| 0.5 * (rng.f32() - 0.5)).collect();
        vector[seed as usize % 4] += 1.0;
        make_unit(&mut vector);
        let mut new = track(seed, vector);
        new.tags.artist = (!seed.is_multiple_of(7)).then(|| format!("Artist {}", seed / 2));
        if !seed.is_multiple_of(3) {
            new.tags.genres = GENRES[seed as usize % 4]
                .iter()
                .map(|&name| name.to_owned())
                .collect();
        }
        new
    }

    fn made(dir: &Path) {
        let mut library = library(dir, 16);
        for seed in 0..TRACKS {
            library.insert_track(&new(seed)).unwrap();
        }
    }

    /// Whether the summary was used, and the results for some tracks and for a file outside the library.
    fn classified(dir: &Path) -> (bool, Vec<GenreAnswer>) {
        let mut engine = Engine::open(dir, OpenMode::ReadWrite).unwrap();
        let labelled = Labelled::open(&mut engine, &ClassifyOptions::default(), |_| ())
            .unwrap()
            .unwrap();
        let mut seeds = labelled.seeds(&engine).unwrap();
        seeds.truncate(40);
        seeds.push(Seed {
            path: "x.wav".into(),
            ..Seed::of_vector(new(TRACKS + 5).vector)
        });
        let is_near = matches!(labelled.voters(), Voters::Near(_));
        (is_near, labelled.classify(&mut engine, seeds).unwrap())
    }

    fn voters_of(answer: &GenreAnswer) -> &[crate::Evidence] {
        match &answer.finding {
            crate::Finding::Vote { evidence, .. } => evidence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn classification_with_the_summary_gives_the_same_results() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        let (first, whole) = classified(dir.path());
        let (second, near) = classified(dir.path());
        assert!(!first && second);
        assert_eq!(format!("{whole:?}"), format!("{near:?}"));
        let shares: BTreeSet<u32> = near
            .iter()
            .filter_map(|answer| answer.familiar)
            .map(|share| (1000.0 * share) as u32)
            .collect();
        assert!(
            shares.len() > 10,
            "tracks have different familiarity: {shares:?}"
        );
        assert!(near.iter().all(|answer| voters_of(answer).len() == 15));
    }

    #[test]
    fn a_label_votes_at_once_and_many_changes_renew_the_summary() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        let (_, before) = classified(dir.path());
        let voter = &voters_of(&before[1])[0];
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let content = library.tracks_by_id(&[voter.track]).unwrap()[0]
            .audio
            .content;
        library.set_labels(&[content], Some("Zeuhl")).unwrap();
        let (is_near, after) = classified(dir.path());
        assert!(is_near);
        assert_eq!(voters_of(&after[1])[0].genres, [Genre::plain("Zeuhl")]);

        // One change in twenty tracks renews the summary.
        let contents: Vec<_> = (20..40).map(|seed| new(seed).audio.content).collect();
        library.set_labels(&contents, Some("Zeuhl")).unwrap();
        let (is_near, whole) = classified(dir.path());
        let (again, near) = classified(dir.path());
        assert!(!is_near && again);
        assert_eq!(format!("{whole:?}"), format!("{near:?}"));
    }

    #[test]
    fn a_damaged_summary_is_computed_again() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        classified(dir.path());
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let name = format!("labels.{}", library.model().unwrap().unwrap().fingerprint);
        let text = library.setting(&name).unwrap().unwrap();
        let kept: KeptLabels = serde_json::from_str(&text).unwrap();
        let at = kept.genres.len();
        for damaged in [
            text[..text.len() / 2].to_owned(),
            serde_json::to_string(&KeptLabels {
                sets: vec![(vec![at], 3)],
                ..kept
            })
            .unwrap(),
        ] {
            library.set_setting(&name, Some(&damaged)).unwrap();
            assert!(!classified(dir.path()).0);
            assert!(classified(dir.path()).0, "it was computed again and stored");
        }
    }

    #[test]
    fn a_library_with_few_labels_has_no_summary() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 16);
        for seed in 0..TRACKS {
            let mut new = new(seed);
            if seed > 12 {
                new.tags.genres.clear();
            }
            library.insert_track(&new).unwrap();
        }
        drop(library);
        classified(dir.path());
        assert!(!classified(dir.path()).0);
    }
}
