//! Mixes: songs that follow others, for radios and instant mixes.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Command, FromArgMatches as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seed::{MOST_SEEDS, NamedSeed};
use super::spans::{ScaleCurve, Seconds};
use super::values::{Fraction, Limit, at_most, check_scale, limit_of};
use super::{Filters, QuestionError, Refused, SimilarAnswer};
use voisin_base::random::Random;
use voisin_base::text::{clock, count};
use voisin_base::track::TrackId;
use voisin_engine::{Engine, MixOptions, Seed, SimilarOptions, SimilarTrack};
use voisin_library::{Track, TrackFilter};

/// Songs that follow these well
#[derive(Debug, Clone, Args, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Seeds; several are averaged. Without any, the first song is drawn: from liked ones, if there are any, else from all that pass
    /// the filters
    #[arg(
        value_name = "TRACK",
        help = "Seeds; without any, the first song is drawn from liked ones, if there are any, else from all that pass the filters. Files, `id:NUMBER`, words that match artist and title, playlists, folders, `album:NAME`, `artist:NAME`, `composer:NAME`, `sounds:WORDS` as `find` reads them; `-` reads seeds from standard input"
    )]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub seeds: Vec<NamedSeed>,
    /// Number of songs
    #[arg(long, short, default_value_t = twenty_five(), value_name = "N|all", allow_negative_numbers = true)]
    #[serde(default = "twenty_five")]
    pub limit: Limit,
    /// Filters of tracks
    #[command(flatten)]
    #[serde(default)]
    pub filters: Filters,
    /// Songs that were played already, oldest first, which do not come again
    #[arg(long, value_name = "TRACK")]
    #[serde(default, deserialize_with = "at_most::<MOST_SEEDS, _, _>")]
    #[schemars(length(max = MOST_SEEDS))]
    pub played: Vec<NamedSeed>,
    /// How a scale changes along the mix: rise, fall, arc, warm-up, peak or cool-down: `energy=arc`
    #[arg(long, value_name = "SCALE=SHAPE")]
    pub(crate) curve: Option<ScaleCurve>,
    /// Options of mixes
    #[command(flatten)]
    #[serde(default)]
    pub mixing: Mixing,
}

/// Options of mixes. Their defaults are those that the server was started with, else the program's.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize, Serialize, JsonSchema)]
#[command(next_help_heading = "Mix")]
#[serde(default, deny_unknown_fields)]
pub struct Mixing {
    /// At most this many songs of one artist; 0: as many as fit [default: 3]
    #[arg(long, value_name = "N")]
    pub max_per_artist: Option<u32>,
    /// At most this many songs of one album; 0: as many as fit [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) max_per_album: Option<u32>,
    /// Allow several recordings of a song
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) keep_versions: Option<bool>,
    /// Prefer a shorter mix to distant songs: leave out songs farther away than nearly all tracks are from their nearest neighbour
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) near_only: Option<bool>,
    /// Shortest song, in seconds, unless it is at least half as long as the seed [default: 60]
    #[arg(
        long,
        value_name = "TIME",
        help = "Shortest song, unless it is at least half as long as the seed [default: 1m]"
    )]
    pub(crate) shortest: Option<Seconds>,
    /// Longest song, in seconds, unless it is at most twice as long as the seed; 0: no limit [default: 900]
    #[arg(
        long,
        value_name = "TIME",
        help = "Longest song, unless it is at most twice as long as the seed; 0: no limit [default: 15m]"
    )]
    pub(crate) longest: Option<Seconds>,
    /// Songs played within this time come last, in seconds; 0: no effect [default: 86400]
    #[arg(
        long,
        value_name = "TIME",
        help = "Songs played within this time come last; 0: no effect [default: 24h]"
    )]
    pub(crate) not_heard: Option<Seconds>,
    /// Weight of likes, ratings and frequent plays; 0: none, and disliked songs may come [default: 0.5]
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    pub(crate) taste: Option<Fraction>,
    /// Listener whose history to use, as in `voisin heard` [default: all]
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// From 0, similar in sound, to 1, similar in feel: songs with the seeds' energy, and values of learned scales, come
    /// before nearer ones [default: 0]
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    pub(crate) feel: Option<Fraction>,
    /// 0: always the nearest; 1: any near songs [default: 0.5]
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    pub(crate) variety: Option<Fraction>,
    /// Seed of the random numbers: the same seed gives the same mix [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) random_seed: Option<u64>,
    /// 0: stays near the seeds; 1: follows the songs played last [default: 0.3]
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    pub(crate) drift: Option<Fraction>,
}

/// The defaults of a server's mixes, and their filters.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerMixes {
    /// Defaults of a query.
    #[command(flatten)]
    pub mixing: Mixing,
    /// Filters in addition to those of a query.
    #[command(flatten)]
    pub filters: Filters,
}

impl ServerMixes {
    /// Parses `--mix` of a server: the options of a mix as on the command line, without dashes, separated by commas or
    /// blanks: `max-per-artist=2,near-only,exclude-genre=Hip Hop`.
    pub fn read(text: &str) -> Result<Self, String> {
        // By clap, so that names, bounds and messages are those of the command line.
        let command = Self::augment_args(
            Command::new("mix")
                .no_binary_name(true)
                .disable_help_flag(true),
        );
        // An option has a `=` or a known name, as `near-only`;
        // "Hop" of "exclude-genre=Hip Hop" is neither.
        let is_option = |part: &str| {
            let name = part.trim_start_matches('-').split('=').next();
            part.contains('=')
                || command
                    .get_arguments()
                    .any(|known| known.get_long() == name)
        };
        let mut options: Vec<String> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            let part = &rest[..end];
            let sign = rest[end..].chars().next();
            match options.last_mut().filter(|_| !is_option(part)) {
                // Values may contain commas and blanks.
                Some(last) if !part.is_empty() => last.push_str(part),
                Some(_) => {}
                None if part.is_empty() => {}
                None => options.push(format!("--{}", part.trim_start_matches('-'))),
            }
            // The separator is kept until the next part shows whether
            // it ends the option or belongs to its value.
            if let (Some(last), Some(sign)) = (options.last_mut(), sign) {
                last.push(sign);
            }
            rest = &rest[end + sign.map_or(0, char::len_utf8)..];
        }
        let options = options
            .iter()
            .map(|option| option.trim_end_matches([',', ' ']));
        let read = command
            .try_get_matches_from(options)
            .and_then(|found| Self::from_arg_matches(&found));
        read.map_err(|error| {
            let text = error.to_string();
            // Clap's usage lines are about another command.
            let first = text.lines().next().unwrap_or_default();
            format!(
                "{}: see voisin mix --help",
                first.trim_start_matches("error: ")
            )
        })
    }
}

fn twenty_five() -> Limit {
    Limit::from(25)
}

// As in `--help`; the engine's own defaults are no drift and no listening history.
const DRIFT: f32 = 0.3;
const DAY: f64 = 86_400.0;

impl Mixing {
    /// A mix for this listener.
    pub fn of_listener(name: String) -> Self {
        Self {
            listener: Some(name),
            ..Self::default()
        }
    }

    /// These options, completed by others.
    #[must_use]
    pub fn over(self, others: &Self) -> Self {
        let others = others.clone();
        macro_rules! first {
            ($($field:ident)*) => { Self { $($field: self.$field.or(others.$field)),* } };
        }
        first! {
            max_per_artist max_per_album keep_versions near_only shortest longest not_heard taste listener feel
            variety random_seed drift
        }
    }

    /// The engine's options; the caller sets filters and limit.
    pub fn options(&self) -> MixOptions {
        let usual = MixOptions::default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        let not_heard = self.not_heard.map_or(DAY, |time| time.0);
        let most = |given: Option<u32>, usual| given.map_or(usual, |most| limit_of(Some(most)));
        MixOptions {
            max_per_artist: most(self.max_per_artist, usual.max_per_artist),
            max_per_album: most(self.max_per_album, usual.max_per_album),
            keeps_versions: self.keep_versions.unwrap_or(usual.keeps_versions),
            is_near_only: self.near_only.unwrap_or(usual.is_near_only),
            shortest: self.shortest.map_or(usual.shortest, |time| time.0),
            longest: match self.longest {
                Some(Seconds(0.0)) => f64::INFINITY,
                longest => longest.map_or(usual.longest, |time| time.0),
            },
            played_since: (not_heard > 0.0).then_some(now.saturating_sub(not_heard as i64)),
            taste: self.taste.map_or(usual.taste, Fraction::get),
            listener: self.listener.clone(),
            feel: self.feel.map_or(usual.feel, Fraction::get),
            variety: self.variety.map_or(usual.variety, Fraction::get),
            random: self
                .random_seed
                // The standard library's only source of randomness:
                // the keys of a hasher differ each time.
                .unwrap_or_else(|| RandomState::new().hash_one(0)),
            drift: self.drift.map_or(DRIFT, Fraction::get),
            ..usual
        }
    }
}

impl Mix {
    /// Facts of tracks that the query names, as [`Filters::fields`] does.
    pub fn fields(&self) -> Vec<String> {
        let mut fields = self.filters.fields();
        fields.extend(self.curve.map(|curve| curve.scale.to_string()));
        fields
    }

    /// The engine's options.
    ///
    /// - `usual`: defaults of the query's options
    /// - `tracks`: number of tracks in the library
    pub fn options(
        &self,
        engine: &Engine,
        seeds: &[Seed],
        played: Vec<Seed>,
        usual: &Mixing,
        tracks: usize,
    ) -> Result<MixOptions, QuestionError> {
        if let Some(curve) = self.curve {
            check_scale(engine, "curve", curve.scale, &[])?;
        }
        let lengths = self.mixing.shortest.zip(self.mixing.longest);
        // A longest of 0 is no limit.
        if let Some((shortest, longest)) =
            lengths.filter(|(shortest, longest)| longest.0 > 0.0 && shortest.0 > longest.0)
        {
            let found = format!("{} and {}", clock(shortest.0), clock(longest.0));
            let expected = "a shortest length of at most the longest";
            return Err(Refused::new("", expected, found).into());
        }
        Ok(MixOptions {
            limit: self.limit.of(tracks),
            filter: self.filters.filter(engine, seeds)?,
            played,
            ..self.mixing.clone().over(usual).options()
        })
    }

    /// Why a mix is shorter than its limit; of an empty one only if `near_only` or the lengths are the reason.
    ///
    /// - `tracks`: number of tracks in the library
    /// - `mix`: makes a mix of the seeds with other options
    fn shortage(
        &self,
        found: usize,
        tracks: usize,
        seeds: &[Seed],
        options: &MixOptions,
        mut mix: impl FnMut(&MixOptions) -> Result<Vec<SimilarTrack>, QuestionError>,
    ) -> Result<Option<String>, QuestionError> {
        let wanted = self.limit.of(tracks);
        // The library may have fewer tracks than the limit.
        if found >= wanted.min(tracks.saturating_sub(seeds.len())) {
            return Ok(None);
        }
        let any_distance = MixOptions {
            is_near_only: false,
            ..options.clone()
        };
        if options.is_near_only && mix(&any_distance)?.len() > found {
            return Ok(Some(match found {
                0 => {
                    "every song that could follow is too far away: leave out --near-only".to_owned()
                }
                _ => format!(
                    "the mix ends after {}: all others are too far away for --near-only",
                    count(found as u64, "song")
                ),
            }));
        }
        if found > 0 {
            return Ok(Some(format!(
                "the mix ends after {}: the filters, the lengths (--shortest, --longest) and the limits of songs per artist and per album allow no more",
                count(found as u64, "song")
            )));
        }
        let any_length = MixOptions {
            limit: 1,
            shortest: 0.0,
            longest: f64::INFINITY,
            ..options.clone()
        };
        if mix(&any_length)?.is_empty() {
            return Ok(None);
        }
        let (shortest, longest) = options.lengths(seeds.iter().filter_map(|seed| seed.seconds));
        let longer = if longest.is_finite() {
            format!(" or longer than {}", clock(longest))
        } else {
            String::new()
        };
        Ok(Some(format!(
            "every song that could follow is shorter than {}{longer}: change --shortest or --longest",
            clock(shortest)
        )))
    }

    /// The mix, and how near the library is to the seeds. Without a seed the first song is drawn, and the others follow it.
    ///
    /// - `usual`: defaults of the query's options
    pub fn run(
        &self,
        engine: &mut Engine,
        seeds: &[Seed],
        played: Vec<Seed>,
        usual: &Mixing,
    ) -> Result<SimilarAnswer, QuestionError> {
        let tracks = engine.library().status()?.tracks as usize;
        if seeds.is_empty() {
            let options = self.options(engine, seeds, played.clone(), usual, tracks)?;
            let first = drawn(engine, &options)?;
            let rest = Self {
                // At least 1: a limit of 0 would mean all. The list is truncated below.
                limit: Limit::from(options.limit.saturating_sub(1).max(1)),
                // The curve is applied below, to all songs.
                curve: None,
                ..self.clone()
            };
            let mut answer = rest.run(engine, &[engine.seed_of(first.id)?], played, usual)?;
            let genres = engine.genres().genres_of(std::slice::from_ref(&first))?;
            let measured = engine.library().derived().descriptors(&[first.id])?;
            answer.measured.extend(measured);
            answer.found.insert(
                0,
                SimilarTrack {
                    track: first,
                    genres: genres.into_iter().next().unwrap_or_default(),
                    // To itself.
                    similarity: 1.0,
                    unlike: None,
                },
            );
            answer.found.truncate(options.limit);
            // The drawn song counts as one of the mix, with similarity 1.
            let similarities = answer.found.iter().map(|found| found.similarity);
            answer.standing = answer
                .standing
                .map(|standing| standing.beside(similarities));
            self.follow_curve(&mut answer);
            return Ok(answer);
        }
        let options = self.options(engine, seeds, played, usual, tracks)?;
        let found = engine.mix(seeds, &options)?;
        let short = self.shortage(found.len(), tracks, seeds, &options, |wider| {
            Ok(engine.mix(seeds, wider)?)
        })?;
        let filter = options.filter;
        let standing = engine.standing(
            seeds,
            &SimilarOptions {
                filter,
                ..SimilarOptions::default()
            },
        )?;
        let mut answer = SimilarAnswer::new(engine, found, standing, None)?;
        answer.short = short;
        self.follow_curve(&mut answer);
        Ok(answer)
    }

    /// Sorts the songs by the curve, those without a value last. Of two consecutive songs by the same artist, the second is
    /// swapped with the nearest in value by another artist.
    pub(super) fn follow_curve(&self, answer: &mut SimilarAnswer) {
        let Some(curve) = self.curve else {
            return;
        };
        let value = |found: &SimilarTrack| {
            let known = answer.measured.get(&found.track.id)?;
            Some(known.scales.get(&curve.scale)?.value)
        };
        let (mut known, unknown): (Vec<_>, Vec<_>) = std::mem::take(&mut answer.found)
            .into_iter()
            .partition(|found| value(found).is_some());
        // Songs sorted by value go to places sorted by the height of the curve: the lowest value
        // to the lowest place, and so on.
        known.sort_by(|a, b| value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal));
        // At least 1, as it divides.
        let last = known.len().saturating_sub(1).max(1) as f64;
        let mut places: Vec<usize> = (0..known.len()).collect();
        places.sort_by(|&a, &b| {
            curve
                .at(a as f64 / last)
                .total_cmp(&curve.at(b as f64 / last))
        });
        let mut placed: Vec<(usize, SimilarTrack)> = places.into_iter().zip(known).collect();
        placed.sort_by_key(|(place, _)| *place);
        let mut order: Vec<SimilarTrack> = placed.into_iter().map(|(_, found)| found).collect();
        let is_same_artist = |a: &SimilarTrack, b: &SimilarTrack| {
            a.track.main_artist().is_some() && a.track.main_artist() == b.track.main_artist()
        };
        // Only songs behind `at` are swapped.
        for at in 1..order.len() {
            if is_same_artist(&order[at - 1], &order[at]) {
                let others = (at + 1..order.len())
                    .filter(|&other| !is_same_artist(&order[at - 1], &order[other]));
                let off = |other: &usize| {
                    let values = value(&order[at]).zip(value(&order[*other]));
                    values.map_or(f64::MAX, |(a, b)| (a - b).abs())
                };
                // None if all that follow are by the same artist.
                if let Some(other) = others.min_by(|a, b| off(a).total_cmp(&off(b))) {
                    order.swap(at, other);
                }
            }
        }
        order.extend(unknown);
        answer.found = order;
    }
}

/// Tracks that are drawn at most until one is on the disk.
// Each is an access to the disk; if twenty are gone, the disk is probably not mounted.
const DRAWS: usize = 20;
/// Rounds of such draws until enough of them are no speech.
// Two thousand tracks: if none of them is a song, the library has hardly any.
const ROUNDS: usize = 100;

/// The first track of a mix: a random liked one of a fitting length (of any length, if none fits), else a random one that is
/// not disliked; speech only if nothing else fits.
fn drawn(engine: &Engine, options: &MixOptions) -> Result<Track, QuestionError> {
    let filter = &options.filter;
    let fitting = TrackFilter {
        seconds_from: Some(filter.seconds_from.unwrap_or(options.shortest)),
        seconds_to: Some(filter.seconds_to.unwrap_or(options.longest))
            .filter(|most| most.is_finite()),
        ..filter.clone()
    };
    let track_ids = |filter: &TrackFilter| {
        Ok::<_, QuestionError>(match engine.matching(filter)? {
            Some(tracks) => tracks.to_vec(),
            None => engine.library().track_ids()?,
        })
    };
    // Fitting lengths first, so that no radio play opens a mix of songs.
    let mut tracks = track_ids(&fitting)?;
    if tracks.is_empty() {
        tracks = track_ids(filter)?;
    }
    let mut liked = Vec::new();
    if options.taste > 0.0 {
        let known = engine
            .library()
            .history()
            .listening(options.listener.as_deref(), &tracks)?;
        let opinion = |track: &TrackId| known.get(track).map_or(0.0, |heard| heard.opinion);
        liked.clone_from(&tracks);
        liked.retain(|track| opinion(track) > 0.0);
        tracks.retain(|track| opinion(track) >= 0.0);
    }
    let is_played = |track: &TrackId| options.played.iter().any(|seed| seed.track == Some(*track));
    let library = engine.library();
    let mut random = Random::new(options.random);
    // The first that is on the disk, or if none is, the first: players may have the files elsewhere.
    let one_of = |found: &[TrackId]| -> Result<Option<Track>, QuestionError> {
        for &track in found.iter().take(DRAWS) {
            if !library.files().is_gone(track)? {
                return Ok(Some(library.track(track)?));
            }
        }
        let first = found.first().map(|&first| library.track(first));
        Ok(first.transpose()?)
    };
    let mut speech: Vec<TrackId> = Vec::new();
    for mut tracks in [liked, tracks] {
        // If all were played, one is repeated.
        if !tracks.iter().all(is_played) {
            tracks.retain(|track| !is_played(track));
        }
        if tracks.is_empty() {
            continue;
        }
        let mut songs: Vec<TrackId> = Vec::new();
        for _ in 0..ROUNDS.min(tracks.len()) {
            let draws: Vec<TrackId> = (0..DRAWS)
                .map(|_| {
                    let place = (random.f64() * tracks.len() as f64) as usize;
                    // `f64` is below 1, but the product may round up to the length.
                    tracks[place.min(tracks.len() - 1)]
                })
                .collect();
            // Speech would be followed by speech.
            let known = library.tracks_by_id(&draws)?;
            let known = engine.genres().speech_of(&known)?;
            songs.extend(draws.iter().filter(|track| !known.contains(track)));
            speech.extend(draws.iter().filter(|track| known.contains(track)));
            if songs.len() >= DRAWS {
                break;
            }
        }
        if let Some(song) = one_of(&songs)? {
            return Ok(song);
        }
    }
    one_of(&speech)?.ok_or(QuestionError::NothingFits)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use voisin_library::PlayerEvent;
    use voisin_library::testing::{library, track};

    #[test]
    fn a_mix_emptied_by_lengths_has_a_note() {
        let dir = std::env::temp_dir().join(format!("voisin-mix-lengths-{}", std::process::id()));
        let mut library = library(&dir, 2);
        for i in 0..5_u8 {
            let angle = 0.2 * f32::from(i);
            let mut new = track(u64::from(i), vec![angle.cos(), angle.sin()], 0);
            new.audio.seconds = if i == 0 { 200.0 } else { 20.0 };
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let mut mixed = |question: &str| {
            let question: Mix = serde_json::from_str(question).unwrap();
            let seeds = [engine.seed_of(TrackId(1)).unwrap()];
            question
                .run(&mut engine, &seeds, Vec::new(), &Mixing::default())
                .unwrap()
        };
        let none = mixed("{}");
        assert!(none.found.is_empty());
        assert_eq!(
            none.short.as_deref(),
            Some(
                "every song that could follow is shorter than 1:00 or longer than 15:00: change --shortest or --longest"
            )
        );
        assert!(!mixed(r#"{"mixing": {"shortest": 10}}"#).found.is_empty());
        let wrong = r#"{"mixing": {"shortest": 300, "longest": 60}}"#;
        let wrong: Mix = serde_json::from_str(wrong).unwrap();
        let refused = wrong.options(&engine, &[], Vec::new(), &Mixing::default(), 5);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "expected a shortest length of at most the longest, found 5:00 and 1:00"
        );
        drop(engine);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_mix_without_seeds_begins_with_no_speech() {
        let dir = std::env::temp_dir().join(format!("voisin-mix-speech-{}", std::process::id()));
        let mut library = library(&dir, 2);
        for i in 0..8_u8 {
            let angle = 0.2 * f32::from(i);
            let mut new = track(u64::from(i), vec![angle.cos(), angle.sin()], 0);
            let genre = if i == 3 { "Rock" } else { "Audiobook" };
            new.tags.genres = vec![genre.to_owned()];
            library.insert_track(&new).unwrap();
        }
        // The only liked one is speech, too.
        let liked = [(TrackId(1), PlayerEvent::Liked(Some(true)))];
        library.history_mut().note_listening("ann", &liked).unwrap();
        let engine = Engine::from_library(library);
        for random in 0..6 {
            let mut options = MixOptions {
                random,
                ..MixOptions::default()
            };
            assert_eq!(drawn(&engine, &options).unwrap().id, TrackId(4));
            // A filter for speech makes a mix of speech.
            options.filter.genres = vec!["Audiobook".to_owned()];
            assert_eq!(drawn(&engine, &options).unwrap().id, TrackId(1));
        }
        drop(engine);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_servers_mix_options_are_those_of_the_command_line() {
        let read = |text| ServerMixes::read(text).unwrap();
        let wishes = read("max-per-artist=2, near-only longest=20m,--variety=0.25").mixing;
        let expected = Mixing {
            max_per_artist: Some(2),
            near_only: Some(true),
            longest: Some(Seconds(1200.0)),
            variety: Some(Fraction::new(0.25)),
            ..Mixing::default()
        };
        assert_eq!(wishes, expected);
        assert_eq!(read("").mixing, Mixing::default());
        let filtered =
            read("exclude-genre=Hip Hop,Spoken Word, near-only,folder=/m/My Music,bpm=90-120");
        assert_eq!(filtered.filters.exclude_genre, ["Hip Hop,Spoken Word"]);
        assert_eq!(filtered.filters.folder, [PathBuf::from("/m/My Music")]);
        assert!(filtered.filters.bpm.is_some());
        assert_eq!(filtered.mixing.near_only, Some(true));
        let refused = |text| ServerMixes::read(text).unwrap_err();
        let wrong = refused("variety=2");
        assert!(
            wrong.contains("0 to 1") && wrong.contains("--variety"),
            "{wrong}"
        );
        assert!(refused("loud=2").contains("--loud"));
        assert!(refused("nearonly").contains("--nearonly"));
        // A query's own options take precedence over the server's.
        let wish = Mixing {
            max_per_artist: Some(0),
            near_only: Some(false),
            ..Mixing::default()
        };
        let both = wish.over(&wishes).options();
        assert_eq!(
            (both.max_per_artist, both.max_per_album, both.is_near_only),
            (None, Some(3), false)
        );
        assert_eq!(
            (both.longest, both.shortest, both.variety),
            (1200.0, 60.0, 0.25)
        );
    }
}
