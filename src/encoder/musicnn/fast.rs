//! MusiCNN on a CPU: see [`super::front`] for the convolutions over the spectrogram.

#![allow(unsafe_code, reason = "hands parts of the scratch memory to the kernels")]

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::buffer::{self, Buffer};
use super::front::{self, BAND_BINS, BAND_ROW, Epilogue, PAIRS, ROW, Roots, TIME_BINS};
use super::pack::{Matrix, Packed};
use super::rows::{self, Rows};
use super::{BANDS, FRAMES, MIDDLE, Outputs, PENULTIMATE, TAGS};
use crate::encoder::conv::arena::Shared;
use crate::encoder::conv::{Isa, isa};
use crate::encoder::team::{Team, with_team};
use crate::encoder::{EncoderError, Weights};

/// Zero rows before and after an activation, for kernels of 7 frames.
const BORDER: usize = 3;

/// Frames of a middle layer that one task computes: a multiple of the rows that the kernel takes together.
const CHUNK: usize = 48;

thread_local! {
    /// Transforms and maxima of the filters that this thread has in hand.
    static WORK: RefCell<Buffer> = RefCell::new(Buffer::zeroed(0));
}

/// Runs `f` with this thread's room for 256 complex vectors and for 192 vectors.
fn with_work(lanes: usize, f: impl FnOnce(*mut f32, *mut f32)) {
    WORK.with(|work| {
        let mut work = work.borrow_mut();
        if work.as_slice().len() < (2 * TIME_BINS + 192) * lanes {
            *work = Buffer::zeroed((2 * TIME_BINS + 192) * lanes);
        }
        let (transforms, maxima) = work.as_mut_slice().split_at_mut(2 * TIME_BINS * lanes);
        f(transforms.as_mut_ptr(), maxima.as_mut_ptr());
    });
}

/// The bias row of a dense layer.
const NO_BORDER: &[u8] = &[0];

/// The network, prepared for one instruction set. Any number of threads may use it.
#[derive(Debug)]
pub(crate) struct FastMusicnn {
    isa: Isa,
    packed: Packed,
    roots: Roots,
    /// Scratch memory that no thread is using.
    idle: Mutex<Vec<Scratch>>,
}

#[derive(Debug)]
struct Scratch {
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

impl Scratch {
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
    pub(crate) fn new(weights: &Weights) -> Result<Self, EncoderError> {
        Self::with_isa(weights, isa())
    }

    /// For a given instruction set, which this processor must have.
    pub(crate) fn with_isa(weights: &Weights, isa: Isa) -> Result<Self, EncoderError> {
        let isa = if isa.is_available() { isa } else { Isa::Portable };
        let packed = Packed::new(weights, buffer::lanes(isa))?;
        Ok(Self { isa, packed, roots: Roots::new(), idle: Mutex::default() })
    }

    /// - `mels`: `[n][96][187]`
    pub(crate) fn forward(&self, mels: &[f32], n: usize) -> Outputs {
        let mut outputs = Outputs { penultimate: vec![0.0; n * PENULTIMATE], logits: vec![0.0; n * TAGS] };
        let results =
            outputs.penultimate.chunks_exact_mut(PENULTIMATE).zip(outputs.logits.chunks_exact_mut(TAGS));
        let patches = mels.chunks_exact(BANDS * FRAMES).zip(results);
        if n < rayon::current_num_threads() {
            with_team(|team| patches.for_each(|(mel, (to, logits))| self.one(team, mel, to, logits)));
        } else {
            let alone = |(mel, (to, logits)): (&[f32], (&mut [f32], &mut [f32]))| {
                self.one(&Team::alone(), mel, to, logits);
            };
            patches.collect::<Vec<_>>().into_par_iter().with_max_len(1).for_each(alone);
        }
        outputs
    }

    /// One patch with scratch memory of the pool.
    fn one(&self, team: &Team, mel: &[f32], penultimate: &mut [f32], logits: &mut [f32]) {
        // A panic elsewhere cannot leave the scratch memory in a bad state: it is overwritten.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = idle.unwrap_or_else(|| Scratch::new(&self.packed));
        self.patch(team, mel, &mut scratch);
        penultimate.copy_from_slice(&scratch.penultimate.as_slice()[..PENULTIMATE]);
        logits.copy_from_slice(&scratch.logits.as_slice()[..TAGS]);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    /// One patch: `mel` to `scratch.penultimate` and `scratch.logits`.
    fn patch(&self, team: &Team, mel: &[f32], scratch: &mut Scratch) {
        let _span = tracing::trace_span!("musicnn").entered();
        assert_eq!(mel.len(), BANDS * FRAMES, "the encoder hands over whole patches");
        let (scale, shift) = self.packed.input;
        for (band, row) in mel.chunks_exact(FRAMES).enumerate() {
            let to = &mut scratch.bands.as_mut_slice()[band * BAND_ROW..][..FRAMES];
            for (t, (to, &x)) in to.iter_mut().zip(row).enumerate() {
                *to = scale * x + shift;
                scratch.frames.as_mut_slice()[t * BANDS + band] = *to;
            }
        }
        if self.packed.hears_mean {
            // Bands that are all their mean: the maximum over them is the one output that is wanted.
            for frame in scratch.frames.as_mut_slice()[..FRAMES * BANDS].chunks_exact_mut(BANDS) {
                let mean = frame.iter().sum::<f32>() / BANDS as f32;
                frame.fill(mean);
            }
        }
        {
            let _span = tracing::trace_span!("spectra").entered();
            let (bands, frames) = (scratch.bands.as_slice(), scratch.frames.as_slice());
            let band_spectra = Shared(scratch.band_spectra.as_mut_slice().as_mut_ptr());
            let time_spectra = Shared(scratch.time_spectra.as_mut_slice().as_mut_ptr());
            team.run(2, |task| {
                // SAFETY: `isa` is available; the buffers were made for these extents in `Scratch::new`, and each
                // task writes its own.
                unsafe {
                    if task == 0 {
                        front::band_spectra(self.isa, bands.as_ptr(), &self.roots, band_spectra.at(0));
                    } else {
                        with_work(buffer::lanes(self.isa), |work, _| {
                            front::time_spectra(
                                self.isa,
                                frames.as_ptr(),
                                &self.roots,
                                work,
                                time_spectra.at(0),
                            );
                        });
                    }
                }
            });
        }
        {
            let _span = tracing::trace_span!("front").entered();
            self.front(team, scratch);
        }
        let _span = tracing::trace_span!("middle and back").entered();
        let [first, second, third] = &self.packed.middle;
        let width = first.outputs;
        let front = scratch.front.as_slice();
        self.convolution(team, first, front, None, &mut scratch.first.as_mut_slice()[BORDER * width..]);
        let input = scratch.first.as_slice();
        let residual = Some((&input[BORDER * width..], width));
        let out = &mut scratch.second.as_mut_slice()[BORDER * MIDDLE..];
        self.convolution(team, second, input, residual, out);
        let input = scratch.second.as_slice();
        let residual = Some((&input[BORDER * MIDDLE..], MIDDLE));
        self.convolution(team, third, input, residual, scratch.third.as_mut_slice());
        self.back(team, scratch);
    }

    /// The front's filters, vector by vector; the longest kernels come first, so that threads end together.
    fn front(&self, team: &Team, scratch: &mut Scratch) {
        let lanes = buffer::lanes(self.isa);
        let width = self.packed.front_width;
        let out = Shared(scratch.front.as_mut_slice().as_mut_ptr());
        let band_spectra = scratch.band_spectra.as_slice();
        let time_spectra = scratch.time_spectra.as_slice();
        let vectors: usize = self.packed.banks.iter().map(|bank| bank.vectors).sum();
        team.run(vectors, |task| {
            let (mut index, mut vector) = (self.packed.banks.len() - 1, task);
            while vector >= self.packed.banks[index].vectors {
                vector -= self.packed.banks[index].vectors;
                index -= 1;
            }
            let bank = &self.packed.banks[index];
            let filters = bank.filters.as_slice()[vector * bank.block..][..bank.block].as_ptr();
            let table = &bank.epilogues.as_slice()[vector * 4 * lanes..][..4 * lanes];
            let epilogue = Epilogue { table: table.as_ptr() };
            with_work(lanes, |work, maxima| {
                // SAFETY: `isa` is available; filters and epilogues were packed for it; the buffers were made for
                // these extents in `Scratch::new` and `with_work`; `out` begins at a column below `width` of the
                // first frame's row, and each task writes its own columns.
                unsafe {
                    let out = out.at(BORDER * width + bank.column + vector * lanes);
                    let (bands, times) = (band_spectra.as_ptr(), time_spectra.as_ptr());
                    let (isa, roots) = (self.isa, &self.roots);
                    match index {
                        0 => front::timbral_38(isa, bands, filters, roots, work, epilogue, out, width),
                        1 => front::timbral_67(isa, bands, filters, roots, work, epilogue, out, width),
                        _ => front::temporal(isa, times, filters, roots, work, maxima, epilogue, out, width),
                    }
                }
            });
        });
    }

    /// A middle layer: `input` is bordered, `out` and the residual begin at the first frame.
    fn convolution(
        &self,
        team: &Team,
        layer: &Matrix,
        input: &[f32],
        residual: Option<(&[f32], usize)>,
        out: &mut [f32],
    ) {
        let stride = layer.inner / front::TAPS;
        let width = residual.map_or(0, |(_, width)| width);
        assert!(input.len() >= (FRAMES + 2 * BORDER) * stride && out.len() >= FRAMES * layer.outputs);
        assert!(residual.is_none_or(|(rows, width)| rows.len() >= FRAMES * width));
        let out = Shared(out.as_mut_ptr());
        team.run(FRAMES.div_ceil(CHUNK), |task| {
            let start = task * CHUNK;
            // SAFETY: `isa` is available; a frame's row is 7 frames of the bordered input; lengths checked above;
            // each task writes its own rows.
            unsafe {
                let job = Rows {
                    stride,
                    bias_row: self.packed.bias_rows[start..].as_ptr(),
                    residual: residual.map_or(std::ptr::null(), |(rows, _)| rows[start * width..].as_ptr()),
                    residual_width: width,
                    count: CHUNK.min(FRAMES - start),
                    ..Self::job(layer, &input[start * stride..], out.at(start * layer.outputs))
                };
                rows::rows(self.isa, &job);
            }
        });
    }

    /// One row times a matrix, then ReLU and batch norm.
    fn job(layer: &Matrix, input: &[f32], out: *mut f32) -> Rows {
        Rows {
            input: input.as_ptr(),
            stride: 0,
            inner: layer.inner,
            matrix: layer.values.as_slice().as_ptr(),
            bias: layer.bias.as_slice().as_ptr(),
            bias_row: NO_BORDER.as_ptr(),
            scale: layer.scale.as_slice().as_ptr(),
            shift: layer.shift.as_slice().as_ptr(),
            residual: std::ptr::null(),
            residual_width: 0,
            count: 1,
            outputs: layer.outputs,
            out,
            out_stride: layer.outputs,
        }
    }

    /// Pools and dense layers.
    fn back(&self, team: &Team, scratch: &mut Scratch) {
        let half = self.packed.dense.inner / 2;
        let (front, first) = (self.packed.front_width, self.packed.middle[0].outputs);
        let layers = [
            (&scratch.front, BORDER, front, 0),
            (&scratch.first, BORDER, first, front),
            (&scratch.second, BORDER, MIDDLE, front + first),
            (&scratch.third, 0, MIDDLE, front + first + MIDDLE),
        ];
        assert!(scratch.pooled.as_slice().len() >= 2 * half && half >= front + first + 2 * MIDDLE);
        let pooled = Shared(scratch.pooled.as_mut_slice().as_mut_ptr());
        team.run(layers.len(), |task| {
            let (rows, border, width, column) = layers[task];
            let rows = &rows.as_slice()[border * width..][..FRAMES * width];
            // SAFETY: `isa` is available; rows and both halves of the output have `width` values.
            unsafe { rows::pool(self.isa, rows.as_ptr(), FRAMES, width, pooled.at(column), half) };
        });
        let (dense, panel) = (&self.packed.dense, 2 * buffer::lanes(self.isa));
        let (pooled, out) = (&scratch.pooled, Shared(scratch.penultimate.as_mut_slice().as_mut_ptr()));
        team.run(dense.outputs / panel, |task| {
            let start = task * panel;
            // SAFETY: `isa` is available; the buffers have the matrix' sizes; each task writes its own outputs.
            unsafe {
                let job = Rows {
                    matrix: dense.values.as_slice()[start * dense.inner..].as_ptr(),
                    bias: dense.bias.as_slice()[start..].as_ptr(),
                    scale: dense.scale.as_slice()[start..].as_ptr(),
                    shift: dense.shift.as_slice()[start..].as_ptr(),
                    outputs: panel,
                    ..Self::job(dense, pooled.as_slice(), out.at(start))
                };
                rows::rows(self.isa, &job);
            }
        });
        let out = scratch.logits.as_mut_slice().as_mut_ptr();
        let job = Rows {
            scale: std::ptr::null(),
            ..Self::job(&self.packed.logits, scratch.penultimate.as_slice(), out)
        };
        // SAFETY: as above.
        unsafe { rows::rows(self.isa, &job) };
    }
}
