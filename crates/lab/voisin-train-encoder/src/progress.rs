//! Lines on standard error, and a bar where somebody looks.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Writes a line to standard error; names of files may hold characters that a terminal would obey.
fn write_line(text: &str) {
    let harmless = text.replace(char::is_control, "\u{fffd}");
    // A closed standard error is no reason to stop.
    let _ = writeln!(io::stderr(), "{harmless}");
}

/// Writes a line besides the results.
pub(crate) fn note(quiet: bool, text: &str) {
    if !quiet {
        write_line(text);
    }
}

/// Writes a warning or an error.
pub(crate) fn report(text: &str) {
    write_line(&format!("voisin-train-encoder: {text}"));
}

/// How far a long piece of work is: a bar on a terminal, a line now and then in a log.
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

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            // The bar would be drawn over the line otherwise.
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
