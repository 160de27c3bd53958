//! Networks in ONNX as models, from tests/data/onnx.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use voisin_encoder::{
    ClapText, DeviceChoice, Encoder, EncoderError, ModelManifest, ModelRef, OnnxAxis,
    caption_vectors, captions,
};
use voisin_import::{OnnxOptions, import_onnx, is_other_onnx};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../tests/data")
        .join(name)
}

fn floats(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    let numbers = bytes.chunks_exact(4);
    numbers
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// All numbers of a spectrogram, or of samples.
fn front_end(bands: usize, frames: usize) -> String {
    let raw = bands == 1;
    let samples = if raw {
        frames
    } else {
        (frames - 1) * 256 + 512
    };
    let hop = if raw { 1 } else { 256 };
    let spectrum = if raw { "samples" } else { "power" };
    format!(
        "[front_end]\nsample_rate = 16000\nwindow_samples = {samples}\nn_fft = 512\nhop = {hop}\nn_frames = {frames}\n\
         pad_left = 0\nhann = \"periodic\"\nspectrum = \"{spectrum}\"\nn_mels = {bands}\nf_min = 0.0\nf_max = 8000.0\n\
         mel_scale = \"slaney\"\nmel_norm = \"slaney\"\n[front_end.compression.log]\noffset = 0.01\nfloor = 0.0\n"
    )
}

fn import(
    file: &Path,
    options: &OnnxOptions,
    models: &Path,
) -> Result<ModelManifest, EncoderError> {
    voisin_onnx::install();
    import_onnx(file, "mine", options, models, &mut |_, _| ())
}

fn message(file: &Path, options: &OnnxOptions) -> String {
    let models = tempfile::tempdir().unwrap();
    let error = import(file, options, models.path()).unwrap_err();
    let files = std::fs::read_dir(models.path()).unwrap().count();
    assert_eq!(files, 0, "nothing is left of a refused model");
    let text = voisin_base::text::with_causes(&error);
    assert!(text.len() < 2000, "{text}");
    text
}

#[test]
fn imported_networks_answer_as_onnxruntime_does() {
    for (name, bands, frames, axes) in [
        ("convolutions", 64, 96, 4),
        ("attention", 1, 4000, 2),
        ("quantised", 64, 50, 3),
        ("recurrent", 32, 40, 3),
        ("beside", 64, 96, 4),
    ] {
        let models = tempfile::tempdir().unwrap();
        let numbers = models.path().join("front_end.toml");
        std::fs::write(&numbers, front_end(bands, frames)).unwrap();
        let file = fixture(&format!("onnx/{name}.onnx"));
        let options = OnnxOptions {
            front_end: Some(numbers.display().to_string()),
            ..OnnxOptions::default()
        };
        assert!(is_other_onnx(&file, &options));
        let manifest = import(&file, &options, models.path()).unwrap();
        let settings = manifest.onnx.clone().unwrap();
        assert_eq!(settings.axes.len(), axes, "{name}");
        // One file, whatever lay beside the one that was imported.
        assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 3);
        let model = ModelRef::Manifest(models.path().join("mine.json"));
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let encoder = Encoder::load(&model, &device).unwrap();
        let mut input = floats(&format!("onnx/{name}.in"));
        if settings.axes.last() == Some(&OnnxAxis::Mel) {
            // A spectrogram has its bands first.
            input = (0..bands * frames)
                .map(|i| input[i % frames * bands + i / frames])
                .collect();
        }
        let found = encoder.encode(&[input.clone(), input].concat(), 2).unwrap();
        let answer = floats(&format!("onnx/{name}.out"));
        let length = manifest.dimension;
        let rows = answer.len() / length;
        let expected: Vec<f32> = (0..length)
            .map(|i| answer.iter().skip(i).step_by(length).sum::<f32>() / rows as f32)
            .collect();
        let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        for window in found.outer_iter() {
            let pairs = window.iter().zip(&expected);
            let off = pairs.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
            assert!(off < 1e-4 * largest, "{name}: {off:e} of {largest}");
        }
        assert_eq!(found.row(0), found.row(1));
    }
}

#[test]
fn a_network_that_reads_shares_the_space_of_one_that_hears() {
    let models = tempfile::tempdir().unwrap();
    let numbers = models.path().join("front_end.toml");
    std::fs::write(&numbers, front_end(64, 96)).unwrap();
    let options = OnnxOptions {
        front_end: Some(numbers.display().to_string()),
        text: Some(fixture("onnx/text.onnx")),
        tokenizer: Some(fixture("clap/tokenizer.json")),
        licence: Some("CC0-1.0".to_owned()),
        ..OnnxOptions::default()
    };
    let file = fixture("onnx/convolutions.onnx");
    let manifest = import(&file, &options, models.path()).unwrap();
    assert!(manifest.reads() && manifest.licence == "CC0-1.0");
    let model = ModelRef::Manifest(models.path().join("mine.json"));
    let tower = ClapText::load(&model).unwrap().unwrap();
    let kept = caption_vectors(&model).unwrap().unwrap();
    let fourth = tower.vector(captions().nth(3).unwrap()).unwrap();
    assert_eq!(kept.row(3).to_vec(), fourth);
    assert_eq!(kept.dim(), (1000, 20));
    // One of another length is no network of the same space.
    std::fs::write(&numbers, front_end(64, 50)).unwrap();
    let text = message(&fixture("onnx/quantised.onnx"), &options);
    assert!(text.contains("its vectors have 20 numbers"), "{text}");
}

#[test]
fn a_mismatch_is_named_with_the_next_step() {
    let plain = OnnxOptions::default();
    for (file, output, expected) in [
        (
            "onnx/convolutions.onnx",
            None,
            "fits --front-end vggish or clap or clap-htk;",
        ),
        ("onnx/attention.onnx", None, "raw16 or raw24"),
        ("onnx/recurrent.onnx", None, "fits no front end by name"),
        (
            "onnx/text.onnx",
            None,
            "expected one input, for audio, found 2",
        ),
        (
            "onnx/convolutions.onnx",
            Some("logits"),
            "no output or node \"logits\": expected one of embedding",
        ),
        ("onnx/make.py", None, "not an ONNX file that can be read"),
    ] {
        let options = OnnxOptions {
            output: output.map(str::to_owned),
            ..plain.clone()
        };
        let text = message(&fixture(file), &options);
        assert!(text.contains(expected), "{file}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn data_comes_from_files_of_the_same_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("beside.onnx");
    let data = folder.path().join("beside.data");
    std::fs::copy(fixture("onnx/beside.onnx"), &file).unwrap();
    let options = OnnxOptions::default();
    let text = message(&file, &options);
    assert!(text.contains("external data: beside.data"), "{text}");
    std::os::unix::fs::symlink(fixture("onnx/beside.data"), &data).unwrap();
    let text = message(&file, &options);
    assert!(text.contains("found a link"), "{text}");
    std::fs::remove_file(&data).unwrap();
    std::fs::copy(fixture("onnx/beside.data"), &data).unwrap();
    let text = message(&file, &options);
    assert!(text.contains("fits --front-end"), "{text}");
    std::fs::write(&data, [0; 100]).unwrap();
    assert!(message(&file, &options).contains("which has 100"));
}

#[test]
fn the_licence_is_that_of_the_card_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.onnx");
    std::fs::copy(fixture("onnx/attention.onnx"), &file).unwrap();
    let models = folder.path().join("models");
    let numbers = folder.path().join("front_end.toml");
    std::fs::write(&numbers, front_end(1, 4000)).unwrap();
    let options = OnnxOptions {
        front_end: Some(numbers.display().to_string()),
        ..OnnxOptions::default()
    };
    assert_eq!(import(&file, &options, &models).unwrap().licence, "unknown");
    let card = "---\nlicense: cc-by-nc-4.0\n---\n# A network";
    std::fs::write(folder.path().join("README.md"), card).unwrap();
    let manifest = import(&file, &options, &models).unwrap();
    assert_eq!(manifest.licence, "cc-by-nc-4.0");
    // The same network fed otherwise makes other vectors.
    std::fs::write(&numbers, front_end(1, 8000)).unwrap();
    let longer = import(&file, &options, &models).unwrap();
    assert_eq!(manifest.weights_sha256, longer.weights_sha256);
    assert_ne!(manifest.fingerprint(), longer.fingerprint());
}
