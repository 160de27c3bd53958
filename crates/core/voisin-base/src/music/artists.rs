//! The artists that one text names: `Alpha feat. Beta` and `Alpha; Beta` are two.

/// Between names, as Navidrome splits artists by default. Several values of one tag are joined by the last.
///
/// A comma, an ampersand and "with" stand inside names (Tyler, The Creator; Simon & Garfunkel; Sleeping with Sirens).
const SEPARATORS: [&str; 6] = [" / ", " featuring ", " feat", " ft", ";", "\0"];

/// Names that programs write where nobody is named, or where the artists of a sampler are too many to name.
const NOBODY: [&str; 17] = [
    "unknown artist",
    "unknown",
    "[unknown]",
    "<unknown>",
    "(unknown)",
    "(none)",
    "<none>",
    "various artists",
    "various",
    "va",
    "v.a.",
    "v/a",
    "verschiedene",
    "verschiedene interpreten",
    "varios artistas",
    "artisti vari",
    "artistes divers",
];

/// Names that programs write where no album is named.
const NO_ALBUM: [&str; 8] = [
    "unknown album",
    "[unknown album]",
    "unknown",
    "[unknown]",
    "<unknown>",
    "(unknown)",
    "(none)",
    "<none>",
];

/// Whether an artist's name stands for nobody: `Unknown Artist`, `Various Artists`.
pub fn is_nobody(name: &str) -> bool {
    is_among(&NOBODY, name)
}

/// Whether an album's name, or a genre's, stands for none: `Unknown Album`, `(None)`.
pub fn is_no_album(name: &str) -> bool {
    is_among(&NO_ALBUM, name)
}

fn is_among(placeholders: &[&str], name: &str) -> bool {
    let name = name.trim();
    name.is_empty()
        || placeholders
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
}

/// The names in a text, in order, each once whatever its case; the text alone where there is but one.
pub fn artists(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let mut rest = text;
    loop {
        let next = next_separator(rest);
        let (name, after) = match next {
            Some((from, to)) => (&rest[..from], Some(&rest[to..])),
            None => (rest, None),
        };
        let name = name.trim();
        if !is_nobody(name)
            && !names
                .iter()
                .any(|known| known.to_lowercase() == name.to_lowercase())
        {
            names.push(name);
        }
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    names
}

/// Where the first separator begins and ends.
fn next_separator(text: &str) -> Option<(usize, usize)> {
    let mut starts = text.match_indices([' ', ';', '\0']).map(|(at, _)| at);
    starts.find_map(|at| Some((at, at + separator_length(&text[at..])?)))
}

/// The length of the separator that a text begins with; abbreviations end with a dot or a space.
fn separator_length(text: &str) -> Option<usize> {
    let separator = SEPARATORS.iter().find(|separator| {
        text.get(..separator.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(separator))
    })?;
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
