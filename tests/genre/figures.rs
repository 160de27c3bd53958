//! The figures of BENCHMARKS.md; `scripts/genre_figures.sh` runs them.

use std::time::Instant;

use voisin::internals::{
    genre::{FitOptions, GenreModel, KinshipOptions, PredictOptions, QueryVectors, grouped_folds, kinship},
    metrics,
    track::TrackId,
};

use crate::data::{Taggrams, argmax, blobs};

/// What cross-validation finds, mean of some dealings.
#[derive(Debug)]
#[allow(dead_code, reason = "some of it is only printed, by Debug")]
pub(crate) struct CrossValidated {
    /// Shares of tracks named rightly: together, by the head (a plain regression), by the vote.
    pub(crate) fused: f64,
    pub(crate) head: f64,
    pub(crate) vote: f64,
    /// Standard error, over tracks, of the difference between `fused` and `head`.
    pub(crate) error: f64,
    pub(crate) calibration_error: f64,
    /// The same of each dealing.
    each: Vec<f64>,
}

/// Five folds by group, dealt some times; engines that may know the groups of their training part or not.
pub(crate) fn cross_validated(data: &Taggrams, knows_groups: bool, dealings: u64) -> CrossValidated {
    let n = data.classes.len();
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let mut right = [0.0; 3];
    let mut gain = vec![0.0f64; n];
    let mut each = Vec::new();
    for seed in 0..dealings {
        let folds = grouped_folds(&classes, 10, &data.groups, 5, 100 + seed);
        let mut sure = Vec::new();
        for fold in 0..5 {
            let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
            let trained = data.subset(&train);
            let trained = if knows_groups { trained } else { trained.ungrouped() };
            let asked = data.subset(&test);
            let p = trained.fit().probabilities(&asked.queries()).unwrap();
            for (i, (&row, &class)) in test.iter().zip(&asked.classes).enumerate() {
                let is_right = [&p.fused, &p.head, &p.vote].map(|p| argmax(p.row(i)) == class);
                for (sum, is_right) in right.iter_mut().zip(is_right) {
                    *sum += f64::from(u8::from(is_right)) / (n as u64 * dealings) as f64;
                }
                gain[row] += f64::from(i8::from(is_right[0]) - i8::from(is_right[1])) / dealings as f64;
                sure.push((f64::from(p.fused[[i, argmax(p.fused.row(i))]]), is_right[0]));
            }
        }
        each.push(metrics::expected_calibration_error(&sure, 10));
    }
    let mean = gain.iter().sum::<f64>() / n as f64;
    let variance = gain.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64;
    let [fused, head, vote] = right;
    let calibration_error = each.iter().sum::<f64>() / dealings as f64;
    CrossValidated { fused, head, vote, error: (variance / n as f64).sqrt(), calibration_error, each }
}

/// The development figures: cross-validated on the training part only. `scripts/genre_figures.sh training`
#[test]
#[ignore = "takes a minute; prints figures"]
fn gtzan_cross_validated() {
    for knows_groups in [true, false] {
        let Some(data) = Taggrams::load("train") else { return };
        println!("\ngroups known: {knows_groups}\n{:?}", cross_validated(&data, knows_groups, 5));
        let n = data.classes.len();
        let data = if knows_groups { data } else { data.ungrouped() };
        let model = data.fit();
        println!("{:?}\n{:?}\nscale {:.2}", model.settings(), model.quality(), model.fusion().scale);
        let left = data.without(6).fit();
        let metal = data.subset(&(0..n).filter(|&i| data.classes[i] == 6).collect::<Vec<_>>());
        let p = left.probabilities(&metal.queries()).unwrap();
        for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
            let rock = p.outer_iter().filter(|r| left.genres()[argmax(*r)].name() == "rock").count();
            println!("metal to rock by {name}: {rock}/{}", metal.classes.len());
        }
    }
    let Some(data) = Taggrams::load("train") else { return };
    let n = data.classes.len();
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let folds = grouped_folds(&classes, 10, &data.groups, 5, 100);
    let mut novelty = vec![Vec::new(); 10];
    for fold in 0..5 {
        let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
        let (train, test) = (data.subset(&train), data.subset(&test));
        for (out, list) in novelty.iter_mut().enumerate() {
            let p = train.without(out).fit().probabilities(&test.queries()).unwrap();
            list.extend(p.novelty.iter().zip(&test.classes).map(|(v, c)| (*v, *c == out)));
        }
    }
    println!("novelty, mean of ten genres left out: AUROC {:.3}", mean_auc(&novelty));
}

fn mean_auc(lists: &[Vec<(f64, bool)>]) -> f64 {
    let areas = lists.iter().map(|list| {
        let (scores, strange): (Vec<f64>, Vec<bool>) = list.iter().copied().unzip();
        metrics::auc(&scores, &strange).unwrap()
    });
    areas.sum::<f64>() / lists.len() as f64
}

/// The test part, looked at once at the very end: no choice may be made by it. `scripts/genre_figures.sh test-part`
#[test]
#[ignore = "looks at the test part; prints figures"]
fn gtzan_test_part() {
    for knows_groups in [true, false] {
        let (Some(train), Some(test)) = (Taggrams::load("train"), Taggrams::load("test")) else { return };
        println!("\ngroups known: {knows_groups}");
        let train = if knows_groups { train } else { train.ungrouped() };
        let p = train.fit().probabilities(&test.queries()).unwrap();
        let rights = |p: &ndarray::Array2<f32>| -> Vec<f64> {
            let rows = p.outer_iter().zip(&test.classes);
            rows.map(|(row, &class)| f64::from(u8::from(argmax(row) == class))).collect()
        };
        for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
            let right = rights(p);
            let best = |row: usize| f64::from(p[[row, argmax(p.row(row))]]);
            let sure: Vec<(f64, bool)> = (0..right.len()).map(|i| (best(i), right[i] > 0.5)).collect();
            println!(
                "{name}: {} of {} right, {:.1} %, ECE {:.3}",
                right.iter().sum::<f64>(),
                right.len(),
                100.0 * right.iter().sum::<f64>() / right.len() as f64,
                metrics::expected_calibration_error(&sure, 10)
            );
        }
        let gains: Vec<f64> =
            rights(&p.fused).iter().zip(rights(&p.head)).map(|(fused, head)| fused - head).collect();
        let n = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let variance = gains.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        println!("fused above head by {:.2} ± {:.2} points", 100.0 * mean, 100.0 * (variance / n).sqrt());
        let mut lists = Vec::new();
        for out in 0..10 {
            let model = train.without(out).fit();
            let p = model.probabilities(&test.queries()).unwrap();
            lists.push(p.novelty.iter().zip(&test.classes).map(|(v, c)| (*v, *c == out)).collect::<Vec<_>>());
            if out == 6 {
                for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
                    let metal = p.outer_iter().zip(&test.classes).filter(|(_, c)| **c == 6);
                    let rock = |row: ndarray::ArrayView1<f32>| model.genres()[argmax(row)].name() == "rock";
                    let called = metal.clone().filter(|(row, _)| rock(row.view())).count();
                    println!("metal left out, called rock by {name}: {called} of {}", metal.count());
                }
            }
        }
        println!("one genre left out: AUROC of novelty {:.3}, mean of ten", mean_auc(&lists));
    }
}

/// `scripts/genre_figures.sh speed`
#[test]
#[ignore = "a measurement"]
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
        let queries = QueryVectors { ids: &ids, ..QueryVectors::of(data.vectors.view()) };
        let answers = model.predict(&queries, &PredictOptions::default()).unwrap();
        println!("classify {}: {:.2?}", answers.len(), started.elapsed());
        let started = Instant::now();
        let kin = kinship(&data.set(), &KinshipOptions::default()).unwrap();
        println!("kinship of {} genres: {:.2?}", kin.genres.len(), started.elapsed());
    }
}
