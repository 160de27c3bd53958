//! A table that fits the terminal; plain, one row a line, when piped.

use std::io::{self, IsTerminal as _};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Row, presets};

use super::safe::terminal_safe;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Characters of a cell at most: one long name must not make every row of a piped table as long. JSON and CSV have
/// everything.
const LONGEST_CELL: usize = 300;

/// Rows of text below a header.
pub(crate) struct Table {
    inner: comfy_table::Table,
    alignments: Vec<Align>,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_truncation_indicator("…");
        if io::stdout().is_terminal() {
            inner.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let alignments: Vec<Align> = columns.iter().map(|(_, align)| *align).collect();
        let coloured =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let header = columns.iter().map(|(name, align)| {
            let cell = Cell::new(name).set_alignment(alignment(*align));
            if coloured { cell.add_attribute(Attribute::Bold) } else { cell }
        });
        inner.set_header(header.collect::<Vec<_>>());
        Self { inner, alignments }
    }

    /// Adds a row; cells are made safe for a terminal and cut rather than wrapped.
    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().zip(&self.alignments).map(|(text, align)| {
            let mut text = terminal_safe(text.as_ref()).replace('\n', " ");
            if let Some((end, _)) = text.char_indices().nth(LONGEST_CELL) {
                text.truncate(end);
                text.push('…');
            }
            Cell::new(text).set_alignment(alignment(*align))
        });
        let mut row = Row::from(cells.collect::<Vec<_>>());
        row.max_height(1);
        self.inner.add_row(row);
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        // Trailing blanks serve nobody, least of all a diff.
        let text: String = self.inner.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        super::print(text)
    }
}

fn alignment(align: Align) -> CellAlignment {
    match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    }
}
