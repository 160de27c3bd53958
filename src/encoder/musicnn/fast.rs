//! MusiCNN on a CPU: see [`super::front`] for the convolutions over the spectrogram.

#![allow(unsafe_code, reason = "hands parts of the scratch memory to the kernels")]

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::buffer::{self, Buffer};
use super::front::{self, BAND_BINS, BAND_ROW, Epilogue, PAIRS, ROW, Roots, TIME_BINS};
use super::pack::{Bank, Matrix, Packed};
use super::rows::{self, Rows};
use super::{BANDS, FRAMES, MIDDLE, Outputs, PENULTIMATE, TAGS};
use crate::encoder::conv::{Isa, isa};
use crate::encoder::{EncoderError, Weights};

/// Zero rows before and after an activation, for kernels of 7 frames.
const BORDER: usize = 3;

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
    work: Buffer,
    maxima: Buffer,
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
    fn new(packed: &Packed, lanes: usize) -> Self {
        let bordered = |width: usize| Buffer::zeroed((FRAMES + 2 * BORDER) * width);
        Self {
            bands: Buffer::zeroed(BANDS * BAND_ROW),
            frames: Buffer::zeroed(FRAMES * BANDS),
            band_spectra: Buffer::zeroed(2 * BAND_BINS * ROW),
            time_spectra: Buffer::zeroed(2 * PAIRS * TIME_BINS),
            work: Buffer::zeroed(2 * TIME_BINS * lanes),
            maxima: Buffer::zeroed(192 * lanes),
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
        mels.par_chunks_exact(BANDS * FRAMES)
            .zip(outputs.penultimate.par_chunks_exact_mut(PENULTIMATE))
            .zip(outputs.logits.par_chunks_exact_mut(TAGS))
            .for_each(|((mel, penultimate), logits)| {
                // A panic elsewhere cannot leave the scratch memory in a bad state: it is overwritten.
                let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut scratch = idle.unwrap_or_else(|| Scratch::new(&self.packed, buffer::lanes(self.isa)));
                self.patch(mel, &mut scratch);
                penultimate.copy_from_slice(&scratch.penultimate.as_slice()[..PENULTIMATE]);
                logits.copy_from_slice(&scratch.logits.as_slice()[..TAGS]);
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
            });
        outputs
    }

    /// One patch: `mel` to `scratch.penultimate` and `scratch.logits`.
    fn patch(&self, mel: &[f32], scratch: &mut Scratch) {
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
        {
            let _span = tracing::trace_span!("spectra").entered();
            // SAFETY: `isa` is available; the buffers were made for these extents in `Scratch::new`.
            unsafe {
                let bands = scratch.bands.as_slice().as_ptr();
                front::band_spectra(
                    self.isa,
                    bands,
                    &self.roots,
                    scratch.band_spectra.as_mut_slice().as_mut_ptr(),
                );
                front::time_spectra(
                    self.isa,
                    scratch.frames.as_slice().as_ptr(),
                    &self.roots,
                    scratch.work.as_mut_slice().as_mut_ptr(),
                    scratch.time_spectra.as_mut_slice().as_mut_ptr(),
                );
            }
        }
        for (i, bank) in self.packed.banks.iter().enumerate() {
            let _span = tracing::trace_span!("front", bank = i).entered();
            self.bank(i, bank, scratch);
        }
        let _span = tracing::trace_span!("middle and back").entered();
        let [first, second, third] = &self.packed.middle;
        let width = first.outputs;
        let front = scratch.front.as_slice();
        self.convolution(first, front, None, &mut scratch.first.as_mut_slice()[BORDER * width..]);
        let input = scratch.first.as_slice();
        let residual = Some((&input[BORDER * width..], width));
        self.convolution(second, input, residual, &mut scratch.second.as_mut_slice()[BORDER * MIDDLE..]);
        let input = scratch.second.as_slice();
        let residual = Some((&input[BORDER * MIDDLE..], MIDDLE));
        self.convolution(third, input, residual, scratch.third.as_mut_slice());
        self.back(scratch);
    }

    /// One bank of the front's filters, vector by vector.
    fn bank(&self, index: usize, bank: &Bank, scratch: &mut Scratch) {
        let lanes = buffer::lanes(self.isa);
        let width = self.packed.front_width;
        for vector in 0..bank.vectors {
            let filters = &bank.filters.as_slice()[vector * bank.block..][..bank.block];
            let table = &bank.epilogues.as_slice()[vector * 4 * lanes..][..4 * lanes];
            let epilogue = Epilogue { table: table.as_ptr() };
            let out = &mut scratch.front.as_mut_slice()[BORDER * width + bank.column + vector * lanes..];
            let (filters, out) = (filters.as_ptr(), out.as_mut_ptr());
            let work = scratch.work.as_mut_slice().as_mut_ptr();
            // SAFETY: `isa` is available; filters and epilogues were packed for it; the buffers were made for
            // these extents in `Scratch::new`; `out` begins at a column below `width` of the first frame's row.
            unsafe {
                match index {
                    0 | 1 => {
                        let spectra = scratch.band_spectra.as_slice().as_ptr();
                        let kernel = if index == 0 { front::timbral_38 } else { front::timbral_67 };
                        kernel(self.isa, spectra, filters, &self.roots, work, epilogue, out, width);
                    }
                    _ => {
                        let spectra = scratch.time_spectra.as_slice().as_ptr();
                        let maxima = scratch.maxima.as_mut_slice().as_mut_ptr();
                        front::temporal(
                            self.isa,
                            spectra,
                            filters,
                            &self.roots,
                            work,
                            maxima,
                            epilogue,
                            out,
                            width,
                        );
                    }
                }
            }
        }
    }

    /// A middle layer: `input` is bordered, `out` and the residual begin at the first frame.
    fn convolution(&self, layer: &Matrix, input: &[f32], residual: Option<(&[f32], usize)>, out: &mut [f32]) {
        let stride = layer.inner / front::TAPS;
        assert!(input.len() >= (FRAMES + 2 * BORDER) * stride && out.len() >= FRAMES * layer.outputs);
        let job = Rows {
            stride,
            bias_row: self.packed.bias_rows.as_ptr(),
            residual: residual.map_or(std::ptr::null(), |(rows, _)| rows.as_ptr()),
            residual_width: residual.map_or(0, |(_, width)| width),
            count: FRAMES,
            ..Self::job(layer, input, out)
        };
        // SAFETY: `isa` is available; a frame's row is 7 frames of the bordered input; lengths checked above.
        unsafe { rows::rows(self.isa, &job) }
    }

    /// One row times a matrix, then ReLU and batch norm.
    fn job(layer: &Matrix, input: &[f32], out: &mut [f32]) -> Rows {
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
            out: out.as_mut_ptr(),
            out_stride: layer.outputs,
        }
    }

    /// Pools and dense layers.
    fn back(&self, scratch: &mut Scratch) {
        let half = self.packed.dense.inner / 2;
        let first = self.packed.middle[0].outputs;
        let mut column = 0;
        for (rows, border, width) in [
            (&scratch.front, BORDER, self.packed.front_width),
            (&scratch.first, BORDER, first),
            (&scratch.second, BORDER, MIDDLE),
            (&scratch.third, 0, MIDDLE),
        ] {
            let rows = &rows.as_slice()[border * width..][..FRAMES * width];
            let out = &mut scratch.pooled.as_mut_slice()[column..][..half + width];
            // SAFETY: `isa` is available; rows and both halves of the output have `width` values.
            unsafe { rows::pool(self.isa, rows.as_ptr(), FRAMES, width, out.as_mut_ptr(), half) };
            column += width;
        }
        let job =
            Self::job(&self.packed.dense, scratch.pooled.as_slice(), scratch.penultimate.as_mut_slice());
        // SAFETY: `isa` is available; the buffers have the matrix' sizes.
        unsafe { rows::rows(self.isa, &job) };
        let job = Rows {
            scale: std::ptr::null(),
            ..Self::job(&self.packed.logits, scratch.penultimate.as_slice(), scratch.logits.as_mut_slice())
        };
        // SAFETY: as above.
        unsafe { rows::rows(self.isa, &job) };
    }
}
