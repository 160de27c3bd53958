//! Decodes texts of unknown encoding: tags and playlists from before UTF-8.
//!
//! For: finding the most likely encoding. Not for: bytes of a known encoding.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252};

/// Least number of bytes that are not ASCII for which a detector's result is always used; with fewer, it confuses
/// similar Latin encodings ("Ágætis" as "Ágćtis").
const ENOUGH: usize = 12;
/// Consecutive letters that are not ASCII: no word in the languages of Windows-1252 has this many.
const FOREIGN_RUN: usize = 3;

/// The encoding of texts that are not in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldEncoding(&'static Encoding);

impl OldEncoding {
    /// The encoding of a name such as `windows-1251` or `Shift_JIS`.
    pub fn named(label: &str) -> Option<Self> {
        Encoding::for_label(label.trim().as_bytes()).map(Self)
    }

    /// A name that [`named`](Self::named) reads, such as `windows-1251`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The most likely encoding of these texts together; Windows-1252 if they give no evidence.
    pub fn detect<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let texts = texts.into_iter().filter(|text| utf8(text).is_none());
        let whole = texts.collect::<Vec<_>>().join(&b'\n');
        if is_russian(&whole) {
            return Self(WINDOWS_1251);
        }
        let guess = Self::guess(&whole);
        let high_bytes = whole.iter().filter(|byte| !byte.is_ascii()).count();
        if high_bytes >= ENOUGH || guess.is_sure_of(&whole) {
            return guess;
        }
        Self(WINDOWS_1252)
    }

    fn guess(bytes: &[u8]) -> Self {
        // ISO-2022-JP consists of ASCII bytes, which are never passed on.
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(bytes, true);
        Self(detector.guess(None, Utf8Detection::Deny))
    }

    /// Whether few bytes suffice: words of another script without Latin letters, which in a Latin encoding would
    /// consist of accented letters alone.
    fn is_sure_of(self, bytes: &[u8]) -> bool {
        let mut runs = bytes.split(u8::is_ascii);
        if !runs.any(|run| run.len() >= FOREIGN_RUN) {
            return false;
        }
        let (text, is_damaged) = self.0.decode_without_bom_handling(bytes);
        // Latin letters and their accents end before Greek.
        let is_latin = |c: char| c.is_alphabetic() && c < '\u{370}';
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        !is_damaged && words.all(|word| word.is_ascii() || !word.chars().any(is_latin))
    }

    /// Decodes text that is UTF-8 if valid, else in this encoding.
    pub fn decode(self, bytes: &[u8]) -> String {
        utf8(bytes).map_or_else(
            || self.0.decode_without_bom_handling(bytes).0.into_owned(),
            str::to_owned,
        )
    }
}

/// Whether all words that are not ASCII would be Russian in Windows-1251, which a detector does not see in few bytes.
fn is_russian(bytes: &[u8]) -> bool {
    let text = WINDOWS_1251.decode_without_bom_handling(bytes).0;
    let is_letter = |c: char| matches!(c, 'а'..='я' | 'ё');
    let is_word = |word: &str| {
        let small = word.to_lowercase();
        let is_cased = word == word.to_uppercase() || !word.chars().skip(1).any(char::is_uppercase);
        is_cased && small.chars().all(is_letter)
    };
    let is_name = |word: &&str| {
        let is_long = word.chars().count() >= FOREIGN_RUN;
        is_long && word.starts_with(char::is_uppercase) && word.ends_with(char::is_lowercase)
    };
    let words = text.split(|c: char| c.is_ascii() && !c.is_ascii_alphabetic());
    let words: Vec<&str> = words.filter(|word| !word.is_ascii()).collect();
    words.iter().all(|word| is_word(word)) && words.iter().any(is_name)
}

/// The text of a file with a byte order mark, or in UTF-16 without one.
pub fn with_mark(bytes: &[u8]) -> Option<String> {
    let Some((encoding, mark)) = Encoding::for_bom(bytes) else {
        return unmarked_order(bytes).map(|order| utf16(bytes, order));
    };
    let text = encoding.decode_without_bom_handling(&bytes[mark..]).0;
    Some(text.into_owned())
}

/// The byte order of a text in UTF-16, by zeros in always the same byte of ASCII characters, which lists are
/// full of; `None` for other encodings, which have none.
fn unmarked_order(bytes: &[u8]) -> Option<Utf16> {
    let zeros = [0, 1].map(|offset| {
        let half = bytes.iter().skip(offset).step_by(2);
        half.filter(|byte| **byte == 0).count()
    });
    let most = zeros[0].max(zeros[1]);
    // At least a quarter of the characters. Zeros in both bytes are no text, but U+3000 has one in the other.
    let is_utf16 = most > 0 && most * 8 >= bytes.len() && zeros[0].min(zeros[1]) * 8 <= most;
    is_utf16.then_some(if zeros[0] > zeros[1] {
        Utf16::Big
    } else {
        Utf16::Little
    })
}

/// The lines of a text in any encoding that has ASCII's line ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n' || byte == b'\r')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utf16 {
    Little,
    Big,
}

/// Decodes UTF-16, in the order of its mark, else in that of its ASCII characters, else in `order`. Half a unit is left
/// out, and half a pair becomes U+FFFD.
pub fn utf16(bytes: &[u8], order: Utf16) -> String {
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) if encoding == UTF_16LE || encoding == UTF_16BE => (encoding, mark),
        _ => match unmarked_order(bytes).unwrap_or(order) {
            Utf16::Big => (UTF_16BE, 0),
            Utf16::Little => (UTF_16LE, 0),
        },
    };
    let units = &bytes[mark..];
    // Without the odd byte at the end, which would become a replacement character.
    let whole = &units[..units.len() & !1];
    encoding.decode_without_bom_handling(whole).0.into_owned()
}

/// A text with the characters of Windows-1252 instead of controls, which programs produce by decoding it as Latin-1.
/// Not for file names, which may contain the same controls.
pub fn without_controls(text: &str) -> String {
    let is_control = |c: char| ('\u{80}'..'\u{a0}').contains(&c);
    let mut meant = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            let byte = [c as u8];
            meant.push_str(&WINDOWS_1252.decode_without_bom_handling(&byte).0);
        } else {
            meant.push(c);
        }
    }
    meant
}

/// Valid UTF-8; the last character may be cut off, as in fields of fixed length.
fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).map_or_else(
        |error| {
            let whole = std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?;
            // `error_len` is `None` only if the text ends too early. If all before is ASCII, the
            // last byte may be a letter of another encoding.
            (error.error_len().is_none() && !whole.is_ascii()).then_some(whole)
        },
        Some,
    )
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GBK, SHIFT_JIS, WINDOWS_1250, WINDOWS_1253};
    use proptest::prelude::*;

    use super::*;

    fn read_back(encoding: &'static Encoding, texts: &[&str]) -> Vec<String> {
        let bytes: Vec<Vec<u8>> = texts
            .iter()
            .map(|text| encoding.encode(text).0.into_owned())
            .collect();
        let found = OldEncoding::detect(bytes.iter().map(Vec::as_slice));
        bytes.iter().map(|bytes| found.decode(bytes)).collect()
    }

    #[test]
    fn old_texts_are_read_in_the_encoding_they_were_written_in() {
        let cases: [(&'static Encoding, &[&str]); 6] = [
            (WINDOWS_1251, &["Кино", "Рок"]),
            (SHIFT_JIS, &["久石譲", "となりのトトロ"]),
            (GBK, &["邓丽君", "月亮代表我的心"]),
            (WINDOWS_1253, &["Μίκης Θεοδωράκης", "Ζορμπάς"]),
            (WINDOWS_1252, &["Don’t – stop", "Sigur Rós"]),
            (
                WINDOWS_1250,
                &["Příliš žluťoučký kůň úpěl ďábelské ódy", "Měsíčku na nebi"],
            ),
        ];
        for (encoding, texts) in cases {
            assert_eq!(read_back(encoding, texts), texts, "{}", encoding.name());
        }
    }

    #[test]
    fn controls_become_the_intended_characters() {
        assert_eq!(without_controls("Don\u{92}t \u{96} é"), "Don’t – é");
        assert_eq!(without_controls("\u{81}\n"), "\u{81}\n");
    }

    #[test]
    fn utf_8_is_utf_8_whatever_is_beside_it() {
        let russian = WINDOWS_1251.encode("Группа крови на рукаве").0;
        let found = OldEncoding::detect([&russian[..], "Café".as_bytes()]);
        assert_eq!(found.decode("Café".as_bytes()), "Café");
        // A field of 30 bytes ends within a letter.
        assert_eq!(found.decode(&"Кино".as_bytes()[..7]), "Кин");
        assert_eq!(OldEncoding::detect([]).decode(b"Caf\xe9 \x96"), "Café –");
    }

    #[test]
    fn utf_16_needs_no_mark_and_no_whole_units() {
        for bytes in [b"\xff\xfee\0n\0", b"\xfe\xff\0e\0n"] {
            assert_eq!(utf16(bytes, Utf16::Little), "en");
            assert_eq!(utf16(&bytes[2..], Utf16::Little), "en");
        }
        assert_eq!(utf16(b"\xff\xfea\0\x3d\xd8", Utf16::Little), "a\u{fffd}");
        assert_eq!(with_mark(b"\xff\xfea\0b\0").unwrap(), "ab");
        assert_eq!(with_mark(b"ab\0\0\0\0"), None);
        assert_eq!(with_mark(b"\xef\xbb\xbfab").unwrap(), "ab");
    }

    proptest! {
        #[test]
        fn any_bytes_make_some_text(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = OldEncoding::detect([&bytes[..]]).decode(&bytes);
            let _ = utf16(&bytes, Utf16::Big);
            let _ = with_mark(&bytes);
        }
    }
}
