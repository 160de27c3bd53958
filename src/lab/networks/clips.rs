//! Input of networks: spectrograms of files, kept on disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ndarray::ArrayD;

use super::NetworkSettings;
use crate::LabError;
use crate::matrix::{LONGEST, SoundFile, path_of, write_cached};
use crate::training::{BANDS, FRAME, HOP, NetworkRecipe, RATE, RecipeInput, frames, samples, vary};
use voisin_base::random::Random;
use voisin_base::text::with_causes;
use voisin_base::track::ContentId;
use voisin_encoder::StackShape;
use voisin_features::{DESCRIPTOR_RATE, DescriptorSet, MelConfig, MelFrontEnd, windows};

/// Speed of the fastest augmented copy, which needs that much more of a file.
const FASTEST: f64 = 1.1;

pub struct ClipReader {
    recipe: NetworkRecipe,
    settings: NetworkSettings,
    front_end: Option<MelFrontEnd>,
}

/// A clip's spectrogram: power in Slaney's mel bands, in decibels to 80 below the loudest, of mean 0 and deviation 1.
fn clip_config(seconds: f64) -> MelConfig {
    MelConfig {
        window_samples: samples(seconds),
        n_frames: frames(seconds),
        // Frames are centred on their time, the default of librosa.
        pad_left: FRAME / 2,
        standardised: true,
        ..MelConfig::librosa(RATE, FRAME, HOP, BANDS)
    }
}

impl ClipReader {
    pub fn new(recipe: NetworkRecipe, settings: &NetworkSettings) -> Result<Self, LabError> {
        let front_end = match recipe.input {
            RecipeInput::Clip => Some(MelFrontEnd::new(clip_config(settings.seconds))),
            RecipeInput::Cepstrum => None,
        };
        let front_end = front_end.transpose();
        Ok(Self {
            recipe,
            settings: settings.clone(),
            front_end: front_end.map_err(|error| LabError::Options(with_causes(&error)))?,
        })
    }

    pub fn example(&self) -> StackShape {
        self.recipe.example(self.settings.seconds)
    }

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

    /// The examples of a file, concatenated: the file's, and then those of its augmented copies.
    pub fn decode(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let info = file.info;
        let (rate, length, start) = match self.recipe.input {
            // Data sets of clips are already cut: a longer file is used from its start.
            RecipeInput::Clip => (RATE, samples(self.settings.seconds), 0),
            // The middle of a long file, as for other descriptors.
            RecipeInput::Cepstrum => {
                let all = voisin_audio::resampled_len(info, DESCRIPTOR_RATE);
                let length = all.min(LONGEST * u64::from(DESCRIPTOR_RATE));
                (DESCRIPTOR_RATE, length as usize, (all - length) / 2)
            }
        };
        let copies = self.settings.copies as u64;
        let is_clip = self.front_end.is_some();
        // a faster copy needs more of the file
        let read = if copies > 0 && is_clip {
            (length as f64 * FASTEST).ceil() as usize
        } else {
            length
        };
        let mut found = Vec::new();
        let mut add = |_: usize, window: &[f32]| {
            if windows::is_near_silent(&window[..length]) {
                return;
            }
            self.example_of(&window[..length], &mut found);
            // seeded by the audio, so that a track's copies are the same in every run and cache
            let seed = u64::from_le_bytes(std::array::from_fn(|byte| info.content.0[byte]));
            for number in 1..=copies {
                let mut varied = vary(window, &mut Random::stream(seed, number));
                if is_clip {
                    // an augmented copy may be shorter or longer than the example
                    varied.resize(length, 0.0);
                }
                self.example_of(&varied, &mut found);
            }
        };
        voisin_audio::read_windows(file.path, info, rate, &[start as i64], read, &mut add)
            .map_err(|error| with_causes(&error))?;
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        if found.is_empty() {
            return Err("expected sound, found only silence".to_owned());
        }
        Ok(found)
    }

    /// [`decode`](Self::decode) of a clip as an array, `[bands, frames]`.
    pub fn array(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<ArrayD<f32>, String> {
        let cells = self.decode(file, stop)?;
        let shape = vec![BANDS, cells.len() / BANDS];
        ArrayD::from_shape_vec(shape, cells).map_err(|error| error.to_string())
    }

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

/// Examples of every track in a folder, a file for each track.
pub struct KeptSpectrograms {
    reader: ClipReader,
    folder: PathBuf,
}

impl KeptSpectrograms {
    pub fn new(reader: ClipReader, folder: &Path) -> Self {
        Self {
            folder: folder.join(reader.fingerprint()),
            reader,
        }
    }

    pub fn reader(&self) -> &ClipReader {
        &self.reader
    }

    fn path(&self, content: ContentId) -> PathBuf {
        path_of(&self.folder, content, "spectrograms")
    }

    fn size(&self) -> usize {
        self.reader.example().cells() * if self.reader.is_half() { 2 } else { 4 }
    }

    /// The number of examples in a file; `None` if it is incomplete.
    fn whole(&self, path: &Path) -> Option<usize> {
        // A file of another layout has another size, and is computed again.
        let bytes = std::fs::metadata(path).ok()?.len() as usize;
        (bytes > 0 && bytes.is_multiple_of(self.size())).then(|| bytes / self.size())
    }

    /// Stores the examples of a file, unless they are there, and counts them. The outer error would be of all files, since
    /// training reads from disk only.
    pub fn keep(
        &self,
        file: SoundFile<'_>,
        stop: &AtomicBool,
    ) -> Result<Result<usize, String>, LabError> {
        let path = self.path(file.info.content);
        if let Some(count) = self.whole(&path) {
            return Ok(Ok(count));
        }
        let found = match self.reader.decode(file, stop) {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
        // A single NaN would make every weight of the network NaN.
        if found.iter().any(|x| !x.is_finite()) {
            return Ok(Err("expected finite numbers, found others".to_owned()));
        }
        let numbers: Vec<u8> = if self.reader.is_half() {
            let halves = found.iter().map(|x| f16::from_f32(*x));
            halves.flat_map(f16::to_le_bytes).collect()
        } else {
            found.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        write_cached(&path, &numbers)?;
        Ok(Ok(found.len() / self.reader.example().cells()))
    }

    /// Reads one example of a track as the network's input; see [`ClipReader::cut`].
    pub fn read(
        &self,
        content: ContentId,
        number: usize,
        place: Option<f64>,
        to: &mut [f32],
    ) -> Result<(), LabError> {
        let path = self.path(content);
        let crops = self.reader.settings.crops();
        // One example of many.
        let mut bytes = vec![0; self.size()];
        let mut read = || {
            let mut file = File::open(&path)?;
            let place = number / crops * bytes.len();
            file.seek(SeekFrom::Start(place as u64))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(LabError::io(&path))?;
        let whole: Vec<f32> = if self.reader.is_half() {
            let (halves, _) = bytes.as_chunks::<2>();
            let halves = halves.iter().map(|half| f16::from_le_bytes(*half));
            halves.map(f16::to_f32).collect()
        } else {
            let (numbers, _) = bytes.as_chunks::<4>();
            numbers.iter().map(|one| f32::from_le_bytes(*one)).collect()
        };
        self.reader.cut(&whole, number, place, to);
        Ok(())
    }
}
