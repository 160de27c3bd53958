//! What a model is: its card, kept beside the weights as JSON.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::EncoderError;
use crate::features::{MelConfig, OpenL3Variant};

/// The networks voisin can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// OpenL3 mel128, 512 dimensions (Cramer, Wu, Salamon, Bello, ICASSP 2019): windows of 1 s.
    OpenL3,
    /// MusiCNN (Pons and Serra, 2019): patches of 3 s, 200-d penultimate layer, 50 tags.
    Musicnn,
    /// The VGG network of the musicnn package (Pons and Serra, 2019): patches of 3 s, 256-d last pool, 50 tags.
    Vgg,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 3] = [Self::OpenL3, Self::Musicnn, Self::Vgg];

    /// Length of an embedding.
    pub fn dimension(self) -> usize {
        match self {
            Self::OpenL3 => 512,
            Self::Musicnn => 200,
            Self::Vgg => super::vgg::PENULTIMATE,
        }
    }

    /// The spectrogram that the published weights were trained on.
    pub fn front_end(self) -> MelConfig {
        match self {
            Self::OpenL3 => MelConfig::openl3(OpenL3Variant::Original),
            Self::Musicnn | Self::Vgg => MelConfig::musicnn(),
        }
    }

    /// `[n_mels, n_frames]` of a window: the only input size that the network takes.
    pub fn input_shape(self) -> [usize; 2] {
        match self {
            Self::OpenL3 => [128, 199],
            Self::Musicnn | Self::Vgg => [96, 187],
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenL3 => "openl3",
            Self::Musicnn => "musicnn",
            Self::Vgg => "vgg",
        })
    }
}

impl std::str::FromStr for Architecture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.to_string() == text)
            .ok_or_else(|| format!("unknown architecture \"{text}\": expected openl3, musicnn or vgg"))
    }
}

/// The card of a model.
///
/// As JSON, it lies beside the weights, in the same folder; `weights` is the file's name there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Version of this layout; 1.
    pub format: u32,
    /// Short name, as `--model` takes it.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// The network.
    pub architecture: Architecture,
    /// The spectrogram that the network wants.
    pub front_end: MelConfig,
    /// Length of an embedding.
    pub dimension: usize,
    /// SPDX expression of the weights' licence.
    pub licence: String,
    /// Where the weights come from, and how they were made or converted.
    pub provenance: String,
    /// File name of the weights, beside the manifest.
    pub weights: String,
    /// SHA-256 of the weights file, 64 lower-case hexadecimal digits.
    pub weights_sha256: String,
    /// Names of the tag logits, in order, for models that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// The part of a manifest that every format has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl ModelManifest {
    /// Layout that this version of voisin writes and reads.
    pub const FORMAT: u32 = 1;

    /// Identity of the vectors that this model makes: 32 hexadecimal digits.
    ///
    /// It covers what changes a vector (weights, architecture, front end, pooling) and leaves out what does
    /// not (name, description, licence, device).
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
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
        hex(&hasher.finalize())[..32].to_owned()
    }

    /// Parses and checks a manifest; `path` is for the message.
    pub fn parse(json: &str, path: &Path) -> Result<Self, EncoderError> {
        let bad = |reason: String| EncoderError::BadManifest { path: path.to_owned(), reason };
        // An unknown format is told apart from a broken file before its fields are looked at.
        let version: Version = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        if version.format != Self::FORMAT {
            return Err(bad(format!(
                "its format is {}, this voisin reads format {}: update voisin",
                version.format,
                Self::FORMAT
            )));
        }
        let manifest: Self = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// The card of seeded random weights.
    pub(crate) fn random(architecture: Architecture, seed: u64) -> Self {
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
            weights_sha256: sha256_hex(format!("random {architecture} {seed}").as_bytes()),
            tags: None,
        }
    }

    fn check(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            return Err(format!("\"name\" is \"{}\": expected a word without slashes", self.name));
        }
        if self.dimension != architecture.dimension() {
            return Err(format!(
                "\"dimension\" is {}, but {architecture} makes {}",
                self.dimension,
                architecture.dimension()
            ));
        }
        self.front_end.validate().map_err(|error| error.to_string())?;
        let found = [self.front_end.n_mels(), self.front_end.n_frames()];
        if found != architecture.input_shape() {
            return Err(format!(
                "\"front_end\" makes windows of {found:?} mel bands and frames, but {architecture} takes {:?}",
                architecture.input_shape()
            ));
        }
        if self.weights_sha256.len() != 64
            || !self.weights_sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err("\"weights_sha256\" is not 64 lower-case hexadecimal digits".to_owned());
        }
        if Path::new(&self.weights).file_name() != Some(std::ffi::OsStr::new(&self.weights)) {
            return Err(format!("\"weights\" is \"{}\": expected a file name without folders", self.weights));
        }
        Ok(())
    }
}

/// SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> ModelManifest {
        ModelManifest {
            format: 1,
            name: "test".into(),
            description: "a test".into(),
            architecture: Architecture::Musicnn,
            front_end: MelConfig::musicnn(),
            dimension: 200,
            licence: "ISC".into(),
            provenance: "made up".into(),
            weights: "test.safetensors".into(),
            weights_sha256: "0".repeat(64),
            tags: None,
        }
    }

    fn reason(manifest: &ModelManifest) -> String {
        let json = serde_json::to_string(manifest).unwrap();
        ModelManifest::parse(&json, Path::new("m.json")).unwrap_err().to_string()
    }

    #[test]
    fn survives_json() {
        let json = serde_json::to_string_pretty(&manifest()).unwrap();
        assert_eq!(ModelManifest::parse(&json, Path::new("m.json")).unwrap(), manifest());
    }

    #[test]
    fn contradictions_are_named() {
        assert!(reason(&ModelManifest { dimension: 512, ..manifest() }).contains("\"dimension\" is 512"));
        let front_end = MelConfig::openl3(OpenL3Variant::Original);
        assert!(reason(&ModelManifest { front_end, ..manifest() }).contains("[128, 199]"));
        assert!(reason(&ModelManifest { weights: "../x".into(), ..manifest() }).contains("without folders"));
        assert!(reason(&ModelManifest { weights_sha256: "abc".into(), ..manifest() }).contains("64"));
        assert!(reason(&ModelManifest { format: 9, ..manifest() }).contains("update voisin"));
    }

    #[test]
    fn the_fingerprint_follows_what_changes_vectors() {
        let base = manifest().fingerprint();
        assert_eq!(base.len(), 32);
        assert_eq!(
            base,
            ModelManifest { name: "other".into(), licence: "MIT".into(), ..manifest() }.fingerprint()
        );
        assert_ne!(base, ModelManifest { weights_sha256: "1".repeat(64), ..manifest() }.fingerprint());
        let front_end = MelConfig::openl3(OpenL3Variant::Original);
        assert_ne!(base, ModelManifest { front_end, ..manifest() }.fingerprint());
    }

    #[test]
    fn sha256_of_the_empty_string() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
