//! Compares the audio of two files to decide whether they are the same recording.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use voisin_audio::{self, AudioInfo};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::audio_match::Outline;
use voisin_explore::duplicates::PairComparer;
use voisin_features::windows::is_near_silent;
use voisin_features::{Compression, MelConfig, MelFrontEnd, MelNorm, MelScale, Spectrum};
use voisin_library::{Library, LibraryError, OpenMode};

/// Hz: enough for bands that every codec keeps.
const RATE: u32 = 8000;
/// Samples between frames: 16 ms.
const HOP: usize = 128;
/// Samples of a frame.
const FRAME: usize = 1024;
/// Seconds of the shorter file to compare at each place.
const STRETCH: f64 = 12.0;
/// Most seconds by which a recording may begin earlier or later in the other file.
const MOST_OFFSET: f64 = 15.0;
/// The same at further places, relative to the offset at the first.
const JITTER: f64 = 0.5;
/// Where files are compared, as shares of the shorter one.
const PLACES: [f64; 3] = [0.5, 0.25, 0.75];
/// Files shorter than this, in seconds, are compared at the first place that is not silent, others at all places, since
/// different recordings may have parts in common.
const LONG: f64 = 40.0;
/// Correlation at one place below which the others are skipped.
const HOPELESS: f32 = 0.5;

/// Version of the method, to be raised whenever results change: stored results of other versions are ignored.
const VERSION: u32 = 2;

/// Progress of an [`AudioComparer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareEvent {
    /// It begins.
    Begin {
        /// Pairs to compare at most.
        pairs: usize,
        /// Further pairs, which are left for another run.
        skipped: usize,
    },
    /// A pair was compared.
    Compared,
}

/// Compares the audio of files by [`Outline`]s of a few stretches, and stores the results in the library.
pub struct AudioComparer<F> {
    on_event: F,
    known: Mutex<HashMap<(TrackId, TrackId), bool>>,
    /// A separate connection, so that results are stored at once even if the run fails later.
    store: Option<Mutex<Library>>,
}

impl<F: Fn(CompareEvent) + Sync> AudioComparer<F> {
    /// - `library`: stores the results, unless it is read-only
    pub fn new(library: &Library, on_event: F) -> Result<Self, LibraryError> {
        // Results of other versions of the method are not read.
        let known = library.derived().duplicate_verdicts(VERSION)?;
        let writes = library.mode() != OpenMode::ReadOnly;
        let store = if writes {
            Library::open(library.dir(), OpenMode::ReadWrite).ok()
        } else {
            None
        };
        Ok(Self {
            on_event,
            known: Mutex::new(known),
            store: store.map(Mutex::new),
        })
    }
}

impl<F: Fn(CompareEvent) + Sync> PairComparer for AudioComparer<F> {
    fn begin(&self, pairs: usize, skipped: usize) {
        (self.on_event)(CompareEvent::Begin { pairs, skipped });
    }

    fn known(&self, a: TrackId, b: TrackId) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A pair is stored once, the smaller id first.
        known.get(&(a.min(b), a.max(b))).copied()
    }

    fn correlation(&self, a: &TrackMeta, b: &TrackMeta, lead: f32) -> Option<f32> {
        let correlation = audio_correlation(a.system_path(), b.system_path(), lead.into());
        (self.on_event)(CompareEvent::Compared);
        correlation
    }

    fn music_seconds(&self, track: &TrackMeta) -> Option<f64> {
        music_seconds(track.system_path())
    }

    fn decided(&self, a: TrackId, b: TrackId, same: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((a.min(b), a.max(b)), same);
        // The two locks are never held together.
        drop(known);
        if let Some(store) = &self.store {
            // It is a cache: if it cannot be written, the pair is compared again next time.
            let mut library = store.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = library
                .derived_mut()
                .remember_duplicate(a, b, VERSION, same);
        }
    }
}

/// Correlation of the audio of two files, −1 to 1: the least normalised cross-correlation of band energies at one place
/// (short files) or three.
///
/// The same recording through any usual codec, level or equaliser gives 0.7 to 1, others less than 0.5. `None` if a file
/// cannot be read, or is silent or steady at all places.
///
/// - `lead`: seconds by which silence before the music of `b` is longer, if known; errors of up to 15 s are compensated
///   for
pub fn audio_correlation(a: &Path, b: &Path, lead: f64) -> Option<f32> {
    let open = |path| Some((path, voisin_audio::probe(path).ok()?));
    let first = open(a)?;
    let second = open(b)?;
    let swap = second.1.seconds() < first.1.seconds();
    let (short, long) = if swap {
        (&second, &first)
    } else {
        (&first, &second)
    };
    let lead = if swap { -lead } else { lead };
    let length = short.1.seconds();
    // Only a part of a short file, so that there is room for an offset on either side.
    let stretch = STRETCH.min(0.6 * length);
    let mut offset = None;
    let mut least = None::<f32>;
    for place in PLACES {
        let from = (place * length - stretch / 2.0).max(0.0);
        // A wide search for the offset at the first place. The others need the same offset, which
        // files of one recording have and two takes have not.
        let (expected, around) = offset.map_or((lead, MOST_OFFSET), |offset| (offset, JITTER));
        let other_from = (from + expected - around).max(0.0);
        let other_to = (from + stretch + expected + around).min(long.1.seconds());
        let Some(one) = outline(short.0, &short.1, from, stretch) else {
            continue;
        };
        let Some(other) = outline(long.0, &long.1, other_from, other_to - other_from) else {
            continue;
        };
        // Converts an offset between the files to a lag between the stretches.
        let shift = from - other_from;
        let lags = [expected - around, expected + around].map(|offset| (offset + shift) as f32);
        let Some(found) = one.agreement(&other, lags[0], lags[1]) else {
            continue;
        };
        // The worst place decides, since different recordings may have parts in common.
        least = Some(least.map_or(found.correlation, |least| least.min(found.correlation)));
        if found.correlation < HOPELESS || length < LONG {
            break;
        }
        offset.get_or_insert(f64::from(found.lag) - shift);
    }
    least
}

/// Seconds of a file without silence at its ends, to a tenth; `None` if it cannot be read or is silent.
///
/// Decodes the ends only, as far as necessary.
fn music_seconds(path: &Path) -> Option<f64> {
    let info = voisin_audio::probe(path).ok()?;
    let total = voisin_audio::resampled_len(&info, RATE);
    let block = u64::from(RATE / 10);
    let is_loud = |samples: &[f32]| !is_near_silent(samples);
    // Doubled each time, so that a codec without seeking decodes the whole file only a few times.
    let reaches = || {
        std::iter::successors(Some(100 * block), |reach| {
            (*reach < total).then_some(2 * reach)
        })
    };
    let read = |start: u64, end: u64| -> Option<Vec<f32>> {
        let mut samples = Vec::new();
        let length = usize::try_from(end - start).ok()?;
        let starts = [i64::try_from(start).ok()?];
        let mut sink = |_: usize, window: &[f32]| samples = window.to_vec();
        voisin_audio::read_windows(path, &info, RATE, &starts, length, &mut sink).ok()?;
        Some(samples)
    };
    let first = reaches().find_map(|reach| {
        let samples = read(0, reach.min(total))?;
        samples
            .chunks(block as usize)
            .position(is_loud)
            .map(|at| at as u64 * block)
    })?;
    let silent_end = reaches().find_map(|reach| {
        let samples = read(total.saturating_sub(reach), total)?;
        samples
            .rchunks(block as usize)
            .position(is_loud)
            .map(|at| at as u64 * block)
    })?;
    Some(total.saturating_sub(first + silent_end) as f64 / f64::from(RATE))
}

/// The outline of a part of a file; `None` if it cannot be read or is shorter than a frame.
fn outline(path: &Path, info: &AudioInfo, from: f64, seconds: f64) -> Option<Outline> {
    let sample = |seconds: f64| (seconds * f64::from(RATE)).round() as i64;
    let start = sample(from);
    let length = usize::try_from(sample(seconds)).ok()?;
    let n_frames = 1 + length.checked_sub(FRAME)? / HOP;
    let mut samples = Vec::new();
    voisin_audio::read_windows(path, info, RATE, &[start], length, &mut |_, window| {
        samples = window.to_vec();
    })
    .ok()?;
    let front_end = MelFrontEnd::new(MelConfig {
        sample_rate: RATE,
        window_samples: length,
        n_fft: FRAME,
        hop: HOP,
        n_frames,
        pad_left: 0,
        spectrum: Spectrum::Power,
        n_mels: 24,
        f_min: 150.0,
        f_max: 3400.0,
        mel_scale: MelScale::Htk,
        mel_norm: MelNorm::Peak,
        // Decibels within a limited range: a change of level shifts all bands equally, and quiet
        // parts that a codec drops do not count.
        compression: Compression::Decibel { range_db: 50.0 },
        ..MelConfig::musicnn()
    })
    .ok()?;
    let decibels = front_end.compute(&samples);
    Some(Outline::new(decibels.view(), RATE as f32 / HOP as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../data/demo/library")
            .join(name)
    }

    #[test]
    fn correlation_separates_the_demo_pieces() {
        let a = demo("metal/muldjord-chaos-god.mp3");
        let b = demo("metal/muldjord-mutilated-mime.mp3");
        // Not quite 1, because the local means at the ends of the shorter stretch differ.
        let itself = audio_correlation(&a, &a, 0.0);
        let other = audio_correlation(&a, &b, 0.0);
        assert!(itself.expect("music moves") > 0.9, "{itself:?}");
        assert!(
            other.expect("music moves") < 0.5,
            "the nearest track by the same artist: {other:?}"
        );
        assert_eq!(audio_correlation(&a, &demo("metal/gone.mp3"), 0.0), None);
        assert_eq!(audio_correlation(&demo("../ATTRIBUTION.md"), &a, 0.0), None);
    }
}
