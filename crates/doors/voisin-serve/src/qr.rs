//! QR codes (ISO/IEC 18004) of addresses, for phones.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Width in modules of the quiet zone that the standard requires.
const QUIET: i32 = 4;

/// A code as a picture: its side in modules with the quiet zone, and the dark modules as the data of an SVG path.
///
/// `None` if the text is longer than a code can hold (2 953 bytes).
pub(super) fn picture(text: &str) -> Option<(u32, String)> {
    // Screens need little error correction: more would only make the modules smaller.
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|&x| code.get_module(x, y)) {
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    Some(((code.size() + 2 * QUIET) as u32, path))
}

/// A code for a terminal, two rows of modules a line. Light modules are drawn, since most terminals are dark; readers also
/// accept inverted codes.
///
/// `None` if the text is longer than a code can hold.
pub fn for_terminal(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    // Half of the quiet zone, since terminals have few rows.
    let all = -QUIET / 2..code.size() + QUIET / 2;
    let mut lines = String::new();
    for y in all.clone().step_by(2) {
        for x in all.clone() {
            // Modules outside of the code are light.
            let upper = !code.get_module(x, y);
            let lower = !code.get_module(x, y + 1);
            lines.push(match (upper, lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        lines.push('\n');
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_the_finder_patterns_in_three_corners() {
        // 29 modules (version 3) hold 53 bytes at the lowest level of correction.
        let (side, path) = picture("http://192.168.1.20:8766/#code=482193").unwrap();
        assert_eq!(side, 29 + 8);
        let has = |x: u32, y: u32| path.contains(&format!("M{x} {y}h1v1h-1z"));
        for (left, top) in [(4, 4), (4 + 22, 4), (4, 4 + 22)] {
            for i in 0..7 {
                assert!(
                    has(left + i, top) && has(left + i, top + 6),
                    "{left} {top} {i}"
                );
                assert!(
                    has(left, top + i) && has(left + 6, top + i),
                    "{left} {top} {i}"
                );
            }
            assert!(!has(left + 1, top + 1) && has(left + 3, top + 3));
        }
        assert!(!has(4 + 22, 4 + 22 + 1), "the fourth corner has none");
        assert_eq!(picture(&"a".repeat(3000)), None);
    }

    #[test]
    fn terminals_get_two_rows_a_line() {
        let lines = for_terminal("http://192.168.1.20:8766/#code=482193").unwrap();
        let rows: Vec<&str> = lines.lines().collect();
        assert_eq!(rows.len(), 17);
        assert!(
            rows.iter().all(|row| row.chars().count() == 29 + 4),
            "{lines}"
        );
        // White above, then the upper edge of two finder patterns.
        assert_eq!(rows[0], "█".repeat(33));
        assert!(rows[1].starts_with("██ ▄▄▄▄▄ █"), "{lines}");
    }
}
