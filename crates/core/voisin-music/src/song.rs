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
         4k audio élőben flip hd hq koncertní lyric lyrics official refix tribute v_živo video visualiser visualizer \
         reverb rework rmx session sessions single slowed sped speed_up stereo stripped take tv_size uncensored unplugged \
         ver version versión versione versão versie versio versjon verze wersja vip vivo vocal živě uživo \
         акустика акустическая версия демо живой вживую караоке концерт минус наживо ремастер ремикс \
         ライブ ライヴ カラオケ アコースティック デモ リミックス リマスター インスト バージョン ヴァージョン \
         伴奏 现场 現場 不插电 版 版本 ミックス ビデオ 라이브 어쿠스틱 리믹스 노래방 버전 반주 \
         ζωντανά בהופעה בהופעה_חיה لايف مباشر حفلة ไลฟ์ trực_tiếp",
    )
});

/// Version words that follow a name without a separator and are no part of names.
static TRAILING: FoldedWords = LazyLock::new(|| {
    folded_words(
        "acoustic acoustique acústico akustik demo instrumental karaoke live nightcore remaster remastered remasterisé \
         remasterizado remix rmx slowed sped_up unplugged acoustic_version album_version ao_vivo club_mix dal_vivo \
         demo_version en_concert en_directo en_public en_vivo extended_mix extended_version in_concert live_session \
         live_version na_żywo original_mix piano_version radio_edit single_version вживую караоке ремикс \
         4k élőben hd hq lyrics lyric_video lyrics_video music_video official_audio official_hd_video official_live_video \
         official_lyric_video official_lyrics official_music_video official_video official_visualizer v_živo visualiser \
         visualizer w_lyrics with_lyrics ζωντανά בהופעה ไลฟ์ trực_tiếp \
         ライブ カラオケ バージョン ヴァージョン 伴奏 现场 現場 版 版本 라이브 버전 반주",
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
         bagatelle ballade başlıksız berceuse elegie élégie elegy freestyle galliard hosanna jesu lullaby namnlös názvu \
         nimetön ode pavane pie reels taksim tarantella tytułu エンディングテーマ オープニングテーマ 戦闘 戦闘曲 片头曲 片尾曲 오프닝 엔딩 \
         вальс вступление импровизация интерлюдия интро концерт марш названия ноктюрн прелюдия соло соната тема титры \
         трек увертюра финал фуга часть этюд \
         序曲 前奏曲 前奏 間奏 間奏曲 间奏 終曲 终曲 尾声 主題 主题曲 練習曲 即興曲 変奏曲 組曲 無題 无题 \
         イントロ アウトロ オープニング エンディング インタールード メインテーマ 서곡 전주곡 간주곡 인트로 아웃트로 무제",
    )
});

/// Of those, the names of movements, parts of a mass, dances and parts of an album: after a name they denote a part of it.
static MOVEMENTS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "adagietto adagio agnus allegretto allegro allemande andante andantino aria badinerie benedictus bourrée cadenza \
         chaconne courante credo finale fuga fuge fugue gavotte gigue gloria grave kyrie lacrimosa larghetto largo lento \
         menuet menuett menuetto minuet minuetto moderato ouvertüre ouverture overture passacaglia passepied polonaise \
         präludium prelude preludio prestissimo presto recitative recitativo romanze rondeau rondo sanctus sarabande \
         scherzo siciliana sicilienne toccata vivace адажио аллегро анданте \
         entracte epilog epilogo epilogue galliard hosanna interlude interludio intermède intermedio intermezzo \
         intro introdução introducción introduction introduzione jesu maestoso outro pavane postlude prolog \
         prologo prologue skit vinheta zwischenspiel вступление интерлюдия интро эпилог イントロ アウトロ \
         インタールード 인트로 아웃트로",
    )
});

/// Words that leave a common title common: `Allegro ma non troppo`, `Prelude in C`, `Sans titre`.
static LINKS: FoldedWords = LazyLock::new(|| {
    folded_words(
        "a and assai bass bonus brio con d de des du e end et flat for ghost guitar in la le ma major minor moderato molto \
         no non nr of ohne op opus percussion piano poco quasi sans senza sharp sin sem the troppo und without y без \
         agitato animato animé appassionato ausdruck ben bewegt cantabile comodo di dolce energico espressivo etwas fuoco \
         giocoso giusto grazioso langsam lebhaft lent mäßig mesto mit modéré mosso moto nicht più rasch risoluto ruhig \
         scherzando schnell sehr semplice sostenuto spirito tempo tranquillo très un vif zu",
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
         abschnitt aufzug bagian cue partea parts phần pts μέρος חלק الجزء جزء ตอน ตอนที่ \
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

/// Endings of ordinals in digits: `1st`, `2ème`, `3ª`.
const ORDINAL_ENDINGS: [&str; 18] = [
    "a", "de", "e", "eme", "er", "ere", "me", "nd", "o", "ra", "rd", "re", "st", "ste", "te", "th",
    "и", "я",
];

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
         terceira terceiro первая первый вторая второй третья третий \
         ensimmäinen toinen kolmas pierwsza pierwszy druga drugi trzecia trzeci întâi doua treia første anden andre tredje \
         första andra een twee drie eerste tweede derde ett två tre jeden dwa první druhá druhý třetí prvi drugo első \
         második harmadik birinci ikinci üçüncü bir iki перша друга третя πρώτο δεύτερο τρίτο الأول الثاني الثالث \
         الأولى الثانية ראשון שני שלישי",
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
    /// Whether such words followed the name without a mark: `Hurt Beta Remix`.
    has_trailing: bool,
}

/// A title that may have versions, with its main artist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SongTitle {
    key: String,
    rest: Vec<String>,
    has_version: bool,
    has_trailing: bool,
    /// The number of a track or of a piece in front of the name: `1. Hurt`.
    number: Option<String>,
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
        let (bare, number) = without_number(without_ending(title));
        let bare = without_artist(bare, &artist);
        let TitleParts {
            name,
            rest,
            has_version,
            has_trailing,
        } = parts(bare, &artist);
        (!artist.is_empty() && !is_common(&name)).then(|| Self {
            key: format!("{artist}\n{name}"),
            rest,
            has_version: has_version || bare.len() < title.trim().len(),
            has_trailing,
            number,
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
                has_version: true,
                ..self.clone()
            };
            let likeness = cut.likeness(other)?;
            let has_year = words.split(' ').any(is_year);
            let is_year = is_year(words) || is_short_year(words);
            let is_of_part = part(words).is_some() && !is_year;
            if is_of_part || begins_version(words) {
                return (!is_of_part).then_some(likeness);
            }
            // The words have no separator, and of 587 pairs of different songs by one artist a tenth sound as similar
            // as versions (EMOTIFY): without a version word, `Falling Down` is another song than `Falling`.
            let is_version = self.has_trailing
                || has_year
                || is_year
                || begins_company(words)
                || has_any(&VERSION_WORDS, words);
            return is_version.then_some(TitleLikeness::Alike);
        }
        let of_part = |title: &Self| -> Vec<String> {
            title.rest.iter().filter_map(|rest| part(rest)).collect()
        };
        let numbers = self.number.as_ref().zip(other.number.as_ref());
        let has_other_number = numbers.is_some_and(|(one, other)| one != other)
            || self.rest.len() == other.rest.len()
                && self.rest.iter().zip(&other.rest).any(differ_in_number);
        if self.key != other.key || has_other_number || of_part(self) != of_part(other) {
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

/// A title without the ending of an audio file: `Hurt.mp3`.
fn without_ending(title: &str) -> &str {
    const ENDINGS: &str = "aac aif aiff flac m4a mp3 mp4 ogg opus wav wma";
    let title = title.trim();
    let is_file = |ending: &str| {
        ENDINGS
            .split(' ')
            .any(|known| ending.eq_ignore_ascii_case(known))
    };
    let name = title.rsplit_once('.').filter(|(_, ending)| is_file(ending));
    name.map_or(title, |(name, _)| name.trim_end())
}

/// A title without the track's number in front, and the number if it may be that of a piece: `01 - Hurt`, `(01) Hurt`,
/// `A1 Hurt`, `Track 01: Hurt`; `1. Hurt`, which may be a first quartet.
fn without_number(title: &str) -> (&str, Option<String>) {
    let track = title
        .get(..5)
        .filter(|word| word.eq_ignore_ascii_case("track"));
    let start = title[track.map_or(0, str::len)..].trim_start();
    let inside = start.trim_start_matches(['(', '[']);
    // Sides of records are "A1", "B2".
    let side = inside.strip_prefix(['A', 'B', 'C', 'D']);
    let digits = side.filter(|_| track.is_none()).unwrap_or(inside);
    let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &digits[..digits.len() - behind.len()];
    let rest = behind.trim_start_matches([')', ']', '.', ':', '-', '–', '—', '_', ' ']);
    let mark = &behind[..behind.len() - rest.len()];
    let is_padded = number.len() == 2 && number.starts_with('0')
        || number.len() == 1 && digits.len() < inside.len();
    let is_marked = mark.ends_with(' ') && !mark.trim().is_empty();
    let is_number = (1..=3).contains(&number.len())
        && (is_padded && !mark.is_empty() || is_marked)
        && (inside.len() == start.len() || mark.starts_with([')', ']']))
        && rest.starts_with(char::is_alphabetic)
        && names_song(rest);
    if !is_number {
        return (title, None);
    }
    let is_ordinal = number.len() == 1 && track.is_none() && mark.starts_with('.');
    (rest, is_ordinal.then(|| number.to_owned()))
}

/// Whether a text begins a name and not a part or a version: not `Akt: Finale`, `Live`, `Live at Wembley`.
fn names_song(text: &str) -> bool {
    let folded = fold(text);
    let mut words = folded.split(' ');
    let first = words.next().unwrap_or_default();
    let is_place = |word: &str| {
        ["at", "from", "in", "on"].contains(&word)
            || is_year(word)
            || is_one_of(&VERSION_WORDS, word)
    };
    let is_version =
        is_year(first) || is_one_of(&VERSION_WORDS, first) && words.next().is_none_or(is_place);
    !first.is_empty() && !is_version && !PARTS.contains(first) && !COUNTERS.contains(first)
}

/// A title without the artist's name or a version before it: `Alpha - Hurt`, `Alpha: Hurt`, `Live - Hurt`.
///
/// - `artist`: folded
fn without_artist<'a>(title: &'a str, artist: &str) -> &'a str {
    let marks = [" - ", " – ", " — ", ": ", " | "];
    let places = marks
        .iter()
        .filter_map(|mark| Some((title.find(mark)?, mark.len())));
    let behind = places.min().and_then(|(at, length)| {
        let before = fold(&title[..at]);
        let is_cut = before == artist || is_one_of(&TRAILING, &before);
        is_cut.then(|| without_number(title[at + length..].trim_start()).0)
    });
    behind.filter(|behind| names_song(behind)).unwrap_or(title)
}

/// Splits off text in brackets or after a dash, and keeps of it the words that are not of a version.
///
/// - `artist`: folded; his own name is left out
fn parts(title: &str, artist: &str) -> TitleParts {
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
            found.put(words, artist);
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
        found.put(&tail, artist);
    }
    let folded = with_article_first(&name);
    // Guests without brackets end the name.
    let featured = [" feat ", " ft ", " featuring "]
        .iter()
        .filter_map(|word| folded.find(word))
        .min();
    let mut words = &folded[..featured.unwrap_or(folded.len())];
    while let Some(before) = without_version(words) {
        found.has_version = true;
        found.has_trailing = true;
        words = before;
    }
    // "Hurt by Alpha"
    let by = words.strip_suffix(artist);
    if let Some(before) = by.and_then(|words| words.strip_suffix(" by ")) {
        found.has_version = true;
        words = before;
    }
    words = words.strip_prefix("the ").unwrap_or(words);
    TitleParts {
        name: words.to_owned(),
        ..found
    }
}

/// A folded name with the article behind its comma in front: `Hurt, The`.
fn with_article_first(name: &str) -> String {
    let is_article = |text: &str| ["a", "an", "the"].contains(&fold(text).as_str());
    match name.rsplit_once(',') {
        Some((name, article)) if is_article(article) => fold(&format!("{article} {name}")),
        _ => fold(name),
    }
}

/// A name without the words of a version at its end; `None` if there are none, or no others.
fn without_version(name: &str) -> Option<&str> {
    // Three words at the end, two, one: "official music video", "radio edit", "live".
    (0..3).rev().find_map(|n| {
        let (at, _) = name.rmatch_indices(' ').nth(n)?;
        is_one_of(&TRAILING, &name[at + 1..]).then_some(&name[..at])
    })
}

/// Whether a folded word or pair is in a list, or is written as one word of several in it, as in scripts without blanks:
/// `ライブバージョン`, `现场版`, `демоверсия`.
fn is_one_of(list: &FoldedWords, word: &str) -> bool {
    // Bounded, as the time may grow with each way to divide it.
    list.contains(word)
        || !word.is_ascii()
            && word.len() <= 60
            && list.iter().any(|first| {
                !first.is_ascii()
                    && word
                        .strip_prefix(first.as_str())
                        .is_some_and(|rest| !rest.is_empty() && is_one_of(list, rest))
            })
}

/// Whether words after a name begin with a word for a place or a guest: `at KEXP`, `vs. Beta`.
fn begins_company(words: &str) -> bool {
    let first = words.split_once(' ').map(|(first, _)| first);
    first.is_some_and(|first| ["at", "from", "on", "vs", "w", "with", "x"].contains(&first))
}

/// Whether words after a name begin with words of a version: `live at Wembley`, `radio edit 2003`.
fn begins_version(words: &str) -> bool {
    let blanks = words.match_indices(' ').map(|(at, _)| at);
    let mut ends = blanks.take(2).chain([words.len()]);
    ends.any(|end| is_one_of(&TRAILING, &words[..end]))
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
    fn put(&mut self, words: &str, artist: &str) {
        let folded = fold(words);
        if names_version(words) || folded.strip_prefix("by ").unwrap_or(&folded) == artist {
            self.has_version = true;
        } else if !folded.is_empty() {
            // "II. Andante" is numbered, "X Factor" is not.
            let number = words
                .split_once(['.', ':', ')'])
                .filter(|(number, behind)| {
                    is_number(&fold(number)) && behind.starts_with(char::is_whitespace)
                });
            let mark = if number.is_some() { "no " } else { "" };
            self.rest.push(format!("{mark}{folded}"));
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
    let dashes = [" - ", " – ", " — ", " @ "];
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
    all.iter().any(|word| is_one_of(words, word))
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

/// Whether a folded word is the number of a part: `2`, `iv`, `1st`, `1부`; a year is none.
fn is_number(word: &str) -> bool {
    let ending = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = word.len() - ending.len();
    NUMBERS.contains(word)
        || (1..=3).contains(&digits)
            && (ending.is_empty() || ORDINAL_ENDINGS.contains(&ending) || COUNTERS.contains(ending))
}

/// Digits of a number without the ending of an ordinal: `2` of `2nd`.
fn plain_number(word: &str) -> &str {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 { word } else { &word[..digits] }
}

/// The part that words after a name denote: `part 2`, `2nd movement` and `pt2` are `2`, `ii allegro` is `ii`, `allegro
/// assai` itself.
fn part(rest: &str) -> Option<String> {
    let is_beside = |word: &str| is_number(word) || ORDINALS.contains(word);
    let words: Vec<&str> = rest.split(' ').collect();
    // "part 2" and "second movement" first, then "pt2" in one word, then a number in front.
    let near = words.windows(2).find_map(|pair| match *pair {
        [before, number]
            if PARTS.contains(before) && (is_beside(number) || number.chars().count() == 1) =>
        {
            Some(number)
        }
        [number, behind] if PARTS.contains(behind) && is_beside(number) => Some(number),
        _ => None,
    });
    let joined = || {
        words.iter().find_map(|word| {
            let at = word.find(|c: char| c.is_ascii_digit())?;
            let (name, number) = word.split_at(at);
            (PARTS.contains(name) && is_number(number)).then_some(number)
        })
    };
    // Names of places and guests have numbers, too: "X Factor", "432 Hz", "One Night in Paris".
    let is_of_piece = |word: &&str| {
        let lists = [&MOVEMENTS, &COMMON_WORDS, &LINKS, &PARTS];
        is_beside(word)
            || word.chars().count() == 1
            || lists.iter().any(|list| list.contains(*word))
    };
    let is_piece = words.iter().all(is_of_piece);
    let first = || {
        words
            .first()
            .copied()
            .filter(|word| is_piece && is_number(word))
    };
    let number = near.or_else(joined).or_else(first);
    number
        .map(|number| plain_number(number).to_owned())
        .or_else(|| counted(rest))
        .or_else(|| (is_piece && has_any(&MOVEMENTS, rest)).then(|| rest.to_owned()))
}

/// Whether two texts after a name differ in one number, ordinal or letter alone, in any script: `Cue 1` and `Cue 2`,
/// `その一` and `その二`, `Μέρος Α` and `Μέρος Β`.
fn differ_in_number((one, other): (&String, &String)) -> bool {
    let ones: Vec<&str> = one.split(' ').collect();
    let others: Vec<&str> = other.split(' ').collect();
    let pairs = ones.iter().zip(&others).filter(|(one, other)| one != other);
    let different: Vec<_> = pairs.collect();
    let [(&one, &other)] = different[..] else {
        return false;
    };
    let is_place =
        |word: &str| is_number(word) || ORDINALS.contains(word) || word.chars().count() == 1;
    // Numerals inside of a word, as in scripts without blanks.
    let equal = one
        .chars()
        .zip(other.chars())
        .take_while(|(one, other)| one == other);
    let start: usize = equal.map(|(c, _)| c.len_utf8()).sum();
    let start = one[..start].trim_end_matches(is_numeral).len();
    let [behind, behind_other] =
        [one, other].map(|word| word[start..].trim_start_matches(is_numeral));
    let are_numerals = behind == behind_other
        && [one, other]
            .iter()
            .all(|word| word.len() > start + behind.len());
    ones.len() == others.len()
        && ![one, other].iter().any(|word| is_year(word))
        && (are_numerals || is_place(one) && is_place(other))
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

    fn each(list: &str, check: impl Fn(&str)) {
        list.split("; ").for_each(check);
    }

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
        let versions = "Falling (Ao Vivo); Falling（Live）; Falling【Live】; Falling {Live}; Falling ~Live~; \
                  Falling [At Wembley]; Falling (Slowed + Reverb); Falling (12\"); Falling (8D Audio); \
                  Falling (カラオケ); Falling (Концерт); Falling (En directo desde Madrid); Falling - Sessão da Tarde; \
                  Falling Live; Falling, live; Falling: Live; Falling / Live; FALLING (LIVE); \
                  Falling (From \"The Vault\"); (Live) Falling; [Demo] Falling; Falling \"Live\"; Falling *live*; \
                  Falling -Live-; Falling - Live - 2003; Falling ao vivo; Falling Sped Up; Falling Radio Edit; \
                  Falling en directo; Falling・ライブ; Falling_live; Falling // Live; Falling • Acoustic; Falling ライブ; \
                  Falling 现场";
        each(versions, |version| {
            let found = likeness("Falling", version);
            assert_eq!(found, Some(TitleLikeness::Same), "{version}");
        });
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
        assert_eq!(likeness("Falling, Rising", "Falling, Sinking"), None);
    }

    #[test]
    fn words_without_a_mark_are_those_of_a_version() {
        let versions = "Falling Live at Wembley; Falling Live in Nara 1969; Falling Acoustic Version; \
                  Falling Radio Edit 2003; Falling Instrumental; Falling Karaoke Version; Falling ao vivo em Lisboa";
        each(versions, |version| {
            for (a, b) in [("Falling", version), (version, "Falling")] {
                assert_eq!(likeness(a, b), Some(TitleLikeness::Same), "{a} / {b}");
            }
        });
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
    fn a_number_or_a_tempo_among_other_words_hides_no_version() {
        let list = "1999 Tour; 2003 at Hyde Park; 432 Hz; 5.1 Surround; 24 bit; 3 AM; 4 Hands; One Night in Paris; 10 \
             Years Later; 2 Meter Sessie; 50 Cent; V Praze; X Factor; I Miss You; Presto Studio; Largo, Florida";
        each(list, |words| {
            for version in [format!("Falling ({words})"), format!("Falling - {words}")] {
                let found = likeness("Falling", &version);
                assert_eq!(found, Some(TitleLikeness::Same), "{version}");
            }
        });
        let tours = likeness("Falling (1999 Tour)", "Falling (2003 Tour)");
        assert_eq!(tours, Some(TitleLikeness::Alike));
    }

    #[test]
    fn words_around_a_name_hide_no_version() {
        let same = "Falling Official Video; Falling Official Music Video; Falling | Official Audio; Falling lyrics; \
             Falling HD; Falling @ KEXP; Falling by ALPHA; Falling (by Alpha); Falling ライブバージョン; Falling 现场版; \
             Falling 伴奏; Falling élőben; Falling v živo; 01 - Falling; 01. Falling; 1. Falling; (01) Falling; A1 \
             Falling; Track 01 - Falling; ALPHA - Falling; Alpha: Falling; Alpha - 01 - Falling; Falling - Alpha; \
             Falling.mp3; 02 - Falling (live).flac; Live - Falling; Live: Falling";
        let alike = "Falling Beta Remix; Falling at KEXP; Falling w/ Beta; Falling vs. Beta; Falling x Beta; Falling 1999 \
             Tour";
        let equal = "The Falling; Falling, The";
        for (list, expected) in [
            (same, TitleLikeness::Same),
            (alike, TitleLikeness::Alike),
            (equal, TitleLikeness::Equal),
        ] {
            each(list, |version| {
                assert_eq!(likeness("Falling", version), Some(expected), "{version}");
            });
        }
        let others = "1. Quartet of Owls = 2. Quartet of Owls; 1. Akt: Der Sturm = 2. Akt: Der Sturm; 99 Balloons = \
             Balloons; 7-Eleven = Eleven; Falling Down (Live) = Falling";
        each(others, |pair| {
            let (a, b) = pair.split_once(" = ").unwrap();
            assert_eq!(likeness(a, b), None, "{pair}");
        });
        assert!(likeness("Alpha", "Alpha - Live").is_some());
    }

    #[test]
    fn texts_that_differ_in_a_number_alone_are_parts() {
        let parts = "1st movement = 2nd movement; 1ère partie = 2ème partie; 1ª parte = 2ª parte; 1re partie = 2e partie; \
             Μέρος Α = Μέρος Β; חלק א = חלק ב; الجزء الأول = الجزء الثاني; ตอนที่ 1 = ตอนที่ 2; Phần 1 = Phần 2; \
             1부 = 2부; 제1부 = 제2부; その一 = その二; その1 = その12; Aufzug I = Aufzug II; Disc 1 = Disc 2; Theme A = Theme B; \
             in C = in D; First = Second; Ensimmäinen osa = Toinen osa; Część pierwsza = Część druga; Partea \
             întâi = Partea a doua; Del ett = Del två; Intro = Outro; II. Andante con moto = III. Andante con \
             moto; II. The Castle = III. The Market";
        each(parts, |pair| {
            let (a, b) = pair.split_once(" = ").unwrap();
            let titles = [a, b].map(|words| format!("Falling ({words})"));
            assert_eq!(likeness(&titles[0], &titles[1]), None, "{pair}");
        });
        each(
            "Intro; Outro; Interlude; Skit; Epilogue; 1st; 1부",
            |part| {
                let title = format!("Falling ({part})");
                assert_eq!(likeness("Falling", &title), None, "{part}");
            },
        );
        assert!(likeness("Falling (Nara)", "Falling (Nana)").is_some());
    }

    #[test]
    fn parts_and_titles_of_many_pieces_are_no_versions() {
        let pairs = "Falling (Part I) = Falling (Part II); Falling (Part I) = Falling; \
                  Quartet in A - I. Allegro = Quartet in A - II. Allegro; \
                  I. Allegro ma non troppo = I. Allegro ma non troppo; Menuetto & Trio = Menuetto & Trio; \
                  Opening Theme (Live) = Opening Theme; Agnus Dei = Agnus Dei; End Credits = End Credits; \
                  Piano Solo = Piano Solo; Étude (Long Road) = Étude (Radio Tower); Interlude II = Interlude II; \
                  Track A = Track A; Ouvertüre = Ouvertüre; Увертюра = Увертюра; 序曲 = 序曲; Pista 3 = Pista 3; \
                  Titel 1 = Titel 2; Sin título = Sin título; Zwischenspiel 2 = Zwischenspiel 2; \
                  Kapitel 1 = Kapitel 1; Kapitel01 (Live) = Kapitel 01; Chapitre premier = Chapitre premier; \
                  Capítulo 1 = Capítulo 1; Folge 12 = Folge 12; Erster Teil = Erster Teil; \
                  Teil II, Kapitel 3 = Teil II, Kapitel 3; Hoofdstuk 1 = Hoofdstuk 1; Rozdział XIV = Rozdział XIV; \
                  Afsnit 1 = Afsnit 1; Глава первая = Глава первая; 第1章 = 第1章; 第十二話 = 第十二話; 제1장 = 제1장; No. 5 = No. 5; \
                  Track07 = Track07; Falling (Teil 1) = Falling (Teil 2); Falling, Pt. 1 = Falling, Pt. 2; \
                  Falling (Pt1) = Falling (Pt2); Falling (Parte prima) = Falling (Parte seconda); \
                  Falling (Часть вторая) = Falling (Часть первая); 交響曲 - 第一楽章 = 交響曲 - 第二楽章; 物語（前編） = 物語（後編）; \
                  Sonate in G - Allegro assai = Sonate in G - Andante; Missa brevis (Kyrie) = Missa brevis (Gloria)";
        each(pairs, |pair| {
            let (a, b) = pair.split_once(" = ").unwrap();
            assert_eq!(likeness(a, b), None, "{pair}");
        });
        let names = "Love Is Love; X; The Piano; Sonata of the Wolf; No One; Number One; Opus 17; Book of Days; 第一次";
        each(names, |name| {
            assert!(likeness(name, name).is_some(), "{name}");
        });
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
        let versions = "Hurt (Live); Hurt [Live at Wembley, 1986]; Hurt - 2011 Remaster; Hurt – Remastered 2009; \
                  Hurt (Radio Edit); Hurt - Single Version - Mono; Hurt (feat. Beta) [Extended Mix]; Hurt ft. Beta; \
                  HURT (Somebody's Remix); Hurt (Acoustic) (1994); Hurt (Demo";
        each(versions, |version| {
            assert!(same("Hurt", version), "{version}");
        });
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
