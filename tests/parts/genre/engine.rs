//! The engine on synthetic vectors.

use ndarray::{Array2, Axis};
use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_base::track::TrackId;
use voisin_genre::{
    FitOptions, Genre, GenreError, GenreModel, PredictOptions, Provenance, UnknownReason, kin,
    suspects, votes_for,
};

use crate::genre::data::{Blobs, answers, blobs};

fn provenance(train: &Blobs) -> Provenance {
    Provenance::new(
        "abc",
        "tags",
        &FitOptions::default(),
        &train.ids,
        &train.labels,
    )
}

#[test]
fn a_fit_answers_with_evidence_and_repeats_exactly() {
    let train = blobs(6, 30, 12, 0.7, 1);
    let test = blobs(6, 10, 12, 0.7, 2);
    let fit = || {
        GenreModel::fit(&train.set(), &FitOptions::default())
            .unwrap()
            .0
    };
    let model = fit();
    assert_eq!(model.tracks(), 180);
    assert!(model.quality().accuracy > 0.9, "{:?}", model.quality());
    let found = answers(&model, &train.set(), &test.vectors);
    let right = found
        .iter()
        .zip(&test.labels)
        .filter(|(a, l)| l.contains(&a.best))
        .count();
    assert!(right >= 54, "{right} of 60");
    let votes = votes_for(&train.set(), test.vectors.view()).unwrap();
    for (answer, votes) in found.iter().zip(&votes) {
        assert!((answer.probabilities.iter().map(|s| s.share).sum::<f32>() - 1.0).abs() < 1e-4);
        let unknown = answer.unknown == Some(UnknownReason::Novel);
        assert!(unknown || (answer.probability - answer.probabilities[0].share).abs() < 1e-6);
        assert_eq!(votes.voters.len(), 20);
        assert!(
            votes
                .voters
                .is_sorted_by(|a, b| a.similarity >= b.similarity)
        );
    }
    // The same on one thread, to the byte of its file.
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let again = one.install(fit);
    assert_eq!(answers(&again, &train.set(), &test.vectors), found);
    let folder = tempfile::tempdir().unwrap();
    let files = [&model, &again].map(|model| {
        let path = folder.path().join("genre.safetensors");
        model.save(&path, &provenance(&train)).unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(files[0] == files[1]);
}

/// Labels with little signal: a model remembers the rows that it was trained on better than it predicts.
#[test]
fn training_tracks_are_predicted_by_folds_without_their_artist() {
    let train = blobs(4, 20, 40, 5.0, 31);
    let (model, held_out) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let votes = votes_for(&train.set(), train.vectors.view()).unwrap();
    let right_with = |ids: &[Option<TrackId>]| {
        let options = PredictOptions::default();
        let found = model
            .predict(train.vectors.view(), ids, &votes, &options)
            .unwrap();
        let own = found.iter().zip(&train.labels);
        assert!(found.iter().all(|a| a.held_out == ids[0].is_some()));
        // The head alone, since the votes here are with the tracks themselves.
        own.filter(|(a, labels)| labels.contains(&a.head[0].genre))
            .count()
    };
    let ids: Vec<Option<TrackId>> = train.ids.iter().copied().map(Some).collect();
    let held = right_with(&ids);
    let expected = (0..80).filter(|&row| {
        let p = held_out.head.row(row);
        (0..4).all(|class| p[class] <= p[held_out.classes[row][0]])
    });
    assert_eq!(held, expected.count());
    let remembered = right_with(&vec![None; 80]);
    assert!(remembered > held + 8, "{remembered} and {held} of 80");
}

#[test]
fn strangers_are_unknown_and_precision_is_kept() {
    // enough tracks that chance changes a precision by only a point or two
    let train = blobs(5, 120, 10, 1.6, 4);
    let test = blobs(5, 300, 10, 1.6, 5);
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let known = blobs(3, 60, 64, 0.8, 6);
    let (distant, _) = GenreModel::fit(&known.set(), &FitOptions::default()).unwrap();
    let fourth: Vec<usize> = (3..80).step_by(4).collect();
    let strangers = blobs(4, 20, 64, 0.8, 9).vectors.select(Axis(0), &fourth);
    for answer in answers(&distant, &known.set(), &strangers) {
        assert_eq!(answer.unknown, Some(UnknownReason::Novel));
        assert!(kin(&answer.probabilities).count() > 0 && answer.familiar < 0.05);
    }
    let options = PredictOptions {
        precision: Some(0.9),
        ..PredictOptions::default()
    };
    let votes = votes_for(&train.set(), test.vectors.view()).unwrap();
    let given: Vec<bool> = model
        .predict(test.vectors.view(), &vec![None; 1500], &votes, &options)
        .unwrap()
        .iter()
        .zip(&test.labels)
        .filter(|(answer, _)| answer.unknown.is_none())
        .map(|(answer, labels)| labels.contains(&answer.best))
        .collect();
    let precision = given.iter().filter(|r| **r).count() as f64 / given.len() as f64;
    assert!(
        model.quality().calibration_error <= 0.06,
        "{:?}",
        model.quality()
    );
    assert!(
        given.len() > 300 && precision > 0.87,
        "{precision} of {}",
        given.len()
    );
    assert!(model.threshold(0.9) >= model.threshold(0.5));
}

#[test]
fn small_genres_are_left_to_the_neighbours() {
    let mut train = blobs(4, 30, 8, 0.4, 6);
    // genre 3 keeps four tracks; a third of genre 0 is genre 1 too
    for (i, labels) in train.labels.iter_mut().enumerate() {
        if train.classes[i] == 3 && i / 4 >= 4 {
            labels.clear();
        } else if train.classes[i] == 0 && i % 3 == 0 {
            labels.push(Genre::plain("genre 01"));
        }
    }
    let (model, oof) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let without: Vec<String> = model
        .genres_without_head()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(without, ["genre 03"]);
    assert_eq!(oof.rows.len(), model.tracks());
    assert!(model.quality().accuracy > 0.9);
    let test = blobs(4, 10, 8, 0.4, 7);
    let found = answers(&model, &train.set(), &test.vectors);
    let small = found.iter().zip(&test.classes).filter(|(_, c)| **c == 3);
    assert!(
        small
            .clone()
            .filter(|(a, _)| a.best.name() == "genre 03")
            .count()
            >= 8
    );
}

#[test]
fn nonsense_is_refused() {
    let train = blobs(3, 12, 4, 0.5, 8);
    let mut set = train.set();
    let short = &train.groups[1..];
    set.groups = short;
    assert!(matches!(
        GenreModel::fit(&set, &FitOptions::default()),
        Err(GenreError::Rows { what: "groups", .. })
    ));
    let mut broken = train.vectors.clone();
    broken[[5, 1]] = f32::NAN;
    let mut set = train.set();
    set.vectors = broken.view();
    assert!(matches!(
        GenreModel::fit(&set, &FitOptions::default()),
        Err(GenreError::NotFinite { row: 5, .. })
    ));
    let none = vec![Vec::new(); 36];
    let mut set = train.set();
    set.labels = &none;
    assert!(matches!(
        GenreModel::fit(&set, &FitOptions::default()),
        Err(GenreError::TooFew(found)) if found.tracks == 0
    ));
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let wrong = Array2::<f32>::zeros((2, 5));
    let error = model
        .predict(wrong.view(), &[None; 2], &[], &PredictOptions::default())
        .unwrap_err();
    assert!(
        matches!(
            error,
            GenreError::Dimension {
                expected: 4,
                found: 5,
                ..
            }
        ),
        "{error}"
    );
    let nothing = Array2::<f32>::zeros((0, 4));
    assert!(answers(&model, &train.set(), &nothing).is_empty());
}

#[test]
fn a_saved_model_answers_the_same_and_damage_is_noticed() {
    let train = blobs(4, 20, 6, 0.8, 9);
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genre.safetensors");
    let provenance = provenance(&train);
    model.save(&path, &provenance).unwrap();
    let (loaded, origin) = GenreModel::load(&path, "abc").unwrap();
    assert_eq!(origin, provenance);
    assert_eq!(
        answers(&model, &train.set(), &train.vectors),
        answers(&loaded, &train.set(), &train.vectors)
    );
    let kept = model.quality();
    let read = loaded.quality();
    assert!((kept.accuracy - read.accuracy).abs() < 1e-12 && kept.tracks == read.tracks);
    assert!((kept.calibration_error - read.calibration_error).abs() < 1e-12);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = GenreModel::load(&path, "other").unwrap_err();
    assert!(error.to_string().ends_with("\"voisin train\" trains one"));
    let error = error.to_string();
    assert!(error.contains("abc") && error.contains("other"), "{error}");

    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(
            matches!(
                GenreModel::load(&path, "abc"),
                Err(GenreError::Model { .. })
            ),
            "cut at {cut}"
        );
    }
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..300 {
        let mut flipped = bytes.clone();
        let at = rng.random_range(0..flipped.len());
        flipped[at] ^= 1 << rng.random_range(0..8);
        std::fs::write(&path, &flipped).unwrap();
        // the checksum covers the header too
        let read = GenreModel::load(&path, "abc");
        assert!(
            matches!(read, Err(GenreError::Model { .. })),
            "bit flipped in byte {at} of {}",
            bytes.len()
        );
    }
    let mut flipped = bytes.clone();
    let last = flipped.len() - 2;
    flipped[last] ^= 0x10;
    std::fs::write(&path, &flipped).unwrap();
    assert!(
        GenreModel::load(&path, "abc")
            .unwrap_err()
            .to_string()
            .contains("checksum")
    );
}

#[test]
fn a_genre_of_one_artist_is_not_contradicted() {
    // genre 2 is all by one artist: a fold without that artist has no row of the genre
    let mut train = blobs(3, 30, 10, 0.5, 15);
    for (i, group) in train.groups.iter_mut().enumerate() {
        if train.classes[i] == 2 {
            *group = 999;
        }
    }
    let found = suspects(&train.set(), &FitOptions::default()).unwrap();
    let lone: Vec<_> = found.iter().filter(|s| train.classes[s.row] == 2).collect();
    assert_eq!(lone.len(), 30);
    assert!(
        lone.iter().any(|s| s.score > 0.0),
        "the predictions do contradict it"
    );
    assert!(lone.iter().all(|s| !s.confident));
}
