//! CLAP models in the hub's layout: a folder with configuration, preprocessor, weights and tokenizer.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clap::{
    ClapAudioSizes, ClapText, ClapTextSizes, ClapTowers, captions, digest_of_file, open_clap,
};
use crate::models::check_model_name;
use crate::{Architecture, EncoderError, ModelManifest, WeightTensor, Weights};
use voisin_base::{atomic_file, regular_file};
use voisin_features::MelConfig;

/// The files of a folder.
const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const FILES: [&str; 4] = [CONFIG, PREPROCESSOR, WEIGHTS, TOKENIZER];
/// The model's card, for the licence.
const CARD: &str = "README.md";
/// Largest of the small files, in bytes: the hub's tokenizer has 2 MB.
const LARGEST_TEXT: u64 = 32 << 20;
/// Captions whose smallest cosine is above this are indistinguishable to a model.
// A text encoder that ignores its input gives 1; the margin also catches one that nearly does.
const ALIKE: f32 = 0.99;

/// Whether a folder has any of the files of a CLAP model.
pub fn is_clap_folder(folder: &Path) -> bool {
    FILES.iter().any(|name| folder.join(name).is_file())
}

/// Imports a CLAP model into a folder of models: `NAME.safetensors`, `NAME.tokenizer`,
/// `NAME.captions` and `NAME.json`. The weights are a hard link if the file system supports it,
/// else a copy.
///
/// - `folder`: `config.json`, `preprocessor_config.json`, `model.safetensors`, `tokenizer.json`
/// - `licence`: by default that of the `README.md` there
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
        licence: licence
            .map(str::to_owned)
            .or_else(|| licence_of_card(&folder.join(CARD)))
            .unwrap_or_else(|| "unknown".to_owned()),
        provenance: format!("imported from the folder {origin}"),
        weights: file("safetensors"),
        weights_sha256: digest_of_file(&models.join(file("safetensors")))?,
        clap: Some(towers),
        ..ModelManifest::random(Architecture::Clap, 0)
    };
    let card = models.join(file("json"));
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| EncoderError::bad(card.display())(error.to_string()))?;
    // The manifest last, so that a model without its files is never listed.
    atomic_file::write(&card, text + "\n").map_err(EncoderError::io(&card))?;
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
    // Many models on the hub have both files; the message names the one that is needed.
    let is_pickled = missing.contains(&WEIGHTS) && folder.join("pytorch_model.bin").is_file();
    let instead = if is_pickled {
        " (but pytorch_model.bin, a pickle, which can execute code)"
    } else {
        ""
    };
    Err(EncoderError::bad(folder.display())(format!(
        "expected {}, as the hub has them, found no {}{instead}: download it from the model's page into this folder",
        FILES.join(", "),
        missing.join(", ")
    )))
}

/// A JSON file whose fields have defaults.
struct JsonFields<'a> {
    path: &'a Path,
    place: &'static str,
    values: Value,
}

impl<'a> JsonFields<'a> {
    fn read(path: &'a Path) -> Result<Self, EncoderError> {
        let text = regular_file::read_text(path, LARGEST_TEXT)
            .map_err(|error| EncoderError::bad(path.display())(error.to_string()))?;
        let values: Value = serde_json::from_str(&text)
            .map_err(|error| EncoderError::bad(path.display())(format!("not JSON: {error}")))?;
        if !values.is_object() {
            return Err(EncoderError::bad(path.display())(
                "expected an object of JSON".to_owned(),
            ));
        }
        Ok(Self {
            path,
            place: "",
            values,
        })
    }

    fn part(&self, place: &'static str) -> JsonFields<'a> {
        Self {
            path: self.path,
            place,
            values: self.values.get(place).cloned().unwrap_or_default(),
        }
    }

    fn wrong(&self, field: &str, found: &Value, expected: impl ToString) -> EncoderError {
        /// Characters of a value in a message.
        const SHOWN: usize = 60;
        let dot = if self.place.is_empty() { "" } else { "." };
        let found: String = found.to_string().chars().take(SHOWN).collect();
        EncoderError::bad(self.path.display())(format!(
            "{}{dot}{field} is {found}, expected {} of a CLAP model (clap-htsat-unfused, larger_clap_music_and_speech)",
            self.place,
            expected.to_string()
        ))
    }

    /// The value of a field, or the default of the transformers library.
    fn get<T: DeserializeOwned>(
        &self,
        field: &str,
        default: T,
        kind: &str,
    ) -> Result<T, EncoderError> {
        match self.values.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => T::deserialize(value).map_err(|_| self.wrong(field, value, kind)),
        }
    }

    fn size(&self, field: &str, default: usize) -> Result<usize, EncoderError> {
        self.get(field, default, "a whole number")
    }

    /// Checks a field that has the same value in all supported models.
    fn expect(&self, field: &str, expected: Value) -> Result<(), EncoderError> {
        match self.values.get(field) {
            None | Some(Value::Null) => Ok(()),
            // 4 and 4.0 are one number.
            Some(found)
                if found == &expected
                    || found.as_f64().is_some_and(|x| expected.as_f64() == Some(x)) =>
            {
                Ok(())
            }
            Some(found) => Err(self.wrong(field, found, expected)),
        }
    }
}

/// Checks the fields for whose values alone the networks are written: with others they would load, and
/// compute wrong vectors.
fn check_fixed(audio: &JsonFields<'_>, text: &JsonFields<'_>) -> Result<(), EncoderError> {
    for (field, expected) in [
        ("window_size", Value::from(8)),
        ("num_mel_bins", 64.into()),
        ("spec_size", 256.into()),
        ("patch_size", 4.into()),
        ("patch_stride", vec![4, 4].into()),
        ("patch_embed_input_channels", 1.into()),
        ("enable_patch_layer_norm", true.into()),
        ("qkv_bias", true.into()),
        ("hidden_act", "gelu".into()),
        ("layer_norm_eps", 1e-5.into()),
    ] {
        audio.expect(field, expected)?;
    }
    for (field, expected) in [
        ("hidden_act", Value::from("gelu")),
        ("position_embedding_type", "absolute".into()),
        ("layer_norm_eps", 1e-12.into()),
    ] {
        text.expect(field, expected)?;
    }
    Ok(())
}

fn read_towers(path: &Path) -> Result<ClapTowers, EncoderError> {
    let all = JsonFields::read(path)?;
    if all.values.get("model_type") != Some(&Value::from("clap")) {
        let found = all.values.get("model_type").cloned().unwrap_or_default();
        return Err(all.wrong("model_type", &found, "\"clap\""));
    }
    all.expect("projection_hidden_act", "relu".into())?;
    let audio = all.part("audio_config");
    if audio.get("enable_fusion", false, "true or false")? {
        return Err(EncoderError::bad(path.display())(
            "enable_fusion is true: a fused model picks crops of a track at random, so that no two runs agree; \
             expected an unfused one: take clap-htsat-unfused in place of clap-htsat-fused"
                .to_owned(),
        ));
    }
    let text = all.part("text_config");
    check_fixed(&audio, &text)?;
    let four = "four whole numbers";
    let ratio: f64 = audio.get("mlp_ratio", 4.0, "a number")?;
    Ok(ClapTowers {
        audio: ClapAudioSizes {
            channels: audio.size("patch_embeds_hidden_size", 96)?,
            depths: audio.get("depths", [2, 2, 6, 2], four)?,
            heads: audio.get("num_attention_heads", [4, 8, 16, 32], four)?,
            // A fraction is cut off; the weights' shapes, checked later, then do not fit.
            mlp_ratio: ratio as usize,
        },
        text: ClapTextSizes {
            hidden: text.size("hidden_size", 768)?,
            layers: text.size("num_hidden_layers", 12)?,
            heads: text.size("num_attention_heads", 12)?,
            intermediate: text.size("intermediate_size", 3072)?,
            vocabulary: text.size("vocab_size", 50_265)?,
            positions: text.size("max_position_embeddings", 514)?,
            types: text.size("type_vocab_size", 1)?,
            padding: text.get("pad_token_id", 1, "a whole number")?,
        },
        projection: all.size("projection_dim", 512)?,
        tokenizer: String::new(),
        tokenizer_sha256: String::new(),
        captions: String::new(),
        captions_sha256: String::new(),
    })
}

fn read_front_end(path: &Path) -> Result<MelConfig, EncoderError> {
    let all = JsonFields::read(path)?;
    for (field, expected) in [
        ("feature_size", Value::from(64)),
        ("sampling_rate", 48_000.into()),
        ("hop_length", 480.into()),
        ("max_length_s", 10.into()),
        ("fft_window_size", 1024.into()),
        ("padding", "repeatpad".into()),
    ] {
        all.expect(field, expected)?;
    }
    // This field selects the filter bank: HTK's scale for "fusion", Slaney's for "rand_trunc".
    let truncation = all.get("truncation", "fusion".to_owned(), "a word")?;
    let htk = match truncation.as_str() {
        "fusion" => true,
        "rand_trunc" => false,
        other => {
            return Err(all.wrong("truncation", &other.into(), "\"rand_trunc\" or \"fusion\""));
        }
    };
    let low = all.get("frequency_min", 0.0, "a number")?;
    let high = all.get("frequency_max", 14_000.0, "a number")?;
    let front_end = MelConfig::clap(htk, [low, high]);
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

/// The licence in the front matter of a model's card: `license: apache-2.0` between two lines of dashes.
fn licence_of_card(path: &Path) -> Option<String> {
    let text = regular_file::read_text(path, LARGEST_TEXT).ok()?;
    let mut lines = text.lines().map(str::trim);
    if lines.next() != Some("---") {
        return None;
    }
    let licence = lines
        .take_while(|line| *line != "---")
        .find_map(|line| line.strip_prefix("license:"))?;
    let licence = licence.trim().trim_matches(['"', '\'']);
    (!licence.is_empty() && licence.len() <= 100).then(|| licence.to_owned())
}
