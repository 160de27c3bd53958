//! Text as it compares and is searched: without case, accents and punctuation.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Letters of `text` without case and accents, words apart by one space: `Björk & Cie` → `bjork cie`.
///
/// Text without any letter or digit is only lowered and trimmed, so that a band called `!!!` is found.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase) {
        // An apostrophe joins: "don't" and "dont" are one word.
        if matches!(c, '\'' | '\u{2019}' | '\u{2bc}' | '`') {
            continue;
        }
        match plain(c) {
            Some(letters) => folded.push_str(letters),
            None if c.is_alphanumeric() => folded.push(c),
            None if !folded.is_empty() && !folded.ends_with(' ') => folded.push(' '),
            None => {}
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { text.trim().to_lowercase() } else { folded }
}

/// Latin letters that Unicode does not take apart.
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

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn case_accents_and_punctuation_do_not_count() {
        assert_eq!(fold("  Björk & Þórunn "), "bjork thorunn");
        assert_eq!(fold("MÖTLEY CRÜE—Dr. Feelgood"), "motley crue dr feelgood");
        assert_eq!(fold("Don\u{2019}t"), fold("dont"));
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("ﬁre"), "fire");
        assert_eq!(fold("Łódź Ørsted"), "lodz orsted");
        assert_eq!(fold("久石 譲"), "久石 譲");
        assert_eq!(fold("AC/DC"), "ac dc");
        assert_eq!(fold(" !!! "), "!!!");
        assert_eq!(fold("e\u{301}"), fold("é"));
        assert_eq!(fold(""), "");
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
