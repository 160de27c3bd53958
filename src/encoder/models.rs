//! Finding a model: built in, in the models folder, or at a path.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::import::torch;
use super::manifest::{check_digest, sha256_hex};
use super::tensor_file::read_safetensors;
use super::{EncoderError, ModelManifest, Weights};
use voisin_base::{atomic_file, directories, regular_file};

pub const DEFAULT_MODEL: &str = crate::shipped::NAMES[0];

/// A user's reference to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// A built-in model, or one in the models folder.
    Name(String),
    /// A manifest; the weights lie beside it.
    Manifest(PathBuf),
    /// A weights file; the manifest of the same stem beside it is used if there is one, else the
    /// architecture is recognised by the tensors.
    Weights(PathBuf),
}

impl Default for ModelRef {
    fn default() -> Self {
        Self::Name(DEFAULT_MODEL.to_owned())
    }
}

impl From<&Path> for ModelRef {
    fn from(path: &Path) -> Self {
        let is_json = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"));
        if is_json {
            Self::Manifest(path.to_owned())
        } else {
            Self::Weights(path.to_owned())
        }
    }
}

impl FromStr for ModelRef {
    type Err = std::convert::Infallible;

    /// A path if it has a folder or a known extension, else a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        let known = ["json", "safetensors", "pth", "pt", "tar"];
        let is_file = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| known.contains(&e.to_ascii_lowercase().as_str()));
        // A bare word is a name even if the folder has a file of that name.
        Ok(
            if is_file || path.components().count() > 1 || path.is_absolute() {
                Self::from(path)
            } else {
                Self::Name(text.to_owned())
            },
        )
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Manifest(path) | Self::Weights(path) => path.display().fmt(f),
        }
    }
}

/// The place of a listed model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelLocation {
    BuiltIn,
    /// Its manifest, or another file of its folder.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    pub manifest: ModelManifest,
    pub location: ModelLocation,
}

impl ModelEntry {
    /// Size of the weights of all its networks, in bytes; missing files count as 0.
    pub fn bytes(&self) -> u64 {
        let others = self.manifest.networks.iter().flat_map(|network| {
            let projection = network.projection.as_ref().map(|layer| &layer.weights);
            std::iter::once(&network.weights).chain(projection)
        });
        std::iter::once(&self.manifest.weights)
            .chain(others)
            .map(|file| match &self.location {
                ModelLocation::BuiltIn => built_in_file(file).len() as u64,
                ModelLocation::File(path) => std::fs::metadata(path.with_file_name(file))
                    .map_or(0, |metadata| metadata.len()),
            })
            .sum()
    }

    /// Reads a file of weights, compares its digest, then parses it.
    fn read(&self, file: &str, expected: &str) -> Result<Weights, EncoderError> {
        let (path, bytes) = match &self.location {
            ModelLocation::BuiltIn => (PathBuf::from(file), Cow::Borrowed(built_in_file(file))),
            ModelLocation::File(beside) => {
                let path = beside.with_file_name(file);
                let bytes = read(&path)?;
                (path, Cow::Owned(bytes))
            }
        };
        // Before parsing, to report a damaged file as damaged and not as of a wrong shape.
        check_digest(&bytes, expected, &path)?;
        Weights::from_safetensors(&bytes, &path.display().to_string())
    }

    /// Its weights, read and checked.
    fn found(self) -> Result<Found, EncoderError> {
        let weights = self.read(&self.manifest.weights, &self.manifest.weights_sha256)?;
        // Shapes and finite numbers are checked once here and not in the networks.
        weights.check(self.manifest.architecture)?;
        let mut others = Vec::new();
        for network in &self.manifest.networks {
            let weights = self.read(&network.weights, &network.weights_sha256)?;
            weights.check(network.architecture)?;
            others.push(match &network.projection {
                Some(layer) => {
                    weights.with_projection(self.read(&layer.weights, &layer.weights_sha256)?)
                }
                None => weights,
            });
        }
        Ok(Found {
            manifest: self.manifest,
            weights,
            others,
        })
    }
}

/// Folder of the user's own models: `VOISIN_MODELS`, else `voisin/models` in the XDG data folder.
pub fn models_dir() -> Option<PathBuf> {
    directories::from_variable("VOISIN_MODELS")
        .or_else(|| Some(directories::data()?.join("models")))
}

/// Lists the built-in models, then those in `dir`, sorted by name; a manifest that cannot be read,
/// or that has the name of a built-in model, becomes an error of its own.
pub fn models(dir: Option<&Path>) -> Vec<Result<ModelEntry, EncoderError>> {
    let mut list: Vec<_> = built_in()
        .map(|manifest| {
            Ok(ModelEntry {
                manifest: manifest?,
                location: ModelLocation::BuiltIn,
            })
        })
        .collect();
    let Some(dir) = dir else { return list };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // A missing folder is no error.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return list,
        Err(error) => {
            list.push(Err(EncoderError::io(dir)(error)));
            return list;
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    // Folder entries have no fixed order.
    paths.sort();
    list.extend(paths.into_iter().map(|path| {
        let manifest = read_manifest(&path)?;
        // Otherwise a file could take the place of a built-in model unnoticed.
        if is_built_in(&manifest.name) {
            return Err(EncoderError::BuiltInName {
                name: manifest.name,
                path,
            });
        }
        Ok(ModelEntry {
            manifest,
            location: ModelLocation::File(path),
        })
    }));
    list
}

/// A model found, with its weights read and their digest checked.
pub(crate) struct Found {
    pub(crate) manifest: ModelManifest,
    pub(crate) weights: Weights,
    /// Weights of the manifest's further networks.
    pub(crate) others: Vec<Weights>,
}

impl ModelRef {
    /// The model; an error with the path for weights without a manifest.
    fn entry(&self) -> Result<Result<ModelEntry, &Path>, EncoderError> {
        let (manifest, path) = match self {
            Self::Name(name) => return find_by_name(name).map(Ok),
            Self::Manifest(path) => (Some(read_manifest(path)?), path),
            Self::Weights(path) => (manifest_beside(path)?, path),
        };
        let entry = manifest.map(|manifest| ModelEntry {
            manifest,
            location: ModelLocation::File(path.clone()),
        });
        Ok(entry.ok_or(path))
    }

    /// Reads the manifest; one is made from the weights if there is none.
    pub fn manifest(&self) -> Result<ModelManifest, EncoderError> {
        Ok(match self.entry()? {
            Ok(entry) => entry.manifest,
            Err(path) => read_bare_weights(path)?.manifest,
        })
    }

    /// The manifest and a file of the model's folder; `None` for a built-in model, or weights without a manifest.
    pub(crate) fn located(&self) -> Result<Option<(ModelManifest, PathBuf)>, EncoderError> {
        Ok(self.entry()?.ok().and_then(|entry| match entry.location {
            ModelLocation::File(path) => Some((entry.manifest, path)),
            ModelLocation::BuiltIn => None,
        }))
    }

    /// Finds the model, reads its weights and compares their digest with the manifest's.
    pub(crate) fn find(&self) -> Result<Found, EncoderError> {
        match self.entry()? {
            Ok(entry) => entry.found(),
            Err(path) => read_bare_weights(path),
        }
    }
}

/// The bytes of a file of a built-in model.
fn built_in_file(name: &str) -> &'static [u8] {
    crate::shipped::file(name).expect("the files of a built-in model are built in")
}

/// The manifests of the built-in models, the default's first.
fn built_in() -> impl Iterator<Item = Result<ModelManifest, EncoderError>> {
    crate::shipped::NAMES.iter().map(|name| {
        let json = String::from_utf8_lossy(built_in_file(&format!("{name}.json")));
        ModelManifest::parse(&json, Path::new("built-in model"))
    })
}

/// Whether a built-in model has this name, in whatever case.
fn is_built_in(name: &str) -> bool {
    crate::shipped::NAMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn find_by_name(name: &str) -> Result<ModelEntry, EncoderError> {
    let entries: Vec<ModelEntry> = models(models_dir().as_deref())
        .into_iter()
        .filter_map(Result::ok)
        .collect();
    // The user's own models follow the built-in ones; the last of equal names counts.
    let mut last_first = entries.iter().rev();
    if let Some(entry) = last_first.find(|entry| entry.manifest.name == name) {
        return Ok(entry.clone());
    }
    // A manifest that cannot be parsed only has its file's name, and its error has the fault.
    let card = models_dir().map(|dir| dir.join(format!("{name}.json")));
    if let Some(card) = card.filter(|card| card.is_file()) {
        read_manifest(&card)?;
    }
    let known: Vec<&str> = entries
        .iter()
        .map(|entry| entry.manifest.name.as_str())
        .collect();
    Err(EncoderError::UnknownModel {
        name: name.to_owned(),
        known: known.join(", "),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, EncoderError> {
    /// Most bytes of weights, more than any supported network has.
    const LARGEST_WEIGHTS: u64 = 2 << 30;
    regular_file::read(path, LARGEST_WEIGHTS).map_err(EncoderError::io(path))
}

fn read_manifest(path: &Path) -> Result<ModelManifest, EncoderError> {
    /// Most bytes of a manifest, which is a page of text.
    const LARGEST_MANIFEST: u64 = 4 << 20;
    let text = regular_file::read_text(path, LARGEST_MANIFEST).map_err(EncoderError::io(path))?;
    ModelManifest::parse(&text, path)
}

/// The manifest with the same stem in the same folder, if it names this file.
fn manifest_beside(weights: &Path) -> Result<Option<ModelManifest>, EncoderError> {
    let path = weights.with_extension("json");
    if !path.is_file() {
        return Ok(None);
    }
    let manifest = read_manifest(&path)?;
    // A file copied beside another model's manifest is not its weights.
    Ok((weights.file_name() == Some(std::ffi::OsStr::new(&manifest.weights))).then_some(manifest))
}

/// Makes a manifest for weights without one.
fn read_bare_weights(path: &Path) -> Result<Found, EncoderError> {
    let bytes = read(path)?;
    let (weights, licence) = parse_any(&bytes, path)?;
    let architecture = weights.architecture()?;
    weights.check(architecture)?;
    let file = path.file_name().unwrap_or_default();
    let file = file.to_string_lossy().into_owned();
    let stem = file.split('.').next().filter(|stem| !stem.is_empty());
    let manifest = ModelManifest {
        name: stem.unwrap_or("weights").to_owned(),
        description: format!("{architecture} weights read from {file}"),
        licence: licence.to_owned(),
        provenance: format!("weights file {file}, given without a manifest"),
        weights: file,
        weights_sha256: sha256_hex(&bytes),
        ..ModelManifest::random(architecture, 0)
    };
    Ok(Found {
        manifest,
        weights,
        others: Vec::new(),
    })
}

/// Weights in safetensors or in an archive of torch, with their licence.
fn parse_any(bytes: &[u8], path: &Path) -> Result<(Weights, &'static str), EncoderError> {
    let (tensors, licence) = if torch::is_archive(bytes) {
        (torch::read(path), torch::LICENCE)
    } else {
        (read_safetensors(bytes), "unknown")
    };
    let origin = path.display().to_string();
    match tensors {
        Ok(tensors) => Ok((Weights::new(origin, tensors), licence)),
        Err(reason) => Err(EncoderError::bad(origin)(format!(
            "expected safetensors, or a zip archive of torch.save: {reason}"
        ))),
    }
}

/// Checks the name of a model in a folder.
pub(crate) fn check_model_name(name: &str, file: &Path, folder: &Path) -> Result<(), EncoderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(EncoderError::BadManifest {
            path: folder.join(name),
            reason: "a model's name is made of letters, digits, \"-\", \"_\" and \".\"".to_owned(),
        });
    }
    if is_built_in(name) {
        return Err(EncoderError::BuiltInName {
            name: name.to_owned(),
            path: file.to_owned(),
        });
    }
    Ok(())
}

/// Writes `NAME.safetensors` and `NAME.json`.
///
/// - `manifest`: all but the names and the digest
pub(crate) fn keep_model(
    weights: &Weights,
    name: &str,
    manifest: ModelManifest,
    folder: &Path,
) -> Result<ModelManifest, EncoderError> {
    std::fs::create_dir_all(folder).map_err(EncoderError::io(folder))?;
    let file = format!("{name}.safetensors");
    let path = folder.join(&file);
    weights.to_safetensors(&path)?;
    let manifest = ModelManifest {
        name: name.to_owned(),
        weights: file,
        // Read again from disk, so that the digest is that of the file.
        weights_sha256: sha256_hex(&read(&path)?),
        ..manifest
    };
    // The manifest last, so that no model without weights is listed.
    write_manifest(&manifest, folder)?;
    Ok(manifest)
}

pub(crate) fn write_manifest(manifest: &ModelManifest, folder: &Path) -> Result<(), EncoderError> {
    let card = folder.join(format!("{}.json", manifest.name));
    let text = serde_json::to_string_pretty(manifest)
        .map_err(|error| EncoderError::bad(card.display())(error.to_string()))?;
    atomic_file::write(&card, text + "\n").map_err(EncoderError::io(&card))
}
