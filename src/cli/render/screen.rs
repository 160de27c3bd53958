//! The terminal: its width, and whether to use colours.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

/// Whether results are coloured.
pub(crate) fn is_coloured() -> bool {
    wants_colour(io::stdout().is_terminal(), |name| std::env::var_os(name))
}

/// Whether messages are coloured.
pub(super) fn is_error_coloured() -> bool {
    wants_colour(io::stderr().is_terminal(), |name| std::env::var_os(name))
}

/// Columns of the terminal that messages go to; `None` without a terminal.
pub(super) fn error_width() -> Option<usize> {
    let screen = console::Term::stderr();
    io::stderr()
        .is_terminal()
        .then(|| screen.size_checked())?
        .map(|(_, columns)| usize::from(columns))
        .filter(|&columns| columns > 0)
}

/// <https://no-color.org>, and the other variables that most tools read.
fn wants_colour(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    // "0" counts as unset for CLICOLOR_FORCE, but not for NO_COLOR, which by convention may have any
    // value.
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return false;
    }
    set("CLICOLOR_FORCE") || is_terminal && variable("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal that results go to: those of `COLUMNS`, else of the terminal; `None` if both are missing (a
/// pipe, or a terminal of width 0).
pub(crate) fn width() -> Option<usize> {
    let from_environment = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.trim().parse().ok());
    let from_terminal = || {
        let screen = console::Term::stdout();
        io::stdout()
            .is_terminal()
            .then(|| screen.size_checked())?
            .map(|(_, columns)| usize::from(columns))
    };
    from_environment
        // A terminal of unknown size reports 0.
        .filter(|&columns| columns > 0)
        .or_else(from_terminal)
        .filter(|&columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_variables() {
        for (is_terminal, name, value, expected) in [
            (true, "TERM", "xterm", true),
            (false, "TERM", "xterm", false),
            (true, "TERM", "dumb", false),
            (true, "NO_COLOR", "1", false),
            (true, "NO_COLOR", "", true),
            (false, "CLICOLOR_FORCE", "1", true),
            (false, "CLICOLOR_FORCE", "0", false),
        ] {
            let wants = wants_colour(is_terminal, |asked| (asked == name).then(|| value.into()));
            assert_eq!(wants, expected, "{name}={value}");
        }
    }
}
