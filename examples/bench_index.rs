//! The index at the end of a pipe, for `scripts/bench_index.py`: reads one command a line from standard input and
//! answers each with one line of JSON. Vectors come from `base.npy` and `queries.npy` (float32, unit rows).
//!
//! ```text
//! load DIR                      base.npy and queries.npy
//! build GRAPH_FROM M EFC        with rayon's threads (RAYON_NUM_THREADS)
//! save FILE | open FILE
//! search MODE EF K OUT          one thread, every query by itself; ids to OUT.npy; EF 0: default
//! filter SHARE MODE K OUT       as search, with a filter that passes about SHARE of the tracks
//! insert N | remove N | check | stats
//! ```

use std::io::{BufRead, Write};
use std::time::Instant;

use ndarray::Array2;
use serde_json::{Value, json};
use voisin::index::{IndexOptions, IndexStamp, SearchMode, SearchParams, VectorIndex};
use voisin::track::TrackId;

#[derive(Default)]
struct State {
    base: Array2<f32>,
    queries: Array2<f32>,
    index: Option<VectorIndex>,
    extra: i64,
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

fn stamp(dimension: usize) -> IndexStamp {
    IndexStamp { generation: 1, model_fingerprint: "bench".into(), dimension }
}

/// CPU seconds of this process so far, all threads (Linux; 0 elsewhere).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.
}

/// CPU nanoseconds of this thread so far (Linux; 0 elsewhere).
fn thread_nanoseconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.)
}

/// A fixed pseudo-random number in [0, 1) per track.
fn chance(track: TrackId) -> f64 {
    let mut x = (track.0 as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

impl State {
    fn index(&mut self) -> anyhow::Result<&mut VectorIndex> {
        self.index.as_mut().ok_or_else(|| anyhow::anyhow!("build or open first"))
    }

    fn run(&mut self, words: &[&str]) -> anyhow::Result<Value> {
        let start = Instant::now();
        let cpu = cpu_seconds();
        Ok(match *words {
            ["load", dir] => {
                self.base = ndarray_npy::read_npy(format!("{dir}/base.npy"))?;
                self.queries = ndarray_npy::read_npy(format!("{dir}/queries.npy"))?;
                json!({ "n": self.base.nrows(), "queries": self.queries.nrows() })
            }
            ["build", from, m, efc] => {
                let ids: Vec<TrackId> = (0..self.base.nrows() as i64).map(TrackId).collect();
                let options = IndexOptions {
                    graph_from: from.parse()?,
                    m: m.parse()?,
                    ef_construction: efc.parse()?,
                    ..IndexOptions::default()
                };
                self.index = None;
                self.index = Some(VectorIndex::build(&ids, self.base.view(), &options)?);
                json!({ "seconds": start.elapsed().as_secs_f64(), "cpu": cpu_seconds() - cpu, "stats": format!("{:?}", self.index()?.stats()) })
            }
            ["save", path] => {
                let dimension = self.index()?.dimension();
                self.index()?.save(path.as_ref(), &stamp(dimension))?;
                json!({ "seconds": start.elapsed().as_secs_f64(), "bytes": std::fs::metadata(path)?.len() })
            }
            ["open", path] => {
                let dimension = self.queries.ncols();
                self.index = None;
                let (start, cpu) = (Instant::now(), cpu_seconds());
                self.index = Some(VectorIndex::load(path.as_ref(), &stamp(dimension))?);
                json!({ "seconds": start.elapsed().as_secs_f64(), "cpu": cpu_seconds() - cpu })
            }
            ["search", mode, ef, k, out] => {
                let ef: usize = ef.parse()?;
                let params = SearchParams {
                    mode: mode.parse().map_err(anyhow::Error::msg)?,
                    ef: (ef > 0).then_some(ef),
                    ..SearchParams::default()
                };
                self.timed(&params, k.parse()?, out)?
            }
            ["filter", share, mode, k, out] => {
                let share: f64 = share.parse()?;
                let passing: Vec<bool> =
                    (0..self.base.nrows() as i64).map(|track| chance(TrackId(track)) < share).collect();
                let filter = |track: TrackId| passing[track.0 as usize];
                let params = SearchParams {
                    mode: mode.parse::<SearchMode>().map_err(anyhow::Error::msg)?,
                    filter: Some(&filter),
                    ..SearchParams::default()
                };
                self.timed(&params, k.parse()?, out)?
            }
            ["insert", n] => {
                let n: i64 = n.parse()?;
                for i in 0..n {
                    let query = self.queries.row(i as usize % self.queries.nrows()).to_vec();
                    let track = TrackId(1_000_000_000 + self.extra + i);
                    self.index()?.insert(track, &query)?;
                }
                self.extra += n;
                json!({ "seconds": start.elapsed().as_secs_f64() })
            }
            ["remove", every] => {
                let every: usize = every.parse()?;
                for track in (0..self.base.nrows() as i64).step_by(every) {
                    self.index()?.remove(TrackId(track));
                }
                json!({ "seconds": start.elapsed().as_secs_f64(), "left": self.index()?.len() })
            }
            ["check"] => {
                let check = self.index()?.self_check(500)?;
                json!({
                    "seconds": start.elapsed().as_secs_f64(), "lost": check.lost.len(),
                    "recall_at_10": check.recall_at_10,
                })
            }
            ["stats"] => json!({ "stats": format!("{:?}", self.index()?.stats()) }),
            _ => anyhow::bail!("unknown command {words:?}"),
        })
    }

    fn timed(&mut self, params: &SearchParams<'_>, k: usize, out: &str) -> anyhow::Result<Value> {
        let queries = std::mem::take(&mut self.queries);
        let index = self.index()?;
        let mut ids = Array2::from_elem((queries.nrows(), k), -1_i32);
        let mut micros = Vec::with_capacity(queries.nrows());
        let cpu = thread_nanoseconds();
        for (query, mut ids) in queries.outer_iter().zip(ids.outer_iter_mut()) {
            let query = query.to_slice().unwrap_or_default();
            let start = Instant::now();
            let found = index.search(query, k, params)?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            ids.iter_mut().zip(found).for_each(|(id, neighbor)| *id = neighbor.track.0 as i32);
        }
        self.queries = queries;
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
}
