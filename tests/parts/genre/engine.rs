//! The engine on synthetic vectors.

use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use voisin_base::track::TrackId;
use voisin_genre::{
    FitOptions, Genre, GenreError, GenreModel, GenrePrediction, PredictOptions, Provenance,
    QueryVectors, UnknownReason, Voter, suspects,
};

use crate::genre::data::blobs;

#[test]
fn a_fit_answers_with_evidence_and_repeats_exactly() {
    let train = blobs(6, 30, 12, 0.7, 1);
    let test = blobs(6, 10, 12, 0.7, 2);
    let (model, oof) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    assert_eq!(oof.rows.len(), 180);
    assert!(model.quality().accuracy > 0.9, "{:?}", model.quality());
    let answers = model
        .predict(
            &QueryVectors::of(test.vectors.view()),
            &PredictOptions::default(),
        )
        .unwrap();
    let right = answers
        .iter()
        .zip(&test.labels)
        .filter(|(a, l)| l.contains(&a.best))
        .count();
    assert!(right >= 54, "{right} of 60");
    for answer in &answers {
        assert!((answer.probabilities.iter().map(|s| s.share).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!((answer.votes.shares.iter().map(|s| s.share).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!((answer.probability - answer.probabilities[0].share).abs() < 1e-6);
        assert!(!answer.votes.voters.is_empty() && answer.votes.voters.len() <= 10);
        assert!(
            answer
                .votes
                .voters
                .iter()
                .all(|v| (-1.001..=1.001).contains(&v.similarity))
        );
        assert!(
            answer
                .votes
                .voters
                .is_sorted_by(|a, b| a.similarity >= b.similarity)
        );
        assert!(answer.votes.count >= answer.votes.voters.len());
    }
    let json = serde_json::to_value(&answers[0]).unwrap();
    assert_eq!(json["best"], Value::from(answers[0].best.name()));

    // the same on one thread
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let again = one.install(|| {
        GenreModel::fit(&train.set(), &FitOptions::default())
            .unwrap()
            .0
    });
    let queries = QueryVectors::of(test.vectors.view());
    assert_eq!(
        model.probabilities(&queries).unwrap().fused,
        again.probabilities(&queries).unwrap().fused
    );
    assert_eq!(model.training_digest(), again.training_digest());
}

#[test]
fn a_track_never_votes_for_itself_nor_its_artist_when_left_out() {
    let train = blobs(3, 20, 8, 0.5, 3);
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let ids: Vec<Option<TrackId>> = train.ids.iter().copied().map(Some).collect();
    let groups: Vec<Option<usize>> = train.groups.iter().copied().map(Some).collect();
    let options = PredictOptions {
        voters: 100,
        ..PredictOptions::default()
    };
    let queries = QueryVectors {
        ids: &ids,
        ..QueryVectors::of(train.vectors.view())
    };
    for (i, answer) in model
        .predict(&queries, &options)
        .unwrap()
        .iter()
        .enumerate()
    {
        assert!(answer.votes.voters.iter().all(|v| v.track != train.ids[i]));
    }
    let queries = QueryVectors {
        exclude_groups: &groups,
        ..QueryVectors::of(train.vectors.view())
    };
    for (i, answer) in model
        .predict(&queries, &options)
        .unwrap()
        .iter()
        .enumerate()
    {
        assert!(
            answer
                .votes
                .voters
                .iter()
                .all(|v| train.groups[v.track.0 as usize] != train.groups[i])
        );
    }
}

/// Labels with little signal: a model remembers the rows that it was trained on better than it predicts.
#[test]
fn training_tracks_are_predicted_by_folds_without_their_artist() {
    let train = blobs(4, 20, 40, 5.0, 31);
    let (model, held_out) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let right = |answers: &[GenrePrediction]| {
        let right = answers
            .iter()
            .zip(&train.labels)
            .filter(|(a, labels)| labels.contains(&a.best))
            .count();
        right as f64 / answers.len() as f64
    };
    let ids: Vec<Option<TrackId>> = train.ids.iter().copied().map(Some).collect();
    let known = QueryVectors {
        ids: &ids,
        ..QueryVectors::of(train.vectors.view())
    };
    let copies = QueryVectors {
        same_recording: Some(0.9999),
        ..QueryVectors::of(train.vectors.view())
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genre.safetensors");
    model
        .save(
            &path,
            &Provenance::new("abc", "tags", &train.ids, &train.labels),
        )
        .unwrap();
    let loaded = GenreModel::load(&path, "abc")
        .unwrap()
        .0
        .with_voters(&train.set())
        .unwrap();
    for (model, queries) in [
        (&model, &known),
        (&model, &copies),
        (&loaded, &known),
        (&loaded, &copies),
    ] {
        let answers = model.predict(queries, &PredictOptions::default()).unwrap();
        assert!(
            (right(&answers) - model.quality().accuracy).abs() < 1e-9,
            "{}",
            right(&answers)
        );
        for (i, answer) in answers.iter().enumerate() {
            assert!(answer.held_out && !answer.votes.voters.is_empty());
            let best = held_out.fused.row(i).iter().copied().fold(0.0, f32::max);
            assert!(
                (answer.probability - best).abs() < 1e-6,
                "{} {best}",
                answer.probability
            );
            let other = |voter: &Voter| train.groups[voter.track.0 as usize] != train.groups[i];
            assert!(answer.votes.voters.iter().all(other));
        }
    }
    // another recording, and one without an id
    let unknown = model
        .predict(
            &QueryVectors::of(train.vectors.view()),
            &PredictOptions::default(),
        )
        .unwrap();
    assert!(unknown.iter().all(|answer| !answer.held_out));
    assert!(
        right(&unknown) > model.quality().accuracy + 0.1,
        "{}",
        right(&unknown)
    );
    // tracks removed since then do not vote
    let rest: Vec<usize> = (0..80).filter(|i| i % 2 == 0).collect();
    let fewer = loaded
        .with_voters(&train.set().select(&rest).set())
        .unwrap();
    for answer in fewer.predict(&known, &PredictOptions::default()).unwrap() {
        assert!(
            answer
                .votes
                .voters
                .iter()
                .all(|voter| voter.track.0 % 2 == 0)
        );
    }
}

#[test]
fn strangers_are_unknown_and_precision_is_kept() {
    // enough tracks that chance changes a precision by only a point or two
    let train = blobs(5, 120, 10, 1.6, 4);
    let test = blobs(5, 300, 10, 1.6, 5);
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let strangers =
        Array2::from_shape_fn((20, 10), |(i, j)| if (i + j) % 2 == 0 { 9.0 } else { -9.0 });
    for answer in model
        .predict(
            &QueryVectors::of(strangers.view()),
            &PredictOptions::default(),
        )
        .unwrap()
    {
        assert_eq!(answer.unknown, Some(UnknownReason::Novel));
        assert!(answer.genre.is_none() && !answer.kin().is_empty() && answer.novelty > 0.99);
    }
    let options = PredictOptions {
        precision: Some(0.9),
        novelty: 2.0,
        ..PredictOptions::default()
    };
    let answers = model
        .predict(&QueryVectors::of(test.vectors.view()), &options)
        .unwrap();
    let given: Vec<bool> = answers
        .iter()
        .zip(&test.labels)
        .filter_map(|(a, l)| a.genre.as_ref().map(|g| l.contains(g)))
        .collect();
    let precision = given.iter().filter(|r| **r).count() as f64 / given.len() as f64;
    assert!(
        model.quality().calibration_error <= 0.05,
        "{:?}",
        model.quality()
    );
    println!(
        "precision asked 0.9, found {precision:.3} on {} of 1500",
        given.len()
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
    let answers = model
        .predict(
            &QueryVectors::of(test.vectors.view()),
            &PredictOptions::default(),
        )
        .unwrap();
    let small = answers.iter().zip(&test.classes).filter(|(_, c)| **c == 3);
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
        .predict(&QueryVectors::of(wrong.view()), &PredictOptions::default())
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
    assert!(
        model
            .predict(
                &QueryVectors::of(nothing.view()),
                &PredictOptions::default()
            )
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_saved_model_answers_the_same_and_damage_is_noticed() {
    let train = blobs(4, 20, 6, 0.8, 9);
    let (model, _) = GenreModel::fit(&train.set(), &FitOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genre.safetensors");
    let provenance = Provenance::new("abc", "tags", &train.ids, &train.labels);
    model.save(&path, &provenance).unwrap();
    let (loaded, origin) = GenreModel::load(&path, "abc").unwrap();
    assert_eq!(origin, provenance);
    let queries = QueryVectors::of(train.vectors.view());
    assert_eq!(
        model.probabilities(&queries).unwrap().fused,
        loaded.probabilities(&queries).unwrap().fused
    );
    let kept = model.quality();
    let read = loaded.quality();
    assert!((kept.accuracy - read.accuracy).abs() < 1e-12 && kept.tracks == read.tracks);
    assert!((kept.calibration_error - read.calibration_error).abs() < 1e-12);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = GenreModel::load(&path, "other").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("\"voisin train genre\" trains one")
    );
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

/// Made by voisin 0.1.0 of 21 November 2026 before its head became a plain regression: `voisin train genre` on the
/// excerpts in data/demo.
#[test]
fn a_model_of_the_first_layout_is_refitted_from_its_rows() {
    let path = std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/genre/v1.safetensors"
    ));
    let fingerprint = "d17143b97359c8903723166d804ac064";
    let (model, origin) = GenreModel::load(path, fingerprint).unwrap();
    assert!(model.is_refitted());
    assert_eq!(
        (origin.labels.as_str(), origin.fingerprint.as_str()),
        ("tags", fingerprint)
    );
    assert_eq!(origin.recipe.unwrap().min_tracks, 8);
    assert_eq!(model.tracks(), 45);
    let folder = tempfile::tempdir().unwrap();
    let renewed = folder.path().join("genre.safetensors");
    model.save(&renewed, &origin).unwrap();
    let (again, same) = GenreModel::load(&renewed, fingerprint).unwrap();
    assert!(!again.is_refitted());
    assert_eq!((again.genres(), &same), (model.genres(), &origin));
    assert_eq!(again.training_digest(), model.training_digest());
    // a layout of a later version
    let bytes = std::fs::read(&renewed).unwrap();
    let at = bytes
        .windows(12)
        .position(|w| w == br#"version\":3,"#)
        .unwrap();
    let mut newer = bytes.clone();
    newer[at + 10] = b'9';
    std::fs::write(&renewed, newer).unwrap();
    let error = GenreModel::load(&renewed, fingerprint).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("\"voisin train genre\" trains one")
    );
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn suspects_name_flipped_labels() {
    let mut train = blobs(5, 30, 10, 0.5, 10);
    let flipped: Vec<usize> = (0..8).map(|i| i * 17 + 3).collect();
    for &i in &flipped {
        train.labels[i] = vec![Genre::plain(&format!(
            "genre {:02}",
            (train.classes[i] + 1 + i % 4) % 5
        ))];
    }
    let found = suspects(&train.set(), &FitOptions::default()).unwrap();
    assert_eq!(found.len(), 150);
    let top: Vec<usize> = found.iter().take(8).map(|s| s.row).collect();
    println!(
        "of 8 flipped labels among the first 8: {}",
        flipped.iter().filter(|f| top.contains(f)).count()
    );
    assert!(
        flipped.iter().filter(|f| top.contains(f)).count() >= 7,
        "{top:?}"
    );
    let first = &found[0];
    assert!(
        first.confident && first.reason.contains(first.suggested.name()),
        "{}",
        first.reason
    );
    assert_eq!(
        first.suggested.name(),
        format!("genre {:02}", train.classes[first.row])
    );
    assert!(found.is_sorted_by(|a, b| a.score >= b.score));
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
