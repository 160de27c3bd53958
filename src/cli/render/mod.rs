//! Output for people and programs: tables, JSON, CSV, playlists, paths. The only place that prints.
//!
//! Results go to standard output, everything else to standard error. Text that comes from files (names, tags) is
//! never trusted: control characters cannot reach a terminal, formulas cannot reach a spreadsheet.
//!
//! Not for: finding anything out. What is shown was handed over as it is; the structures behind JSON are in `answers`
//! where the server gives them too, and beside their verb where it does not.

pub(crate) mod answers;
pub(crate) mod busy;
pub(crate) mod find;
pub(crate) mod kinship;
pub(crate) mod list;
pub(crate) mod neighbours;
mod remedy;
pub(crate) mod safe;
pub(crate) mod screen;
mod table;
pub(crate) mod template;
pub(crate) mod track;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{OnceLock, PoisonError, mpsc};
use std::time::Duration;

use console::measure_text_width;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) use remedy::{advised, advised_news, with_remedy};
pub(crate) use safe::{one_line, terminal_safe};
pub(crate) use table::{Align, Table};
use table::{cut_left, cut_right};

use super::interrupt;

use voisin_base::output::{OutputError, OutputTarget};
use voisin_base::text::without_error_numbers;
pub(crate) use voisin_base::text::{count, count_with, grouped};
use voisin_questions::QuestionError;
use voisin_questions::read::Refused;

/// Where messages go, and how many of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    quiet: bool,
    verbose: bool,
}

impl Console {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Progress bars only make sense for eyes.
    pub(crate) fn shows_progress_bar(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Shows that something takes its time, until what it returns is dropped; only to eyes, and not for what is done in
    /// two seconds.
    pub(crate) fn busy(self, text: &str) -> Busy {
        let mut shown_now = busy::BAR.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever works inside of something that shows already says what it is.
        if let Some(outer) = shown_now.as_ref() {
            outer.set_message(text.to_owned());
            return Busy { shown: None };
        }
        // Nothing is drawn until two seconds have gone.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let is_shown = self.shows_progress_bar();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        // Nothing is sent: that the sender is gone ends the thread, at once and also after a panic.
        let (stop, stopped) = mpsc::channel::<()>();
        let shown = bar.clone();
        let is_still_busy = move |milliseconds| {
            let wait = Duration::from_millis(milliseconds);
            stopped.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout)
        };
        std::thread::spawn(move || {
            if is_shown && is_still_busy(2000) {
                // Where that cannot be, Ctrl-C leaves the line as it is.
                let _ = interrupt::listen();
                shown.set_draw_target(ProgressDrawTarget::stderr());
                while is_still_busy(200) {
                    shown.tick();
                }
            }
        });
        // From here on whatever is printed makes room for it, also before it is drawn.
        *shown_now = Some(bar.clone());
        Busy {
            shown: Some((bar, stop)),
        }
    }

    /// Says something besides the results, on one line.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            say(&one_line(text));
        }
    }

    /// Says something that only --verbose asks for.
    pub(crate) fn detail(self, text: &str) {
        if self.verbose {
            say(&one_line(text));
        }
    }

    /// Says something that must be heard.
    pub(crate) fn warn(self, text: &str) {
        say_marked(&one_line(text), Severity::Warning);
    }
}

/// Something that takes its time.
pub(crate) struct Busy {
    /// With what ends the spinner's thread when it is dropped.
    shown: Option<(ProgressBar, mpsc::Sender<()>)>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.shown {
            // Cleared before it is forgotten, or a line printed between the two would run into it.
            bar.finish_and_clear();
            *busy::BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

fn say(text: &str) {
    say_behind("", text);
}

/// How bad a message is, which its colour shows.
#[derive(Clone, Copy)]
enum Severity {
    Warning,
    Error,
}

/// A message that the program's name stands before.
fn say_marked(text: &str, severity: Severity) {
    let name = console::style("voisin:").bold();
    let name = match severity {
        Severity::Warning => name.yellow(),
        Severity::Error => name.red(),
    };
    say_behind(
        &if screen::is_error_coloured() {
            format!("{} ", name.force_styling(true))
        } else {
            "voisin: ".to_owned()
        },
        text,
    );
}

/// Writes a message behind a head that is safe already; on a terminal lines are broken at blanks.
fn say_behind(head: &str, text: &str) {
    let text = terminal_safe(&without_error_numbers(text)).into_owned();
    // Broken for a terminal only: a log keeps its lines whole.
    let text = screen::error_width().map_or(text.clone(), |width| {
        let head = measure_text_width(head);
        let mut column = head;
        let lines = text.split('\n').map(|line| {
            let line = wrapped(line, width, column, 0);
            column = 0;
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    // A closed standard error is no reason to stop.
    let _ = busy::undisturbed(|| writeln!(io::stderr().lock(), "{head}{text}"));
}

/// Prints an error with its causes, each once, on one line.
pub(crate) fn print_error(error: &anyhow::Error) {
    let question_error = error.downcast_ref();
    let refused = match question_error {
        Some(QuestionError::Refused(refused)) => Some(refused),
        _ => error.downcast_ref::<Refused>(),
    };
    let text = match refused {
        // A question's field is an option here, but for positional arguments.
        Some(Refused {
            field,
            expected,
            found,
        }) if !["", "seeds", "tracks"].contains(&field.as_str()) => {
            format!(
                "--{}: expected {expected}, found {found}",
                field.replace('_', "-")
            )
        }
        Some(Refused {
            expected, found, ..
        }) => format!("expected {expected}, found {found}"),
        _ => advised(error.as_ref()),
    };
    say_marked(&text, Severity::Error);
}

/// Prints what is wrong with the arguments.
pub(crate) fn report_mistake(text: &str) {
    say_marked(text, Severity::Error);
}

/// Whoever read the results went away (`| head`): [`main`](super::main) ends quietly, as other tools do.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub(crate) struct ReaderGone;

/// The file that takes the answer in place of standard output.
static ANSWER_FILE: OnceLock<OutputTarget> = OnceLock::new();

/// Sends the answer, which is printed in one piece, to a file that the user named.
pub(crate) fn answer_into(file: OutputTarget) {
    // A command answers once.
    let _ = ANSWER_FILE.set(file);
}

/// Writes results to standard output, or to the file of [`answer_into`]; [`ReaderGone`] where it is closed.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    if let Some(file) = ANSWER_FILE.get() {
        return write(file, bytes);
    }
    let written = busy::undisturbed(|| {
        let mut out = io::stdout().lock();
        out.write_all(bytes.as_ref()).and_then(|()| out.flush())
    });
    match written {
        Ok(()) => Ok(()),
        // Rust ignores SIGPIPE, so that a closed pipe comes as an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(error.into()),
    }
}

/// Writes one line of results; text from files must have been made safe.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    print(format!("{text}\n"))
}

/// Writes one line of text from files, cut to the width of the terminal.
pub(crate) fn print_fitted(text: &str) -> anyhow::Result<()> {
    let text = one_line(text);
    print_line(&screen::width().map_or_else(|| text.clone(), |width| cut_right(&text, width)))
}

/// Writes text from files behind a head; what is wider than the terminal goes on below, broken at blanks.
pub(crate) fn print_wrapped(head: &str, text: &str) -> anyhow::Result<()> {
    let width = screen::width().unwrap_or(usize::MAX);
    let indent = measure_text_width(head);
    let text = wrapped(&one_line(text), width, indent, indent);
    // Trimmed: a head without text behind it would end in blanks.
    print_line(format!("{head}{text}").trim_end())
}

/// Text that begins at column `first`, on as many lines as `width` columns ask for, the later ones from `indent` on.
fn wrapped(text: &str, width: usize, first: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = first;
    let mut is_first = true;
    for word in text.split(' ') {
        let length = measure_text_width(word);
        if !is_first && column.saturating_add(1 + length) > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if !is_first {
            lines.push(' ');
            column += 1;
        }
        is_first = false;
        lines.push_str(word);
        column += length;
    }
    lines
}

/// A path that leaves so many columns of the terminal to what stands beside it, but is never cut to nothing.
pub(crate) fn fitted_path(path: &str, beside: usize) -> String {
    // Enough for a file's name and something of its folder.
    const LEAST: usize = 24;
    let path = one_line(path);
    screen::width().map_or_else(
        || path.clone(),
        |width| cut_left(&path, width.saturating_sub(beside).max(LEAST)),
    )
}

/// Writes a path on a line of its own, cut at the left to the width of the terminal.
pub(crate) fn print_fitted_path(indent: &str, path: &str) -> anyhow::Result<()> {
    print_line(&format!("{indent}{}", fitted_path(path, indent.len())))
}

/// Version of the shapes that docs/json.md describes; it grows when a key changes its meaning or goes.
const JSON_VERSION: u32 = 1;

/// An answer that is an object: its own keys, after the version.
#[derive(serde::Serialize)]
struct VersionedAnswer<'a, T> {
    version: u32,
    #[serde(flatten)]
    answer: &'a T,
}

/// An answer that is a list.
#[derive(serde::Serialize)]
struct VersionedList<'a, T> {
    version: u32,
    items: &'a T,
}

/// Writes an answer as indented JSON: always an object that begins with its version; a list is in `items`.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    let version = JSON_VERSION;
    // Only to see its kind: `flatten` works with objects alone, and the value itself keeps its
    // order of keys.
    let text = if serde_json::to_value(value)?.is_array() {
        serde_json::to_string_pretty(&VersionedList {
            version,
            items: value,
        })?
    } else {
        serde_json::to_string_pretty(&VersionedAnswer {
            version,
            answer: value,
        })?
    };
    let mut text = safe::json_safe(&text);
    text.push('\n');
    print(text)
}

/// Writes rows as CSV with a header; text cells are made safe for spreadsheets and terminals.
pub(crate) fn print_csv<R: AsRef<[String]>>(
    header: impl IntoIterator<Item: AsRef<[u8]>>,
    rows: impl IntoIterator<Item = R>,
) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        let cells = row
            .as_ref()
            .iter()
            .map(|cell| terminal_safe(&voisin_engine::spreadsheet_safe(cell)).into_owned());
        writer.write_record(cells)?;
    }
    print(writer.into_inner()?)
}

/// Writes paths as they are, byte for byte, each followed by a newline or NUL; on a terminal without what it would
/// obey.
pub(crate) fn print_paths<'a>(
    paths: impl IntoIterator<Item = &'a [u8]>,
    null: bool,
) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    // Bytes for programs, which open the files; what eyes see must not move the cursor.
    let shown = io::stdout().is_terminal() && !null;
    for path in paths {
        if shown {
            bytes.extend_from_slice(
                terminal_safe(&String::from_utf8_lossy(path))
                    // One path a line, even if its name has a line end.
                    .replace('\n', "\u{fffd}")
                    .as_bytes(),
            );
        } else {
            bytes.extend_from_slice(path);
        }
        bytes.push(if null { 0 } else { b'\n' });
    }
    print(bytes)
}

/// Seconds as people write them: `3:07`, `1:02:45`.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let hours = seconds / 3600;
    let minutes = seconds / 60 % 60;
    let seconds = seconds % 60;
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// How long ago a time in seconds since 1970 UTC is: `today`, `3 days ago`.
pub(crate) fn age(at: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(at, |now| now.as_secs());
    match now.saturating_sub(at) / 86_400 {
        0 => "today".to_owned(),
        days => format!("{} ago", count(days, "day")),
    }
}

/// Writes a result to a place that the user named.
pub(crate) fn write(output: &OutputTarget, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    match busy::undisturbed(|| output.write(bytes)) {
        Err(OutputError::Io { source, .. })
            if output.is_standard() && source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Err(ReaderGone.into())
        }
        written => Ok(written?),
    }
}

/// Writes one line on what is in a place that the user named, beside the results where these are in standard output.
pub(crate) fn print_place(
    console: Console,
    output: &OutputTarget,
    text: &str,
) -> anyhow::Result<()> {
    if output.is_standard() {
        console.note(text);
        return Ok(());
    }
    print_line(&terminal_safe(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_counts_read_as_people_write_them() {
        assert_eq!(clock(59.4), "0:59");
        assert_eq!(clock(59.6), "1:00");
        assert_eq!(clock(3765.0), "1:02:45");
        assert_eq!(clock(f64::NAN), "0:00");
        assert_eq!(count(1, "track"), "1 track");
        assert_eq!(count(0, "track"), "0 tracks");
        assert_eq!(count(1_234_567, "track"), "1 234 567 tracks");
        assert_eq!(count_with(1, "copy", "copies"), "1 copy");
        assert_eq!(count_with(1000, "copy", "copies"), "1 000 copies");
    }

    #[test]
    fn long_text_continues_below_its_line() {
        let text = "instrumental 97 %, jazz 93 %, easy listening 89 %";
        assert_eq!(wrapped(text, usize::MAX, 16, 16), text);
        let indent = " ".repeat(16);
        let lines = format!("instrumental 97 %,\n{indent}jazz 93 %, easy\n{indent}listening 89 %");
        assert_eq!(wrapped(text, 36, 16, 16), lines);
        assert_eq!(
            wrapped("unbroken words", 3, 16, 16),
            format!("unbroken\n{indent}words"),
            "never empty lines"
        );
    }
}
