//! Integrated loudness (EBU R 128, ITU-R BS.1770) of what a file's decoding brings to light.

use ebur128::{Channel, EbuR128, Mode};

use super::Loudness;

/// Of a file that is not decoded whole, this much is measured of every stretch, seconds: its beginning says nearly as much as
/// all of it, at a fraction of the cost.
const STRETCH_SECONDS: f64 = 1.2;
/// A stretch is at most this share of the track, so that a long unbroken one counts for its length and not like a short one.
const STRETCHES: u64 = 24;

/// Channels as they were decoded, before they are mixed.
#[derive(Debug, Default)]
pub(super) struct Planes {
    /// What each channel counts for.
    pub kinds: Vec<Channel>,
    /// The samples of each channel, equally many.
    pub samples: Vec<Vec<f32>>,
}

impl Planes {
    pub(super) fn clear(&mut self) {
        self.kinds.clear();
        self.samples.iter_mut().for_each(Vec::clear);
    }

    /// Silence of so many frames.
    pub(super) fn fill(&mut self, kinds: &[Channel], frames: usize) {
        self.kinds = kinds.to_vec();
        self.samples.resize_with(kinds.len().max(self.samples.len()), Vec::new);
        for plane in &mut self.samples {
            plane.clear();
            plane.resize(frames, 0.0);
        }
    }

    fn frames(&self) -> usize {
        self.samples.first().map_or(0, Vec::len)
    }
}

/// Listens to stretches of a track, in ascending order.
pub(super) struct LoudnessMeter {
    rate: u32,
    /// Frames of a stretch, and how many of them are measured.
    length: u64,
    limit: u64,
    /// One for each stretch: a filter must not run over a gap.
    stretches: Vec<EbuR128>,
    /// Frame at which the present stretch would go on, how many went by, and how many of them were measured.
    next: u64,
    passed: u64,
    heard: u64,
}

impl LoudnessMeter {
    /// - `whole`: the track comes without gaps, and all of it counts
    /// - `frames`: of the track
    pub(super) fn new(rate: u32, whole: bool, frames: u64) -> Self {
        let measured = (STRETCH_SECONDS * f64::from(rate)) as u64;
        let (length, limit) =
            if whole { (u64::MAX, u64::MAX) } else { (measured.max(frames / STRETCHES), measured) };
        Self { rate, length, limit, stretches: Vec::new(), next: u64::MAX, passed: 0, heard: 0 }
    }

    /// Takes frames `from..to` of `planes`, of which the first is frame `start` of the track.
    pub(super) fn hear(&mut self, start: u64, planes: &Planes, from: usize, to: usize) {
        let to = to.min(planes.frames());
        if from >= to || planes.kinds.is_empty() {
            return;
        }
        let fits = |meter: &EbuR128| meter.channel_map() == planes.kinds;
        let goes_on = self.next == start && self.passed < self.length;
        if !goes_on || !self.stretches.last().is_some_and(fits) {
            // Rates and numbers of channels beyond the standard's go unmeasured.
            let Ok(mut meter) = EbuR128::new(planes.kinds.len() as u32, self.rate, Mode::I) else { return };
            if meter.set_channel_map(&planes.kinds).is_err() {
                return;
            }
            self.stretches.push(meter);
            (self.passed, self.heard) = (0, 0);
        }
        self.next = start + (to - from) as u64;
        self.passed += (to - from) as u64;
        let taken = (self.limit - self.heard).min((to - from) as u64) as usize;
        self.heard += taken as u64;
        if let Some(meter) = self.stretches.last_mut()
            && taken > 0
        {
            let frames: Vec<&[f32]> =
                planes.samples[..planes.kinds.len()].iter().map(|plane| &plane[from..from + taken]).collect();
            // It refuses only what does not have its channels.
            let _ = meter.add_frames_planar_f32(&frames);
        }
    }

    /// `None` for what is silent or shorter than the 0.4 s of a block.
    pub(super) fn loudness(&self, exact: bool) -> Option<Loudness> {
        let lufs = EbuR128::loudness_global_multiple(self.stretches.iter()).ok()?;
        lufs.is_finite().then_some(Loudness { lufs, exact })
    }
}
