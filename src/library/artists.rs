//! Splits a text into artists, `Alpha feat. Beta` and `Alpha; Beta` are two, and the rule for equal
//! artists: those with one key.

use std::collections::HashSet;

use voisin_base::text::fold;

/// Separators of names, by Navidrome's defaults. Several values of one tag are joined by the last.
///
/// Commas, ampersands and "with" occur inside names (Tyler, The Creator; Simon & Garfunkel; Sleeping with Sirens).
const SEPARATORS: [&str; 6] = [" / ", " featuring ", " feat", " ft", ";", "\0"];

/// Placeholders that programs write for a missing artist, or for the many artists of a sampler, folded and without
/// blanks.
const NOBODY: [&str; 23] = [
    "unknown",
    "unknownartist",
    "artistunknown",
    "noartist",
    "various",
    "variousartist",
    "variousartists",
    "diverseartists",
    "va",
    "na",
    "null",
    "unbekannterkunstler",
    "verschiedeneinterpreten",
    "artisteinconnu",
    "artistesdivers",
    "artistadesconocido",
    "variosartistas",
    "artistasconosciuto",
    "artistivari",
    "onbekendeartiest",
    "неизвестныиисполнитель",
    "不明なアーティスト",
    "未知艺术家",
];

/// Placeholders for a missing album.
const NO_ALBUM: [&str; 16] = [
    "unknown",
    "unknownalbum",
    "noalbum",
    "various",
    "variousartists",
    "va",
    "na",
    "null",
    "unbekanntesalbum",
    "albuminconnu",
    "albumdesconocido",
    "albumsconosciuto",
    "onbekendalbum",
    "неизвестныиальбом",
    "不明なアルハム",
    "未知专辑",
];

/// Whether an artist's name is a placeholder: `Unknown Artist`, `Various Artists`, `Artiste inconnu`.
pub fn is_nobody(name: &str) -> bool {
    /// Signs that alone name no artist; `?` and `-` are albums.
    const SIGNS: [char; 6] = ['-', '?', '_', '.', '…', '？'];
    name.trim().trim_start_matches(SIGNS).is_empty() || is_none(&NOBODY, name)
}

/// Whether an album's or a genre's name is a placeholder: `Unknown Album`, `(None)`.
pub fn is_no_album(name: &str) -> bool {
    is_none(&NO_ALBUM, name)
}

fn is_none(placeholders: &[&str], name: &str) -> bool {
    let name = name.trim();
    // `None` is a band, `(none)` is none.
    if name.is_empty() || matches!(name, "none" | "(none)" | "(None)" | "<none>") {
        return true;
    }
    // Windows Media Player writes "Unknown album (23/11/2004 10:20:11)". After a single word, brackets distinguish
    // artists: "Diverse (rapper)".
    let before = name.split([' ']).count() > 2;
    let end = name.find(" (").filter(|_| before).unwrap_or(name.len());
    let letters: String = fold(&name[..end]).split([' ', '_']).collect();
    // "Unknown Artist 1"
    let letters = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    placeholders.contains(&letters)
}

/// Most bytes of a text that may be a placeholder as a whole.
const LONGEST: usize = 200;

/// Most names of a text, so that comparing all names of two tracks is bounded.
const MOST_NAMES: usize = 200;

/// The first 200 names in a text, in order, each artist once; the text itself if there is only one.
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
        if !is_nobody(name) && known.insert(fold(name)) {
            names.push(name);
        }
        match after {
            Some(after) if names.len() < MOST_NAMES => rest = after,
            _ => break,
        }
    }
    names
}

/// The artists of a text as keys: two are the same artist if their names are equal without case,
/// accents and signs.
pub fn artist_keys(text: &str) -> Vec<String> {
    artists(text).into_iter().map(fold).collect()
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
    fn placeholders_are_known() {
        let names = "V. A.|[Various]|VariousArtists|Various Artist|Unknown Artist 1|unknown_artist|[Unknown Artist]|\
                     UNBEKANNTER KU\u{308}NSTLER|Artiste inconnu|неизвестный исполнитель|不明なアーティスト|\
                     unknown artist (1)|Various Artists (Sampler)|N / A|???|_|-|null|(None)";
        for name in names.split('|') {
            assert!(is_nobody(name), "{name}");
            assert!(artists(name).is_empty(), "{name}");
        }
        let bands = "The Unknown|Various Cruelties|V.A.S.T.|!!!|Various (rapper)|Van|None|Unknown Mortal Orchestra";
        for name in bands.split('|') {
            assert_eq!(artists(name), [name]);
        }
        for name in "[Unknown Album]|album inconnu|unknown album (23/11/2004 10:20:11)".split('|') {
            assert!(is_no_album(name), "{name}");
        }
        for name in "Unknown Pleasures|Untitled|?|-|Album|Discovery|1".split('|') {
            assert!(!is_no_album(name), "{name}");
        }
    }
}
