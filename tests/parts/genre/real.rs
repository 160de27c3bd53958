//! The engine on real genres; skipped, with a message, where the development data is missing.

use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_genre::metrics;
use voisin_genre::{FitOptions, Genre, kinship, suspects};

use crate::genre::data::{GENRES, Taggrams};

#[test]
fn real_genres_lie_by_their_kin() {
    let Some(data) = Taggrams::load("train") else {
        return;
    };
    let ids = data.ids();
    let kin = kinship(&data.set(&ids, &data.labels())).unwrap();
    for (genre, nearest) in [
        ("metal", "rock"),
        ("blues", "country"),
        ("classical", "jazz"),
    ] {
        assert_eq!(
            kin.of(&Genre::plain(genre)).unwrap().nearest[0]
                .genre
                .name(),
            nearest
        );
    }
}

/// Floors of the figures in BENCHMARKS.md ("GTZAN"), on the held-out part, which must not be used to choose anything.
#[test]
fn the_test_part_keeps_its_figures() {
    for is_grouped in [true, false] {
        let (Some(train), Some(test)) = (Taggrams::load("train"), Taggrams::load("test")) else {
            return;
        };
        let train = if is_grouped { train } else { train.ungrouped() };
        let quality = train.fit().quality().clone();
        // Head and vote together are no worse than the head alone, and calibrated.
        assert!(
            quality.accuracy >= quality.head_accuracy - 0.02,
            "{quality:?}"
        );
        assert!(quality.calibration_error <= 0.06, "{quality:?}");
        let answers = train.answer(&test);
        let is_right = |(answer, class): (&voisin_genre::GenrePrediction, &usize)| {
            answer.best.name() == GENRES[*class]
        };
        let n = test.classes.len() as f64;
        let right = answers.iter().zip(&test.classes).map(is_right);
        let share = right.filter(|right| *right).count() as f64 / n;
        let unknown = answers.iter().filter(|answer| answer.unknown.is_some());
        let unknown = unknown.count() as f64 / n;
        let metal: Vec<usize> = (0..test.classes.len())
            .filter(|&row| test.classes[row] == 6)
            .collect();
        let metal = test.subset(&metal);
        let to_rock = train
            .without(6)
            .answer(&metal)
            .iter()
            .filter(|answer| answer.best.name() == "rock")
            .count();
        println!(
            "groups known: {is_grouped}: {:.1} % right, {:.1} % unknown; metal, left out, goes to rock: {to_rock} of {}",
            100.0 * share,
            100.0 * unknown,
            metal.classes.len()
        );
        assert!(share >= 0.79 && unknown <= 0.14, "{share} {unknown}");
        assert!(to_rock * 100 >= 95 * metal.classes.len(), "{to_rock}");
    }
}

#[test]
fn real_labels_flipped_are_found() {
    let Some(data) = Taggrams::load("train") else {
        return;
    };
    let n = data.classes.len();
    let mut areas = 0.0;
    for seed in 0..5 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut changed = Taggrams::load("train").unwrap();
        let mut flipped = vec![false; n];
        while flipped.iter().filter(|f| **f).count() < n * 5 / 100 {
            let i = rng.random_range(0..n);
            if !std::mem::replace(&mut flipped[i], true) {
                changed.classes[i] = (data.classes[i] + rng.random_range(1..10)) % 10;
            }
        }
        let ids = changed.ids();
        let found = suspects(
            &changed.set(&ids, &changed.labels()),
            &FitOptions::default(),
        )
        .unwrap();
        let scores: Vec<f64> = found.iter().map(|s| f64::from(s.score)).collect();
        let truth: Vec<bool> = found.iter().map(|s| flipped[s.row]).collect();
        areas += metrics::auc(&scores, &truth).unwrap() / 5.0;
    }
    println!("5 % of labels flipped, mean of five seeds: AUC {areas:.3}");
    assert!(areas > 0.95);
}
