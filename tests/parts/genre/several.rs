//! Tracks of several genres, as tags have them: sets whose truth is known.

use voisin_genre::{
    FitOptions, Genre, GenreModel, Kinship, KinshipOptions, PredictOptions, QueryVectors, kinship,
    suspects,
};
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
            other.low.abs() < 1e-6 && other.high.abs() < 1e-6,
            "{other:?}"
        );
        assert!(
            (other.votes - 1.0).abs() < 1e-9 && other.neighbourhood == 0.0 && other.centroid < 1e-6
        );
    }
    assert!(distance(&kin, "Classical", "Rock") > 0.5 && distance(&kin, "Baroque", "Techno") > 0.5);
    assert!((distance(&kin, "Classical", "Rock") - distance(&kin, "Baroque", "Rock")).abs() < 1e-6);
}

#[test]
fn a_genre_lies_nearer_to_the_one_that_holds_it() {
    let made = collection(24, 22);
    let kin = kinship(&made.set(), &KinshipOptions::default()).unwrap();
    let within = |name: &str| -> Vec<String> {
        let genre = kin.of(&Genre::plain(name)).unwrap();
        genre.within.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        (within("Bebop"), within("Alternative")),
        (vec!["Jazz".to_owned()], vec!["Rock".to_owned()])
    );
    assert!(
        ["Jazz", "Rock", "Pop"]
            .iter()
            .all(|name| within(name).is_empty())
    );
    let bebop = kin.of(&Genre::plain("Bebop")).unwrap();
    assert_eq!(bebop.nearest[0].genre.name(), "Jazz");
    assert!(
        bebop.nearest[0].distance < 0.7 * bebop.nearest[1].distance,
        "{:?}",
        bebop.nearest
    );
}

#[test]
fn a_trained_model_answers_with_every_genre_of_a_track() {
    let train = collection(40, 23);
    let test = collection(12, 24);
    let (model, held_out) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    assert!(
        model.quality().accuracy > 0.9 && model.quality().calibration_error < 0.1,
        "{:?}",
        model.quality()
    );
    let answers = model
        .predict(
            &QueryVectors::of(test.vectors.view()),
            &PredictOptions::default(),
        )
        .unwrap();
    let share = |list: &[voisin_genre::GenreShare], name: &str| {
        list.iter()
            .find(|s| s.genre.name() == name)
            .map_or(0.0, |s| s.share)
    };
    let mut right = [0; 4];
    for (answer, &class) in answers.iter().zip(&test.classes) {
        let genres: Vec<&str> = answer.genres.iter().map(Genre::name).collect();
        let p = |name: &str| share(&answer.probabilities, name);
        right[class] += usize::from(match class {
            0 => {
                genres == ["Jazz", "Bebop"]
                    && answer.summary().starts_with("Jazz, and Bebop within it, ")
                    && answer.probability > 0.85
                    && p("Bebop") > 0.7
                    && share(&answer.votes.shares, "Jazz") > 0.85
            }
            1 => genres == ["Jazz"] && p("Jazz") > 0.7 && p("Bebop") < 0.5,
            2 => genres[0] == "Rock" && p("Alternative") < p("Rock"),
            _ => genres == ["Pop"],
        });
        // a genre within another is never likelier than it
        assert!(
            p("Bebop") <= p("Jazz") + 1e-4 && p("Alternative") <= p("Rock") + 1e-4,
            "{answer:?}"
        );
    }
    assert!(right.iter().all(|&n| n >= 11), "{right:?}");
    // suspects consider all labels of a track: jazz that is bebop is none
    let found = suspects(&train.set(), &FitOptions::default()).unwrap();
    assert!(
        found
            .iter()
            .filter(|s| s.confident && train.classes[s.row] == 0)
            .count()
            <= 1
    );
    assert_eq!(held_out.rows.len(), 160);
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
