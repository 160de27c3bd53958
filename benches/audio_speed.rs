//! Decoding speed of files, whole and in windows, and their samples.
//!
//! ```text
//! cargo run --release --example audio_speed -- FILE…          a line of figures per file
//! cargo run --release --example audio_speed -- --dump FILE    raw f32 samples at the native rate to stdout
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use voisin_audio::{AudioError, DecodePath};

const RATE: u32 = 48_000;
const WINDOWS: i64 = 24;
const RUNS: usize = 3;

fn main() {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let dump = arguments.next_if(|argument| argument == "--dump").is_some();
    for file in arguments {
        let path = Path::new(&file);
        let done = if dump {
            write_samples(path)
        } else {
            measure(path)
        };
        if let Err(error) = done {
            eprintln!("{error}");
        }
    }
}

fn write_samples(path: &Path) -> Result<(), AudioError> {
    let info = voisin_audio::probe(path)?;
    let (wave, report) = voisin_audio::read_all(path, info.sample_rate)?;
    eprintln!("{info:?}\n{report:?}");
    let bytes: Vec<u8> = wave
        .samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    std::io::stdout()
        .write_all(&bytes)
        .map_err(|source| AudioError::Io {
            path: path.to_owned(),
            source,
        })
}

/// CPU seconds of this thread on Linux, else wall-clock time. The kernel updates a running thread's
/// time once a tick, and when it yields.
fn clock() -> f64 {
    static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    std::thread::yield_now();
    let computed = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = computed.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(
        || EPOCH.elapsed().as_secs_f64(),
        |nanoseconds| nanoseconds * 1e-9,
    )
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(path: &Path) -> Result<(), AudioError> {
    let info = voisin_audio::probe(path)?;
    let length = voisin_audio::resampled_len(&info, RATE) as i64;
    let window = RATE as usize;
    let spread: Vec<i64> = (0..WINDOWS)
        .map(|i| (length - i64::from(RATE)).max(0) * i / (WINDOWS - 1))
        .collect();
    let every: Vec<i64> = (0..length).step_by(window).collect();
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..RUNS {
        let mut timed = |i: usize, work: &mut dyn FnMut() -> Result<(), AudioError>| {
            let start = clock();
            work()?;
            times[i].push(clock() - start);
            Ok::<(), AudioError>(())
        };
        let read = |rate, starts: &[i64], length, how| {
            let mut sum = 0.0;
            voisin_audio::read_windows_with(
                path,
                &info,
                rate,
                starts,
                length,
                how,
                &mut |_, samples| {
                    sum += samples[0];
                },
            )?;
            std::hint::black_box(sum);
            Ok(())
        };
        timed(0, &mut || voisin_audio::probe(path).map(drop))?;
        let native = info.sample_rate as usize;
        let all: Vec<i64> = (0..info.n_frames as i64).step_by(native).collect();
        timed(1, &mut || {
            read(info.sample_rate, &all, native, DecodePath::Full)
        })?;
        timed(2, &mut || read(RATE, &every, window, DecodePath::Full))?;
        timed(3, &mut || read(RATE, &spread, window, DecodePath::Full))?;
        timed(4, &mut || read(RATE, &spread, window, DecodePath::Windows))?;
    }
    let seconds = info.seconds();
    let [probe, decode, resampled, full, sparse] = times.map(median);
    println!(
        "{:5} {:9} {:6} Hz {:7.1} s: probe {:6.0} x, decode {:6.0} x, with resampling {:6.0} x, \
         {WINDOWS} windows {:.3} of a full decode ({:.1} ms)",
        info.container,
        info.codec,
        info.sample_rate,
        seconds,
        seconds / probe,
        seconds / decode,
        seconds / resampled,
        sparse / full,
        1e3 * sparse,
    );
    Ok(())
}
