//! Against transformers' `ClapModel`: tests/data/clap, made by `scripts/research/models/seeded_clap.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::*;
use crate::tensor_file::{WeightTensor, read_safetensors};
use voisin_features::{MelConfig, MelFrontEnd};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/clap")
}

fn small() -> ClapTowers {
    ClapTowers {
        audio: ClapAudioSizes {
            patch_embeds_hidden_size: 8,
            depths: [2, 2, 2, 1],
            num_attention_heads: [1, 2, 2, 4],
            ..ClapAudioSizes::default()
        },
        text: ClapTextSizes {
            hidden_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 64,
            vocab_size: 400,
            ..ClapTextSizes::default()
        },
        projection: 32,
        tokenizer: "tokenizer.json".into(),
        tokenizer_sha256: String::new(),
        captions: String::new(),
        captions_sha256: String::new(),
    }
}

fn answers() -> BTreeMap<String, WeightTensor> {
    read_safetensors(&std::fs::read(golden().join("golden.safetensors")).unwrap()).unwrap()
}

/// The input of the script.
fn clip(seconds: f64) -> Vec<f32> {
    (0..(seconds * 48_000.0).round() as usize)
        .map(|i| {
            let t = i as f64 / 48_000.0;
            let turn = std::f64::consts::TAU;
            let sweep = 0.3 * (turn * (110.0 + 400.0 * t) * t).sin();
            let beat = 0.2 * (turn * 3000.0 * t).sin() * (-8.0 * (2.0 * t).fract()).exp();
            (sweep + beat) as f32
        })
        .collect()
}

fn mel(seconds: f64, htk: bool) -> Vec<f32> {
    let front_end = MelFrontEnd::new(MelConfig::clap(htk, [50.0, 14_000.0])).unwrap();
    front_end
        .compute(&clip(seconds))
        .into_raw_vec_and_offset()
        .0
}

/// Largest difference relative to the largest expected number.
fn error(found: &[f32], expected: &WeightTensor) -> f32 {
    let expected = &expected.values;
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / scale
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn spectrograms_are_those_of_claps_extractor() {
    let answers = answers();
    let clips = [
        ("mel 10.0", 10.0, false),
        ("mel 3.7", 3.7, false),
        ("mel 6.01", 6.01, false),
        ("mel htk", 10.0, true),
    ];
    for (name, seconds, htk) in clips {
        let found = mel(seconds, htk);
        let kept: Vec<f32> = (0..1001)
            .step_by(20)
            .flat_map(|frame| (0..64).map(move |band| band * 1001 + frame))
            .map(|at| found[at])
            .collect();
        let off = error(&kept, &answers[name]);
        assert!(off < 1e-4, "{name}: {off:e}");
    }
}

#[test]
fn audio_stages_equal_those_of_transformers() {
    let answers = answers();
    let bytes = std::fs::read(golden().join("model.safetensors")).unwrap();
    let network = clap_audio(&bytes, &small(), &Device::Cpu).unwrap();
    let heard = mel(6.01, false);
    let mut stages = Vec::new();
    let pooled = network
        .stages(&heard, |stage| {
            stages.push(flat(&stage.transpose(1, 2).unwrap()));
        })
        .unwrap();
    assert_eq!(stages.len(), 5);
    for (at, stage) in stages.iter().enumerate() {
        let off = error(stage, &answers[&format!("audio {at}")]);
        assert!(off < 1e-4, "stage {at}: {off:e}");
    }
    let off = error(&flat(&pooled), &answers["audio pooled"]);
    assert!(off < 1e-4, "pooled: {off:e}");
    let off = error(&network.vector(&heard).unwrap(), &answers["audio vector"]);
    assert!(off < 1e-4, "vector: {off:e}");
}

#[test]
fn text_stages_equal_those_of_transformers() {
    let answers = answers();
    let folder = golden();
    let weights = folder.join("model.safetensors");
    let tower = open_clap(&weights, &folder.join("tokenizer.json"), &small()).unwrap();
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
    let [hidden, pooled] = tower.stages(&texts[0]).unwrap();
    let off = error(&flat(&hidden), &answers["text hidden"]);
    assert!(off < 1e-4, "hidden: {off:e}");
    let off = error(&flat(&pooled), &answers["text pooled"]);
    assert!(off < 1e-4, "pooled: {off:e}");
    let vectors: Vec<f32> = texts
        .iter()
        .flat_map(|text| tower.vector(text).unwrap())
        .collect();
    let off = error(&vectors, &answers["text vectors"]);
    assert!(off < 1e-4, "vectors: {off:e}");
    // More tokens than there are positions.
    assert_eq!(
        tower.vector(&"rainy ".repeat(2000)).unwrap().len(),
        small().projection
    );
}

#[test]
fn sizes_that_no_network_has_are_refused() {
    type SizeChange = fn(&mut ClapTowers);
    let cases: [(SizeChange, &str); 5] = [
        (|t| t.audio.depths[1] = 0, "depths is 0"),
        (|t| t.audio.num_attention_heads[2] = 3, "3 heads of"),
        (|t| t.text.num_attention_heads = 0, "0 heads"),
        (|t| t.text.max_position_embeddings = 4, "at least 5"),
        (|t| t.projection = 1 << 40, "expected 1 to 65536"),
    ];
    for (change, expected) in cases {
        let mut towers = small();
        change(&mut towers);
        let reason = towers.check().unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
    // Wrong shapes are reported before anything is allocated.
    let mut towers = small();
    towers.text.intermediate_size = 65_536;
    let [weights, tokens] = ["model.safetensors", "tokenizer.json"].map(|f| golden().join(f));
    let found = open_clap(&weights, &tokens, &towers).unwrap_err();
    assert!(found.to_string().contains("intermediate"), "{found}");
}
