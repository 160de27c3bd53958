#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "an example")]
//! Training steps of a laboratory's network: `classifier_speed RECIPE|LAYERS BATCH STEPS`; layers
//! take 1 x 128 x 80. Prints the last step's loss and the wall-clock time of a step;
//! `research/speed/bench_classifier.py` compares with `PyTorch`.

use std::time::Instant;

use voisin::DeviceChoice;
use voisin_encoder::{FirstWeights, Stack, StackShape, StackTrain};
use voisin_train::classifier::NetworkRecipe;
use voisin_train::{AdamW, AdamWOptions};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, batch, steps] = &words[..] else {
        panic!("expected RECIPE|LAYERS BATCH STEPS")
    };
    let batch = batch.parse::<usize>().unwrap();
    let (layers, input) = match NetworkRecipe::named(recipe) {
        Some(recipe) => (recipe.layers(), recipe.example(recipe.seconds())),
        None => (recipe.split(", ").collect(), StackShape::Image(1, 128, 80)),
    };
    let stack = Stack::new(&layers, input, 8).unwrap();
    let mut net = StackTrain::new(
        stack,
        1,
        FirstWeights::Torch,
        DeviceChoice::Cpu.resolve().unwrap(),
    );
    let x: Vec<f32> = (0..batch * input.cells())
        .map(|i| (i as f32 * 0.7).sin())
        .collect();
    let mut adam: Vec<AdamW> = net
        .blocks()
        .map(|(p, ..)| AdamW::new(p.len(), AdamWOptions::default()))
        .collect();
    let clock = Instant::now();
    let mut loss = 0.0;
    let steps: u32 = steps.parse().unwrap();
    for step in 0..steps {
        let logits = net.forward(&x, batch, u64::from(step)).unwrap();
        loss = 0.0;
        let mut gradient = Vec::new();
        for (row, logits) in logits.chunks_exact(8).enumerate() {
            let largest = logits.iter().copied().fold(f32::MIN, f32::max);
            let exp = |class: usize| (logits[class] - largest).exp();
            let sum: f32 = (0..8).map(exp).sum();
            loss -= (exp(row % 8) / sum).max(f32::MIN_POSITIVE).ln() / batch as f32;
            let share = |class: usize| exp(class) / sum - f32::from(u8::from(class == row % 8));
            gradient.extend((0..8).map(|class| share(class) / batch as f32));
        }
        net.backward(&gradient).unwrap();
        for ((parameters, gradient, _), adam) in net.blocks().zip(&mut adam) {
            adam.step(parameters, gradient, 1e-3, 1.0, &vec![0.0; gradient.len()]);
        }
    }
    println!(
        "loss {loss:.4}, {:.3} s a step",
        clock.elapsed().as_secs_f64() / f64::from(steps.max(1))
    );
}
