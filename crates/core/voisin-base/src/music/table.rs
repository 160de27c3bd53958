//! Tables that users hand over, as spreadsheets and other programs write them.
//!
//! For: the text of a table in any encoding, and the mark that separates its cells. Not for: the cells, which the crate `csv`
//! takes apart.

use std::io;
use std::path::Path;

use super::encoding::{OldEncoding, lines, with_mark};
use super::regular_file;

/// Bytes of a table: FMA's largest has 260 MB.
const LARGEST: u64 = 1 << 30;

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableText {
    /// Lines end in `\n`; a first one that names the separator is empty.
    pub text: String,
    /// Between cells.
    pub separator: u8,
    /// The encoding of lines that are neither UTF-8 nor UTF-16, where there are such.
    pub old_encoding: Option<OldEncoding>,
}

impl TableText {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(&regular_file::read(path, LARGEST)?))
    }

    /// The table in these bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let plain = with_mark(bytes).or_else(|| std::str::from_utf8(bytes).ok().map(str::to_owned));
        let old_encoding = plain.is_none().then(|| OldEncoding::detect(lines(bytes)));
        let mut text = plain.unwrap_or_default();
        if let Some(encoding) = old_encoding {
            // Who puts a table together from several has lines in several encodings.
            text.extend(
                bytes
                    .split_inclusive(|&byte| byte == b'\n')
                    .map(|line| encoding.decode(line)),
            );
        }
        // The crate csv counts no line that ends in both.
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
            separator: named.unwrap_or_else(|| separator(&text)),
            text,
            old_encoding,
        }
    }
}

/// The separator of cells: whichever of comma, semicolon and tab is most frequent in the first line
/// outside quotes.
fn separator(text: &str) -> u8 {
    let mut quoted = false;
    // max_by_key returns the last of equals, so the comma wins a tie
    let mut counts = [(b'\t', 0), (b';', 0), (b',', 0)];
    for byte in text.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(known, _)| *known == byte)
                .for_each(|(_, count)| *count += 1),
        }
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_mark_outside_quotes_separates_cells() {
        assert_eq!(separator("a;b,c;d\n,,,,,"), b';');
        assert_eq!(separator("\"a;b;c\",d\n"), b',');
        assert_eq!(separator("a\tb"), b'\t');
        assert_eq!(separator("alone"), b',');
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
}
