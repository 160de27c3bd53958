//! Keras' HDF5 files: openl3's `.h5`.
//!
//! Layers are groups, listed in the attribute `layer_names` of the root (weights only) or of
//! `model_weights` (a whole model); Keras 3 has its own tree below `layers`. Names differ between
//! versions of openl3, so layers are identified by order and kind; if all names are the network's,
//! they decide.

use std::collections::BTreeMap;

use hdf5_pure::{AttrValue, Dataset, File, Group};

use crate::WeightTensor;
use crate::canonical::{LAYERS, NORM_FIELDS, convolution, norm};
use crate::constant::{elements, shorten, to_oihw};
use crate::{ImportError, MAX_ELEMENTS, WeightFormat};

const FORMAT: WeightFormat = WeightFormat::Keras;
/// Layers that a file may have; openl3's audio model has 31.
const MAX_LAYERS: usize = 512;
/// Most levels of groups.
const MAX_NESTING: usize = 6;
/// Data sets in one layer.
const MAX_DATASETS: usize = 16;

/// Content of a file.
pub(super) struct KerasFile {
    pub(super) tensors: BTreeMap<String, WeightTensor>,
    /// Whether the spectrogram is a layer of the model.
    pub(super) has_spectrogram: bool,
}

/// A layer's data sets: last part of the name, shape, data.
struct Layer {
    name: String,
    parts: Vec<(String, Vec<usize>, Dataset)>,
}

pub(super) fn read(bytes: &[u8]) -> Result<KerasFile, ImportError> {
    // The crate is fuzzed by its authors; if it panics nevertheless, the file is reported as damaged.
    std::panic::catch_unwind(|| read_file(bytes))
        .unwrap_or_else(|_| Err(damaged("the HDF5 reader gave up")))
}

fn read_file(bytes: &[u8]) -> Result<KerasFile, ImportError> {
    let file = File::from_bytes(bytes.to_vec()).map_err(hdf5)?;
    let layers = layers(&file.root())?;
    // An input may have this name too, but no data.
    let has_spectrogram = layers
        .iter()
        .any(|layer| layer.name.contains("spectrogram") && !layer.parts.is_empty());
    let mut convolutions = Vec::new();
    let mut norms = Vec::new();
    for layer in layers {
        // The front end computes the spectrogram; only the shape of kapre's kernels is used.
        if layer.name.contains("spectrogram") {
            check_bands(&layer)?;
        } else if layer
            .parts
            .iter()
            .any(|(part, shape, _)| part == "kernel" && shape.len() == 4)
        {
            convolutions.push(layer);
        } else if layer.parts.iter().any(|(part, ..)| part == "gamma") {
            norms.push(layer);
        } else if let Some((part, shape, _)) = layer.parts.first() {
            let place = format!("layer \"{}\"", shorten(&layer.name));
            return Err(ImportError::other(
                FORMAT,
                place,
                "a convolution or a batch norm",
                format!("\"{}\" {shape:?}", shorten(part)),
            ));
        }
    }
    for (kind, found) in [
        ("convolutions", convolutions.len()),
        ("batch norms", norms.len()),
    ] {
        if found != LAYERS {
            return Err(ImportError::other(
                FORMAT,
                "layers",
                format!("{LAYERS} {kind}"),
                format!("{found}"),
            ));
        }
    }
    sort(&mut convolutions, convolution)?;
    sort(&mut norms, norm)?;
    let mut tensors = BTreeMap::new();
    for (i, layer) in convolutions.iter().enumerate() {
        let kernel = layer.tensor("kernel")?;
        let [3, 3, input, output] = *kernel.shape.as_slice() else {
            let place = format!("layer \"{}\"", shorten(&layer.name));
            return Err(ImportError::other(
                FORMAT,
                place,
                "a kernel of 3 × 3",
                format!("{:?}", kernel.shape),
            ));
        };
        let values = to_oihw(&kernel.values, input, output);
        let weight = WeightTensor {
            shape: vec![output, input, 3, 3],
            values,
        };
        tensors.insert(format!("{}.weight", convolution(i)), weight);
        tensors.insert(format!("{}.bias", convolution(i)), layer.tensor("bias")?);
    }
    for (i, layer) in norms.iter().enumerate() {
        for (field, keras) in NORM_FIELDS {
            tensors.insert(format!("{}.{field}", norm(i)), layer.tensor(keras)?);
        }
    }
    Ok(KerasFile {
        tensors,
        has_spectrogram,
    })
}

impl Layer {
    fn tensor(&self, part: &str) -> Result<WeightTensor, ImportError> {
        let place = format!("layer \"{}\"", shorten(&self.name));
        let Some((_, shape, data)) = self.parts.iter().find(|(name, ..)| name == part) else {
            let names: Vec<String> = self.parts.iter().map(|(name, ..)| shorten(name)).collect();
            return Err(ImportError::other(
                FORMAT,
                place,
                format!("\"{part}\""),
                names.join(", "),
            ));
        };
        // Before `read_f32`, which allocates by the file's element size.
        let size = data.element_size().map_err(hdf5)?;
        if size > 8 {
            return Err(ImportError::other(
                FORMAT,
                place,
                "numbers of at most 8 bytes",
                format!("{size} bytes"),
            ));
        }
        let values = data.read_f32().map_err(hdf5)?;
        if values.len() == shape.iter().product::<usize>() {
            Ok(WeightTensor {
                shape: shape.clone(),
                values,
            })
        } else {
            Err(damaged(&format!(
                "{place}: {} numbers for shape {shape:?}",
                values.len()
            )))
        }
    }
}

/// A spectrogram layer is only used to check its number of bands.
fn check_bands(layer: &Layer) -> Result<(), ImportError> {
    match layer.parts.iter().find(|(part, ..)| part == "freq2mel") {
        Some((_, shape, _)) if shape.last() != Some(&128) => {
            let place = format!("layer \"{}\"", shorten(&layer.name));
            Err(ImportError::other(
                FORMAT,
                place,
                "128 mel bands",
                format!("{shape:?}"),
            ))
        }
        _ => Ok(()),
    }
}

/// Sorts layers by the network's names if all of them have these, else keeps the file's order. Duplicate names are an error.
fn sort(layers: &mut [Layer], name: fn(usize) -> String) -> Result<(), ImportError> {
    let place = |layer: &Layer| (0..LAYERS).position(|i| layer.name == name(i));
    let places: Vec<Option<usize>> = layers.iter().map(place).collect();
    // With one foreign name, the numbers in the other names are not trusted either.
    if places.iter().all(Option::is_some) {
        if places
            .iter()
            .enumerate()
            .any(|(i, place)| *place != Some(i))
        {
            layers.sort_by_key(|layer| place(layer));
        }
        if let Some(pair) = layers.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(ImportError::other(
                FORMAT,
                "layers",
                "different names",
                format!("\"{}\" twice", pair[0].name),
            ));
        }
    }
    Ok(())
}

fn layers(root: &Group) -> Result<Vec<Layer>, ImportError> {
    let model = root.group("model_weights").ok();
    let group = model.as_ref().unwrap_or(root);
    if let Some(names) = names(group, "layer_names")? {
        let mut found = Vec::new();
        for name in names {
            let mut parts = Vec::new();
            let layer = group.group(&name).map_err(hdf5)?;
            datasets(&layer, 0, &mut parts)?;
            found.push(Layer { name, parts });
        }
        return Ok(found);
    }
    // Keras 3: layers/NAME/vars/0, 1, …, in the order in which a layer made them.
    let tree = root.group("layers").map_err(|_| {
        let found = root.groups().unwrap_or_default().join(", ");
        ImportError::other(
            FORMAT,
            "root",
            "layer_names, model_weights or layers",
            format!("groups {}", shorten(&found)),
        )
    })?;
    let mut names = tree.groups().map_err(hdf5)?;
    names.truncate(MAX_LAYERS);
    // By number: conv2d, conv2d_1, …, conv2d_10; as text conv2d_10 would come before conv2d_2.
    names.sort_by_cached_key(|name| {
        let (stem, number) = name.rsplit_once('_').unwrap_or((name, "0"));
        number
            .parse::<u32>()
            .map_or_else(|_| (name.clone(), 0), |number| (stem.to_owned(), number))
    });
    let mut found = Vec::new();
    for name in names {
        let mut parts = Vec::new();
        datasets(&tree.group(&name).map_err(hdf5)?, 0, &mut parts)?;
        // Keras 3 numbers a layer's variables and keeps no names: kernel, bias; or gamma, beta,
        // mean and variance.
        let by_rank = |index: usize, rank: usize| match (index, rank) {
            (0, 4) => "kernel",
            (1, _) if parts.len() == 2 => "bias",
            (i, 1) if parts.len() == 4 => NORM_FIELDS.get(i).map_or("", |(_, keras)| keras),
            _ => "",
        };
        let renamed: Vec<String> = parts
            .iter()
            .map(|(part, shape, _)| {
                part.parse()
                    .map_or("", |i| by_rank(i, shape.len()))
                    .to_owned()
            })
            .collect();
        for (part, name) in parts.iter_mut().zip(renamed) {
            part.0 = name;
        }
        found.push(Layer { name, parts });
    }
    Ok(found)
}

/// An attribute with names; Keras splits long ones into `KEY0`, `KEY1`, ….
fn names(group: &Group, key: &str) -> Result<Option<Vec<String>>, ImportError> {
    let attributes = group.attrs().map_err(hdf5)?;
    let mut all = Vec::new();
    let chunks = (0..MAX_LAYERS).map(|i| format!("{key}{i}"));
    for (i, key) in std::iter::once(key.to_owned()).chain(chunks).enumerate() {
        match attributes.get(&key) {
            Some(
                AttrValue::StringArray(names)
                | AttrValue::StringArraySized { values: names, .. }
                | AttrValue::AsciiStringArray(names)
                | AttrValue::AsciiStringArraySized { values: names, .. }
                | AttrValue::VarLenStringArray(names)
                | AttrValue::VarLenAsciiStringArray(names)
                | AttrValue::VarLenAsciiCharArray(names),
            ) => all.extend(names.iter().cloned()),
            Some(_) => {
                return Err(ImportError::other(
                    FORMAT,
                    format!("attribute \"{key}\""),
                    "names",
                    "something else",
                ));
            }
            // The undivided name is tried first and is absent if the list was split.
            None if i == 0 => {}
            None => break,
        }
    }
    if all.len() > MAX_LAYERS {
        return Err(ImportError::other(
            FORMAT,
            "layers",
            format!("at most {MAX_LAYERS}"),
            format!("{}", all.len()),
        ));
    }
    Ok((!all.is_empty()).then_some(all))
}

/// All data sets below a group, with the last part of their names: `conv2d_1/kernel:0` is `kernel`.
fn datasets(
    group: &Group,
    depth: usize,
    into: &mut Vec<(String, Vec<usize>, Dataset)>,
) -> Result<(), ImportError> {
    if depth > MAX_NESTING {
        return Err(damaged("groups nested too deep"));
    }
    for name in group.datasets().map_err(hdf5)? {
        if into.len() == MAX_DATASETS {
            return Err(damaged("a layer of too many data sets"));
        }
        let data = group.dataset(&name).map_err(hdf5)?;
        let shape: Vec<usize> = data
            .shape()
            .map_err(hdf5)?
            .into_iter()
            .map(|axis| usize::try_from(axis).unwrap_or(usize::MAX))
            .collect();
        if elements(&shape).is_none() {
            return Err(damaged(&format!("a data set of shape {shape:?}")));
        }
        // A chunk is unpacked whole, even if the data set uses little of it.
        let chunk = data.chunk_shape().map_err(hdf5)?.unwrap_or_default();
        let size = chunk.iter().try_fold(1_u64, |n, &axis| n.checked_mul(axis));
        if size.is_none_or(|size| size > MAX_ELEMENTS as u64) {
            return Err(damaged(&format!("a data set in chunks of {chunk:?}")));
        }
        let part = name.split(':').next().unwrap_or_default().to_owned();
        into.push((part, shape, data));
    }
    for name in group.groups().map_err(hdf5)?.into_iter().take(MAX_DATASETS) {
        datasets(&group.group(&name).map_err(hdf5)?, depth + 1, into)?;
    }
    Ok(())
}

// By value, for `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn hdf5(error: hdf5_pure::Error) -> ImportError {
    ImportError::damaged(FORMAT, error.to_string())
}

fn damaged(reason: &str) -> ImportError {
    ImportError::damaged(FORMAT, format!("found {reason}"))
}

#[cfg(test)]
mod tests {
    use hdf5_pure::{FileBuilder, MaxExtent};

    use super::*;

    #[test]
    fn a_chunk_larger_than_any_tensor_is_refused() {
        let found = |chunk: u64| {
            let mut builder = FileBuilder::new();
            let mut layer = builder.create_group("layer");
            layer
                .create_dataset("gamma:0")
                .with_f32_data(&[1.0])
                .with_shape(&[1])
                .with_maxshape(&[MaxExtent::Unlimited])
                .with_chunks(&[chunk])
                .with_deflate(1);
            let layer = layer.finish();
            builder.add_group(layer);
            let file = File::from_bytes(builder.finish().unwrap()).unwrap();
            let mut parts = Vec::new();
            datasets(&file.group("layer").unwrap(), 0, &mut parts).map(|()| parts.len())
        };
        assert_eq!(found(16).unwrap(), 1);
        let refused = found(1 << 23).unwrap_err().to_string();
        assert!(refused.contains("in chunks of [8388608]"), "{refused}");
    }
}
