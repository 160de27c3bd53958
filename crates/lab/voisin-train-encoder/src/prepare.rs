//! Prepares music: decodes it once into crops, spectrograms and teachers' outputs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::f16;

use super::TrainError;
use super::augment;
use super::cache::{self, TrackCrops};
use super::codec::LossyCodec;
use super::layout::Teacher;
use super::mix;
use voisin_base::random::Random;
use voisin_base::text::with_causes;
use voisin_base::vector::dot;
use voisin_encoder::openl3::WINDOW;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_features::{MelConfig, MelFrontEnd, OpenL3Variant, windows};

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

/// The music to prepare, and the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareOptions {
    /// Folders of music. The first folder below one is a track's group (a package, an album …): validation holds out groups.
    pub sources: Vec<PathBuf>,
    /// Folders of rendered grooves: the first folder below one is a track's style. Their groups are eight parts with
    /// every style in each.
    pub grooves: Vec<PathBuf>,
    /// Folder of the prepared files; created if missing.
    pub cache: PathBuf,
    /// Numbers of the passes to prepare; each pass has other crops from every track.
    pub passes: std::ops::Range<u32>,
    /// Passes from this number on are mixtures, as input of the teachers too: each track at other
    /// speeds and with another balance, with another track and an overlay at times.
    pub mixed_from: u32,
    /// Folders of overlays for mixtures, such as voices.
    pub overlays: Vec<PathBuf>,
    /// Crops per track and pass; fewer from tracks shorter than 1.5 s times this.
    pub crops: usize,
    /// Mixtures of each crop, with other pieces of the same companions, since most of a mixture's cost is decoding.
    pub mixtures: usize,
    /// Degraded versions of each crop, besides the original.
    pub degraded: usize,
    /// Teachers, by model: networks at 16 kHz with tags. Prepared files that lack one get its outputs added.
    pub teachers: Vec<ModelRef>,
    /// Seed of positions and degradations.
    pub seed: u64,
}

impl PrepareOptions {
    /// One pass of 12 crops with one degraded version each, with the built-in MusiCNN as the teacher.
    pub fn new(sources: Vec<PathBuf>, cache: PathBuf) -> Self {
        Self {
            sources,
            grooves: Vec::new(),
            cache,
            passes: 0..1,
            mixed_from: u32::MAX,
            overlays: Vec::new(),
            crops: 12,
            mixtures: 3,
            degraded: 1,
            teachers: vec![ModelRef::Name("musicnn-msd".to_owned())],
            seed: 1,
        }
    }
}

/// Progress of the preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Tracks done, skipped ones included, over all passes.
    pub done: usize,
    /// Tracks in all, over all passes.
    pub total: usize,
    /// Crops written by this call.
    pub crops: usize,
}

/// Counts of the tracks prepared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Tracks whose crops were written by this call.
    pub tracks: usize,
    /// Crops that were written by this call.
    pub crops: usize,
    /// Tracks that had been prepared before.
    pub present: usize,
    /// Tracks prepared before, to which this call added teachers' outputs.
    pub added: usize,
    /// Tracks that could not be used, and why.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Prepares every track of the sources that is not prepared yet; after an interruption it continues.
///
/// `progress` is called after each track; `false` stops after the tracks in progress. Runs on rayon's current pool.
pub fn prepare(
    options: &PrepareOptions,
    progress: &(dyn Fn(PrepareProgress) -> bool + Sync),
) -> Result<Prepared, TrainError> {
    if options.crops == 0
        || options.mixtures == 0
        || options.teachers.is_empty()
        || options.passes.is_empty()
    {
        return Err(TrainError::Options(
            "expected at least one crop, one mixture, one pass and one teacher".to_owned(),
        ));
    }
    cache::refuse_others(&options.cache)?;
    std::fs::create_dir_all(&options.cache).map_err(TrainError::io(&options.cache))?;
    let mut tracks = Vec::new();
    let sources = options.sources.iter().map(|source| (source, false));
    for (source, grooves) in sources.chain(options.grooves.iter().map(|source| (source, true))) {
        let found = list(source, grooves)?;
        if found.is_empty() {
            return Err(TrainError::NoMusic {
                path: source.clone(),
            });
        }
        tracks.extend(found);
    }
    // In random order, so that a part of the work is a sample of all the music.
    tracks.sort_by_key(|track| *blake3::hash(track.name.as_bytes()).as_bytes());
    let mut overlays = Vec::new();
    for folder in &options.overlays {
        let found = list(folder, false)?;
        if found.is_empty() {
            return Err(TrainError::NoMusic {
                path: folder.clone(),
            });
        }
        overlays.extend(found);
    }
    let worker = Preparer::new(options, &tracks, overlays)?;
    // Counts, jobs done, and whether to continue.
    let state = Mutex::new((Prepared::default(), 0usize, true));
    let jobs: Vec<(u32, &MusicFile)> = options
        .passes
        .clone()
        .flat_map(|pass| tracks.iter().map(move |track| (pass, track)))
        .collect();
    let total = jobs.len();
    // In order, so that earlier passes are complete before later ones begin.
    let next = std::sync::atomic::AtomicUsize::new(0);
    // One loop per thread instead of a parallel iterator, which would split the list and start with later passes.
    rayon::broadcast(|_| {
        loop {
            let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(&(pass, track)) = jobs.get(i) else {
                return Ok(());
            };
            if !state.lock().is_ok_and(|state| state.2) {
                return Ok(());
            }
            let path = cache::file(&options.cache, &track.name, pass);
            let done = worker.one(track, pass, &path);
            // A full disk or a missing folder stops the run; a bad track does not.
            if let Err(error @ (TrainError::Io { .. } | TrainError::Cache { .. })) = done {
                if let Ok(mut state) = state.lock() {
                    state.2 = false;
                }
                return Err(error);
            }
            let Ok(mut state) = state.lock() else {
                return Ok(());
            };
            state.1 += 1;
            match done {
                Ok(TrackOutcome::Present) => state.0.present += 1,
                Ok(TrackOutcome::Added) => state.0.added += 1,
                // No file was written, so the next call tries it again.
                Ok(TrackOutcome::Written(0)) => {
                    state.0.skipped.push((
                        track.path.clone(),
                        "expected music, found only silence".to_owned(),
                    ));
                }
                Ok(TrackOutcome::Written(crops)) => {
                    state.0.tracks += 1;
                    state.0.crops += crops;
                }
                Err(error) => state
                    .0
                    .skipped
                    .push((track.path.clone(), with_causes(&error))),
            }
            let now = PrepareProgress {
                done: state.1,
                total,
                crops: state.0.crops,
            };
            // Under the lock, so that calls do not overlap; once false it stays false.
            state.2 &= progress(now);
        }
    })
    .into_iter()
    .collect::<Result<(), TrainError>>()?;
    let (mut prepared, ..) = state
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    prepared.skipped.sort();
    Ok(prepared)
}

struct MusicFile {
    path: PathBuf,
    group: String,
    name: String,
    style: Option<String>,
}

/// The outcome of a track.
enum TrackOutcome {
    Present,
    Added,
    Written(usize),
}

/// Groups of grooves for holding out.
const GROOVE_GROUPS: u8 = 8;

/// Audio files below a folder, sorted.
fn list(source: &Path, grooves: bool) -> Result<Vec<MusicFile>, TrainError> {
    let mut tracks = Vec::new();
    for entry in walkdir::WalkDir::new(source).sort_by_file_name() {
        let entry = entry.map_err(|error| TrainError::Io {
            path: error.path().unwrap_or(source).to_owned(),
            source: error.into(),
        })?;
        if !entry.file_type().is_file() || !voisin_audio::is_audio_candidate(entry.path()) {
            continue;
        }
        let below = entry.path().strip_prefix(source).unwrap_or(entry.path());
        let parts: Vec<String> = below
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let first = (parts.len() > 1).then(|| parts[0].clone());
        let name = parts.join("/");
        if grooves {
            let part = blake3::hash(name.as_bytes()).as_bytes()[8] % GROOVE_GROUPS;
            let group = format!("grooves {part}");
            // The prefix distinguishes a groove from a track of music with the same path.
            let name = format!("grooves/{name}");
            tracks.push(MusicFile {
                path: entry.path().to_owned(),
                group,
                name,
                style: first,
            });
        } else {
            let group = first.unwrap_or_default();
            tracks.push(MusicFile {
                path: entry.path().to_owned(),
                group,
                name,
                style: None,
            });
        }
    }
    Ok(tracks)
}

/// State shared by all threads.
struct Preparer<'a> {
    options: &'a PrepareOptions,
    tracks: &'a [MusicFile],
    overlays: Vec<MusicFile>,
    front_end: MelFrontEnd,
    teachers: Vec<(Teacher, Encoder, MelFrontEnd)>,
    low_pass: Vec<f32>,
    codec: LossyCodec,
}

impl<'a> Preparer<'a> {
    fn new(
        options: &'a PrepareOptions,
        tracks: &'a [MusicFile],
        overlays: Vec<MusicFile>,
    ) -> Result<Self, TrainError> {
        let device = DeviceChoice::Cpu.resolve()?;
        let mut teachers = Vec::new();
        for model in &options.teachers {
            let encoder = Encoder::load(model, &device)?;
            let manifest = encoder.manifest();
            let rate = manifest.front_end.sample_rate;
            let front_end = MelFrontEnd::new(manifest.front_end.clone())?;
            let penultimate = manifest.dimension;
            let tags = encoder.tags();
            let networks = encoder.front_ends().count();
            // The filter below supports only 48 kHz to 16 kHz.
            if rate * DECIMATION as u32 != RATE || tags == 0 || networks != 1 {
                return Err(TrainError::Options(format!(
                    "{model} is no teacher: expected one network with tags at 16 kHz, found {networks} with {tags} tags at {rate} Hz"
                )));
            }
            let name = manifest.name.clone();
            if teachers
                .iter()
                .any(|(known, ..): &(Teacher, _, _)| known.name == name)
            {
                return Err(TrainError::Options(format!(
                    "expected different teachers, found \"{name}\" twice"
                )));
            }
            teachers.push((
                Teacher {
                    name,
                    penultimate,
                    tags,
                },
                encoder,
                front_end,
            ));
        }
        let front_end = MelFrontEnd::new(MelConfig::openl3(OpenL3Variant::Original))?;
        Ok(Self {
            options,
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
        let longest = self
            .teachers
            .iter()
            .map(|(_, _, f)| f.config().window_samples)
            .max()
            .unwrap_or(0);
        // The filter reaches that far beyond either end.
        longest * DECIMATION + 2 * REACH
    }

    /// Prepares a track, or adds the teachers that its file lacks.
    fn one(&self, track: &MusicFile, pass: u32, path: &Path) -> Result<TrackOutcome, TrainError> {
        let all: Vec<usize> = (0..self.teachers.len()).collect();
        let Some(present) = cache::peek(path) else {
            let crops = self.track(track, pass, &all, true)?;
            if !crops.starts.is_empty() {
                cache::write(path, &crops)?;
            }
            return Ok(TrackOutcome::Written(crops.starts.len()));
        };
        let missing: Vec<usize> = all
            .into_iter()
            .filter(|&i| !present.teachers.contains(&self.teachers[i].0.name))
            .collect();
        if missing.is_empty() {
            return Ok(TrackOutcome::Present);
        }
        // All random numbers are the same as the first time, so that the new teachers get the same crops.
        let crops = self.track(track, pass, &missing, false)?;
        if crops.starts != present.starts || crops.mixed.map(|(with, _)| with) != present.mixed {
            return Err(TrainError::Options(format!(
                "{}: prepared with other crops, mixtures or another seed: prepare it with the same, or into another folder",
                path.display()
            )));
        }
        cache::add_teachers(path, &crops.teachers)?;
        Ok(TrackOutcome::Added)
    }

    /// - `teachers`: indices of those to run
    /// - `student`: whether the student's spectrograms are computed
    fn track(
        &self,
        track: &MusicFile,
        pass: u32,
        teachers: &[usize],
        student: bool,
    ) -> Result<TrackCrops, TrainError> {
        let options = self.options;
        let mixed = pass >= options.mixed_from;
        let patch_size = self.patch_samples();
        // A faster speed needs more of the source.
        let size = if mixed {
            mix::reach(patch_size)
        } else {
            patch_size
        };
        let digest = blake3::hash(track.name.as_bytes());
        let id = u64::from_le_bytes(
            *digest
                .as_bytes()
                .first_chunk()
                .expect("a digest has 32 bytes"),
        );
        // A stream for each track and pass, independent of the order of work and of other tracks.
        let mut random = Random::stream(
            options.seed,
            // An odd factor spreads the numbers of passes over all bits.
            id ^ u64::from(pass).wrapping_mul(0x5851_f42d_4c95_7f2d),
        );
        let info = voisin_audio::probe(&track.path)?;
        let starts = places(
            voisin_audio::resampled_len(&info, RATE),
            options.crops,
            size,
            &mut random,
        );
        // Each mixture is different, so one degraded spectrogram of it is enough.
        let variants = if mixed { 1 } else { 1 + options.degraded };
        let companions = mixed.then(|| self.companions(track, starts.len(), size, &mut random));
        let mut crops = TrackCrops {
            group: track.group.clone(),
            track: track.name.clone(),
            style: track.style.clone(),
            mixed: companions
                .as_ref()
                .map(|companions| companions.names.clone()),
            variants,
            starts: Vec::with_capacity(starts.len()),
            mels: Vec::with_capacity(if student {
                starts.len() * variants * WINDOW
            } else {
                0
            }),
            teachers: Vec::with_capacity(teachers.len()),
        };
        let teachers: Vec<_> = teachers.iter().map(|&i| &self.teachers[i]).collect();
        let mut scratch = self.front_end.scratch();
        let mut mel = vec![0.0; WINDOW];
        let mut cut = vec![0.0; WINDOW_SAMPLES];
        let mut mixture = vec![0.0; if mixed { patch_size } else { 0 }];
        let mut low = vec![0.0; (patch_size - 2 * REACH) / DECIMATION];
        let mut teacher_scratch: Vec<_> = teachers
            .iter()
            .map(|(_, _, front_end)| front_end.scratch())
            .collect();
        let mut teacher_mels = vec![Vec::new(); teachers.len()];
        let middle = (patch_size - WINDOW_SAMPLES) / 2;
        let mut one = |i: usize, patch: &[f32], random: &mut Random| {
            // Only the student's second counts, since it is its whole input.
            if windows::is_near_silent(&patch[middle..middle + WINDOW_SAMPLES]) {
                return;
            }
            crops
                .starts
                .push((starts[i] as f64 + middle as f64) as f32 / RATE as f32);
            let mut keep = |samples: &[f32]| {
                if student {
                    self.front_end.compute_into(samples, &mut scratch, &mut mel);
                    crops.mels.extend(mel.iter().map(|&x| f16::from_f32(x)));
                }
            };
            if !mixed {
                keep(&patch[middle..middle + WINDOW_SAMPLES]);
            }
            // Drawn even if they are not kept, so that later random numbers do not depend on it.
            for _ in 0..if mixed { 1 } else { options.degraded } {
                augment::degrade(patch, &self.codec, random, &mut cut);
                keep(&cut);
            }
            decimate(patch, &self.low_pass, &mut low);
            level(&mut low);
            let teachers = teachers
                .iter()
                .zip(&mut teacher_scratch)
                .zip(&mut teacher_mels);
            for (((_, _, front_end), scratch), mels) in teachers {
                let at = mels.len();
                mels.resize(at + front_end.config().cells(), 0.0);
                front_end.compute_into(&low, scratch, &mut mels[at..]);
            }
        };
        voisin_audio::read_windows(&track.path, &info, RATE, &starts, size, &mut |i, source| {
            let Some(companions) = &companions else {
                return one(i, source, &mut random);
            };
            // Decoding is most of the work, so it serves several mixtures.
            for turn in 0..options.mixtures {
                let (partner, overlay) = companions.pieces(i, turn);
                mix::invent(source, partner, overlay, &mut random, RATE, &mut mixture);
                one(i, &mixture, &mut random);
            }
        })?;
        let n = crops.starts.len();
        for ((teacher, encoder, _), mels) in teachers.into_iter().zip(&teacher_mels) {
            // All crops of a track in one call, after decoding.
            let tagged = encoder.encode_with_tags(mels, n)?;
            let mut values = Vec::with_capacity(n * teacher.outputs());
            let rows = tagged
                .embeddings
                .rows()
                .into_iter()
                .zip(tagged.logits.rows());
            for (penultimate, logits) in rows {
                values.extend(penultimate.iter().chain(logits));
            }
            crops.teachers.push((teacher.clone(), values));
        }
        Ok(crops)
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
            let read = voisin_audio::probe(&source.path).and_then(|info| {
                let starts = places(
                    voisin_audio::resampled_len(&info, RATE),
                    count,
                    size,
                    random,
                );
                voisin_audio::read_windows(
                    &source.path,
                    &info,
                    RATE,
                    &starts,
                    size,
                    &mut |_, piece| {
                        pieces.push(piece.to_vec());
                    },
                )
            });
            // Left out entirely: its pieces would depend on where decoding failed.
            if read.is_err() {
                pieces.clear();
            }
            random.shuffle(&mut pieces);
            pieces
        };
        let mut companions = Companions {
            names: (partner.name.clone(), partner.group.clone()),
            // A track mixed with itself is only louder.
            partner: if partner.name == track.name {
                Vec::new()
            } else {
                pieces(partner)
            },
            overlay: overlay.map(&mut pieces).unwrap_or_default(),
        };
        if let Some(overlay) = overlay {
            companions.names.0 = format!("{}, {}", partner.name, overlay.name);
        }
        companions
    }
}

/// The track that is mixed in.
struct Companions {
    /// Names of both, and the partner's group.
    names: (String, String),
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
    let power = samples
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        / samples.len() as f64;
    let gain = (10f64.powf(LEVEL_DBFS / 20.0) / power.sqrt().max(1e-9)) as f32;
    for x in samples {
        *x *= gain;
    }
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
