//! Parses values in texts of tags: years, gains and other numbers, codes, licences.

use unicode_normalization::char::compose;
use voisin_base::encoding::without_controls;

/// A number between two bounds. Programs write 0 for an unknown tempo.
pub(super) fn within(text: &str, least: f64, most: f64) -> Option<f64> {
    // Some programs write a decimal comma, by the system's language.
    let text = text.trim_matches(['\0', ' ']).replace(',', ".");
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
}

/// `-7.03 dB`.
pub(super) fn decibels(text: &str) -> Option<f64> {
    let text = text.trim_matches(['\0', ' ']).to_ascii_lowercase();
    within(text.strip_suffix("db").unwrap_or(&text).trim(), -60.0, 60.0)
}

/// Difference (dB) between gains to -23 LUFS and to `ReplayGain`'s -18 LUFS.
pub(super) const R128_OFFSET: f64 = 5.0;

/// The first run of four digits, or of the eight digits of a date with the year first or last: `1987`,
/// `1987-06-01`, `06/01/1987`, `©1987`, `1987年`, `19870601`, `01061987`. Years before 1000 and
/// after 2100 are none: programs write 9999 for an unknown one.
pub fn year(text: &str) -> Option<i32> {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    let mut years = runs.filter_map(|digits| match digits.len() {
        4 => Some(digits),
        8 => {
            let month = &digits[4..6];
            Some(if month <= "12" {
                &digits[..4]
            } else {
                &digits[4..]
            })
        }
        _ => None,
    });
    years.find_map(|digits| {
        let year = digits.parse().ok();
        year.filter(|year| (1000..=2100).contains(year))
    })
}

/// Whether a field of this name holds the date of the recording, in whatever case and with or without blanks.
pub(super) fn is_original_date(name: &str) -> bool {
    let is_letter = |c: &char| !matches!(c, ' ' | '_' | '-');
    let letters: String = name.chars().filter(is_letter).collect();
    let letters = letters.to_lowercase();
    let original = letters.strip_prefix("orig");
    let date = original.map(|rest| rest.strip_prefix("inal").unwrap_or(rest));
    matches!(date, Some("date" | "year" | "releasedate" | "releaseyear"))
        || matches!(&letters[..], "recordingdate" | "tdor" | "tory")
}

/// Splits at the NULs between values in `ID3v2`; empty ones, from padding, are dropped.
pub(super) fn values(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('\0').filter_map(|value| {
        // Programs for the web may replace characters twice: "&amp;amp;".
        let value = without_references(&without_references(&without_controls(value)));
        let value = value.trim_matches(|c: char| c.is_whitespace() || is_mark(c));
        let is_unseen = |c: char| c.is_control() || c.is_whitespace() || is_mark(c);
        (!value.chars().all(is_unseen)).then(|| value.to_owned())
    })
}

/// A text with characters in place of HTML's references to them: `&amp;`, `&#39;`, `&eacute;`.
fn without_references(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = behind.split_once(';');
        let found = reference.and_then(|(name, behind)| Some((referenced(name)?, behind)));
        let (c, after) = found.unwrap_or(('&', behind));
        plain.push(c);
        rest = after;
    }
    plain + rest
}

/// The character that a reference of this name means.
fn referenced(name: &str) -> Option<char> {
    /// Each name before its character.
    const NAMES: &str = "amp&|AMP&|lt<|gt>|quot\"|apos'|nbsp |lsquo‘|rsquo’|ldquo“|rdquo”|laquo«|\
        raquo»|ndash–|mdash—|hellip…|trade™|euro€|szligß|aeligæ|oslashø";
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?).filter(|c| *c != '\0');
    }
    let mut named = NAMES.split('|').filter_map(|named| {
        let mut rest = named.strip_prefix(name)?.chars();
        rest.next().filter(|_| rest.next().is_none())
    });
    named.next().or_else(|| {
        let (letter, accent) = name.split_at_checked(1)?;
        let mark = match accent {
            "grave" => '\u{300}',
            "acute" => '\u{301}',
            "circ" => '\u{302}',
            "tilde" => '\u{303}',
            "uml" => '\u{308}',
            "ring" => '\u{30a}',
            "cedil" => '\u{327}',
            _ => return None,
        };
        compose(letter.chars().next()?, mark)
    })
}

/// Whether a character is invisible: byte-order marks and direction marks, which iTunes writes
/// before titles.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

pub(super) fn mbid(text: &str) -> Option<String> {
    let text = text.trim_matches(['\0', ' ']).to_ascii_lowercase();
    let parts: Vec<&str> = text.split('-').collect();
    let hexadecimal = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    (lengths == [8, 4, 4, 4, 12] && parts.iter().all(hexadecimal)).then_some(text)
}

/// An ISRC: two letters, three letters or digits, seven digits; often written with hyphens.
pub(super) fn isrc(text: &str) -> Option<String> {
    let signs = text.chars().filter(char::is_ascii_alphanumeric);
    let text: String = signs.map(|sign| sign.to_ascii_uppercase()).collect();
    let is_code = text.len() == 12
        && text[..2].bytes().all(|byte| byte.is_ascii_uppercase())
        && text[5..].bytes().all(|byte| byte.is_ascii_digit());
    is_code.then_some(text)
}

/// Whether a copyright notice names a licence and not only the owner.
pub(super) fn names_licence(notice: &str) -> bool {
    let notice = notice.to_ascii_lowercase();
    [
        "creativecommons.org",
        "creative commons",
        "cc by",
        "cc-by",
        "cc0",
        "public domain",
    ]
    .iter()
    .any(|words| notice.contains(words))
}

/// Parses `-1234`, in units of 1/256 dB (RFC 7845).
pub(super) fn gain_of_opus(text: &str) -> Option<f64> {
    Some(within(text, -32768.0, 32767.0)? / 256.0 + R128_OFFSET).filter(|gain| gain.abs() <= 60.0)
}

/// Parses the first number in `3`, `03`, `3/12`.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    // Programs write 0 for an unknown number.
    text[..digits].parse().ok().filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_come_in_many_forms() {
        for text in [
            "19870601",
            "1987-06-01T12:00:00Z",
            "01061987",
            "31.12.1987",
            "©1987",
            "1987-1989",
            "0000; 1987",
        ] {
            assert_eq!(year(text), Some(1987), "{text}");
        }
        for text in ["", "0000", "9999", "87", "unknown", "198"] {
            assert_eq!(year(text), None, "{text}");
        }
    }

    #[test]
    fn codes_are_brought_into_one_form_or_left_out() {
        let id = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae";
        assert_eq!(
            mbid(&format!(" {}\0", id.to_uppercase())).as_deref(),
            Some(id)
        );
        assert_eq!(mbid("8f3471b5-7e6a-48da-86a9-c1c07a0f47ag"), None);
        assert_eq!(isrc("us-rc1-76-07839").as_deref(), Some("USRC17607839"));
        assert_eq!(isrc("ÜSRC17607839é"), None);
        assert!(names_licence("2019 Someone. Licensed under CC BY-SA 4.0"));
        assert!(!names_licence("(c) 2003 A Label"));
    }

    #[test]
    fn tempo_and_gain_are_numbers_or_left_out() {
        let bpm = |text: &str| within(text, 10.0, 1000.0);
        assert_eq!((bpm("127,5\0"), bpm("0")), (Some(127.5), None));
        assert_eq!(decibels("-7.03 dB"), Some(-7.03));
        assert_eq!(decibels("nan dB"), None);
    }

    #[test]
    fn values_are_split_at_nuls_and_nowhere_else() {
        assert_eq!(
            values("Rock/Pop\0(17)\0\0 ").collect::<Vec<_>>(),
            ["Rock/Pop", "(17)"]
        );
        assert_eq!(values("Wait\u{85}").collect::<Vec<_>>(), ["Wait…"]);
    }

    #[test]
    fn references_are_read_as_what_they_mean() {
        for (text, meant) in [
            ("Simon &amp; Garfunkel", "Simon & Garfunkel"),
            ("Guns N&#39; Roses", "Guns N' Roses"),
            ("Beyonc&eacute; &#xe9;", "Beyoncé é"),
            ("A &amp;amp; B &AMP; C", "A & B & C"),
            ("&ldquo;Don&amp;rsquo;t&rdquo;&hellip;", "“Don’t”…"),
            ("R&B; A & B;C", "R&B; A & B;C"),
            ("&;&#0;&#x110000;", "&;&#0;&#x110000;"),
        ] {
            assert_eq!(values(text).collect::<Vec<_>>(), [meant]);
        }
    }
}
