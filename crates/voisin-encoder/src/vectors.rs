//! Brute force on a device: all of a batch's products with all vectors at once, as a GPU does best.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
use half::f16;
use ndarray::{Array2, ArrayView2};

use super::{Device, EncoderError};

/// Columns that are sorted at once; Candle's kernel holds them in 32 KB of a GPU's shared memory.
const SORTED: usize = 8192;
/// Questions that are compared at once at most.
const BATCH: usize = 1024;
/// Rows that go to the device at once.
const UPLOAD: usize = 1 << 16;
/// Bytes that the products of a batch may take where the device does not tell its memory.
const PRODUCTS: u64 = 1 << 28;

/// Unit vectors on a device, in f16 to be compared and in f32 to be ranked.
///
/// A product of two unit vectors is at most 1, where f16 has three bits more than bf16 at the same speed.
#[derive(Debug)]
pub struct VectorsOnDevice {
    device: Device,
    short: Tensor,
    long: Tensor,
}

/// The nearest of each question, the best first.
#[derive(Debug, Clone, PartialEq)]
pub struct NearestOnDevice {
    /// `[questions, k]`, rows of the vectors.
    pub rows: Array2<u32>,
    /// `[questions, k]`, products in f32.
    pub similarities: Array2<f32>,
}

impl VectorsOnDevice {
    /// - `vectors`: `[n, dimension]`, unit rows, at least one
    pub fn new(vectors: ArrayView2<'_, f32>, device: &Device) -> Result<Self, EncoderError> {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < vectors.nrows() {
            let end = (start + UPLOAD).min(vectors.nrows());
            let rows = upload(vectors.slice(ndarray::s![start..end, ..]), device)?;
            short.push(rows.to_dtype(DType::F16)?);
            long.push(rows);
            start = end;
        }
        let joined =
            |parts: &[Tensor]| if let [one] = parts { Ok(one.clone()) } else { Tensor::cat(parts, 0) };
        Ok(Self { device: device.clone(), short: joined(&short)?, long: joined(&long)? })
    }

    /// The `k` vectors with the largest products with each question.
    ///
    /// Twice as many and 32 are chosen by products in f16 (off by at most 0.0005) and ranked by products in f32.
    ///
    /// - `questions`: `[q, dimension]`, unit rows
    /// - `k`: from 1 to the number of vectors
    pub fn nearest(&self, questions: ArrayView2<'_, f32>, k: usize) -> Result<NearestOnDevice, EncoderError> {
        let n = self.short.dim(0)?;
        let chosen = (2 * k + 32).min(n);
        let room = self.device.memory().map_or(PRODUCTS, |free| free / 4);
        let batch = ((room / (2 * n as u64)) as usize).clamp(1, BATCH);
        let (mut rows, mut similarities) = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < questions.nrows() {
            let end = (start + batch).min(questions.nrows());
            let long = upload(questions.slice(ndarray::s![start..end, ..]), &self.device)?;
            let products = long.to_dtype(DType::F16)?.matmul(&self.short.t()?)?;
            let found = largest(&products, chosen)?;
            let (ids, scores) = self.ranked(&long, &found, k)?;
            rows.extend(ids.flatten_all()?.to_vec1::<u32>()?);
            similarities.extend(scores.flatten_all()?.to_vec1::<f32>()?);
            start = end;
        }
        let shape = (questions.nrows(), k);
        let shaped = "each batch gives k for each question";
        Ok(NearestOnDevice {
            rows: Array2::from_shape_vec(shape, rows).expect(shaped),
            similarities: Array2::from_shape_vec(shape, similarities).expect(shaped),
        })
    }

    /// The best `k` of what was found, by products in f32.
    fn ranked(&self, questions: &Tensor, found: &Tensor, k: usize) -> candle_core::Result<(Tensor, Tensor)> {
        let (batch, chosen) = found.dims2()?;
        let vectors = self.long.index_select(&found.flatten_all()?, 0)?.reshape((batch, chosen, ()))?;
        let products = vectors.matmul(&questions.unsqueeze(2)?)?.squeeze(2)?;
        let best = products.arg_sort_last_dim(false)?.narrow(1, 0, k)?.contiguous()?;
        Ok((found.gather(&best, 1)?, products.gather(&best, 1)?))
    }
}

fn upload(rows: ArrayView2<'_, f32>, device: &Device) -> candle_core::Result<Tensor> {
    let rows = rows.as_standard_layout();
    Tensor::from_slice(rows.as_slice().unwrap_or_default(), rows.dim(), device.candle())
}

/// Columns of the `k` largest numbers of each row, in no order.
///
/// They are in no more than `k` groups of columns, and these are among the `k` groups with the largest maxima.
fn largest(numbers: &Tensor, k: usize) -> candle_core::Result<Tensor> {
    let (rows, columns) = numbers.dims2()?;
    if columns <= SORTED {
        return numbers.arg_sort_last_dim(false)?.narrow(1, 0, k)?.contiguous();
    }
    // As many groups as columns in the groups that are left.
    let width = ((columns / k) as f64).sqrt().max(2.0).log2().round().exp2() as usize;
    let groups = columns / width;
    let whole = groups * width;
    let best = largest(&numbers.apply_op1_no_bwd(&Maxima { groups, width })?, k.min(groups))?;
    let kept = best.dim(1)?;
    let device = numbers.device();
    let steps: Vec<u32> = (0..width).map(|at| (at * groups) as u32).collect();
    let steps = Tensor::from_vec(steps, (1, 1, width), device)?;
    let mut left = best.unsqueeze(2)?.broadcast_add(&steps)?.reshape((rows, kept * width))?;
    if whole < columns {
        // Fewer columns than a group has are in none: they are looked at in any case.
        let over = Tensor::arange(whole as u32, columns as u32, device)?.unsqueeze(0)?;
        left = Tensor::cat(&[left, over.broadcast_as((rows, columns - whole))?.contiguous()?], 1)?;
    }
    let among = largest(&numbers.gather(&left, 1)?, k)?;
    left.gather(&among, 1)
}

/// The largest of each group of columns of f16: group `i` holds columns `i`, `i + groups`, `i + 2 · groups` …
struct Maxima {
    groups: usize,
    width: usize,
}

impl CustomOp1 for Maxima {
    fn name(&self) -> &'static str {
        "maxima"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("maxima: expected contiguous rows")
        };
        let numbers = &storage.as_slice::<f16>()?[from..to];
        let mut out = vec![f16::NEG_INFINITY; rows * self.groups];
        for (row, out) in numbers.chunks(columns).zip(out.chunks_mut(self.groups)) {
            for part in row[..self.groups * self.width].chunks(self.groups) {
                out.iter_mut().zip(part).for_each(|(most, x)| *most = most.max(*x));
            }
        }
        Ok((CpuStorage::F16(out), (rows, self.groups).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        super::launch::maxima(storage, layout, self.groups, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceChoice;
    use voisin_base::random::Random;

    fn unit_rows(n: usize, dimension: usize, seed: u64) -> Array2<f32> {
        let mut random = Random::stream(seed, 1);
        let mut rows = Array2::from_shape_simple_fn((n, dimension), || random.normal() as f32);
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        rows
    }

    #[test]
    fn the_largest_are_found_through_any_number_of_levels() {
        let device = candle_core::Device::Cpu;
        // Sorted at once, one level with and without columns left over, two levels, more groups than columns are wanted.
        for (columns, k) in [(100, 100), (8192, 5), (8193, 40), (20_000, 3), (700_001, 12), (9000, 4000)] {
            let mut random = Random::stream(columns as u64, 1);
            let numbers: Vec<f16> = (0..2 * columns).map(|_| f16::from_f64(random.normal())).collect();
            let tensor = Tensor::from_slice(&numbers, (2, columns), &device).unwrap();
            let found = largest(&tensor, k).unwrap().to_vec2::<u32>().unwrap();
            for (row, found) in numbers.chunks(columns).zip(found) {
                let mut found: Vec<f16> = found.iter().map(|&at| row[at as usize]).collect();
                let mut sorted = row.to_vec();
                found.sort_by(|a, b| b.total_cmp(a));
                sorted.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(found, sorted[..k], "{columns} columns, {k}");
            }
        }
    }

    #[test]
    fn nearest_are_those_of_products_in_f64() {
        let (vectors, questions) = (unit_rows(9001, 24, 1), unit_rows(5, 24, 2));
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let found =
            VectorsOnDevice::new(vectors.view(), &device).unwrap().nearest(questions.view(), 10).unwrap();
        let exact = questions.mapv(f64::from).dot(&vectors.t().mapv(f64::from));
        for (row, exact) in exact.rows().into_iter().enumerate() {
            let mut order: Vec<usize> = (0..exact.len()).collect();
            order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
            let ids: Vec<usize> = found.rows.row(row).iter().map(|&id| id as usize).collect();
            assert_eq!(ids, order[..10]);
            for (&id, &similarity) in ids.iter().zip(found.similarities.row(row)) {
                assert!((exact[id] - f64::from(similarity)).abs() < 1e-6);
            }
        }
        // More than there are beside them, and one vector alone.
        let few = VectorsOnDevice::new(vectors.slice(ndarray::s![..3, ..]), &device).unwrap();
        assert_eq!(few.nearest(questions.view(), 3).unwrap().rows.dim(), (5, 3));
        let one = VectorsOnDevice::new(vectors.slice(ndarray::s![..1, ..]), &device).unwrap();
        assert_eq!(one.nearest(questions.view(), 1).unwrap().rows, Array2::<u32>::zeros((5, 1)));
    }
}
