//! Vectors at 16 bits a component, in two planes of one byte: the first alone is an 8-bit vector.
//!
//! A vector is centred by the mean of the index, scaled so that its largest component is 127, and
//! written as `scale · (hi + lo / 254)`. With mean μ, stored x and query q:
//!
//! `⟨q, x⟩ = ⟨q − μ, x − μ⟩ + ⟨q, μ⟩ + ⟨x, μ⟩ − |μ|²`
//!
//! so only the first term is quantised; the rest is one number per vector. Products are sums of
//! integers: the same on every machine and in every order. A cosine at 16 bits is within 1e-4 of
//! the real one (some 3e-6 at 512 dimensions), at 8 bits within about 0.005.

use std::ops::Range;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;

use super::error::IndexError;
use super::unit::{at_length_1, check};
use voisin_simd::Isa;
use voisin_simd::dot::best::Scored;
use voisin_simd::dot::{ALIGN, Quantised, QueryCode};

/// The largest component of a mean, and of a code's scale: 1 and rounding.
pub(crate) const LARGEST: f32 = 1.01;

/// The numbers beside a vector's components.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Meta {
    /// Value of one step of `hi`.
    pub(crate) scale: f32,
    /// `⟨x, μ⟩`, corrected so that a vector's similarity to itself is 1.
    pub(crate) offset: f32,
}

impl Meta {
    /// Whether the values are valid, for those from a file.
    pub(crate) fn is_sane(self) -> bool {
        (0. ..=LARGEST).contains(&self.scale) && self.offset.abs() <= 2. * LARGEST * LARGEST
    }
}

/// Bytes, owned or of a file.
pub(crate) enum Plane {
    /// Anonymous page-aligned memory, with huge pages requested.
    Pages(MmapMut),
    /// Growing memory.
    Growing(Vec<u8>),
    /// Part of a file, mapped or in memory.
    File(Arc<Mmap>, Range<usize>),
}

impl Clone for Plane {
    fn clone(&self) -> Self {
        match self {
            Self::File(file, range) => Self::File(Arc::clone(file), range.clone()),
            owned => Self::Growing(owned.bytes().to_vec()),
        }
    }
}

impl Plane {
    /// Zeroed bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        // Huge pages, as random reads of rows would else mostly miss the TLB as well.
        match MmapMut::map_anon(len.max(1)) {
            Ok(map) => {
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Self::Pages(map)
            }
            // If mapping fails, a vector of zeros is equivalent.
            Err(_) => Self::Growing(vec![0; len]),
        }
    }

    /// A copy of `bytes`.
    pub(crate) fn pages(bytes: &[u8]) -> Self {
        let mut plane = Self::zeroed(bytes.len());
        plane.as_mut()[..bytes.len()].copy_from_slice(bytes);
        plane
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pages(map) => map,
            Self::Growing(bytes) => bytes,
            // Files are read-only; writers make a copy first.
            Self::File(..) => &mut [],
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Pages(map) => map,
            Self::Growing(bytes) => bytes,
            Self::File(file, range) => &file[range.clone()],
        }
    }
}

/// How vectors of one index are quantised.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    pub(crate) dimension: usize,
    /// Bytes of a row: the dimension rounded up.
    pub(crate) width: usize,
    pub(crate) mean: Vec<f32>,
    mean_norm2: f64,
}

/// A query, ready for every stage of a search.
#[derive(Debug, Clone, Default)]
pub(crate) struct PreparedQuery {
    pub(crate) code: QueryCode,
    pub(crate) scale: f32,
    /// `⟨q, μ⟩ − |μ|²`
    pub(crate) offset: f32,
}

impl Codec {
    pub(crate) fn mean_norm2(&self) -> f64 {
        self.mean_norm2
    }

    pub(crate) fn with_mean(mean: Vec<f32>) -> Self {
        let dimension = mean.len();
        let mean_norm2 = mean.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        Self {
            dimension,
            width: dimension.next_multiple_of(ALIGN),
            mean,
            mean_norm2,
        }
    }

    /// Fits the mean to checked vectors.
    pub(crate) fn fit<'a>(
        dimension: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
    ) -> Self {
        let mut sum = vec![0_f64; dimension];
        let n = rows.len();
        for row in rows {
            for (sum, &x) in sum.iter_mut().zip(&*at_length_1(row)) {
                *sum += f64::from(x);
            }
        }
        let mean = sum.iter().map(|sum| (sum / n.max(1) as f64) as f32);
        Self::with_mean(mean.collect())
    }

    /// Quantises a checked vector, made exactly unit, into `width` signed bytes each; returns scale
    /// and `⟨x, μ⟩`.
    fn quantise(&self, vector: &[f32], hi: &mut [i8], lo: &mut [i8]) -> (f32, f64) {
        // In f64, as a vector is stored once and compared often.
        let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let to_unit = 1. / square.sqrt().max(1e-30);
        let unit = || {
            vector
                .iter()
                .zip(&self.mean)
                .map(|(&x, &mean)| (f64::from(x) * to_unit, f64::from(mean)))
        };
        let centred = || unit().map(|(x, mean)| x - mean);
        let peak = centred().fold(0_f64, |peak, x| peak.max(x.abs()));
        // A vector equal to the mean would have a scale of 0 and divide by 0.
        let scale = ((peak / 127.) as f32).max(f32::MIN_POSITIVE);
        let step = 254. / f64::from(scale);
        for ((hi, lo), x) in hi.iter_mut().zip(lo.iter_mut()).zip(centred()) {
            // Rounding by hand: without SSE4.1 `round` is a function call.
            let scaled = x * step;
            let value = ((scaled + 0.5_f64.copysign(scaled)) as i32).clamp(-127 * 254, 127 * 254);
            // Half of 254 is added away from zero, so that the remainder stays within ±127.
            let high = (value + 127 * value.signum()) / 254;
            *hi = high as i8;
            *lo = (value - 254 * high) as i8;
        }
        (scale, unit().map(|(x, mean)| x * mean).sum::<f64>())
    }

    /// Writes one checked vector's rows (biased by 128).
    pub(crate) fn encode(&self, vector: &[f32], hi: &mut [u8], lo: &mut [u8]) -> Meta {
        let mut high = vec![0_i8; self.width];
        let mut low = vec![0_i8; self.width];
        let (scale, at_mean) = self.quantise(&at_length_1(vector), &mut high, &mut low);
        let mut square = 0_i64;
        for (i, (&high, &low)) in high.iter().zip(&low).enumerate() {
            let value = 254 * i64::from(high) + i64::from(low);
            square += value * value;
            hi[i] = high as u8 ^ 0x80;
            lo[i] = low as u8 ^ 0x80;
        }
        // Rounding made the vector's product with itself a little different from 1; the difference
        // goes into the offset.
        let step = f64::from(scale) / 254.;
        let missing = 1. - (square as f64 * step * step + 2. * at_mean - self.mean_norm2);
        Meta {
            scale,
            offset: (at_mean + missing) as f32,
        }
    }

    /// Checks a query, and quantises it as [`Self::encode`] does, but in single precision: a search
    /// waits for it.
    pub(crate) fn query(&self, isa: Isa, query: &[f32]) -> Result<PreparedQuery, IndexError> {
        let mut square = isa.square(query);
        // With such a square every component is finite, and some are not zero.
        if query.len() != self.dimension || !square.is_normal() {
            check(self.dimension, None, query)?;
        }
        let mut unit = query.into();
        // Outside this range the square loses digits or overflows.
        if !(1e-20..=1e20).contains(&square) {
            unit = at_length_1(query);
            square = isa.square(&unit);
        }
        let Quantised {
            code,
            scale,
            at_mean,
        } = isa.quantise(&unit, square, &self.mean, self.width);
        let offset = (f64::from(at_mean) - self.mean_norm2) as f32;
        Ok(PreparedQuery {
            code,
            scale,
            offset,
        })
    }

    /// The stored vector at `slot`, at length 1 except for rounding.
    pub(crate) fn decoded(&self, codes: &Codes, slot: usize) -> Vec<f32> {
        let step = f64::from(codes.meta[slot].scale) / 254.;
        let rows = codes.hi_row(slot).iter().zip(codes.lo_row(slot));
        let component = |(&mean, (&hi, &lo)): (&f32, (&u8, &u8))| {
            let value = 254 * (i32::from(hi) - 128) + i32::from(lo) - 128;
            (f64::from(value) * step + f64::from(mean)) as f32
        };
        self.mean.iter().zip(rows).map(component).collect()
    }

    /// The stored vector at `slot` as a query.
    pub(crate) fn stored_at(&self, codes: &Codes, slot: usize) -> PreparedQuery {
        let plane = |row: &[u8]| -> Vec<i8> { row.iter().map(|&x| (x ^ 0x80) as i8).collect() };
        let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
        let meta = codes.meta[slot];
        let hi = plane(codes.hi_row(slot));
        let lo = plane(codes.lo_row(slot));
        let code = QueryCode {
            hi_sum: sum(&hi),
            lo_sum: sum(&lo),
            hi,
            lo,
        };
        PreparedQuery {
            code,
            scale: meta.scale,
            offset: (f64::from(meta.offset) - self.mean_norm2) as f32,
        }
    }
}

/// Quantised vectors, one row per slot.
#[derive(Clone)]
pub(crate) struct Codes {
    pub(crate) width: usize,
    pub(crate) hi: Plane,
    pub(crate) lo: Plane,
    pub(crate) meta: Vec<Meta>,
}

/// Vectors, how they are quantised, and by what they are compared.
#[derive(Clone, Copy)]
pub(crate) struct CodeSource<'a> {
    pub(crate) isa: Isa,
    pub(crate) codec: &'a Codec,
    pub(crate) codes: &'a Codes,
}

impl CodeSource<'_> {
    /// Similarity of two slots at 8 bits.
    pub(crate) fn similarity(&self, a: u32, b: u32) -> f32 {
        let a = a as usize;
        let b = b as usize;
        let codes = self.codes;
        let product = self.isa.dot8_stored(codes.hi_row(a), codes.hi_row(b)) as f32;
        let a = codes.meta[a];
        let b = codes.meta[b];
        product * (a.scale * b.scale) + (a.offset + b.offset - self.codec.mean_norm2 as f32)
    }
}

impl Codes {
    /// Empty, with memory for `n`.
    pub(crate) fn with_room(width: usize, n: usize) -> Self {
        Self {
            width,
            hi: Plane::Growing(Vec::with_capacity(n * width)),
            lo: Plane::Growing(Vec::with_capacity(n * width)),
            meta: Vec::with_capacity(n),
        }
    }

    /// Room for `n` vectors.
    pub(crate) fn zeroed(width: usize, n: usize) -> Self {
        let zero = Meta {
            scale: 0.,
            offset: 0.,
        };
        Self {
            width,
            hi: Plane::zeroed(n * width),
            lo: Plane::zeroed(n * width),
            meta: vec![zero; n],
        }
    }

    /// Encodes checked vectors into some slots, in parallel; `row(i)` is the one at
    /// `slots.start + i`.
    pub(crate) fn encode<'a>(
        &mut self,
        codec: &Codec,
        slots: Range<usize>,
        row: impl Fn(usize) -> &'a [f32] + Sync,
    ) {
        let width = self.width;
        let bytes = slots.start * width..slots.end * width;
        let hi = self.hi.as_mut()[bytes.clone()].par_chunks_exact_mut(width);
        let lo = self.lo.as_mut()[bytes].par_chunks_exact_mut(width);
        hi.zip(lo)
            .zip(&mut self.meta[slots])
            .enumerate()
            .for_each(|(i, ((hi, lo), meta))| *meta = codec.encode(row(i), hi, lo));
    }

    pub(crate) fn push(&mut self, codec: &Codec, vector: &[f32]) {
        let mut hi = vec![0; self.width];
        let mut lo = vec![0; self.width];
        let meta = codec.encode(vector, &mut hi, &mut lo);
        self.push_row(&hi, &lo, meta);
    }

    pub(crate) fn push_row(&mut self, hi: &[u8], lo: &[u8], meta: Meta) {
        // The plane of a file cannot grow: the first vector that is added copies it.
        for (plane, row) in [(&mut self.hi, hi), (&mut self.lo, lo)] {
            if !matches!(plane, Plane::Growing(_)) {
                *plane = Plane::Growing(plane.bytes().to_vec());
            }
            if let Plane::Growing(bytes) = plane {
                bytes.extend_from_slice(row);
            }
        }
        self.meta.push(meta);
    }

    pub(crate) fn len(&self) -> usize {
        self.meta.len()
    }

    /// Prefetches the row that a 16-bit product reads beside the 8-bit one's.
    #[inline]
    pub(crate) fn prefetch_low(&self, slot: usize) {
        for line in (0..self.width).step_by(64) {
            Isa::prefetch(self.lo.bytes(), slot * self.width + line);
        }
    }

    /// Range of a vector's bytes in a plane.
    fn row(&self, slot: usize) -> Range<usize> {
        slot * self.width..(slot + 1) * self.width
    }

    pub(crate) fn hi_row(&self, slot: usize) -> &[u8] {
        &self.hi.bytes()[self.row(slot)]
    }

    pub(crate) fn lo_row(&self, slot: usize) -> &[u8] {
        &self.lo.bytes()[self.row(slot)]
    }

    /// The vectors in `slots` with their similarities at 8 bits, into `out`.
    #[inline]
    pub(crate) fn similarities8(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        slots: &[u32],
        products: &mut Vec<i32>,
        out: &mut Vec<Scored>,
    ) {
        // Scales and offsets are apart from the rows and also come late from memory.
        slots
            .iter()
            .for_each(|&slot| Isa::prefetch(&self.meta, slot as usize));
        isa.dot8_list(self.hi.bytes(), slots, &query.code, products);
        out.clear();
        out.extend(slots.iter().zip(products.iter()).map(|(&slot, &product)| {
            let meta = self.meta[slot as usize];
            let similarity =
                product as f32 * (query.scale * meta.scale) + (query.offset + meta.offset);
            Scored::new(similarity, slot)
        }));
    }

    /// Similarity at 16 bits.
    #[inline]
    pub(crate) fn similarity(&self, isa: Isa, query: &PreparedQuery, slot: usize) -> f32 {
        let product = isa.dot16(self.hi_row(slot), self.lo_row(slot), &query.code) as f64;
        let meta = self.meta[slot];
        let steps = f64::from(query.scale) / 254. * (f64::from(meta.scale) / 254.);
        let cosine = product * steps + (f64::from(query.offset) + f64::from(meta.offset));
        // Rounding may put a vector's similarity to its copy a little above 1.
        cosine.clamp(-1., 1.) as f32
    }

    /// Replaces scores by [similarities](Self::similarity).
    pub(crate) fn similarities16(&self, isa: Isa, query: &PreparedQuery, some: &mut [Scored]) {
        for candidate in some {
            let similarity = self.similarity(isa, query, candidate.name() as usize);
            *candidate = Scored::new(similarity, candidate.name());
        }
    }
}
