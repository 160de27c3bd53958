//! Time and memory of each phase of a run, and the system on which it ran.

use std::path::Path;
use std::time::Instant;

use super::report::Cost;
use super::{LabError, csv_bytes, write};

/// Measures a phase.
pub struct Clock {
    start: Instant,
    processor: Option<f64>,
}

impl Clock {
    /// Starts measuring.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            processor: processor_seconds(),
        }
    }

    /// Wall-clock time, CPU time and peak memory since the start.
    pub fn cost(&self, phase: &str) -> Cost {
        let processor = self
            .processor
            .zip(processor_seconds())
            .map(|(before, now)| now - before);
        Cost {
            phase: phase.to_owned(),
            seconds: self.start.elapsed().as_secs_f64(),
            processor,
            memory: peak_kilobytes().map(|kilobytes| kilobytes / 1024.0),
        }
    }
}

/// CPU seconds of all threads so far, in hundredths; on Linux only.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the program's name, in brackets, may contain spaces and brackets
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    // fields 14 and 15: user and system time in ticks of 1/100 s
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

fn peak_kilobytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Writes the cost of each phase into a run's folder.
pub(super) fn write_cost(run: &Path, cost: &[Cost]) -> Result<(), LabError> {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let rows = cost.iter().map(|c| {
        [
            c.phase.clone(),
            format!("{:.2}", c.seconds),
            number(c.processor),
            number(c.memory),
        ]
    });
    let header = ["phase", "seconds", "processor_seconds", "memory_mb"].map(str::to_owned);
    write(&run.join("cost.csv"), csv_bytes(&header, b',', rows))
}

/// Program, system and processor, as TOML.
pub(super) fn environment() -> String {
    let isa = voisin_kernels::isa().map_or_else(|_| "unknown".to_owned(), |isa| format!("{isa:?}"));
    format!(
        "voisin = {:?}\nsystem = {:?}\nprocessor = {:?}\ninstructions = {isa:?}\nthreads = {}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        rayon::current_num_threads()
    )
}
