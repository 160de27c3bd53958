//! The figures of BENCHMARKS.md; `scripts/genre_figures.sh` runs them.

use std::time::Instant;

use voisin::internals::{
    genre::{FitOptions, GenreModel, KinshipOptions, PredictOptions, QueryVectors, grouped_folds, kinship},
    metrics,
    track::TrackId,
};

use crate::data::{Taggrams, argmax, blobs};

/// The development figures: cross-validated on the training part only. `scripts/genre_figures.sh training`
#[test]
#[ignore = "takes a minute; prints figures"]
fn gtzan_cross_validated() {
    let Some(data) = Taggrams::load("train") else { return };
    let n = data.classes.len();
    let model = data.fit();
    println!("{:?}\n{:?}", model.settings(), model.quality());
    let f = model.fusion();
    println!(
        "near {:.2} {:.2} {:.2} far {:.2} {:.2} {:.2} middle {:.2} width {:.2}",
        f.head_near,
        f.vote_near,
        f.wide_near,
        f.head_far,
        f.vote_far,
        f.wide_far,
        f.novelty.middle,
        f.novelty.width
    );
    let left = data.without(6).fit();
    let metal = data.subset(&(0..n).filter(|&i| data.classes[i] == 6).collect::<Vec<_>>());
    let p = left.probabilities(&metal.queries()).unwrap();
    for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
        let rock = p.outer_iter().filter(|r| left.genres()[argmax(*r)].name() == "rock").count();
        println!("metal to rock by {name}: {rock}/{}", metal.classes.len());
    }
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let seeds: u64 = std::env::var("VOISIN_DEALINGS").map_or(6, |s| s.parse().unwrap());
    let mut total = [0.0; 5];
    for seed in 0..seeds {
        let folds = grouped_folds(&classes, 10, &data.groups, 5, 100 + seed);
        let mut right = [0usize; 3];
        let mut equal = 0;
        let mut sure = Vec::new();
        let mut novelty = vec![Vec::new(); 10];
        for fold in 0..5 {
            let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
            let (train, test) = (data.subset(&train), data.subset(&test));
            let p = train.fit().probabilities(&test.queries()).unwrap();
            for (i, &class) in test.classes.iter().enumerate() {
                let mix: Vec<f32> = p
                    .head
                    .row(i)
                    .iter()
                    .zip(p.vote.row(i))
                    .map(|(h, v)| h.ln() + (0.95 * v + 0.005).ln())
                    .collect();
                equal += usize::from(argmax(ndarray::ArrayView1::from(&mix)) == class);
                for (j, p) in [&p.head, &p.vote, &p.fused].into_iter().enumerate() {
                    right[j] += usize::from(argmax(p.row(i)) == class);
                }
                let best = argmax(p.fused.row(i));
                sure.push((f64::from(p.fused[[i, best]]), best == class));
            }
            if seed == 0 && std::env::var_os("VOISIN_NOVELTY").is_some() {
                for (out, list) in novelty.iter_mut().enumerate() {
                    let p = train.without(out).fit().probabilities(&test.queries()).unwrap();
                    list.extend(p.novelty.iter().zip(&test.classes).map(|(v, c)| (*v, *c == out)));
                }
            }
        }
        let a = |r: usize| 100.0 * r as f64 / n as f64;
        let ece = metrics::expected_calibration_error(&sure, 10);
        (0..3).for_each(|j| total[j] += a(right[j]) / seeds as f64);
        total[3] += ece / seeds as f64;
        println!(
            "dealing {seed}: head {:.1} vote {:.1} fused {:.1} ECE {ece:.3}; an unfitted equal mix {:.1}",
            a(right[0]),
            a(right[1]),
            a(right[2]),
            a(equal)
        );
        total[4] += a(equal) / seeds as f64;
        if !novelty[0].is_empty() {
            println!("novelty, mean of ten genres left out: AUROC {:.3}", mean_auc(&novelty));
        }
    }
    println!(
        "mean: head {:.2} vote {:.2} fused {:.2} ECE {:.3}; equal mix {:.2}",
        total[0], total[1], total[2], total[3], total[4]
    );
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
    let (Some(train), Some(test)) = (Taggrams::load("train"), Taggrams::load("test")) else { return };
    let p = train.fit().probabilities(&test.queries()).unwrap();
    for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
        let right = p.outer_iter().zip(&test.classes).filter(|(r, c)| argmax(r.view()) == **c).count();
        let sure: Vec<(f64, bool)> = p
            .outer_iter()
            .zip(&test.classes)
            .map(|(r, c)| (f64::from(r[argmax(r.view())]), argmax(r.view()) == *c))
            .collect();
        println!(
            "{name}: {right} of {} right, {:.1} %, ECE {:.3}",
            test.classes.len(),
            100.0 * right as f64 / test.classes.len() as f64,
            metrics::expected_calibration_error(&sure, 10)
        );
    }
    let mut lists = Vec::new();
    for out in 0..10 {
        let model = train.without(out).fit();
        let p = model.probabilities(&test.queries()).unwrap();
        lists.push(p.novelty.iter().zip(&test.classes).map(|(v, c)| (*v, *c == out)).collect::<Vec<_>>());
        if out == 6 {
            for (name, p) in [("head", &p.head), ("vote", &p.vote), ("fused", &p.fused)] {
                let metal = p.outer_iter().zip(&test.classes).filter(|(_, c)| **c == 6);
                let rock =
                    metal.clone().filter(|(r, _)| model.genres()[argmax(r.view())].name() == "rock").count();
                println!("metal left out, called rock by {name}: {rock} of {}", metal.count());
            }
        }
    }
    println!("one genre left out: AUROC of novelty {:.3}, mean of ten", mean_auc(&lists));
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
