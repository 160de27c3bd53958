//! Costs of an index without vectors: bytes, recall, speed, and the bytes that a query reads from a
//! cold disk.
//!
//! `cargo run --release -p voisin-index --example bytes -- DIR RECALL [all | 4 | 2 | 1 | 0]...`
//!
//! DIR holds base.npy, queries.npy and truth.npy (float32 unit vectors; exact neighbours by dot
//! product, int32). For each number of bits an index is built for a target recall and saved in DIR.
//! Printed: its bytes a vector, seconds of building; recall and microseconds of CPU time of a query
//! (one thread, the best of three rounds, vectors in memory); the reach of a search; and, with
//! index and vectors evicted from the system's cache before each of forty queries (`dd
//! iflag=nocache`; Linux), medians of the kilobytes that opening and the query read from the disk,
//! and of the query's milliseconds.

#![allow(clippy::print_stdout)] // its results

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Array2;
use voisin_index::{Id, IndexOptions, IndexStamp, SearchParams, VectorIndex};
use voisin_kernels::buffer::{map_file, prefetch, release};

/// Queries whose reads and wall-clock time are measured with a cold cache.
const COLD: usize = 40;

type Failure = Box<dyn std::error::Error>;

/// Rows of an `.npy` file of four-byte numbers.
fn rows<T>(path: &Path, number: impl Fn([u8; 4]) -> T) -> Result<Array2<T>, Failure> {
    let bytes = std::fs::read(path)?;
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[..header]).into_owned();
    let shape = text
        .split_once("'shape': (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .ok_or("no shape")?
        .0;
    let width: usize = shape
        .split(',')
        .nth(1)
        .ok_or("not two dimensions")?
        .trim()
        .parse()?;
    let numbers: Vec<T> = bytes[header..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|x| number(*x))
        .collect();
    Ok(Array2::from_shape_vec(
        (numbers.len() / width, width),
        numbers,
    )?)
}

/// A number after a name in a file of /proc; 0 on other systems.
fn proc_number(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text
        .split_once(name)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    found.unwrap_or(0.)
}

/// CPU time of this thread so far, in microseconds. The kernel updates a running thread's time once
/// a tick, and when it yields.
fn micros() -> f64 {
    std::thread::yield_now();
    proc_number("/proc/thread-self/schedstat", "") / 1e3
}

/// Kilobytes that this process has had read from disks.
fn kilobytes() -> f64 {
    proc_number("/proc/self/io", "\nread_bytes: ") / 1e3
}

/// Vectors by the rows of an `.npy` file; all are prefetched before the first is read.
fn read_from(
    path: &Path,
    width: usize,
) -> Result<impl Fn(&[Id], &mut [f32]) -> std::io::Result<()> + use<>, Failure> {
    let map = map_file(&File::open(path)?)?;
    // Before any read, to turn off the system's readahead.
    release(&map, &(0..map.len()));
    let header = 10 + usize::from(u16::from_le_bytes([map[8], map[9]]));
    Ok(move |tracks: &[Id], vectors: &mut [f32]| {
        let place = |track: &Id| header + track.0 as usize * width * 4;
        tracks
            .iter()
            .for_each(|track| prefetch(&map, &(place(track)..place(track) + width * 4)));
        for (track, to) in tracks.iter().zip(vectors.chunks_exact_mut(width)) {
            for (to, bytes) in to.iter_mut().zip(map[place(track)..].as_chunks::<4>().0) {
                *to = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    })
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(
        arguments
            .next()
            .ok_or("expected a folder, a target recall, and numbers of bits")?,
    );
    let target_recall = arguments
        .next()
        .ok_or("expected a target recall")?
        .parse()?;
    let vectors = folder.join("base.npy");
    let base = Arc::new(rows(&vectors, f32::from_le_bytes)?);
    let queries = rows(&folder.join("queries.npy"), f32::from_le_bytes)?;
    let truth = rows(&folder.join("truth.npy"), i32::from_le_bytes)?;
    let ids: Vec<Id> = (0..base.nrows() as i64).map(Id).collect();
    let params = SearchParams::default();
    for bits in arguments {
        let start = Instant::now();
        let options = IndexOptions {
            residual_bits: bits.parse().ok(),
            target_recall,
            ..IndexOptions::default()
        };
        let index = VectorIndex::build(&ids, base.view(), &options)?;
        let seconds = start.elapsed().as_secs_f64();
        let file = folder.join(format!("bits-{bits}.bin"));
        let stamp = IndexStamp {
            generation: 1,
            model_fingerprint: String::new(),
            dimension: base.ncols(),
        };
        index.save(&file, &stamp)?;
        drop(index);
        let mut index = VectorIndex::load(&file, &stamp)?;
        let held = Arc::clone(&base);
        index.read_vectors_with(Arc::new(move |tracks, vectors| {
            for (track, to) in tracks.iter().zip(vectors.chunks_exact_mut(held.ncols())) {
                to.copy_from_slice(held.row(track.0 as usize).to_slice().unwrap_or_default());
            }
            Ok(())
        }));
        let bytes = std::fs::metadata(&file)?.len() as f64 / base.nrows() as f64;
        print!("{bits} bits: {bytes:.1} bytes a vector, built in {seconds:.1} s");
        for k in [10, 100] {
            let mut best = f64::MAX;
            let mut hits = 0;
            for _ in 0..3 {
                let before = micros();
                hits = 0;
                for (query, truth) in queries.outer_iter().zip(truth.outer_iter()) {
                    let found = index.search(query.to_slice().unwrap_or_default(), k, &params)?;
                    let near =
                        |track: Id| truth.iter().take(k).any(|&row| i64::from(row) == track.0);
                    hits += found.iter().filter(|neighbor| near(neighbor.id)).count();
                }
                best = best.min((micros() - before) / queries.nrows() as f64);
            }
            print!(
                "; recall@{k} {:.4}, {best:.0} us",
                hits as f64 / (k * queries.nrows()) as f64
            );
        }
        println!("; {:?}", index.stats().lists);
        drop(index);
        let mut opening = Vec::new();
        let mut query_reads = Vec::new();
        let mut waiting = Vec::new();
        for query in queries.outer_iter().take(COLD) {
            for path in [&file, &vectors] {
                let input = format!("if={}", path.display());
                Command::new("dd")
                    .args([&input, "iflag=nocache", "count=0", "status=none"])
                    .status()?;
            }
            let before = kilobytes();
            let (mut index, _) = VectorIndex::load_any_generation(&file, &stamp)?;
            index.read_vectors_with(Arc::new(read_from(&vectors, base.ncols())?));
            let opened = kilobytes();
            let start = Instant::now();
            index.search(query.to_slice().unwrap_or_default(), 10, &params)?;
            waiting.push(start.elapsed().as_secs_f64() * 1e3);
            query_reads.push(kilobytes() - opened);
            opening.push(opened - before);
        }
        let open = median(opening);
        let per_query = median(query_reads);
        let wait = median(waiting);
        println!("  cold: opening reads {open:.0} kB, a query {per_query:.0} kB, in {wait:.2} ms");
    }
    Ok(())
}
