//! Kinship, evaluation and files.

use ndarray::{Array2, Axis};
use voisin_genre::{Genre, kinship};
use voisin_lab::genre::{EvalOptions, evaluate_genre};

use crate::genre::data::blobs;

#[test]
fn kin_are_found_by_their_vectors() {
    // genre 3 is placed next to genre 1
    let mut train = blobs(4, 24, 10, 0.5, 11);
    let centre = |v: &Array2<f32>, c: usize| {
        let rows: Vec<usize> = (0..96).filter(|i| i % 4 == c).collect();
        v.select(Axis(0), &rows).mean_axis(Axis(0)).unwrap()
    };
    let shift = centre(&train.vectors, 1) * 0.8 - centre(&train.vectors, 3) * 0.8;
    for i in (3..96).step_by(4) {
        let mut row = train.vectors.row_mut(i);
        row += &shift;
    }
    let kin = kinship(&train.set()).unwrap();
    let third = kin.of(&Genre::plain("Genre 03")).unwrap();
    assert_eq!(third.nearest[0].genre.name(), "genre 01");
    let nearest = &third.nearest[0];
    assert!(nearest.distance < third.nearest[1].distance && nearest.votes > 0.6);
    assert!(kin.of(&Genre::plain("polka")).is_err());
    for a in 0..4 {
        assert!(kin.distance[a][a].abs() < 1e-12);
        for b in 0..4 {
            assert!(
                (kin.distance[a][b] - kin.distance[b][a]).abs() < 1e-12
                    && kin.distance[a][b] <= 1.0 + 1e-9
            );
        }
    }
    assert_eq!(third.typical.len(), 5);
}

#[test]
fn an_evaluation_is_complete_and_readable() {
    let mut data = blobs(4, 24, 8, 1.0, 12);
    for labels in &mut data.labels {
        if labels[0].name() == "genre 02" {
            *labels = vec![Genre::plain("<b>Drum & Bass</b>")];
        }
    }
    let options = EvalOptions {
        folds: 4,
        repeats: 1,
        ..EvalOptions::default()
    };
    let report = evaluate_genre(&data.set(), &options).unwrap();
    let names: Vec<&str> = report.methods.iter().map(|m| m.method.as_str()).collect();
    assert_eq!(
        names,
        [
            "fused",
            "head",
            "vote",
            "rbf svm",
            "nearest centroid",
            "majority"
        ]
    );
    let accuracy = |i: usize| report.methods[i].accuracy.mean;
    assert!(
        accuracy(0) > 0.7 && accuracy(3) > 0.7 && accuracy(5) < 0.4,
        "{:?}",
        report.methods
    );
    assert_eq!(report.figures.confusion.iter().flatten().sum::<usize>(), 96);
    assert!(
        report
            .figures
            .per_class
            .iter()
            .all(|g| g.auc.is_some_and(|a| a > 0.85))
    );
    let text = report.page().html();
    assert!(
        text.contains("fused") && text.contains("genre 01"),
        "{text}"
    );
    let html = report.page().html();
    assert!(html.starts_with("<!doctype html>") && html.contains("<svg"));
    assert!(html.contains("prefers-color-scheme:dark") && html.contains("max-width:40rem"));
    assert!(!html.contains("<b>Drum") && html.contains("&lt;b&gt;Drum &amp; Bass&lt;/b&gt;"));
    assert!(
        !html.contains("<script") && html.contains("default-src 'none'") && !html.contains("src=")
    );
    assert!(report.json()["details"]["genres"][0]["precision"].is_number());
    // one artist for all tracks
    let mut set = data.set();
    let one = vec![1; 96];
    set.groups = &one;
    assert!(
        evaluate_genre(&set, &options)
            .unwrap_err()
            .to_string()
            .contains("4 folds")
    );
}
