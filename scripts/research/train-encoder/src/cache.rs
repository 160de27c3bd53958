//! Prepared music: one safetensors file per track and pass.
//!
//! Tensors: `mels` f16 `[crops, variants, 128, 199]` (the first variant is the original), and
//! `teacher.NAME` f32 `[crops, penultimate + tags]`: the penultimate layer, then the tag logits, of the 3 s around the
//! crop. Metadata: group, track, `teachers` (their numbers of outputs), and for mixtures `mixed`, what is mixed in.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use half::f16;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use voisin_encoder::openl3::{FRAMES, MELS, WINDOW};
use voisin_lab::training::session::write_safetensors;
use voisin_simd::buffer::map_file;

use crate::layout::{Teacher, outputs};

/// Suffix of every file's name.
const SUFFIX: &str = ".crops.safetensors";

/// The contents of a file of [`write`].
pub struct TrackCrops {
    pub group: String,
    pub track: String,
    /// The names of what is mixed in; none for the track alone.
    pub mixed: Option<String>,
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
    if let Some(names) = &crops.mixed {
        metadata.insert("mixed".to_owned(), names.clone());
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
    /// `(file, crop in it)`
    crops: Vec<(u32, u32)>,
    /// Names of the tracks; each pass of a track is a file of its own.
    pub tracks: BTreeSet<String>,
    pub teachers: Vec<Teacher>,
    /// `[crops][outputs]`
    targets: Vec<f32>,
}

struct Mapped {
    map: Mmap,
    mels: usize,
    variants: usize,
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
            tracks: BTreeSet::new(),
            teachers: Vec::new(),
            targets: Vec::new(),
        };
        for path in &paths {
            set.add(path)
                .with_context(|| format!("{}: delete it and prepare it again", path.display()))?;
        }
        ensure!(
            !set.crops.is_empty(),
            "{}: no prepared music: run the preparation first",
            cache.display()
        );
        Ok(set)
    }

    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let map = map_file(&File::open(path)?)?;
        let (_, header) = SafeTensors::read_metadata(&map)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let get = |key: &str| metadata.get(key).with_context(|| format!("no {key}"));
        let track = get("track")?.clone();
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
        self.tracks.insert(track);
        let file = self.files.len() as u32;
        self.crops.extend((0..n as u32).map(|crop| (file, crop)));
        self.files.push(Mapped {
            map,
            mels,
            variants,
        });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.crops.len()
    }

    /// Teachers' raw outputs for a crop: per teacher its penultimate layer and its tag logits.
    pub fn targets(&self, crop: usize) -> &[f32] {
        let width = outputs(&self.teachers);
        &self.targets[crop * width..][..width]
    }

    /// Variants of a crop; 0 is the original.
    pub fn variants(&self, crop: usize) -> usize {
        self.files[self.crops[crop].0 as usize].variants
    }

    /// A crop's spectrogram, `[128][199]`, dB below the loudest cell.
    pub fn mel(&self, crop: usize, variant: usize, out: &mut [f32]) {
        let (file, index) = self.crops[crop];
        let file = &self.files[file as usize];
        // Two bytes a cell.
        let start = file.mels + (index as usize * file.variants + variant) * WINDOW * 2;
        let cells = file.map[start..start + WINDOW * 2].as_chunks().0;
        for (x, bytes) in out.iter_mut().zip(cells) {
            *x = f16::from_le_bytes(*bytes).to_f32();
        }
    }
}
