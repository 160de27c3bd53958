//! Prepared music: one safetensors file per track and pass.
//!
//! Tensors: `mels` f16 `[crops, variants, 128, 199]` (the first variant is the music as it is), `starts` f32
//! `[crops]` in seconds, and `teacher.NAME` f32 `[crops, 250]`: 200 of the penultimate layer, then 50 tag logits, of
//! the 3 s around the crop. Metadata: format, group, track.

#![allow(unsafe_code, reason = "maps files into memory")]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::TrainError;
use crate::encoder::conv::{FRAMES, MELS, WINDOW};

/// Values of a teacher's penultimate layer.
pub(super) const PENULTIMATE: usize = 200;
/// Tags of a teacher.
pub(super) const TAGS: usize = 50;
/// Values of a teacher.
pub(super) const TARGETS: usize = PENULTIMATE + TAGS;
/// Version of the layout and of what is in it.
pub(super) const FORMAT: &str = "voisin-crops-1";
/// End of every file's name.
const SUFFIX: &str = ".crops.safetensors";

/// What [`write`] stores.
pub(super) struct TrackCrops {
    pub group: String,
    pub track: String,
    pub variants: usize,
    pub starts: Vec<f32>,
    pub mels: Vec<f16>,
    pub teachers: Vec<(String, Vec<f32>)>,
}

/// Where a track's crops of a pass lie.
pub(super) fn file(cache: &Path, track: &str, pass: u32) -> PathBuf {
    let digest = blake3::hash(track.as_bytes()).to_hex();
    cache.join(format!("{}-{pass}{SUFFIX}", &digest[..20]))
}

/// Writes the file under another name, then renames it.
pub(super) fn write(path: &Path, crops: &TrackCrops) -> Result<(), TrainError> {
    let n = crops.starts.len();
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let mels: Vec<u8> = crops.mels.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut tensors = vec![
        ("mels".to_owned(), Dtype::F16, vec![n, crops.variants, MELS, FRAMES], mels),
        ("starts".to_owned(), Dtype::F32, vec![n], bytes(&crops.starts)),
    ];
    for (name, values) in &crops.teachers {
        tensors.push((format!("teacher.{name}"), Dtype::F32, vec![n, TARGETS], bytes(values)));
    }
    let metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("group".to_owned(), crops.group.clone()),
        ("track".to_owned(), crops.track.clone()),
    ]);
    write_safetensors(path, &tensors, metadata).map_err(|error| TrainError::cache(path, error))
}

/// Writes tensors to a file beside `path`, then renames it.
pub(super) fn write_safetensors(
    path: &Path,
    tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)],
    metadata: HashMap<String, String>,
) -> Result<(), String> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| {
            TensorView::new(*dtype, shape.clone(), data).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
    let part = path.with_extension("part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(|error| error.to_string())
}

/// All prepared music of a folder, in memory as far as the system sees fit.
pub struct Dataset {
    files: Vec<Mapped>,
    /// `(file, crop in it, track)`
    crops: Vec<(u32, u32, u32)>,
    /// Group and name of each track.
    tracks: Vec<(String, String)>,
    teachers: Vec<String>,
    /// `[crops][teachers · 250]`
    targets: Vec<f32>,
    digest: String,
}

struct Mapped {
    map: Mmap,
    mels: usize,
    variants: usize,
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("crops", &self.crops.len())
            .field("tracks", &self.tracks.len())
            .field("teachers", &self.teachers)
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// Opens every prepared file of `cache`, sorted by name. Teachers are those that every file has.
    pub fn open(cache: &Path) -> Result<Self, TrainError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(cache).map_err(TrainError::io(cache))? {
            let path = entry.map_err(TrainError::io(cache))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX)) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut hasher = blake3::Hasher::new();
        let (mut files, mut crops, mut tracks) = (Vec::new(), Vec::new(), Vec::new());
        let mut by_name: HashMap<String, u32> = HashMap::new();
        let mut outputs: BTreeMap<String, (usize, Vec<f32>)> = BTreeMap::new();
        for path in &paths {
            let file = File::open(path).map_err(TrainError::io(path))?;
            // SAFETY: prepared files are written under another name and renamed, never changed afterwards.
            let map = unsafe { Mmap::map(&file) }.map_err(TrainError::io(path))?;
            let (mapped, n, track, teachers) = {
                let bad = |reason: &str| TrainError::cache(path, reason);
                let (_, header) = SafeTensors::read_metadata(&map).map_err(|e| TrainError::cache(path, e))?;
                let get = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key)).cloned();
                if get("format").as_deref() != Some(FORMAT) {
                    return Err(bad("not prepared by this version"));
                }
                let track = get("group").zip(get("track")).ok_or_else(|| bad("has no track name"))?;
                let tensors = SafeTensors::deserialize(&map).map_err(|e| TrainError::cache(path, e))?;
                let mels = tensors.tensor("mels").map_err(|e| TrainError::cache(path, e))?;
                let &[n, variants, MELS, FRAMES] = mels.shape() else {
                    return Err(bad("other spectrograms"));
                };
                if mels.dtype() != Dtype::F16 || variants == 0 {
                    return Err(bad("spectrograms are not f16"));
                }
                let mels_at = mels.data().as_ptr().addr() - map.as_ptr().addr();
                let mut teachers = Vec::new();
                for (name, view) in tensors.tensors() {
                    let Some(name) = name.strip_prefix("teacher.") else { continue };
                    if view.shape() != [n, TARGETS] || view.dtype() != Dtype::F32 {
                        return Err(bad("a teacher's outputs have another shape"));
                    }
                    let values: Vec<f32> =
                        view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    if values.iter().any(|x| !x.is_finite()) {
                        return Err(bad("a teacher's output is not finite"));
                    }
                    teachers.push((name.to_owned(), values));
                }
                (Some((mels_at, variants)), n, track, teachers)
            };
            let Some((mels, variants)) = mapped else { continue };
            let next = tracks.len() as u32;
            let id = *by_name.entry(track.1.clone()).or_insert(next);
            if id == next {
                hasher.update(track.1.as_bytes());
                tracks.push(track);
            }
            hasher.update(&map[..map.len().min(4096)]);
            for (name, values) in teachers {
                let (seen, all) = outputs.entry(name).or_default();
                *seen += 1;
                all.extend(values);
            }
            crops.extend((0..n as u32).map(|i| (files.len() as u32, i, id)));
            files.push(Mapped { map, mels, variants });
        }
        let whole: Vec<_> = outputs.into_iter().filter(|(_, (seen, _))| *seen == files.len()).collect();
        if crops.is_empty() || whole.is_empty() {
            return Err(TrainError::Options(format!(
                "{}: no prepared music with a teacher's outputs: run the preparation first",
                cache.display()
            )));
        }
        let teachers: Vec<String> = whole.iter().map(|(name, _)| name.clone()).collect();
        let mut targets = Vec::with_capacity(crops.len() * teachers.len() * TARGETS);
        for i in 0..crops.len() {
            for (_, (_, values)) in &whole {
                targets.extend_from_slice(&values[i * TARGETS..(i + 1) * TARGETS]);
            }
        }
        let digest = hasher.finalize().to_hex()[..32].to_owned();
        Ok(Self { files, crops, tracks, teachers, targets, digest })
    }

    /// Number of crops.
    pub fn len(&self) -> usize {
        self.crops.len()
    }

    /// Whether there is none (never, once opened).
    pub fn is_empty(&self) -> bool {
        self.crops.is_empty()
    }

    /// Group (package, album folder …) and name of every track.
    pub fn tracks(&self) -> &[(String, String)] {
        &self.tracks
    }

    /// The teachers, in the order of their outputs in [`targets`](Self::targets).
    pub fn teachers(&self) -> &[String] {
        &self.teachers
    }

    /// Values per crop in [`targets`](Self::targets).
    pub fn outputs(&self) -> usize {
        self.teachers.len() * TARGETS
    }

    /// Teachers' raw outputs for a crop: per teacher 200 of the penultimate layer and 50 logits.
    pub fn targets(&self, crop: usize) -> &[f32] {
        &self.targets[crop * self.outputs()..][..self.outputs()]
    }

    /// Track of a crop.
    pub fn track(&self, crop: usize) -> usize {
        self.crops[crop].2 as usize
    }

    /// Variants of a crop; 0 is the music as it is.
    pub fn variants(&self, crop: usize) -> usize {
        self.files[self.crops[crop].0 as usize].variants
    }

    /// Identity of all that is in it, in the order it is in.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A crop's spectrogram, `[128][199]`, dB below the loudest cell.
    ///
    /// # Panics
    /// If `out` is no window, or the crop or variant does not exist.
    pub fn mel(&self, crop: usize, variant: usize, out: &mut [f32]) {
        let (file, index, _) = self.crops[crop];
        let file = &self.files[file as usize];
        assert!(variant < file.variants && out.len() == WINDOW, "a variant that exists, and a whole window");
        let start = file.mels + (index as usize * file.variants + variant) * WINDOW * 2;
        let cells = file.map[start..start + WINDOW * 2].as_chunks().0;
        for (x, bytes) in out.iter_mut().zip(cells) {
            *x = f16::from_le_bytes(*bytes).to_f32();
        }
    }
}
