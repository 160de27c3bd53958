//! A table that fits the terminal: wide columns of text are cut first. Piped, cells are not cut.

use std::collections::HashSet;

use console::{measure_text_width, style};

use super::safe::one_line;
use super::{screen, wrapped};

/// The alignment of a column. Numbers are aligned right and never cut; the column called `path` is cut at the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Longest cell in characters, piped too. JSON and CSV are not cut.
const LONGEST_CELL: usize = 300;
/// Widest column that a piped table pads to, so that one long name does not make every row as long.
const WIDEST_PADDING: usize = 60;
/// Least width of a column that is cut.
const NARROWEST: usize = 8;
/// Columns that are left out, in this order, if the others would be too narrow to read; never the first column.
const LEFT_OUT: [&str; 9] = [
    "path", "licence", "LUFS", "key", "bpm", "time", "cohesion", "weight", "genre",
];
/// The column of sentences, which are wrapped instead of cut; it comes last.
const SENTENCES: &str = "found";
const READABLE: usize = 12;
const READABLE_PATH: usize = 16;
/// Blanks between two columns.
const GAP: usize = 2;

/// Rows of text below a header.
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
        super::print(self.lines(screen::width(), screen::is_coloured()))
    }

    /// The table as text.
    ///
    /// - `width`: columns of the terminal, if it is one
    fn lines(&self, width: Option<usize>, coloured: bool) -> String {
        let mut rows = self.rows.clone();
        let path = self.header.iter().position(|(name, _)| name == "path");
        // Only on a terminal: a script that reads the table needs whole paths.
        if let Some(path) = path.filter(|_| width.is_some()) {
            shorten_by_root(&mut rows, path);
        }
        let natural: Vec<usize> = (0..self.header.len())
            .map(|column| {
                // In columns of the terminal, not characters: 久 has two, a combining accent none.
                let cells = rows.iter().map(|row| measure_text_width(&row[column]));
                cells
                    .chain([measure_text_width(&self.header[column].0)])
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let widths: Vec<usize> = match width {
            Some(width) => self.fitted(&natural, width.saturating_sub(self.indent)),
            None => natural
                .iter()
                .map(|&natural| natural.min(WIDEST_PADDING))
                .collect(),
        };
        // The last column shown need not be padded.
        let shown: Vec<usize> = (0..widths.len())
            .filter(|&column| widths[column] > 0)
            .collect();
        let wraps = self.header.iter().any(|(name, _)| name == SENTENCES);
        let line = |cells: &[String]| {
            let mut text = " ".repeat(self.indent);
            for (i, &column) in shown.iter().enumerate() {
                let cell = match width {
                    Some(_) if Some(column) == path => cut_left(&cells[column], widths[column]),
                    Some(width) if self.header[column].0 == SENTENCES => {
                        let indent = measure_text_width(&text);
                        wrapped(&cells[column], width, indent, indent)
                    }
                    Some(_) => cut_right(&cells[column], widths[column]),
                    None => cells[column].clone(),
                };
                let padding = " ".repeat(widths[column].saturating_sub(measure_text_width(&cell)));
                let gap = if i + 1 < shown.len() { GAP } else { 0 };
                match self.header[column].1 {
                    Align::Left => text += &format!("{cell}{padding}{}", " ".repeat(gap)),
                    Align::Right => text += &format!("{padding}{cell}{}", " ".repeat(gap)),
                }
            }
            let text = text.trim_end();
            match width {
                Some(width) if !wraps => cut_right(text, width),
                _ => text.to_owned(),
            }
        };
        let names: Vec<String> = self.header.iter().map(|(name, _)| name.clone()).collect();
        let head = line(&names);
        let mut text = if coloured {
            style(head).bold().force_styling(true).to_string()
        } else {
            head
        };
        for row in &rows {
            text.push('\n');
            text += &line(row);
        }
        text.push('\n');
        text
    }

    /// Widths of the columns in a terminal of `width`; 0 for one that is left out.
    fn fitted(&self, natural: &[usize], width: usize) -> Vec<usize> {
        let mut kept = natural.to_vec();
        // One column after the other is dropped until the rest can be read; if nothing helps, all
        // are narrow.
        for name in LEFT_OUT {
            let widths = self.narrowed(&kept, width);
            let readable = |column: usize| {
                let least = if self.header[column].0 == "path" {
                    READABLE_PATH
                } else {
                    READABLE
                };
                self.header[column].1 == Align::Right || widths[column] >= least.min(kept[column])
            };
            if total(&widths) <= width && (0..widths.len()).all(readable) {
                return widths;
            }
            let column = self.header.iter().position(|(known, _)| known == name);
            if let Some(column) = column.filter(|&column| column > 0) {
                kept[column] = 0;
            }
        }
        self.narrowed(&kept, width)
    }

    /// Narrows the widest columns of text first.
    fn narrowed(&self, natural: &[usize], width: usize) -> Vec<usize> {
        let mut widths = natural.to_vec();
        while total(&widths) > width {
            let text = (0..widths.len())
                .filter(|&c| self.header[c].1 == Align::Left && widths[c] > NARROWEST);
            let Some(widest) = text.max_by_key(|&column| (widths[column], column)) else {
                break;
            };
            // By one column at a time, so that columns of equal width are narrowed equally.
            widths[widest] -= 1;
        }
        widths
    }
}

/// The width of a table with columns of these widths; 0 is a column that is left out.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|&&width| width > 0).count();
    widths.iter().sum::<usize>() + GAP * shown.saturating_sub(1)
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

/// The end of a text in `width` columns.
pub(crate) fn cut_left(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut start = text.len();
    for (at, _) in text.char_indices().rev() {
        if measure_text_width(&text[at..]) >= width {
            break;
        }
        start = at;
    }
    format!("{}{}", if width > 0 { "…" } else { "" }, &text[start..])
}

/// Leaves out the folder that all paths of a column have in common.
fn shorten_by_root(rows: &mut [Vec<String>], column: usize) {
    let folder = |path: &str| {
        path.rfind(std::path::is_separator)
            .map_or(0, |slash| slash + 1)
    };
    let Some(first) = rows.first().map(|row| row[column].clone()) else {
        return;
    };
    let mut root = &first[..folder(&first)];
    for row in rows.iter() {
        while !row[column].starts_with(root) {
            root = &root[..folder(root.trim_end_matches(std::path::is_separator))];
        }
    }
    // A single path keeps its folder.
    let distinct: HashSet<&String> = rows.iter().map(|row| &row[column]).collect();
    // Replacing "/" alone by "…" would save nothing.
    if root.len() > 1 && distinct.len() > 1 {
        let last = root.len() - 1;
        for row in rows {
            row[column] = format!("…{}", &row[column][last..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("id", Align::Right),
            ("similarity", Align::Right),
            ("title", Align::Left),
            ("path", Align::Left),
        ]);
        table.row([
            "17",
            "0.817",
            "A title of some length",
            "/home/me/music/classical/75.mp3",
        ]);
        table.row([
            "3",
            "0.5",
            "Another one, 久石 譲",
            "/home/me/music/pop/3.mp3",
        ]);
        table
    }

    #[test]
    fn a_wide_table_is_cut_in_text_columns_first() {
        assert_eq!(
            table().lines(Some(80), false),
            "id  similarity  title                   path\n\
             17       0.817  A title of some length  …/classical/75.mp3\n \
             3         0.5  Another one, 久石 譲    …/pop/3.mp3\n"
        );
        // A path keeps its end, a title its beginning, numbers everything.
        assert_eq!(
            table().lines(Some(52), false),
            "id  similarity  title              path\n\
             17       0.817  A title of some …  …classical/75.mp3\n \
             3         0.5  Another one, 久…   …/pop/3.mp3\n"
        );
        for width in 20..80 {
            for line in table().lines(Some(width), false).lines() {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
        }
        let narrow = table().lines(Some(40), false);
        assert!(
            !narrow.contains("path")
                && narrow.contains("0.817")
                && narrow.contains("A title of some length"),
            "{narrow}"
        );
    }

    #[test]
    fn a_narrow_table_keeps_names_and_wraps_sentences() {
        let mut table = Table::new(&[
            ("genre", Align::Left),
            ("cohesion", Align::Right),
            ("found", Align::Left),
        ]);
        table.row(["Ambient", "0.50", "one sentence of some length"]);
        assert_eq!(
            table.lines(Some(26), false),
            "genre    found\nAmbient  one sentence of\n         some length\n"
        );
    }

    #[test]
    fn a_piped_table_is_not_cut_and_padding_is_bounded() {
        let mut table = table();
        table.row(["4", "0.1", &"x".repeat(200), "/a.mp3"]);
        let text = table.lines(None, false);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(
            text.contains(&"x".repeat(200)) && text.contains("/home/me/music/classical/75.mp3")
        );
        assert!(lengths[1] < 120 && lengths[3] > 200, "{lengths:?}");
    }

    #[test]
    fn headers_are_bold_with_colours() {
        assert!(table().lines(None, true).starts_with("\u{1b}[1mid"));
        assert!(!table().lines(None, false).contains('\u{1b}'));
        assert!(
            table()
                .indented(2)
                .lines(None, false)
                .lines()
                .all(|line| line.starts_with("  "))
        );
    }
}
