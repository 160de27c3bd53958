//! A table that fits the terminal: wide columns of text are cut. Piped, cells are not cut.

use console::{measure_text_width, style};

use super::safe::one_line;
use super::{screen, wrapped};

/// The alignment of a column. Numbers are aligned right and never cut; text at the end of a row is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Longest cell in characters, piped too. JSON and CSV are not cut.
const LONGEST_CELL: usize = 300;
/// Widest column that a piped table pads to, so that one long name does not make every row as long.
const WIDEST_PADDING: usize = 60;
/// Least width of a column that is cut, and of text that is wrapped.
const NARROWEST: usize = 8;
const NARROWEST_WRAPPED: usize = 20;
const GAP: usize = 2;

pub(crate) struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let header = columns
            .iter()
            .map(|(name, align)| ((*name).to_owned(), *align))
            .collect();
        Self {
            header,
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// The same table, further to the right.
    pub(crate) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// Adds a row; cells are made safe for a terminal.
    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().zip(&self.header).map(|(text, _)| {
            let text = one_line(text.as_ref());
            // A tag with pages of text must not fill the screen or a log.
            cut_right(&text, LONGEST_CELL)
        });
        self.rows.push(cells.collect());
    }

    /// Prints the table, unless it has no rows.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let text = self.lines(screen::width());
        let (head, rows) = text.split_once('\n').unwrap_or((&text, ""));
        super::print(format!("{}\n{rows}", style(head).bold()))
    }

    /// - `width`: columns of the terminal, if it is one
    fn lines(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let names: Vec<String> = self.header.iter().map(|(name, _)| name.clone()).collect();
        let mut text = self.line(&names, &widths, width);
        for row in &self.rows {
            text.push('\n');
            text += &self.line(row, &widths, width);
        }
        text.push('\n');
        text
    }

    fn line(&self, cells: &[String], widths: &[usize], width: Option<usize>) -> String {
        let mut text = " ".repeat(self.indent);
        for (column, cell) in cells.iter().enumerate() {
            if self.is_wrapped(column) {
                let indent = measure_text_width(&text);
                let width = width.unwrap_or(usize::MAX);
                text += &wrapped(cell, width, indent, indent);
                break;
            }
            let cell = match width {
                Some(_) => cut_right(cell, widths[column]),
                None => cell.clone(),
            };
            let padding = " ".repeat(widths[column].saturating_sub(measure_text_width(&cell)));
            text += &match self.header[column].1 {
                Align::Left => format!("{cell}{padding}"),
                Align::Right => format!("{padding}{cell}"),
            };
            text += &" ".repeat(GAP);
        }
        let text = text.trim_end();
        // Numbers alone may be wider than a narrow terminal.
        match width {
            Some(width) => text
                .lines()
                .map(|line| cut_right(line, width))
                .collect::<Vec<_>>()
                .join("\n"),
            None => text.to_owned(),
        }
    }

    /// Whether a column is text at the end of a row.
    fn is_wrapped(&self, column: usize) -> bool {
        column + 1 == self.header.len() && self.header[column].1 == Align::Left
    }

    /// Widths of the columns; in a terminal the widest ones of text are narrowed until all fit.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let column = |column: usize| {
            // In columns of the terminal, not characters: 久 has two, a combining accent none.
            let cells = self.rows.iter().map(|row| measure_text_width(&row[column]));
            let head = measure_text_width(&self.header[column].0);
            let natural = cells.max().unwrap_or_default().max(head);
            if self.is_wrapped(column) {
                natural.min(NARROWEST_WRAPPED)
            } else {
                natural
            }
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(column).collect();
        let Some(width) = width else {
            return widths
                .into_iter()
                .map(|natural| natural.min(WIDEST_PADDING))
                .collect();
        };
        let gaps = self.indent + GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > width {
            let text = (0..widths.len()).filter(|&column| {
                self.header[column].1 == Align::Left && widths[column] > NARROWEST
            });
            let Some(widest) = text.max_by_key(|&column| (widths[column], column)) else {
                break;
            };
            // By one column at a time, so that columns of equal width are narrowed equally.
            widths[widest] -= 1;
        }
        widths
    }
}

/// The beginning of a text in `width` columns.
pub(crate) fn cut_right(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    // Measured at each character, as one may have two columns: the result may be one column short.
    for c in text.chars() {
        kept.push(c);
        if measure_text_width(&kept) >= width {
            kept.pop();
            break;
        }
    }
    kept + if width > 0 { "…" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("id", Align::Right),
            ("title", Align::Left),
            ("time", Align::Right),
        ]);
        table.row(["17", "A title of some length", "3:20"]);
        table.row(["3", "Another one, 久石 譲", "0:05"]);
        table
    }

    #[test]
    fn columns_of_text_are_cut_and_numbers_are_not() {
        assert_eq!(
            table().lines(Some(26)),
            "id  title             time\n\
             17  A title of some…  3:20\n \
             3  Another one, 久…  0:05\n"
        );
        assert!(table().lines(None).contains("A title of some length"));
    }

    #[test]
    fn text_at_the_end_is_wrapped() {
        let mut table = Table::new(&[("genre", Align::Left), ("found", Align::Left)]).indented(2);
        table.row(["Ambient", "one sentence of some length"]);
        assert_eq!(
            table.lines(Some(28)),
            "  genre    found\n  Ambient  one sentence of\n           some length\n"
        );
    }
}
