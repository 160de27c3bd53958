//! Imports of folders of CLAP models (tests/data/clap) and of archives of torch (tests/data/importers).

use std::path::{Path, PathBuf};

use super::torch;
use super::{import_clap, import_model};
use crate::clap::{ClapText, caption_vectors};
use crate::{Architecture, ModelRef, Weights, read_safetensors};

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const FILES: [&str; 4] = [CONFIG, PREPROCESSOR, WEIGHTS, TOKENIZER];

/// A file's new bytes; none to delete it.
type FileChange<'a> = &'a dyn Fn(Vec<u8>) -> Option<Vec<u8>>;

/// The small seeded model, with one file changed.
fn folder(change: Option<(&str, FileChange<'_>)>) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/clap");
    let to = tempfile::tempdir().unwrap();
    for name in FILES {
        let bytes = std::fs::read(from.join(name)).unwrap();
        let bytes = match change {
            Some((changed, change)) if changed == name => change(bytes),
            _ => Some(bytes),
        };
        if let Some(bytes) = bytes {
            std::fs::write(to.path().join(name), bytes).unwrap();
        }
    }
    to
}

fn message(folder: &Path) -> String {
    let models = tempfile::tempdir().unwrap();
    let found = import_clap(folder, "clap", None, models.path(), &mut |_, _| ());
    let files = std::fs::read_dir(models.path()).unwrap().count();
    assert_eq!(files, 0, "nothing is left of a refused model");
    voisin_base::text::with_causes(&found.unwrap_err())
}

fn replaced(file: &str, from: &str, to: &str) -> String {
    let change = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{from}");
        Some(text.replacen(from, to, 1).into_bytes())
    };
    message(folder(Some((file, &change))).path())
}

#[test]
fn an_error_names_missing_files_and_other_kinds() {
    for name in FILES {
        let text = message(folder(Some((name, &|_| None))).path());
        assert!(
            text.contains(&format!("found no {name}")) && text.contains("download it"),
            "{text}"
        );
    }
    let fused = "\"audio_config\": { \"enable_fusion\": true,";
    let window = "\"audio_config\": { \"window_size\": 7,";
    let rate = "\"sampling_rate\": 48000";
    for (file, from, to, expected) in [
        (
            CONFIG,
            "\"model_type\": \"clap\"",
            "\"model_type\": 1",
            "model_type is 1",
        ),
        (
            CONFIG,
            "\"audio_config\": {",
            fused,
            "take clap-htsat-unfused",
        ),
        (
            CONFIG,
            "\"audio_config\": {",
            window,
            "window_size is 7, expected 8",
        ),
        (
            CONFIG,
            "\"depths\": [",
            "\"depths\": [ 9,",
            "invalid length 5",
        ),
        (
            PREPROCESSOR,
            rate,
            "\"sampling_rate\": 16000",
            "expected 48000",
        ),
        (
            PREPROCESSOR,
            "rand_trunc",
            "middle",
            "truncation is \"middle\"",
        ),
        (PREPROCESSOR, "14000", "1e300", "f_max"),
    ] {
        let text = replaced(file, from, to);
        assert!(text.contains(expected) && text.len() < 2000, "{text}");
    }
}

#[test]
fn broken_files_are_errors() {
    for (file, bytes) in [
        (CONFIG, &b"{"[..]),
        (CONFIG, b"[]"),
        (PREPROCESSOR, b"null"),
        (TOKENIZER, b"{}"),
        (WEIGHTS, b""),
        (WEIGHTS, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
        (WEIGHTS, b"\x02\0\0\0\0\0\0\0{}"),
    ] {
        let text = message(folder(Some((file, &|_| Some(bytes.to_vec())))).path());
        assert!(text.len() < 2000, "{text}");
    }
    // Sizes beyond those of the weights, and beyond all memory.
    for size in ["65536", "18446744073709551615"] {
        let text = replaced(
            CONFIG,
            "\"vocab_size\": 400",
            &format!("\"vocab_size\": {size}"),
        );
        assert!(text.len() < 2000, "{text}");
    }
}

#[test]
fn a_text_encoder_with_constant_output_is_refused() {
    // Without its second layer a projection returns its bias for any input.
    let flat = |bytes: Vec<u8>| {
        let mut tensors = read_safetensors(&bytes).unwrap();
        let layer = tensors.get_mut("text_projection.linear2.weight").unwrap();
        layer.values.fill(0.0);
        let file = tempfile::NamedTempFile::new().unwrap();
        Weights::new("flat", tensors)
            .to_safetensors(file.path())
            .unwrap();
        Some(std::fs::read(file.path()).unwrap())
    };
    let text = message(folder(Some((WEIGHTS, &flat))).path());
    assert!(
        text.contains("all alike") && text.contains("larger_clap_music_and_speech"),
        "{text}"
    );
}

#[test]
fn an_imported_model_embeds_audio_and_text() {
    let folder = folder(None);
    let models = tempfile::tempdir().unwrap();
    let mut last = (0, 0);
    // Imported again over itself, with a licence in the options.
    for (licence, stated) in [(None, "unknown"), (Some("MIT"), "MIT")] {
        let mut progress = |at, all| last = (at, all);
        let manifest = import_clap(
            folder.path(),
            "small",
            licence,
            models.path(),
            &mut progress,
        );
        let manifest = manifest.unwrap();
        assert_eq!(
            (manifest.licence.as_str(), manifest.dimension),
            (stated, 32)
        );
    }
    assert_eq!(last, (1000, 1000));
    assert_eq!(std::fs::read_dir(models.path()).unwrap().count(), 4);
    let model = ModelRef::Manifest(models.path().join("small.json"));
    let tower = ClapText::load(&model).unwrap().expect("a text encoder");
    let captions = caption_vectors(&model).unwrap().expect("they are there");
    let third = crate::clap::captions().nth(2).unwrap();
    assert_eq!(captions.row(2).to_vec(), tower.vector(third).unwrap());
    // A file that is changed later is refused.
    std::fs::write(models.path().join("small.tokenizer"), "{}").unwrap();
    let text = ClapText::load(&model).unwrap_err().to_string();
    assert!(text.contains("small.tokenizer") && text.contains("SHA-256"));
}

fn importers(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/importers")
        .join(name)
}

#[test]
fn archives_of_torch_hold_the_tensors_that_were_saved() {
    let bytes = std::fs::read(importers("openl3.safetensors")).unwrap();
    let expected = read_safetensors(&bytes).unwrap();
    let whole = torch::read(&importers("torchopenl3.pth.tar")).unwrap();
    assert_eq!(whole.len(), 48);
    assert!(whole.iter().all(|(name, tensor)| expected[name] == *tensor));
}

#[test]
fn weights_are_imported_with_their_manifest_or_without() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let file = folder.path().join("openl3.safetensors");
    let weights = Weights::random(Architecture::OpenL3, 3);
    weights.to_safetensors(&file).unwrap();
    let plain = import_model(&file, "plain", &models).unwrap();
    assert_eq!(plain.front_end, Architecture::OpenL3.front_end());
    assert_eq!((plain.name.as_str(), plain.dimension), ("plain", 512));
    let mut manifest = ModelRef::from(file.as_path()).manifest().unwrap();
    manifest.front_end.pad_left = 0;
    let card = serde_json::to_string(&manifest).unwrap();
    std::fs::write(file.with_extension("json"), card).unwrap();
    let described = import_model(&file, "described", &models).unwrap();
    assert_eq!(described.front_end.pad_left, 0);
    assert_ne!(described.fingerprint(), plain.fingerprint());
    // A network of several, whose files only its manifest names.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/voisin-equal.json");
    let several = import_model(&shipped, "several", &models).unwrap_err();
    assert!(several.to_string().contains("of one network"), "{several}");
}

#[test]
fn damaged_archives_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pth");
    let bytes = std::fs::read(importers("torchopenl3.pth.tar")).unwrap();
    for share in [0, 5, 50, 95] {
        std::fs::write(&path, &bytes[..bytes.len() * share / 100]).unwrap();
        let error = torch::read(&path).unwrap_err();
        assert!((1..500).contains(&error.len()), "{error}");
    }
    // The pickle comes first: its bytes, each with another value.
    for at in (0..2000).step_by(7) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let _ = torch::read(&path);
    }
}

#[test]
fn other_files_are_refused_with_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for bytes in [
        &b""[..],
        b"<!DOCTYPE html>",
        b"\x89HDF\r\n\x1a\n",
        b"PK\x03\x04",
    ] {
        std::fs::write(&path, bytes).unwrap();
        let text = import_model(&path, "mine", folder.path())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("not a model voisin reads") && text.len() < 1000,
            "{text}"
        );
    }
}
