//! Listens to two files: are they the same recording?

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;
use voisin_audio::{self, AudioInfo};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::audio_match::Outline;
use voisin_explore::duplicates::PairListener;
use voisin_explore::versions::SongFacts;
use voisin_features::windows::is_near_silent;
use voisin_features::{
    Compression, Hann, MelConfig, MelFrontEnd, MelNorm, MelScale, Spectrum, chroma_sequence,
};
use voisin_library::{Library, LibraryError, OpenMode};

/// Hz: enough for bands that every codec keeps.
const RATE: u32 = 8000;
/// Samples between frames: 16 ms.
const HOP: usize = 128;
/// Samples of a frame.
const FRAME: usize = 1024;
/// Seconds of the shorter file that are compared at each place.
const STRETCH: f64 = 12.0;
/// Seconds by which a recording may begin earlier or later in the other file.
const MOST_OFFSET: f64 = 15.0;
/// The same, once the first place has told the offset.
const JITTER: f64 = 0.5;
/// Where files are compared, as shares of the shorter one.
const PLACES: [f64; 3] = [0.5, 0.25, 0.75];
/// Files shorter than this, in seconds, are compared at the first place at which there is something to hear, others at
/// all: parts in common make no copy.
const LONG: f64 = 40.0;
/// Where one place does not agree by this, the others are not listened to.
const HOPELESS: f32 = 0.5;

/// Seconds from the start of a file whose chords are listened to.
const MOST_OF_CHORDS: u64 = 600;

/// Version of the method: what another one heard is listened to again. One more for each change of an answer.
const VERSION: u32 = 2;

/// Progress of a [`FileListener`] or a search for versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenEvent {
    /// It begins.
    Begin {
        /// Pairs that will be listened to at most; of versions, tracks.
        pairs: usize,
        /// Pairs beyond those, which their windows decide alone.
        unheard: usize,
    },
    /// A pair, or of versions a track, was listened to.
    Heard,
}

/// Compares the audio of files by [`Outline`]s of a few stretches, and remembers in the library what it heard.
pub struct FileListener<F> {
    on_event: F,
    known: Mutex<HashMap<(TrackId, TrackId), bool>>,
    /// A connection of its own: what was heard is kept at once, whatever becomes of the run.
    memory: Option<Mutex<Library>>,
}

impl<F: Fn(ListenEvent) + Sync> FileListener<F> {
    /// - `library`: where verdicts are remembered; one that cannot be written is only read
    pub fn new(library: &Library, on_event: F) -> Result<Self, LibraryError> {
        // Verdicts by another version of the method are not read and will be made anew.
        let known = library.derived().duplicate_verdicts(VERSION)?;
        let writes = library.mode() != OpenMode::ReadOnly;
        let memory = if writes {
            Library::open(library.dir(), OpenMode::ReadWrite).ok()
        } else {
            None
        };
        Ok(Self {
            on_event,
            known: Mutex::new(known),
            memory: memory.map(Mutex::new),
        })
    }
}

impl<F: Fn(ListenEvent) + Sync> PairListener for FileListener<F> {
    fn begin(&self, pairs: usize, unheard: usize) {
        (self.on_event)(ListenEvent::Begin { pairs, unheard });
    }

    fn known(&self, a: TrackId, b: TrackId) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A pair is stored once, the smaller id first.
        known.get(&(a.min(b), a.max(b))).copied()
    }

    fn correlation(&self, a: &TrackMeta, b: &TrackMeta, lead: f32) -> Option<f32> {
        let correlation = audio_correlation(a.system_path(), b.system_path(), lead.into());
        (self.on_event)(ListenEvent::Heard);
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
        if let Some(memory) = &self.memory {
            // It is only a memory: where it cannot be kept, the pair is listened to again.
            let mut library = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = library
                .derived_mut()
                .remember_duplicate(a, b, VERSION, same);
        }
    }
}

/// How well the audio of two files fits, −1 to 1: the least of the normalised cross-correlations of band energies at one
/// place (short files) or three.
///
/// The same recording through any usual codec, level or equaliser gives 0.7 to 1, others less than 0.5. `None` where a
/// file cannot be read, or is silent or steady at all places.
///
/// - `lead`: seconds by which silence before the music of `b` is longer, as far as that is known; up to 15 s more or less
///   are found
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
    // Of a short file not all, so that there is room for an offset on either side.
    let stretch = STRETCH.min(0.6 * length);
    let mut offset = None;
    let mut least = None::<f32>;
    for place in PLACES {
        let from = (place * length - stretch / 2.0).max(0.0);
        // The first place looks far for the offset. At the others the same offset has to hold, as
        // it does between files of one recording but not between two takes.
        let (expected, around) = offset.map_or((lead, MOST_OFFSET), |offset| (offset, JITTER));
        let other_from = (from + expected - around).max(0.0);
        let other_to = (from + stretch + expected + around).min(long.1.seconds());
        let Some(one) = outline(short.0, &short.1, from, stretch) else {
            continue;
        };
        let Some(other) = outline(long.0, &long.1, other_from, other_to - other_from) else {
            continue;
        };
        // An offset in the file is another lag between the stretches.
        let shift = from - other_from;
        let lags = [expected - around, expected + around].map(|offset| (offset + shift) as f32);
        let Some(found) = one.agreement(&other, lags[0], lags[1]) else {
            continue;
        };
        // The worst place decides: parts in common make no copy.
        least = Some(least.map_or(found.correlation, |least| least.min(found.correlation)));
        if found.correlation < HOPELESS || length < LONG {
            break;
        }
        offset.get_or_insert(f64::from(found.lag) - shift);
    }
    least
}

/// Keeps which song each track was found to be a recording of, for lists and mixes; a library that cannot be written stays as
/// it is, and titles go on to decide.
pub fn keep_songs(library: &Library, songs: &BTreeMap<TrackId, TrackId>) {
    if library.mode() != OpenMode::ReadOnly
        && let Ok(mut memory) = Library::open(library.dir(), OpenMode::ReadWrite)
    {
        let _ = memory.derived_mut().remember_songs(songs);
    }
}

/// Listens to the chords of these tracks, and reads which works their tags name; by row.
pub fn song_facts(
    tracks: &[(usize, &TrackMeta)],
    tell: &(impl Fn(ListenEvent) + Sync),
) -> BTreeMap<usize, SongFacts> {
    tell(ListenEvent::Begin {
        pairs: tracks.len(),
        unheard: 0,
    });
    let one = |&(row, track): &(usize, &TrackMeta)| {
        let facts = known_facts(track.system_path());
        tell(ListenEvent::Heard);
        (row, facts)
    };
    tracks.par_iter().map(one).collect()
}

/// Files whose facts a process keeps, at 28 kB for ten minutes of music: a server is asked again after each change of a label.
const MOST_FACTS: usize = 2000;
/// A file as it was read: its size and time are its own until it is written anew.
type FileStamp = (PathBuf, u64, Option<SystemTime>);
static FACTS: Mutex<BTreeMap<FileStamp, SongFacts>> = Mutex::new(BTreeMap::new());

/// The facts of one file, decoded once for each state of it.
fn known_facts(path: &Path) -> SongFacts {
    let metadata = std::fs::metadata(path).ok();
    let state = metadata.map(|file| (path.to_owned(), file.len(), file.modified().ok()));
    let kept = || FACTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = state.as_ref().and_then(|state| kept().get(state).cloned()) {
        return known;
    }
    let facts = SongFacts {
        works: voisin_audio::tags::read_works(path).unwrap_or_default(),
        chords: chords(path),
    };
    if let Some(state) = state {
        let mut kept = kept();
        // Which one goes matters little; the first by path is at hand.
        if kept.len() >= MOST_FACTS {
            kept.pop_first();
        }
        kept.insert(state, facts.clone());
    }
    facts
}

/// How much of each pitch class there is in a file over time, in its first ten minutes; `None` if it cannot be read.
pub fn chords(path: &Path) -> Option<Vec<[u8; 12]>> {
    let info = voisin_audio::probe(path).ok()?;
    let length = voisin_audio::resampled_len(&info, RATE).min(MOST_OF_CHORDS * u64::from(RATE));
    let mut samples = Vec::new();
    voisin_audio::read_windows(
        path,
        &info,
        RATE,
        &[0],
        usize::try_from(length).ok()?,
        &mut |_, window| {
            samples = window.to_vec();
        },
    )
    .ok()?;
    Some(chroma_sequence(&samples, RATE))
}

/// Seconds of a file without silence at its ends, to a tenth; `None` if it cannot be read or is silent.
///
/// Only the ends are decoded, as far as it takes.
fn music_seconds(path: &Path) -> Option<f64> {
    let info = voisin_audio::probe(path).ok()?;
    let total = voisin_audio::resampled_len(&info, RATE);
    let block = u64::from(RATE / 10);
    let is_loud = |samples: &[f32]| !is_near_silent(samples);
    // Twice as much each time: a codec that is decoded from the beginning takes no longer than a few times the whole.
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
        hann: Hann::Periodic,
        spectrum: Spectrum::Power,
        n_mels: 24,
        f_min: 150.0,
        f_max: 3400.0,
        mel_scale: MelScale::Htk,
        mel_norm: MelNorm::Peak,
        // Decibels within a limited range: a change of level moves all bands alike, and what a
        // codec drops in quiet parts does not count.
        compression: Compression::Decibel {
            amin: 1e-10,
            range_db: 50.0,
        },
        ..MelConfig::musicnn()
    })
    .ok()?;
    let decibels = front_end.compute(&samples).values;
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
    fn the_demo_s_pieces_are_themselves_and_no_other() {
        let a = demo("metal/muldjord-chaos-god.mp3");
        let b = demo("metal/muldjord-mutilated-mime.mp3");
        // Not quite 1: the local means at the ends of the shorter stretch are others.
        let itself = audio_correlation(&a, &a, 0.0);
        let other = audio_correlation(&a, &b, 0.0);
        assert!(itself.expect("music moves") > 0.9, "{itself:?}");
        assert!(
            other.expect("music moves") < 0.5,
            "the nearest track of the same artist: {other:?}"
        );
        assert_eq!(audio_correlation(&a, &demo("metal/gone.mp3"), 0.0), None);
        assert_eq!(audio_correlation(&demo("../ATTRIBUTION.md"), &a, 0.0), None);
    }

    #[test]
    fn chords_of_a_piece_are_its_own_and_of_no_other() {
        let pieces = [
            "metal/muldjord-chaos-god.mp3",
            "metal/muldjord-mutilated-mime.mp3",
        ];
        let [a, b] = pieces.map(|name| chords(&demo(name)).expect("it is there"));
        assert!(
            (45..60).contains(&a.len()),
            "14 s, a frame every 0.256 s: {}",
            a.len()
        );
        let likeness = voisin_explore::versions::likeness;
        let itself = likeness(&a, &a[5..]).unwrap();
        let other = likeness(&a, &b).unwrap();
        assert!(itself > 0.95 && other < 0.5, "{itself} {other}");
        assert_eq!(chords(&demo("metal/gone.mp3")), None);
    }
}
