#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, reason = "an example that prints")]
//! The trainer by hand: `train_encoder prepare MUSIC CACHE [PASSES [CROPS]]`,
//! `train_encoder train CACHE RUN [KEY=VALUE …]`, `train_encoder export CHECKPOINT OUT NAME`.
//!
//! Keys: `width` (1, 2 or 4: the divisor), `windows`, `seconds` (time limit), `batch`, `rate`, `seed`, `from`
//! (checkpoint to grow), `validate` (windows between), `holdout` (share), `contrast`, `bce`, `cosine`, `style`,
//! `teacher` (NAME or NAME:WEIGHT, once per teacher).
//!
//! `prepare` also takes `teacher=MODEL` (once per teacher; the built-in one otherwise) and `grooves=DIR`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use voisin::train::encoder::{
    ExportOptions, PrepareOptions, Start, TrainOptions, export, prepare, train, widths,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare", music, cache, rest @ ..] => {
            let mut options = PrepareOptions::new(vec![PathBuf::from(music)], PathBuf::from(cache));
            let (pairs, rest): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.contains('='));
            for pair in &pairs {
                match pair.split_once('=') {
                    Some(("grooves", folder)) => options.grooves.push(folder.into()),
                    Some(("teacher", _)) => {}
                    _ => return Err(format!("unknown key in {pair}").into()),
                }
            }
            let teachers = pairs.iter().filter_map(|pair| pair.strip_prefix("teacher="));
            let teachers: Vec<_> = teachers.map(str::parse).collect::<std::result::Result<_, _>>()?;
            if !teachers.is_empty() {
                options.teachers = teachers;
            }
            if let Some(passes) = rest.first() {
                options.passes = 0..passes.parse()?;
            }
            if let Some(crops) = rest.get(1) {
                options.crops = crops.parse()?;
            }
            let clock = Instant::now();
            let prepared = prepare(&options, &|p| {
                if p.done % 20 == 0 {
                    let seconds = clock.elapsed().as_secs_f64();
                    println!("{}/{} tracks, {} crops, {seconds:.0} s", p.done, p.total, p.crops);
                }
                true
            })?;
            println!(
                "{} tracks, {} crops, {} present, {} got more teachers",
                prepared.tracks, prepared.crops, prepared.present, prepared.added
            );
            for (path, reason) in prepared.skipped {
                println!("skipped {}: {reason}", path.display());
            }
        }
        ["train", cache, out, pairs @ ..] => run(cache, out, pairs)?,
        ["export", checkpoint, out, name] => {
            let exported = export(&ExportOptions {
                checkpoint: checkpoint.into(),
                out: out.into(),
                name: (*name).to_owned(),
                licence: "CC0-1.0".to_owned(),
                provenance: "trained by the voisin project on free music from Debian's packages".to_owned(),
                tags_share: 0.0,
                frames: Vec::new(),
                corpus: None,
            })?;
            println!("{} ({} bytes of weights)", exported.path.display(), exported.bytes);
        }
        _ => return Err("expected prepare, train or export: see the head of the source".into()),
    }
    Ok(())
}

fn run(cache: &str, out: &str, pairs: &[&str]) -> Result<()> {
    let mut options = TrainOptions::new(cache.into(), out.into());
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or("expected KEY=VALUE")?;
        match key {
            "width" => options.widths = widths(value.parse()?)?,
            "windows" => options.windows = value.parse()?,
            "seconds" => options.time_limit = Some(Duration::from_secs_f64(value.parse()?)),
            "batch" => options.batch = value.parse()?,
            "rate" => options.learning_rate = value.parse()?,
            "seed" => options.seed = value.parse()?,
            "from" => options.start = Start::From(value.into()),
            "validate" => options.validate_every = value.parse()?,
            "holdout" => options.holdout = value.parse()?,
            "contrast" => options.losses.contrast = value.parse()?,
            "bce" => options.losses.tags_bce = value.parse()?,
            "cosine" => options.losses.penultimate_cosine = value.parse()?,
            "style" => options.losses.style = value.parse()?,
            "teacher" => {
                let (name, weight) = value.rsplit_once(':').unwrap_or((value, "1"));
                options.teachers.push((name.to_owned(), weight.parse()?));
            }
            "average" => options.average = value.parse()?,
            _ => return Err(format!("unknown key {key}").into()),
        }
    }
    let trained = train(&options, &mut |p| {
        if p.step % 10 == 0 {
            println!(
                "step {} windows {} ({:.1} %) loss {:.4} penultimate {:.4} tags {:.4} rate {:.2e} {:.2} windows/s",
                p.step,
                p.windows,
                100.0 * p.share,
                p.losses.total,
                p.losses.penultimate_mse,
                p.losses.tags_mse,
                p.learning_rate,
                p.rate
            );
        }
        if let Some(v) = p.validation {
            println!("{v:?}");
        }
        true
    })?;
    println!("finished {}: {:?}", trained.finished, trained.validation);
    println!("{:?}", trained.checkpoint.run);
    Ok(())
}
