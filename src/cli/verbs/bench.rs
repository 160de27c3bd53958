//! `voisin bench`: the throughput of this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rayon::prelude::*;
use serde_json::json;
use voisin_base::random::Random;

use crate::cli::Ending;
use crate::cli::args::{Against, BenchArgs, BenchKind, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table};
use voisin_audio as audio;
use voisin_base::track::TrackId;
use voisin_encoder::{Architecture, Encoder};
use voisin_engine::{ComparedIndex, IndexFigures};
use voisin_features::{MelConfig, MelFrontEnd, OpenL3Variant};
use voisin_index::{IndexOptions, SearchParams, VectorIndex};

pub(crate) fn run(context: &Context, args: &BenchArgs) -> anyhow::Result<Ending> {
    let seconds = Duration::from_secs_f64(args.seconds.0.clamp(0.1, 600.0));
    let result = match args.kind {
        BenchKind::Encoder => encoder(context, args, seconds)?,
        BenchKind::Mel => mel(context, args, seconds)?,
        BenchKind::Decode => decode(context, args.file.as_deref(), seconds)?,
        BenchKind::Search => search(context, args, seconds)?,
        BenchKind::Index => return index(context, args, seconds),
    };
    match args.format {
        ReportFormat::Json => render::print_json(&result)?,
        ReportFormat::Table => {
            for (name, value) in result
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_null())
            {
                let text = value.as_f64().filter(|_| value.is_f64()).map_or_else(
                    || {
                        value
                            .as_str()
                            .map_or_else(|| value.to_string(), ToOwned::to_owned)
                    },
                    |number| format!("{number:.1}"),
                );
                render::print_line(&format!("{name:<24} {text}"))?;
            }
        }
    }
    Ok(Ending::Fine)
}

/// Runs `work` until the time is over, after one run to warm up; returns the work done per second.
fn rate(seconds: Duration, mut work: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    // Once unmeasured, for caches, page faults and first allocations.
    work()?;
    let start = Instant::now();
    let mut done = 0.0;
    while start.elapsed() < seconds {
        done += work()?;
    }
    Ok(done / start.elapsed().as_secs_f64())
}

fn noise(n: usize) -> Vec<f32> {
    let mut random = Random::new(1);
    (0..n).map(|_| 2.0 * random.f32() - 1.0).collect()
}

fn encoder(
    context: &Context,
    args: &BenchArgs,
    seconds: Duration,
) -> anyhow::Result<serde_json::Value> {
    let device = context.device_option().resolve()?;
    let architecture = args.arch;
    let encoder = Encoder::random_with(architecture, 1, &device, &context.encoder_options())?;
    let config = &encoder.manifest().front_end;
    let n = args.batch.map_or(32, |n| n as usize);
    // Decibels from -80 to 0, the range of a spectrogram: denormal or saturated numbers would have
    // another speed.
    let mels: Vec<f32> = noise(n * config.cells())
        .iter()
        .map(|x| x * 40.0 - 40.0)
        .collect();
    let per_second = rate(seconds, || {
        encoder.encode(&mels, n)?;
        Ok(n as f64)
    })?;
    let window = config.window_samples() as f64 / f64::from(config.sample_rate());
    Ok(json!({
        "windows_per_second": per_second,
        "times_real_time": per_second * window,
        "architecture": architecture.to_string(),
        "device": device.description(),
        "threads": context.threads(),
        "isa": voisin_kernels::isa()?.to_string(),
        "batch": n,
        "note": device.note(),
    }))
}

fn mel(
    context: &Context,
    args: &BenchArgs,
    seconds: Duration,
) -> anyhow::Result<serde_json::Value> {
    let config = match args.arch {
        Architecture::OpenL3 => MelConfig::openl3(OpenL3Variant::Original),
        architecture => architecture.front_end(),
    };
    let front_end = MelFrontEnd::new(config)?;
    let config = front_end.config();
    let samples = noise(config.window_samples());
    let per_second = rate(seconds, || {
        // Several windows a thread, so that few threads are idle at the end.
        (0..context.threads() * 8).into_par_iter().for_each_init(
            || (front_end.scratch(), vec![0.0; config.cells()]),
            |(scratch, out), _| front_end.compute_into(&samples, scratch, out),
        );
        Ok((context.threads() * 8) as f64)
    })?;
    let window = config.window_samples() as f64 / f64::from(config.sample_rate());
    Ok(json!({
        "windows_per_second": per_second,
        "times_real_time": per_second * window,
        "threads": context.threads(),
        "isa": voisin_kernels::isa()?.to_string(),
    }))
}

fn decode(
    context: &Context,
    file: Option<&Path>,
    seconds: Duration,
) -> anyhow::Result<serde_json::Value> {
    // Clap cannot require it, as only this kind of measurement has a file.
    let file = file.context("bench decode needs a file: voisin bench decode --file song.mp3")?;
    let info = audio::probe(file)?;
    let times_real_time = rate(seconds, || {
        let (waveform, _) = audio::read_all(file, 48_000)?;
        Ok(waveform.seconds())
    })?;
    Ok(json!({
        "times_real_time": times_real_time,
        "codec": info.codec,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "threads": 1,
        "device": format!("CPU, {} threads at hand", context.threads()),
    }))
}

fn search(
    context: &Context,
    args: &BenchArgs,
    seconds: Duration,
) -> anyhow::Result<serde_json::Value> {
    const DIMENSION: usize = 512;
    const QUERIES: usize = 200;
    let n = args.tracks as usize;
    // Points around a few hundred centres, since music clusters, unlike white noise.
    let centres = noise(300 * DIMENSION);
    // Overlapping slices of one sequence of noise: new noise for a million rows would take longer
    // than the build.
    let jitter = noise((n + QUERIES) * DIMENSION / 8 + DIMENSION);
    let row = |i: usize| -> Vec<f32> {
        let centre = &centres[i * 7 % 300 * DIMENSION..][..DIMENSION];
        let noise = &jitter[i * DIMENSION / 8..][..DIMENSION];
        let mut row: Vec<f32> = centre.iter().zip(noise).map(|(c, n)| c + n).collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
        row
    };
    let vectors: Vec<f32> = (0..n).flat_map(row).collect();
    let vectors = ndarray::Array2::from_shape_vec((n, DIMENSION), vectors)?;
    let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
    let start = Instant::now();
    let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default())?;
    let build = start.elapsed().as_secs_f64();
    let queries: Vec<Vec<f32>> = (n..n + QUERIES).map(row).collect();
    let mut at = 0;
    // Sixteen at a time, since reading the clock would add to a query's time.
    let per_second = rate(seconds, || {
        for _ in 0..16 {
            index.search(&queries[at % QUERIES], 10, &SearchParams::default())?;
            at += 1;
        }
        Ok(16.0)
    })?;
    let stats = index.stats();
    Ok(json!({
        "queries_per_second": per_second,
        "tracks": n,
        "dimension": DIMENSION,
        "mode": stats.mode.name(),
        "build_seconds": build,
        "threads": 1,
        "build_threads": context.threads(),
        "isa": stats.isa,
    }))
}

/// Compares the library's own index with others.
fn index(context: &Context, args: &BenchArgs, seconds: Duration) -> anyhow::Result<Ending> {
    /// Fewer tracks are too few to search.
    const FEWEST: u64 = 20;
    let engine = context.open_engine()?;
    let tracks = engine.library().status()?.tracks;
    if tracks < FEWEST {
        anyhow::bail!(
            "the library has {tracks} tracks, expected {FEWEST} at least: add more music"
        );
    }
    let against: Vec<ComparedIndex> = args
        .against
        .iter()
        .map(|other| match other {
            Against::HnswRs => ComparedIndex::HnswRs,
            Against::Exact => ComparedIndex::Exact,
        })
        .collect();
    let compared = engine.compare_indexes(&against, seconds)?;
    if args.format == ReportFormat::Json {
        let one = |figures: &IndexFigures| {
            json!({
                "index": figures.index,
                "way": figures.way,
                "recall": figures.recall,
                "recall_in_batches": figures.recall_in_batches,
                "queries_per_second": figures.queries_per_second,
                "queries_per_second_in_batches": figures.queries_per_second_in_batches,
                "build_seconds": figures.build_seconds,
                "bytes": figures.bytes,
            })
        };
        render::print_json(&json!({
            "tracks": compared.tracks,
            "queries": compared.queries,
            "dimension": compared.dimension,
            "k": compared.k,
            "threads": context.threads(),
            "isa": voisin_kernels::isa()?.to_string(),
            "indexes": compared.indexes.iter().map(one).collect::<Vec<_>>(),
        }))?;
        return Ok(Ending::Fine);
    }
    let mut table = Table::new(&[
        ("index", Align::Left),
        ("recall", Align::Right),
        ("queries/s", Align::Right),
        ("in batches", Align::Right),
        ("built in", Align::Right),
        ("MB", Align::Right),
        ("way", Align::Left),
    ]);
    for figures in &compared.indexes {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        // The lower of the two.
        let recall = figures.recall.min(figures.recall_in_batches);
        table.row([
            figures.index.to_owned(),
            format!("{recall:.4}"),
            format!("{:.0}", figures.queries_per_second),
            format!("{:.0}", figures.queries_per_second_in_batches),
            or_dash(
                figures
                    .build_seconds
                    .map(|seconds| format!("{seconds:.2} s")),
            ),
            or_dash(
                figures
                    .bytes
                    .map(|bytes| format!("{:.1}", bytes as f64 / 1e6)),
            ),
            figures.way.clone(),
        ]);
    }
    table.print()?;
    context.console.note(&format!(
        "{} tracks of {} numbers, {} others as queries; recall of {} neighbours against double precision; seconds of CPU time",
        compared.tracks, compared.dimension, compared.queries, compared.k
    ));
    Ok(Ending::Fine)
}
