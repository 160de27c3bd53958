//! Messages on standard error, and a progress bar on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between lines if there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Writes a line to standard error; control characters, as in names of files, are replaced.
fn write_line(text: &str) {
    let harmless = text.replace(char::is_control, "\u{fffd}");
    // A closed standard error is no reason to stop.
    let _ = writeln!(io::stderr(), "{harmless}");
}

/// Writes a note, unless quiet.
pub(crate) fn note(quiet: bool, text: &str) {
    if !quiet {
        write_line(text);
    }
}

/// Writes a warning or an error.
pub(crate) fn report(text: &str) {
    write_line(&format!("voisin-train-encoder: {text}"));
}

/// Progress of long work: a bar on a terminal, occasional lines in a log.
pub(crate) struct ProgressLine {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: Instant,
}

impl ProgressLine {
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent} %  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(10_000).with_style(style)
        });
        Self {
            bar,
            quiet,
            last: Instant::now(),
        }
    }

    pub(crate) fn show(&mut self, share: f64, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position((share.clamp(0.0, 1.0) * 10_000.0) as u64);
            bar.set_message(text());
        } else if self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            note(self.quiet, &text());
        }
    }

    /// Writes a line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            // Otherwise the bar would be drawn over the line.
            Some(bar) => bar.suspend(|| note(self.quiet, text)),
            None => note(self.quiet, text),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
