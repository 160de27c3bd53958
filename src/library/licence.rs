//! Short names of licences.

use super::fold;

/// The short name of a licence: `cc-by-sa-4.0` for the address and the name of a Creative Commons licence, `cc0-1.0`,
/// `public-domain`; any other text comes back as it is.
pub fn licence_id(text: &str) -> String {
    creative_commons(text).unwrap_or_else(|| text.trim().to_owned())
}

/// Whether a licence as a file spells it is the one that `wanted` names; see
/// [`TrackFilter::licences`](super::TrackFilter::licences).
pub fn licence_fits(text: &str, wanted: &str) -> bool {
    let wanted_id = match wanted.trim() {
        all if all.eq_ignore_ascii_case("cc") => Some("cc".to_owned()),
        name => creative_commons(name),
    };
    // Other licences have no short names: a part of their text matches.
    let (Some(wanted), Some(id)) = (wanted_id, creative_commons(text)) else {
        return fold(text).contains(&fold(wanted));
    };
    // cc-by must not match cc-by-sa, but any version of itself.
    let is_version = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    match id.strip_prefix(&wanted) {
        Some("") => true,
        Some(rest) => wanted == "cc" || rest.strip_prefix('-').is_some_and(is_version),
        None => false,
    }
}

/// The licences that a text names, with commas between them.
pub fn licences_named(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn creative_commons(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    if let Some((_, address)) = text.split_once("creativecommons.org/") {
        let mut parts = address.split(['/', ' ']);
        let (kind, code) = (parts.next()?, parts.next()?);
        let id = match (kind, code) {
            (_, "mark") => return Some("public-domain".to_owned()),
            (_, "zero") => "cc0".to_owned(),
            _ => format!("cc-{code}"),
        };
        let version = parts.next().filter(|version| !version.is_empty());
        return Some(version.map_or(id.clone(), |version| format!("{id}-{version}")));
    }
    let name = text.replace([' ', '_'], "-");
    let is_known = name == "public-domain" || name.starts_with("cc-by") || name.starts_with("cc0");
    is_known.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_of_creative_commons_has_one_name() {
        for (text, id) in [
            (
                "Licensed to the public under http://creativecommons.org/licenses/by-sa/4.0/",
                "cc-by-sa-4.0",
            ),
            (
                "http://creativecommons.org/licenses/by-nc-nd/3.0/us/",
                "cc-by-nc-nd-3.0",
            ),
            ("CC BY-SA 4.0", "cc-by-sa-4.0"),
            ("cc-by", "cc-by"),
            (
                "https://creativecommons.org/publicdomain/zero/1.0/",
                "cc0-1.0",
            ),
            ("CC0", "cc0"),
            ("Public Domain", "public-domain"),
            ("GPL-2+", "GPL-2+"),
            (" Free Art License 1.3 ", "Free Art License 1.3"),
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
            ("GPL-2+", "gpl", true),
            ("GPL-2+", "cc", false),
            (by, by, true),
            ("2019 Someone, free of charge", "free of charge", true),
        ] {
            assert_eq!(licence_fits(text, wanted), fits, "{text} as {wanted}");
        }
    }
}
