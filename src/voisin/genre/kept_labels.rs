//! A stored summary of a large library's labels, with which the classification of a few tracks reads only the labels of
//! tracks near them.
//!
//! Frequencies of genres and the familiarity of labelled tracks may lag behind the library by
//! [`RENEWAL_SHARE`]; the labels that vote are always current.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Engine, EngineError};
use voisin_genre::{Familiarity, Genre, LabelCount, Priors};
use voisin_library::{LabelTotals, OpenMode};

/// Tracks from which the summary is stored; in smaller libraries all labels are read quickly.
const KEPT_FROM: u64 = if cfg!(test) { 200 } else { 5000 };
/// Share of tracks added, removed or relabelled from which the summary is computed again.
const RENEWAL_SHARE: f64 = 0.05;
/// Least share of labelled tracks; with fewer, too many tracks would be read until enough of them vote.
const LABELLED_FROM: f64 = 0.05;

/// A summary of the labels in tags and of manual labels.
pub(super) struct LabelSummary {
    pub(super) count: LabelCount,
    pub(super) priors: Priors,
    pub(super) familiarity: Familiarity,
}

/// The same as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLabels {
    /// The state of the library.
    state: LabelState,
    count: LabelCount,
    /// Names in their most common spelling, their keys, and numbers of tracks.
    genres: Vec<(String, String, f64)>,
    familiarity: Familiarity,
}

#[derive(Debug, Serialize, Deserialize)]
struct LabelState {
    /// The space of the neighbours.
    space: String,
    generation: u64,
    tracks: u64,
    totals: LabelTotals,
    /// Length and time of the user's synonyms.
    synonyms: Option<(u64, SystemTime)>,
}

impl LabelState {
    fn is_current(&self, now: &Self) -> bool {
        // Generations count changes of vectors, totals those of labels.
        let changes = self.generation.abs_diff(now.generation) + self.totals.changes(&now.totals);
        self.space == now.space
            && self.synonyms == now.synonyms
            && (changes == 0 || (changes as f64) < RENEWAL_SHARE * self.tracks as f64)
    }
}

impl Engine {
    /// The stored summary; `None` if there is none, or too much has changed.
    pub(super) fn kept_labels(&mut self) -> Result<Option<LabelSummary>, EngineError> {
        if self.library.status()?.vectors < KEPT_FROM {
            return Ok(None);
        }
        // The space first, since that updates the index, whose stamp is compared below.
        self.space()?;
        let text = self.library.setting(&self.name_of_kept()?)?;
        let kept = text.and_then(|text| serde_json::from_str::<KeptLabels>(&text).ok());
        let now = self.label_state()?;
        Ok(kept.filter(|kept| kept.state.is_current(&now)).map(|kept| {
            let counts = kept.genres.into_iter();
            let counts = counts.map(|(name, key, n)| (Genre::from_parts(name, key), n));
            LabelSummary {
                priors: Priors::from_counts(counts, kept.count.tracks),
                count: kept.count,
                familiarity: kept.familiarity,
            }
        }))
    }

    fn name_of_kept(&self) -> Result<String, EngineError> {
        Ok(format!("labels.{}", self.model()?.fingerprint))
    }

    fn label_state(&self) -> Result<LabelState, EngineError> {
        let status = self.library.status()?;
        Ok(LabelState {
            space: self.stamp.model_fingerprint.clone(),
            generation: status.generation,
            tracks: status.vectors,
            totals: self.library.label_totals()?,
            synonyms: self.synonyms_state(),
        })
    }

    /// Stores the summary of the labels, if the library is large enough.
    pub(super) fn keep_labels(&mut self, summary: &LabelSummary) -> Result<(), EngineError> {
        let state = self.label_state()?;
        if self.library.mode() == OpenMode::ReadOnly
            || state.tracks < KEPT_FROM
            || (summary.count.tracks as f64) < LABELLED_FROM * state.tracks as f64
        {
            return Ok(());
        }
        let name = |(genre, n): (&Genre, f64)| (genre.name().to_owned(), genre.key().to_owned(), n);
        let kept = KeptLabels {
            state,
            count: summary.count,
            genres: summary.priors.counts().map(name).collect(),
            familiarity: summary.familiarity.clone(),
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
    use std::collections::BTreeSet;
    use std::path::Path;

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
        let is_kept = engine.kept_labels().unwrap().is_some();
        let labelled = Labelled::open(&mut engine, &ClassifyOptions::default(), |_| ())
            .unwrap()
            .unwrap();
        let mut seeds = labelled.seeds(&engine).unwrap();
        seeds.truncate(40);
        seeds.push(Seed {
            path: "x.wav".into(),
            ..Seed::of_vector(new(TRACKS + 5).vector)
        });
        (is_kept, labelled.classify(&mut engine, seeds).unwrap())
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
        assert!(near.iter().all(|answer| answer.evidence.len() == 20));
    }

    #[test]
    fn a_label_votes_at_once_and_many_changes_renew_the_summary() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        let (_, before) = classified(dir.path());
        let voter = &before[1].evidence[0];
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let content = library.tracks_by_id(&[voter.track]).unwrap()[0]
            .audio
            .content;
        library.set_labels(&[content], Some("Zeuhl")).unwrap();
        let (is_near, after) = classified(dir.path());
        assert!(is_near);
        assert_eq!(after[1].evidence[0].genres, [Genre::plain("Zeuhl")]);

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
        let damaged = &text[..text.len() / 2];
        library.set_setting(&name, Some(damaged)).unwrap();
        assert!(!classified(dir.path()).0);
        assert!(classified(dir.path()).0, "it was computed again and stored");
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
