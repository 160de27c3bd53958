//! The importers on files that the reference tools wrote (`tests/data/importers`): the tools' own outputs are the
//! answers. The files have a sixteenth of the network's width; `VOISIN_IMPORT_FILES` names a folder of full-size ones.

#![allow(missing_docs)]
// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use proptest::prelude::*;
use voisin_encoder::Weights;
use voisin_features::OpenL3Variant;
use voisin_import::{ImportError, Imported, WeightFormat, WeightTensor, import_model, parse};

/// File, format, the tool's own embeddings, batch norms that are not stored as such.
const FILES: [(&str, WeightFormat, &str, usize); 12] = [
    ("openl3_0_3.h5", WeightFormat::Keras, "keras", 0),
    ("whole_model.h5", WeightFormat::Keras, "keras", 0),
    ("keras3.weights.h5", WeightFormat::Keras, "keras", 0),
    ("frozen.pb", WeightFormat::TensorFlow, "frozen", 0),
    ("frozen_v1.pb", WeightFormat::TensorFlow, "frozen_v1", 8),
    ("tf2onnx.onnx", WeightFormat::Onnx, "frozen", 7),
    ("export.onnx", WeightFormat::Onnx, "torch", 7),
    ("export_script.onnx", WeightFormat::Onnx, "torch", 0),
    ("torchopenl3.pth.tar", WeightFormat::Torch, "torch", 0),
    ("torchopenl3_legacy.pth", WeightFormat::Torch, "torch", 0),
    ("checkpoint_half.pth", WeightFormat::Torch, "torch", 0),
    ("openl3.safetensors", WeightFormat::Safetensors, "torch", 0),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/importers")
}

fn read(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The input of the generators, `[2][128][199]`.
fn mels() -> Vec<f32> {
    let mut values = Vec::new();
    for n in 0..2 {
        for m in 0..128 {
            for t in 0..199 {
                let n = f64::from(n);
                let m = f64::from(m);
                let t = f64::from(t);
                let x = (0.05 * m * (n + 1.0) + 0.11 * t).sin() * (0.013 * m * t + n).cos();
                values.push((40.0 * x - 40.0) as f32);
            }
        }
    }
    values
}

/// One window through the network as its definition reads, in double precision: an oracle for any width.
fn forward(weights: &BTreeMap<String, WeightTensor>, window: &[f32]) -> Vec<f64> {
    let values = |name: &str| &weights[name].values;
    let norm = |x: &mut Vec<f64>, i: usize| {
        let field = |field: &str| values(&format!("batch_normalization_{i}.{field}"));
        let channels = field("weight").len();
        let cells = x.len() / channels;
        for (c, plane) in x.chunks_mut(cells).enumerate() {
            let scale =
                f64::from(field("weight")[c]) / (f64::from(field("running_var")[c]) + 1e-3).sqrt();
            let mean = f64::from(field("running_mean")[c]);
            let bias = f64::from(field("bias")[c]);
            for x in plane {
                *x = (*x - mean) * scale + bias;
            }
        }
    };
    let mut h = 128;
    let mut w = 199;
    let mut x: Vec<f64> = window.iter().map(|&x| f64::from(x)).collect();
    norm(&mut x, 1);
    for layer in 1..=8 {
        let name = if layer == 8 {
            "audio_embedding_layer".to_owned()
        } else {
            format!("conv2d_{layer}")
        };
        let kernel = values(&format!("{name}.weight"));
        let bias = values(&format!("{name}.bias"));
        let inputs = x.len() / (h * w);
        let outputs = bias.len();
        let mut y: Vec<f64> = bias
            .iter()
            .flat_map(|&b| std::iter::repeat_n(f64::from(b), h * w))
            .collect();
        for (o, out) in y.chunks_mut(h * w).enumerate() {
            for (i, plane) in x.chunks(h * w).enumerate() {
                for (at, &k) in kernel[(o * inputs + i) * 9..][..9].iter().enumerate() {
                    let k = f64::from(k);
                    let up = at / 3;
                    let left = at % 3;
                    for row in 0..h {
                        let Some(from) = (row + up).checked_sub(1).filter(|&from| from < h) else {
                            continue;
                        };
                        let first = usize::from(left == 0);
                        let last = w - usize::from(left == 2);
                        let source = &plane[from * w + first + left - 1..][..last - first];
                        for (y, x) in out[row * w + first..row * w + last].iter_mut().zip(source) {
                            *y += k * x;
                        }
                    }
                }
            }
        }
        x = y;
        if layer == 8 {
            return x
                .chunks(h * w)
                .map(|plane| plane.iter().copied().fold(f64::MIN, f64::max))
                .collect();
        }
        norm(&mut x, layer + 1);
        for x in &mut x {
            *x = x.max(0.0);
        }
        if layer % 2 == 0 {
            let down = h / 2;
            let across = w / 2;
            x = (0..outputs * down * across)
                .map(|at| {
                    let c = at / (down * across);
                    let row = at / across % down;
                    let column = at % across;
                    let at = |r: usize, q: usize| x[(c * h + 2 * row + r) * w + 2 * column + q];
                    at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
                })
                .collect();
            (h, w) = (down, across);
        }
    }
    unreachable!()
}

/// Largest difference, relative to the largest number.
fn relative_error(found: &[f64], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - f64::from(*b)).abs())
        .fold(0.0, f64::max)
        / f64::from(largest)
}

fn embeddings(imported: &Imported) -> Vec<f64> {
    mels()
        .chunks(128 * 199)
        .flat_map(|window| forward(&imported.tensors, window))
        .collect()
}

#[test]
fn every_format_gives_the_embeddings_of_the_tool_that_wrote_it() {
    let reference = parse(&read("openl3.safetensors")).unwrap();
    for (name, format, answer, folded) in FILES {
        let imported = parse(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(imported.format, format, "{name}");
        let answer = folder().join(format!("{answer}_expected.npy"));
        let expected: Array2<f32> = ndarray_npy::read_npy(&answer).unwrap();
        assert_eq!(expected.dim(), (2, 32));
        let error = relative_error(&embeddings(&imported), expected.as_slice().unwrap());
        println!(
            "{name:24} {format:24} relative error {error:.2e} {:?}",
            imported.notes
        );
        // The half-precision checkpoint is compared with the answer of full precision.
        assert!(
            error
                < if name == "checkpoint_half.pth" {
                    2e-2
                } else {
                    1e-5
                },
            "{name}: {error}"
        );
        let padding = imported
            .notes
            .iter()
            .any(|note| note.contains("padding of 8 convolutions"));
        assert_eq!(padding, name == "export_script.onnx", "{name}");
        let note = imported
            .notes
            .iter()
            .find(|note| note.contains("batch norms"));
        assert_eq!(
            note.map(|note| note.split(' ').next().unwrap().parse().unwrap()),
            (folded > 0).then_some(folded)
        );
        // The same weights bit for bit, unless the tool derived values from them.
        if folded == 0 && name != "checkpoint_half.pth" {
            let exact = |(name, tensor)| reference.tensors.get(name) == Some(tensor);
            assert!(imported.tensors.iter().all(exact), "{name}");
        }
        assert_eq!(imported.tensors.len(), 48);
    }
}

#[test]
fn the_publisher_decides_licence_and_spectrogram() {
    for (name, licence, variant) in [
        (
            "openl3_0_3.h5",
            Some("CC BY 4.0"),
            Some(OpenL3Variant::Original),
        ),
        (
            "whole_model.h5",
            Some("CC BY 4.0"),
            Some(OpenL3Variant::Kapre04),
        ),
        (
            "torchopenl3.pth.tar",
            Some("CC BY 4.0"),
            Some(OpenL3Variant::Original),
        ),
        (
            "frozen.pb",
            Some("CC BY-NC-SA 4.0"),
            Some(OpenL3Variant::Essentia),
        ),
        (
            "tf2onnx.onnx",
            Some("CC BY-NC-SA 4.0"),
            Some(OpenL3Variant::Essentia),
        ),
        ("openl3.safetensors", None, None),
    ] {
        let imported = parse(&read(name)).unwrap();
        assert_eq!(imported.variant, variant, "{name}");
        assert_eq!(
            imported
                .licence
                .map(|text| text.split(" (").next().unwrap()),
            licence,
            "{name}"
        );
    }
}

#[test]
fn safetensors_written_from_an_import_are_read_back() {
    let imported = parse(&read("whole_model.h5")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("openl3.safetensors");
    Weights::new("h5", imported.tensors.clone())
        .to_safetensors(&path)
        .unwrap();
    let again = parse(&std::fs::read(&path).unwrap()).unwrap();
    assert!(again.tensors == imported.tensors);
    // A model needs the published widths.
    let message = import_model(&path, "small", None, folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("expected") && message.contains("64"),
        "{message}"
    );
}

/// A safetensors file of the network, changed by `change`.
fn changed(change: impl FnOnce(&mut BTreeMap<String, WeightTensor>)) -> Vec<u8> {
    let imported = parse(&read("openl3.safetensors")).unwrap();
    let mut tensors = imported.tensors;
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    Weights::new("changed", tensors)
        .to_safetensors(&path)
        .unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn importing_names_weights_that_do_not_fit() {
    let missing = changed(|tensors| drop(tensors.remove("conv2d_3.bias")));
    let message = parse(&missing).unwrap_err().to_string();
    assert!(
        message
            .starts_with("safetensors of another network: tensors: expected \"conv2d_3.bias\" [8]"),
        "{message}"
    );

    let narrow = changed(|tensors| {
        let tensor = tensors
            .get_mut("batch_normalization_5.running_mean")
            .unwrap();
        tensor.shape = vec![7];
        tensor.values.truncate(7);
    });
    let message = parse(&narrow).unwrap_err().to_string();
    assert!(
        message.ends_with("batch_normalization_5.running_mean: expected [8], found [7]"),
        "{message}"
    );

    let negative = changed(|t| {
        t.get_mut("batch_normalization_2.running_var")
            .unwrap()
            .values[1] = -1.0;
    });
    let message = parse(&negative).unwrap_err().to_string();
    assert!(
        message.contains("batch_normalization_2.running_var") && message.ends_with("found -1 at 1"),
        "{message}"
    );

    let infinite = changed(|t| t.get_mut("conv2d_1.weight").unwrap().values[5] = f32::NAN);
    assert!(
        parse(&infinite)
            .unwrap_err()
            .to_string()
            .contains("NaN at 5")
    );

    let more = changed(|tensors| {
        let tensor = tensors["conv2d_1.bias"].clone();
        tensors.insert("dense.weight".to_owned(), tensor);
    });
    let message = parse(&more).unwrap_err().to_string();
    assert!(message.contains("also \"dense.weight\""), "{message}");
}

#[test]
fn truncated_files_are_errors() {
    for (name, ..) in FILES {
        let bytes = read(name);
        for share in [0, 1, 5, 20, 50, 80, 95, 99] {
            let cut = &bytes[..bytes.len() * share / 100];
            match parse(cut) {
                // The missing end of a file may be unused padding, but no value may be made up.
                Ok(imported) => {
                    let whole = parse(&bytes).unwrap();
                    assert!(
                        share == 99 && imported.tensors == whole.tensors,
                        "{name} cut to {share} %"
                    );
                }
                Err(
                    error @ (ImportError::Damaged { .. }
                    | ImportError::OtherNetwork { .. }
                    | ImportError::UnknownFormat { .. }),
                ) => assert!(!error.to_string().is_empty()),
                Err(error) => panic!("{name} cut to {share} %: {error}"),
            }
        }
    }
}

#[test]
fn files_of_the_published_size_are_imported() {
    let Some(folder) = std::env::var_os("VOISIN_IMPORT_FILES").map(PathBuf::from) else {
        eprintln!("VOISIN_IMPORT_FILES is not set: skipped (the generators write such files)");
        return;
    };
    let mut known: Option<(Imported, Vec<f64>)> = None;
    for (name, _, answer, _) in FILES {
        let start = std::time::Instant::now();
        let imported = voisin_import::import(&folder.join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let seconds = start.elapsed().as_secs_f64();
        // Most files hold the same numbers: the oracle is slow, once is enough for them.
        let found = match &known {
            Some((same, found)) if same.tensors == imported.tensors => found.clone(),
            _ => embeddings(&imported),
        };
        let expected: Array2<f32> =
            ndarray_npy::read_npy(folder.join(format!("{answer}_expected.npy"))).unwrap();
        let error = relative_error(&found, expected.as_slice().unwrap());
        println!("{name:24} read in {seconds:.3} s, relative error {error:.2e}");
        assert!(
            error
                < if name == "checkpoint_half.pth" {
                    2e-2
                } else {
                    1e-4
                },
            "{name}: {error}"
        );
        known.get_or_insert((imported, found));
    }
}

/// Changes a file as transfers, editors and adversaries do; it must be read or refused, without a panic.
fn mutated(name: &str, changes: &[(u32, u8)], keep: u32) -> Vec<u8> {
    let mut bytes = read(name);
    for &(at, value) in changes {
        // Half of the changes go where structure is dense: the first and last 4 KB.
        let length = bytes.len();
        let at = match at % 4 {
            0 => at as usize / 4 % 4096.min(length),
            1 => length - 1 - at as usize / 4 % 4096.min(length),
            _ => at as usize / 4 % length,
        };
        bytes[at] = value;
    }
    if keep.is_multiple_of(4) {
        bytes.truncate(keep as usize / 4 % bytes.len());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_never_panic(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..12),
        keep in any::<u32>(),
    ) {
        let _ = parse(&mutated(FILES[file].0, &changes, keep));
    }

    #[test]
    fn random_bytes_behind_any_signature_never_panic(
        signature in 0..6usize,
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let signature: &[u8] = [
            &b"\x89HDF\r\n\x1a\n\x00"[..],
            b"PK\x03\x04",
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02",
            b"\x08\x07\x3a\xd0\x04",
            b"\x0a\x20\x0a\x01a\x12\x05Const",
            b"\x40\x00\x00\x00\x00\x00\x00\x00{",
        ][signature];
        let mut all = signature.to_vec();
        all.extend(bytes);
        let _ = parse(&all);
    }
}

#[test]
fn a_missing_file_is_reported_by_name() {
    assert!(
        voisin_import::import(Path::new("missing.pb"))
            .unwrap_err()
            .to_string()
            .starts_with("missing.pb")
    );
}
