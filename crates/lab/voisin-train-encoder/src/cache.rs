//! Prepared music: one safetensors file per track and pass.
//!
//! Tensors: `mels` f16 `[crops, variants, 128, 199]` (the first variant is the original), `starts`
//! f32 `[crops]` in seconds, and `teacher.NAME` f32 `[crops, penultimate + tags]`: the penultimate
//! layer, then the tag logits, of the 3 s around the crop. Metadata: format, group, track, `style`
//! for rendered grooves, `penultimate.NAME` for teachers whose penultimate layer does not have 200
//! values, and for mixtures `mixed`, the track mixed in, and `partner`, that track's group.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::TrainError;
use super::layout::{PENULTIMATE, Teacher};
use voisin_base::output::check_folder;
use voisin_encoder::openl3::{FRAMES, MELS, WINDOW};
use voisin_kernels::buffer::map_file;
use voisin_train::session::{StoredTensor, write_safetensors};

/// Layout of files whose teachers all have 200 penultimate values; also what version 1 wrote.
const FORMAT: &str = "voisin-crops-1";
/// Layout with the length of each penultimate layer.
const FORMAT_2: &str = "voisin-crops-2";
/// Suffix of every file's name.
const SUFFIX: &str = ".crops.safetensors";

/// The contents of a file of [`write`].
pub(super) struct TrackCrops {
    pub group: String,
    pub track: String,
    /// Style of a rendered groove.
    pub style: Option<String>,
    /// The name and group of the track mixed in; none for the track alone.
    pub mixed: Option<(String, String)>,
    pub variants: usize,
    pub starts: Vec<f32>,
    pub mels: Vec<f16>,
    pub teachers: Vec<(Teacher, Vec<f32>)>,
}

/// The file with a track's crops of a pass.
pub(super) fn file(cache: &Path, track: &str, pass: u32) -> PathBuf {
    let digest = blake3::hash(track.as_bytes()).to_hex();
    // A digest of eighty bits, since names may contain characters that file names cannot.
    cache.join(format!("{}-{pass}{SUFFIX}", &digest[..20]))
}

/// Refuses a folder with other files and no prepared ones.
pub(super) fn refuse_others(cache: &Path) -> Result<(), TrainError> {
    check_folder(cache, &[], false).map_err(|error| TrainError::Options(error.to_string()))?;
    let names = cache
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let mut names = names
        .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
        .peekable();
    if names.peek().is_none()
        || names.any(|name| name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()))
    {
        return Ok(());
    }
    Err(TrainError::Options(format!(
        "{}: expected an empty folder or one of prepared music, found other files: use another folder",
        cache.display()
    )))
}

/// Writes the file under another name, then renames it.
pub(super) fn write(path: &Path, crops: &TrackCrops) -> Result<(), TrainError> {
    let n = crops.starts.len();
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let mels: Vec<u8> = crops.mels.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut tensors = vec![
        (
            "mels".to_owned(),
            Dtype::F16,
            vec![n, crops.variants, MELS, FRAMES],
            mels,
        ),
        (
            "starts".to_owned(),
            Dtype::F32,
            vec![n],
            bytes(&crops.starts),
        ),
    ];
    let mut metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("group".to_owned(), crops.group.clone()),
        ("track".to_owned(), crops.track.clone()),
    ]);
    metadata.extend(crops.style.clone().map(|style| ("style".to_owned(), style)));
    if let Some((with, partner)) = &crops.mixed {
        metadata.insert("mixed".to_owned(), with.clone());
        metadata.insert("partner".to_owned(), partner.clone());
    }
    push_teachers(&mut tensors, &mut metadata, &crops.teachers);
    write_safetensors(path, &tensors, metadata).map_err(|error| TrainError::cache(path, error))
}

fn push_teachers(
    tensors: &mut Vec<StoredTensor>,
    metadata: &mut HashMap<String, String>,
    teachers: &[(Teacher, Vec<f32>)],
) {
    for (teacher, values) in teachers {
        let width = teacher.outputs();
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let name = format!("teacher.{}", teacher.name);
        tensors.push((name, Dtype::F32, vec![values.len() / width, width], bytes));
        if teacher.penultimate != PENULTIMATE {
            // Version 2 only if version 1 cannot express it, so that older programs read the other files.
            metadata.insert(
                format!("penultimate.{}", teacher.name),
                teacher.penultimate.to_string(),
            );
            metadata.insert("format".to_owned(), FORMAT_2.to_owned());
        }
    }
}

/// The header of a prepared file.
pub(super) struct Peek {
    /// Names of the teachers.
    pub teachers: Vec<String>,
    /// Positions of the crops, seconds.
    pub starts: Vec<f32>,
    /// The name of the track mixed in.
    pub mixed: Option<String>,
}

/// Reads the header of a prepared file; `None` if it cannot be read.
pub(super) fn peek(path: &Path) -> Option<Peek> {
    // A damaged file counts as absent and is prepared again.
    let file = File::open(path).ok()?;
    let map = map_file(&file).ok()?;
    let tensors = SafeTensors::deserialize(&map).ok()?;
    let starts = tensors.tensor("starts").ok()?;
    let starts = starts
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let names = tensors
        .names()
        .into_iter()
        .filter_map(|name| name.strip_prefix("teacher.").map(str::to_owned));
    let (_, header) = SafeTensors::read_metadata(&map).ok()?;
    let mixed = header
        .metadata()
        .as_ref()
        .and_then(|all| all.get("mixed").cloned());
    Some(Peek {
        teachers: names.collect(),
        starts,
        mixed,
    })
}

/// Adds teachers' outputs to a prepared file.
pub(super) fn add_teachers(
    path: &Path,
    teachers: &[(Teacher, Vec<f32>)],
) -> Result<(), TrainError> {
    // Read, not mapped, since the file is replaced below.
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| TrainError::cache(path, e))?;
    let mut metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(|e| TrainError::cache(path, e))?;
    let mut tensors: Vec<StoredTensor> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (
                name,
                view.dtype(),
                view.shape().to_vec(),
                view.data().to_vec(),
            )
        })
        .collect();
    push_teachers(&mut tensors, &mut metadata, teachers);
    write_safetensors(path, &tensors, metadata).map_err(|error| TrainError::cache(path, error))
}

/// All prepared music of a folder, memory-mapped.
pub struct TrainingSet {
    files: Vec<Mapped>,
    /// `(file, crop in it, track)`
    crops: Vec<(u32, u32, u32)>,
    /// Group and name of each track.
    tracks: Vec<(String, String)>,
    /// Style of each track, by its number in `style_names`.
    styles: Vec<Option<usize>>,
    style_names: Vec<String>,
    teachers: Vec<Teacher>,
    /// `[crops][outputs]`
    targets: Vec<f32>,
    digest: String,
}

struct Mapped {
    map: Mmap,
    mels: usize,
    variants: usize,
    /// Group of the track that this one was mixed with.
    partner: Option<String>,
}

impl std::fmt::Debug for TrainingSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainingSet")
            .field("crops", &self.crops.len())
            .field("tracks", &self.tracks.len())
            .field("teachers", &self.teachers)
            .finish_non_exhaustive()
    }
}

impl TrainingSet {
    /// Opens every prepared file of `cache`, sorted by name. Teachers are those that every file has.
    pub fn open(cache: &Path) -> Result<Self, TrainError> {
        Self::open_with(cache, None)
    }

    /// As [`TrainingSet::open`], with these teachers only, in this order.
    ///
    /// # Errors
    /// Also if a file lacks the outputs of one of them.
    pub fn open_with(cache: &Path, only: Option<&[String]>) -> Result<Self, TrainError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(cache).map_err(TrainError::io(cache))? {
            let path = entry.map_err(TrainError::io(cache))?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
            {
                paths.push(path);
            }
        }
        // The order of the crops, and thereby the run of a seed, depends on it.
        paths.sort();
        let mut hasher = blake3::Hasher::new();
        let mut files = Vec::new();
        let mut crops = Vec::new();
        let mut tracks = Vec::new();
        let mut styles = Vec::new();
        let mut by_name: HashMap<String, u32> = HashMap::new();
        let mut outputs: BTreeMap<String, (usize, Teacher, Vec<f32>)> = BTreeMap::new();
        for path in &paths {
            let file = File::open(path).map_err(TrainError::io(path))?;
            let map = map_file(&file).map_err(TrainError::io(path))?;
            let (mels, variants, n, track, style, partner, teachers) = {
                let bad = |reason: &str| TrainError::cache(path, reason);
                let (_, header) =
                    SafeTensors::read_metadata(&map).map_err(|e| TrainError::cache(path, e))?;
                let get = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key)).cloned();
                if !matches!(get("format").as_deref(), Some(FORMAT | FORMAT_2)) {
                    return Err(bad("not prepared by this version"));
                }
                let track = get("group")
                    .zip(get("track"))
                    .ok_or_else(|| bad("has no track name"))?;
                let tensors =
                    SafeTensors::deserialize(&map).map_err(|e| TrainError::cache(path, e))?;
                let mels = tensors
                    .tensor("mels")
                    .map_err(|e| TrainError::cache(path, e))?;
                // `mel` slices by this shape, type and number of bytes.
                let &[n, variants, MELS, FRAMES] = mels.shape() else {
                    return Err(bad("other spectrograms"));
                };
                if mels.dtype() != Dtype::F16 || variants == 0 {
                    return Err(bad("spectrograms are not f16"));
                }
                let mels_at = mels.data().as_ptr().addr() - map.as_ptr().addr();
                let mut teachers = Vec::new();
                for (name, view) in tensors.tensors() {
                    let Some(name) = name.strip_prefix("teacher.") else {
                        continue;
                    };
                    // Outputs of other teachers are not kept in memory.
                    if only.is_some_and(|only| !only.iter().any(|wanted| wanted == name)) {
                        continue;
                    }
                    let penultimate = get(&format!("penultimate.{name}"))
                        .map_or(Some(PENULTIMATE), |text| text.parse().ok())
                        .unwrap_or(0);
                    let tags = match *view.shape() {
                        [rows, width] if rows == n => width.saturating_sub(penultimate),
                        _ => 0,
                    };
                    if penultimate == 0 || tags == 0 || view.dtype() != Dtype::F32 {
                        return Err(bad("a teacher's outputs have another shape"));
                    }
                    let values: Vec<f32> = view
                        .data()
                        .as_chunks()
                        .0
                        .iter()
                        .map(|b| f32::from_le_bytes(*b))
                        .collect();
                    if values.iter().any(|x| !x.is_finite()) {
                        return Err(bad("a teacher's output is not finite"));
                    }
                    teachers.push((
                        Teacher {
                            name: name.to_owned(),
                            penultimate,
                            tags,
                        },
                        values,
                    ));
                }
                (
                    mels_at,
                    variants,
                    n,
                    track,
                    get("style"),
                    get("partner"),
                    teachers,
                )
            };
            let next = tracks.len() as u32;
            // Each pass of a track is a separate file with the same track name.
            let id = *by_name.entry(track.1.clone()).or_insert(next);
            if id == next {
                hasher.update(track.1.as_bytes());
                tracks.push(track);
                styles.push(style);
            }
            // Only the first 4 KiB of each file, with its header: reading all of a large cache at each
            // start would take long.
            hasher.update(&map[..map.len().min(4096)]);
            for (teacher, values) in teachers {
                let (seen, known, all) = outputs
                    .entry(teacher.name.clone())
                    .or_insert_with(|| (0, teacher.clone(), Vec::new()));
                if *known != teacher {
                    return Err(TrainError::cache(
                        path,
                        "a teacher has another number of outputs than in other files",
                    ));
                }
                *seen += 1;
                all.extend(values);
            }
            crops.extend((0..n as u32).map(|i| (files.len() as u32, i, id)));
            files.push(Mapped {
                map,
                mels,
                variants,
                partner,
            });
        }
        let mut whole: Vec<(Teacher, Vec<f32>)> = Vec::new();
        let complete = |seen: usize| seen == files.len();
        match only {
            None => whole.extend(
                outputs
                    .into_values()
                    .filter(|(seen, ..)| complete(*seen))
                    .map(|(_, teacher, all)| (teacher, all)),
            ),
            Some(only) => {
                for name in only {
                    match outputs.remove(name) {
                        Some((seen, teacher, all)) if complete(seen) => whole.push((teacher, all)),
                        found => {
                            return Err(TrainError::Options(format!(
                                "{}: {} of {} prepared files have the outputs of teacher \"{name}\": prepare the music with this teacher first",
                                cache.display(),
                                found.map_or(0, |(seen, ..)| seen),
                                files.len()
                            )));
                        }
                    }
                }
            }
        }
        if crops.is_empty() || whole.is_empty() {
            return Err(TrainError::Options(format!(
                "{}: no prepared music with a teacher's outputs: run the preparation first",
                cache.display()
            )));
        }
        // From a list for each teacher to a row for each crop, the layout that batches read.
        let mut targets = Vec::with_capacity(whole.iter().map(|(_, values)| values.len()).sum());
        for i in 0..crops.len() {
            for (teacher, values) in &whole {
                let width = teacher.outputs();
                targets.extend_from_slice(&values[i * width..(i + 1) * width]);
            }
        }
        let teachers = whole.into_iter().map(|(teacher, _)| teacher).collect();
        let digest = hasher.finalize().to_hex()[..32].to_owned();
        let mut style_names: Vec<String> = styles.iter().flatten().cloned().collect();
        style_names.sort();
        style_names.dedup();
        let styles = styles
            .iter()
            .map(|style| {
                style
                    .as_ref()
                    .and_then(|style| style_names.binary_search(style).ok())
            })
            .collect();
        Ok(Self {
            files,
            crops,
            tracks,
            styles,
            style_names,
            teachers,
            targets,
            digest,
        })
    }

    /// Number of crops.
    pub fn len(&self) -> usize {
        self.crops.len()
    }

    /// Whether there are no crops (never, once opened).
    pub fn is_empty(&self) -> bool {
        self.crops.is_empty()
    }

    /// Group (package, album folder …) and name of every track.
    pub fn tracks(&self) -> &[(String, String)] {
        &self.tracks
    }

    /// The teachers, in the order of their outputs in [`targets`](Self::targets).
    pub fn teachers(&self) -> &[Teacher] {
        &self.teachers
    }

    /// Values per crop in [`targets`](Self::targets).
    pub fn outputs(&self) -> usize {
        self.teachers.iter().map(Teacher::outputs).sum()
    }

    /// Style of a crop's track, by its number in [`style_names`](Self::style_names); `None` for music and mixtures.
    pub fn style(&self, crop: usize) -> Option<usize> {
        // A mixture of two tracks has no style.
        if self.partner(crop).is_some() {
            None
        } else {
            self.styles[self.track(crop)]
        }
    }

    /// Group of the track that was mixed with a crop's track; `None` for a track alone.
    pub fn partner(&self, crop: usize) -> Option<&str> {
        self.files[self.crops[crop].0 as usize].partner.as_deref()
    }

    /// Whether a track is a rendered groove.
    pub(super) fn is_groove(&self, track: usize) -> bool {
        self.styles[track].is_some()
    }

    /// Styles of the rendered grooves, sorted.
    pub fn style_names(&self) -> &[String] {
        &self.style_names
    }

    /// Teachers' raw outputs for a crop: per teacher its penultimate layer and its tag logits.
    pub fn targets(&self, crop: usize) -> &[f32] {
        &self.targets[crop * self.outputs()..][..self.outputs()]
    }

    /// Track of a crop.
    pub fn track(&self, crop: usize) -> usize {
        self.crops[crop].2 as usize
    }

    /// Variants of a crop; 0 is the original.
    pub fn variants(&self, crop: usize) -> usize {
        self.files[self.crops[crop].0 as usize].variants
    }

    /// Digest of its contents and their order.
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
        assert!(
            variant < file.variants && out.len() == WINDOW,
            "a variant that exists, and a whole window"
        );
        // Two bytes a cell.
        let start = file.mels + (index as usize * file.variants + variant) * WINDOW * 2;
        let cells = file.map[start..start + WINDOW * 2].as_chunks().0;
        for (x, bytes) in out.iter_mut().zip(cells) {
            *x = f16::from_le_bytes(*bytes).to_f32();
        }
    }
}
