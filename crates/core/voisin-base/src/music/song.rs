//! Which song a recording is of, by its artist and its title: versions of a song differ in what stands in brackets or behind
//! a dash (live, remastered, radio edit).

use super::artists::artists;
use super::text::fold;

/// Words that say how a song was recorded, mixed or released, and not which it is.
const VERSION_WORDS: [&str; 46] = [
    "a cappella",
    "acapella",
    "acoustic",
    "album",
    "alternate",
    "anniversary",
    "bonus",
    "censored",
    "clean",
    "club",
    "cover",
    "demo",
    "deluxe",
    "dub",
    "edit",
    "edition",
    "explicit",
    "extended",
    "feat",
    "featuring",
    "ft",
    "instrumental",
    "karaoke",
    "live",
    "long",
    "mix",
    "mono",
    "original",
    "orchestral",
    "outtake",
    "radio",
    "re recorded",
    "recorded",
    "rehearsal",
    "remaster",
    "remastered",
    "remix",
    "remixed",
    "reprise",
    "rework",
    "session",
    "sessions",
    "single",
    "stereo",
    "take",
    "version",
];

/// Titles that many pieces have: two of one artist may be two pieces.
const NO_NAMES: [&str; 14] = [
    "bonus track",
    "hidden track",
    "interlude",
    "intermission",
    "intro",
    "introduction",
    "no title",
    "outro",
    "prelude",
    "skit",
    "track",
    "unknown",
    "unknown title",
    "untitled",
];

/// A text that is equal for recordings of the same song by the same artist: who leads, and the title without the words that
/// tell versions apart. `None` where one of them is not known, or the title names nothing.
pub fn song(artist: Option<&str>, title: Option<&str>) -> Option<String> {
    let artist = fold(artists(artist?).first()?);
    let title = name_of(title?);
    let says_nothing = NO_NAMES
        .contains(&title.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' '))
        || title
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b' ');
    (!artist.is_empty() && !says_nothing).then(|| format!("{artist}\n{title}"))
}

/// The title in folded words, without what only tells versions apart; what is in brackets or behind a dash and says more
/// stays.
fn name_of(title: &str) -> String {
    let mut kept = String::new();
    let mut rest = title;
    while let Some((open, close)) = brackets(rest) {
        kept.push_str(&rest[..open]);
        let inside = &rest[open + 1..close];
        // Brackets at the start are the name, whatever they say.
        if !tells_version(inside) || fold(&kept).is_empty() {
            kept.push_str(&format!(" {inside} "));
        }
        rest = &rest[close + 1..];
    }
    kept.push_str(rest);
    let dashes = [" - ", " – ", " — "];
    while let Some(at) = dashes.iter().filter_map(|dash| kept.rfind(dash)).max() {
        if fold(&kept[..at]).is_empty() || !tells_version(&kept[at..]) {
            break;
        }
        kept.truncate(at);
    }
    let folded = fold(&kept);
    let featured = [" feat ", " ft ", " featuring "]
        .iter()
        .filter_map(|word| folded.find(word))
        .min();
    folded[..featured.unwrap_or(folded.len())].to_owned()
}

/// Where the first pair of brackets begins and ends.
fn brackets(text: &str) -> Option<(usize, usize)> {
    let open = text.find(['(', '['])?;
    let close = open + text[open..].find([')', ']'])?;
    Some((open, close))
}

/// Whether a part of a title says which version it is: one of the words, or a year alone.
fn tells_version(part: &str) -> bool {
    let folded = format!(" {} ", fold(part));
    let year = folded.trim();
    let is_year = year.len() == 4
        && (year.starts_with("19") || year.starts_with("20"))
        && year.parse::<u16>().is_ok();
    is_year
        || VERSION_WORDS
            .iter()
            .any(|word| folded.contains(&format!(" {word} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let song_titled = |title| song(Some("Alpha"), Some(title));
        song_titled(a).is_some() && song_titled(a) == song_titled(b)
    }

    #[test]
    fn versions_are_one_song() {
        for version in [
            "Hurt (Live)",
            "Hurt [Live at Wembley, 1986]",
            "Hurt - 2011 Remaster",
            "Hurt – Remastered 2009",
            "Hurt (Radio Edit)",
            "Hurt - Single Version - Mono",
            "Hurt (feat. Beta) [Extended Mix]",
            "Hurt ft. Beta",
            "HURT (Somebody's Remix)",
            "Hurt (Acoustic) (1994)",
            "Hurt (Demo",
        ] {
            assert_eq!(same("Hurt", version), version != "Hurt (Demo", "{version}");
        }
        assert_eq!(
            song(Some("Alpha feat. Beta"), Some("Hurt")),
            song(Some("ALPHA; Gamma"), Some("hurt!"))
        );
        assert!(same("Tom's Diner (7\" A Cappella)", "Toms Diner"));
    }

    #[test]
    fn other_songs_are_others() {
        for (a, b) in [
            (
                "Another Brick in the Wall (Part 1)",
                "Another Brick in the Wall (Part 2)",
            ),
            (
                "Symphony No. 5 - I. Allegro",
                "Symphony No. 5 - II. Andante",
            ),
            ("Live and Let Die", "Let Die"),
            ("Radio Ga Ga", "Ga Ga"),
            ("(I Can't Get No) Satisfaction", "Satisfaction Guaranteed"),
            ("Prelude in C", "Prelude in D"),
            ("Hurt", "Hurts"),
        ] {
            assert!(!same(a, b), "{a} / {b}");
        }
        assert_ne!(
            song(Some("Alpha"), Some("Hurt")),
            song(Some("Beta"), Some("Hurt"))
        );
        for title in [
            "Intro",
            "Untitled",
            "Track 07",
            "07",
            "Interlude (Live)",
            "Prelude 2",
        ] {
            assert_eq!(song(Some("Alpha"), Some(title)), None, "{title}");
        }
        assert_eq!(
            (song(None, Some("Hurt")), song(Some("Alpha"), None)),
            (None, None)
        );
        // A title that is nothing but such words keeps them.
        assert!(same("(Live)", "(live)") && !same("(Live)", "(Demo)"));
    }

    proptest::proptest! {
        #[test]
        fn any_title_is_read(artist in "\\PC{0,20}", title in "\\PC{0,40}", word in "(live|remix|2011 remaster|demo)") {
            let of = song(Some(&artist), Some(&title));
            let version = song(Some(&artist), Some(&format!("{title} ({word})")));
            let is_plain = !title.contains(['(', '[', ')', ']']) && !title.contains(" f");
            proptest::prop_assert!(of.is_none() || !is_plain || of == version, "{of:?} {version:?}");
        }
    }
}
