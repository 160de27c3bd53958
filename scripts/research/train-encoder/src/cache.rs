//! Prepared music: one safetensors file per track and pass.
//!
//! Tensors: `mels` f16 `[crops, variants, 128, 199]` (the first variant is the original), and
//! `teacher.NAME` f32 `[crops, penultimate + tags]`: the penultimate layer, then the tag logits, of the 3 s around the
//! crop. Metadata: group, track, `teachers` (their numbers of outputs), and for mixtures `mixed`, the track mixed in, and
//! `partner`, that track's group.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use half::f16;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use voisin_encoder::openl3::{FRAMES, MELS, WINDOW};
use voisin_simd::buffer::map_file;
use voisin_lab::training::session::write_safetensors;

use crate::layout::{Teacher, outputs};

/// Suffix of every file's name.
const SUFFIX: &str = ".crops.safetensors";

/// The contents of a file of [`write`].
pub struct TrackCrops {
    pub group: String,
    pub track: String,
    /// The name and group of the track mixed in; none for the track alone.
    pub mixed: Option<(String, String)>,
    pub crops: usize,
    pub variants: usize,
    pub mels: Vec<f16>,
    pub teachers: Vec<(Teacher, Vec<f32>)>,
}

/// The file with a track's crops of a pass.
pub fn file(cache: &Path, track: &str, pass: u32) -> PathBuf {
    let digest = blake3::hash(track.as_bytes()).to_hex();
    // A digest of eighty bits, since names may contain characters that file names cannot.
    cache.join(format!("{}-{pass}{SUFFIX}", &digest[..20]))
}

/// Writes the file under another name, then renames it.
pub fn write(path: &Path, crops: &TrackCrops) -> anyhow::Result<()> {
    let n = crops.crops;
    let mels: Vec<u8> = crops.mels.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape = vec![n, crops.variants, MELS, FRAMES];
    let mut tensors = vec![("mels".to_owned(), Dtype::F16, shape, mels)];
    let teachers: Vec<&Teacher> = crops.teachers.iter().map(|(teacher, _)| teacher).collect();
    let mut metadata = HashMap::from([
        ("group".to_owned(), crops.group.clone()),
        ("track".to_owned(), crops.track.clone()),
        ("teachers".to_owned(), serde_json::to_string(&teachers)?),
    ]);
    if let Some((with, partner)) = &crops.mixed {
        metadata.insert("mixed".to_owned(), with.clone());
        metadata.insert("partner".to_owned(), partner.clone());
    }
    for (teacher, values) in &crops.teachers {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![n, teacher.outputs()];
        let name = format!("teacher.{}", teacher.name);
        tensors.push((name, Dtype::F32, shape, bytes));
    }
    write_safetensors(path, &tensors, metadata).map_err(anyhow::Error::msg)
}

/// All prepared music of a folder, memory-mapped.
pub struct TrainingSet {
    files: Vec<Mapped>,
    /// `(file, crop in it, track)`
    crops: Vec<(u32, u32, u32)>,
    /// Group and name of each track.
    pub tracks: Vec<(String, String)>,
    pub teachers: Vec<Teacher>,
    /// `[crops][outputs]`
    targets: Vec<f32>,
}

struct Mapped {
    map: Mmap,
    mels: usize,
    variants: usize,
    /// Group of the track that this one was mixed with.
    partner: Option<String>,
}

impl TrainingSet {
    /// Opens every prepared file of `cache`, sorted by name.
    pub fn open(cache: &Path) -> anyhow::Result<Self> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(cache).with_context(|| cache.display().to_string())? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                paths.push(path);
            }
        }
        // The order of the crops, and thereby the run of a seed, depends on it.
        paths.sort();
        let mut set = Self {
            files: Vec::new(),
            crops: Vec::new(),
            tracks: Vec::new(),
            teachers: Vec::new(),
            targets: Vec::new(),
        };
        let mut by_name = HashMap::new();
        for path in &paths {
            set.add(path, &mut by_name)
                .with_context(|| format!("{}: delete it and prepare it again", path.display()))?;
        }
        ensure!(
            !set.crops.is_empty(),
            "{}: no prepared music: run the preparation first",
            cache.display()
        );
        Ok(set)
    }

    fn add(&mut self, path: &Path, by_name: &mut HashMap<String, u32>) -> anyhow::Result<()> {
        let map = map_file(&File::open(path)?)?;
        let (_, header) = SafeTensors::read_metadata(&map)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let get = |key: &str| metadata.get(key).with_context(|| format!("no {key}"));
        let track = (get("group")?.clone(), get("track")?.clone());
        let teachers: Vec<Teacher> = serde_json::from_str(get("teachers")?)?;
        if self.files.is_empty() {
            self.teachers.clone_from(&teachers);
        }
        ensure!(teachers == self.teachers, "other teachers than before");
        let tensors = SafeTensors::deserialize(&map)?;
        let mels = tensors.tensor("mels")?;
        // `mel` slices by this shape, type and number of bytes.
        let &[n, variants, MELS, FRAMES] = mels.shape() else {
            bail!("other spectrograms");
        };
        ensure!(mels.dtype() == Dtype::F16 && variants > 0, "other numbers");
        let mels = mels.data().as_ptr().addr() - map.as_ptr().addr();
        let mut values = Vec::new();
        for teacher in &teachers {
            let view = tensors.tensor(&format!("teacher.{}", teacher.name))?;
            let width = teacher.outputs();
            ensure!(
                view.dtype() == Dtype::F32 && view.shape() == [n, width],
                "other outputs of {}",
                teacher.name
            );
            let found = view.data().as_chunks().0;
            let found: Vec<f32> = found.iter().map(|b| f32::from_le_bytes(*b)).collect();
            ensure!(found.iter().all(|x| x.is_finite()), "an output not finite");
            values.push((width, found));
        }
        // A row for each crop, the layout that batches read.
        for crop in 0..n {
            for (width, values) in &values {
                self.targets
                    .extend_from_slice(&values[crop * width..(crop + 1) * width]);
            }
        }
        let next = self.tracks.len() as u32;
        // Each pass of a track is a separate file with the same track name.
        let id = *by_name.entry(track.1.clone()).or_insert(next);
        if id == next {
            self.tracks.push(track);
        }
        let file = self.files.len() as u32;
        self.crops
            .extend((0..n as u32).map(|crop| (file, crop, id)));
        let partner = metadata.get("partner").cloned();
        self.files.push(Mapped {
            map,
            mels,
            variants,
            partner,
        });
        Ok(())
    }

    /// Number of crops.
    pub fn len(&self) -> usize {
        self.crops.len()
    }

    /// Group of the track that was mixed with a crop's track; `None` for a track alone.
    pub fn partner(&self, crop: usize) -> Option<&str> {
        self.files[self.crops[crop].0 as usize].partner.as_deref()
    }

    /// Teachers' raw outputs for a crop: per teacher its penultimate layer and its tag logits.
    pub fn targets(&self, crop: usize) -> &[f32] {
        let width = outputs(&self.teachers);
        &self.targets[crop * width..][..width]
    }

    /// Group of a crop's track.
    pub fn group(&self, crop: usize) -> &str {
        &self.tracks[self.track(crop)].0
    }

    /// Track of a crop.
    pub fn track(&self, crop: usize) -> usize {
        self.crops[crop].2 as usize
    }

    /// Variants of a crop; 0 is the original.
    pub fn variants(&self, crop: usize) -> usize {
        self.files[self.crops[crop].0 as usize].variants
    }

    /// A crop's spectrogram, `[128][199]`, dB below the loudest cell.
    pub fn mel(&self, crop: usize, variant: usize, out: &mut [f32]) {
        let (file, index, _) = self.crops[crop];
        let file = &self.files[file as usize];
        // Two bytes a cell.
        let start = file.mels + (index as usize * file.variants + variant) * WINDOW * 2;
        let cells = file.map[start..start + WINDOW * 2].as_chunks().0;
        for (x, bytes) in out.iter_mut().zip(cells) {
            *x = f16::from_le_bytes(*bytes).to_f32();
        }
    }
}
