//! Decodes texts of unknown encoding: tags and playlists from before UTF-8.
//!
//! For: finding the most likely encoding. Not for: bytes of a known encoding.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1251, WINDOWS_1252};
pub use encoding_rs::{UTF_16BE, UTF_16LE};

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

    /// The most likely encoding of these texts together; Windows-1252 if they give no evidence.
    pub fn detect<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let texts = texts
            .into_iter()
            .filter(|text| str::from_utf8(text).is_err());
        let whole = texts.collect::<Vec<_>>().join(&b'\n');
        let high_bytes = whole.iter().filter(|byte| !byte.is_ascii()).count();
        let is_foreign = whole
            .split(u8::is_ascii)
            .any(|run| run.len() >= FOREIGN_RUN);
        if high_bytes < ENOUGH && !is_foreign {
            return Self(WINDOWS_1252);
        }
        // It takes few words of Russian for Turkish or Arabic; other words would have capitals within.
        let russian = WINDOWS_1251.decode_without_bom_handling(&whole).0;
        let mut pairs = russian.chars().zip(russian.chars().skip(1));
        let is_mixed = pairs.any(|(one, next)| one.is_lowercase() && next.is_uppercase());
        let country = (high_bytes < ENOUGH && !is_mixed).then_some(&b"ru"[..]);
        // ISO-2022-JP consists of ASCII bytes, which are never passed on.
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(&whole, true);
        Self(detector.guess(country, Utf8Detection::Deny))
    }

    /// Decodes text that is UTF-8 if valid, else in this encoding.
    pub fn decode(self, bytes: &[u8]) -> String {
        str::from_utf8(bytes).map_or_else(
            |_| self.0.decode_without_bom_handling(bytes).0.into_owned(),
            str::to_owned,
        )
    }
}

/// Decodes UTF-16, in the order of its mark, else in `order`. Half a unit is left out, and half a pair becomes U+FFFD.
pub fn utf16(bytes: &[u8], order: &'static Encoding) -> String {
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) if encoding != UTF_8 => (encoding, mark),
        _ => (order, 0),
    };
    let units = &bytes[mark..];
    // Without the odd byte at the end, which would become a replacement character.
    let whole = &units[..units.len() & !1];
    encoding.decode_without_bom_handling(whole).0.into_owned()
}

/// A text with the characters of Windows-1252 instead of controls, which programs produce by decoding it as Latin-1.
/// Not for file names, which may contain the same controls.
pub fn without_controls(text: &str) -> String {
    let meant = text.chars().map(|c| match c {
        '\u{80}'..'\u{a0}' => {
            let byte = [c as u8];
            let meant = WINDOWS_1252.decode_without_bom_handling(&byte).0;
            meant.into_owned()
        }
        other => other.to_string(),
    });
    meant.collect()
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GBK, SHIFT_JIS, WINDOWS_1250, WINDOWS_1253};

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
    fn utf_8_is_utf_8_whatever_is_beside_it() {
        let russian = WINDOWS_1251.encode("Группа крови на рукаве").0;
        let found = OldEncoding::detect([&russian[..], "Café".as_bytes()]);
        assert_eq!(found.decode("Café".as_bytes()), "Café");
        assert_eq!(OldEncoding::detect([]).decode(b"Caf\xe9 \x96"), "Café –");
    }

    #[test]
    fn utf_16_needs_no_mark_and_no_whole_units() {
        for bytes in [&b"\xff\xfee\0n\0"[..], b"\xfe\xff\0e\0n", b"e\0n\0\0"] {
            assert_eq!(utf16(bytes, UTF_16LE), "en");
        }
        assert_eq!(utf16(b"\xff\xfea\0\x3d\xd8", UTF_16LE), "a\u{fffd}");
    }
}
