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

/// Signs that alone name no artist; `?` and `-` are albums.
const NOBODY: [char; 6] = ['-', '?', '_', '.', '…', '？'];

/// Signs between the parts of a placeholder: `[Various]`, `Various/Unknown`, `V.A.（オムニバス）`.
const AROUND: &[char] = &[
    '(', ')', '[', ']', '{', '}', '<', '>', '（', '）', '【', '】', '/', ';', '&', ',',
];

/// `MusicBrainz` writes these in square brackets for artists that are none.
const SPECIAL: &str = "anonymous|archive|church chimes|christmas music|data|dialogue|language instruction|nature sounds|\
    news report|no artist|none|silence|theatre|traditional";

/// Values that programs write for an empty field, in exact case, as `None` is a band.
const EMPTY: [&str; 5] = ["none", "null", "NULL", "(null)", "<null>"];

/// Words for "various", "several" or "unknown" in the languages of rippers; `_` is a blank.
const VAGUE: &str = "unknown various several multiple diverse div no unbekannter unbekannte verschiedene diverser \
    inconnu inconnus divers diverses variés multiples plusieurs desconocido desconocidos diversos varios múltiples \
    desconhecido desconhecidos vários sconosciuto sconosciuti vari diversi onbekende verschillende okänd okända olika \
    blandade blandede ukendt ukjent forskellige forskjellige flere tuntematon eri useita nieznany nieznani różni \
    neznámý neznámí různí rôzni neznani različni nepoznati razni različiti ismeretlen különböző necunoscut diverși \
    bilinmeyen çeşitli ýmsir óþekktur tundmatu erinevad nezināms dažādi nežinomas įvairūs άγνωστος διάφοροι неизвестный \
    неизвестен разные различные разни невідомий різні непознати שונים לא_ידוע متنوعون مختلفون غير_معروف مجهول 不明 \
    不明な さまざまな 様々な 未知 未知的 各种 各種 알_수_없는 여러 다양한 không_xác_định nhiều";

/// Words for artists, singular and plural.
const MAKERS: &str = "artist artists artiste artistes performer performers interpreter interpreters composer composers \
    künstler künstlerin kuenstler interpret interpreten interpr interprète interprètes artista artistas artisti intérprete \
    intérpretes interprete interpreti autor autori autores auteurs compositeur compositeurs compositores compositori \
    komponist komponisten artiest artiesten uitvoerders kunstner kunstnere kunstnare artister utøvere utövare artisti \
    artisteja esittäjä esittäjiä artysta artyści wykonawca wykonawcy umělec umělci umelci izvajalci izvođač izvođači \
    előadó előadók artiști interpreți sanatçı sanatçılar flytjandi flytjendur esitaja esitajad izpildītājs izpildītāji \
    atlikėjas atlikėjai καλλιτέχνης καλλιτέχνες исполнитель исполнители артист артисты композиторы изпълнител \
    изпълнители виконавець виконавці извођачи אמן אמנים فنان فنانون アーティスト 歌手 艺术家 藝術家 艺人 藝人 아티스트 \
    가수 nghệ_sĩ";

/// Placeholders for artists in the languages of rippers: letters alone, so that `AA. VV.` is one.
static NOBODY_IN_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut all = folded(
        "va|vvaa|aavv|tba|to be announced|audiotrack|audio track|not available|\
         unbekannt|diverse|verschiedene|blandet|\
         ヴァリアス・アーティスト|オムニバス|群星|華語群星|华语群星|合輯|合辑",
    );
    for vague in VAGUE.split_whitespace().map(letters) {
        for maker in MAKERS.split_whitespace().map(letters) {
            all.insert(format!("{vague}{maker}"));
            all.insert(format!("{maker}{vague}"));
        }
    }
    all
});

/// Placeholders for albums in the languages of rippers: letters alone.
static NO_ALBUM_IN_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    folded(
        "unknown album|no album|various artists|tba|to be announced|audiocd|audio cd|unbekannt|unbekanntes album|album inconnu|álbum desconocido|album sconosciuto|\
         álbum desconhecido|onbekend album|okänt album|ukendt album|ukjent album|tuntematon albumi|\
         nieznany album|neznámé album|ismeretlen album|album necunoscut|bilinmeyen albüm|\
         άγνωστο άλμπουμ|неизвестный альбом|невідомий альбом|不明なアルバム|アルバム不明|\
         未知专辑|未知專輯|알 수 없는 앨범|\
         cd|disc|disk|disque|new album|neues album|nouvel album|nuevo álbum|nuovo album|novo álbum|ohne titel|\
         new folder|neuer ordner|nouveau dossier|nueva carpeta|nuova cartella|nova pasta|nieuwe map|новая папка",
    )
});

fn folded(names: &str) -> HashSet<String> {
    names.split('|').map(letters).collect()
}

/// A folded name without blanks.
fn letters(name: &str) -> String {
    fold(name).split([' ', '_']).collect()
}

/// Whether an artist's name is a placeholder: `Unknown Artist`, `Various Artists`, `Artiste inconnu`.
pub fn is_nobody(name: &str) -> bool {
    let name = name.trim();
    let inside = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.trim_start_matches(NOBODY).is_empty()
        || inside.is_some_and(|name| SPECIAL.split('|').any(|known| known == name.to_lowercase()))
        || is_none(&NOBODY_IN_WORDS, name)
}

/// Whether an album's or a genre's name is a placeholder: `Unknown Album`, `(None)`.
pub fn is_no_album(name: &str) -> bool {
    is_none(&NO_ALBUM_IN_WORDS, name)
}

fn is_none(in_words: &HashSet<String>, name: &str) -> bool {
    let name = name.trim();
    // "Unknown Artist 1"
    let is_listed = |name: &str| {
        let letters = letters(name);
        in_words.contains(letters.trim_end_matches(|c: char| c.is_ascii_digit()))
    };
    let is_one = |name: &str| {
        let tight: String = name.split_whitespace().collect();
        EMPTY.contains(&name)
            || NONE.iter().any(|other| tight.eq_ignore_ascii_case(other))
            || is_listed(name)
    };
    let mut parts = name
        .split(AROUND)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .peekable();
    // Windows Media Player writes "Unknown album (23/11/2004 10:20:11)", others "Various Artists - Sampler". After a
    // single word, brackets distinguish artists: "Diverse (rapper)".
    let before = name.find(['(', '[', '（']).or_else(|| name.find(" - "));
    let before = before.map(|at| &name[..at]);
    name.is_empty()
        || is_one(name)
        || parts.peek().is_some() && parts.all(is_one)
        || before.is_some_and(|before| fold(before).contains(' ') && is_listed(before))
}

/// Most bytes of a text that may be a placeholder as a whole.
const LONGEST: usize = 200;

/// Most names of a text, so that comparing all names of two tracks is bounded.
const MOST_NAMES: usize = 200;

/// The first 200 names in a text, in order, without repeats in any case; the text itself if there is only one.
pub fn artists(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    // "N / A" is no two artists.
    if !text.contains([';', '\0']) && text.len() <= LONGEST && is_nobody(text) {
        return names;
    }
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
    fn placeholders_are_known_in_any_spelling() {
        let names = "V. A.|V.A|AA. VV.|AAVV|VV.AA.|VVAA|[Various]|VariousArtists|Various Artist|Various Artistes|\
                     Various Artists - Sampler|Various/Unknown|V.A.（オムニバス）|華語群星|合輯|Diverse Artists|\
                     Artistas Diversos|Interpreti vari|Artistes Multiples|Разные артисты|Разни изпълнители|\
                     Razni izvođači|Ýmsir flytjendur|Erinevad esitajad|Dažādi izpildītāji|Įvairūs atlikėjai|\
                     אמנים שונים|فنانون متنوعون|Unknown Performer|Artist Unknown|Unknown Artist 1|UnknownArtist|\
                     Not Available|[anonymous]|[traditional]|[dialogue]|???|_|N / A|unknown_artist|\
                     Nghệ sĩ không xác định|Unbekannter Künstler|UNBEKANNTER KU\u{308}NSTLER|[Unknown Artist]|\
                     Diverse|Diverse Interpreten|Artiste inconnu|Artista desconocido|Vários artistas|\
                     Onbekende artiest|Okänd artist|неизвестный исполнитель|不明なアーティスト|未知艺术家|unknown artist (1)|\
                     Various Artists (Sampler)|Various Composers|Blandede Artister|群星|N/A|-|?|null";
        for name in names.split('|') {
            assert!(is_nobody(name), "{name}");
            assert!(artists(name).is_empty(), "{name}");
        }
        let bands = "The Unknown|Various Cruelties|V.A.S.T.|Anonymous|Traditional|!!!|Diverse (rapper)|Artist|Van|\
                     No|None|Künstler|Divers|Diverse (rapper)|Unknown Mortal Orchestra|? and the Mysterians";
        for name in bands.split('|') {
            assert_eq!(artists(name), [name]);
        }
        let albums = "New Album|CD|Disc 1|Nouvel album|Ohne Titel|Neuer Ordner|[Unknown Album]|Unbekanntes Album|\
                     album inconnu|Álbum Desconocido|unknown album (23/11/2004 10:20:11)|V.A.|AudioCD|No Album";
        for name in albums.split('|') {
            assert!(is_no_album(name), "{name}");
        }
        for name in "Unknown Pleasures|Untitled|?|-|Album|Discovery|1".split('|') {
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
