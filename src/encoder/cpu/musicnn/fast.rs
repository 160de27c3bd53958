//! MusiCNN on a CPU: see [`super::front`] for the convolutions over the spectrogram.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::front::{self, BAND_BINS, BAND_ROW, Kernel, PAIRS, ROW, Roots, TIME_BINS, Vector};
use super::pack::{Packed, PackedMatrix};
use super::{BANDS, FRAMES, MIDDLE, MusicnnTensors, PENULTIMATE, RESULT, TAGS};
use crate::cpu::rows::{self, Rows};
use crate::cpu::team::Team;
use voisin_simd::Isa;
use voisin_simd::buffer::{Buffer, SharedSlice};

/// Zero rows before and after an activation, for kernels of 7 frames.
const BORDER: usize = 3;

/// Frames of a middle layer that one task computes: a multiple of the rows that the kernel takes
/// together.
const CHUNK: usize = 48;

thread_local! {
    /// Transforms and maxima of the filters that this thread computes.
    static WORK: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// Runs `f` with this thread's room for 256 complex vectors and for 192 vectors.
fn with_work(lanes: usize, f: impl FnOnce(&mut [f32], &mut [f32])) {
    WORK.with(|work| {
        let mut work = work.borrow_mut();
        work.reserve((2 * TIME_BINS + 192) * lanes);
        let (transforms, maxima) = work.as_mut_slice().split_at_mut(2 * TIME_BINS * lanes);
        f(transforms, maxima);
    });
}

const NO_BORDER: &[u8] = &[0];

/// The network, prepared for one instruction set. Any number of threads may use it.
#[derive(Debug)]
pub struct FastMusicnn {
    isa: Isa,
    packed: Packed,
    roots: Roots,
    idle: Mutex<Vec<MusicnnScratch>>,
}

#[derive(Debug)]
struct MusicnnScratch {
    /// `[96][BAND_ROW]`
    bands: Buffer,
    /// `[187][96]`
    frames: Buffer,
    band_spectra: Buffer,
    time_spectra: Buffer,
    /// `[3 + 187 + 3][front_width]`; the border stays zero in this and the next two.
    front: Buffer,
    first: Buffer,
    second: Buffer,
    /// `[187][64]`
    third: Buffer,
    /// Maxima, then means, of the columns of the last four.
    pooled: Buffer,
    penultimate: Buffer,
    logits: Buffer,
}

impl MusicnnScratch {
    fn new(packed: &Packed) -> Self {
        let bordered = |width: usize| Buffer::zeroed((FRAMES + 2 * BORDER) * width);
        Self {
            bands: Buffer::zeroed(BANDS * BAND_ROW),
            frames: Buffer::zeroed(FRAMES * BANDS),
            band_spectra: Buffer::zeroed(2 * BAND_BINS * ROW),
            time_spectra: Buffer::zeroed(2 * PAIRS * TIME_BINS),
            front: bordered(packed.front_width),
            first: bordered(packed.middle[0].outputs),
            second: bordered(MIDDLE),
            third: Buffer::zeroed(FRAMES * MIDDLE),
            pooled: Buffer::zeroed(packed.dense.inner),
            penultimate: Buffer::zeroed(packed.dense.outputs),
            logits: Buffer::zeroed(packed.logits.outputs),
        }
    }
}

impl FastMusicnn {
    /// # Panics
    /// If there are other tensors than the network has, or of other lengths.
    pub fn new(tensors: &MusicnnTensors, isa: Isa) -> Self {
        Self {
            isa,
            packed: Packed::new(tensors, isa.lanes()),
            roots: Roots::new(),
            idle: Mutex::default(),
        }
    }

    /// - `mels`: `[n][96][187]`
    /// - returns: `[n][RESULT]`
    pub fn forward(&self, mels: &[f32], n: usize) -> Vec<f32> {
        let mut results = vec![0.0; n * RESULT];
        if n < rayon::current_num_threads() {
            let team = Team::pool();
            let patches = mels.chunks_exact(BANDS * FRAMES);
            patches
                .zip(results.chunks_exact_mut(RESULT))
                .for_each(|(mel, to)| self.one(&team, mel, to));
        } else {
            let patches = mels.par_chunks_exact(BANDS * FRAMES);
            patches
                .zip(results.par_chunks_exact_mut(RESULT))
                .with_max_len(1)
                .for_each(|(mel, to)| self.one(&Team::alone(), mel, to));
        }
        results
    }

    fn one(&self, team: &Team, mel: &[f32], to: &mut [f32]) {
        // Safe after a panic elsewhere, as the scratch memory is overwritten.
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut scratch = idle.unwrap_or_else(|| MusicnnScratch::new(&self.packed));
        self.patch(team, mel, &mut scratch);
        let (penultimate, logits) = to.split_at_mut(PENULTIMATE);
        penultimate.copy_from_slice(&scratch.penultimate.as_slice()[..PENULTIMATE]);
        logits.copy_from_slice(&scratch.logits.as_slice()[..TAGS]);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(scratch);
    }

    /// One patch: `mel` to `scratch.penultimate` and `scratch.logits`.
    fn patch(&self, team: &Team, mel: &[f32], scratch: &mut MusicnnScratch) {
        assert_eq!(
            mel.len(),
            BANDS * FRAMES,
            "the encoder hands over whole patches"
        );
        let (scale, shift) = self.packed.input;
        for (band, row) in mel.chunks_exact(FRAMES).enumerate() {
            let to = &mut scratch.bands.as_mut_slice()[band * BAND_ROW..][..FRAMES];
            for (t, (to, &x)) in to.iter_mut().zip(row).enumerate() {
                *to = scale * x + shift;
                scratch.frames.as_mut_slice()[t * BANDS + band] = *to;
            }
        }
        {
            let bands = scratch.bands.as_slice();
            let frames = scratch.frames.as_slice();
            let band_spectra = scratch.band_spectra.share();
            let time_spectra = scratch.time_spectra.share();
            team.run(2, |task| {
                let out = if task == 0 {
                    band_spectra
                } else {
                    time_spectra
                };
                // SAFETY: each task writes a buffer of its own.
                let out = unsafe { out.slice_mut(0..out.len()) };
                if task == 0 {
                    front::band_spectra(self.isa, bands, &self.roots, out);
                } else {
                    with_work(self.isa.lanes(), |work, _| {
                        front::time_spectra(self.isa, frames, &self.roots, work, out);
                    });
                }
            });
        }
        self.front(team, scratch);
        let [first, second, third] = &self.packed.middle;
        let width = first.outputs;
        let front = scratch.front.as_slice();
        self.convolution(
            team,
            first,
            front,
            None,
            &mut scratch.first.as_mut_slice()[BORDER * width..],
        );
        let input = scratch.first.as_slice();
        let residual = Some((&input[BORDER * width..], width));
        let out = &mut scratch.second.as_mut_slice()[BORDER * MIDDLE..];
        self.convolution(team, second, input, residual, out);
        let input = scratch.second.as_slice();
        let residual = Some((&input[BORDER * MIDDLE..], MIDDLE));
        self.convolution(team, third, input, residual, scratch.third.as_mut_slice());
        self.back(team, scratch);
    }

    /// The front's filters, vector by vector; the longest kernels first, for an even load of
    /// threads.
    fn front(&self, team: &Team, scratch: &mut MusicnnScratch) {
        let lanes = self.isa.lanes();
        let width = self.packed.front_width;
        let out = scratch.front.share();
        let band_spectra = scratch.band_spectra.as_slice();
        let time_spectra = scratch.time_spectra.as_slice();
        let vectors: usize = self.packed.banks.iter().map(|bank| bank.vectors).sum();
        team.run(vectors, |task| {
            let mut index = self.packed.banks.len() - 1;
            let mut vector = task;
            while vector >= self.packed.banks[index].vectors {
                vector -= self.packed.banks[index].vectors;
                index -= 1;
            }
            let bank = &self.packed.banks[index];
            let (kernel, spectra) = match index {
                0 => (Kernel::Timbral38, band_spectra),
                1 => (Kernel::Timbral67, band_spectra),
                _ => (Kernel::Temporal, time_spectra),
            };
            let vector = Vector {
                spectra,
                filters: &bank.filters.as_slice()[vector * bank.block..][..bank.block],
                roots: &self.roots,
                epilogue: &bank.epilogues.as_slice()[vector * 4 * lanes..][..4 * lanes],
                out: out.skip(BORDER * width + bank.column + vector * lanes),
                width,
            };
            with_work(lanes, |work, maxima| {
                // SAFETY: each task writes its own columns, which end before `width`.
                unsafe { front::filter(self.isa, kernel, &vector, work, maxima) };
            });
        });
    }

    /// A middle layer: `input` is bordered, `out` and the residual begin at the first frame.
    fn convolution(
        &self,
        team: &Team,
        layer: &PackedMatrix,
        input: &[f32],
        residual: Option<(&[f32], usize)>,
        out: &mut [f32],
    ) {
        let stride = layer.inner / front::TAPS;
        let out = SharedSlice::new(out);
        team.run(FRAMES.div_ceil(CHUNK), |task| {
            let start = task * CHUNK;
            let end = FRAMES.min((task + 1) * CHUNK);
            // A frame's row is 7 frames of the bordered input.
            let job = Rows {
                stride,
                bias_row: &self.packed.bias_rows[start..],
                residual: residual.map(|(rows, width)| (&rows[start * width..], width)),
                ..Self::job(layer, &input[start * stride..])
            };
            // SAFETY: each task writes its own rows.
            let out = unsafe { out.slice_mut(start * layer.outputs..end * layer.outputs) };
            rows::rows(self.isa, &job, out);
        });
    }

    /// One row times a matrix, then ReLU and batch norm.
    fn job<'a>(layer: &'a PackedMatrix, input: &'a [f32]) -> Rows<'a> {
        Rows {
            input,
            stride: 0,
            inner: layer.inner,
            matrix: layer.values.as_slice(),
            bias: layer.bias.as_slice(),
            bias_row: NO_BORDER,
            norm: Some((layer.scale.as_slice(), layer.shift.as_slice())),
            residual: None,
            outputs: layer.outputs,
        }
    }

    fn back(&self, team: &Team, scratch: &mut MusicnnScratch) {
        let half = self.packed.dense.inner / 2;
        let front = self.packed.front_width;
        let first = self.packed.middle[0].outputs;
        let layers = [
            (&scratch.front, BORDER, front, 0),
            (&scratch.first, BORDER, first, front),
            (&scratch.second, BORDER, MIDDLE, front + first),
            (&scratch.third, 0, MIDDLE, front + first + MIDDLE),
        ];
        let pooled = scratch.pooled.share();
        team.run(layers.len(), |task| {
            let (rows, border, width, column) = layers[task];
            let rows = &rows.as_slice()[border * width..][..FRAMES * width];
            // SAFETY: each task writes its own columns of both halves.
            let (max, mean) = unsafe {
                let end = column + width;
                (
                    pooled.slice_mut(column..end),
                    pooled.slice_mut(half + column..half + end),
                )
            };
            rows::pool(self.isa, rows, max, mean);
        });
        let dense = &self.packed.dense;
        let panel = 2 * self.isa.lanes();
        let pooled = scratch.pooled.as_slice();
        let out = scratch.penultimate.share();
        team.run(dense.outputs / panel, |task| {
            let outputs = task * panel..(task + 1) * panel;
            let job = Rows {
                matrix: &dense.values.as_slice()[outputs.start * dense.inner..],
                bias: &dense.bias.as_slice()[outputs.clone()],
                norm: Some((
                    &dense.scale.as_slice()[outputs.clone()],
                    &dense.shift.as_slice()[outputs.clone()],
                )),
                outputs: panel,
                ..Self::job(dense, pooled)
            };
            // SAFETY: each task writes its own outputs.
            let out = unsafe { out.slice_mut(outputs.clone()) };
            rows::rows(self.isa, &job, out);
        });
        let job = Rows {
            norm: None,
            ..Self::job(&self.packed.logits, scratch.penultimate.as_slice())
        };
        rows::rows(
            self.isa,
            &job,
            &mut scratch.logits.as_mut_slice()[..self.packed.logits.outputs],
        );
    }
}
