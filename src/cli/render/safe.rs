//! Text from files, made harmless for where it is shown.

use std::borrow::Cow;

/// Replaces what a terminal would obey instead of show: control characters (escape sequences begin with one), and
/// the marks that reverse the direction of text.
pub(crate) fn terminal_safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect())
}

fn is_hostile(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Puts an apostrophe before text that a spreadsheet would take for a formula; numbers stay as they are.
pub(crate) fn spreadsheet_safe(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(terminal_safe("Sigur Rós"), "Sigur Rós");
        assert_eq!(terminal_safe("\u{1b}[2Jbye\u{7}"), "\u{fffd}[2Jbye\u{fffd}");
        assert_eq!(terminal_safe("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(terminal_safe("a\u{202e}gpj.exe"), "a\u{fffd}gpj.exe");
    }

    #[test]
    fn formulas_become_text() {
        assert_eq!(spreadsheet_safe("=HYPERLINK(\"http://x\")"), "'=HYPERLINK(\"http://x\")");
        assert_eq!(spreadsheet_safe("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(spreadsheet_safe("-0.25"), "-0.25");
        assert_eq!(spreadsheet_safe("-minus-"), "'-minus-");
    }
}
