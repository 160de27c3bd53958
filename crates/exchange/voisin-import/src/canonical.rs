//! The names and shapes that every reader must return.

use std::collections::BTreeMap;

use crate::WeightTensor;
use crate::{ImportError, WeightFormat};

/// Convolutions of the network, and its batch norms.
pub(super) const LAYERS: usize = 8;
/// Keras' epsilon, used by every batch norm.
pub(super) const EPSILON: f32 = 1e-3;
/// Fields of a batch norm in Keras' order, each with Keras' name for it.
pub(super) const NORM_FIELDS: [(&str, &str); 4] = [
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
];

/// Name of convolution `i`, from 0.
pub(super) fn convolution(i: usize) -> String {
    if i + 1 == LAYERS {
        "audio_embedding_layer".to_owned()
    } else {
        format!("conv2d_{}", i + 1)
    }
}

/// Name of batch norm `i`, from 0: the input's, then those of the convolutions but the last.
pub(super) fn norm(i: usize) -> String {
    format!("batch_normalization_{}", i + 1)
}

/// Keeps the network's tensors and checks that all are there, fit each other and are finite.
///
/// Batch counters and the spectrogram's kernels are dropped; any other tensor is refused, as it belongs to another network.
pub(super) fn check(
    format: WeightFormat,
    mut tensors: BTreeMap<String, WeightTensor>,
) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
    let mut network = BTreeMap::new();
    let mut take = |name: String, expected: &dyn Fn(&[usize]) -> bool, shape: &str| {
        let Some(tensor) = tensors.remove(&name) else {
            let found = list(tensors.keys().chain(network.keys()));
            return Err(ImportError::other(
                format,
                "tensors",
                format!("\"{name}\" {shape}"),
                found,
            ));
        };
        if !expected(&tensor.shape) || tensor.values.len() != tensor.shape.iter().product::<usize>()
        {
            return Err(ImportError::other(
                format,
                name,
                shape,
                format!("{:?}", tensor.shape),
            ));
        }
        // a NaN or a negative variance would silently make every vector NaN
        let sane = |x: &f32| x.is_finite() && (!name.ends_with("running_var") || *x >= 0.0);
        if let Some(at) = tensor.values.iter().position(|x| !sane(x)) {
            let found = format!("{} at {at}", tensor.values[at]);
            return Err(ImportError::other(
                format,
                name,
                "finite numbers, and no negative variance",
                found,
            ));
        }
        let shape = tensor.shape.clone();
        network.insert(name, tensor);
        Ok(shape)
    };
    let mut width = 1;
    // A norm has the width of its input: the spectrogram's, then the preceding convolution's.
    for i in 0..LAYERS {
        for (field, _) in NORM_FIELDS {
            take(
                format!("{}.{field}", norm(i)),
                &|shape| shape == [width],
                &format!("[{width}]"),
            )?;
        }
        let name = convolution(i);
        let kernel =
            |shape: &[usize]| matches!(*shape, [out, input, 3, 3] if out > 0 && input == width);
        width = take(
            format!("{name}.weight"),
            &kernel,
            &format!("[n, {width}, 3, 3]"),
        )?[0];
        take(
            format!("{name}.bias"),
            &|shape| shape == [width],
            &format!("[{width}]"),
        )?;
    }
    // OpenL3's networks of 256 bands have layers of the same shapes, and differ in torchopenl3's files only by the mel filters.
    let other_input = tensors
        .get("speclayer.mel_basis")
        .and_then(|basis| basis.shape.first());
    if let Some(bands) = other_input.filter(|&&bands| bands != 128) {
        return Err(ImportError::other(
            format,
            "speclayer.mel_basis",
            "128 mel bands",
            format!("{bands}"),
        ));
    }
    tensors.retain(|name, _| {
        !name.ends_with(".num_batches_tracked") && !name.starts_with("speclayer.")
    });
    if tensors.is_empty() {
        Ok(network)
    } else {
        Err(ImportError::other(
            format,
            "tensors",
            "only OpenL3's",
            format!("also {}", list(tensors.keys())),
        ))
    }
}

/// The first names, and the number of others.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<_> = names.collect();
    let shown: Vec<String> = all
        .iter()
        .take(6)
        .map(|name| name.chars().take(60).collect::<String>())
        .map(|n| format!("\"{n}\""))
        .collect();
    match all.len() {
        0 => "none".to_owned(),
        n if n > shown.len() => format!("{} and {} more", shown.join(", "), n - shown.len()),
        _ => shown.join(", "),
    }
}
