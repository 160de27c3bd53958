//! Models described by other libraries, files and databases: validated before they are used.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::add::audio_facts;
use voisin_base::text::{LONGEST_TEXT, grouped};
use voisin_base::vector::make_unit;
use voisin_encoder::{ModelManifest, ModelRef};
use voisin_library::{
    AudioFacts, FileRecord, StoredModel, TaggedFile, TrackFacts, TrackRecord, TrackTags, mtime_ns,
};

const LONGEST_VECTOR: usize = 65_536;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalManifest {
    external: String,
    dimension: usize,
}

/// A model of another program under a name that the user chose; its vectors can be searched, but it cannot be run here.
///
/// Models of the same name and dimension are equal. Errors: an invalid name, the name of a model of voisin, or a dimension
/// that no index takes.
#[doc(hidden)]
pub fn external_model(name: &str, dimension: usize) -> Result<StoredModel, String> {
    // The name appears in messages and in the library, so control characters and names that look
    // like files are refused.
    if !is_name(name) || name.len() > 100 {
        return Err(format!(
            "expected a name of at most 100 letters and no file, found {:?}",
            shown(name)
        ));
    }
    if !(1..=LONGEST_VECTOR).contains(&dimension) {
        return Err(format!(
            "expected vectors of 1 to {} numbers, found {}",
            grouped(LONGEST_VECTOR as u64),
            grouped(dimension as u64)
        ));
    }
    let known = ModelRef::Name(name.to_owned()).manifest();
    // With the name of a model of voisin, `add` would load that model and mix its vectors with these.
    if known.is_ok() {
        return Err(format!(
            "voisin has a model {name} itself: name the one that made these vectors otherwise"
        ));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("voisin external model\0{name}\0{dimension}").as_bytes());
    // 32 hex digits, 128 bits, as fingerprints of manifests have.
    let fingerprint = hasher.finalize().to_hex()[..32].to_owned();
    let manifest = ExternalManifest {
        external: name.to_owned(),
        dimension,
    };
    let manifest_json = serde_json::to_string(&manifest).map_err(|error| error.to_string())?;
    Ok(StoredModel {
        name: name.to_owned(),
        fingerprint,
        dimension,
        manifest_json,
    })
}

#[doc(hidden)]
pub fn is_external(model: &StoredModel) -> bool {
    serde_json::from_str::<ExternalManifest>(&model.manifest_json).is_ok()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.contains(char::is_control)
        && matches!(name.parse(), Ok(ModelRef::Name(_)))
}

/// Checks that name, fingerprint and dimension of a model are those of its manifest, because the name decides what the next
/// `add` loads, and the fingerprint which vectors are compared.
pub fn check_model(model: &StoredModel) -> Result<(), String> {
    let StoredModel {
        name,
        fingerprint,
        dimension,
        manifest_json,
    } = model;
    if manifest_json.len() > LONGEST_TEXT {
        return Err(format!(
            "its manifest has {} bytes, expected at most {LONGEST_TEXT}",
            manifest_json.len()
        ));
    }
    if is_external(model) {
        let expected = external_model(name, *dimension)?;
        return if expected == *model {
            Ok(())
        } else {
            Err(format!(
                "expected the external model \"{}\" of dimension {dimension}, found another one",
                shown(name)
            ))
        };
    }
    let manifest = ModelManifest::parse(manifest_json, Path::new("its manifest"))
        .map_err(|e| e.to_string())?;
    // A path here would make the next `add` load an arbitrary file as a network.
    if !is_name(&manifest.name) {
        return Err(format!(
            "its name is {:?}, expected a name and no file",
            shown(&manifest.name)
        ));
    }
    for (what, found, expected) in [
        ("name", name, &manifest.name),
        ("fingerprint", fingerprint, &manifest.fingerprint()),
        (
            "dimension",
            &dimension.to_string(),
            &manifest.dimension.to_string(),
        ),
    ] {
        if found != expected {
            return Err(format!(
                "its {what} is {:?}, expected {:?}, as its manifest has it",
                shown(found),
                shown(expected)
            ));
        }
    }
    Ok(())
}

/// A track with a vector from another program. Its facts come from the file; without the file it is identified by its path.
///
/// - `vector`: only its direction counts
#[doc(hidden)]
pub fn foreign_track(path: PathBuf, tags: TrackTags, vector: &[f32]) -> TrackRecord {
    let mut vector = vector.to_vec();
    // A zero vector is refused by the library, whose error names the file.
    make_unit(&mut vector);
    let (audio, tags) = foreign_audio(&path, tags);
    let metadata = std::fs::metadata(&path).ok();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let record = FileRecord {
        size: metadata.as_ref().map_or(0, std::fs::Metadata::len),
        mtime_ns: metadata.as_ref().map_or(0, mtime_ns),
        path,
    };
    TrackRecord {
        facts: TrackFacts {
            audio,
            added_at: since.map_or(0, |since| since.as_secs() as i64),
            files: vec![TaggedFile { record, tags }],
            descriptors: None,
            label: None,
        },
        vector,
        logits: Vec::new(),
    }
}

/// A file's facts, and its tags unless `tags` has any; a missing file is identified by its path.
fn foreign_audio(path: &Path, tags: TrackTags) -> (AudioFacts, TrackTags) {
    let Ok(info) = voisin_audio::probe(path) else {
        let audio = AudioFacts {
            content: voisin_audio::content_of_path(path),
            seconds: 0.0,
            sample_rate: 0,
            channels: 0,
            container: String::new(),
            codec: String::new(),
            packets: 0,
            damaged_packets: 0,
        };
        return (audio, tags);
    };
    // A table with any tag of a track is assumed to have all of them.
    let tags = if tags == TrackTags::default() {
        voisin_audio::tags::read_tags(path).unwrap_or_default()
    } else {
        tags
    };
    (audio_facts(info, 0), tags)
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
