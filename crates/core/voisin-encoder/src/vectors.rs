//! Brute-force search on a device: a batch's products with all vectors at once.

use std::cmp::Reverse;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor, bail};
use half::f16;
use ndarray::{Array2, ArrayView2};

use super::{Device, EncoderError};

/// Most queries per pass.
const BATCH: usize = 1024;
/// Rows copied to the device, or results copied back, at a time.
const TRANSFER: usize = 1 << 14;
/// Most bytes of a batch's products if the device does not report its memory.
const PRODUCTS: u64 = 1 << 28;
/// Vectors are padded to a multiple of this, for the kernel and for fast matrix products.
const TOGETHER: usize = 8;
/// Distinct values of f16 products from 0 to 1.
const STEPS: f32 = 2048.0;

/// Unit vectors on a device, in f16 for comparison and in f32 for ranking.
///
/// Products of unit vectors are at most 1, where f16 has three bits more than bf16 at the same
/// speed.
#[derive(Debug)]
pub struct VectorsOnDevice {
    device: Device,
    /// Padded with zeros to a multiple of [`TOGETHER`] rows.
    short: Tensor,
    long: Tensor,
}

/// The nearest of each query, the best first; equal ones by row.
#[derive(Debug, Clone, PartialEq)]
pub struct NearestOnDevice {
    /// `[queries, k]`, rows of the vectors.
    pub rows: Array2<u32>,
    /// `[queries, k]`, products in f32.
    pub similarities: Array2<f32>,
}

impl VectorsOnDevice {
    /// Most neighbours per query.
    pub const MOST: usize = 496;

    /// - `vectors`: `[n, dimension]`, unit rows, at least one
    pub fn new(vectors: ArrayView2<'_, f32>, device: &Device) -> Result<Self, EncoderError> {
        let mut short = Vec::new();
        let mut long = Vec::new();
        for rows in vectors.axis_chunks_iter(ndarray::Axis(0), TRANSFER) {
            let rows = upload(rows, device)?;
            short.push(rows.to_dtype(DType::F16)?);
            // Part by part, so that the host copies one part at a time.
            long.push(rows);
        }
        let (n, dimension) = vectors.dim();
        // Products of zeros are 0, and columns from `n` on are never ranked.
        let missing = n.next_multiple_of(TOGETHER) - n;
        if missing > 0 {
            short.push(Tensor::zeros(
                (missing, dimension),
                DType::F16,
                device.candle(),
            )?);
        }
        Ok(Self {
            device: device.clone(),
            short: Tensor::cat(&short, 0)?,
            long: Tensor::cat(&long, 0)?,
        })
    }

    /// The `k` vectors with the largest products with each query.
    ///
    /// `2 k + 32` are selected by products in f16 (off by at most 0.0005) and ranked by products in
    /// f32.
    ///
    /// - `queries`: `[q, dimension]`, unit rows
    /// - `k`: from 1 to the number of vectors and to [`MOST`](Self::MOST)
    pub fn nearest(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<NearestOnDevice, EncoderError> {
        let parts = queries.axis_chunks_iter(ndarray::Axis(0), TRANSFER);
        self.nearest_of(parts.map(|rows| upload(rows, &self.device)), k)
    }

    /// The `k` vectors with the largest products with each of the vectors, itself included:
    /// [`nearest`](Self::nearest) without copying queries.
    pub fn neighbours(&self, k: usize) -> Result<NearestOnDevice, EncoderError> {
        let n = self.long.dim(0)?;
        let starts = (0..n).step_by(TRANSFER);
        self.nearest_of(
            starts.map(|start| self.long.narrow(0, start, TRANSFER.min(n - start))),
            k,
        )
    }

    fn nearest_of(
        &self,
        parts: impl Iterator<Item = candle_core::Result<Tensor>>,
        k: usize,
    ) -> Result<NearestOnDevice, EncoderError> {
        let n = self.long.dim(0)?;
        // More than requested are selected by f16, as its rounding may swap neighbours.
        let find = NearestOp {
            wanted: (2 * k + 32).min(n),
            k,
        };
        // A quarter of the free memory, as matrices and results need memory, too.
        let room = self.device.memory().map_or(PRODUCTS, |free| free / 4);
        // Two bytes for each product.
        let batch = ((room / (2 * n as u64)) as usize).clamp(1, BATCH);
        let mut pairs = Vec::new();
        for part in parts {
            let part = part?;
            let count = part.dim(0)?;
            let mut neighbours = Vec::new();
            for start in (0..count).step_by(batch) {
                let queries = part.narrow(0, start, batch.min(count - start))?;
                let products = queries.to_dtype(DType::F16)?.matmul(&self.short.t()?)?;
                neighbours.push(products.apply_op3_no_bwd(&self.long, &queries, &find)?);
            }
            pairs.extend(
                Tensor::cat(&neighbours, 0)?
                    .flatten_all()?
                    .to_vec1::<u32>()?,
            );
        }
        let (pairs, _) = pairs.as_chunks::<2>();
        let shape = (pairs.len() / k, k);
        let shaped = "each query has k";
        let rows = pairs.iter().map(|pair| pair[0]).collect();
        let similarities = pairs.iter().map(|pair| f32::from_bits(pair[1])).collect();
        Ok(NearestOnDevice {
            rows: Array2::from_shape_vec(shape, rows).expect(shaped),
            similarities: Array2::from_shape_vec(shape, similarities).expect(shaped),
        })
    }
}

fn upload(rows: ArrayView2<'_, f32>, device: &Device) -> candle_core::Result<Tensor> {
    let rows = rows.as_standard_layout();
    Tensor::from_slice(
        rows.as_slice().unwrap_or_default(),
        rows.dim(),
        device.candle(),
    )
}

/// Of products with vectors, `[queries, vectors and zeros]` of f16, those vectors,
/// `[n, dimension]`, and the queries, `[queries, dimension]`: each query's `k` best of the `wanted`
/// with the largest products, and of all equal to the least of these, ranked in f32.
/// `[queries, k, 2]` of u32: rows, and the products' bits.
struct NearestOp {
    /// At least `k`, at most twice [`VectorsOnDevice::MOST`] and 32, and the number of vectors.
    wanted: usize,
    k: usize,
}

impl NearestOp {
    /// Queries, columns of the products, vectors and dimension.
    fn sizes(
        &self,
        products: &Layout,
        vectors: &Layout,
        queries: &Layout,
    ) -> candle_core::Result<[usize; 4]> {
        let (batch, stride) = products.shape().dims2()?;
        let (n, dimension) = vectors.shape().dims2()?;
        if queries.shape().dims2()? != (batch, dimension) || n > stride {
            bail!(
                "nearest: products of {products:?}, vectors of {vectors:?}, queries of {queries:?}"
            )
        }
        let most = VectorsOnDevice::MOST;
        if self.k == 0 || self.k > most || self.k > self.wanted || self.wanted > n {
            bail!(
                "{} nearest of {n} vectors: expected from 1 to {}",
                self.k,
                most.min(n)
            )
        }
        Ok([batch, stride, n, dimension])
    }
}

/// A contiguous part of a tensor's numbers.
fn contiguous(layout: &Layout) -> candle_core::Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(from..to),
        None => bail!("nearest: expected contiguous rows"),
    }
}

impl CustomOp3 for NearestOp {
    fn name(&self) -> &'static str {
        "nearest"
    }

    fn cpu_fwd(
        &self,
        products: &CpuStorage,
        products_layout: &Layout,
        vectors: &CpuStorage,
        vectors_layout: &Layout,
        queries: &CpuStorage,
        queries_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let [batch, stride, n, dimension] =
            self.sizes(products_layout, vectors_layout, queries_layout)?;
        let products = &products.as_slice::<f16>()?[contiguous(products_layout)?];
        let vectors = &vectors.as_slice::<f32>()?[contiguous(vectors_layout)?];
        let queries = &queries.as_slice::<f32>()?[contiguous(queries_layout)?];
        let mut out = Vec::with_capacity(2 * batch * self.k);
        for (row, query) in products.chunks(stride).zip(queries.chunks(dimension)) {
            let level =
                |column: u32| (f32::from(row[column as usize]) * STEPS).round_ties_even() as i32;
            let mut columns: Vec<u32> = (0..n as u32).collect();
            // Selected by steps of f16, and all at the edge ranked: equal products must not depend
            // on the order of the selection.
            columns.select_nth_unstable_by_key(self.wanted - 1, |&column| Reverse(level(column)));
            let edge = level(columns[self.wanted - 1]);
            let mut ranked: Vec<(u32, f32)> = (0..n as u32)
                .filter(|&column| level(column) >= edge)
                .map(|column| {
                    let vector = &vectors[column as usize * dimension..][..dimension];
                    (
                        column,
                        vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>(),
                    )
                })
                .collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            out.extend(
                ranked[..self.k]
                    .iter()
                    .flat_map(|&(column, product)| [column, product.to_bits()]),
            );
        }
        Ok((CpuStorage::U32(out), (batch, self.k, 2).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        products: &candle_core::CudaStorage,
        products_layout: &Layout,
        vectors: &candle_core::CudaStorage,
        vectors_layout: &Layout,
        queries: &candle_core::CudaStorage,
        queries_layout: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let sizes = self.sizes(products_layout, vectors_layout, queries_layout)?;
        let numbers = [
            (products, contiguous(products_layout)?),
            (vectors, contiguous(vectors_layout)?),
            (queries, contiguous(queries_layout)?),
        ];
        super::launch::nearest(numbers, sizes, self.wanted, self.k)
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
    fn nearest_are_those_of_products_in_f64() {
        let vectors = unit_rows(9001, 24, 1);
        let queries = unit_rows(5, 24, 2);
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let found = VectorsOnDevice::new(vectors.view(), &device)
            .unwrap()
            .nearest(queries.view(), 10)
            .unwrap();
        let exact = queries.mapv(f64::from).dot(&vectors.t().mapv(f64::from));
        for (row, exact) in exact.rows().into_iter().enumerate() {
            let mut order: Vec<usize> = (0..exact.len()).collect();
            order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
            let ids: Vec<usize> = found.rows.row(row).iter().map(|&id| id as usize).collect();
            assert_eq!(ids, order[..10]);
            for (&id, &similarity) in ids.iter().zip(found.similarities.row(row)) {
                assert!((exact[id] - f64::from(similarity)).abs() < 1e-6);
            }
        }
        // More than the number of other vectors, and a single vector.
        let few = VectorsOnDevice::new(vectors.slice(ndarray::s![..3, ..]), &device).unwrap();
        assert_eq!(few.nearest(queries.view(), 3).unwrap().rows.dim(), (5, 3));
        let single = VectorsOnDevice::new(vectors.slice(ndarray::s![..1, ..]), &device).unwrap();
        assert_eq!(
            single.nearest(queries.view(), 1).unwrap().rows,
            Array2::<u32>::zeros((5, 1))
        );
    }

    #[test]
    fn neighbours_are_nearest_and_of_equal_ones_the_first() {
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let mut vectors = unit_rows(1203, 17, 3);
        let first = vectors.row(0).to_owned();
        // More equal ones than requested.
        (0..200).for_each(|row| vectors.row_mut(3 * row).assign(&first));
        let on_device = VectorsOnDevice::new(vectors.view(), &device).unwrap();
        let found = on_device.neighbours(9).unwrap();
        assert_eq!(found, on_device.nearest(vectors.view(), 9).unwrap());
        for row in [0, 3, 300, 597] {
            assert_eq!(
                found.rows.row(row).to_vec(),
                (0..9).map(|copy| 3 * copy).collect::<Vec<u32>>()
            );
        }
        for row in [1, 700, 1202] {
            assert_eq!(found.rows[[row, 0]], row as u32);
            assert!(
                found
                    .similarities
                    .row(row)
                    .iter()
                    .is_sorted_by(|a, b| a >= b)
            );
        }
    }

    #[test]
    fn all_vectors_can_be_requested_up_to_a_bound() {
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let nearest = |n, k| {
            let vectors = unit_rows(n, 8, 4);
            VectorsOnDevice::new(vectors.view(), &device)
                .unwrap()
                .nearest(vectors.view(), k)
        };
        for (n, k) in [(1, 1), (7, 7), (600, VectorsOnDevice::MOST)] {
            let found = nearest(n, k).unwrap();
            assert_eq!(found.rows.dim(), (n, k));
            for row in found.rows.outer_iter() {
                assert_eq!(
                    row.iter().collect::<std::collections::BTreeSet<_>>().len(),
                    k
                );
            }
        }
        for (n, k) in [(5, 0), (5, 6), (600, VectorsOnDevice::MOST + 1)] {
            let error = nearest(n, k).unwrap_err().to_string();
            assert!(
                error.contains(&format!(
                    "expected from 1 to {}",
                    VectorsOnDevice::MOST.min(n)
                )),
                "{error}"
            );
        }
    }
}
