//! Text of tables that others wrote.

use std::path::Path;

use super::DatasetError;
use voisin_base::regular_file;

/// Largest table: FMA's largest has 260 MB.
const LARGEST: u64 = 1 << 30;

/// The bytes of a table.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular_file::read(path, LARGEST).map_err(|source| DatasetError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The separator of cells: whichever of comma, semicolon and tab is most frequent in the first line
/// outside quotes.
pub(super) fn separator(text: &str) -> u8 {
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
}
