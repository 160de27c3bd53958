#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "shared with the tests")]
//! The figures of the genre engine in BENCHMARKS.md; `research/quality/genre_figures.sh` runs it:
//! `genre_figures training|test-part|speed`.

#[path = "../tests/parts/genre/cross_validation.rs"]
mod cross_validation;
#[path = "../tests/parts/genre/data.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod data;

use std::time::Instant;

use voisin_base::track::TrackId;
use voisin_genre::{FitOptions, GenreModel, PredictOptions, QueryVectors, kinship};
use voisin_learn::{grouped_folds, metrics};

use cross_validation::cross_validated;
use data::{Taggrams, argmax, blobs};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("training") => training(),
        Some("test-part") => test_part(),
        Some("speed") => speed(),
        _ => println!("usage: genre_figures training|test-part|speed"),
    }
}

/// Cross-validation on the training part only, by which choices are made.
fn training() {
    for knows_groups in [true, false] {
        let Some(data) = Taggrams::load("train") else {
            return;
        };
        println!(
            "\ngroups known: {knows_groups}\n{:?}",
            cross_validated(&data, knows_groups, 5)
        );
        let n = data.classes.len();
        let data = if knows_groups { data } else { data.ungrouped() };
        let model = data.fit();
        println!(
            "{:?}\n{:?}\nscale {:.2}",
            model.settings(),
            model.quality(),
            model.fusion().scale
        );
        let left = data.without(6).fit();
        let metal = data.subset(&(0..n).filter(|&i| data.classes[i] == 6).collect::<Vec<_>>());
        let p = left.probabilities(&metal.queries()).unwrap();
        for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
            let rock = p
                .outer_iter()
                .filter(|r| left.genres()[argmax(*r)].name() == "rock")
                .count();
            println!("metal to rock by {name}: {rock}/{}", metal.classes.len());
        }
    }
    let Some(data) = Taggrams::load("train") else {
        return;
    };
    let n = data.classes.len();
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let folds = grouped_folds(&classes, 10, &data.groups, 5, 100);
    let mut novelty = vec![Vec::new(); 10];
    for fold in 0..5 {
        let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
        let train = data.subset(&train);
        let test = data.subset(&test);
        for (out, list) in novelty.iter_mut().enumerate() {
            let p = train
                .without(out)
                .fit()
                .probabilities(&test.queries())
                .unwrap();
            list.extend(
                p.novelty
                    .iter()
                    .zip(&test.classes)
                    .map(|(v, c)| (*v, *c == out)),
            );
        }
    }
    println!(
        "novelty, mean of ten genres left out: AUROC {:.3}",
        mean_auc(&novelty)
    );
}

fn mean_auc(lists: &[Vec<(f64, bool)>]) -> f64 {
    let areas = lists.iter().map(|list| {
        let (scores, strange): (Vec<f64>, Vec<bool>) = list.iter().copied().unzip();
        metrics::auc(&scores, &strange).unwrap()
    });
    areas.sum::<f64>() / lists.len() as f64
}

/// The test part, by which no choice may be made.
fn test_part() {
    for knows_groups in [true, false] {
        let (Some(train), Some(test)) = (Taggrams::load("train"), Taggrams::load("test")) else {
            return;
        };
        println!("\ngroups known: {knows_groups}");
        let train = if knows_groups {
            train
        } else {
            train.ungrouped()
        };
        let p = train.fit().probabilities(&test.queries()).unwrap();
        let rights = |p: &ndarray::Array2<f32>| -> Vec<f64> {
            let rows = p.outer_iter().zip(&test.classes);
            rows.map(|(row, &class)| f64::from(u8::from(argmax(row) == class)))
                .collect()
        };
        for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
            let right = rights(p);
            let best = |row: usize| f64::from(p[[row, argmax(p.row(row))]]);
            let sure: Vec<(f64, bool)> = (0..right.len())
                .map(|i| (best(i), right[i] > 0.5))
                .collect();
            println!(
                "{name}: {} of {} right, {:.1} %, ECE {:.3}",
                right.iter().sum::<f64>(),
                right.len(),
                100.0 * right.iter().sum::<f64>() / right.len() as f64,
                metrics::expected_calibration_error(&sure, 10)
            );
        }
        let gains: Vec<f64> = rights(&p.fused)
            .iter()
            .zip(rights(&p.head))
            .map(|(fused, head)| fused - head)
            .collect();
        let n = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let variance = gains.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        println!(
            "fused above head by {:.2} ± {:.2} points",
            100.0 * mean,
            100.0 * (variance / n).sqrt()
        );
        let mut lists = Vec::new();
        for out in 0..10 {
            let model = train.without(out).fit();
            let p = model.probabilities(&test.queries()).unwrap();
            lists.push(
                p.novelty
                    .iter()
                    .zip(&test.classes)
                    .map(|(v, c)| (*v, *c == out))
                    .collect::<Vec<_>>(),
            );
            if out == 6 {
                for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
                    let metal = p.outer_iter().zip(&test.classes).filter(|(_, c)| **c == 6);
                    let rock = |row: ndarray::ArrayView1<f32>| {
                        model.genres()[argmax(row)].name() == "rock"
                    };
                    let called = metal.clone().filter(|(row, _)| rock(row.view())).count();
                    println!(
                        "metal left out, predicted as rock by {name}: {called} of {}",
                        metal.count()
                    );
                }
            }
        }
        println!(
            "one genre left out: AUROC of novelty {:.3}, mean of ten",
            mean_auc(&lists)
        );
    }
}

/// Ten thousand synthetic tracks.
fn speed() {
    for dimension in [200, 512] {
        let data = blobs(20, 500, dimension, 6.0, 20);
        let started = Instant::now();
        let (model, _) = GenreModel::fit(&data.set(), &FitOptions::default()).unwrap();
        println!(
            "10 000 tracks, {dimension} dimensions, 20 genres: fit {:.2?}, {:?}",
            started.elapsed(),
            model.quality()
        );
        let started = Instant::now();
        let ids: Vec<Option<TrackId>> = data.ids.iter().copied().map(Some).collect();
        let queries = QueryVectors {
            ids: &ids,
            ..QueryVectors::of(data.vectors.view())
        };
        let answers = model.predict(&queries, &PredictOptions::default()).unwrap();
        println!("classify {}: {:.2?}", answers.len(), started.elapsed());
        let started = Instant::now();
        let kin = kinship(&data.set()).unwrap();
        println!(
            "kinship of {} genres: {:.2?}",
            kin.genres.len(),
            started.elapsed()
        );
    }
}
