//! Recognises versions of a song by artist and title: their titles differ in the words in brackets or after a dash
//! (live, remastered, radio edit).
//!
//! A title alone is weak evidence: for recordings with similar titles the sound decides ([`SongTitle`]).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use super::artists::artists;
use voisin_base::text::fold;

/// Folded words and pairs of words.
type FoldedWords = LazyLock<HashSet<String>>;

/// - `list`: words separated by blanks; `_` joins a pair
fn folded_words(list: &str) -> HashSet<String> {
    list.split_whitespace()
        .map(|word| fold(&word.replace('_', " ")))
        .collect()
}

/// Words for how a song was recorded, mixed or released.
///
/// They only separate the title from its version: text in brackets or after a dash needs none of them.
static VERSION_WORDS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "8d a_cappella acapella accapella acoustic acoustique acústica acústico akoestisch akustik akustisch akustisk \
         akustyczna album alternate alternative anniversary atmos backing_track bbc bonus bootleg canlı censored clean \
         club concert cover daycore deluxe demo directo direto diretta dub edit edition explicit extended feat featuring \
         ft inch inst instrumental instrumentaal instrumentale karaoke konzert live lofi lo_fi long mashup minus_one mix \
         mono mtv na_żywo nightcore off_vocal orchestral original outtake playback public radio re_recorded recorded \
         rehearsal remaster remastered remastering remasterisé remasterizado remasterizada remix remixé remixed reprise \
         reverb rework rmx session sessions single slowed sped speed_up stereo stripped take tv_size uncensored unplugged \
         ver version versión versione versão versie versio versjon verze wersja vip vivo vocal živě uživo \
         акустика акустическая версия демо живой вживую караоке концерт минус наживо ремастер ремикс \
         ライブ ライヴ カラオケ アコースティック デモ リミックス リマスター インスト バージョン ヴァージョン \
         伴奏 现场 現場 不插电 라이브 어쿠스틱 리믹스 노래방",
    )
});

/// Version words that follow a name without a separator and are no part of names.
static TRAILING: FoldedWords = LazyLock::new(|| {
    folded_words(
        "acoustic acoustique acústico akustik demo instrumental karaoke live nightcore remaster remastered remasterisé \
         remasterizado remix rmx slowed sped_up unplugged acoustic_version album_version ao_vivo club_mix dal_vivo \
         demo_version en_concert en_directo en_public en_vivo extended_mix extended_version in_concert live_session \
         live_version na_żywo original_mix piano_version radio_edit single_version вживую караоке ремикс \
         ライブ カラオケ 现场 現場 라이브",
    )
});

/// Words of titles that many pieces have: tempi, forms, parts of a mass, a film or an evening.
static COMMON_WORDS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "abertura abspann act adagietto adagio agnus air alap allegretto allegro alleluia allemande alternative amen \
         andante andantino announcement apertura applause aria arie arioso auftritt badinerie banter battle benedictus \
         blues boss bourrée cadenza canon canzona capriccio chaconne chapter chœur chor choral chorale chorus closing coda \
         concerto coro courante credits créditos credo csárdás danse danza dei dialogue dies divertimento drum drums \
         einleitung encerramento encore ending entracte entrée epilog epilogo epilogue étude fanfare fantasia fantasie \
         final finale fuga fuge fugue galop gat gavotte générique gigue gloria grave hauptthema hidden hornpipe hymn \
         impromptu improv improvisación improvisation improvvisazione instrumental interlude interludio intermède \
         intermedio intermezzo intermission intro introdução introducción introduction introduzione introit introitus \
         invention irae jam jhala jig jor kyrie lacrimosa ländler larghetto largo lento level lied maestoso magnificat \
         main march marche marcia marsch mazurka medley menu menuet menuett menuetto minuet minuetto monologue mouvement \
         movement nachspiel nocturne notturno obertura offertorium offertory opening outro ouvertüre ouverture overture \
         part partita passacaglia passepied pastorale pausa pause pista polka polonaise polska postlude potpourri \
         präludium prélude preludio prelude prestissimo presto prolog prologo prologue psalm raga recitative recitativo \
         reel requiem rhapsody rigaudon ritornello romance romanze rondeau rondo sanctus sarabande satz scène scene \
         scherzo serenade serenata sicilienne siciliana sigla sinfonia skit solo sonata sonate sonatina soundcheck speech \
         stage strathspey study suite szene tala talk tanz tarana tema thema theme thème titel titelmusik title titles \
         titoli titre título toccata track trio tuning unbenannt unknown untitled vals valse variation variationen \
         variations victory vinheta vivace vorspann vorspiel waltz walzer warmup zwischenspiel \
         вальс вступление импровизация интерлюдия интро концерт марш названия ноктюрн прелюдия соло соната тема титры \
         трек увертюра финал фуга часть этюд \
         序曲 前奏曲 前奏 間奏 間奏曲 间奏 終曲 终曲 尾声 主題 主题曲 練習曲 即興曲 変奏曲 組曲 無題 无题 \
         イントロ アウトロ オープニング エンディング インタールード メインテーマ 서곡 전주곡 간주곡 인트로 아웃트로 무제",
    )
});

/// Of those, the names of movements, parts of a mass and dances: after a work's name they denote a part of it.
static MOVEMENTS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "adagietto adagio agnus allegretto allegro allemande andante andantino aria badinerie benedictus bourrée cadenza \
         chaconne courante credo finale fuga fuge fugue gavotte gigue gloria grave kyrie lacrimosa larghetto largo lento \
         menuet menuett menuetto minuet minuetto moderato ouvertüre ouverture overture passacaglia passepied polonaise \
         präludium prelude preludio prestissimo presto recitative recitativo romanze rondeau rondo sanctus sarabande \
         scherzo siciliana sicilienne toccata vivace адажио аллегро анданте",
    )
});

/// Words that leave a common title common: `Allegro ma non troppo`, `Prelude in C`, `Sans titre`.
static LINKS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "a and assai bass bonus brio con d de des du e end et flat for ghost guitar in la le ma major minor moderato molto \
         no non nr of ohne op opus percussion piano poco quasi sans senza sharp sin sem the troppo und without y без",
    )
});

/// Common titles of several words, each of which could be in a name.
const COMMON_TITLES: [&str; 7] = [
    "end credits",
    "end theme",
    "end title",
    "end titles",
    "game over",
    "love theme",
    "warm up",
];

/// Words before or after the number of a part.
static PARTS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "act aflevering afsnit akt atto avsnitt bölüm book bwv capítol capitolo capitolul capítulo chapitre chapter část \
         część deel del ep episode episodio episódio fejezet folge hoofdstuk jakso kapitel kapitola kapittel lektion \
         lesson livre luku mouvement movement movimento mvt no nr número number odcinek op opus osa parte part partie \
         poglavlje pt puntata rész rozdział satz scena scène scene side teil tome vol volume κεφάλαιο выпуск глава книга \
         розділ серия том частина часть эпизод エピソード פרק",
    )
});

/// Of those, words that occur in names, too: `Number One`, `Opus 17`.
const PARTS_OF_NAMES: [&str; 3] = ["number", "numero", "opus"];

/// Signs after the number of a part.
static COUNTERS: FoldedWords = LazyLock::new(|| {
    folded_words("章 回 話 话 集 部 巻 卷 幕 節 节 課 课 楽章 乐章 장 부 화 권 편 회")
});

/// Numbers other than digits.
static NUMBERS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx one two three four five six seven eight \
         nine ten eleven twelve 一 二 三 四 五 六 七 八 九 十 上 中 下 前編 後編 前篇 後篇 前半 後半 上集 下集 上篇 下篇",
    )
});

/// Numbers that only count beside a word such as `part`.
static ORDINALS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "first second third fourth eins zwei drei vier erster erste zweiter zweite dritter dritte vierter vierte un deux \
         trois quatre premier première deuxième troisième uno una dos tres primera primero segunda segundo tercera \
         tercero due tre quattro prima primo seconda secondo terza terzo quarta quarto um dois três primeira primeiro \
         terceira terceiro первая первый вторая второй третья третий",
    )
});

/// Brackets around the name of a version, opening and closing.
const OPENING: &str = "([{<~～〜（［｛【「『〔〈《";
const CLOSING: &str = ")]}>~～〜）］｝】」』〕〉》";
/// Signs around it that names have, too: they only count around words of a version.
const QUOTES: [(char, char); 6] = [
    ('"', '"'),
    ('“', '”'),
    ('„', '“'),
    ('«', '»'),
    ('*', '*'),
    ('-', '-'),
];

/// A title split into its name and the text in brackets or after a dash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TitleParts {
    /// The name, as folded words.
    name: String,
    /// Further folded words that are not of a version.
    rest: Vec<String>,
    /// Whether there were words of a version.
    has_version: bool,
}

/// A title that may have versions, with its main artist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SongTitle {
    key: String,
    rest: Vec<String>,
    has_version: bool,
}

/// Most bytes of a name or title: the time is quadratic in their length, and a tag may hold a megabyte.
const LONGEST: usize = 1000;

/// How similar two titles of one artist are that may be of one song.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TitleLikeness {
    /// The song and any version of it: `Hurt`, `Hurt (Ao Vivo)`.
    Same,
    /// Two versions with known words: `Hurt (Live)`, `Hurt (Remix)`.
    Versions,
    /// Equal titles: a copy, or a title that many pieces have, rather than a version.
    Equal,
    /// The same name followed by different unknown words, or by words without a separator and words of a version:
    /// `Hurt (Wembley)` and `Hurt (Nara)`, `Hurt` and `Hurt BBC Session`.
    Alike,
}

impl TitleLikeness {
    /// Whether titles alone suffice for one song if nothing else is known.
    pub fn is_sure(self) -> bool {
        self != Self::Alike
    }

    /// Whether recordings with such titles by one artist sound similar enough for versions of one song.
    ///
    /// Chosen on two songs of `research/quality/title_figures.py` and evaluated on two others: of 118
    /// altered copies of a recording (pitch, speed, echo, cut, other mixes) a list leaves out 115 and
    /// 114, of as many other recordings 5 and 1. With 0.85 and 0.9 it left out 17 and 9 of those.
    ///
    /// - `similarity`: of raw vectors, independent of the library
    pub fn is_version(self, similarity: f32) -> bool {
        similarity >= if self == Self::Same { 0.87 } else { 0.95 }
    }
}

impl SongTitle {
    /// `None` if one is missing or very long, or many pieces have this title.
    pub fn new(artist: Option<&str>, title: Option<&str>) -> Option<Self> {
        let title = title.filter(|title| title.len() <= LONGEST)?;
        // The main artist: guests are named in some versions only.
        let leader = *artists(artist?).first()?;
        if leader.len() > LONGEST {
            return None;
        }
        let artist = fold(leader);
        let TitleParts {
            name,
            rest,
            has_version,
        } = parts(title);
        (!artist.is_empty() && !is_common(&name)).then(|| Self {
            key: format!("{artist}\n{name}"),
            rest,
            has_version,
        })
    }

    /// Whether nothing follows the name.
    pub fn is_plain(&self) -> bool {
        self.rest.is_empty() && !self.has_version
    }

    /// The artist and the name: equal for all titles that may be of one song, except those with words without a
    /// separator ([`shorter_keys`](Self::shorter_keys)).
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The keys of shorter names at the start of this one: `Hurt` of `Hurt Live at Wembley`.
    pub fn shorter_keys(&self) -> impl Iterator<Item = &str> {
        let name = self.key.find('\n').map_or(0, |end| end + 1);
        let ends = self.key[name..].match_indices(' ');
        ends.map(move |(at, _)| &self.key[..name + at])
    }

    /// The words after another title's name, if this one begins with it.
    fn words_behind(&self, other: &Self) -> Option<&str> {
        self.key.strip_prefix(&other.key)?.strip_prefix(' ')
    }

    /// `None`: they are of two pieces, however similar they sound.
    pub fn likeness(&self, other: &Self) -> Option<TitleLikeness> {
        if other.words_behind(self).is_some() {
            return other.likeness(self);
        }
        if let Some(words) = self.words_behind(other) {
            let cut = Self {
                key: other.key.clone(),
                rest: self.rest.clone(),
                has_version: true,
            };
            let likeness = cut.likeness(other)?;
            let is_year = is_year(words) || is_short_year(words);
            let is_of_part = part(words).is_some() && !is_year;
            if is_of_part || begins_version(words) {
                return (!is_of_part).then_some(likeness);
            }
            // The words have no separator, and of 587 pairs of different songs by one artist a tenth sound as similar
            // as versions (EMOTIFY): without a version word, `Falling Down` is another song than `Falling`.
            let is_version = is_year || has_any(&VERSION_WORDS, words);
            return is_version.then_some(TitleLikeness::Alike);
        }
        let of_part = |title: &Self| -> Vec<String> {
            title.rest.iter().filter_map(|rest| part(rest)).collect()
        };
        if self.key != other.key || of_part(self) != of_part(other) {
            return None;
        }
        let has_one_plain = self.is_plain() != other.is_plain();
        Some(if has_one_plain {
            TitleLikeness::Same
        } else if self == other && !self.has_version {
            TitleLikeness::Equal
        } else if self.rest == other.rest || self.rest.is_empty() || other.rest.is_empty() {
            TitleLikeness::Versions
        } else {
            TitleLikeness::Alike
        })
    }
}

/// A text that is equal for recordings of the same song by the same artist: the main artist, and the title without
/// words of versions. `None` if one of them is missing or empty.
pub fn song(artist: Option<&str>, title: Option<&str>) -> Option<String> {
    let SongTitle { mut key, rest, .. } = SongTitle::new(artist, title)?;
    for words in &rest {
        key.push(' ');
        key.push_str(words);
    }
    Some(key)
}

/// Splits off text in brackets or after a dash, and keeps of it the words that are not of a version.
fn parts(title: &str) -> TitleParts {
    let mut found = TitleParts::default();
    let mut name = String::new();
    let mut rest = title;
    // Brackets first: a dash inside of them is no separator.
    while let Some((open, inside, close)) = brackets(rest) {
        name.push_str(&rest[..open]);
        let words = &rest[inside..close.0];
        // Brackets at the start are the name, unless they hold words of a version and a name
        // follows.
        let is_version = names_version(words) && !fold(&rest[close.1..]).is_empty();
        let is_name = fold(&name).is_empty() && !is_version;
        if is_name {
            name.push_str(&format!(" {words} "));
        } else {
            found.put(words);
            name.push(' ');
        }
        rest = &rest[close.1..];
    }
    name.push_str(rest);
    while let Some(place) = quoted_version(&name) {
        found.has_version = true;
        name.replace_range(place, " ");
    }
    // From the end, so that "A - B - Live" first loses its version, and "B" is checked separately.
    while let Some((at, end)) = last_separator(&name) {
        let tail = name[end..].to_owned();
        name.truncate(at);
        found.put(&tail);
    }
    let folded = fold(&name);
    // Guests without brackets end the name.
    let featured = [" feat ", " ft ", " featuring "]
        .iter()
        .filter_map(|word| folded.find(word))
        .min();
    let mut words = &folded[..featured.unwrap_or(folded.len())];
    while let Some(before) = without_version(words) {
        found.has_version = true;
        words = before;
    }
    TitleParts {
        name: words.to_owned(),
        ..found
    }
}

/// A name without the words of a version at its end; `None` if there are none, or no others.
fn without_version(name: &str) -> Option<&str> {
    // One word at the end, then two: "live", "radio edit".
    (0..2).find_map(|n| {
        let (at, _) = name.rmatch_indices(' ').nth(n)?;
        TRAILING.contains(&name[at + 1..]).then_some(&name[..at])
    })
}

/// Whether words after a name begin with words of a version: `live at Wembley`, `radio edit 2003`.
fn begins_version(words: &str) -> bool {
    let blanks = words.match_indices(' ').map(|(at, _)| at);
    let mut ends = blanks.take(2).chain([words.len()]);
    ends.any(|end| TRAILING.contains(&words[..end]))
}

/// Whether a text is a year.
fn is_year(text: &str) -> bool {
    text.len() == 4
        && (text.starts_with("19") || text.starts_with("20"))
        && text.parse::<u16>().is_ok()
}

/// Whether a text is the end of a year, as in `Hurt '98`.
// Remakes have such names from about 1950 on; numbers of pieces are lower.
fn is_short_year(text: &str) -> bool {
    text.len() == 2 && text.parse::<u8>().is_ok_and(|year| year >= 50)
}

/// The range of quotes or stars after a name around words of a version.
fn quoted_version(name: &str) -> Option<Range<usize>> {
    QUOTES.iter().find_map(|&(open, close)| {
        name.match_indices(open).find_map(|(start, mark)| {
            let inside = start + mark.len();
            let end = inside + name[inside..].find(close)?;
            // A dash within a word is no quote.
            let is_marked =
                open != '-' || name[..start].ends_with(' ') && !name[inside..].starts_with(' ');
            let is_version =
                is_marked && !fold(&name[..start]).is_empty() && names_version(&name[inside..end]);
            is_version.then(|| start..end + close.len_utf8())
        })
    })
}

impl TitleParts {
    fn put(&mut self, words: &str) {
        let folded = fold(words);
        if names_version(words) {
            self.has_version = true;
        } else if !folded.is_empty() {
            self.rest.push(folded);
        }
    }
}

/// The first pair of brackets: its start, the start of its text, and the ends of text and pair.
fn brackets(text: &str) -> Option<(usize, usize, (usize, usize))> {
    let (open, bracket) = text.char_indices().find(|(_, c)| OPENING.contains(*c))?;
    let inside = open + bracket.len_utf8();
    let (end, bracket) = text[inside..]
        .char_indices()
        // Any closing bracket, as titles mix half and full width.
        .find(|(_, c)| CLOSING.contains(*c))?;
    let end = inside + end;
    Some((open, inside, (end, end + bracket.len_utf8())))
}

/// Start and end of the last separator before words of a version; after a dash any words, as only other separators
/// occur in names.
fn last_separator(name: &str) -> Option<(usize, usize)> {
    let dashes = [" - ", " – ", " — "];
    let others = [
        ", ", ": ", "; ", " / ", " // ", " | ", " • ", " · ", "・", " ~ ", "_", " -", " –",
    ];
    let last = |separators: &[&str]| {
        let ends = separators
            .iter()
            .filter_map(|mark| Some((name.rfind(mark)?, mark.len())));
        ends.map(|(at, length)| (at, at + length)).max()
    };
    let dash = last(&dashes);
    let other = last(&others).filter(|&(_, end)| names_version(&name[end..]));
    dash.max(other)
        .filter(|&(at, _)| !fold(&name[..at]).is_empty())
}

/// Whether a part of a title names a version: one of the words, an inch mark, or a year alone.
fn names_version(part: &str) -> bool {
    let folded = fold(part);
    // 12" and 7" are maxi singles and singles.
    let is_size = part
        .trim()
        .strip_suffix('"')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    is_year(&folded) || is_size || has_any(&VERSION_WORDS, &folded)
}

/// Whether a word or a pair of words of a folded text is one of these.
fn has_any(words: &FoldedWords, text: &str) -> bool {
    let all: Vec<&str> = text.split(' ').collect();
    all.iter().any(|word| words.contains(*word))
        || all.windows(2).any(|pair| words.contains(&pair.join(" ")))
}

/// Whether many pieces have this name, in folded words: only common words and numbers.
fn is_common(name: &str) -> bool {
    let is_digits = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    // "Track07" is "Track 07".
    let mut spaced = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_digit() && spaced.ends_with(char::is_alphabetic) {
            spaced.push(' ');
        }
        spaced.push(c);
    }
    let mut words = spaced.split(' ');
    COMMON_TITLES.contains(&name)
        || is_part_alone(&spaced)
        || is_counted_alone(name)
        || words.clone().all(is_digits)
        // Link words alone make no common title: "In the End".
        || words.clone().any(|word| COMMON_WORDS.contains(word))
            && words.all(|word| {
                word.chars().count() == 1
                    || is_digits(word)
                    || [&COMMON_WORDS, &LINKS, &NUMBERS, &ORDINALS]
                        .iter()
                        .any(|list| list.contains(word))
            })
}

/// Whether a name is only the number of a part: `Kapitel 1`, `Teil II`, `Erster Teil`.
fn is_part_alone(name: &str) -> bool {
    let (parts, numbers): (Vec<&str>, Vec<&str>) =
        name.split(' ').partition(|word| PARTS.contains(*word));
    // "No One" is a song, "No. 1" is none.
    let takes_words = !parts.contains(&"no");
    let is_number = |word: &&str| {
        word.bytes().all(|b| b.is_ascii_digit())
            || takes_words
                && (word.chars().count() == 1
                    || NUMBERS.contains(*word)
                    || ORDINALS.contains(*word))
    };
    !parts.is_empty()
        && !numbers.is_empty()
        && numbers.iter().all(is_number)
        && !parts.iter().any(|part| PARTS_OF_NAMES.contains(part))
}

/// The same with the number and its sign in one word: `第1章`, `제1장`, `3話`.
fn is_counted_alone(name: &str) -> bool {
    let before = fold("제");
    let behind = name
        .strip_prefix('第')
        .or_else(|| name.strip_prefix(&before));
    let behind = behind.unwrap_or(name).trim_start();
    let sign = behind.trim_start_matches(is_numeral).trim_start();
    sign.len() < behind.len() && COUNTERS.contains(sign)
}

/// Whether a character is part of a number in East Asian titles.
fn is_numeral(c: char) -> bool {
    c.is_ascii_digit() || "一二三四五六七八九十".contains(c)
}

/// The part that words after a name denote: `part 2` and `pt2` are `2`, `ii allegro` is `ii`, `allegro assai` itself.
fn part(rest: &str) -> Option<String> {
    let is_digits = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let is_number = |word: &str| is_digits(word) || NUMBERS.contains(word);
    let is_beside = |word: &str| is_number(word) || ORDINALS.contains(word);
    let words: Vec<&str> = rest.split(' ').collect();
    // "part 2" and "second movement" first, then "pt2" in one word, then a number in front.
    let near = words.windows(2).find_map(|pair| match *pair {
        [before, number] if PARTS.contains(before) && (is_beside(number) || number.len() == 1) => {
            Some(number)
        }
        [number, behind] if PARTS.contains(behind) && is_beside(number) => Some(number),
        _ => None,
    });
    let joined = || {
        words.iter().find_map(|word| {
            let at = word.find(|c: char| c.is_ascii_digit())?;
            let (name, number) = word.split_at(at);
            (PARTS.contains(name) && is_digits(number)).then_some(number)
        })
    };
    let first = || words.first().copied().filter(|word| is_number(word));
    let number = near.or_else(joined).or_else(first).map(str::to_owned);
    number
        .or_else(|| counted(rest))
        .or_else(|| has_any(&MOVEMENTS, rest).then(|| rest.to_owned()))
}

/// The number in words such as `第二楽章`.
fn counted(rest: &str) -> Option<String> {
    let behind = rest.strip_prefix('第')?;
    let number: String = behind.chars().take_while(|&c| is_numeral(c)).collect();
    (!number.is_empty()).then_some(number)
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
        for (a, b, expected) in [
            ("Falling (Wembley)", "Falling (Nara)", TitleLikeness::Alike),
            (
                "Falling (Live)",
                "Falling (カラオケ)",
                TitleLikeness::Versions,
            ),
            ("Falling", "Falling", TitleLikeness::Equal),
            ("Falling (Nara)", "falling [Nara]", TitleLikeness::Equal),
        ] {
            assert_eq!(likeness(a, b), Some(expected), "{a} / {b}");
        }
        for version in [
            "(Live) Falling",
            "[Demo] Falling",
            "Falling \"Live\"",
            "Falling *live*",
            "Falling -Live-",
            "Falling - Live - 2003",
            "Falling ao vivo",
            "Falling Sped Up",
            "Falling Radio Edit",
            "Falling en directo",
            "Falling・ライブ",
            "Falling_live",
            "Falling // Live",
            "Falling • Acoustic",
            "Falling ライブ",
            "Falling 现场",
        ] {
            let found = likeness("Falling", version);
            assert_eq!(found, Some(TitleLikeness::Same), "{version}");
        }
        assert_eq!(likeness("Falling, Rising", "Falling, Sinking"), None);
    }

    #[test]
    fn words_without_a_mark_are_those_of_a_version() {
        for version in [
            "Falling Live at Wembley",
            "Falling Live in Nara 1969",
            "Falling Acoustic Version",
            "Falling Radio Edit 2003",
            "Falling Instrumental",
            "Falling Karaoke Version",
            "Falling ao vivo em Lisboa",
        ] {
            for (a, b) in [("Falling", version), (version, "Falling")] {
                assert_eq!(likeness(a, b), Some(TitleLikeness::Same), "{a} / {b}");
            }
        }
        for (a, b, expected) in [
            (
                "Falling (Demo)",
                "Falling Live at Wembley",
                Some(TitleLikeness::Versions),
            ),
            ("Falling", "Falling BBC Session", Some(TitleLikeness::Alike)),
            (
                "Falling",
                "Falling 2011 Remaster",
                Some(TitleLikeness::Alike),
            ),
            ("Falling", "Falling ’98", Some(TitleLikeness::Alike)),
            ("Falling", "Falling Down", None),
            ("Falling", "Fallingly", None),
            ("Falling", "Falling 2", None),
            ("Falling", "Falling Part Two", None),
            ("Falling", "Falling Live - Part II", None),
            ("Falling", "Falling Live Part II", None),
            ("Quartet in A", "Quartet in A Allegro", None),
        ] {
            assert_eq!(likeness(a, b), expected, "{a} / {b}");
        }
        let title = SongTitle::new(Some("Alpha and Beta"), Some("So Far Away (Live)")).unwrap();
        let keys: Vec<&str> = title.shorter_keys().collect();
        let key = |name: &str| title.key().replace("so far away", name);
        assert_eq!(keys, [key("so"), key("so far")]);
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
            ("Ouvertüre", "Ouvertüre"),
            ("Увертюра", "Увертюра"),
            ("序曲", "序曲"),
            ("Pista 3", "Pista 3"),
            ("Titel 1", "Titel 2"),
            ("Sin título", "Sin título"),
            ("Zwischenspiel 2", "Zwischenspiel 2"),
            ("Kapitel 1", "Kapitel 1"),
            ("Kapitel01 (Live)", "Kapitel 01"),
            ("Chapitre premier", "Chapitre premier"),
            ("Capítulo 1", "Capítulo 1"),
            ("Folge 12", "Folge 12"),
            ("Erster Teil", "Erster Teil"),
            ("Teil II, Kapitel 3", "Teil II, Kapitel 3"),
            ("Hoofdstuk 1", "Hoofdstuk 1"),
            ("Rozdział XIV", "Rozdział XIV"),
            ("Afsnit 1", "Afsnit 1"),
            ("Глава первая", "Глава первая"),
            ("第1章", "第1章"),
            ("第十二話", "第十二話"),
            ("제1장", "제1장"),
            ("No. 5", "No. 5"),
            ("Track07", "Track07"),
            ("Falling (Teil 1)", "Falling (Teil 2)"),
            ("Falling, Pt. 1", "Falling, Pt. 2"),
            ("Falling (Pt1)", "Falling (Pt2)"),
            ("Falling (Parte prima)", "Falling (Parte seconda)"),
            ("Falling (Часть вторая)", "Falling (Часть первая)"),
            ("交響曲 - 第一楽章", "交響曲 - 第二楽章"),
            ("物語（前編）", "物語（後編）"),
            ("Sonate in G - Allegro assai", "Sonate in G - Andante"),
            ("Missa brevis (Kyrie)", "Missa brevis (Gloria)"),
        ] {
            assert_eq!(likeness(a, b), None, "{a} / {b}");
        }
        for name in [
            "Love Is Love",
            "X",
            "The Piano",
            "Sonata of the Wolf",
            "No One",
            "Number One",
            "Opus 17",
            "Book of Days",
            "第一次",
        ] {
            assert!(likeness(name, name).is_some(), "{name}");
        }
    }

    #[test]
    fn very_long_tags_name_no_song() {
        let long = "a - ".repeat(LONGEST / 4);
        assert!(song(Some("Alpha"), Some(&long)).is_some());
        assert!(song(Some(&long), Some("Hurt")).is_some());
        let longer = format!("{long} b");
        assert_eq!(song(Some("Alpha"), Some(&longer)), None);
        assert_eq!(song(Some(&longer), Some("Hurt")), None);
        // The main artist counts, however many follow.
        assert!(song(Some(&"Alpha; ".repeat(LONGEST)), Some("Hurt")).is_some());
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
        // A title of only such words keeps them.
        assert!(same("(Live)", "(live)") && !same("(Live)", "(Demo)"));
    }

    proptest::proptest! {
        #[test]
        fn any_title_is_read(artist in "\\PC{0,20}", title in "\\PC{0,40}", word in "(live|remix|2011 remaster|demo)") {
            let plain = song(Some(&artist), Some(&title));
            let version = song(Some(&artist), Some(&format!("{title} ({word})")));
            let is_plain = !title.contains(|c| OPENING.contains(c) || CLOSING.contains(c)) && !title.contains(" f");
            proptest::prop_assert!(plain.is_none() || !is_plain || plain == version, "{plain:?} {version:?}");
        }
    }
}
