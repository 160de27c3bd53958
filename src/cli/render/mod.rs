//! Output for people and programs: tables, JSON, CSV, playlists, paths. The only place that prints.
//!
//! Results go to standard output, everything else to standard error. Text that comes from files (names, tags) is
//! never trusted: control characters cannot reach a terminal, formulas cannot reach a spreadsheet.
//!
//! Not for: computation. The structures behind JSON are in `answers` if the server returns them too, else beside their
//! verb.

pub(crate) mod answers;
mod busy;
pub(crate) mod find;
pub(crate) mod list;
pub(crate) mod neighbours;
pub(crate) mod safe;
mod screen;
mod table;
pub(crate) mod track;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use console::{StyledObject, measure_text_width, style};

pub(crate) use busy::Busy;
pub(crate) use safe::{one_line, terminal_safe};
use table::cut_right;
pub(crate) use table::{Align, Table};

use voisin::EngineError;
use voisin::questions::read::Refused;
use voisin_base::output::OutputTarget;
pub(crate) use voisin_base::text::{count, count_with, grouped};
use voisin_base::text::{with_causes, without_error_numbers};
use voisin_library::scan::ScanProblem;

/// Prints messages on standard error, as far as --quiet and --verbose allow.
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

    /// Whether to draw progress bars, which only make sense on a terminal.
    pub(crate) fn shows_progress_bar(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Shows a spinner until the returned value is dropped; only on a terminal, and only after two seconds.
    pub(crate) fn busy(self, text: &str) -> Busy {
        Busy::new(text, self.shows_progress_bar())
    }

    /// Prints a message besides the results, on one line.
    pub(crate) fn note(self, text: &str) {
        self.say(text, true);
    }

    /// Prints a message with --verbose only.
    pub(crate) fn detail(self, text: &str) {
        self.say(text, false);
    }

    /// Prints a message, unless it `is_loud` with --verbose only.
    pub(crate) fn say(self, text: &str, is_loud: bool) {
        if self.verbose || is_loud && !self.quiet {
            write_message(None, &one_line(text));
        }
    }

    /// Warns of what a scan could not read.
    pub(crate) fn warn_of(self, problems: &[ScanProblem]) {
        for problem in problems {
            self.warn(&format!("{}: {}", problem.path.display(), problem.reason));
        }
    }

    /// Prints a message even with --quiet.
    pub(crate) fn warn(self, text: &str) {
        write_message(Some(style("voisin:").yellow()), &one_line(text));
    }
}

/// Writes a message, after the program's name in the colour of its severity; on a terminal lines are broken at blanks.
fn write_message(name: Option<StyledObject<&str>>, text: &str) {
    let head = name.map_or_else(String::new, |name| format!("{} ", name.bold().for_stderr()));
    let text = terminal_safe(&without_error_numbers(text)).into_owned();
    // Broken on a terminal only, not in a log.
    let text = screen::error_width().map_or(text.clone(), |width| {
        let mut column = measure_text_width(&head);
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

pub(crate) fn print_error(error: &anyhow::Error) {
    let refused = match error.downcast_ref() {
        Some(EngineError::Refused(refused)) => Some(refused),
        _ => error.downcast_ref::<Refused>(),
    };
    let text = refused.map_or_else(
        || with_causes(error.as_ref()),
        |Refused {
             field,
             expected,
             found,
         }| {
            // A query's field is an option here, except for positional arguments.
            let option = match field.as_str() {
                "" | "query" | "seeds" | "tracks" => String::new(),
                field => format!("--{}: ", field.replace('_', "-")),
            };
            format!("{option}expected {expected}, found {found}")
        },
    );
    write_message(Some(style("voisin:").red()), &text);
}

/// The reader of the results closed the pipe (`| head`): [`main`](super::main) ends quietly, like other tools.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(crate) struct ReaderGone;

/// The file that results are written to instead of standard output.
static ANSWER_FILE: OnceLock<OutputTarget> = OnceLock::new();

/// Redirects the results, which are printed in one piece, to a file.
pub(crate) fn answer_into(file: OutputTarget) {
    // A command sets it once.
    let _ = ANSWER_FILE.set(file);
}

/// Writes results to standard output, or to the file of [`answer_into`]; [`ReaderGone`] if standard output was closed.
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
        // Rust ignores SIGPIPE, so that a closed pipe is an error.
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

/// Writes text from files after a head; text wider than the terminal continues on the next lines, broken at blanks.
pub(crate) fn print_wrapped(head: &str, text: &str) -> anyhow::Result<()> {
    let width = screen::width().unwrap_or(usize::MAX);
    let indent = measure_text_width(head);
    let text = wrapped(&one_line(text), width, indent, indent);
    // Trimmed, since a head without text ends in blanks.
    print_line(format!("{head}{text}").trim_end())
}

/// Text that begins at column `first`, broken into lines of `width` columns, the later ones indented by `indent`.
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

/// Version of the structures in docs/serve.md, increased when a key changes its meaning or is removed.
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
    // Only to detect lists, since `flatten` works with objects alone; the value itself keeps its
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
            .map(|cell| terminal_safe(&voisin::spreadsheet_safe(cell)).into_owned());
        writer.write_record(cells)?;
    }
    print(writer.into_inner()?)
}

/// Writes paths and playlists as they are, byte for byte; on a terminal without control characters.
pub(crate) fn print_exact(bytes: &[u8]) -> anyhow::Result<()> {
    // Exact bytes for programs, which open the files; on a terminal they must not move the cursor.
    if io::stdout().is_terminal() && ANSWER_FILE.get().is_none() {
        return print(&*terminal_safe(&String::from_utf8_lossy(bytes)));
    }
    print(bytes)
}

/// Seconds as people write them: `3:07`, `1:02:45`.
pub(crate) fn clock(seconds: f64) -> String {
    let all = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
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

/// Writes a result to a file that the user named.
pub(crate) fn write(output: &OutputTarget, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    match busy::undisturbed(|| output.write(bytes)) {
        Err(error) if output.is_standard() && error.kind() == io::ErrorKind::BrokenPipe => {
            Err(ReaderGone.into())
        }
        written => Ok(written?),
    }
}

/// Prints one line about a file that the user named; on standard error if the results are on standard output.
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
