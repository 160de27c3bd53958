//! Parses users' tables, as spreadsheets and other programs write them.
//!
//! For: encoding, separator and cells of a table. Not for: their meaning.

use std::io;
use std::path::Path;

use crate::encoding::{OldEncoding, lines, with_mark};
use crate::regular_file;

/// Most bytes of a table: FMA's largest has 260 MB.
const LARGEST: u64 = 1 << 30;

/// A row: its first line, counted from 1, and its cells, trimmed.
pub type Row = (u64, Vec<String>);

/// A line, counted from 1, and its fault.
pub type TableFault = (u64, String);

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableText {
    /// Lines end in `\n`; a first one that names the separator is empty.
    pub text: String,
    pub separator: u8,
    /// The encoding of lines that are neither UTF-8 nor UTF-16, if there are any.
    pub old_encoding: Option<OldEncoding>,
}

impl TableText {
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = regular_file::read(path, LARGEST)?;
        if let Some(found) = no_text(&bytes) {
            let fault = format!("expected text, found {found}: save it as CSV UTF-8");
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(Self::parse(&bytes))
    }

    pub fn parse(bytes: &[u8]) -> Self {
        let plain = with_mark(bytes).or_else(|| std::str::from_utf8(bytes).ok().map(str::to_owned));
        let old_encoding = plain.is_none().then(|| OldEncoding::detect(lines(bytes)));
        let mut text = plain.unwrap_or_default();
        if let Some(encoding) = old_encoding {
            // A table joined from several may have lines in several encodings.
            text.extend(
                bytes
                    .split_inclusive(|&byte| byte == b'\n')
                    .map(|line| encoding.decode(line)),
            );
        }
        // The crate csv does not count lines that end with `\r\n`.
        if text.contains('\r') {
            text = text.replace("\r\n", "\n");
        }
        // Excel's own line; those below keep their numbers.
        let end = text.find(['\n', '\r']).unwrap_or(text.len());
        let named = match text[..end].trim_matches('"').as_bytes() {
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => Some(*separator),
            _ => None,
        };
        if named.is_some() {
            text.drain(..end);
        }
        Self {
            separator: named.unwrap_or_else(|| separator(text.trim_start_matches(['\n', '\r']))),
            text,
            old_encoding,
        }
    }

    /// The rows with a cell that is not empty; the first is the header, if there is one. Not by a CSV reader, which
    /// takes everything after an unclosed quote, up to the end of the file, as one cell.
    ///
    /// # Errors
    /// The line of a quote that is not closed, or closed on a later line within a cell, as by the next quote.
    pub fn rows(&self) -> Result<Vec<Row>, TableFault> {
        let ends = [char::from(self.separator), '\n', '\r'];
        let mut rows = Vec::new();
        let mut cells = Vec::new();
        let mut line = 1;
        let mut begins = 1;
        let mut rest = self.text.as_str();
        while !rest.is_empty() || !cells.is_empty() {
            let mut cell = String::new();
            if let Some(quoted) = rest.strip_prefix('"') {
                let unclosed = || (line, "a quote is opened and never closed".to_owned());
                rest = quoted;
                loop {
                    let (inside, behind) = rest.split_once('"').ok_or_else(unclosed)?;
                    cell.push_str(inside);
                    rest = behind;
                    // Two quotes are one quote in the cell.
                    let Some(more) = rest.strip_prefix('"') else {
                        break;
                    };
                    cell.push('"');
                    rest = more;
                }
                let breaks = cell.matches('\n').count() as u64;
                if breaks > 0 && !rest.is_empty() && !rest.starts_with(ends) {
                    return Err(unclosed());
                }
                line += breaks;
            }
            let end = rest.find(ends).unwrap_or(rest.len());
            cell.push_str(&rest[..end]);
            cells.push(cell.trim().to_owned());
            let mark = rest[end..].chars().next();
            // All separators are ASCII.
            rest = rest.get(end + 1..).unwrap_or_default();
            if mark == Some(ends[0]) {
                // One more cell, though the text may end here.
                continue;
            }
            line += u64::from(mark == Some('\n'));
            let row = std::mem::take(&mut cells);
            // Spreadsheets write rows of separators alone.
            if row.iter().any(|cell| !cell.is_empty()) {
                rows.push((begins, row));
            }
            begins = line;
        }
        Ok(rows)
    }

    /// The header and the rows below it, all of as many cells.
    ///
    /// # Errors
    /// As for [`rows`](Self::rows), and a row of another length, as a separator within a cell would shift the next
    /// ones.
    pub fn even_rows(&self) -> Result<(Vec<String>, Vec<Row>), TableFault> {
        let mut rows = self.rows()?.into_iter();
        let (_, header) = rows.next().unwrap_or_default();
        let rows: Vec<Row> = rows.collect();
        let expected = header.len();
        match rows.iter().find(|(_, cells)| cells.len() != expected) {
            Some((line, cells)) => {
                let found = cells.len();
                let fault = format!("expected {expected} cells, as in the header, found {found}");
                Err((*line, fault))
            }
            None => Ok((header, rows)),
        }
    }
}

/// The kind of file, if it is no text.
fn no_text(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => Some("an Excel workbook or another archive"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("an old Excel workbook"),
        // Its mark begins with that of UTF-16.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => None,
        _ => bytes
            .contains(&0)
            .then_some("bytes of zero, as in UTF-16 without a mark"),
    }
}

/// The separator of cells: whichever of comma, semicolon and tab is most frequent in the first line
/// outside quotes.
fn separator(text: &str) -> u8 {
    // Every second part is within quotes.
    let plain = text.split('"').step_by(2).flat_map(str::chars);
    let line: String = plain.take_while(|&char| char != '\n').collect();
    // It returns the last of equals, so the comma wins a tie.
    let most = [b'\t', b';', b','].into_iter();
    let most = most.max_by_key(|&byte| line.matches(char::from(byte)).count());
    most.unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_text_are_known() {
        assert!(no_text(b"PK\x03\x04...").is_some_and(|found| found.contains("Excel")));
        assert_eq!(no_text(b"\xff\xfe\0\0a\0\0\0"), Some("UTF-32"));
        assert!(no_text(b"a\0,\0b\0").is_some_and(|found| found.contains("UTF-16")));
        assert_eq!(no_text(b"a,b\n"), None);
    }

    #[test]
    fn tables_of_spreadsheets_are_read_as_they_write_them() {
        let utf_16 = |text: &str| {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            [0xff, 0xfe].into_iter().chain(units).collect::<Vec<u8>>()
        };
        for (bytes, separator, text) in [
            (b"a,b\n".to_vec(), b',', "a,b\n"),
            (b"\xef\xbb\xbfa;b".to_vec(), b';', "a;b"),
            (utf_16("a\té"), b'\t', "a\té"),
            (b"sep=;\r\na;b,c,d".to_vec(), b';', "\na;b,c,d"),
            (utf_16("\"sep=|\"\na|b"), b'|', "\na|b"),
            (
                b"a;b\nJazz;\xc3\xa9t\xc3\xa9\n\x80;\xe9t\xe9".to_vec(),
                b';',
                "a;b\nJazz;été\n€;été",
            ),
            (b"".to_vec(), b',', ""),
        ] {
            let found = TableText::parse(&bytes);
            assert_eq!((found.separator, &*found.text), (separator, text));
            assert_eq!(found.old_encoding.is_some(), bytes.contains(&0x80));
        }
    }

    #[test]
    fn rows_have_the_lines_that_they_begin_on() {
        let rows = |text: &str| -> Result<Vec<String>, TableFault> {
            let rows = TableText::parse(text.as_bytes()).rows()?;
            let shown = rows
                .iter()
                .map(|(line, row)| format!("{line}:{}", row.join("|")));
            Ok(shown.collect())
        };
        let expected = |rows: &[&str]| -> Result<Vec<String>, TableFault> {
            Ok(rows.iter().map(|&row| row.to_owned()).collect())
        };
        assert_eq!(
            rows("\n\r\na;b\n\n; ;\n\"x\n\"\"y\"\"\"; z\nc;"),
            expected(&["3:a|b", "6:x\n\"y\"|z", "8:c|"])
        );
        assert_eq!(
            rows("sep=;\r\na;\"b\" (live)\n;5\" disc\n"),
            expected(&["2:a|b (live)", "3:|5\" disc"])
        );
        assert_eq!(rows("a\rb"), expected(&["1:a", "1:b"]));
        assert_eq!(rows(""), expected(&[]));
        let unclosed = |line| -> Result<Vec<String>, TableFault> {
            Err((line, "a quote is opened and never closed".to_owned()))
        };
        assert_eq!(rows("a,b\nc,\"d\ne,f\n"), unclosed(2));
        assert_eq!(rows("a,b\nc,\"d\ne,\"f\"\n"), unclosed(2));
        let even = TableText::parse(b"a,b\n1,2\n,,\n").even_rows().unwrap();
        assert_eq!((even.0.len(), even.1.len()), (2, 1));
        let error = TableText::parse(b"a,b\n1,2,3\n").even_rows().unwrap_err();
        assert_eq!(
            (error.0, &*error.1),
            (2, "expected 2 cells, as in the header, found 3")
        );
    }
}
