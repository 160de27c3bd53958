//! Text of tables that others wrote.

use std::path::Path;

use super::DatasetError;
use crate::base::regular_file;

/// Largest table: FMA's largest has 260 MB.
const LARGEST: u64 = 1 << 30;

/// The bytes of a table.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular_file::read(path, LARGEST).map_err(|source| DatasetError::Io { path: path.to_owned(), source })
}

/// Text in UTF-8, with or without its mark, else in Windows-1252; and whether it was the latter.
pub(super) fn decode(bytes: &[u8]) -> (String, bool) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (bytes.iter().map(|&byte| western(byte)).collect(), true),
    }
}

/// A character of Windows-1252; the five bytes that it leaves out are those of Latin-1.
fn western(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// What separates cells: whichever of comma, semicolon and tab is most frequent in the first line outside quotes.
pub(super) fn separator(text: &str) -> u8 {
    let mut quoted = false;
    let mut counts = [(b'\t', 0), (b';', 0), (b',', 0)];
    for byte in text.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(known, _)| *known == byte).for_each(|(_, count)| *count += 1),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(b',', |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_and_separators() {
        assert_eq!(decode(b"\xef\xbb\xbftitre"), ("titre".to_owned(), false));
        assert_eq!(decode(b"caf\xe9 \x80\x9c"), ("café €œ".to_owned(), true));
        assert_eq!(separator("a;b,c;d\n,,,,,"), b';');
        assert_eq!(separator("\"a;b;c\",d\n"), b',');
        assert_eq!(separator("a\tb"), b'\t');
        assert_eq!(separator("alone"), b',');
    }
}
