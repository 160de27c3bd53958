//! Which song a recording is of, by its artist and its title: versions of a song differ in what stands in brackets or behind
//! a dash (live, remastered, radio edit).
//!
//! A title alone is a weak sign: whether two recordings with like titles are of one song, their sound decides
//! ([`SongTitle`]).

use super::artists::artists;
use super::text::fold;

/// Words that say how a song was recorded, mixed or released, and not which it is.
const VERSION_WORDS: [&str; 72] = [
    "8d",
    "a cappella",
    "acapella",
    "acoustic",
    "acoustique",
    "acustico",
    "akustik",
    "album",
    "alternate",
    "anniversary",
    "bbc",
    "bonus",
    "bootleg",
    "censored",
    "clean",
    "club",
    "cover",
    "deluxe",
    "demo",
    "directo",
    "dub",
    "edit",
    "edition",
    "explicit",
    "extended",
    "feat",
    "featuring",
    "ft",
    "inch",
    "inst",
    "instrumental",
    "karaoke",
    "live",
    "long",
    "mashup",
    "mix",
    "mono",
    "nightcore",
    "off vocal",
    "orchestral",
    "original",
    "outtake",
    "public",
    "radio",
    "re recorded",
    "recorded",
    "rehearsal",
    "remaster",
    "remastered",
    "remastering",
    "remasterise",
    "remasterizado",
    "remix",
    "remixe",
    "remixed",
    "reprise",
    "rework",
    "rmx",
    "session",
    "sessions",
    "single",
    "slowed",
    "sped",
    "stereo",
    "take",
    "tv size",
    "unplugged",
    "ver",
    "version",
    "vip",
    "vivo",
    "vocal",
];

/// Words of titles that many pieces have: tempi, forms, parts of a mass, of a film, of an evening.
const COMMON_WORDS: &str = " act adagietto adagio agnus alap allegretto allegro alleluia allemande alternative amen \
    andante andantino announcement applause aria arioso banter battle benedictus blues boss \
    bourree cadenza cantabile capriccio chaconne chapter choral chorale chorus closing concerto \
    courante credits credo dei dialogue dies drum drums encore ending entracte epilogue etude \
    fanfare fantasia finale fuga fugue gat gavotte gigue gloria grave hidden hornpipe hymn \
    impromptu improv improvisation interlude intermezzo intermission intro introduction introit \
    introitus irae jam jig kyrie lacrimosa larghetto largo lento level maestoso magnificat main \
    march mazurka medley menu menuet menuetto minuet minuetto monologue movement nocturne \
    offertorium offertory opening outro ouverture overture part passacaglia polka polonaise \
    postlude prelude prestissimo presto prologue psalm raga recitative recitativo reel requiem \
    rhapsody romanze rondo sanctus sarabande satz scene scherzo serenade sinfonia skit solo \
    sonata sonatina soundcheck speech stage study suite tala talk tema theme title titles \
    toccata track trio tuning unknown untitled valse variation variations victory vivace waltz \
    walzer warmup ";

/// Words beside those that make no name of them: `Allegro ma non troppo`, `Prelude in C`.
const LINKS: &str = " a and assai bass bonus brio con d e et flat guitar in ma major minor moderato molto no non \
    nr of op opus percussion piano poco quasi sharp the troppo und ";

/// The same, of more than one word of which each could be a name's.
const COMMON_TITLES: [&str; 7] = [
    "end credits",
    "end theme",
    "end title",
    "end titles",
    "game over",
    "love theme",
    "warm up",
];

/// Words before the number of a part.
const PARTS: &str = " act book chapter episode kapitel movement mvt no nr number part parte partie pt satz scene teil vol \
    volume ";

/// Numbers other than digits.
const NUMBERS: &str = " i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi one two three four five six seven eight nine \
    ten eleven twelve ";

/// Brackets around the name of a version, opening and closing.
const OPENING: &str = "([{<~～〜（［｛【「『〔〈《";
const CLOSING: &str = ")]}>~～〜）］｝】」』〕〉》";

/// A title in parts: the name, and what follows it in brackets or behind a dash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TitleParts {
    /// In folded words.
    name: String,
    /// Further words that belong to the piece, folded: none of versions.
    rest: Vec<String>,
}

/// A title of which there may be versions, by whoever leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SongTitle {
    key: String,
    rest: Vec<String>,
}

/// How like two titles of one artist are, where they may be of one song.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TitleLikeness {
    /// The same name, and at most one of them has words behind it that are not known to tell versions.
    Same,
    /// The same name with different unknown words behind it: `Hurt (Ao Vivo)`, `Hurt (Wembley)`.
    Alike,
}

impl SongTitle {
    /// `None` where one of them is not known, or the title is one that many pieces have.
    pub fn new(artist: Option<&str>, title: Option<&str>) -> Option<Self> {
        let artist = fold(artists(artist?).first()?);
        let TitleParts { name, rest } = parts(title?);
        (!artist.is_empty() && !is_common(&name)).then(|| Self {
            key: format!("{artist}\n{name}"),
            rest,
        })
    }

    /// The artist and the name: equal for all that may be of one song.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `None`: they are of two pieces, whatever they sound like.
    pub fn likeness(&self, other: &Self) -> Option<TitleLikeness> {
        let of_part = |title: &Self| -> Vec<String> {
            title.rest.iter().filter_map(|rest| part(rest)).collect()
        };
        if self.key != other.key || of_part(self) != of_part(other) {
            return None;
        }
        let is_same = self.rest == other.rest || self.rest.is_empty() || other.rest.is_empty();
        Some(if is_same {
            TitleLikeness::Same
        } else {
            TitleLikeness::Alike
        })
    }
}

/// A text that is equal for recordings of the same song by the same artist: who leads, and the title without the words that
/// tell versions apart. `None` where one of them is not known, or the title names nothing.
pub fn song(artist: Option<&str>, title: Option<&str>) -> Option<String> {
    let SongTitle { mut key, rest } = SongTitle::new(artist, title)?;
    for words in &rest {
        key.push(' ');
        key.push_str(words);
    }
    Some(key)
}

/// Takes from the name all that is in brackets or behind a dash, and keeps of it what says more than a version.
fn parts(title: &str) -> TitleParts {
    let mut found = TitleParts::default();
    let mut name = String::new();
    let mut rest = title;
    while let Some((open, inside, close)) = brackets(rest) {
        name.push_str(&rest[..open]);
        let words = &rest[inside..close.0];
        // Brackets at the start are the name, whatever they say.
        if fold(&name).is_empty() {
            name.push_str(&format!(" {words} "));
        } else {
            found.put(words);
            name.push(' ');
        }
        rest = &rest[close.1..];
    }
    name.push_str(rest);
    while let Some((at, end)) = last_separator(&name) {
        let tail = name[end..].to_owned();
        name.truncate(at);
        found.put(&tail);
    }
    let folded = fold(&name);
    let featured = [" feat ", " ft ", " featuring "]
        .iter()
        .filter_map(|word| folded.find(word))
        .min();
    let mut words = &folded[..featured.unwrap_or(folded.len())];
    while let Some((before, last)) = words.rsplit_once(' ') {
        if !TRAILING.contains(&last) {
            break;
        }
        words = before;
    }
    TitleParts {
        name: words.to_owned(),
        ..found
    }
}

/// Words of versions that stand behind a name without a mark.
const TRAILING: [&str; 9] = [
    "acoustic",
    "demo",
    "instrumental",
    "karaoke",
    "live",
    "remaster",
    "remastered",
    "remix",
    "rmx",
];

impl TitleParts {
    fn put(&mut self, words: &str) {
        let folded = fold(words);
        if !tells_version(words) && !folded.is_empty() {
            self.rest.push(folded);
        }
    }
}

/// Where the first pair of brackets begins, its text begins, and that text and the pair end.
fn brackets(text: &str) -> Option<(usize, usize, (usize, usize))> {
    let (open, bracket) = text.char_indices().find(|(_, c)| OPENING.contains(*c))?;
    let inside = open + bracket.len_utf8();
    let (end, bracket) = text[inside..]
        .char_indices()
        .find(|(_, c)| CLOSING.contains(*c))?;
    let end = inside + end;
    Some((open, inside, (end, end + bracket.len_utf8())))
}

/// Where the last separator that something of a version stands behind begins and ends; a dash alone separates whatever it
/// is, as commas and colons are in names.
fn last_separator(name: &str) -> Option<(usize, usize)> {
    let dashes = [" - ", " – ", " — "];
    let others = [", ", ": ", " / ", " | "];
    let last = |separators: &[&str]| {
        let ends = separators
            .iter()
            .filter_map(|mark| Some((name.rfind(mark)?, mark.len())));
        ends.map(|(at, length)| (at, at + length)).max()
    };
    let dash = last(&dashes);
    let other = last(&others).filter(|&(_, end)| tells_version(&name[end..]));
    dash.max(other)
        .filter(|&(at, _)| !fold(&name[..at]).is_empty())
}

/// Whether a part of a title says which version it is: one of the words, an inch mark, or a year alone.
fn tells_version(part: &str) -> bool {
    let folded = format!(" {} ", fold(part));
    let year = folded.trim();
    let is_year = year.len() == 4
        && (year.starts_with("19") || year.starts_with("20"))
        && year.parse::<u16>().is_ok();
    let is_size = part
        .trim()
        .strip_suffix('"')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    is_year
        || is_size
        || VERSION_WORDS
            .iter()
            .any(|word| folded.contains(&format!(" {word} ")))
}

/// Whether many pieces have this name, in folded words: nothing but common words and numbers.
fn is_common(name: &str) -> bool {
    let is_digits = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    let mut words = name.split(' ');
    COMMON_TITLES.contains(&name)
        || words.clone().all(is_digits)
        || words.clone().any(|word| is_listed(COMMON_WORDS, word))
            && words.all(|word| {
                word.chars().count() == 1
                    || is_digits(word)
                    || [COMMON_WORDS, LINKS, NUMBERS]
                        .iter()
                        .any(|list| is_listed(list, word))
            })
}

/// - `list`: words with a space around each
fn is_listed(list: &str, word: &str) -> bool {
    list.contains(&format!(" {word} "))
}

/// The number of the part that words behind a name say a piece is: `part 2` is `2`, `ii allegro` is `ii`.
fn part(rest: &str) -> Option<String> {
    let is_number = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) || is_listed(NUMBERS, word)
    };
    let words: Vec<&str> = rest.split(' ').collect();
    let behind = words
        .windows(2)
        .find(|pair| is_listed(PARTS, pair[0]) && (is_number(pair[1]) || pair[1].len() == 1));
    let number = behind.map(|pair| pair[1]);
    number
        .or_else(|| words.first().copied().filter(|word| is_number(word)))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let song_titled = |title| song(Some("Alpha"), Some(title));
        song_titled(a).is_some() && song_titled(a) == song_titled(b)
    }

    fn likeness(a: &str, b: &str) -> Option<TitleLikeness> {
        let titles = [a, b].map(|title| SongTitle::new(Some("Alpha"), Some(title)));
        let [Some(a), Some(b)] = titles else {
            return None;
        };
        a.likeness(&b)
    }

    #[test]
    fn a_version_is_alike_in_any_language_and_any_brackets() {
        for version in [
            "Falling (Ao Vivo)",
            "Falling（Live）",
            "Falling【Live】",
            "Falling {Live}",
            "Falling ~Live~",
            "Falling [At Wembley]",
            "Falling (Slowed + Reverb)",
            "Falling (12\")",
            "Falling (8D Audio)",
            "Falling (カラオケ)",
            "Falling (Концерт)",
            "Falling (En directo desde Madrid)",
            "Falling - Sessão da Tarde",
            "Falling Live",
            "Falling, live",
            "Falling: Live",
            "Falling / Live",
            "FALLING (LIVE)",
            "Falling (From \"The Vault\")",
        ] {
            assert_eq!(
                likeness("Falling", version),
                Some(TitleLikeness::Same),
                "{version}"
            );
        }
        assert_eq!(
            likeness("Falling (Wembley)", "Falling (カラオケ)"),
            Some(TitleLikeness::Alike)
        );
        assert_eq!(likeness("Falling, Rising", "Falling, Sinking"), None);
    }

    #[test]
    fn parts_and_titles_of_many_pieces_are_no_versions() {
        for (a, b) in [
            ("Falling (Part I)", "Falling (Part II)"),
            ("Falling (Part I)", "Falling"),
            ("Quartet in A - I. Allegro", "Quartet in A - II. Allegro"),
            ("I. Allegro ma non troppo", "I. Allegro ma non troppo"),
            ("Menuetto & Trio", "Menuetto & Trio"),
            ("Opening Theme (Live)", "Opening Theme"),
            ("Agnus Dei", "Agnus Dei"),
            ("End Credits", "End Credits"),
            ("Piano Solo", "Piano Solo"),
            ("Étude (Long Road)", "Étude (Radio Tower)"),
            ("Interlude II", "Interlude II"),
            ("Track A", "Track A"),
        ] {
            assert_eq!(likeness(a, b), None, "{a} / {b}");
        }
        for name in ["Love Is Love", "X", "The Piano", "Sonata of the Wolf"] {
            assert!(likeness(name, name).is_some(), "{name}");
        }
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
            assert!(same("Hurt", version), "{version}");
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
            let is_plain = !title.contains(|c| OPENING.contains(c) || CLOSING.contains(c)) && !title.contains(" f");
            proptest::prop_assert!(of.is_none() || !is_plain || of == version, "{of:?} {version:?}");
        }
    }
}
