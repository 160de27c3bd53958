//! The networks of layers against PyTorch in double precision (tests/data/lab/twin.py): outputs, gradients, losses of
//! ten steps of Adam, of the LSTM along coefficients a hundred. Weights and inputs come from the script's formulas.

use serde_json::Value;
use voisin::DeviceChoice;
use voisin_encoder::{Stack, StackShape, StackTrain};
use voisin_lab::training::{NetworkRecipe, Optimiser};

const BATCH: usize = 4;

/// Numbers within ±1; `number` distinguishes tensors.
fn wave(count: usize, number: usize) -> Vec<f64> {
    let number = number as f64;
    (0..count)
        .map(|i| (0.7 * i as f64 + 0.9 * number + 3.0 * (0.011 * i as f64 + number).sin()).sin())
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// The largest difference over the largest magnitude.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-12f64, |most, x| most.max(x.abs()));
    found
        .iter()
        .zip(expected)
        .fold(0.0f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()))
        / largest
}

/// A network with the script's weights, and the numbers of one example.
fn network(twin: &Value) -> (StackTrain, usize) {
    let axes: Vec<usize> = numbers(&twin["input"])
        .iter()
        .map(|x| *x as usize)
        .collect();
    let input = match axes[..] {
        [c, h, w] => StackShape::Image(c, h, w),
        _ => StackShape::Vector(axes[0]),
    };
    let layers: Vec<&str> = twin["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_str().unwrap())
        .collect();
    let recipe = NetworkRecipe::named(twin["name"].as_str().unwrap()).unwrap();
    let recipe_layers = recipe
        .layers()
        .into_iter()
        .filter(|layer| !layer.starts_with("dropout"));
    assert!(
        recipe_layers.eq(layers.iter().copied()),
        "{}: the recipe has other layers",
        recipe.name
    );
    let stack = Stack::new(&layers, input, twin["classes"].as_u64().unwrap() as usize).unwrap();
    let cpu = DeviceChoice::Cpu.resolve().unwrap();
    let mut net = StackTrain::new(stack, 1, cpu);
    let plan: Vec<(String, Vec<usize>)> = net
        .tensors()
        .iter()
        .map(|one| (one.name.clone(), one.shape.clone()))
        .collect();
    net.restore(|name| {
        let number = plan.iter().position(|(tensor, _)| tensor == name)?;
        let shape = &plan[number].1;
        let inputs: usize = shape[1..].iter().product();
        let values = wave(shape.iter().product(), number).into_iter().map(|x| {
            let value = match name.rsplit('.').next() {
                Some("running_var") => 1.0 + 0.3 * x,
                Some("weight") if shape.len() == 1 => 1.0 + 0.2 * x,
                _ if shape.len() > 1 => x / (inputs as f64).sqrt(),
                _ => 0.1 * x,
            };
            value as f32
        });
        Some(values.collect())
    })
    .unwrap();
    (net, input.cells())
}

fn examples(cells: usize, number: usize) -> Vec<f32> {
    wave(BATCH * cells, 100 + number)
        .iter()
        .map(|x| (1.5 * x) as f32)
        .collect()
}

/// Gradient of the mean cross-entropy, and its value.
fn cross_entropy(logits: &[f32], classes: usize) -> (Vec<f32>, f64) {
    let mut gradient = Vec::new();
    let mut loss = 0.0;
    for (row, logits) in logits.chunks_exact(classes).enumerate() {
        let truth = row * 3 % classes;
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        loss += (sum.ln() - f64::from(logits[truth])) / BATCH as f64;
        gradient.extend(logits.iter().enumerate().map(|(class, x)| {
            ((f64::from(*x).exp() / sum - f64::from(u8::from(class == truth))) / BATCH as f64)
                as f32
        }));
    }
    (gradient, loss)
}

fn twins() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lab/twin.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn outputs_gradients_and_losses_are_those_of_pytorch() {
    let twins = twins();
    let networks = twins["networks"].as_array().unwrap();
    for twin in networks {
        let name = &twin["name"];
        let classes = twin["classes"].as_u64().unwrap() as usize;
        let (mut net, cells) = network(twin);
        let predicted = net
            .finished()
            .unwrap()
            .evaluate(&examples(cells, 0), BATCH)
            .unwrap();
        let off = error(&predicted, &numbers(&twin["judged"]));
        assert!(off < 1e-4, "{name}: outputs in the end {off:e}");
        let outputs = net.forward(&examples(cells, 0), BATCH, 0).unwrap();
        let off = error(&outputs, &numbers(&twin["outputs"]));
        assert!(off < 1e-4, "{name}: outputs in training {off:e}");
        net.backward(&cross_entropy(&outputs, classes).0).unwrap();
        let all = twin["gradients"].as_array().unwrap();
        let largest = all
            .iter()
            .map(|one| one["largest"].as_f64().unwrap())
            .fold(0.0, f64::max);
        let found: Vec<Vec<f32>> = net
            .blocks()
            .map(|(_, gradient, _)| gradient.to_vec())
            .collect();
        assert_eq!(found.len(), all.len(), "{name}");
        for (at, (found, expected)) in found.iter().zip(all).enumerate() {
            let expected_values = numbers(&expected["values"]);
            let n = expected_values.len();
            let places = (0..n).map(|place| {
                if found.len() > 64 {
                    place * found.len() / 64
                } else {
                    place
                }
            });
            // A bias before a batch norm has only rounding errors of the others as its gradient.
            let scale = expected["largest"].as_f64().unwrap().max(1e-3 * largest);
            for (place, expected) in places.zip(expected_values) {
                let off = (f64::from(found[place]) - expected).abs() / scale;
                assert!(off < 1e-3, "{name}: gradient {at} at {place}: {off:e}");
            }
        }
        let (mut net, _) = network(twin);
        let mut adam = Optimiser::new(net.blocks());
        // Adam turns rounding errors, such as gradients of biases before batch norms, into whole steps: with those,
        // PyTorch in single precision deviates from the script's figures by up to 2e-3 itself.
        let has_norms = twin["layers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|layer| layer == "batch-norm");
        let bound = if has_norms { 5e-3 } else { 1e-4 };
        for (step, expected) in numbers(&twin["losses"]).into_iter().enumerate() {
            let outputs = net
                .forward(&examples(cells, step % 2), BATCH, step as u64)
                .unwrap();
            let (gradient, loss) = cross_entropy(&outputs, classes);
            assert!(
                (loss - expected).abs() < bound,
                "{name}, step {step}: {loss}, expected {expected}"
            );
            net.backward(&gradient).unwrap();
            let mut blocks: Vec<_> = net.blocks().collect();
            adam.step(1e-3, loss as f32, &mut blocks).unwrap();
        }
    }
}

#[test]
fn at_its_full_size_the_first_network_gives_what_pytorch_gives() {
    let twin = &twins()["full"];
    let (net, cells) = network(twin);
    assert_eq!(cells, 128 * 1288);
    let predicted = net
        .finished()
        .unwrap()
        .evaluate(&examples(cells, 0), BATCH)
        .unwrap();
    let off = error(&predicted, &numbers(&twin["judged"]));
    assert!(off < 1e-4, "{off:e}");
}
