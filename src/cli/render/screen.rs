//! The widths of the terminals that results and messages go to.

use console::Term;

/// Columns of the terminal that messages go to; `None` without a terminal.
pub(super) fn error_width() -> Option<usize> {
    columns(&Term::stderr())
}

/// Columns of the terminal that results go to: those of `COLUMNS`, else of the terminal; `None` if both are missing (a
/// pipe, or a terminal of width 0).
pub(crate) fn width() -> Option<usize> {
    let from_environment = std::env::var("COLUMNS").ok();
    from_environment
        .and_then(|columns| columns.trim().parse().ok())
        .filter(|&columns| columns > 0)
        .or_else(|| columns(&Term::stdout()))
}

fn columns(screen: &Term) -> Option<usize> {
    let (_, columns) = screen.is_term().then(|| screen.size_checked())??;
    // A terminal of unknown size reports 0.
    Some(usize::from(columns)).filter(|&columns| columns > 0)
}
