//! Vectors at 16 bits a component, in two planes of one byte: the first alone is an 8-bit vector.
//!
//! A vector is centred by the mean of the index, scaled so that its largest component is 127, and
//! written as `scale · (hi + lo / 254)`. With mean μ, stored x and query q:
//!
//! `⟨q, x⟩ = ⟨q − μ, x − μ⟩ + ⟨q, μ⟩ + ⟨x, μ⟩ − |μ|²`
//!
//! so only the first term is quantised; the rest is one number per vector. Products are sums of
//! integers: the same on every machine and in every order. A cosine at 16 bits is within 5e-5 of
//! the real one (some 3e-6 at 512 dimensions), at 8 bits within about 0.005.
//!
//! With [Euclidean distances](super::metric) a vector keeps its length, `⟨q, x⟩` is minus half of
//! the squared distance, and the low plane is replaced by the given vectors, at 32 bits.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use memmap2::MmapMut;
use rayon::prelude::*;

use super::checked_file::{CHANGED, CheckedFile};
use super::error::IndexError;
use super::metric::{FARTHEST, IndexMetric, Sphere, at_length_1, distance};
use super::rotation::rotate;
use voisin_base::track::Id;
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::{ALIGN, Quantised, QueryCode};

/// The numbers beside a vector's components.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Meta {
    /// Value of one step of `hi`.
    pub(crate) scale: f32,
    /// `⟨x, μ⟩`, corrected so that a vector's similarity to itself is 1; Euclidean: `−|x − μ|²/2`.
    pub(crate) offset: f32,
}

impl Meta {
    /// Whether the values are valid, for those from a file.
    pub(crate) fn is_sane(self, space: &Sphere) -> bool {
        let largest = space.largest();
        (0. ..=largest).contains(&self.scale) && self.offset.abs() <= 2. * largest * largest
    }

    /// Distance of a Euclidean vector from the mean.
    pub(crate) fn length(self) -> f64 {
        (-2. * f64::from(self.offset)).max(0.).sqrt()
    }
}

/// Bytes, owned or mapped from a file.
pub(crate) enum Plane {
    /// Anonymous page-aligned memory, with huge pages requested.
    Pages(MmapMut),
    /// Growing memory.
    Growing(Vec<u8>),
    /// Part of a mapped file.
    Mapped(Arc<CheckedFile>, Range<usize>),
}

impl Clone for Plane {
    fn clone(&self) -> Self {
        match self {
            Self::Mapped(file, range) => Self::Mapped(Arc::clone(file), range.clone()),
            owned => Self::Growing(owned.raw().to_vec()),
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
            // Mapped files are read-only; writers make a copy first.
            Self::Mapped(..) => &mut [],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.raw().len()
    }

    /// All bytes, verified or not.
    #[inline]
    pub(crate) fn raw(&self) -> &[u8] {
        match self {
            Self::Pages(map) => map,
            Self::Growing(bytes) => bytes,
            Self::Mapped(file, range) => &file.bytes()[range.clone()],
        }
    }

    /// The file, unless it is completely verified.
    #[inline]
    fn unchecked(&self) -> Option<(&CheckedFile, usize)> {
        match self {
            Self::Mapped(file, range) if !file.is_whole() => Some((file, range.start)),
            _ => None,
        }
    }

    /// Prefetches parts of an unverified file that are about to be read, in parallel.
    pub(crate) fn expect(&self, parts: impl Iterator<Item = Range<usize>>) {
        if let Some((file, start)) = self.unchecked() {
            parts.for_each(|part| file.expect(start + part.start..start + part.end));
        }
    }

    /// A part of the bytes. Those of a file are verified first; damage is recorded, and the bytes
    /// are returned anyway.
    #[inline]
    pub(crate) fn part(&self, part: Range<usize>) -> &[u8] {
        // Damage is recorded and reported at the end of the search, so that the scan needs no error
        // path.
        if let Some((file, start)) = self.unchecked() {
            file.check(start + part.start..start + part.end);
        }
        &self.raw()[part]
    }

    /// As [`part`](Self::part), but empty if a file's bytes are damaged or not `sane`.
    #[inline]
    pub(crate) fn sane_part(&self, part: Range<usize>, sane: impl Fn(&[u8]) -> bool) -> &[u8] {
        let bytes = &self.raw()[part.clone()];
        if let Some((file, start)) = self.unchecked() {
            if !file.check(start + part.start..start + part.end) {
                return &[];
            }
            // A digest only shows that the bytes are as written; a file by other code may refer to
            // missing vectors.
            if !sane(bytes) {
                file.set_damaged("places in lists");
                return &[];
            }
        }
        bytes
    }

    /// Releases the memory of a file's bytes.
    pub(crate) fn release(&self) {
        if let Self::Mapped(file, range) = self {
            file.release(range.clone());
        }
    }

    /// Records that a file changed after it was verified, or never was an index.
    pub(crate) fn report(&self) {
        if let Self::Mapped(file, _) = self {
            file.set_damaged(if file.is_whole() {
                CHANGED
            } else {
                "places in lists"
            });
        }
    }
}

/// How vectors of one index are quantised.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    pub(crate) space: Sphere,
    /// Dimension of lifted vectors.
    pub(crate) dimension: usize,
    /// Bytes of a row: the dimension rounded up.
    pub(crate) width: usize,
    /// In units of the radius for Euclidean distances.
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
    /// Factor that turns a cosine into an inner product.
    pub(crate) factor: f32,
    /// The query itself for Euclidean distances; else empty.
    pub(crate) plain: Vec<f32>,
    /// Then its distance from the mean; infinite if its code is only its direction.
    pub(crate) length: f64,
    /// Signs of the rotated components, 64 a word; computed for the first scan.
    bits: OnceLock<Vec<u64>>,
}

impl PreparedQuery {
    pub(crate) fn is_euclidean(&self) -> bool {
        !self.plain.is_empty()
    }

    pub(crate) fn bits(&self) -> &[u64] {
        self.bits.get_or_init(|| {
            let mut bits = vec![0; self.code.hi.len() / 64];
            let values = self.code.hi.iter().zip(&self.code.lo);
            signs(
                values.map(|(&hi, &lo)| (hi, lo)),
                &mut Vec::new(),
                |i, word| bits[i] = word,
            );
            bits
        })
    }
}

/// Signs of `254 · hi + lo`, rotated, 64 a word.
fn signs(
    values: impl Iterator<Item = (i8, i8)>,
    buffer: &mut Vec<i32>,
    mut write: impl FnMut(usize, u64),
) {
    buffer.clear();
    buffer.extend(values.map(|(hi, lo)| 254 * i32::from(hi) + i32::from(lo)));
    rotate(buffer);
    for (i, values) in buffer.as_chunks::<64>().0.iter().enumerate() {
        let word = values
            .iter()
            .enumerate()
            .fold(0, |word, (i, &x)| word | u64::from(x > 0) << i);
        write(i, word);
    }
}

impl Codec {
    pub(crate) fn mean_norm2(&self) -> f64 {
        self.mean_norm2
    }

    /// The term that the sum of two vectors' offsets contains twice.
    fn shared_offset(&self) -> f64 {
        if self.space.is_euclidean() {
            0.
        } else {
            self.mean_norm2
        }
    }

    pub(crate) fn with_mean(space: Sphere, mean: Vec<f32>) -> Self {
        let dimension = mean.len();
        let mean_norm2 = mean.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        Self {
            space,
            dimension,
            width: dimension.next_multiple_of(ALIGN),
            mean,
            mean_norm2,
        }
    }

    /// Fits the centre, by default the mean, to checked vectors.
    pub(crate) fn fit<'a>(
        metric: IndexMetric,
        dimension: usize,
        rows: impl ExactSizeIterator<Item = (Id, &'a [f32])> + Clone,
    ) -> Result<Self, IndexError> {
        let (space, centre) = Sphere::fit(metric, dimension, rows.clone().map(|(_, row)| row));
        if let Some(centre) = centre {
            return Ok(Self::with_mean(space, centre));
        }
        let mut sum = vec![0_f64; space.lifted_dimension()];
        let n = rows.len();
        for (track, row) in rows {
            for (sum, &x) in sum.iter_mut().zip(&*space.lift(track, row)?) {
                *sum += f64::from(x);
            }
        }
        let mean = sum.iter().map(|sum| (sum / n.max(1) as f64) as f32);
        Ok(Self::with_mean(space, mean.collect()))
    }

    /// Bytes of a vector in the low plane.
    pub(crate) fn low_width(&self) -> usize {
        if self.space.is_euclidean() {
            4 * self.dimension
        } else {
            self.width
        }
    }

    /// Lifts a checked vector for encoding.
    pub(crate) fn lift<'a>(&self, id: Id, vector: &'a [f32]) -> Result<Cow<'a, [f32]>, IndexError> {
        if self.space.is_euclidean() {
            let length = self.length(vector);
            if length > FARTHEST {
                return Err(IndexError::TooFar {
                    id,
                    length: length * self.space.radius,
                    limit: FARTHEST * self.space.radius,
                });
            }
        }
        self.space.lift(id, vector)
    }

    /// Distance of a Euclidean vector from the mean, in radii.
    fn length(&self, vector: &[f32]) -> f64 {
        let radius = self.space.radius;
        let centred = vector
            .iter()
            .zip(&self.mean)
            .map(|(&x, &mean)| f64::from(x) / radius - f64::from(mean));
        centred.map(|x| x * x).sum::<f64>().sqrt()
    }

    /// Quantises `vector`, made exactly unit (Euclidean: in radii), into `width` signed bytes each;
    /// returns scale and `⟨x, μ⟩`.
    ///
    /// - `times`: what a centred component is multiplied by
    fn quantise(&self, vector: &[f32], times: f64, hi: &mut [i8], lo: &mut [i8]) -> (f32, f64) {
        // In f64, as a vector is stored once and compared often.
        let norm = || {
            vector
                .iter()
                .map(|&x| f64::from(x) * f64::from(x))
                .sum::<f64>()
                .sqrt()
        };
        let to_unit = if self.space.is_euclidean() {
            1. / self.space.radius
        } else {
            1. / norm().max(1e-30)
        };
        let unit = || {
            vector
                .iter()
                .zip(&self.mean)
                .map(|(&x, &mean)| (f64::from(x) * to_unit, f64::from(mean)))
        };
        let centred = || unit().map(|(x, mean)| (x - mean) * times);
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

    /// Writes one vector's rows (biased by 128).
    pub(crate) fn encode(&self, vector: &[f32], hi: &mut [u8], lo: &mut [u8]) -> Meta {
        let mut high = vec![0_i8; self.width];
        let mut low = vec![0_i8; self.width];
        let (scale, at_mean) = self.quantise(vector, 1., &mut high, &mut low);
        if self.space.is_euclidean() {
            hi.iter_mut()
                .zip(&high)
                .for_each(|(hi, &high)| *hi = high as u8 ^ 0x80);
            for (lo, x) in lo.as_chunks_mut().0.iter_mut().zip(vector) {
                *lo = x.to_le_bytes();
            }
            let length = self.length(vector);
            let offset = (-0.5 * length * length) as f32;
            return Meta { scale, offset };
        }
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

    /// Checks a query, and quantises it.
    pub(crate) fn query(&self, isa: Isa, query: &[f32]) -> Result<PreparedQuery, IndexError> {
        let square = isa.square(query);
        // With such a square every component is finite, and some are not zero.
        if query.len() != self.space.dimension || !square.is_normal() {
            self.space.check(None, query)?;
        }
        Ok(self.prepared(isa, query, square))
    }

    /// As [`Self::quantise`], in single precision: a search waits for it.
    fn prepared(&self, isa: Isa, query: &[f32], mut square: f32) -> PreparedQuery {
        if self.space.is_euclidean() {
            return self.prepared_euclidean(query);
        }
        let (mut lifted, factor) = self.space.lift_query(query);
        // Outside this range the square loses digits or overflows.
        if self.space.metric == IndexMetric::Cosine && !(1e-20..=1e20).contains(&square) {
            lifted = at_length_1(query);
        }
        if let Cow::Owned(lifted) = &lifted {
            square = isa.square(lifted);
        }
        let Quantised {
            code,
            scale,
            at_mean,
        } = isa.quantise(&lifted, square, &self.mean, self.width);
        let offset = (f64::from(at_mean) - self.mean_norm2) as f32;
        PreparedQuery {
            code,
            scale,
            offset,
            factor: factor as f32,
            ..PreparedQuery::default()
        }
    }

    fn prepared_euclidean(&self, query: &[f32]) -> PreparedQuery {
        let mut hi = vec![0; self.width];
        let mut lo = vec![0; self.width];
        let length = self.length(query);
        // For a very far query only the direction counts.
        let times = (FARTHEST / length).min(1.);
        let (scale, _) = self.quantise(query, times, &mut hi, &mut lo);
        let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
        let held = length * times;
        PreparedQuery {
            code: QueryCode {
                hi_sum: sum(&hi),
                lo_sum: sum(&lo),
                hi,
                lo,
            },
            scale,
            offset: (-0.5 * held * held) as f32,
            factor: 1.,
            plain: query.to_vec(),
            length: if times < 1. { f64::INFINITY } else { length },
            ..PreparedQuery::default()
        }
    }

    /// The query at full precision, for comparison with lifted vectors.
    pub(crate) fn whole(&self, query: &PreparedQuery) -> Vec<f32> {
        let step = query.scale / 254.;
        let planes = query.code.hi.iter().zip(&query.code.lo).zip(&self.mean);
        planes
            .map(|((&hi, &lo), &mean)| (254 * i32::from(hi) + i32::from(lo)) as f32 * step + mean)
            .collect()
    }

    /// A search for the vector at `slot`.
    pub(crate) fn query_at(&self, isa: Isa, codes: &Codes, slot: usize) -> PreparedQuery {
        if self.space.metric == IndexMetric::Cosine {
            // A query and a stored vector are lifted differently, except for cosines.
            return self.stored_at(codes, slot);
        }
        let vector = self.lowered(codes, slot);
        self.prepared(isa, &vector, isa.square(&vector))
    }

    /// The vector at `slot` as given, except for rounding, and at length 1 for cosines.
    pub(crate) fn lowered(&self, codes: &Codes, slot: usize) -> Vec<f32> {
        if self.space.is_euclidean() {
            return codes.plain(slot).collect();
        }
        let mut vector = vec![0.; self.dimension];
        self.decode(codes, slot, &mut vector);
        self.space.lower(&mut vector);
        vector
    }

    /// The stored, lifted vector at `slot` as a query.
    pub(crate) fn stored_at(&self, codes: &Codes, slot: usize) -> PreparedQuery {
        let plane = |row: &[u8]| row.iter().map(|&x| (x ^ 0x80) as i8).collect();
        let sum = |plane: &[i8]| plane.iter().map(|&x| i32::from(x)).sum();
        let meta = codes.meta[slot];
        let hi: Vec<i8> = plane(codes.hi_row(slot));
        // Without a low plane there are only 8 bits.
        let lo: Vec<i8> = if self.space.is_euclidean() {
            vec![0; hi.len()]
        } else {
            plane(codes.lo_row(slot))
        };
        let code = QueryCode {
            hi_sum: sum(&hi),
            lo_sum: sum(&lo),
            hi,
            lo,
        };
        let offset = (f64::from(meta.offset) - self.shared_offset()) as f32;
        PreparedQuery {
            code,
            scale: meta.scale,
            offset,
            factor: 1.,
            ..PreparedQuery::default()
        }
    }

    /// Decodes the vector at `slot`; its norm is 1 within 5e-5.
    pub(crate) fn decode(&self, codes: &Codes, slot: usize, out: &mut [f32]) {
        let step = f64::from(codes.meta[slot].scale) / 254.;
        let rows = codes.hi_row(slot).iter().zip(codes.lo_row(slot));
        for ((out, &mean), (&hi, &lo)) in out.iter_mut().zip(&self.mean).zip(rows) {
            let value = 254 * (i32::from(hi) - 128) + i32::from(lo) - 128;
            *out = (f64::from(value) * step + f64::from(mean)) as f32;
        }
    }

    /// Similarity of two stored vectors at 8 bits.
    #[inline]
    pub fn stored8(&self, isa: Isa, codes: &Codes, a: usize, b: usize) -> f32 {
        let product = isa.dot8_stored(codes.hi_row(a), codes.hi_row(b)) as f32;
        let a = codes.meta[a];
        let b = codes.meta[b];
        product * (a.scale * b.scale) + (a.offset + b.offset - self.shared_offset() as f32)
    }
}

/// Quantised vectors, one row per slot.
#[derive(Clone)]
pub(crate) struct Codes {
    pub(crate) width: usize,
    /// Bytes of a vector in the low plane: as many or, with Euclidean distances, those of the
    /// vector as it was given.
    pub(crate) low_width: usize,
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
        self.codec
            .stored8(self.isa, self.codes, a as usize, b as usize)
    }
}

thread_local! {
    static PLAIN: RefCell<Vec<f32>> = RefCell::default();
}

impl Codes {
    pub(crate) fn empty(codec: &Codec) -> Self {
        Self::with_room((codec.width, codec.low_width()), 0)
    }

    /// Empty, with memory for `n`.
    pub(crate) fn with_room((width, low_width): (usize, usize), n: usize) -> Self {
        Self {
            width,
            low_width,
            hi: Plane::Growing(Vec::with_capacity(n * width)),
            lo: Plane::Growing(Vec::with_capacity(n * low_width)),
            meta: Vec::with_capacity(n),
        }
    }

    /// From encoded rows.
    pub(crate) fn of_rows(codec: &Codec, hi: Vec<u8>, lo: Vec<u8>, meta: Vec<Meta>) -> Self {
        Self {
            width: codec.width,
            low_width: codec.low_width(),
            hi: Plane::Growing(hi),
            lo: Plane::Growing(lo),
            meta,
        }
    }

    /// Room for `n` vectors.
    pub(crate) fn zeroed(codec: &Codec, n: usize) -> Self {
        let width = codec.width;
        let low_width = codec.low_width();
        let hi = Plane::zeroed(n * width);
        let lo = Plane::zeroed(n * low_width);
        Self {
            width,
            low_width,
            hi,
            lo,
            meta: vec![
                Meta {
                    scale: 0.,
                    offset: 0.
                };
                n
            ],
        }
    }

    /// Encodes vectors into some slots, in parallel; `row(i)` is the one at `slots.start + i`.
    pub(crate) fn encode<'a>(
        &mut self,
        codec: &Codec,
        slots: Range<usize>,
        row: impl Fn(usize) -> Result<Cow<'a, [f32]>, IndexError> + Sync,
    ) -> Result<(), IndexError> {
        let width = self.width;
        let low_width = self.low_width;
        let hi = &mut self.hi.as_mut()[slots.start * width..slots.end * width];
        let lo = &mut self.lo.as_mut()[slots.start * low_width..slots.end * low_width];
        let rows = hi
            .par_chunks_exact_mut(width)
            .zip(lo.par_chunks_exact_mut(low_width));
        rows.zip(&mut self.meta[slots])
            .enumerate()
            .try_for_each(|(i, ((hi, lo), meta))| {
                *meta = codec.encode(&row(i)?, hi, lo);
                Ok(())
            })
    }

    pub(crate) fn push(&mut self, codec: &Codec, vector: &[f32]) {
        let mut hi = vec![0; self.width];
        let mut lo = vec![0; self.low_width];
        let meta = codec.encode(vector, &mut hi, &mut lo);
        self.push_row(&hi, &lo, meta);
    }

    pub(crate) fn push_row(&mut self, hi: &[u8], lo: &[u8], meta: Meta) {
        // A mapped or page-aligned plane cannot grow: the first vector that is added copies it.
        for (plane, row) in [(&mut self.hi, hi), (&mut self.lo, lo)] {
            if !matches!(plane, Plane::Growing(_)) {
                *plane = Plane::Growing(plane.raw().to_vec());
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

    /// The file that they are mapped from.
    pub(crate) fn file(&self) -> Option<&CheckedFile> {
        match &self.hi {
            Plane::Mapped(file, _) => Some(file),
            _ => None,
        }
    }

    /// Prefetches the rows that a 16-bit product reads.
    #[inline]
    pub fn prefetch_low(&self, slot: usize) {
        for line in (0..self.low_width).step_by(64) {
            Isa::prefetch(self.lo.raw(), slot * self.low_width + line);
        }
    }

    /// Range of a vector's bytes in the high plane.
    fn row(&self, slot: usize) -> Range<usize> {
        slot * self.width..(slot + 1) * self.width
    }

    /// The same in the low plane.
    fn low_row(&self, slot: usize) -> Range<usize> {
        slot * self.low_width..(slot + 1) * self.low_width
    }

    pub(crate) fn hi_row(&self, slot: usize) -> &[u8] {
        self.hi.part(self.row(slot))
    }

    pub(crate) fn lo_row(&self, slot: usize) -> &[u8] {
        self.lo.part(self.low_row(slot))
    }

    /// The given components of a vector, for Euclidean distances.
    fn plain(&self, slot: usize) -> impl Iterator<Item = f32> {
        let row = self.lo_row(slot).as_chunks().0;
        row.iter().map(|&x| f32::from_le_bytes(x))
    }

    /// Euclidean distance of a vector from a query, by the vectors themselves.
    pub(crate) fn distance(&self, query: &PreparedQuery, slot: usize) -> f64 {
        PLAIN.with_borrow_mut(|plain| {
            plain.clear();
            plain.extend(self.plain(slot));
            distance(plain, &query.plain)
        })
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
        // Prefetched together, then verified in order: the disk serves several requests at once.
        if self.hi.unchecked().is_some() {
            self.hi
                .expect(slots.iter().map(|&slot| self.row(slot as usize)));
            slots
                .iter()
                .for_each(|&slot| _ = self.hi_row(slot as usize));
        }
        // Scales and offsets are apart from the rows and also come late from memory.
        slots
            .iter()
            .for_each(|&slot| Isa::prefetch(&self.meta, slot as usize));
        isa.dot8_list(self.hi.raw(), slots, &query.code, products);
        out.clear();
        out.extend(slots.iter().zip(products.iter()).map(|(&slot, &product)| {
            let meta = self.meta[slot as usize];
            let similarity =
                product as f32 * (query.scale * meta.scale) + (query.offset + meta.offset);
            Scored::new(similarity, slot)
        }));
    }

    /// Similarity at 16 bits; with Euclidean distances the distance, negative.
    #[inline]
    pub fn similarity(&self, isa: Isa, query: &PreparedQuery, slot: usize) -> f32 {
        if query.is_euclidean() {
            return -self.distance(query, slot) as f32;
        }
        self.similarity_in((self.hi_row(slot), self.lo_row(slot)), isa, query, slot)
    }

    #[inline]
    fn similarity_in(
        &self,
        (hi, lo): (&[u8], &[u8]),
        isa: Isa,
        query: &PreparedQuery,
        slot: usize,
    ) -> f32 {
        let product = isa.dot16(hi, lo, &query.code) as f64;
        let meta = self.meta[slot];
        let steps = f64::from(query.scale) / 254. * (f64::from(meta.scale) / 254.);
        let cosine = product * steps + (f64::from(query.offset) + f64::from(meta.offset));
        // Rounding may put a vector's similarity to its copy a little above 1.
        cosine.clamp(-1., 1.) as f32
    }

    /// Replaces scores by [similarities](Self::similarity).
    pub(crate) fn similarities16(&self, isa: Isa, query: &PreparedQuery, some: &mut [Scored]) {
        if query.is_euclidean() {
            let rows = some
                .iter()
                .map(|candidate| self.low_row(candidate.name() as usize));
            self.lo.expect(rows);
            for candidate in some {
                let similarity = self.similarity(isa, query, candidate.name() as usize);
                *candidate = Scored::new(similarity, candidate.name());
            }
            return;
        }
        if self.hi.unchecked().is_some() {
            [&self.hi, &self.lo].into_iter().for_each(|plane| {
                plane.expect(
                    some.iter()
                        .map(|candidate| self.row(candidate.name() as usize)),
                );
            });
            some.iter().for_each(|candidate| {
                _ = (
                    self.hi_row(candidate.name() as usize),
                    self.lo_row(candidate.name() as usize),
                );
            });
        }
        let hi = self.hi.raw();
        let lo = self.lo.raw();
        for candidate in some {
            let slot = candidate.name() as usize;
            let row = self.row(slot);
            let similarity = self.similarity_in((&hi[row.clone()], &lo[row]), isa, query, slot);
            *candidate = Scored::new(similarity, candidate.name());
        }
    }

    /// Sign bits of one vector, into the lane of its block.
    pub(crate) fn write_bits(
        &self,
        slot: usize,
        buffer: &mut Vec<i32>,
        block: &mut [u64],
        lane: usize,
    ) {
        let values = self.hi_row(slot).iter().zip(self.lo_row(slot));
        let plain = values.map(|(&hi, &lo)| ((hi ^ 0x80) as i8, (lo ^ 0x80) as i8));
        signs(plain, buffer, |i, word| {
            block[i * voisin_kernels::dot::BLOCK + lane] = word;
        });
    }
}
