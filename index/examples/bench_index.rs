//! The index behind a pipe, for `scripts/research/speed/bench_index_rivals.py`: reads one command a line from
//! standard input and writes one line of JSON for each. Vectors come from `base.npy` and
//! `queries.npy` (float32, unit rows).
//!
//! ```text
//! load DIR                      base.npy and queries.npy
//! build GRAPH_FROM M EFC TARGET [hnsw_rs]    with rayon's threads (RAYON_NUM_THREADS); - for the default,
//!                               hnsw_rs to build the graph with it
//! save FILE | open FILE
//! search WIDTH K OUT           one thread, every query by itself; ids to OUT.npy; 0: default, or exact
//! filter SHARE K OUT           as search, with a filter that passes about SHARE of the tracks
//! batch WIDTH K OUT            all queries in one call
//! stats
//! hnsw_rs M EFC                 hnsw_rs by itself over the same vectors (float32)
//! hnsw_rs_search EF K OUT       its own search
//! ```

use std::io::{BufRead, Write};
use std::time::Instant;

use hnsw_rs::prelude::{Distance, Hnsw};
use ndarray::Array2;
use rayon::prelude::*;
use serde_json::{Value, json};
use voisin_base::track::TrackId;
use voisin_index::{GraphBuilder, IndexOptions, IndexStamp, SearchParams, VectorIndex};

/// 1 − ⟨a, b⟩ of unit vectors, with the widest instructions available, as a user of `hnsw_rs` could write it.
struct UnitDistance;

/// Sixty-four parallel sums, which the compiler puts into registers.
#[allow(
    clippy::inline_always,
    reason = "it must be inlined into the function with the instructions"
)]
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0_f32; 64];
    let whole_a = a.chunks_exact(64);
    let whole_b = b.chunks_exact(64);
    let rest: f32 = whole_a
        .remainder()
        .iter()
        .zip(whole_b.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (a, b) in whole_a.zip(whole_b) {
        for i in 0..64 {
            sums[i] = a[i].mul_add(b[i], sums[i]);
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b)
}

impl Distance<f32> for UnitDistance {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            #[allow(unsafe_code)]
            // SAFETY: the processor has just reported the feature.
            return (1. - unsafe { dot_avx512(a, b) }).max(0.);
        }
        (1. - dot(a, b)).max(0.)
    }
}

#[derive(Default)]
struct State {
    base: Array2<f32>,
    queries: Array2<f32>,
    index: Option<VectorIndex>,
    rival: Option<Hnsw<'static, f32, UnitDistance>>,
}

fn main() -> anyhow::Result<()> {
    let mut state = State::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = state.run(&words)?;
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Settings of a search; a width of 0 is the default, and of "exact" there is none.
fn params(width: &str) -> anyhow::Result<SearchParams<'static>> {
    let exact = width == "exact";
    let width = if exact { 0 } else { width.parse()? };
    Ok(SearchParams {
        exact,
        width: (width > 0).then_some(width),
        subset: None,
    })
}

fn stamp(dimension: usize) -> IndexStamp {
    IndexStamp {
        generation: 1,
        model_fingerprint: "bench".into(),
        dimension,
    }
}

/// CPU seconds of this process so far, all threads (Linux; 0 elsewhere).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.
}

/// CPU nanoseconds of this process so far, all threads (Linux; 0 elsewhere). The kernel updates a
/// running thread's time once a tick, and when it yields.
fn cpu_nanoseconds() -> f64 {
    std::thread::yield_now();
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let one = |path: std::path::PathBuf| {
        let stat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        stat.split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<f64>().ok())
            .unwrap_or(0.)
    };
    tasks.map(|task| one(task.path())).sum()
}

/// CPU nanoseconds of this thread so far (Linux; 0 elsewhere).
fn thread_nanoseconds() -> f64 {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(0.)
}

/// A fixed pseudo-random number in [0, 1) per track.
fn chance(track: TrackId) -> f64 {
    let mut x = (track.0 as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

impl State {
    fn index(&mut self) -> anyhow::Result<&mut VectorIndex> {
        self.index
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("build or open first"))
    }

    fn build(&mut self, words: [&str; 4], by_hnsw_rs: bool) -> anyhow::Result<Value> {
        let [from, m, efc, target] = words;
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let ids: Vec<TrackId> = (0..self.base.nrows() as i64).map(TrackId).collect();
        let mut options = IndexOptions {
            m: m.parse()?,
            ef_construction: efc.parse()?,
            ..IndexOptions::default()
        };
        if by_hnsw_rs {
            options.builder = GraphBuilder::HnswRs;
        }
        if from != "-" {
            options.graph_from = from.parse()?;
        }
        if target != "-" {
            options.target_recall = target.parse()?;
        }
        self.index = None;
        self.index = Some(VectorIndex::build(&ids, self.base.view(), &options)?);
        let stats = format!("{:?}", self.index()?.stats());
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        Ok(json!({ "seconds": seconds, "cpu": cpu, "stats": stats }))
    }

    fn filtered(&mut self, share: f64, k: usize, out: &str) -> anyhow::Result<Value> {
        let passing: Vec<TrackId> = (0..self.base.nrows() as i64)
            .map(TrackId)
            .filter(|&track| chance(track) < share)
            .collect();
        let subset = self.index()?.subset_of(&passing);
        let params = SearchParams {
            subset: Some(&subset),
            ..SearchParams::default()
        };
        self.timed(&params, k, out)
    }

    fn batch(&mut self, width: &str, k: usize, out: &str) -> anyhow::Result<Value> {
        let start = Instant::now();
        let queries = std::mem::take(&mut self.queries);
        let params = params(width)?;
        let before = cpu_nanoseconds();
        let found = self.index()?.search_batch(queries.view(), k, &params)?;
        let cpu = (cpu_nanoseconds() - before) / 1e9;
        let seconds = start.elapsed().as_secs_f64();
        let mut ids = Array2::from_elem((queries.nrows(), k), -1_i32);
        for (found, mut ids) in found.iter().zip(ids.outer_iter_mut()) {
            ids.iter_mut()
                .zip(found)
                .for_each(|(id, neighbor)| *id = neighbor.id.0 as i32);
        }
        if out != "-" {
            ndarray_npy::write_npy(out, &ids)?;
        }
        let n = queries.nrows() as f64;
        self.queries = queries;
        Ok(json!({ "qps": n / seconds, "cpu_qps": n / cpu }))
    }

    fn run(&mut self, words: &[&str]) -> anyhow::Result<Value> {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        Ok(match *words {
            ["load", dir] => {
                self.base = ndarray_npy::read_npy(format!("{dir}/base.npy"))?;
                self.queries = ndarray_npy::read_npy(format!("{dir}/queries.npy"))?;
                json!({ "n": self.base.nrows(), "queries": self.queries.nrows() })
            }
            ["build", from, m, efc, target, ref builder @ ..] => {
                self.build([from, m, efc, target], builder == ["hnsw_rs"])?
            }
            ["save", path] => {
                let dimension = self.index()?.dimension();
                self.index()?.save(path.as_ref(), &stamp(dimension))?;
                json!({ "seconds": start.elapsed().as_secs_f64(), "bytes": std::fs::metadata(path)?.len() })
            }
            ["open", path] => {
                let dimension = self.queries.ncols();
                self.index = None;
                let start = Instant::now();
                let cpu = cpu_seconds();
                self.index = Some(VectorIndex::load(path.as_ref(), &stamp(dimension))?);
                json!({ "seconds": start.elapsed().as_secs_f64(), "cpu": cpu_seconds() - cpu })
            }
            ["search", width, k, out] => self.timed(&params(width)?, k.parse()?, out)?,
            ["filter", share, k, out] => self.filtered(share.parse()?, k.parse()?, out)?,
            ["batch", width, k, out] => self.batch(width, k.parse()?, out)?,
            ["hnsw_rs", m, efc] => {
                let base = &self.base;
                let row = |i: usize| base.row(i).to_slice().unwrap_or_default();
                let hnsw = Hnsw::new(m.parse()?, base.nrows(), 16, efc.parse()?, UnitDistance);
                let first = base.nrows().min(64);
                (0..first).for_each(|i| hnsw.insert((row(i), i)));
                (first..base.nrows())
                    .into_par_iter()
                    .for_each(|i| hnsw.insert((row(i), i)));
                self.rival = Some(hnsw);
                json!({ "seconds": start.elapsed().as_secs_f64(), "cpu": cpu_seconds() - cpu })
            }
            ["hnsw_rs_search", ef, k, out] => {
                let ef = ef.parse()?;
                let k = k.parse()?;
                let Some(hnsw) = &self.rival else {
                    anyhow::bail!("build hnsw_rs first")
                };
                measured(&self.queries, k, out, |query| {
                    Ok(hnsw
                        .search(query, k, ef)
                        .iter()
                        .map(|found| found.d_id as i32)
                        .collect())
                })?
            }
            ["stats"] => json!({ "stats": format!("{:?}", self.index()?.stats()) }),
            _ => anyhow::bail!("unknown command {words:?}"),
        })
    }

    fn timed(&mut self, params: &SearchParams<'_>, k: usize, out: &str) -> anyhow::Result<Value> {
        let queries = std::mem::take(&mut self.queries);
        let index = self.index()?;
        let result = measured(&queries, k, out, |query| {
            Ok(index
                .search(query, k, params)?
                .iter()
                .map(|neighbor| neighbor.id.0 as i32)
                .collect())
        });
        self.queries = queries;
        result
    }
}

/// Searches for each query separately, one after the other.
fn measured(
    queries: &Array2<f32>,
    k: usize,
    out: &str,
    mut search: impl FnMut(&[f32]) -> anyhow::Result<Vec<i32>>,
) -> anyhow::Result<Value> {
    let mut ids = Array2::from_elem((queries.nrows(), k), -1_i32);
    let mut micros = Vec::with_capacity(queries.nrows());
    let cpu = thread_nanoseconds();
    for (query, mut ids) in queries.outer_iter().zip(ids.outer_iter_mut()) {
        let query = query.to_slice().unwrap_or_default();
        let start = Instant::now();
        let found = search(query)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        ids.iter_mut()
            .zip(found)
            .for_each(|(id, found)| *id = found);
    }
    let cpu = (thread_nanoseconds() - cpu) / 1e9;
    if out != "-" {
        ndarray_npy::write_npy(out, &ids)?;
    }
    let total: f64 = micros.iter().sum();
    micros.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    Ok(
        json!({ "qps": micros.len() as f64 / total * 1e6, "cpu_qps": micros.len() as f64 / cpu, "p50": at(0.5), "p99": at(0.99) }),
    )
}
