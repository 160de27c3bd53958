//! Folding text for comparison; formatting errors and counts; escaping XML. Folded texts are stored, words in libraries
//! and keys in genre models: they must not change.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Most bytes of one text of a tag, from any source.
pub const LONGEST_TEXT: usize = 1 << 20;

/// The words of `text`, one space apart: `Björk & Cie` → `bjork cie`. Text without letters and digits is only trimmed
/// and lowered, so that the band `!!!` is found.
pub fn fold(text: &str) -> String {
    folded(text, is_combining_mark)
}

fn folded(text: &str, is_dropped: fn(char) -> bool) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut before = [' '; 2];
    let mut add = |c: char| {
        let is_initial = !before[0].is_alphanumeric() && before[1].is_alphabetic();
        before = [before[1], c];
        // Apostrophes and the dots of initials join: "don't" and "dont", "M.I.A." and "MIA" are one word.
        if matches!(c, '\'' | '\u{2019}' | '\u{2bc}' | '`') || c == '.' && is_initial {
            return;
        }
        match plain(c) {
            Some(letters) => folded.push_str(letters),
            None if c.is_alphanumeric() || is_combining_mark(c) => folded.push(c),
            // Anything else is one blank, however long the run.
            None if !folded.is_empty() && !folded.ends_with(' ') => folded.push(' '),
            None => {}
        }
    };
    if text.is_ascii() {
        // Most names need no decomposition.
        text.chars().for_each(|c| add(c.to_ascii_lowercase()));
    } else {
        // Decomposes letters and accents, and full-width letters.
        text.nfkd()
            .filter(|&c| !is_dropped(c))
            .flat_map(char::to_lowercase)
            .for_each(add);
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() {
        clean(text).to_lowercase()
    } else {
        folded
    }
}

/// The letters and digits of `text` without spaces, `&` and `+` read as "and": `Drum & Bass` → `drumandbass`. Only Latin
/// letters lose their accents; marks of other scripts distinguish words and stay.
pub fn key(text: &str) -> String {
    let is_accent = |c: char| matches!(c, '\u{300}'..='\u{36f}');
    let words = folded(&text.replace(['&', '+'], " and "), is_accent);
    words.replace(' ', "").nfc().collect()
}

/// The `names` spelt most like `wanted`, which may be misspelt: at most three, the most similar first.
pub fn spelt_alike<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const ALIKE: f64 = 0.8;
    /// Longer texts (bytes) are not compared, as the time is the product of both lengths.
    const LONGEST: usize = 1000;
    let wanted = fold(wanted);
    let likeness = |name: &str| {
        let name = fold(name);
        let whole = strsim::jaro_winkler(&wanted, &name);
        // A word of a name may match as well as all of it, but short words match too often.
        let words = name.split(' ').filter(|word| word.chars().count() >= 4);
        words
            .map(|word| 0.95 * strsim::jaro_winkler(&wanted, word))
            .fold(whole, f64::max)
    };
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .filter(|name| name.len().max(wanted.len()) <= LONGEST)
        .map(|name| (likeness(name), name))
        .collect();
    near.retain(|(likeness, _)| *likeness >= ALIKE);
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    // Equal names are neighbours: they have the same likeness, and the sort then goes by name.
    near.dedup_by_key(|(_, name)| *name);
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// `did you mean A or B?`, or nothing.
pub fn did_you_mean(suggestions: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = suggestions.iter().map(AsRef::as_ref).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("did you mean {}? ", names.join(" or "))
}

/// Trims, drops control characters, and makes every run of white space one space.
pub fn clean(text: &str) -> String {
    let text: String = text
        .nfc()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `1 track`, `2 tracks`, `12 345 tracks`.
pub fn count(n: u64, noun: &str) -> String {
    count_with(n, noun, &format!("{noun}s"))
}

/// As [`count`], for a noun with an irregular plural: `1 copy`, `2 copies`.
pub fn count_with(n: u64, one: &str, several: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { several })
}

/// A number with its digits in groups of three.
pub fn grouped(n: u64) -> String {
    match n {
        ..1000 => n.to_string(),
        _ => format!("{} {:03}", grouped(n / 1000), n % 1000),
    }
}

/// A number of bytes: `4.2 MB`, `289.2 GB`.
pub fn size(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        small if small < 1000.0 => format!("{small:.1} MB"),
        large => format!("{:.1} GB", large / 1000.0),
    }
}

/// Without the numbers after the system's messages: `No such file or directory (os error 2)`.
pub fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once(')').map_or(part, |(_, rest)| rest)
    })
}

/// An error with its causes, each once: `PATH: permission denied`.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Errors of some crates repeat their cause in their own text.
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    without_error_numbers(&text)
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Latin letters, in lower case, without a decomposition in Unicode.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ı' => "i",
        'ħ' => "h",
        _ => return None,
    })
}

/// Escapes text for XML 1.0 and HTML, between tags and in attributes; control characters become references, so that
/// parsers keep them and terminals ignore them. Characters that XML forbids are left out.
pub fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // In attributes parsers turn raw white space into blanks; references stay.
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' => {
                escaped.push_str(&format!("&#{};", u32::from(c)));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_of_the_system_have_no_numbers() {
        let missing = std::io::Error::from_raw_os_error(2);
        assert!(missing.to_string().ends_with(" (os error 2)"));
        assert!(!with_causes(&missing).contains("os error"));
        assert_eq!(without_error_numbers("a (os error 2): c"), "a: c");
    }

    #[test]
    fn case_accents_and_punctuation_do_not_count() {
        assert_eq!(fold("  Björk & Þórunn "), "bjork thorunn");
        assert_eq!(fold("MÖTLEY CRÜE—Dr. Feelgood"), "motley crue dr feelgood");
        assert_eq!(fold("Don\u{2019}t Run-D.M.C."), "dont run dmc");
        assert_eq!(fold("Straße ﬁre Łódź"), "strasse fire lodz");
        assert_eq!(fold("久石 譲"), "久石 譲");
        assert_eq!(fold(" !!! "), "!!!");
        assert_eq!(fold("e\u{301}"), fold("é"));
    }

    #[test]
    fn keys_have_no_spaces() {
        assert_eq!(key("Drum & Bass"), "drumandbass");
        assert_eq!(key("Hip‐Hop"), key("HIP HOP"));
        assert_eq!(key("Électronique ØRSTED Đỏ"), "electroniqueorsteddo");
        assert_ne!(key("が"), key("か"));
        assert_eq!(key(" !!!  ? "), "!!!?");
    }

    #[test]
    fn misspelt_names_are_suggested() {
        let names = ["Sigur Rós", "Ros", "Rosie", "Frédéric Chopin", "!!!"];
        assert_eq!(spelt_alike("frederic chopn", names), ["Frédéric Chopin"]);
        assert!(spelt_alike("xyz", names).is_empty());
        assert_eq!(did_you_mean(&["a", "b"]), "did you mean a or b? ");
        assert_eq!(did_you_mean(&[""; 0]), "");
    }

    #[test]
    fn nothing_breaks_out_of_xml_and_what_xml_allows_is_kept() {
        assert_eq!(xml("<x a=\"b\">&'ä"), "&lt;x a=&quot;b&quot;&gt;&amp;'ä");
        assert_eq!(xml("a\tb\n\u{9b}2J"), "a&#9;b&#10;&#155;2J");
        assert_eq!(xml("a\0\u{1b}\u{fffe}\u{ffff}b"), "ab");
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
