//! Validation of manifests.

use std::path::Path;

use super::{Architecture, ModelManifest, ModelNetwork};
use voisin_features::MelConfig;

impl ModelManifest {
    /// Checks that all fields are valid and consistent.
    pub(super) fn check(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if self.format != Self::FORMAT {
            return Err(format!(
                "its format is {}, expected {}",
                self.format,
                Self::FORMAT
            ));
        }
        // A name becomes a file name in the models folder.
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            return Err(format!(
                "\"name\" is \"{}\": expected a word without slashes",
                self.name
            ));
        }
        let further = self.networks.iter().map(ModelNetwork::dimension);
        let dimension = self.own_dimension() + further.sum::<usize>();
        if self.dimension != dimension {
            let makers = if self.networks.is_empty() {
                architecture.to_string()
            } else {
                "its networks".to_owned()
            };
            return Err(format!(
                "\"dimension\" is {}, expected {dimension} of {makers}",
                self.dimension
            ));
        }
        check_network(
            self.input_shape(),
            architecture,
            &self.front_end,
            &self.weights,
            &self.weights_sha256,
        )?;
        self.check_clap()?;
        for output in &self.outputs {
            if output.name.is_empty() || output.labels.is_empty() {
                return Err("an output has no name or no labels".to_owned());
            }
        }
        self.networks.iter().try_for_each(ModelNetwork::check)
    }

    /// Checks that a CLAP model, and no other, has its sizes.
    fn check_clap(&self) -> Result<(), String> {
        let is_clap = self.architecture == Architecture::Clap;
        let Some(towers) = &self.clap else {
            return if is_clap {
                Err("\"clap\" is missing: expected the sizes of its networks".to_owned())
            } else {
                Ok(())
            };
        };
        if !is_clap || !self.networks.is_empty() {
            return Err("\"clap\" needs \"architecture\": \"clap\" and no \"networks\"".to_owned());
        }
        if self.dimension != towers.projection {
            return Err(format!(
                "\"dimension\" is {}, expected {} of its projection",
                self.dimension, towers.projection
            ));
        }
        check_file(&towers.tokenizer, &towers.tokenizer_sha256)?;
        check_file(&towers.captions, &towers.captions_sha256)?;
        towers.check()
    }
}

impl ModelNetwork {
    fn check(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if !Architecture::ALL.contains(&architecture) {
            return Err(format!(
                "a further network is of \"{architecture}\": expected openl3 or musicnn"
            ));
        }
        check_network(
            architecture.input_shape(),
            architecture,
            &self.front_end,
            &self.weights,
            &self.weights_sha256,
        )?;
        // A weight of 0 would leave a part without direction, and NaN none at all.
        if !(self.weight.is_finite() && self.weight > 0.0) {
            let found = self.weight;
            return Err(format!("\"weight\" is {found}: expected a number above 0"));
        }
        let most = Self::MOST_EVERY;
        if !(1..=most).contains(&self.every) {
            return Err(format!("\"every\" is {}: expected 1 to {most}", self.every));
        }
        let Some(projection) = &self.projection else {
            return Ok(());
        };
        check_file(&projection.weights, &projection.weights_sha256)?;
        let found = projection.dimension;
        let most = architecture.dimension();
        if !(1..=most).contains(&found) {
            return Err(format!(
                "a projection's \"dimension\" is {found}: expected 1 to {most}"
            ));
        }
        Ok(())
    }
}

/// Checks that hold for every network of a model.
///
/// - `shape`: mel bands and frames that it takes
fn check_network(
    shape: [usize; 2],
    architecture: Architecture,
    front_end: &MelConfig,
    weights: &str,
    digest: &str,
) -> Result<(), String> {
    front_end.validate().map_err(|error| error.to_string())?;
    let found = [front_end.n_mels, front_end.n_frames];
    if found != shape {
        return Err(format!(
            "\"front_end\" makes windows of {found:?} mel bands and frames, but {architecture} takes {shape:?}"
        ));
    }
    check_file(weights, digest)
}

/// Checks the file name and the digest of weights.
fn check_file(weights: &str, digest: &str) -> Result<(), String> {
    // Lower case only: digests are compared as text.
    if digest.len() != 64
        || !digest
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
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
