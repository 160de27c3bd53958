//! Prepares music: decodes it once into crops, spectrograms and teachers' outputs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use half::f16;
use voisin_base::random::Random;
use voisin_base::vector::dot;
use voisin_encoder::openl3::WINDOW;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_features::{MelConfig, MelFrontEnd, windows};
use voisin_lab::training::power;

use crate::PrepareArgs;
use crate::augment;
use crate::cache::{self, TrackCrops};
use crate::codec::LossyCodec;
use crate::layout::Teacher;
use crate::mix;

/// The student's rate, Hz.
const RATE: u32 = 48_000;
/// Samples of the student's window.
const WINDOW_SAMPLES: usize = 48_000;
/// Three samples of the student's rate are one of the teachers'.
const DECIMATION: usize = 3;
/// Filter taps on either side of the middle one.
const REACH: usize = 63;
/// Level to which the teachers' input is normalised, RMS, dB relative to full scale.
const LEVEL_DBFS: f64 = -20.0;

/// Counts of tracks and crops.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Tracks done, over all passes; those that were prepared before among them.
    pub done: usize,
    /// Tracks in all, over all passes.
    pub total: usize,
    /// Crops that were written by this call.
    pub crops: usize,
    /// Tracks that could not be used, and why.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Prepares every track of the sources that is not prepared yet; after an interruption it continues.
///
/// `progress` is called after each track; `false` stops after the tracks in progress.
pub fn prepare(
    args: &PrepareArgs,
    progress: &(dyn Fn(&Prepared) -> bool + Sync),
) -> anyhow::Result<Prepared> {
    std::fs::create_dir_all(&args.cache).with_context(|| args.cache.display().to_string())?;
    let mut tracks = Vec::new();
    let sources = args.music.iter().map(|source| (source, false));
    for (source, grooves) in sources.chain(args.grooves.iter().map(|source| (source, true))) {
        tracks.extend(list(source, grooves)?);
    }
    // In random order, so that a part of the work is a sample of all the music.
    tracks.sort_by_key(|track| *blake3::hash(track.name.as_bytes()).as_bytes());
    let mut overlays = Vec::new();
    for folder in &args.overlay {
        overlays.extend(list(folder, false)?);
    }
    let worker = Preparer::new(args, &tracks, overlays)?;
    // Mixed passes are numbered after the plain ones.
    let jobs: Vec<(u32, &MusicFile)> = (0..args.passes + args.mixed)
        .flat_map(|pass| tracks.iter().map(move |track| (pass, track)))
        .collect();
    let state = Mutex::new(Prepared {
        total: jobs.len(),
        ..Prepared::default()
    });
    // In order, so that earlier passes are complete before later ones begin.
    let next = AtomicUsize::new(0);
    // One loop per thread instead of a parallel iterator, which would split the list and start with later passes.
    rayon::broadcast(|_| {
        while let Some(&(pass, track)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = cache::file(&args.cache, &track.name, pass);
            let crops = if path.exists() {
                Ok(0)
            } else {
                worker.track(track, pass).and_then(|crops| {
                    ensure!(crops.crops > 0, "expected music, found only silence");
                    cache::write(&path, &crops)?;
                    Ok(crops.crops)
                })
            };
            let Ok(mut state) = state.lock() else { return };
            state.done += 1;
            match crops {
                Ok(crops) => state.crops += crops,
                // No file was written, so the next call tries it again.
                Err(error) => state
                    .skipped
                    .push((track.path.clone(), format!("{error:#}"))),
            }
            // Under the lock, so that calls do not overlap.
            if !progress(&state) {
                next.store(jobs.len(), Ordering::Relaxed);
            }
        }
    });
    let state = state.into_inner();
    let mut prepared = state.unwrap_or_else(std::sync::PoisonError::into_inner);
    prepared.skipped.sort();
    Ok(prepared)
}

struct MusicFile {
    path: PathBuf,
    group: String,
    name: String,
}

/// Audio files below a folder, sorted. The first folder is a track's group.
fn list(source: &Path, grooves: bool) -> anyhow::Result<Vec<MusicFile>> {
    let mut tracks = Vec::new();
    for entry in walkdir::WalkDir::new(source).sort_by_file_name() {
        let entry = entry?;
        if !entry.file_type().is_file() || !voisin_audio::is_audio_candidate(entry.path()) {
            continue;
        }
        let below = entry.path().strip_prefix(source).unwrap_or(entry.path());
        let name = below.to_string_lossy().into_owned();
        let group = name.split_once('/').map_or("", |(first, _)| first);
        tracks.push(MusicFile {
            path: entry.path().to_owned(),
            group: group.to_owned(),
            // The prefix distinguishes a groove from a track of music with the same path.
            name: if grooves {
                format!("grooves/{name}")
            } else {
                name
            },
        });
    }
    ensure!(
        !tracks.is_empty(),
        "{}: no audio files found below it",
        source.display()
    );
    Ok(tracks)
}

/// State shared by all threads.
struct Preparer<'a> {
    args: &'a PrepareArgs,
    tracks: &'a [MusicFile],
    overlays: Vec<MusicFile>,
    front_end: MelFrontEnd,
    teachers: Vec<(Teacher, Encoder, MelFrontEnd)>,
    low_pass: Vec<f32>,
    codec: LossyCodec,
}

impl<'a> Preparer<'a> {
    fn new(
        args: &'a PrepareArgs,
        tracks: &'a [MusicFile],
        overlays: Vec<MusicFile>,
    ) -> anyhow::Result<Self> {
        let device = DeviceChoice::Cpu.resolve()?;
        let mut teachers = Vec::new();
        for model in &args.teacher {
            let Ok(model) = model.parse::<ModelRef>();
            let encoder = Encoder::load(&model, &device)?;
            let manifest = encoder.manifest();
            let rate = manifest.front_end.sample_rate;
            let front_end = MelFrontEnd::new(manifest.front_end.clone())?;
            let teacher = Teacher {
                name: manifest.name.clone(),
                penultimate: manifest.dimension,
                tags: encoder.tags(),
            };
            // The filter below supports only 48 kHz to 16 kHz.
            ensure!(
                rate * DECIMATION as u32 == RATE
                    && teacher.tags > 0
                    && encoder.front_ends().count() == 1,
                "{model}: expected one network with tags at 16 kHz"
            );
            teachers.push((teacher, encoder, front_end));
        }
        let front_end = MelFrontEnd::new(MelConfig::openl3())?;
        Ok(Self {
            args,
            tracks,
            overlays,
            front_end,
            teachers,
            low_pass: low_pass(),
            codec: LossyCodec::new(RATE),
        })
    }

    /// Samples that are read for each crop, at the student's rate.
    fn patch_samples(&self) -> usize {
        let windows = self.teachers.iter();
        let longest = windows.map(|(_, _, f)| f.config().window_samples).max();
        // The filter reaches that far beyond either end.
        longest.unwrap_or(0) * DECIMATION + 2 * REACH
    }

    fn track(&self, track: &MusicFile, pass: u32) -> anyhow::Result<TrackCrops> {
        let args = self.args;
        let mixed = pass >= args.passes;
        let patch_size = self.patch_samples();
        // A faster speed needs more of the source.
        let reach = mix::reach(patch_size);
        let size = if mixed { reach } else { patch_size };
        let mut random = self.stream(track, pass);
        let info = voisin_audio::probe(&track.path)?;
        let length = voisin_audio::resampled_len(&info, RATE);
        let starts = places(length, args.crops, size, &mut random);
        let companions = mixed.then(|| self.companions(track, starts.len(), size, &mut random));
        let mut crops = TrackCrops {
            group: track.group.clone(),
            track: track.name.clone(),
            mixed: companions.as_ref().map(|all| all.names.clone()),
            crops: 0,
            // Each mixture is different, so one degraded spectrogram of it is enough.
            variants: if mixed { 1 } else { 2 },
            mels: Vec::new(),
            teachers: Vec::new(),
        };
        let mut mels = vec![Vec::new(); self.teachers.len()];
        let mut mixture = vec![0.0; patch_size];
        voisin_audio::read_windows(&track.path, &info, RATE, &starts, size, &mut |i, source| {
            let Some(companions) = &companions else {
                return self.crop(source, &mut random, &mut crops, &mut mels);
            };
            // Decoding is most of the work, so it serves several mixtures.
            for turn in 0..args.mixtures {
                let (partner, overlay) = companions.pieces(i, turn);
                mix::invent(source, partner, overlay, &mut random, RATE, &mut mixture);
                self.crop(&mixture, &mut random, &mut crops, &mut mels);
            }
        })?;
        for ((teacher, encoder, _), mels) in self.teachers.iter().zip(&mels) {
            // All crops of a track in one call, after decoding.
            let tagged = encoder.encode_each(&[mels], crops.crops)?;
            let rows = tagged.embeddings.outer_iter();
            let rows = rows.zip(tagged.logits.outer_iter());
            let values =
                rows.flat_map(|(penultimate, logits)| [penultimate.to_vec(), logits.to_vec()]);
            let values = values.flatten().collect();
            crops.teachers.push((teacher.clone(), values));
        }
        Ok(crops)
    }

    /// A stream for each track and pass, independent of the order of work and of other tracks.
    fn stream(&self, track: &MusicFile, pass: u32) -> Random {
        let digest = blake3::hash(track.name.as_bytes());
        let id = u64::from_le_bytes(std::array::from_fn(|at| digest.as_bytes()[at]));
        // An odd factor spreads the numbers of passes over all bits.
        let pass = u64::from(pass).wrapping_mul(0x5851_f42d_4c95_7f2d);
        Random::stream(self.args.random_seed, id ^ pass)
    }

    /// Adds a crop, unless the middle second, which is the student's whole input, is silent.
    ///
    /// - `teacher_mels`: each teacher's input for all crops so far
    fn crop(
        &self,
        patch: &[f32],
        random: &mut Random,
        crops: &mut TrackCrops,
        teacher_mels: &mut [Vec<f32>],
    ) {
        let from = (patch.len() - WINDOW_SAMPLES) / 2;
        let middle = &patch[from..from + WINDOW_SAMPLES];
        if windows::is_near_silent(middle) {
            return;
        }
        crops.crops += 1;
        let mut cut = vec![0.0; WINDOW_SAMPLES];
        augment::degrade(patch, &self.codec, random, &mut cut);
        for samples in &[middle, &cut][2 - crops.variants..] {
            let mut mel = vec![0.0; WINDOW];
            let scratch = &mut self.front_end.scratch();
            self.front_end.compute_into(samples, scratch, &mut mel);
            crops.mels.extend(mel.iter().map(|&x| f16::from_f32(x)));
        }
        let mut low = vec![0.0; (patch.len() - 2 * REACH) / DECIMATION];
        decimate(patch, &self.low_pass, &mut low);
        level(&mut low);
        for ((_, _, front_end), mels) in self.teachers.iter().zip(teacher_mels) {
            let at = mels.len();
            mels.resize(at + front_end.config().cells(), 0.0);
            front_end.compute_into(&low, &mut front_end.scratch(), &mut mels[at..]);
        }
    }

    /// Pieces of another track and of an overlay, `count` each of `size` samples. A file that cannot be read is left out.
    fn companions(
        &self,
        track: &MusicFile,
        count: usize,
        size: usize,
        random: &mut Random,
    ) -> Companions {
        let partner = &self.tracks[random.below(self.tracks.len())];
        let overlay =
            (!self.overlays.is_empty()).then(|| &self.overlays[random.below(self.overlays.len())]);
        let mut pieces = |source: &MusicFile| -> Vec<Vec<f32>> {
            let mut pieces = Vec::with_capacity(count);
            let mut keep = |_: usize, piece: &[f32]| pieces.push(piece.to_vec());
            let path = &source.path;
            let read = voisin_audio::probe(path).and_then(|info| {
                let length = voisin_audio::resampled_len(&info, RATE);
                let starts = places(length, count, size, random);
                voisin_audio::read_windows(path, &info, RATE, &starts, size, &mut keep)
            });
            // Left out entirely: its pieces would depend on where decoding failed.
            if read.is_err() {
                pieces.clear();
            }
            random.shuffle(&mut pieces);
            pieces
        };
        Companions {
            names: match overlay {
                Some(overlay) => format!("{}, {}", partner.name, overlay.name),
                None => partner.name.clone(),
            },
            // A track mixed with itself is only louder.
            partner: if partner.name == track.name {
                Vec::new()
            } else {
                pieces(partner)
            },
            overlay: overlay.map(&mut pieces).unwrap_or_default(),
        }
    }
}

/// The track that is mixed in.
struct Companions {
    /// Of both.
    names: String,
    partner: Vec<Vec<f32>>,
    overlay: Vec<Vec<f32>>,
}

impl Companions {
    /// The pieces for the `turn`th mixture of the `i`th crop; none if there are too few.
    fn pieces(&self, i: usize, turn: usize) -> (Option<&[f32]>, Option<&[f32]>) {
        // Different steps, so that the same two pieces are not combined again.
        let partner =
            (i < self.partner.len()).then(|| &*self.partner[(i + 5 * turn) % self.partner.len()]);
        let overlay =
            (i < self.overlay.len()).then(|| &*self.overlay[(i + 7 * turn) % self.overlay.len()]);
        (partner, overlay)
    }
}

/// The start of the `size` samples of each crop: one from each part of a track of `length` samples,
/// positioned by the middle second; inside the track if possible, and around a shorter one.
fn places(length: u64, crops: usize, size: usize, random: &mut Random) -> Vec<i64> {
    // One crop for each second and a half, so that they overlap little.
    let count = crops.min((length as usize * 2 / (3 * WINDOW_SAMPLES)).max(1));
    let room = length as f64 - WINDOW_SAMPLES as f64;
    let before = (size - WINDOW_SAMPLES) as f64 / 2.0;
    (0..count)
        .map(|i| {
            let middle = room.max(0.0) * (i as f64 + random.f64()) / count as f64;
            let most = length as f64 - size as f64;
            // Negative: the reader pads with zeros before and after the track.
            if most < 0.0 {
                (most / 2.0).floor() as i64
            } else {
                (middle - before).clamp(0.0, most) as i64
            }
        })
        .collect()
}

/// A windowed sinc with unit gain that passes 7.2 kHz and stops aliasing at 16 kHz.
fn low_pass() -> Vec<f32> {
    // Between 7.2 kHz, which passes, and 8 kHz, where aliasing begins.
    let edge = 2.0 * 7600.0 / f64::from(RATE);
    let taps: Vec<f64> = (0..=2 * REACH)
        .map(|i| {
            let t = i as f64 - REACH as f64;
            let x = std::f64::consts::PI * edge * t;
            let sinc = if i == REACH { 1.0 } else { x.sin() / x };
            let turn = std::f64::consts::PI * t / (REACH + 1) as f64;
            // Blackman's window.
            sinc * (0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

/// Every third sample of the filtered patch.
fn decimate(patch: &[f32], taps: &[f32], out: &mut [f32]) {
    for (i, y) in out.iter_mut().enumerate() {
        *y = dot(&patch[i * DECIMATION..][..taps.len()], taps);
    }
}

/// Normalises the RMS to [`LEVEL_DBFS`].
fn level(samples: &mut [f32]) {
    let gain = (10f64.powf(LEVEL_DBFS / 20.0) / power(samples).sqrt().max(1e-9)) as f32;
    samples.iter_mut().for_each(|x| *x *= gain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimation_passes_the_low_and_stops_the_high() {
        let taps = low_pass();
        let gain = |hz: f64| {
            let tone: Vec<f32> = (0..9000)
                .map(|i| (std::f64::consts::TAU * hz * f64::from(i) / 48_000.0).sin() as f32)
                .collect();
            let mut out = vec![0.0; (9000 - 2 * REACH) / 3];
            decimate(&tone, &taps, &mut out);
            let power = out.iter().map(|x| x * x).sum::<f32>() / out.len() as f32;
            20.0 * (2.0 * power).sqrt().log10()
        };
        for hz in [50.0, 1000.0, 6000.0] {
            assert!(gain(hz).abs() < 0.1, "{hz} Hz: {} dB", gain(hz));
        }
        for hz in [9500.0, 12_000.0, 20_000.0] {
            assert!(gain(hz) < -55.0, "{hz} Hz: {} dB", gain(hz));
        }
        // A sine of amplitude 1 has an RMS of −3 dB.
        let mut tone: Vec<f32> = (0..16_000)
            .map(|i| (f64::from(i) * 0.3).sin() as f32)
            .collect();
        level(&mut tone);
        let power = tone.iter().map(|x| x * x).sum::<f32>() / 16_000.0;
        assert!((10.0 * power.log10() + 20.0).abs() < 0.01);
    }
}
