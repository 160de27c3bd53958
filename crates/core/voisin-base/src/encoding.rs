//! Decodes texts of unknown encoding: tags and playlists from before UTF-8.
//!
//! For: finding the most likely encoding. Not for: bytes of a known encoding.

mod letters;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GBK, IBM866, ISO_8859_6, ISO_8859_7, ISO_8859_8, KOI8_U,
    SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253,
    WINDOWS_1254, WINDOWS_1255, WINDOWS_1256,
};

use letters::{
    are_central, are_turkish, is_capitalised, is_cyrillic, is_cyrillic_genre, is_western, words,
};

/// Least number of bytes that are not ASCII for which a detector's result is always used; with fewer, it confuses
/// similar Latin encodings ("Ágætis" as "Ágćtis").
const ENOUGH: usize = 20;
/// Consecutive letters that are not ASCII: no word in the languages of Windows-1252 has this many.
const FOREIGN_RUN: usize = 3;
/// Most single texts that are examined if all together are too short.
const SINGLE: usize = 8;

/// The encoding of texts that are not in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldEncoding(&'static Encoding);

impl OldEncoding {
    /// Encodings in use, the most common first.
    pub const COMMON: [Self; 13] = [
        Self(WINDOWS_1252),
        Self(WINDOWS_1251),
        Self(SHIFT_JIS),
        Self(GBK),
        Self(BIG5),
        Self(EUC_KR),
        Self(EUC_JP),
        Self(WINDOWS_1250),
        Self(WINDOWS_1253),
        Self(WINDOWS_1254),
        Self(WINDOWS_1255),
        Self(KOI8_U),
        Self(IBM866),
    ];

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
        let all = texts.into_iter();
        let (known, mut old): (Vec<&[u8]>, Vec<&[u8]>) = all.partition(|text| utf8(text).is_some());
        let whole = old.join(&b'\n');
        let guess = Self::guess(&whole);
        if high_bytes(&whole) >= ENOUGH {
            return guess;
        }
        let is_sure = guess.is_sure_of(&whole);
        if !old.is_empty() && Self::is_windows_1251(&old, &known, is_sure.then_some(guess)) {
            return Self(WINDOWS_1251);
        }
        // With few bytes, Shift_JIS is detected as the Russian encoding of DOS.
        if is_sure && guess.0 != IBM866 {
            return guess;
        }
        if let Some(found) = Self::of_words(&old) {
            return found;
        }
        if is_sure {
            return guess;
        }
        // Texts of one file may be in several encodings: those with the most evidence are tried one
        // by one.
        old.sort_by_key(|text| std::cmp::Reverse(high_bytes(text)));
        let sure = old
            .iter()
            .take(SINGLE)
            .map(|text| (Self::guess(text), text));
        let mut sure = sure.filter(|(guess, text)| guess.is_sure_of(text));
        if let Some((encoding, _)) = sure.next() {
            return encoding;
        }
        // Bytes undefined in Windows-1252 are no letters of its languages.
        let (latin, _) = WINDOWS_1252.decode_without_bom_handling(&whole);
        if latin.chars().any(|c| ('\u{80}'..'\u{a0}').contains(&c)) {
            return guess;
        }
        Self(WINDOWS_1252)
    }

    fn read_all(self, texts: &[&[u8]]) -> Vec<String> {
        let read = |text: &&[u8]| self.0.decode_without_bom_handling(text).0.into_owned();
        texts.iter().map(read).collect()
    }

    /// Whether few bytes are words in Windows-1251 rather than in another encoding.
    ///
    /// - `known`: texts in UTF-8 beside them
    /// - `rival`: the detector's result, if it is certain
    fn is_windows_1251(old: &[&[u8]], known: &[&[u8]], rival: Option<Self>) -> bool {
        let read = Self(WINDOWS_1251).read_all(old);
        if !read.iter().all(|text| is_cyrillic(text)) {
            return false;
        }
        let mut known = known.iter().filter_map(|text| utf8(text));
        let is_beside = known.any(|text| text.contains(|c| ('а'..='я').contains(&c)));
        if is_beside || read.iter().any(|text| is_cyrillic_genre(text)) {
            return true;
        }
        let is_long = |word: &str| !word.is_ascii() && word.chars().count() > 1;
        if !read.iter().flat_map(|text| words(text)).any(is_long) {
            return false;
        }
        let Some(Self(rival)) = rival else {
            let latin = Self(WINDOWS_1252).read_all(old);
            return !latin.iter().all(|text| is_western(text));
        };
        if [WINDOWS_1253, ISO_8859_7].contains(&rival) {
            let greek = Self(rival).read_all(old);
            // Most Greek words have an accent, and these vowels' bytes are rare letters of Greek.
            let accents = ['ά', 'έ', 'ή', 'ί', 'ό', 'ύ', 'ώ', 'Ά', 'Έ', 'Ή', 'Ό'];
            let is_accented = |text: &String| text.contains(accents);
            let is_russian = |text: &String| text.contains(['а', 'о', 'ы', 'я']);
            return read.iter().all(is_russian) && !greek.iter().any(is_accented);
        }
        // In Hebrew and Arabic, capitals are vowel signs and letters among others.
        [WINDOWS_1255, WINDOWS_1256, ISO_8859_6, ISO_8859_8].contains(&rival)
            && read.iter().all(|text| is_capitalised(text))
    }

    /// The encoding in which few bytes are words, if some of them are none in Windows-1252.
    fn of_words(old: &[&[u8]]) -> Option<Self> {
        let latin = Self(WINDOWS_1252).read_all(old);
        if latin.iter().all(|text| is_western(text)) {
            return None;
        }
        if are_central(&Self(WINDOWS_1250).read_all(old)) {
            return Some(Self(WINDOWS_1250));
        }
        if are_turkish(&Self(WINDOWS_1254).read_all(old)) {
            return Some(Self(WINDOWS_1254));
        }
        let is_common = |text: &&[u8]| {
            let mut rest = text.iter();
            while let Some(byte) = rest.next() {
                // Letters of Windows-1252 are only lead bytes of rare characters.
                if !byte.is_ascii() && (*byte >= 0xa0 || rest.next().is_none()) {
                    return false;
                }
            }
            true
        };
        let is_kana = |c: char| matches!(c, '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}');
        let japanese = Self(SHIFT_JIS).read_all(old);
        let mut letters = japanese.iter().flat_map(|text| text.chars());
        let is_japanese = letters.all(|c| c.is_ascii() || is_kana(c));
        (is_japanese && old.iter().all(is_common)).then_some(Self(SHIFT_JIS))
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

/// Byte order of UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utf16 {
    /// Little-endian.
    Little,
    /// Big-endian.
    Big,
}

/// Decodes UTF-16, in the order of its mark, else in `order` unless it is clearly the other. Half a unit is left out, and
/// half a pair becomes U+FFFD.
pub fn utf16(bytes: &[u8], order: Utf16) -> String {
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) if encoding == UTF_16LE || encoding == UTF_16BE => (encoding, mark),
        _ if (order == Utf16::Big) != is_swapped(bytes, order) => (UTF_16BE, 0),
        _ => (UTF_16LE, 0),
    };
    let units = &bytes[mark..];
    // Without the odd byte at the end, which would become a replacement character.
    let whole = &units[..units.len() & !1];
    encoding.decode_without_bom_handling(whole).0.into_owned()
}

/// Whether most of a text would be Latin in the other byte order than this one.
fn is_swapped(bytes: &[u8], order: Utf16) -> bool {
    /// 一 and the space beside it, which are frequent, and N and 0 in the other order.
    const EAST_ASIAN: [u16; 2] = [0x4e00, 0x3000];
    const SPACE: u16 = 0x20;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| match order {
            Utf16::Little => u16::from_le_bytes([pair[0], pair[1]]),
            Utf16::Big => u16::from_be_bytes([pair[0], pair[1]]),
        })
        .collect();
    let is_latin = |unit: &&u16| matches!(unit.swap_bytes(), 0x20..=0x7e | 0xc0..=0xff);
    let latin: Vec<&u16> = units.iter().filter(is_latin).collect();
    let is_mostly_latin = latin.len() > 1
        && 2 * latin.len() > units.len()
        && latin.iter().any(|unit| !EAST_ASIAN.contains(unit));
    // In other scripts, spaces alone show it: U+2000 is used nowhere.
    is_mostly_latin || units.contains(&SPACE.swap_bytes()) && !units.contains(&SPACE)
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

fn high_bytes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !byte.is_ascii()).count()
}

#[cfg(test)]
mod tests {
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
        let cases: [(&'static Encoding, &[&str]); 17] = [
            (WINDOWS_1251, &["Кино", "Рок"]),
            (WINDOWS_1251, &["Первая песня", "Вторая", "Исполнитель"]),
            (KOI8_U, &["Кино", "Группа крови на рукаве"]),
            (SHIFT_JIS, &["久石譲", "となりのトトロ"]),
            (SHIFT_JIS, &["ひこうき雲"]),
            (EUC_JP, &["久石譲", "となりのトトロ"]),
            (GBK, &["邓丽君", "月亮代表我的心"]),
            (BIG5, &["鄧麗君", "月亮代表我的心"]),
            (EUC_KR, &["서태지", "난 알아요"]),
            (WINDOWS_1253, &["Μίκης Θεοδωράκης", "Ζορμπάς"]),
            (WINDOWS_1252, &["Don’t – stop", "Café"]),
            (WINDOWS_1252, &["Sigur Rós", "Ágætis byrjun"]),
            (WINDOWS_1252, &["Björk", "Jóga", "Mötley Crüe"]),
            (WINDOWS_1252, &["ÉTÉ", "©2008 – «Été» ½"]),
            (WINDOWS_1252, &["São Paulo", "Coração", "Não é fácil"]),
            (WINDOWS_1252, &["Ásgeir", "Dýrð í dauðaþögn"]),
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
    fn a_single_old_title_is_read_by_its_letters() {
        let cases: [(&'static Encoding, &[&str]); 11] = [
            (
                WINDOWS_1250,
                &["Łódź", "Miłość", "Świat", "Vlčí máky", "Ştefan", "Đorđe"],
            ),
            (WINDOWS_1251, &["Рок", "Ой", "Мы", "ДДТ", "Цой", "Би-2"]),
            (WINDOWS_1251, &["Любэ", "Блюз", "Hi-Fi – Не дано"]),
            (WINDOWS_1254, &["Güneşin İçinde", "Barış Manço", "Aşk"]),
            (SHIFT_JIS, &["東京 Tokyo", "東京", "Love 愛"]),
            (WINDOWS_1253, &["Αγάπη", "Νύχτα", "Έλα"]),
            (WINDOWS_1255, &["שלום", "אהבה"]),
            (WINDOWS_1252, &["L’été", "Été", "Öö", "Ýmir", "Þú", "ÀÉÈ"]),
            (WINDOWS_1252, &["Mañana", "¿Qué?", "Nº 5", "Coração", "Øl"]),
            (WINDOWS_1252, &["Eivør Pálsdóttir", "Röyksopp – Così", "½"]),
            (WINDOWS_1252, &["Größe", "Ænima", "Tiësto", "–", "Håkan"]),
        ];
        for (encoding, titles) in cases {
            for title in titles {
                assert_eq!(read_back(encoding, &[title]), [*title]);
            }
        }
        // An ambiguous text is decoded like the others.
        let russian = OldEncoding::detect([&b"\xcd\xc0-\xcd\xc0"[..], "Группа".as_bytes()]);
        assert_eq!(russian.decode(b"\xcd\xc0-\xcd\xc0"), "НА-НА");
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
        assert_eq!(utf16(b"\xff\xfee\0n\0c\0", Utf16::Little), "enc");
        assert_eq!(utf16(b"\xfe\xff\0e\0n\0c\0", Utf16::Little), "enc");
        assert_eq!(utf16(b"e\0n\0c\0", Utf16::Little), "enc");
        assert_eq!(utf16(b"\0e\0n\0c", Utf16::Little), "enc");
        assert_eq!(utf16(b"\xff\xfea\0\x3d\xd8", Utf16::Little), "a\u{fffd}");
        assert_eq!(utf16(b"\0", Utf16::Little), "");
        for text in [
            "東京",
            "一",
            "一人　旅",
            "中島　みゆき",
            "一生一度",
            "가 나",
            "최고의 사랑",
            "Рок и ролл",
            "Don’t",
            "Ænd",
            "N",
        ] {
            let units = || text.encode_utf16();
            let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            assert_eq!(utf16(&big, Utf16::Big), text);
            assert_eq!(utf16(&little, Utf16::Little), text);
            if ["Рок и ролл", "Don’t", "Ænd"].contains(&text) {
                assert_eq!(utf16(&little, Utf16::Big), text);
                assert_eq!(utf16(&big, Utf16::Little), text);
            }
        }
        assert_eq!(with_mark(b"\xff\xfea\0b\0").unwrap(), "ab");
        assert_eq!(with_mark(b"a\0b\0\n\0").unwrap(), "ab\n");
        assert_eq!(with_mark(b"\0a\0b").unwrap(), "ab");
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
