use super::*;
use crate::training::{NetworkRecipe, Schedule};
use voisin_encoder::{DeviceChoice, Stack, StackShape};

const CELLS: usize = 6;

fn net(classes: usize) -> StackTrain {
    let layers = ["linear 16", "relu", "dropout 0.1", "linear classes"];
    let stack = Stack::new(&layers, StackShape::Vector(CELLS), classes).unwrap();
    StackTrain::new(stack, 3, DeviceChoice::Cpu.resolve().unwrap())
}

fn options(folder: &Path) -> ClassNetOptions {
    ClassNetOptions {
        folder: folder.to_owned(),
        training: ClassTraining {
            epochs: 12,
            batch: 7,
            rate: 2e-2,
            schedule: Schedule::Plateau,
            weight_decay: 1e-3,
            l1: 1e-4,
            l2: 1e-3,
            label_smoothing: 0.1,
            mixup: 0.2,
            mask: 0.5,
            ..NetworkRecipe::named("baseline-cnn").unwrap().training
        },
        tracks: [Vec::new(), Vec::new()],
        image: Some([2, 3]),
        seed: 4,
    }
}

/// Three classes around different centres, 30 tracks of one to three examples.
#[expect(clippy::unnecessary_wraps, reason = "what reads a file may fail")]
fn example(
    track: usize,
    window: usize,
    place: Option<f64>,
    to: &mut [f32],
) -> Result<(), LabError> {
    let moved = place.map_or(0, |place| (4.0 * place) as u64);
    let mut random = Random::stream(track as u64, (window as u64) << 8 | moved);
    for (place, x) in to.iter_mut().enumerate() {
        *x = (if place % 3 == track % 3 { 2.0 } else { 0.0 }) + 0.5 * random.normal() as f32;
    }
    Ok(())
}

/// - `stop_at`: steps of each session
fn trained(folder: &Path, options: &ClassNetOptions, stop_at: usize) -> (usize, Fitted) {
    let class_of: Vec<usize> = (0..30).map(|track| track % 3).collect();
    let windows: Vec<usize> = (0..30).map(|track| 1 + track % 3).collect();
    let (training, validation): (Vec<usize>, Vec<usize>) = (0..30).partition(|track| track % 5 > 0);
    let options = &ClassNetOptions {
        tracks: [training, validation.clone()],
        ..options.clone()
    };
    let examples = TrackExamples {
        class_of: &class_of,
        windows: &windows,
        copies: 1,
        load: &example,
    };
    let mut sessions = 0;
    loop {
        sessions += 1;
        let mut steps = 0;
        let mut net = net(3);
        let found = fit(&mut net, options, examples, &mut |_| {
            steps += 1;
            steps < stop_at
        });
        if let Some(fitted) = found.unwrap() {
            assert!(folder.join("metrics.csv").exists());
            let windows = predict(&net.finished().unwrap(), examples, &validation, 4).unwrap();
            let rows: Vec<Vec<f32>> = windows.iter().map(|one| mean(one)).collect();
            let right = rows.iter().zip(&validation);
            let right = right.filter(|(p, track)| argmax(*p) == class_of[**track]);
            let share = right.count() as f64 / validation.len() as f64;
            assert_eq!(share, fitted.history[fitted.best].validation_accuracy);
            return (sessions, fitted);
        }
    }
}

#[test]
fn an_interrupted_training_gives_the_same_weights() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let train = |at: usize, stop_at| {
        let folder = folders[at].path();
        let found = trained(folder, &options(folder), stop_at);
        (found, std::fs::read(folder.join(BEST)).unwrap())
    };
    let ((sessions, whole), weights) = train(0, usize::MAX);
    let best = whole.history[whole.best].validation_accuracy;
    assert_eq!((sessions, whole.history.len(), best), (1, 12, 1.0));
    // the entropy of smoothed targets is a lower bound of the loss
    let losses: Vec<f64> = whole.history.iter().map(|epoch| epoch.train_loss).collect();
    assert!(
        losses.iter().all(|loss| *loss > 0.25) && losses[11] < losses[0],
        "{losses:?}"
    );
    // 96 examples are 14 steps of an epoch.
    let ((sessions, cut), again) = train(1, 20);
    assert!(sessions > 10 && weights == again);
    let figures = |fitted: &Fitted| -> Vec<(f64, f64)> {
        let epochs = fitted.history.iter();
        epochs
            .map(|one| (one.train_accuracy, one.validation_loss))
            .collect()
    };
    assert_eq!(figures(&whole), figures(&cut));
    let threads = rayon::ThreadPoolBuilder::new().num_threads(5).build();
    let (_, again) = threads.unwrap().install(|| train(2, usize::MAX));
    assert!(weights == again);
}

#[test]
fn checkpoints_of_other_data_and_damaged_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CHECKPOINT);
    trained(folder.path(), &options(folder.path()), usize::MAX);
    let whole = std::fs::read(&path).unwrap();
    let refused = |windows: &[usize]| {
        let examples = TrackExamples {
            class_of: &[0, 1, 2],
            windows,
            copies: 0,
            load: &example,
        };
        let options = ClassNetOptions {
            tracks: [vec![0, 1], vec![2]],
            ..options(folder.path())
        };
        let found = fit(&mut net(3), &options, examples, &mut |_| true);
        found.unwrap_err().to_string()
    };
    assert!(refused(&[1, 1, 1]).contains("expected a training on 2 spectrograms, found one on 96"));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&[48, 48, 1]).contains("checkpoint.safetensors"));
}
