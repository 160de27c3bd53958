//! Tracks of several genres, as tags have them: sets whose truth is known.

use voisin_genre::{FitOptions, Genre, Kinship, KinshipOptions, kinship, suspects};
use voisin_lab::genre::{EvalOptions, evaluate_genre};

use crate::genre::data::{Blobs, blobs};

/// Bebop, jazz that is no bebop, rock and pop, by class; every bebop track is jazz as well, and half of the rock is also
/// alternative.
fn collection(per_class: usize, seed: u64) -> Blobs {
    let mut made = blobs(4, per_class, 10, 0.5, seed);
    for (i, labels) in made.labels.iter_mut().enumerate() {
        let names: &[&str] = match made.classes[i] {
            0 => &["Jazz", "Bebop"],
            1 => &["Jazz"],
            2 if i % 8 < 4 => &["Rock", "Alternative"],
            2 => &["Rock"],
            _ => &["Pop"],
        };
        *labels = names.iter().map(|name| Genre::plain(name)).collect();
    }
    made
}

fn distance(kin: &Kinship, a: &str, b: &str) -> f64 {
    let place = |name: &str| {
        kin.genres
            .iter()
            .position(|g| g.genre.name() == name)
            .unwrap()
    };
    kin.distance[place(a)][place(b)]
}

#[test]
fn genres_of_the_same_tracks_are_at_distance_zero() {
    let mut made = blobs(3, 24, 10, 0.6, 21);
    let same = ["Ambient", "Downtempo", "Lounge", "Trance"];
    for (i, labels) in made.labels.iter_mut().enumerate() {
        let names: &[&str] = match (made.classes[i], i) {
            (_, 1) => &same,
            (0, _) => &["Classical", "Baroque"],
            (1, _) => &["Techno"],
            _ => &["Rock"],
        };
        *labels = names.iter().map(|name| Genre::plain(name)).collect();
    }
    let kin = kinship(&made.set(), &KinshipOptions::default()).unwrap();
    for (a, b) in [
        ("Classical", "Baroque"),
        ("Ambient", "Downtempo"),
        ("Lounge", "Trance"),
    ] {
        assert!(
            distance(&kin, a, b) < 1e-6,
            "{a} and {b}: {}",
            distance(&kin, a, b)
        );
        let genre = kin.of(&Genre::plain(a)).unwrap();
        let other = genre.nearest.iter().find(|k| k.genre.name() == b).unwrap();
        assert!(
            (other.votes - 1.0).abs() < 1e-9 && other.neighbourhood == 0.0 && other.centroid < 1e-6
        );
    }
    assert!(distance(&kin, "Classical", "Rock") > 0.5 && distance(&kin, "Baroque", "Techno") > 0.5);
    assert!((distance(&kin, "Classical", "Rock") - distance(&kin, "Baroque", "Rock")).abs() < 1e-6);
}

#[test]
fn a_genre_is_nearest_to_the_one_that_all_its_tracks_have() {
    let made = collection(24, 22);
    let kin = kinship(&made.set(), &KinshipOptions::default()).unwrap();
    let bebop = kin.of(&Genre::plain("Bebop")).unwrap();
    assert_eq!(bebop.nearest[0].genre.name(), "Jazz");
    assert!(
        bebop.nearest[0].distance < 0.7 * bebop.nearest[1].distance,
        "{:?}",
        bebop.nearest
    );
}

#[test]
fn an_evaluation_counts_a_track_in_each_of_its_genres() {
    let made = collection(24, 25);
    let options = EvalOptions {
        repeats: 1,
        rivals: false,
        ..EvalOptions::default()
    };
    let report = evaluate_genre(&made.set(), &options).unwrap();
    assert!(
        report.methods[0].accuracy.mean > 0.9,
        "{:?}",
        report.methods[0]
    );
    let figures = &report.figures;
    let measures_of = |name: &str| {
        figures
            .per_class
            .iter()
            .find(|c| c.name == name)
            .unwrap()
            .measures
    };
    let tracks: Vec<usize> = ["Jazz", "Bebop", "Rock", "Alternative", "Pop"]
        .map(|name| measures_of(name).support)
        .into();
    assert_eq!(tracks, [48, 24, 24, 12, 24]);
    assert_eq!(figures.tracks, 96);
    // a hit in one of a track's genres is a hit in each
    assert!(
        measures_of("Bebop").recall > 0.9 && measures_of("Alternative").recall > 0.9,
        "{:?}",
        figures.per_class
    );
    assert!(
        report.methods[0].balanced_accuracy.mean > 0.9,
        "{:?}",
        report.methods[0]
    );
}

#[test]
fn suspects_consider_all_labels_of_a_track() {
    let train = collection(40, 23);
    let found = suspects(&train.set(), &FitOptions::default()).unwrap();
    // jazz that is bebop is none
    assert!(
        found
            .iter()
            .filter(|s| s.confident && train.classes[s.row] == 0)
            .count()
            <= 1
    );
}
