//! Compares the audio of two files to decide whether they are the same recording.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, Axis, concatenate, s};
use voisin_audio::{self, AudioInfo};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::audio_match::{Outline, Rest};
use voisin_features::{Compression, MelConfig, MelFrontEnd, MelNorm, MelScale, Spectrum};
use voisin_library::{Library, LibraryError, OpenMode};

/// Hz: enough for bands that most codecs keep.
const RATE: u32 = 32_000;
/// Samples between frames: 16 ms.
const HOP: usize = 512;
const FRAME: usize = 4096;
/// Bands of one width in mel, from 50 Hz to 9.2 kHz: an MP3 of 64 kbit/s keeps what is above by chance.
const BANDS: usize = 40;
/// Those from 150 Hz to 3.4 kHz, in which recordings are recognised: drums of their own may sound above.
const OUTLINED: Range<usize> = 2..26;
/// Those above 5 kHz are compared as wide ones, whose level codecs keep.
const WIDE: [Range<usize>; 2] = [32..36, 36..40];
const FRAMES_PER_SECOND: f32 = RATE as f32 / HOP as f32;
/// Frames that are computed at once: 12 s, and as much of the shorter file is compared first.
const PART: usize = 750;
/// Most seconds by which a recording may begin earlier or later in the other file.
const MOST_OFFSET: f64 = 15.0;
/// Most seconds of silence besides, before the music of the longer file.
const MOST_SILENCE: f64 = 600.0;
/// The same once the offset is known from a part.
const JITTER: f32 = 0.5;
/// Where files are compared first, as shares of the shorter one; the second and third only if it is silent or steady before.
const PLACES: [f64; 3] = [0.5, 0.25, 0.75];
/// Correlation of a part below which the whole is not read.
const HOPELESS: f32 = 0.5;
/// By how much another offset must correlate better than none: music made of loops agrees with itself a loop later.
const LOOPS: f32 = 0.05;
/// Decibels below the loudest at which bands end: quiet parts that a codec drops do not count.
const RANGE: f32 = 50.0;
/// Seconds of the longest file that is compared, as a whole: 30 MB an hour.
const LONGEST: f64 = 10_800.0;

// Chosen on free music: 296 excerpts of 30 s at 64 kbit/s MP3 and AAC, Opus 48 and 2 s late have at least 0.70, different
// recordings at most 0.48.

/// Least correlation of one recording.
const CORRELATION: f32 = 0.7;
/// Most seconds in which copies may differ, such as singing over one of two equal backings; and the same as a share of the
/// shorter one, of which a name in a jingle is more.
const MOST_DIFFERING: f32 = 2.0;
const SHARE_DIFFERING: f32 = 0.05;
/// Most seconds of sound that one of two copies may lack at its ends.
const MOST_LACKING: f32 = 2.5;

/// Version of the method, to be raised whenever results change: stored results of other versions are ignored.
const VERSION: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareEvent {
    /// So many pairs will be compared.
    Begin(usize),
    Compared,
}

/// Compares the audio of files and stores the results in the library.
pub struct AudioComparer<F> {
    on_event: F,
    known: HashMap<(TrackId, TrackId), bool>,
    /// A separate connection, so that results are stored at once even if the run fails later.
    store: Option<Mutex<Library>>,
}

impl<F: Fn(CompareEvent) + Sync> AudioComparer<F> {
    /// - `library`: stores the results, unless it is read-only
    pub fn new(library: &Library, on_event: F) -> Result<Self, LibraryError> {
        // Results of other versions of the method are not read.
        let known = library.duplicate_verdicts(VERSION)?;
        let writes = library.mode() != OpenMode::ReadOnly;
        let store = writes.then(|| Library::open(library.dir(), OpenMode::ReadWrite).ok());
        Ok(Self {
            on_event,
            known,
            store: store.flatten().map(Mutex::new),
        })
    }

    pub fn begin(&self, pairs: usize) {
        (self.on_event)(CompareEvent::Begin(pairs));
    }

    /// Whether two tracks hold one recording; false if that cannot be found out, which is not stored.
    pub fn is_same(&self, a: &TrackMeta, b: &TrackMeta) -> bool {
        // A pair is stored once, the smaller id first.
        let pair = (a.id.min(b.id), a.id.max(b.id));
        let known = self.known.get(&pair).copied();
        let same = known.or_else(|| self.heard(a, b));
        (self.on_event)(CompareEvent::Compared);
        same.unwrap_or(false)
    }

    fn heard(&self, a: &TrackMeta, b: &TrackMeta) -> Option<bool> {
        let same = is_one_recording(a.system_path(), b.system_path())?;
        if let Some(store) = &self.store {
            // It is a cache: if it cannot be written, the pair is compared again next time.
            let mut library = store.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = library.remember_duplicate(a.id, b.id, VERSION, same);
        }
        Some(same)
    }
}

/// Whether two files hold one recording, through any usual codec, level or equaliser, and with silence at its ends: band
/// energies rise and fall together, and nothing is left where one has more. `None` if a file cannot be read, is longer than
/// three hours, silent or steady.
fn is_one_recording(a: &Path, b: &Path) -> Option<bool> {
    let mut files = [
        (a, voisin_audio::probe(a).ok()?),
        (b, voisin_audio::probe(b).ok()?),
    ];
    files.sort_by(|one, other| one.1.seconds().total_cmp(&other.1.seconds()));
    let [(short, short_info), (long, long_info)] = &files;
    if long_info.seconds() > LONGEST {
        return None;
    }
    let find = |place| offset_at(place, (short, short_info), (long, long_info));
    let (correlation, offset) = PLACES.into_iter().find_map(find)?;
    if correlation < HOPELESS {
        return Some(false);
    }
    let whole = |path, info: &AudioInfo| band_levels(path, info, 0.0, info.seconds());
    let one = whole(short, short_info)?;
    let other = whole(long, long_info)?;
    let [first, second] = [&one, &other].map(outline);
    let found = first.agreement(&second, offset - JITTER, offset + JITTER)?;
    let rest = Rest::of(one.view(), other.view(), FRAMES_PER_SECOND, found.lag);
    let most_differing = MOST_DIFFERING.min(SHARE_DIFFERING * short_info.seconds() as f32);
    Some(
        found.correlation >= CORRELATION
            && rest.differing <= most_differing
            && rest.outside <= MOST_LACKING,
    )
}

fn outline(levels: &Array2<f32>) -> Outline {
    Outline::new(levels.slice(s![OUTLINED, ..]), FRAMES_PER_SECOND)
}

/// The correlation of a part of the shorter file with the other one, and the offset between the files in seconds.
fn offset_at(
    place: f64,
    (short, short_info): (&Path, &AudioInfo),
    (long, long_info): (&Path, &AudioInfo),
) -> Option<(f32, f32)> {
    let length = short_info.seconds();
    // Only a part of a short file, so that there is room for an offset on either side.
    let stretch = (PART as f64 / f64::from(FRAMES_PER_SECOND)).min(0.6 * length);
    let from = (place * length - stretch / 2.0).max(0.0);
    let other_from = (from - MOST_OFFSET).max(0.0);
    // All that the other file has more may be silence before the music.
    let latest = MOST_OFFSET + (long_info.seconds() - length).min(MOST_SILENCE);
    let other_to = (from + stretch + latest).min(long_info.seconds());
    let one = band_levels(short, short_info, from, stretch)?;
    let other = band_levels(long, long_info, other_from, other_to - other_from)?;
    let [one, other] = [&one, &other].map(outline);
    // Converts an offset between the files to a lag between the parts.
    let shift = from - other_from;
    let shift = shift as f32;
    let found = one.agreement(&other, shift - MOST_OFFSET as f32, shift + latest as f32)?;
    let found = one
        .agreement(&other, shift - JITTER, shift + JITTER)
        .filter(|aligned| aligned.correlation + LOOPS >= found.correlation)
        .unwrap_or(found);
    Some((found.correlation, found.lag - shift))
}

/// Levels of bands in a part of a file in dB: `[bands, frames]`; `None` if it cannot be read or is shorter than a frame.
fn band_levels(path: &Path, info: &AudioInfo, from: f64, seconds: f64) -> Option<Array2<f32>> {
    let sample = |seconds: f64| (seconds * f64::from(RATE)).round() as i64;
    let length = usize::try_from(sample(seconds)).ok()?;
    let frames = 1 + length.checked_sub(FRAME)? / HOP;
    let starts: Vec<i64> = (0..frames.div_ceil(PART))
        .map(|part| sample(from) + (part * PART * HOP) as i64)
        .collect();
    let window = (PART - 1) * HOP + FRAME;
    let front_end = MelFrontEnd::new(MelConfig {
        sample_rate: RATE,
        window_samples: window,
        n_fft: FRAME,
        hop: HOP,
        n_frames: PART,
        pad_left: 0,
        spectrum: Spectrum::Power,
        n_mels: BANDS,
        f_min: 49.464,
        f_max: 9195.69,
        mel_scale: MelScale::Htk,
        mel_norm: MelNorm::Peak,
        compression: Compression::AbsoluteDecibel,
        ..MelConfig::musicnn()
    })
    .ok()?;
    let mut parts = Vec::with_capacity(starts.len());
    voisin_audio::read_windows(path, info, RATE, &starts, window, &mut |_, samples| {
        parts.push(front_end.compute(samples));
    })
    .ok()?;
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let all = concatenate(Axis(1), &views).ok()?;
    let all = all.slice(s![.., ..frames]);
    let wide = WIDE.map(|bands| {
        let band = all.slice(s![bands, ..]).map_axis(Axis(0), |levels| {
            let power: f32 = levels.iter().map(|level| 10.0_f32.powf(level / 10.0)).sum();
            10.0 * power.max(f32::MIN_POSITIVE).log10()
        });
        band.insert_axis(Axis(0))
    });
    let [a, b] = wide.each_ref().map(|band| band.view());
    let narrow = all.slice(s![..WIDE[0].start, ..]);
    let mut all = concatenate(Axis(0), &[narrow, a, b]).ok()?;
    let loudest = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    all.mapv_inplace(|level| level.max(loudest - RANGE));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_recording_is_told_from_others_of_the_demo() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo/library");
        let is_one = |a: &str, b: &str| is_one_recording(&demo.join(a), &demo.join(b));
        let a = "metal/muldjord-chaos-god.mp3";
        // The nearest track by the same artist.
        let b = "metal/muldjord-mutilated-mime.mp3";
        assert_eq!((is_one(a, a), is_one(a, b)), (Some(true), Some(false)));
        assert_eq!(is_one(a, "metal/gone.mp3"), None);
        assert_eq!(is_one("../ATTRIBUTION.md", a), None);
    }
}
