//! Parses users' tables, as spreadsheets and other programs write them.
//!
//! For: encoding, separator and cells of a table. Not for: their meaning.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use encoding_rs::WINDOWS_1252;

use crate::regular_file;

/// Most bytes of a table: FMA's largest has 260 MB.
const LARGEST: u64 = 1 << 30;

/// The header of a table and the rows below it that are not empty, all of as many cells, trimmed; each row with its line,
/// counted from 1.
#[derive(Debug)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<(u64, Vec<String>)>,
    pub separator: u8,
}

impl Table {
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = regular_file::read(path, LARGEST)?;
        Self::parse(&bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
    }

    /// From UTF-8, else Windows-1252. A row is a line.
    ///
    /// # Errors
    /// A file that is no text, a quote that is not closed on its line, and a row with more text than the header has cells, as
    /// a separator within a cell shifts the next ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.contains(&0) {
            let found = "bytes of zero, as in a workbook or UTF-16";
            return Err(format!(
                "expected text, found {found}: save it as CSV UTF-8"
            ));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_or_else(
            |_| WINDOWS_1252.decode_without_bom_handling(bytes).0,
            Cow::Borrowed,
        );
        let separator = separator(text.trim_start_matches(['\n', '\r']));
        let mut rows = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let cells = cells(text, separator)
                .ok_or_else(|| format!("line {line}: a quote is opened and never closed"))?;
            // Spreadsheets write rows of separators alone.
            if cells.iter().any(|cell| !cell.is_empty()) {
                rows.push((line, cells));
            }
        }
        let mut rows = rows.into_iter();
        let (_, header) = rows.next().unwrap_or_default();
        let mut rows: Vec<_> = rows.collect();
        for (line, cells) in &mut rows {
            let (expected, found) = (header.len(), cells.len());
            if cells.iter().skip(expected).any(|cell| !cell.is_empty()) {
                return Err(format!(
                    "line {line}: expected {expected} cells, as in the header, found {found}: put quotes around a cell \
                     that holds the separator"
                ));
            }
            // Short rows are common in tables from spreadsheets.
            cells.resize(expected, String::new());
        }
        Ok(Self {
            header,
            rows,
            separator: separator as u8,
        })
    }
}

/// The cells of a line; `None` if a quote is not closed.
fn cells(line: &str, separator: char) -> Option<Vec<String>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let mut cell = String::new();
        let mut before = "";
        // Two quotes are one quote in the cell.
        while let Some(quoted) = rest.strip_prefix('"') {
            let (inside, behind) = quoted.split_once('"')?;
            cell.extend([before, inside]);
            (before, rest) = ("\"", behind);
        }
        let (last, next) = rest
            .split_once(separator)
            .map_or((rest, None), |(last, next)| (last, Some(next)));
        cell.push_str(last);
        cells.push(cell.trim().to_owned());
        match next {
            Some(next) => rest = next,
            None => return Some(cells),
        }
    }
}

/// The separator of cells: whichever of comma, semicolon and tab is most frequent in the first line outside quotes.
fn separator(text: &str) -> char {
    // Every second part is within quotes.
    let plain = text
        .lines()
        .next()
        .unwrap_or_default()
        .split('"')
        .step_by(2);
    let plain: String = plain.collect();
    // It returns the last of equals, so the comma wins a tie.
    let most = ['\t', ';', ','].into_iter();
    most.max_by_key(|&mark| plain.matches(mark).count())
        .unwrap_or(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_spreadsheets_are_read_as_they_write_them() {
        let utf_8 = "\u{feff}a;\"b;,,,\"\r\n\r\n;\n1;\"x \"\"é\"\"\" (live)\n5\" disc".as_bytes();
        let western = b"a;b;\n\n\n1;x \"\xe9\" (live)\n5\" disc;;;";
        for bytes in [utf_8, western] {
            let table = Table::parse(bytes).unwrap();
            assert_eq!((table.separator, &*table.header[0]), (b';', "a"));
            let rows = table
                .rows
                .iter()
                .map(|(line, row)| (*line, row[..2].join("|")));
            let expected = [
                (4, "1|x \"é\" (live)".to_owned()),
                (5, "5\" disc|".to_owned()),
            ];
            assert_eq!(rows.collect::<Vec<_>>(), expected);
        }
        assert!(Table::parse(b"").unwrap().header.is_empty());
    }

    #[test]
    fn a_malformed_line_is_refused_with_its_number() {
        for (bytes, fault) in [
            (&b"\xff\xfea\0,\0b\0"[..], "save it as CSV UTF-8"),
            (
                b"a,b\nc,\"d\ne,\"f\"\n",
                "line 2: a quote is opened and never closed",
            ),
            (
                b"a,b\n1,2,3\n",
                "line 2: expected 2 cells, as in the header, found 3",
            ),
        ] {
            let error = Table::parse(bytes).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }
}
