//! The manifest of a model, a JSON file beside the weights.

mod check;

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Architecture, ClapTowers, EncoderError};
use voisin_base::regular_file;
use voisin_features::MelConfig;
use voisin_simd::buffer::map_file;

/// The manifest of a model.
///
/// A JSON file in the folder of the weights; `weights` is their file name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Version of this layout: [`ModelManifest::FORMAT`].
    pub format: u32,
    /// Short name, for `--model`.
    pub name: String,
    /// A description of one sentence.
    pub description: String,
    /// The network.
    pub architecture: Architecture,
    /// The network's spectrogram.
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
    #[doc(hidden)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clap: Option<ClapTowers>,
}

/// An output for a window besides its vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOutput {
    /// Its subject: `mood`, `voice`; also the name of its tensors.
    pub name: String,
    /// The meaning of each logit, in order.
    pub labels: Vec<String>,
}

/// A further network of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelNetwork {
    /// The network.
    pub architecture: Architecture,
    /// Its spectrogram.
    pub front_end: MelConfig,
    /// File name of its weights, beside the manifest.
    pub weights: String,
    /// SHA-256 of that file, 64 lower-case hexadecimal digits.
    pub weights_sha256: String,
    /// Factor of its unit vector before it is joined; the first network's counts once.
    pub weight: f64,
    /// It takes the first of this many consecutive windows, 1 to [`MOST_EVERY`](Self::MOST_EVERY),
    /// and its output is used for all of them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub every: usize,
    /// Replaces the linear layers after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<ModelProjection>,
}

impl ModelNetwork {
    /// Largest [`every`](Self::every).
    pub const MOST_EVERY: usize = 8;

    /// Length of its part of the vector.
    pub fn dimension(&self) -> usize {
        self.projection
            .as_ref()
            .map_or(self.architecture.dimension(), |projection| {
                projection.dimension
            })
    }
}

/// Linear layers after a network, in their own file, which reduce the output of weights shared with
/// other models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelProjection {
    /// Name of a safetensors file beside the manifest: `projection.{weight, bias}`, and
    /// `told.{weight, bias}` if the network has further outputs.
    pub weights: String,
    /// SHA-256 of that file, 64 lower-case hexadecimal digits.
    pub weights_sha256: String,
    /// Length of the output.
    pub dimension: usize,
}

// The signature that serde requires.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(number: &usize) -> bool {
    *number == 1
}

fn one() -> usize {
    1
}

impl ModelManifest {
    /// The layout of manifests.
    pub const FORMAT: u32 = 1;

    /// Identity of this model's vectors: 32 hexadecimal digits.
    ///
    /// It covers everything that changes a vector (weights, architecture, front end, pooling) and
    /// nothing else (name, description, licence, device).
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        // A separator after each part, so that concatenated fields are unambiguous.
        for part in [
            "voisin-model-1",
            &self.architecture.to_string(),
            &self.weights_sha256,
            &self.front_end.fingerprint(),
            "mean",
        ] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        // The text encoder changes no vector of a track.
        if let Some(towers) = &self.clap {
            let sizes = &towers.audio;
            let stages = [sizes.depths, sizes.heads];
            let ends = [sizes.channels, sizes.mlp_ratio, towers.projection];
            hasher.update(format!("clap {stages:?} {ends:?}\0"));
        }
        for network in &self.networks {
            for part in [
                &network.architecture.to_string(),
                &network.weights_sha256,
                &network.front_end.fingerprint(),
                &network.weight.to_string(),
            ] {
                hasher.update(part.as_bytes());
                hasher.update([0]);
            }
            // Only if it is not the default: a field that changes no vector changes no identity.
            if network.every > 1 {
                hasher.update(format!("every {}\0", network.every));
            }
            if let Some(projection) = &network.projection {
                hasher.update(format!("projection {}\0", projection.weights_sha256));
            }
        }
        hex(&hasher.finalize())[..32].to_owned()
    }

    /// Length of its own network's vector, without those of `networks`.
    pub fn own_dimension(&self) -> usize {
        match self.architecture {
            // Only the manifest has its length.
            Architecture::Clap => self.dimension,
            fixed => fixed.dimension(),
        }
    }

    /// Whether there is a text encoder.
    pub fn reads(&self) -> bool {
        self.clap.is_some()
    }

    /// `[n_mels, n_frames]` that its own network takes.
    pub fn input_shape(&self) -> [usize; 2] {
        self.architecture.input_shape()
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
    // Hashed through the mapping from which the tensors are then read.
    let found = sha256_hex(&map);
    if found != digest {
        return Err(EncoderError::WrongDigest {
            path,
            expected: digest.to_owned(),
            found,
        });
    }
    Ok(map)
}

/// SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> ModelManifest {
        ModelManifest::random(Architecture::Musicnn, 0)
    }

    /// With a second network of 56 numbers.
    fn pair(change: impl Fn(&mut ModelNetwork)) -> ModelManifest {
        let mut second = ModelNetwork {
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
        change(&mut second);
        ModelManifest {
            dimension: 200 + second.dimension(),
            networks: vec![second],
            ..manifest()
        }
    }

    fn parsed(manifest: &ModelManifest) -> Result<ModelManifest, EncoderError> {
        let json = serde_json::to_string(manifest).unwrap();
        ModelManifest::parse(&json, Path::new("m.json"))
    }

    type NetworkChange = fn(&mut ModelNetwork);

    #[test]
    fn contradictions_are_named() {
        type Change = fn(&mut ModelManifest);
        let of_one: [(Change, &str); 5] = [
            (|m| m.dimension = 512, "\"dimension\" is 512"),
            (|m| m.front_end = MelConfig::openl3(), "[128, 199]"),
            (|m| m.weights = "../x".into(), "without folders"),
            (|m| m.weights_sha256 = "abc".into(), "64"),
            (|m| m.format = 9, "expected 1"),
        ];
        for (change, expected) in of_one {
            let mut manifest = manifest();
            assert_eq!(parsed(&manifest).unwrap(), manifest);
            change(&mut manifest);
            let reason = parsed(&manifest).unwrap_err().to_string();
            assert!(reason.contains(expected), "{reason}");
        }
        let of_two: [(NetworkChange, &str); 5] = [
            (|n| n.weight = 0.0, "above 0"),
            (|n| n.every = 0, "expected 1 to 8"),
            (|n| n.every = 9, "expected 1 to 8"),
            (|n| n.weights = "../x".into(), "without folders"),
            (
                |n| n.projection.as_mut().unwrap().dimension = 513,
                "expected 1 to 512",
            ),
        ];
        for (change, expected) in of_two {
            let reason = parsed(&pair(change)).unwrap_err().to_string();
            assert!(reason.contains(expected), "{reason}");
        }
        let joined = pair(|_| ());
        assert_eq!(
            (parsed(&joined).unwrap(), joined.dimension),
            (joined.clone(), 256)
        );
        let long = ModelManifest {
            dimension: 712,
            ..joined
        };
        let reason = parsed(&long).unwrap_err().to_string();
        assert!(reason.contains("expected 256 of its networks"), "{reason}");
    }

    #[test]
    fn the_fingerprint_follows_what_changes_vectors() {
        let base = manifest().fingerprint();
        assert_eq!(base.len(), 32);
        let same = ModelManifest {
            name: "other".into(),
            licence: "MIT".into(),
            outputs: vec![ModelOutput {
                name: "voice".into(),
                labels: vec!["sung".into()],
            }],
            ..manifest()
        };
        assert_eq!(same.fingerprint(), base);
        let other_weights = ModelManifest {
            weights_sha256: "1".repeat(64),
            ..manifest()
        };
        let other_front_end = ModelManifest {
            front_end: MelConfig::openl3(),
            ..manifest()
        };
        let mut all = vec![
            base,
            other_weights.fingerprint(),
            other_front_end.fingerprint(),
        ];
        let changes: [fn(&mut ModelNetwork); 4] = [
            |_| (),
            |n| n.weight = 0.6,
            |n| n.every = 2,
            |n| n.projection.as_mut().unwrap().weights_sha256 = "3".repeat(64),
        ];
        all.extend(changes.map(|change| pair(change).fingerprint()));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
