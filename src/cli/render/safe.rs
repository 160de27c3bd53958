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
}
