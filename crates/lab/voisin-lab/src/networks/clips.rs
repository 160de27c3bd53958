//! Input of networks: spectrograms of files, and their cache.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ndarray::ArrayD;

use super::NetworkSettings;
use crate::LabError;
use crate::matrix::{DIGEST, FeatureSet, LONGEST, SoundFile, path_of, read_whole, write_whole};
use crate::training::{ClipNumbers, NetworkRecipe, RecipeInput, TrainError, vary};
use voisin_audio::{self, AudioInfo};
use voisin_base::random::Random;
use voisin_base::text::with_causes;
use voisin_base::track::ContentId;
use voisin_encoder::StackShape;
use voisin_features::{DESCRIPTOR_RATE, DescriptorSet, MelConfig, MelFrontEnd, windows};

/// Speed of the fastest augmented copy, which needs that much more of a file.
const FASTEST: f64 = 1.1;

/// Reads files as input of a network.
pub struct ClipReader {
    recipe: NetworkRecipe,
    settings: NetworkSettings,
    front_end: Option<MelFrontEnd>,
}

/// A clip's spectrogram: power in Slaney's mel bands, in decibels to 80 below the loudest, of mean 0 and deviation 1.
fn clip_config(clip: ClipNumbers, seconds: f64) -> MelConfig {
    MelConfig {
        window_samples: clip.samples(seconds),
        n_frames: clip.frames(seconds),
        // Frames are centred on their time, the default of librosa.
        pad_left: clip.n_fft / 2,
        standardised: true,
        ..MelConfig::librosa(clip.sample_rate, clip.n_fft, clip.hop, clip.bands)
    }
}

impl ClipReader {
    /// A reader for a recipe.
    pub fn new(recipe: NetworkRecipe, settings: &NetworkSettings) -> Result<Self, LabError> {
        let config = match recipe.input {
            RecipeInput::Clip(clip) => Some(clip_config(clip, settings.seconds)),
            RecipeInput::Cepstrum => None,
        };
        let front_end = config
            .map(MelFrontEnd::new)
            .transpose()
            .map_err(|error| LabError::Options(with_causes(&error)))?;
        Ok(Self {
            recipe,
            settings: settings.clone(),
            front_end,
        })
    }

    /// Shape of a stored example.
    pub fn example(&self) -> StackShape {
        self.recipe.example(self.settings.seconds)
    }

    /// Shape of the network's input.
    pub fn input(&self) -> StackShape {
        self.settings.input(&self.recipe)
    }

    /// Number of crops by which a track with `kept` stored examples is evaluated; augmented copies are used in training only.
    pub fn evaluated(&self, kept: usize) -> usize {
        kept / (1 + self.settings.copies) * self.settings.crops()
    }

    /// Cuts the network's input out of a stored example.
    ///
    /// - `number`: index among a track's crops
    /// - `place`: position in training, from 0 to 1; none: the crop of that number
    pub fn cut(&self, kept: &[f32], number: usize, place: Option<f64>, to: &mut [f32]) {
        let (StackShape::Image(_, bands, whole), StackShape::Image(.., wanted)) =
            (self.example(), self.input())
        else {
            return to.copy_from_slice(kept);
        };
        let crops = self.settings.crops();
        // Settings have been checked: a crop is not longer than the clip.
        let room = whole - wanted;
        // evenly spread from start to end; a single crop is at the start
        let place = place.unwrap_or_else(|| (number % crops) as f64 / (crops.max(2) - 1) as f64);
        let from = ((place * (room + 1) as f64) as usize).min(room);
        for (to, kept) in to
            .chunks_exact_mut(wanted)
            .zip(kept.chunks_exact(whole))
            .take(bands)
        {
            to.copy_from_slice(&kept[from..from + wanted]);
        }
    }

    /// The examples of a file, concatenated; at least one. Near-silent windows are skipped.
    /// Augmented copies, if any, follow the others.
    pub fn decode(
        &self,
        path: &Path,
        info: &AudioInfo,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>, String> {
        let rate = self
            .front_end
            .as_ref()
            .map_or(DESCRIPTOR_RATE, |front_end| front_end.config().sample_rate);
        let samples = voisin_audio::resampled_len(info, rate);
        let length = match &self.front_end {
            Some(front_end) => front_end.config().window_samples,
            None => samples.min(LONGEST * u64::from(rate)) as usize,
        };
        let starts = match self.recipe.input {
            // Data sets of clips are already cut: a longer file is used from its start.
            RecipeInput::Clip(_) => vec![0],
            // The middle of a long file, as for other descriptors.
            RecipeInput::Cepstrum => vec![((samples - length as u64) / 2) as i64],
        };
        let copies = self.settings.copies;
        // a faster copy needs more of the file
        let read = if copies > 0 && self.front_end.is_some() {
            (length as f64 * FASTEST).ceil() as usize
        } else {
            length
        };
        let mut found = vec![Vec::new(); 1 + copies];
        let mut add = |at: usize, window: &[f32]| {
            // Reading cannot be stopped from here, so after Ctrl-C windows are skipped.
            if stop.load(Ordering::Relaxed) || windows::is_near_silent(&window[..length]) {
                return;
            }
            self.example_of(&window[..length], &mut found[0]);
            // seeded by the audio, so that a track's copies are the same in every run and cache
            for (number, copy) in found.iter_mut().enumerate().skip(1) {
                let seed = u64::from_le_bytes(std::array::from_fn(|byte| info.content.0[byte]));
                let mut varied = vary(
                    window,
                    &mut Random::stream(seed ^ (at as u64) << 8, number as u64),
                );
                if self.front_end.is_some() {
                    // an augmented copy may be shorter or longer than the example
                    varied.resize(length, 0.0);
                }
                self.example_of(&varied, copy);
            }
        };
        voisin_audio::read_windows(path, info, rate, &starts, read, &mut add)
            .map_err(|error| with_causes(&error))?;
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        let found = found.concat();
        if found.is_empty() {
            Err("expected sound, found only silence".to_owned())
        } else {
            Ok(found)
        }
    }

    /// [`decode`](Self::decode) as an array: `[bands, frames]` of a clip, or means.
    pub fn array(
        &self,
        path: &Path,
        info: &AudioInfo,
        stop: &AtomicBool,
    ) -> Result<ArrayD<f32>, String> {
        let cells = self.decode(path, info, stop)?;
        let shape = match self.example() {
            StackShape::Image(_, bands, frames) => vec![bands, frames],
            _ => vec![cells.len()],
        };
        ArrayD::from_shape_vec(shape, cells).map_err(|error| error.to_string())
    }

    /// Appends the example of some samples.
    fn example_of(&self, samples: &[f32], found: &mut Vec<f32>) {
        let Some(front_end) = &self.front_end else {
            found.extend(DescriptorSet::Mfcc40Mean.of(samples, DESCRIPTOR_RATE));
            return;
        };
        let config = front_end.config();
        let mut mel = vec![0.0; config.cells()];
        front_end.compute_into(samples, &mut front_end.scratch(), &mut mel);
        found.extend_from_slice(&mel);
    }

    /// Identifies everything that changes a number, so that caches are not mixed.
    fn fingerprint(&self) -> String {
        let name = self.recipe.name;
        let fingerprint = match &self.front_end {
            None => "cepstrum-1".to_owned(),
            Some(front_end) => format!("{name}-{}", front_end.config().fingerprint()),
        };
        if self.settings.copies == 0 {
            fingerprint
        } else {
            format!("{fingerprint}-copies-{}", self.settings.copies)
        }
    }

    /// Half precision is enough for decibels.
    fn is_half(&self) -> bool {
        self.front_end.is_some()
    }
}

/// Examples of every track in a folder, a file for each track. As a feature set it has one column:
/// the number of a track's examples.
pub struct KeptSpectrograms {
    reader: ClipReader,
    folder: PathBuf,
    /// Why something could not be stored.
    broken: OnceLock<String>,
}

impl KeptSpectrograms {
    /// Stored in a folder, which may be deleted when no run needs it.
    pub fn new(reader: ClipReader, folder: PathBuf) -> Self {
        Self {
            folder: folder.join(reader.fingerprint()),
            reader,
            broken: OnceLock::new(),
        }
    }

    /// The reader that computes them.
    pub fn reader(&self) -> &ClipReader {
        &self.reader
    }

    fn path(&self, content: ContentId) -> PathBuf {
        path_of(&self.folder, content, "spectrograms")
    }

    /// Bytes of an example.
    fn size(&self) -> usize {
        self.reader.example().cells() * if self.reader.is_half() { 2 } else { 4 }
    }

    /// The number of examples in a file; `None` if it is incomplete.
    fn whole(&self, path: &Path) -> Option<usize> {
        // A file of another layout has another size, and is computed again.
        let numbers = read_whole(path, 1 << 32)?.len() - DIGEST;
        (numbers > 0 && numbers.is_multiple_of(self.size())).then(|| numbers / self.size())
    }

    /// Reads one example of a track as the network's input; see [`ClipReader::cut`].
    pub fn read(
        &self,
        content: ContentId,
        number: usize,
        place: Option<f64>,
        to: &mut [f32],
    ) -> Result<(), TrainError> {
        let crops = self.reader.settings.crops();
        // without crops the stored example is the input
        if crops == 1 && self.reader.settings.crop == 0.0 {
            return self.read_whole(content, number, to);
        }
        let mut whole = vec![0.0; self.reader.example().cells()];
        self.read_whole(content, number / crops, &mut whole)?;
        self.reader.cut(&whole, number, place, to);
        Ok(())
    }

    fn read_whole(
        &self,
        content: ContentId,
        number: usize,
        to: &mut [f32],
    ) -> Result<(), TrainError> {
        let path = self.path(content);
        // One example of many; `whole` checked the digest at the start of the run.
        let mut bytes = vec![0; self.size()];
        let mut read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start((DIGEST + number * bytes.len()) as u64))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(|source| TrainError::Io {
            path: path.clone(),
            source,
        })?;
        if self.reader.is_half() {
            let numbers = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| f16::from_le_bytes(*bytes).to_f32());
            to.iter_mut()
                .zip(numbers)
                .for_each(|(to, number)| *to = number);
        } else {
            let numbers = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes));
            to.iter_mut()
                .zip(numbers)
                .for_each(|(to, number)| *to = number);
        }
        Ok(())
    }
}

impl FeatureSet for KeptSpectrograms {
    fn name(&self) -> &str {
        self.reader.recipe.name
    }

    fn columns(&self) -> Vec<String> {
        vec!["spectrograms".to_owned()]
    }

    fn compute(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let kept = self.path(file.info.content);
        if let Some(count) = self.whole(&kept) {
            return Ok(vec![count as f32]);
        }
        let found = self.reader.decode(file.path, file.info, stop)?;
        // A single NaN would make every weight of the network NaN.
        if found.iter().any(|x| !x.is_finite()) {
            return Err("expected finite numbers, found others".to_owned());
        }
        let numbers: Vec<u8> = if self.reader.is_half() {
            found
                .iter()
                .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                .collect()
        } else {
            found.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        // Training reads from disk only, so a failed write ends the run, unlike one of the feature cache.
        if let Err(error) = write_whole(&kept, &numbers) {
            let folder = self.folder.display();
            let why = format!(
                "spectrograms cannot be kept in {folder}: {error}; free some space and repeat the command"
            );
            return Err(self.broken.get_or_init(|| why).clone());
        }
        Ok(vec![(found.len() / self.reader.example().cells()) as f32])
    }

    fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_has_the_spectrogram_of_its_descriptors() {
        let recipe = NetworkRecipe::named("baseline-cnn").unwrap();
        let settings = NetworkSettings {
            seconds: 1.5,
            ..NetworkSettings::of(&recipe)
        };
        let reader = ClipReader::new(recipe, &settings).unwrap();
        let front_end = reader.front_end.as_ref().unwrap();
        let samples: Vec<f32> = (0..front_end.config().window_samples)
            .map(|i| {
                (i as f32 * 0.05).sin() * (i as f32 * 1e-4).cos() + 0.01 * (i as f32 * 1.7).sin()
            })
            .collect();
        let mel = front_end.compute(&samples).into_raw_vec_and_offset().0;
        let decibels = DescriptorSet::Mel.over_time(&samples, 22_050);
        let n = decibels.len() as f64;
        let mean = decibels.iter().sum::<f64>() / n;
        let deviation = (decibels.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected: Vec<f32> = decibels
            .iter()
            .map(|x| ((x - mean) / deviation) as f32)
            .collect();
        assert_eq!(
            (mel.len(), reader.example()),
            (expected.len(), StackShape::Image(1, 128, 65))
        );
        let furthest = mel
            .iter()
            .zip(&expected)
            .fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(furthest < 2e-3, "{furthest}");
        let square: f32 = mel.iter().map(|x| x * x).sum::<f32>() / mel.len() as f32;
        assert!((square - 1.0).abs() < 1e-3 && mel.iter().sum::<f32>().abs() < 1.0);
    }

    #[test]
    fn an_unwritable_cache_is_reported_once_and_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "no folder").unwrap();
        let recipe = NetworkRecipe::named("cnn-lstm-mfcc").unwrap();
        let reader = ClipReader::new(recipe, &NetworkSettings::of(&recipe)).unwrap();
        let kept = KeptSpectrograms::new(reader, taken);
        assert_eq!(kept.broken(), None);
        let song = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../data/demo/library/ambient/askyel-ambient-4.wav");
        let info = voisin_audio::probe(&song).unwrap();
        let why = kept
            .compute(
                SoundFile {
                    path: &song,
                    info: &info,
                },
                &AtomicBool::new(false),
            )
            .unwrap_err();
        assert!(
            why.contains("cannot be kept in") && why.contains("repeat the command"),
            "{why}"
        );
        assert_eq!(kept.broken(), Some(why.as_str()));
    }

    #[test]
    fn a_damaged_file_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = NetworkRecipe::named("cnn-lstm-mfcc").unwrap();
        let reader = ClipReader::new(recipe, &NetworkSettings::of(&recipe)).unwrap();
        let kept = KeptSpectrograms::new(reader, folder.path().to_owned());
        let path = kept.path(ContentId([3; 32]));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let numbers: Vec<u8> = (0..80)
            .flat_map(|i| (i as f32 - 300.5).to_le_bytes())
            .collect();
        let whole = [blake3::hash(&numbers).as_bytes().as_slice(), &numbers].concat();
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(kept.whole(&path), Some(2));
        let mut second = [0.0; 40];
        kept.read(ContentId([3; 32]), 1, None, &mut second).unwrap();
        assert_eq!(second[..2], [-260.5, -259.5]);
        assert!(kept.read(ContentId([3; 32]), 2, None, &mut second).is_err());
        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(kept.whole(&path), None);
    }
}
