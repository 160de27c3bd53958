//! The manifest of a model, a JSON file beside the weights.

use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Architecture, ClapTowers, EncoderError};
use voisin_base::regular_file;
use voisin_features::MelConfig;
use voisin_simd::buffer::map_file;

/// The manifest of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Version of this layout: [`ModelManifest::FORMAT`].
    pub format: u32,
    /// Short name, for `--model`.
    pub name: String,
    pub description: String,
    pub architecture: Architecture,
    pub front_end: MelConfig,
    /// Length of an embedding.
    pub dimension: usize,
    /// SPDX expression of the weights' licence.
    pub licence: String,
    /// Origin of the weights, and how they were made or converted.
    pub provenance: String,
    /// File name of the weights, beside the manifest.
    pub weights: String,
    /// SHA-256 of the weights file, 64 lower-case hexadecimal digits.
    pub weights_sha256: String,
    /// Names of the tag logits, in order, if the model has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Further outputs besides the vector and `tags`, in order: logits with their names. In a model
    /// of several networks those of the further ones follow its own; without names they are left
    /// out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<ModelOutput>,
    /// Further networks, whose vectors are appended. All take the same sound: one with a shorter
    /// window takes the middle of the longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<ModelNetwork>,
    /// The sizes and further files of a model of [`Architecture::Clap`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clap: Option<ClapTowers>,
}

/// An output for a window besides its vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOutput {
    /// Its subject: `mood`, `voice`.
    pub name: String,
    /// The meaning of each logit, in order.
    pub labels: Vec<String>,
}

/// A further network of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelNetwork {
    pub architecture: Architecture,
    pub front_end: MelConfig,
    pub weights: String,
    pub weights_sha256: String,
    /// Factor of its unit vector before it is joined; the first network's counts once.
    pub weight: f64,
    /// It takes the first of this many consecutive windows, and its output is used for all of them.
    #[serde(default = "one")]
    pub every: usize,
    /// Replaces the linear layers after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<ModelProjection>,
}

fn one() -> usize {
    1
}

/// Linear layers after a network, in their own file, which reduce the output of weights shared with
/// other models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelProjection {
    /// Name of a safetensors file beside the manifest: `projection.{weight, bias}`, and
    /// `told.{weight, bias}` if the network has further outputs.
    pub weights: String,
    pub weights_sha256: String,
    /// Length of the output.
    pub dimension: usize,
}

impl ModelNetwork {
    /// Length of its part of the vector.
    pub fn dimension(&self) -> usize {
        self.projection
            .as_ref()
            .map_or(self.architecture.dimension(), |projection| {
                projection.dimension
            })
    }

    fn check(&self) -> Result<(), String> {
        let most = self.architecture.dimension();
        let found = self.dimension();
        if !(1..=most).contains(&found) {
            return Err(format!(
                "a further network of \"{}\" has \"dimension\" {found}: expected openl3 or musicnn, 1 to {most}",
                self.architecture
            ));
        }
        check_front_end(self.architecture, &self.front_end)?;
        check_file(&self.weights, &self.weights_sha256)?;
        // A weight of 0 would leave a part without direction, and NaN none at all.
        if !(self.weight.is_finite() && self.weight > 0.0) {
            let found = self.weight;
            return Err(format!("\"weight\" is {found}: expected a number above 0"));
        }
        if !(1..=8).contains(&self.every) {
            return Err(format!("\"every\" is {}: expected 1 to 8", self.every));
        }
        match &self.projection {
            Some(layer) => check_file(&layer.weights, &layer.weights_sha256),
            None => Ok(()),
        }
    }
}

impl ModelManifest {
    /// The layout of manifests.
    pub const FORMAT: u32 = 1;

    /// Identity of this model's vectors, 32 hexadecimal digits: of what changes a vector, and nothing
    /// else (name, licence, tags, text encoder).
    pub fn fingerprint(&self) -> String {
        let parts = (
            self.architecture,
            &self.weights_sha256,
            &self.front_end,
            self.clap
                .as_ref()
                .map(|towers| (&towers.audio, towers.projection)),
            &self.networks,
        );
        let text = serde_json::to_string(&parts).expect("numbers and names are valid JSON");
        sha256_hex(text.as_bytes())[..32].to_owned()
    }

    /// Length of its own network's vector, without those of `networks`.
    pub fn own_dimension(&self) -> usize {
        self.clap
            .as_ref()
            .map_or(self.architecture.dimension(), |towers| towers.projection)
    }

    /// Whether there is a text encoder.
    pub fn reads(&self) -> bool {
        self.clap.is_some()
    }

    /// Parses and checks a manifest; `path` is for the message.
    pub fn parse(json: &str, path: &Path) -> Result<Self, EncoderError> {
        let bad = |reason: String| EncoderError::BadManifest {
            path: path.to_owned(),
            reason,
        };
        let manifest: Self = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != Self::FORMAT {
            let found = self.format;
            return Err(format!("its format is {found}, expected {}", Self::FORMAT));
        }
        // A name becomes a file name in the models folder.
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            let name = &self.name;
            return Err(format!(
                "\"name\" is \"{name}\": expected a word without slashes"
            ));
        }
        let further = self.networks.iter().map(ModelNetwork::dimension);
        let dimension = self.own_dimension() + further.sum::<usize>();
        if self.dimension != dimension {
            let found = self.dimension;
            return Err(format!(
                "\"dimension\" is {found}, expected {dimension} of its networks"
            ));
        }
        check_front_end(self.architecture, &self.front_end)?;
        check_file(&self.weights, &self.weights_sha256)?;
        if self.reads() != (self.architecture == Architecture::Clap) {
            return Err("\"clap\" needs \"architecture\": \"clap\", and that the other".to_owned());
        }
        if let Some(towers) = &self.clap {
            check_file(&towers.tokenizer, &towers.tokenizer_sha256)?;
            check_file(&towers.captions, &towers.captions_sha256)?;
            towers.check()?;
        }
        if self.reads() && !self.networks.is_empty() {
            return Err("\"clap\" stands without \"networks\"".to_owned());
        }
        let mut outputs = self.outputs.iter();
        if outputs.any(|output| output.name.is_empty() || output.labels.is_empty()) {
            return Err("an output has no name or no labels".to_owned());
        }
        self.networks.iter().try_for_each(ModelNetwork::check)
    }

    /// The manifest of seeded random weights.
    #[must_use]
    pub fn random(architecture: Architecture, seed: u64) -> Self {
        Self {
            format: Self::FORMAT,
            name: format!("{architecture}-random"),
            description: format!("{architecture} with random weights: vectors without meaning"),
            architecture,
            front_end: architecture.front_end(),
            dimension: architecture.dimension(),
            licence: "CC0-1.0".to_owned(),
            provenance: format!("uniform random numbers, seed {seed}"),
            weights: format!("{architecture}-random.safetensors"),
            // There is no file to hash; architecture and seed determine the weights.
            weights_sha256: sha256_hex(format!("random {architecture} {seed}").as_bytes()),
            tags: None,
            outputs: Vec::new(),
            networks: Vec::new(),
            clap: None,
        }
    }
}

fn check_front_end(architecture: Architecture, front_end: &MelConfig) -> Result<(), String> {
    front_end.validate().map_err(|error| error.to_string())?;
    let found = [front_end.n_mels, front_end.n_frames];
    let shape = architecture.input_shape();
    if found != shape {
        return Err(format!(
            "\"front_end\" makes windows of {found:?} mel bands and frames, but {architecture} takes {shape:?}"
        ));
    }
    Ok(())
}

/// Checks the file name and the digest of weights.
fn check_file(weights: &str, digest: &str) -> Result<(), String> {
    // Lower case only: digests are compared as text.
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if digest.len() != 64 || !digest.bytes().all(is_digit) {
        return Err("\"weights_sha256\" is not 64 lower-case hexadecimal digits".to_owned());
    }
    // The file lies beside the manifest; a path could lead anywhere.
    if Path::new(weights).file_name() != Some(std::ffi::OsStr::new(weights)) {
        return Err(format!(
            "\"weights\" is \"{weights}\": expected a file name without folders"
        ));
    }
    Ok(())
}

/// Maps a file, as tensors are read from it once.
pub(crate) fn map(path: &Path) -> Result<impl Deref<Target = [u8]> + use<>, EncoderError> {
    let file = regular_file::open(path).map_err(EncoderError::io(path))?;
    map_file(&file).map_err(EncoderError::io(path))
}

/// Maps a file of a model, and compares its digest with the manifest's.
///
/// - `beside`: the manifest, or another file of its folder
pub(crate) fn map_beside(
    beside: &Path,
    name: &str,
    digest: &str,
) -> Result<impl Deref<Target = [u8]> + use<>, EncoderError> {
    let path = beside.with_file_name(name);
    let map = map(&path)?;
    check_digest(&map, digest, &path)?;
    Ok(map)
}

pub(crate) fn check_digest(bytes: &[u8], expected: &str, path: &Path) -> Result<(), EncoderError> {
    let found = sha256_hex(bytes);
    if found == expected {
        return Ok(());
    }
    Err(EncoderError::WrongDigest {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

/// SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| format!("{byte:02x}");
    Sha256::digest(bytes).iter().map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a second network of 56 numbers.
    fn pair() -> ModelManifest {
        let second = ModelNetwork {
            architecture: Architecture::OpenL3,
            front_end: MelConfig::openl3(),
            weights: "second.safetensors".into(),
            weights_sha256: "1".repeat(64),
            weight: 0.5,
            every: 3,
            projection: Some(ModelProjection {
                weights: "short.safetensors".into(),
                weights_sha256: "2".repeat(64),
                dimension: 56,
            }),
        };
        ModelManifest {
            dimension: 256,
            networks: vec![second],
            ..ModelManifest::random(Architecture::Musicnn, 0)
        }
    }

    fn parsed(manifest: &ModelManifest) -> Result<ModelManifest, EncoderError> {
        let json = serde_json::to_string(manifest).unwrap();
        ModelManifest::parse(&json, Path::new("m.json"))
    }

    type Change = fn(&mut ModelManifest);

    #[test]
    fn contradictions_are_named() {
        assert_eq!(parsed(&pair()).unwrap(), pair());
        let changes: [(Change, &str); 9] = [
            (|m| m.dimension = 512, "expected 256 of its networks"),
            (|m| m.front_end = MelConfig::openl3(), "[128, 199]"),
            (|m| m.weights = "../x".into(), "without folders"),
            (|m| m.weights_sha256 = "abc".into(), "64"),
            (|m| m.format = 9, "expected 1"),
            (|m| m.networks[0].weight = 0.0, "above 0"),
            (|m| m.networks[0].every = 9, "expected 1 to 8"),
            (|m| m.networks[0].weights = "../x".into(), "without folders"),
            (
                |m| {
                    m.networks[0].projection.as_mut().unwrap().dimension = 513;
                    m.dimension = 713;
                },
                "1 to 512",
            ),
        ];
        for (change, expected) in changes {
            let mut manifest = pair();
            change(&mut manifest);
            let reason = parsed(&manifest).unwrap_err().to_string();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn the_fingerprint_follows_what_changes_vectors() {
        let base = pair().fingerprint();
        assert_eq!(base.len(), 32);
        let same = ModelManifest {
            name: "other".into(),
            licence: "MIT".into(),
            tags: Some(vec!["sung".into()]),
            ..pair()
        };
        assert_eq!(same.fingerprint(), base);
        let changes: [Change; 4] = [
            |m| m.weights_sha256 = "1".repeat(64),
            |m| m.front_end = MelConfig::openl3(),
            |m| m.networks[0].weight = 0.6,
            |m| m.networks[0].every = 2,
        ];
        for change in changes {
            let mut manifest = pair();
            change(&mut manifest);
            assert_ne!(manifest.fingerprint(), base);
        }
    }
}
