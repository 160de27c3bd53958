//! Splits a text into artists: `Alpha feat. Beta` and `Alpha; Beta` are two.

use std::collections::HashSet;
use std::sync::LazyLock;

use voisin_base::text::fold;

/// Separators of names, by Navidrome's defaults. Several values of one tag are joined by the last.
///
/// Commas, ampersands and "with" occur inside names (Tyler, The Creator; Simon & Garfunkel; Sleeping with Sirens).
const SEPARATORS: [&str; 6] = [" / ", " featuring ", " feat", " ft", ";", "\0"];

/// Placeholders that programs write for a missing artist or album, or for the many artists of a
/// sampler.
///
/// Compared without folding: `None` may be a band.
const NONE: [&str; 13] = [
    "unknown",
    "[unknown]",
    "<unknown>",
    "(unknown)",
    "(none)",
    "<none>",
    "various",
    "va",
    "v.a.",
    "v/a",
    "aa.vv.",
    "n/a",
    "n.a.",
];

/// The same for artists only: `?` and `-` are albums.
const NOBODY: [&str; 3] = ["-", "--", "?"];

/// Values that programs write for an empty field, in exact case, as `None` is a band.
const EMPTY: [&str; 5] = ["none", "null", "NULL", "(null)", "<null>"];

/// Placeholders for artists in the languages of rippers; compared folded.
static NOBODY_IN_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    folded(
        "unknown artist|various artists|no artist|multiple artists|unknown composer|various composers|\
         tba|to be announced|audiotrack|audio track|\
         unbekannt|unbekannter künstler|unbekannter kuenstler|unbekannter interpret|\
         diverse|diverse interpreten|diverse künstler|diverse kuenstler|\
         verschiedene|verschiedene interpreten|verschiedene künstler|verschiedene kuenstler|\
         artiste inconnu|interprète inconnu|artistes divers|artistes variés|divers artistes|\
         artista desconocido|intérprete desconocido|varios artistas|artistas varios|varios intérpretes|\
         artista sconosciuto|artisti vari|vari artisti|autori vari|\
         artista desconhecido|intérprete desconhecido|\
         onbekende artiest|diverse artiesten|verschillende artiesten|\
         okänd artist|ukendt kunstner|ukjent artist|diverse artister|blandade artister|blandede artister|diverse kunstnere|\
         tuntematon artisti|tuntematon esittäjä|eri esittäjiä|\
         nieznany artysta|nieznany wykonawca|różni wykonawcy|różni artyści|\
         neznámý umělec|neznámý interpret|různí interpreti|různí umělci|\
         ismeretlen előadó|különböző előadók|artist necunoscut|bilinmeyen sanatçı|çeşitli sanatçılar|\
         άγνωστος καλλιτέχνης|διάφοροι καλλιτέχνες|\
         неизвестный исполнитель|неизвестный артист|разные исполнители|\
         невідомий виконавець|різні виконавці|\
         不明なアーティスト|アーティスト不明|さまざまなアーティスト|ヴァリアス・アーティスト|オムニバス|群星|\
         未知艺术家|未知藝術家|未知艺人|未知藝人|未知歌手|各种艺术家|알 수 없는 아티스트|여러 아티스트",
    )
});

/// Placeholders for albums in the languages of rippers; compared folded.
static NO_ALBUM_IN_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    folded(
        "unknown album|no album|various artists|tba|to be announced|audiocd|audio cd|unbekannt|unbekanntes album|album inconnu|álbum desconocido|album sconosciuto|\
         álbum desconhecido|onbekend album|okänt album|ukendt album|ukjent album|tuntematon albumi|\
         nieznany album|neznámé album|ismeretlen album|album necunoscut|bilinmeyen albüm|\
         άγνωστο άλμπουμ|неизвестный альбом|невідомий альбом|不明なアルバム|アルバム不明|\
         未知专辑|未知專輯|알 수 없는 앨범",
    )
});

fn folded(names: &str) -> HashSet<String> {
    names.split('|').map(fold).collect()
}

/// Whether an artist's name is a placeholder: `Unknown Artist`, `Various Artists`, `Artiste inconnu`.
pub fn is_nobody(name: &str) -> bool {
    NOBODY.contains(&name.trim()) || is_none(&NOBODY_IN_WORDS, name)
}

/// Whether an album's or a genre's name is a placeholder: `Unknown Album`, `(None)`.
pub fn is_no_album(name: &str) -> bool {
    is_none(&NO_ALBUM_IN_WORDS, name)
}

fn is_none(in_words: &HashSet<String>, name: &str) -> bool {
    let name = name.trim();
    name.is_empty()
        || EMPTY.contains(&name)
        || NONE
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
        || in_words.contains(&fold(name))
        // Windows Media Player writes "Unknown album (23/11/2004 10:20:11)". After a single word, brackets distinguish
        // artists: "Diverse (rapper)".
        || name
            .strip_suffix([')', ']'])
            .and_then(|name| name.rsplit_once(['(', '[']))
            .map(|(before, _)| fold(before))
            .is_some_and(|before| before.contains(' ') && in_words.contains(&before))
}

/// Most names of a text, so that comparing all names of two tracks is bounded.
const MOST_NAMES: usize = 200;

/// The first 200 names in a text, in order, without repeats in any case; the text itself if there is only one.
pub fn artists(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    // A set, as a text may hold a megabyte of names.
    let mut known = HashSet::new();
    let mut rest = text;
    loop {
        let next = next_separator(rest);
        let (name, after) = match next {
            Some((from, to)) => (&rest[..from], Some(&rest[to..])),
            None => (rest, None),
        };
        let name = name.trim();
        // "Alpha feat. Unknown" is by Alpha.
        if !is_nobody(name) && known.insert(name.to_lowercase()) {
            names.push(name);
        }
        match after {
            Some(after) if names.len() < MOST_NAMES => rest = after,
            _ => break,
        }
    }
    names
}

/// Start and end of the first separator.
fn next_separator(text: &str) -> Option<(usize, usize)> {
    // Every separator begins with one of these.
    let mut starts = text.match_indices([' ', ';', '\0']).map(|(at, _)| at);
    starts.find_map(|at| Some((at, at + separator_length(&text[at..])?)))
}

/// The length of the separator at the start of a text; abbreviations end with a dot or a space.
fn separator_length(text: &str) -> Option<usize> {
    let separator = SEPARATORS.iter().find(|separator| {
        // `get`, since the length may end within a character.
        text.get(..separator.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(separator))
    })?;
    // Only " feat" and " ft" may be the beginning of another word, such as "feature".
    if !separator.ends_with(char::is_alphabetic) {
        return Some(separator.len());
    }
    let rest = &text[separator.len()..];
    let dot = usize::from(rest.starts_with('.'));
    rest[dot..]
        .starts_with(' ')
        .then_some(separator.len() + dot + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_players_split_them() {
        for (text, expected) in [
            ("Alpha feat. Beta", &["Alpha", "Beta"][..]),
            ("Alpha Feat Beta ft. Gamma", &["Alpha", "Beta", "Gamma"]),
            ("Alpha featuring Beta & Gamma", &["Alpha", "Beta & Gamma"]),
            (
                "Johann Sebastian Bach; Glenn Gould",
                &["Johann Sebastian Bach", "Glenn Gould"],
            ),
            ("Gamma / Delta;gamma", &["Gamma", "Delta"]),
            ("AC/DC", &["AC/DC"]),
            ("Simon & Garfunkel", &["Simon & Garfunkel"]),
            ("Tyler, The Creator", &["Tyler, The Creator"]),
            ("Sleeping with Sirens", &["Sleeping with Sirens"]),
            ("Little Feat", &["Little Feat"]),
            ("Little Feature Band", &["Little Feature Band"]),
            ("Daft Punk", &["Daft Punk"]),
            ("feat. Beta", &["feat. Beta"]),
            ("Ä ft Ö", &["Ä", "Ö"]),
            (" ; ; ", &[]),
            ("Unknown Artist", &[]),
            ("Various Artists", &[]),
            ("(None)", &[]),
            ("V.A.; Alpha", &["Alpha"]),
            ("", &[]),
        ] {
            assert_eq!(artists(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_of_many_names_is_cut() {
        let text = format!(
            "{};Zeta;{}",
            "x".repeat(1 << 18),
            "Alpha;alpha;".repeat(1 << 14)
        );
        assert_eq!(artists(&text)[1..], ["Zeta", "Alpha"]);
        let text: String = (0..1 << 17).map(|n| format!("{n};")).collect();
        assert_eq!(artists(&text).len(), MOST_NAMES);
    }

    #[test]
    fn placeholders_of_other_languages_name_nobody() {
        for name in [
            "Unbekannter Künstler",
            "UNBEKANNTER KU\u{308}NSTLER",
            "[Unknown Artist]",
            "Diverse",
            "Diverse Interpreten",
            "Artiste inconnu",
            "Artista desconocido",
            "Vários artistas",
            "Onbekende artiest",
            "Okänd artist",
            "неизвестный исполнитель",
            "不明なアーティスト",
            "未知艺术家",
            "unknown artist (1)",
            "Various Artists (Sampler)",
            "Various Composers",
            "Blandede Artister",
            "群星",
            "N/A",
            "-",
            "?",
            "null",
        ] {
            assert!(is_nobody(name), "{name}");
            assert!(artists(name).is_empty(), "{name}");
        }
        for name in [
            "Unbekanntes Album",
            "album inconnu",
            "Álbum Desconocido",
            "unknown album (23/11/2004 10:20:11)",
            "V.A.",
            "AudioCD",
            "No Album",
        ] {
            assert!(is_no_album(name), "{name}");
        }
        for name in [
            "None",
            "Künstler",
            "Divers",
            "Diverse (rapper)",
            "Unknown Mortal Orchestra",
            "? and the Mysterians",
        ] {
            assert!(!is_nobody(name), "{name}");
        }
        for name in ["Unknown Pleasures", "Untitled", "?", "-", "Album"] {
            assert!(!is_no_album(name), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split(text in "\\PC{0,40}", names in proptest::collection::vec("[a-z]{1,5}", 1..5)) {
            let found = artists(&text);
            proptest::prop_assert!(found.iter().all(|name| text.contains(name) && name.trim() == *name));
            let mut once = names.clone();
            once.sort();
            once.dedup();
            once.retain(|name| !is_nobody(name));
            let joined = once.join("; ");
            proptest::prop_assert_eq!(artists(&joined), once);
        }
    }
}
