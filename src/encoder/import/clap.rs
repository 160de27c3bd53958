//! CLAP models in the hub's layout: a folder with configuration, preprocessor, weights and tokenizer.

use std::path::Path;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clap::{ClapText, ClapTowers, captions, digest_of_file, open_clap};
use crate::models::{check_model_name, write_manifest};
use crate::{Architecture, EncoderError, ModelManifest, WeightTensor, Weights};
use voisin_base::regular_file;
use voisin_features::MelConfig;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const FILES: [&str; 4] = [CONFIG, PREPROCESSOR, WEIGHTS, TOKENIZER];
/// Largest of the small files, in bytes: the hub's tokenizer has 2 MB.
const LARGEST_TEXT: u64 = 32 << 20;
/// Captions whose smallest cosine is above this are indistinguishable to a model.
// A text encoder that ignores its input gives 1; the margin also catches one that nearly does.
const ALIKE: f32 = 0.99;

pub fn is_clap_folder(folder: &Path) -> bool {
    FILES.iter().any(|name| folder.join(name).is_file())
}

/// Imports a CLAP model into a folder of models: `NAME.safetensors`, `NAME.tokenizer`,
/// `NAME.captions` and `NAME.json`. The weights are a hard link if the file system supports it,
/// else a copy.
///
/// - `folder`: `config.json`, `preprocessor_config.json`, `model.safetensors`, `tokenizer.json`
/// - `progress`: receives the number of captions embedded and the number of all
///
/// # Errors
/// A file is missing, broken or of another kind of model; the model is fused; its text encoder is broken.
pub fn import_clap(
    folder: &Path,
    name: &str,
    licence: Option<&str>,
    models: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ModelManifest, EncoderError> {
    check_model_name(name, folder, models)?;
    check_files(folder)?;
    let mut towers = read_towers(&folder.join(CONFIG))?;
    let front_end = read_front_end(&folder.join(PREPROCESSOR))?;
    let weights = folder.join(WEIGHTS);
    // Everything is checked before the first file is written, so that a refused model leaves nothing behind.
    let tower = open_clap(&weights, &folder.join(TOKENIZER), &towers)?;
    let vectors = read_captions(&tower, &weights, progress)?;

    std::fs::create_dir_all(models).map_err(EncoderError::io(models))?;
    let file = |ending: &str| format!("{name}.{ending}");
    let captions = WeightTensor {
        shape: vec![vectors.len(), towers.projection],
        values: vectors.concat(),
    };
    towers.tokenizer = file("tokenizer");
    towers.captions = file("captions");
    Weights::new(name, [("captions".to_owned(), captions)].into())
        .to_safetensors(&models.join(&towers.captions))?;
    link_or_copy(&folder.join(TOKENIZER), &models.join(&towers.tokenizer))?;
    link_or_copy(&weights, &models.join(file("safetensors")))?;
    // Digests are of the stored files, since the sources may change meanwhile.
    towers.tokenizer_sha256 = digest_of_file(&models.join(&towers.tokenizer))?;
    towers.captions_sha256 = digest_of_file(&models.join(&towers.captions))?;
    let origin = folder.file_name().unwrap_or_default().to_string_lossy();
    let manifest = ModelManifest {
        name: name.to_owned(),
        description: "CLAP: embeds music and text in one space".to_owned(),
        front_end,
        dimension: towers.projection,
        licence: licence.unwrap_or("unknown").to_owned(),
        provenance: format!("imported from the folder {origin}"),
        weights: file("safetensors"),
        weights_sha256: digest_of_file(&models.join(file("safetensors")))?,
        clap: Some(towers),
        ..ModelManifest::random(Architecture::Clap, 0)
    };
    // The manifest last, so that a model without its files is never listed.
    write_manifest(&manifest, models)?;
    Ok(manifest)
}

fn check_files(folder: &Path) -> Result<(), EncoderError> {
    let missing: Vec<&str> = FILES
        .into_iter()
        .filter(|name| !folder.join(name).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(EncoderError::bad(folder.display())(format!(
        "expected {}, as the hub has them, found no {}: download it from the model's page into this folder",
        FILES.join(", "),
        missing.join(", ")
    )))
}

fn read_json(path: &Path) -> Result<Value, EncoderError> {
    let bad = EncoderError::bad(path.display());
    let text = match regular_file::read_text(path, LARGEST_TEXT) {
        Ok(text) => text,
        Err(error) => return Err(bad(error.to_string())),
    };
    match serde_json::from_str(&text) {
        Ok(values @ Value::Object(_)) => Ok(values),
        Ok(_) => Err(bad("expected an object of JSON".to_owned())),
        Err(error) => Err(bad(format!("not JSON: {error}"))),
    }
}

/// A part of a file, whose fields have the defaults of the transformers library.
fn part<T: DeserializeOwned + Default>(path: &Path, value: &Value) -> Result<T, EncoderError> {
    Option::deserialize(value)
        .map(Option::unwrap_or_default)
        .map_err(|error| EncoderError::bad(path.display())(error.to_string()))
}

fn wrong(path: &Path, field: &str, found: &Value, expected: &str) -> EncoderError {
    /// Characters of a value in a message.
    const SHOWN: usize = 60;
    let found: String = found.to_string().chars().take(SHOWN).collect();
    EncoderError::bad(path.display())(format!(
        "{field} is {found}, expected {expected} of a CLAP model (clap-htsat-unfused, larger_clap_music_and_speech)"
    ))
}

/// Checks the fields for whose values alone the networks are written: with others they would load, and
/// compute wrong vectors.
fn check_fixed<const N: usize>(
    path: &Path,
    values: &Value,
    fixed: [(&str, Value); N],
) -> Result<(), EncoderError> {
    for (field, expected) in fixed {
        let found = &values[field];
        // 4 and 4.0 are one number.
        let is_equal =
            *found == expected || found.is_number() && found.as_f64() == expected.as_f64();
        if !found.is_null() && !is_equal {
            return Err(wrong(path, field, found, &expected.to_string()));
        }
    }
    Ok(())
}

fn read_towers(path: &Path) -> Result<ClapTowers, EncoderError> {
    let all = read_json(path)?;
    let kind = &all["model_type"];
    if kind != "clap" {
        return Err(wrong(path, "model_type", kind, "\"clap\""));
    }
    let audio = &all["audio_config"];
    if audio["enable_fusion"] == true {
        return Err(EncoderError::bad(path.display())(
            "enable_fusion is true: a fused model picks crops of a track at random, so that no two runs agree; \
             expected an unfused one: take clap-htsat-unfused in place of clap-htsat-fused"
                .to_owned(),
        ));
    }
    let text = &all["text_config"];
    check_fixed(path, &all, [("projection_hidden_act", "relu".into())])?;
    check_fixed(
        path,
        audio,
        [
            ("window_size", 8.into()),
            ("num_mel_bins", 64.into()),
            ("spec_size", 256.into()),
            ("patch_size", 4.into()),
            ("patch_stride", vec![4, 4].into()),
            ("patch_embed_input_channels", 1.into()),
            ("enable_patch_layer_norm", true.into()),
            ("qkv_bias", true.into()),
            ("hidden_act", "gelu".into()),
            ("layer_norm_eps", 1e-5.into()),
        ],
    )?;
    check_fixed(
        path,
        text,
        [
            ("hidden_act", "gelu".into()),
            ("position_embedding_type", "absolute".into()),
            ("layer_norm_eps", 1e-12.into()),
        ],
    )?;
    let projection: Option<usize> = part(path, &all["projection_dim"])?;
    Ok(ClapTowers {
        audio: part(path, audio)?,
        text: part(path, text)?,
        projection: projection.unwrap_or(512),
        tokenizer: String::new(),
        tokenizer_sha256: String::new(),
        captions: String::new(),
        captions_sha256: String::new(),
    })
}

fn read_front_end(path: &Path) -> Result<MelConfig, EncoderError> {
    let all = read_json(path)?;
    check_fixed(
        path,
        &all,
        [
            ("feature_size", 64.into()),
            ("sampling_rate", 48_000.into()),
            ("hop_length", 480.into()),
            ("max_length_s", 10.into()),
            ("fft_window_size", 1024.into()),
            ("padding", "repeatpad".into()),
        ],
    )?;
    // This field selects the filter bank: HTK's scale for "fusion", Slaney's for "rand_trunc".
    let truncation = &all["truncation"];
    let htk = match truncation.as_str() {
        Some("fusion") => true,
        Some("rand_trunc") => false,
        None if truncation.is_null() => true,
        _ => {
            let expected = "\"rand_trunc\" or \"fusion\"";
            return Err(wrong(path, "truncation", truncation, expected));
        }
    };
    let low: Option<f64> = part(path, &all["frequency_min"])?;
    let high: Option<f64> = part(path, &all["frequency_max"])?;
    let edges = [low.unwrap_or(0.0), high.unwrap_or(14_000.0)];
    let front_end = MelConfig::clap(htk, edges);
    front_end
        .validate()
        .map_err(|error| EncoderError::bad(path.display())(error.to_string()))?;
    Ok(front_end)
}

/// Computes the vectors of all captions, and checks that they differ.
pub(crate) fn read_captions(
    tower: &ClapText,
    weights: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<f32>>, EncoderError> {
    /// Captions by which a broken model is recognised.
    const ENOUGH: usize = 20;
    let all: Vec<&str> = captions().collect();
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(all.len());
    for (at, caption) in all.iter().enumerate() {
        vectors.push(tower.vector(caption)?);
        progress(at + 1, all.len());
        if vectors.len() == ENOUGH {
            let cosine = |other: &Vec<f32>| voisin_base::vector::dot(&vectors[0], other);
            let least = vectors.iter().map(cosine).fold(1.0, f32::min);
            if least > ALIKE {
                return Err(EncoderError::bad(weights.display())(format!(
                    "the text encoder is broken: its vectors of {ENOUGH} captions are all alike (least cosine \
                     {least:.3}, expected below {ALIKE}), a known fault of larger_clap_music: take \
                     larger_clap_music_and_speech or clap-htsat-unfused"
                )));
            }
        }
    }
    Ok(vectors)
}

/// Stores a file without a second copy if possible: as a hard link to the file in the hub's cache.
fn link_or_copy(source: &Path, target: &Path) -> Result<(), EncoderError> {
    let source = source.canonicalize().map_err(EncoderError::io(source))?;
    let part = target.with_extension("part");
    // Left by an import that was killed.
    let _ = std::fs::remove_file(&part);
    if std::fs::hard_link(&source, &part).is_err() {
        std::fs::copy(&source, &part).map_err(EncoderError::io(&part))?;
    }
    std::fs::rename(&part, target).map_err(EncoderError::io(target))?;
    // If both names are links to one file, the renaming has no effect.
    let _ = std::fs::remove_file(&part);
    Ok(())
}
