//! Short names of licences, for all spellings in files.

use super::fold;

/// The short name of a licence: `cc-by-sa-4.0` for the address and the short spellings of a Creative Commons licence, `cc0-1.0`,
/// `public-domain`; any other text comes back as it is. A version that is not named is left out.
pub fn licence_id(text: &str) -> String {
    creative_commons(text).unwrap_or_else(|| text.trim().to_owned())
}

/// Whether a licence as a file spells it is the one that `wanted` names; see
/// [`TrackFilter::licences`](super::TrackFilter::licences).
pub fn licence_fits(text: &str, wanted: &str) -> bool {
    // Other licences have no short names: a part of their text matches.
    let (Some(wanted), Some(id)) = (wished_id(wanted), creative_commons(text)) else {
        return fold(text).contains(&fold(wanted));
    };
    // cc-by must not match cc-by-sa, but any version of itself
    let with_version = |rest: &str| {
        rest.strip_prefix('-')
            .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    };
    match id.strip_prefix(&wanted) {
        Some("") => true,
        Some(rest) => wanted == "cc" || with_version(rest),
        None => false,
    }
}

/// The licences that a text names, with commas between them.
pub fn licences_named(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The id of a requested licence, if the request is a licence's name alone. Notices in files are parsed leniently;
/// doing so with a request would ignore the words beside the name.
fn wished_id(wanted: &str) -> Option<String> {
    let wanted = wanted.trim().to_lowercase();
    // An address within a sentence is a notice, and not a request for that licence.
    let is_address = wanted.contains("creativecommons.org/") && !wanted.contains([' ', ',']);
    let is_part = |part: &str| {
        matches!(
            part,
            "cc" | "cc0" | "by" | "nc" | "nd" | "sa" | "zero" | "public" | "domain"
        ) || part.parse::<f32>().is_ok()
    };
    let is_name = wanted.split([' ', '-', '_']).all(is_part);
    (is_address || is_name).then(|| licence_id(&wanted))
}

fn creative_commons(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    // Only words identify licences: files have "CC BY-SA 4.0", "cc-by-sa" and ".../licenses/by-sa/4.0/".
    let parts: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let find = |words: &[&str]| parts.iter().position(|part| words.contains(part));
    let named = find(&["cc", "cc0", "creativecommons"]);
    // CC0 first: its notices also say "public domain".
    if let Some(at) = find(&["cc0", "zero"]).filter(|_| named.is_some()) {
        return Some(versioned("cc0", &parts[at + 1..]));
    }
    if text.replace(['-', '_'], " ").contains("public domain") || text.contains("publicdomain/mark")
    {
        return Some("public-domain".to_owned());
    }
    let rest = &parts[named?..];
    let start = rest.iter().position(|part| *part == "by")?;
    let codes = rest[start..]
        .iter()
        .take_while(|part| ["by", "nc", "nd", "sa"].contains(part));
    let codes: Vec<&str> = codes.copied().collect();
    let id = format!("cc-{}", codes.join("-"));
    Some(versioned(&id, &rest[start + codes.len()..]))
}

/// `id` with the version that comes next, if one does: `4 0` is 4.0, and so is `4`.
fn versioned(id: &str, next: &[&str]) -> String {
    let number = |at: usize| next.get(at)?.parse::<u8>().ok().filter(|n| *n < 10);
    match (number(0), number(1)) {
        (Some(major), minor) => format!("{id}-{major}.{}", minor.unwrap_or(0)),
        (None, _) => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_creative_commons_has_one_name() {
        for (text, id) in [
            (
                "https://creativecommons.org/licenses/by-sa/4.0/",
                "cc-by-sa-4.0",
            ),
            (
                "http://creativecommons.org/licenses/by-nc-nd/3.0/us/",
                "cc-by-nc-nd-3.0",
            ),
            ("CC BY-SA 4.0", "cc-by-sa-4.0"),
            ("cc-by", "cc-by"),
            ("2019 Someone. Licensed under CC BY 4.0", "cc-by-4.0"),
            ("CC BY, track 3", "cc-by"),
            ("CC BY 3", "cc-by-3.0"),
            ("cc by nc sa 2.5", "cc-by-nc-sa-2.5"),
            (
                "https://creativecommons.org/publicdomain/zero/1.0/",
                "cc0-1.0",
            ),
            ("CC0", "cc0"),
            ("CC0 1.0 Universal", "cc0-1.0"),
            (
                "https://creativecommons.org/publicdomain/mark/1.0/",
                "public-domain",
            ),
            ("Public Domain", "public-domain"),
            ("GPL-2+", "GPL-2+"),
            (" Free Art License 1.3 ", "Free Art License 1.3"),
            ("success by chance", "success by chance"),
        ] {
            assert_eq!(licence_id(text), id, "{text}");
        }
    }

    #[test]
    fn a_licence_means_itself_and_its_versions() {
        let by = "http://creativecommons.org/licenses/by/3.0/";
        let sa = "CC BY-SA 4.0";
        for (text, wanted, fits) in [
            (by, "cc-by", true),
            (by, "CC BY", true),
            (by, "cc-by-3.0", true),
            (by, "cc-by-4.0", false),
            (sa, "cc-by", false),
            (sa, "cc-by-sa", true),
            (sa, "cc", true),
            ("CC0 1.0", "cc0", true),
            ("GPL-2+", "gpl", true),
            ("GPL-2+", "cc", false),
            ("CC0 1.0", "cc-by,cc0", false),
            (by, "cc-by,cc-by-nc", false),
            (by, "http://creativecommons.org/licenses/by/3.0/", true),
            ("2019 Someone, free of charge", "free of charge", true),
        ] {
            assert_eq!(licence_fits(text, wanted), fits, "{text} as {wanted}");
        }
    }
}
