//! Progress of a long computation.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use super::render::Console;

/// Time between lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// A bar on a terminal, a line every 20 s in a log.
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    console: Console,
    last: Instant,
}

impl Meter {
    pub(crate) fn new(context: &Context) -> Self {
        let bar = context.console.shows_progress_bar().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent} %  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            // In ten-thousandths, since the share is known, but no total.
            ProgressBar::new(10_000).with_style(style)
        });
        Self {
            bar,
            console: context.console,
            last: Instant::now(),
        }
    }

    pub(crate) fn show(&mut self, share: f64, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position((share.clamp(0.0, 1.0) * 10_000.0) as u64);
            bar.set_message(text());
        } else if self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            self.console.note(&text());
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
