//! The terminal: its width, and whether to use colours.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::ValueEnum;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Sets the value of `--color`, once.
pub(crate) fn set_colour(colour: Colour) {
    let _ = COLOUR.set(colour);
}

/// Whether results are coloured.
pub(crate) fn is_coloured() -> bool {
    let colour = COLOUR.get().copied().unwrap_or_default();
    wants_colour(colour, io::stdout().is_terminal(), |name| {
        std::env::var_os(name)
    })
}

/// Whether messages are coloured.
pub(super) fn is_error_coloured() -> bool {
    let colour = COLOUR.get().copied().unwrap_or_default();
    wants_colour(colour, io::stderr().is_terminal(), |name| {
        std::env::var_os(name)
    })
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
fn wants_colour(
    colour: Colour,
    is_terminal: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> bool {
    // "0" counts as unset for CLICOLOR_FORCE, but not for NO_COLOR, which by convention may have any
    // value.
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        Colour::Auto if set("CLICOLOR_FORCE") => true,
        Colour::Auto => is_terminal && variable("TERM").is_none_or(|term| term != "dumb"),
    }
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
    fn colours_follow_the_option_and_variables() {
        let wants = |colour, terminal, variables: &[(&str, &str)]| {
            wants_colour(colour, terminal, |name| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into())
            })
        };
        assert!(
            wants(Colour::Auto, true, &[("TERM", "xterm")]) && !wants(Colour::Auto, false, &[])
        );
        assert!(
            !wants(Colour::Auto, true, &[("TERM", "dumb")])
                && !wants(Colour::Auto, true, &[("NO_COLOR", "1")])
        );
        assert!(
            wants(Colour::Auto, true, &[("NO_COLOR", "")])
                && wants(Colour::Auto, false, &[("CLICOLOR_FORCE", "1")])
        );
        assert!(!wants(Colour::Auto, false, &[("CLICOLOR_FORCE", "0")]));
        assert!(
            wants(Colour::Always, false, &[("NO_COLOR", "1")])
                && !wants(Colour::Never, true, &[("CLICOLOR_FORCE", "1")])
        );
    }
}
