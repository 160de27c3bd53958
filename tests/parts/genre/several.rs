//! Tracks of several genres, as tags have them: sets whose truth is known.

use voisin_genre::{FitOptions, Genre, Kinship, kinship, suspects};

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
    let kin = kinship(&made.set()).unwrap();
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
        assert!((other.votes - 1.0).abs() < 1e-9 && other.centroid < 1e-6);
    }
    assert!(distance(&kin, "Classical", "Rock") > 0.5 && distance(&kin, "Baroque", "Techno") > 0.5);
    assert!((distance(&kin, "Classical", "Rock") - distance(&kin, "Baroque", "Rock")).abs() < 1e-6);
}

#[test]
fn a_genre_is_nearest_to_the_one_that_all_its_tracks_have() {
    let made = collection(24, 22);
    let kin = kinship(&made.set()).unwrap();
    let bebop = kin.of(&Genre::plain("Bebop")).unwrap();
    assert_eq!(bebop.nearest[0].genre.name(), "Jazz");
    assert!(
        bebop.nearest[0].distance < 0.7 * bebop.nearest[1].distance,
        "{:?}",
        bebop.nearest
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
