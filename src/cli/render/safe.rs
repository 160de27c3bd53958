//! Text from files, sanitised for its output.

use std::borrow::Cow;
use std::path::Path;

/// Replaces characters that a terminal interprets instead of showing: control characters (escape sequences begin with
/// one), and the marks that reverse the direction of text.
pub(crate) fn terminal_safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| if is_hostile(c) { '\u{fffd}' } else { c })
            .collect(),
    )
}

/// A path for a table: exact (see [`voisin::table_path`]), and safe for a terminal.
pub(crate) fn table_path(path: &Path) -> String {
    voisin::table_path(path, |text| terminal_safe(text) == *text)
}

/// As [`terminal_safe`], but on one line: names of files may contain line breaks.
pub(crate) fn one_line(text: &str) -> String {
    terminal_safe(text).replace(['\n', '\u{2028}', '\u{2029}'], " ")
}

/// Writes characters that a terminal interprets as JSON's own escapes, which parsers read as the same text.
pub(crate) fn json_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // They only occur inside strings, where JSON itself escapes only those below the blank.
        if is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe += &format!("\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn is_hostile(c: char) -> bool {
    (c.is_control() && c != '\n')
        // Marks of direction, such as left-to-right overrides, with which a name can fake another
        // ending.
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
        assert_eq!(one_line("new\nline\u{1b}.mp3"), "new line\u{fffd}.mp3");
        assert_eq!(one_line("line\u{2028}separated"), "line separated");
        let text = "é \u{9b}31m\u{7f}\u{202e}\u{1b}\"\n";
        let json = json_safe(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(!json.chars().any(is_hostile), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
