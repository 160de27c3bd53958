//! Whether a text consists of words: text decoded in a wrong encoding has letters of different languages, signs within
//! words, and capitals after small letters.
//!
//! For: one or two titles, too short for a detector. Not for: bytes and encodings.

/// Letters of languages beyond ASCII, with a few borrowed ones, in Windows-1252.
const WESTERN: [&str; 13] = [
    "àâæçèéêëîïôùûüÿœ",
    "äöüßé",
    "åäöéõšžüà",
    "æøåéòóôü",
    "áéíóúýðþæö",
    "áíóúýðæø",
    "áâãàçéêíóôõúü",
    "áéíóúñü",
    "àèéìòóù",
    "àèòçïü",
    "éíóúçïü",
    "áéíóúëïöü",
    "ëç",
];
/// Letters in Windows-1250, without the rarest ("ŕ", "ĺ"), as which French and Swedish would be
/// read.
const CENTRAL: [&str; 6] = [
    "ąćęłńóśźż",
    "áčďéěíňóřšťúůýž",
    "áäčďéíľňóôšťúýž",
    "áéíóöőúüű",
    "čćđšž",
    "ăâîşţ",
];
/// Letters in Windows-1254.
const TURKISH: [&str; 1] = ["çğıöşüâî"];
/// Letters in Windows-1251: Russian and Ukrainian.
const CYRILLIC: &str = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ";
const CYRILLIC_VOWELS: &str = "аеёиоуыэюяіїє";
/// Often the only word of a file that is not English.
const CYRILLIC_GENRES: [&str; 15] = [
    "рок",
    "поп",
    "рэп",
    "реп",
    "джаз",
    "блюз",
    "фолк",
    "шансон",
    "хип-хоп",
    "панк",
    "метал",
    "металл",
    "диско",
    "эстрада",
    "классика",
];

/// Letters, without those of numbers and units.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, 'ª' | 'º' | 'µ')
}

/// Runs of letters.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !is_letter(c));
    words.filter(|word| !word.is_empty())
}

/// Whether all letters are of one of these languages, and no capital beyond ASCII follows a small letter.
fn is_in(text: &str, languages: &[&str]) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let is_odd_pair =
        |pair: &[char]| pair[0].is_lowercase() && pair[1].is_uppercase() && !pair[1].is_ascii();
    let small = text.to_lowercase();
    let special = small.chars().filter(|&c| !c.is_ascii() && is_letter(c));
    let special: Vec<char> = special.collect();
    let mut languages = languages.iter();
    !letters.windows(2).any(is_odd_pair)
        && !has_odd_sign(&letters)
        && languages.any(|language| special.iter().all(|&c| language.contains(c)))
}

/// Whether a sign is where only a letter of another encoding could be.
fn has_odd_sign(text: &[char]) -> bool {
    let is_letter_at = |at: Option<usize>| {
        let c = at.and_then(|at| text.get(at));
        c.is_some_and(|&c| is_letter(c))
    };
    text.iter().enumerate().any(|(at, c)| {
        let last = text[..at].last();
        let before = is_letter_at(at.checked_sub(1));
        let behind = is_letter_at(Some(at + 1));
        match c {
            '\u{80}'..='\u{9f}' | 'ƒ' | 'ˆ' | '‰' | '¤' | '¦' | '¬' => true,
            '£' | '¥' | '¯' | 'ª' | '¼' | '¾' => behind,
            '¹' => before || behind,
            '²' => behind || !last.is_some_and(|c| c.is_alphanumeric()),
            // Not in "nº 5" and "cm³".
            'º' => {
                behind && !matches!(last, Some('n' | 'N'))
                    || before && is_letter_at(at.checked_sub(2))
            }
            '³' => behind || before && is_letter_at(at.checked_sub(3)),
            '¿' => before,
            '‹' => before && behind,
            _ => false,
        }
    })
}

/// Whether a text may be in Windows-1252.
pub(super) fn is_western(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    // Each word separately: titles name singers of other countries.
    let is_word = |word: &str| is_in(word, &WESTERN) && has_western_order(word);
    !has_odd_sign(&letters) && words(text).all(is_word)
}

fn has_western_order(word: &str) -> bool {
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    let has_small = word.chars().any(char::is_lowercase);
    if letters.len() > 1 && has_small && !letters.iter().any(char::is_ascii) {
        // Words without an ASCII letter, such as "Öö" and "Þú", are short.
        let is_icelandic = letters.len() == 2 && letters.iter().any(|c| matches!(c, 'þ' | 'ð'));
        return is_icelandic || letters.iter().all(|&c| "äöåõüæø".contains(c));
    }
    let mut pairs = letters.iter().enumerate();
    pairs.all(|(at, c)| match (c, letters.get(at + 1)) {
        ('œ', Some(next)) => "uidsct".contains(*next),
        // The "ř" of Czech.
        ('ø', Some(next)) => !"áéíúýìù".contains(*next),
        // No Icelandic word begins with "ð" or ends with "þ", which precedes few consonants.
        ('ð', Some(_)) => at > 0 || !has_small,
        ('þ', None) => !has_small,
        ('þ', Some(next)) => !next.is_ascii() || "aeiouyrvj".contains(*next),
        _ => true,
    })
}

/// Whether texts may be in Windows-1250.
pub(super) fn are_central(texts: &[String]) -> bool {
    // Before a consonant or beside a "k", a "ţ" is a Turkish "ş".
    let is_romanian = |word: &str| {
        let mut parts = word.split('ţ').skip(1);
        let is_part = |part: &str| part.starts_with(['a', 'e', 'i', 'o', 'u', 'ă', 'â', 'î']);
        !word.contains('ţ')
            || !word.contains(['k', 'K']) && parts.all(|part| part.is_empty() || is_part(part))
    };
    let is_fit = |text: &String| is_in(text, &CENTRAL) && words(text).all(is_romanian);
    has_mixed_word(texts) && texts.iter().all(is_fit)
}

/// Whether texts may be in Windows-1254.
pub(super) fn are_turkish(texts: &[String]) -> bool {
    has_mixed_word(texts) && texts.iter().all(|text| is_in(text, &TURKISH))
}

/// Whether there is a word of ASCII and other letters, as in Latin scripts.
fn has_mixed_word(texts: &[String]) -> bool {
    let is_mixed = |word: &str| !word.is_ascii() && word.contains(|c: char| c.is_ascii());
    texts.iter().flat_map(|text| words(text)).any(is_mixed)
}

/// Whether a text may be Russian or Ukrainian: words of only their letters, with a vowel if not in capitals.
pub(super) fn is_cyrillic(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let is_word = |word: &str| {
        let small = word.to_lowercase();
        let is_loud = word.chars().all(char::is_uppercase);
        let is_cased = is_loud || word.chars().skip(1).all(char::is_lowercase);
        let has_vowel = small.contains(|c| CYRILLIC_VOWELS.contains(c));
        let is_single = small.chars().count() == 1;
        small.chars().all(|c| CYRILLIC.contains(c))
            && !small.starts_with(['ь', 'ъ', 'ы'])
            && is_cased
            && (has_vowel || is_single || is_loud)
    };
    !has_odd_sign(&letters) && words(text).all(|word| word.is_ascii() || is_word(word))
}

/// Whether a text is the name of a genre in Russian.
pub(super) fn is_cyrillic_genre(text: &str) -> bool {
    CYRILLIC_GENRES.contains(&text.trim().to_lowercase().as_str())
}

/// Whether the text's first letter beyond ASCII is a capital followed by a small letter.
pub(super) fn is_capitalised(text: &str) -> bool {
    let mut special = text.chars().filter(|&c| !c.is_ascii() && is_letter(c));
    special.next().is_some_and(char::is_uppercase) && special.any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn western_words_are_told_from_other_readings() {
        for text in [
            "Mötley Crüe",
            "Røyksopp – Così",
            "Þú og ég",
            "Ýmir",
            "Eivør Pálsdóttir",
            "¿Quién",
            "Nº 5",
            "ÀÉÈ",
            "Öö",
            "L’œil",
            "£9 – ½",
        ] {
            assert!(is_western(text), "{text}");
        }
        for text in [
            "£ódŸ",
            "Za¿ó³æ",
            "Œwiat",
            "Vlèí máky",
            "Øíkej",
            "Güneþin",
            "Kuþ",
            "Ðorðe",
            "Ðîê",
            "Îé",
            "ÄÄÒ",
            "Œ‹ž",
            "Dragoº",
        ] {
            assert!(!is_western(text), "{text}");
        }
    }
}
