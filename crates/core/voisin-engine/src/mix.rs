//! Mixes for given seeds: near songs in a random selection, limited per artist and album, without repeated songs, far
//! tracks, speech, very short and very long tracks.

use std::collections::{HashMap, HashSet};

use ndarray::{Axis, aview1};

use super::artist_limit::artists_of;
use super::seed::is_seed;
use super::{Engine, EngineError, LibrarySpace, Seed, SimilarOptions, SimilarTrack};
use voisin_base::random::Random;
use voisin_base::track::TrackId;
use voisin_base::vector::{dot, make_unit};
use voisin_explore::{NameLimit, TrackMeta};
use voisin_index::{Neighbor, SearchMode};
use voisin_library::{Listened, SongSet, Track, TrackFilter, TrackSet};

/// Candidates for each song of a mix, and for each song that an artist may have in it.
const REACH: usize = 4;
/// Further candidates, however short the mix is.
const MORE: usize = 20;
/// Most neighbours that are read: bounds the search where nearly all are by one artist.
const FARTHEST: usize = if cfg!(test) { 100 } else { 5000 };
/// Last played songs that a mix drifts towards.
const LAST: usize = 3;
/// Last played songs that count towards the limit per artist.
const RECENT: usize = 15;

/// Similarity below which a track comes last where far is not measured, as in a small library: with centred vectors it is
/// then less like the seeds than the mean of the library is.
const FAR_IN_SMALL: f32 = 0.0;
/// The lowest and the highest bit of a tier.
const FAR: u8 = 1;
const PLAYED_LATELY: u8 = 8;

/// Options of a mix.
#[derive(Debug, Clone)]
pub struct MixOptions {
    /// Number of songs.
    pub limit: usize,
    /// Which tracks may be in it.
    pub filter: TrackFilter,
    /// Only these tracks, besides the filter; `None`: all.
    pub among: Option<TrackSet>,
    /// Songs of the mix that were already played, oldest first; they are not repeated.
    pub played: Vec<Seed>,
    /// How far the query moves from the seeds to the last played songs, 0 to 1.
    pub drift: f32,
    /// Most songs of one artist; tracks without an artist are not limited.
    pub max_per_artist: Option<usize>,
    /// Most songs of one album.
    pub max_per_album: Option<usize>,
    /// Allow several versions of a song.
    pub keeps_versions: bool,
    /// Leave out songs that are [`Closeness::Far`](crate::Closeness::Far), even if the mix becomes shorter.
    pub is_near_only: bool,
    /// Shortest allowed length in seconds; half of a seed's length is always allowed.
    pub shortest: f64,
    /// Longest allowed length in seconds; twice a seed's length is always allowed.
    pub longest: f64,
    /// The listener whose history counts; `None`: all listeners.
    pub listener: Option<String>,
    /// Songs played since this time, in seconds since 1970 UTC, are used only if a mix would be short; `None`: no effect.
    pub played_since: Option<i64>,
    /// Weight of liked and often played songs, 0 to 1; above 0, disliked songs are left out.
    pub taste: f32,
    /// Listening histories of other programs.
    pub external_history: HashMap<TrackId, Listened>,
    /// From 0, alike in sound, to 1, alike in feel, as in [`Engine::similar_in_feel`]; no effect if no energy or learned
    /// scale of the seeds is known.
    pub feel: f32,
    /// From 0, always the nearest songs, to 1, a random choice of near ones.
    pub variety: f32,
    /// Seed of the random numbers: the same number gives the same mix.
    pub random: u64,
}

impl Default for MixOptions {
    fn default() -> Self {
        Self {
            limit: 25,
            filter: TrackFilter::default(),
            among: None,
            played: Vec::new(),
            drift: 0.0,
            max_per_artist: Some(3),
            max_per_album: Some(3),
            keeps_versions: false,
            is_near_only: false,
            shortest: 60.0,
            longest: 900.0,
            listener: None,
            played_since: None,
            taste: 0.5,
            external_history: HashMap::new(),
            feel: 0.0,
            variety: 0.5,
            random: 0,
        }
    }
}

impl MixOptions {
    /// Number of tracks that a mix chooses from.
    #[doc(hidden)]
    pub fn reach(&self) -> usize {
        self.limit.saturating_mul(REACH).saturating_add(MORE)
    }

    /// The shortest and the longest length allowed in a mix for seeds of these lengths, in seconds.
    pub fn lengths(&self, seconds: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let shortest = seconds
            .clone()
            .map(|seconds| seconds / 2.0)
            .fold(self.shortest, f64::min);
        (
            shortest,
            seconds
                .map(|seconds| 2.0 * seconds)
                .fold(self.longest, f64::max),
        )
    }
}

/// A candidate for a mix.
struct MixCandidate {
    near: Neighbor,
    track: Track,
    vector: Option<Vec<f32>>,
    /// The song that it is a version of, if that was computed.
    song: Option<TrackId>,
    /// Sum of bits by weight: far from the seeds, an artist played often lately, the artist played last, a song played
    /// lately. A higher tier is used only if the lower ones do not suffice.
    tier: u8,
    /// From -1, disliked, to 1, liked.
    opinion: f32,
    score: f32,
}

impl MixCandidate {
    fn new(near: Neighbor, track: Track, vector: Option<Vec<f32>>, tier: u8) -> Self {
        Self {
            near,
            track,
            vector,
            song: None,
            tier,
            opinion: 0.0,
            score: 0.0,
        }
    }
}

/// The album of a track, as [`TrackMeta::album_key`].
#[doc(hidden)]
pub fn album_of(track: &Track) -> Option<String> {
    let album = TrackMeta {
        album: track.album().map(str::to_owned),
        artist: track.main_artist().map(str::to_owned),
        album_artist: track.tags.album_artist.clone(),
        ..TrackMeta::of_file(track.id, &track.path)
    };
    album.album_key()
}

impl Engine {
    /// A mix for the seeds, nearest first, except that songs of one artist are kept apart where possible.
    ///
    /// Shorter than requested if the library has no more songs that fit.
    pub fn mix(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, EngineError> {
        let mut candidates = self.with_index(|engine| engine.candidates(seeds, options))?;
        if options.feel > 0.0
            && let Some(feel) = self.feel_of(seeds)?
        {
            let near = |one: &MixCandidate| (one.track.id, one.near.similarity);
            candidates = self.in_order_of_feel(candidates, &feel, options.feel, near)?;
        }
        let mut chosen = choose(candidates, options, options.limit, &self.space);
        // The choice was random; the order is by similarity again.
        chosen.sort_by(|a, b| {
            b.near
                .similarity
                .total_cmp(&a.near.similarity)
                .then(a.track.id.cmp(&b.track.id))
        });
        let chosen = in_turn(chosen);
        let similarities: Vec<f32> = chosen.iter().map(|one| one.near.similarity).collect();
        let tracks: Vec<Track> = chosen.into_iter().map(|one| one.track).collect();
        let genres = self.genres().genres_of(&tracks)?;
        let songs = tracks.into_iter().zip(genres).zip(similarities);
        let songs = songs.map(|((track, genres), similarity)| SimilarTrack {
            track,
            genres,
            similarity,
            unlike: None,
        });
        Ok(songs.collect())
    }

    /// The query vector of a mix.
    fn mix_query(&mut self, seeds: &[Seed], options: &MixOptions) -> Result<Vec<f32>, EngineError> {
        let space = self.space()?;
        let mut query = space.query(seeds)?.1.as_slice().to_vec();
        let last = &options.played[options.played.len().saturating_sub(LAST)..];
        // Played songs in opposite directions have no mean direction; the seeds alone count then.
        if let (true, Ok((_, last))) = (options.drift > 0.0 && !last.is_empty(), space.query(last))
        {
            let parts = query.iter().zip(last.as_slice());
            query = parts
                .map(|(from, to)| (1.0 - options.drift) * from + options.drift * to)
                .collect();
            make_unit(&mut query);
        }
        Ok(query)
    }

    /// Candidates near the seeds, nearest first.
    fn candidates(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<MixCandidate>, EngineError> {
        let allowed = self.allowed(&SimilarOptions {
            filter: options.filter.clone(),
            among: options.among.clone(),
            ..SimilarOptions::default()
        })?;
        let query = self.mix_query(seeds, options)?;
        let (centred, _) = self.space()?.query(seeds)?;
        let far_below = self.far_below()?;
        let seed_tracks: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let seed_tracks = self.library.tracks_by_id(&seed_tracks)?;
        let before: Vec<TrackId> = options
            .played
            .iter()
            .filter_map(|seed| seed.track)
            .collect();
        let played = self.library.tracks_by_id(&before)?;
        let before: HashSet<TrackId> = before.into_iter().collect();
        let mut known = SongSet::default();
        if !options.keeps_versions {
            // A track that was found by a phrase, not named by the user, may be in the mix, and so
            // may its versions.
            let found_by_sound: Vec<TrackId> = seeds
                .iter()
                .filter(|seed| seed.found_by_sound.is_some())
                .filter_map(|seed| seed.track)
                .collect();
            let named = seed_tracks
                .iter()
                .filter(|track| !found_by_sound.contains(&track.id));
            let tracks: Vec<&Track> = named.chain(&played).collect();
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let known_songs = self.library.derived().known_songs(&ids)?;
            let sounds: HashMap<TrackId, &[f32]> = seeds
                .iter()
                .chain(&options.played)
                .filter_map(|seed| Some((seed.track?, seed.vector.as_slice())))
                .collect();
            for track in tracks {
                let song = known_songs.get(&track.id).copied();
                known.insert(track, song, sounds.get(&track.id).copied());
            }
        }
        let (shortest, longest) = options.lengths(seeds.iter().filter_map(|seed| seed.seconds));
        let kin = self.genres().kin_styles()?;
        let wished = self.genres().taxonomy()?.named(&options.filter.genres);
        // Speech is allowed if a named seed is speech, if the filter names such a genre, or if all seeds found by a phrase are
        // speech.
        let speech = self.genres().speech_of(&seed_tracks)?;
        let is_named = |id: &TrackId| {
            let mut named = seeds.iter().filter(|seed| seed.found_by_sound.is_none());
            named.any(|seed| seed.track == Some(*id))
        };
        let takes_speech = speech.iter().any(is_named)
            || !speech.is_empty() && seed_tracks.iter().all(|track| speech.contains(&track.id))
            || wished.iter().any(|genre| kin.is_speech(genre));

        let tracks_of_seeds: HashMap<TrackId, &Track> =
            seed_tracks.iter().map(|track| (track.id, track)).collect();
        let is_copy_of_seed = |track: &Track, vector: Option<&[f32]>| {
            let mut named = centred.iter().filter(|seed| seed.found_by_sound.is_none());
            named.any(|seed| {
                let known = seed.track.and_then(|id| tracks_of_seeds.get(&id));
                known.zip(vector).is_some_and(|(known, vector)| {
                    let similarity = dot(&seed.vector, vector);
                    known.recording().is_copy(&track.recording(), similarity)
                })
            })
        };
        let index = self.loaded_index();
        // More per artist than the mix takes, so that there is a choice; but limited, or one artist
        // could fill the candidates.
        let mut artists = NameLimit::new(
            options
                .max_per_artist
                .map(|most| most.saturating_mul(REACH)),
        );
        let mut tracks: HashMap<TrackId, (Track, Option<Vec<f32>>)> = HashMap::new();
        let mut read = 0;
        let choose = |_, mut found: Vec<Neighbor>| {
            read += found.len();
            if read > FARTHEST {
                // Returning them ends the search; the mix drops them, since they are not in `tracks`.
                return Ok(found);
            }
            found.retain(|near| !before.contains(&near.id));
            let ids: Vec<TrackId> = found.iter().map(|near| near.id).collect();
            let known_songs = self.library.derived().known_songs(&ids)?;
            let of_found = self.library.tracks_by_id(&ids)?;
            let speech = if takes_speech {
                HashSet::new()
            } else {
                self.genres().speech_of(&of_found)?
            };
            for track in of_found {
                let vector = index.vector(track.id);
                // Songs are compared by raw vectors, because the mean of the centred ones changes
                // with the library.
                let raw = vector.as_ref().map(|vector| self.space.restore(vector));
                let song = known_songs.get(&track.id).copied();
                let track_artists = artists_of(&track);
                let fits = (shortest..=longest).contains(&track.audio.seconds)
                    && !known.contains(&track, song, raw.as_deref())
                    && !speech.contains(&track.id)
                    && !is_seed(&centred, track.id, vector.as_deref())
                    && !is_copy_of_seed(&track, vector.as_deref())
                    && artists.has_room(&track_artists);
                if fits {
                    artists.take(track_artists);
                    tracks.insert(track.id, (track, vector));
                }
            }
            found.retain(|near| tracks.contains_key(&near.id));
            Ok(found)
        };
        let reach = options.reach();
        let query = aview1(&query).insert_axis(Axis(0));
        let found =
            self.search_until_all(query, reach, SearchMode::Auto, allowed.as_ref(), choose)?;
        let mut recent = NameLimit::new(options.max_per_artist);
        played
            .iter()
            .rev()
            .take(RECENT)
            .for_each(|track| recent.take(artists_of(track)));
        let last = played.last().map(artists_of).unwrap_or_default();
        let candidates = found.into_iter().flatten().filter_map(|near| {
            let (track, vector) = tracks.remove(&near.id)?;
            let track_artists = artists_of(&track);
            let is_often = !recent.has_room(&track_artists);
            let is_again = track_artists.iter().any(|artist| last.contains(artist));
            let is_far = near.similarity < far_below.unwrap_or(FAR_IN_SMALL);
            // `FAR` is the lowest bit; `PLAYED_LATELY` is set later.
            let tier = 4 * u8::from(is_again) + 2 * u8::from(is_often) + u8::from(is_far);
            let candidate = MixCandidate::new(near, track, vector, tier);
            (!is_far || far_below.is_none() || !options.is_near_only).then_some(candidate)
        });
        self.apply_history(candidates.collect(), options)
    }

    /// Applies the listening history: songs played lately, in any version, come last, and disliked ones are left out.
    fn apply_history(
        &self,
        mut candidates: Vec<MixCandidate>,
        options: &MixOptions,
    ) -> Result<Vec<MixCandidate>, EngineError> {
        let ids: Vec<TrackId> = candidates.iter().map(|one| one.track.id).collect();
        let mut known = self
            .library
            .history()
            .listening(options.listener.as_deref(), &ids)?;
        for (track, history) in &options.external_history {
            let known = known.entry(*track).or_default();
            known.last = known.last.max(history.last);
            known.opinion = if history.opinion == 0.0 {
                known.opinion
            } else {
                history.opinion
            };
        }
        let is_late = |one: &MixCandidate| {
            let last = known.get(&one.track.id).and_then(|known| known.last);
            options
                .played_since
                .is_some_and(|since| last.is_some_and(|last| last >= since))
        };
        let known_songs = self.library.derived().known_songs(&ids)?;
        candidates
            .iter_mut()
            .for_each(|one| one.song = known_songs.get(&one.track.id).copied());
        let mut late = SongSet::default();
        if !options.keeps_versions {
            let recently_played = candidates.iter().filter(|one| is_late(one));
            recently_played
                .for_each(|one| late.insert(&one.track, one.song, self.raw(one).as_deref()));
        }
        for one in &mut candidates {
            let is_version = late.contains(&one.track, one.song, self.raw(one).as_deref());
            one.tier |= if is_version || is_late(one) {
                PLAYED_LATELY
            } else {
                0
            };
            one.opinion = known.get(&one.track.id).map_or(0.0, |known| known.opinion);
        }
        candidates.retain(|one| options.taste == 0.0 || one.opinion > -1.0);
        self.without_gone(candidates)
    }

    /// Leaves out files that are no longer on the disk, unless all are missing: then another machine plays the music.
    fn without_gone(
        &self,
        mut candidates: Vec<MixCandidate>,
    ) -> Result<Vec<MixCandidate>, EngineError> {
        let gone = candidates
            .iter()
            .map(|one| self.library.files().is_gone(one.track.id));
        let gone = gone.collect::<Result<Vec<bool>, _>>()?;
        if gone.contains(&false) {
            let mut is_gone = gone.into_iter();
            candidates.retain(|_| is_gone.next() != Some(true));
        }
        Ok(candidates)
    }

    fn raw(&self, candidate: &MixCandidate) -> Option<Vec<f32>> {
        let vector = candidate.vector.as_ref()?;
        Some(self.space.restore(vector))
    }

    /// Chooses a mix from the results of another search, best first, with the options' randomness and limits. The index must
    /// have been opened.
    ///
    /// - `found`: nearest first, with their similarities
    pub fn arrange(
        &mut self,
        found: Vec<(Track, f32)>,
        options: &MixOptions,
    ) -> Result<Vec<(Track, f32)>, EngineError> {
        let far_below = self.far_below()?;
        let index = self.loaded_index();
        let candidates = found.into_iter().filter_map(|(track, similarity)| {
            let near = Neighbor {
                id: track.id,
                similarity,
            };
            let is_far = similarity < far_below.unwrap_or(FAR_IN_SMALL);
            let vector = index.vector(track.id);
            let candidate = MixCandidate::new(near, track, vector, u8::from(is_far));
            (!is_far || far_below.is_none() || !options.is_near_only).then_some(candidate)
        });
        let candidates = self.apply_history(candidates.collect(), options)?;
        let chosen = choose(candidates, options, usize::MAX, &self.space);
        Ok(chosen
            .into_iter()
            .map(|one| (one.track, one.near.similarity))
            .collect())
    }
}

/// Chooses the songs of a mix, best first, at random among the near ones and within the limits of artists, albums and versions.
///
/// - `candidates`: nearest first
/// - `most`: number of songs at most
fn choose(
    mut candidates: Vec<MixCandidate>,
    options: &MixOptions,
    most: usize,
    space: &LibrarySpace,
) -> Vec<MixCandidate> {
    let mut random = Random::new(options.random);
    let length = options.limit.max(1) as f32;
    for (rank, candidate) in candidates.iter_mut().enumerate() {
        // Gumbel-top-k: the largest scores with Gumbel noise are a weighted sample without replacement.
        let noise = -(-random.f32().clamp(1e-6, 1.0 - 1e-6).ln()).ln();
        candidate.score =
            options.variety * noise + options.taste * candidate.opinion - rank as f32 / length;
    }
    // The tier comes before the score, so that chance never puts a far song before a near one.
    candidates.sort_by(|a, b| a.tier.cmp(&b.tier).then(b.score.total_cmp(&a.score)));
    let mut artists = NameLimit::new(options.max_per_artist);
    let mut albums = NameLimit::new(options.max_per_album);
    let mut songs = SongSet::default();
    let mut chosen: Vec<MixCandidate> = Vec::new();
    for candidate in candidates {
        if chosen.len() >= most {
            break;
        }
        let own_artists = artists_of(&candidate.track);
        let album: Vec<String> = album_of(&candidate.track).into_iter().collect();
        let is_copy = |other: &MixCandidate| match (&other.vector, &candidate.vector) {
            (Some(a), Some(b)) => {
                let recording = candidate.track.recording();
                recording.is_copy(&other.track.recording(), dot(a, b))
            }
            _ => false,
        };
        let raw = candidate
            .vector
            .as_ref()
            .map(|vector| space.restore(vector));
        let is_again = !options.keeps_versions
            && (chosen.iter().any(is_copy)
                || songs.contains(&candidate.track, candidate.song, raw.as_deref()));
        if !is_again && artists.has_room(&own_artists) && albums.has_room(&album) {
            songs.insert(&candidate.track, candidate.song, raw.as_deref());
            artists.take(own_artists);
            albums.take(album);
            chosen.push(candidate);
        }
    }
    chosen
}

/// Reorders the songs as little as possible so that no two of one artist follow each other; far songs stay behind near ones.
fn in_turn(chosen: Vec<MixCandidate>) -> Vec<MixCandidate> {
    let mut waiting: Vec<(Vec<String>, MixCandidate)> = chosen
        .into_iter()
        .map(|one| (artists_of(&one.track), one))
        .collect();
    let mut list = Vec::with_capacity(waiting.len());
    let mut last: Vec<String> = Vec::new();
    while !waiting.is_empty() {
        let is_far = |one: &MixCandidate| one.tier & FAR > 0;
        let first = is_far(&waiting[0].1);
        let other = waiting.iter().position(|(artists, one)| {
            is_far(one) == first && !artists.iter().any(|artist| last.contains(artist))
        });
        let (artists, next) = waiting.remove(other.unwrap_or(0));
        last = artists;
        list.push(next);
    }
    list
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use voisin_library::testing::{library, track};
    use voisin_library::{NewTrack, PlayerEvent, ScaleOrigin, ScaleValue};

    /// Sixty tracks at growing angles from the first, of three artists in blocks of twenty.
    fn engine(dir: &Path, change: impl Fn(usize, &mut NewTrack)) -> Engine {
        let mut library = library(dir, 2);
        for i in 0..60_usize {
            let angle = i as f32 * 0.02;
            let mut new = track(i as u64, vec![angle.cos(), angle.sin()], 0);
            new.tags.artist = Some(format!(
                "{} {}",
                if i % 2 == 0 { "Björk" } else { "BJORK" },
                i / 20
            ));
            change(i, &mut new);
            library.insert_track(&new).unwrap();
        }
        Engine::from_library(library)
    }

    #[test]
    fn near_songs_of_one_artist_come_before_far_songs() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(if i < 2 { "Near" } else { "Stranger" }.to_owned());
        });
        let ids = [TrackId(1), TrackId(2), TrackId(3)];
        let tracks = engine.library().tracks_by_id(&ids).unwrap();
        let chosen = tracks.into_iter().zip([0, 0, FAR]);
        let chosen = chosen.map(|(track, tier)| {
            let near = Neighbor {
                id: track.id,
                similarity: 0.5,
            };
            MixCandidate::new(near, track, None, tier)
        });
        let list = in_turn(chosen.collect());
        let list: Vec<TrackId> = list.iter().map(|one| one.track.id).collect();
        assert_eq!(list, ids);
    }

    fn nearest() -> MixOptions {
        MixOptions {
            variety: 0.0,
            ..MixOptions::default()
        }
    }

    fn ids(engine: &mut Engine, seed: i64, options: &MixOptions) -> Vec<i64> {
        let seeds = [engine.seed_of(TrackId(seed)).unwrap()];
        engine
            .mix(&seeds, options)
            .unwrap()
            .iter()
            .map(|song| song.track.id.0)
            .collect()
    }

    #[test]
    fn a_mix_leaves_out_files_that_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.file.path = dir.path().join(format!("{i}.mp3"));
            if i % 3 == 0 {
                std::fs::write(&new.file.path, "").unwrap();
            }
        });
        let songs = ids(&mut engine, 1, &nearest());
        assert!(songs.len() > 3, "{songs:?}");
        assert!(songs.iter().all(|id| (id - 1) % 3 == 0), "{songs:?}");
    }

    #[test]
    fn an_artist_and_an_album_have_three_songs_and_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.album = (i < 20).then(|| (i / 2).to_string());
        });
        assert_eq!(
            ids(&mut engine, 1, &nearest()),
            [2, 3, 4, 21, 41, 22, 42, 23, 43]
        );
        let of_album = MixOptions {
            max_per_album: Some(1),
            max_per_artist: Some(2),
            ..nearest()
        };
        assert_eq!(ids(&mut engine, 1, &of_album), [2, 3, 21, 41, 22, 42]);
        let free = MixOptions {
            max_per_artist: None,
            limit: 4,
            ..nearest()
        };
        assert_eq!(ids(&mut engine, 1, &free), [2, 3, 4, 5]);
    }

    #[test]
    fn a_compilation_without_an_owner_is_one_album() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(format!("Artist {i}"));
            new.tags.album = (i < 30).then(|| "Summer Hits".to_owned());
            new.tags.album_artist = None;
        });
        let found = ids(&mut engine, 1, &nearest());
        assert_eq!(found[..5], [2, 3, 4, 31, 32], "{found:?}");
    }

    #[test]
    fn a_song_of_two_artists_counts_for_both() {
        let dir = tempfile::tempdir().unwrap();
        let named = ["A", "B", "A feat. B"];
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(named[i % 3].to_owned());
        });
        let one = MixOptions {
            max_per_artist: Some(1),
            ..nearest()
        };
        assert_eq!(ids(&mut engine, 1, &one), [2, 4]);
    }

    #[test]
    fn a_mix_differs_each_time_and_its_random_seed_repeats_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| new.tags.artist = Some(i.to_string()));
        let mut mixed = |random, variety| {
            let options = MixOptions {
                limit: 10,
                random,
                variety,
                ..MixOptions::default()
            };
            ids(&mut engine, 1, &options)
        };
        assert_eq!(mixed(1, 0.0), (2..12).collect::<Vec<_>>());
        assert_eq!(mixed(1, 0.5), mixed(1, 0.5));
        let shared = |a: &[i64], b: &[i64]| a.iter().filter(|id| b.contains(id)).count();
        let evenings: Vec<Vec<i64>> = (1..=20).map(|random| mixed(random, 0.5)).collect();
        let again: usize = evenings
            .windows(2)
            .map(|pair| shared(&pair[0], &pair[1]))
            .sum();
        assert!(
            (19 * 2..19 * 9).contains(&again),
            "{again} of 190 songs are those of the evening before"
        );
        // More variety reaches farther, and the list stays sorted, nearest first.
        let mut mean = |variety| -> f64 {
            let all: Vec<i64> = (1..=20).flat_map(|random| mixed(random, variety)).collect();
            all.iter().sum::<i64>() as f64 / all.len() as f64
        };
        let means = [mean(0.2), mean(0.5), mean(1.0)];
        assert!(means.is_sorted_by(|a, b| a < b), "{means:?}");
        assert!(mixed(3, 1.0).is_sorted());
    }

    #[test]
    fn a_mix_has_one_version_of_each_song() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(["A", "A feat. B", "A; B"][i % 3].to_owned());
            new.tags.title = Some(format!("Song {}", i / 4));
        });
        let one = MixOptions {
            max_per_artist: None,
            limit: 4,
            ..nearest()
        };
        assert_eq!(
            ids(&mut engine, 1, &one),
            [5, 9, 13, 17],
            "no version of the seed's song either"
        );
        let all = MixOptions {
            keeps_versions: true,
            ..one.clone()
        };
        // The fourth has the seed's name and length: it is a copy, not a version.
        assert_eq!(ids(&mut engine, 1, &all), [2, 3, 5, 6]);
        // With computed songs: the third is another song of that title, and the sixth is the seed's.
        let songs = [(1, 1), (2, 1), (3, 3), (4, 1), (5, 1), (6, 1), (9, 9)];
        let songs = songs
            .into_iter()
            .map(|(track, song)| (TrackId(track), TrackId(song)))
            .collect();
        engine
            .library_mut()
            .derived_mut()
            .remember_songs(&songs)
            .unwrap();
        assert_eq!(ids(&mut engine, 1, &one), [3, 7, 9, 13]);
        engine
            .library_mut()
            .history_mut()
            .note_listening("ann", &[(TrackId(10), PlayerEvent::Played(1000))])
            .unwrap();
        let late = MixOptions {
            played_since: Some(500),
            limit: 3,
            ..one
        };
        assert_eq!(
            ids(&mut engine, 1, &late),
            [3, 7, 13],
            "the song of track 10 was played lately"
        );
    }

    #[test]
    fn a_mix_leaves_out_untagged_copies_of_lower_rates() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        // The second is a copy of the seed, the fifth one of the fourth.
        for (i, angle) in [0.0_f32, 0.02, 0.2, 0.4, 0.41, 0.7].into_iter().enumerate() {
            let mut new = track(i as u64, vec![angle.cos(), angle.sin()], 0);
            if i == 1 || i == 4 {
                new.tags.title = None;
            }
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        assert_eq!(ids(&mut engine, 1, &nearest()), [3, 4, 6]);
    }

    #[test]
    fn skits_and_mixes_of_an_hour_are_left_out_unless_a_seed_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.audio.seconds = [30.0, 200.0, 3600.0][i % 3];
            new.tags.artist = None;
        });
        let options = MixOptions {
            limit: 4,
            ..nearest()
        };
        assert_eq!(ids(&mut engine, 2, &options), [5, 8, 11, 14]);
        assert_eq!(ids(&mut engine, 1, &options), [2, 4, 5, 7], "skits, too");
        assert_eq!(
            ids(&mut engine, 3, &options),
            [2, 5, 6, 8],
            "long ones, too"
        );
        // A seed from outside the library counts like a track.
        let outside = Seed {
            path: "x.wav".into(),
            seconds: Some(45.0),
            ..Seed::of_vector(engine.seed_of(TrackId(30)).unwrap().vector)
        };
        let songs = engine.mix(&[outside], &options).unwrap();
        assert!(
            songs.iter().any(|song| song.track.audio.seconds == 30.0),
            "{songs:?}"
        );
    }

    #[test]
    fn speech_is_mixed_only_for_speech_seeds_or_genres() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(i.to_string());
            new.tags.genres = vec![["Rock", "Audiobook", "Podcast"][i % 3].to_owned()];
        });
        let options = MixOptions {
            limit: 3,
            ..nearest()
        };
        assert_eq!(ids(&mut engine, 1, &options), [4, 7, 10]);
        assert_eq!(
            ids(&mut engine, 2, &options),
            [1, 3, 4],
            "a chapter is the seed"
        );
        let mut wanted = options.clone();
        wanted.filter.genres = vec!["Podcast".to_owned()];
        assert_eq!(ids(&mut engine, 1, &wanted), [3, 6, 9]);
        // One chapter among the songs that a phrase found does not allow speech.
        let mut seeds = [1, 2].map(|id| engine.seed_of(TrackId(id)).unwrap());
        for seed in &mut seeds {
            seed.found_by_sound = Some(Arc::default());
        }
        let songs = engine.mix(&seeds, &options).unwrap();
        assert!(
            songs.iter().all(|song| song.genres[0].name() == "Rock"),
            "{songs:?}"
        );
    }

    #[test]
    fn songs_played_lately_come_last_and_liked_ones_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| new.tags.artist = Some(i.to_string()));
        let events = [
            (TrackId(2), PlayerEvent::Played(1000)),
            (TrackId(3), PlayerEvent::Played(10)),
            (TrackId(4), PlayerEvent::Rated(Some(1))),
            (TrackId(11), PlayerEvent::Liked(Some(true))),
        ];
        engine
            .library_mut()
            .history_mut()
            .note_listening("ann", &events)
            .unwrap();
        let options = MixOptions {
            limit: 6,
            played_since: Some(500),
            taste: 1.0,
            ..nearest()
        };
        assert_eq!(
            ids(&mut engine, 1, &options),
            [3, 5, 6, 7, 8, 11],
            "the liked one is six places ahead"
        );
        let ben = MixOptions {
            listener: Some("ben".into()),
            ..options.clone()
        };
        assert_eq!(ids(&mut engine, 1, &ben), [2, 3, 4, 5, 6, 7]);
        let ann = MixOptions {
            listener: Some("ann".into()),
            ..options.clone()
        };
        assert_eq!(ids(&mut engine, 1, &ann), ids(&mut engine, 1, &options));
        let none = MixOptions {
            played_since: None,
            taste: 0.0,
            ..options.clone()
        };
        assert_eq!(ids(&mut engine, 1, &none), [2, 3, 4, 5, 6, 7]);
        // Another program's history takes precedence; a mix that would be short takes songs that were played.
        let events = HashMap::from([(
            TrackId(11),
            Listened {
                last: Some(600),
                opinion: -1.0,
            },
        )]);
        let elsewhere = MixOptions {
            external_history: events,
            limit: 100,
            ..options
        };
        let all = ids(&mut engine, 1, &elsewhere);
        assert!(
            all.contains(&2) && !all.contains(&4) && !all.contains(&11) && all.len() == 57,
            "{all:?}"
        );
    }

    #[test]
    fn far_songs_fill_a_mix_or_leave_it_short() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 16);
        let mut random = Random::new(5);
        for i in 0..60_u64 {
            let mut vector: Vec<f32> = (0..16).map(|_| 0.3 * (random.f32() - 0.5)).collect();
            vector[usize::from(i >= 10)] += 1.0;
            make_unit(&mut vector);
            let mut new = track(i, vector, 0);
            new.tags.artist = Some(i.to_string());
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let near = MixOptions {
            is_near_only: true,
            ..MixOptions::default()
        };
        assert!(ids(&mut engine, 1, &near).iter().all(|id| *id <= 10));
        let filled = ids(&mut engine, 1, &MixOptions::default());
        assert_eq!(filled.len(), 25);
        let first = filled.iter().take_while(|id| **id <= 10).count();
        assert!(
            first >= 5 && filled[first..].iter().all(|id| *id > 10),
            "{filled:?}"
        );
        assert_eq!(
            first,
            ids(&mut engine, 1, &near).len(),
            "no far song before a near one"
        );
    }

    #[test]
    fn strangers_come_last_in_a_small_library_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 16);
        let mut random = Random::new(5);
        for i in 0..12_u64 {
            let mut vector: Vec<f32> = (0..16).map(|_| 0.3 * (random.f32() - 0.5)).collect();
            vector[usize::from(i >= 6)] += 1.0;
            make_unit(&mut vector);
            let mut new = track(i, vector, 0);
            new.tags.artist = Some(i.to_string());
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        for random in 0..5 {
            let options = MixOptions {
                variety: 1.0,
                is_near_only: random % 2 == 0,
                random,
                ..MixOptions::default()
            };
            let found = ids(&mut engine, 1, &options);
            assert_eq!(found.len(), 11);
            assert!(found[..5].iter().all(|id| *id <= 6), "{found:?}");
        }
    }

    #[test]
    fn mixes_of_one_song_at_a_time_keep_artists_apart() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |_, _| ());
        let mut played = Vec::new();
        let mut artists = Vec::new();
        for _ in 0..12 {
            let options = MixOptions {
                limit: 1,
                played: played.clone(),
                ..nearest()
            };
            let [id] = ids(&mut engine, 1, &options)[..] else {
                panic!("expected one song")
            };
            played.push(engine.seed_of(TrackId(id)).unwrap());
            artists.push((id - 1) / 20);
        }
        assert!(
            artists.windows(2).all(|pair| pair[0] != pair[1]),
            "{artists:?}"
        );
        assert_eq!(
            artists[..6].iter().filter(|artist| **artist == 0).count(),
            3,
            "{artists:?}"
        );
    }

    #[test]
    fn a_mix_reads_no_whole_library_of_one_artist() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for i in 0..300_u64 {
            let angle = i as f32 * 0.005;
            let mut new = track(i, vec![angle.cos(), angle.sin()], 0);
            new.tags.artist = Some(if i == 299 { "B" } else { "A" }.to_owned());
            library.insert_track(&new).unwrap();
        }
        let mut engine = Engine::from_library(library);
        let found = ids(
            &mut engine,
            1,
            &MixOptions {
                limit: 4,
                ..nearest()
            },
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_radio_stays_or_drifts_without_repeating_a_song() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), |i, new| new.tags.artist = Some(i.to_string()));
        let mut distance = |drift: f32| {
            let mut played = Vec::new();
            let mut order = Vec::new();
            for _ in 0..10 {
                let options = MixOptions {
                    limit: 2,
                    drift,
                    played: played.clone(),
                    ..nearest()
                };
                for id in ids(&mut engine, 30, &options) {
                    played.push(engine.seed_of(TrackId(id)).unwrap());
                    order.push(id);
                }
            }
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 20, "{order:?}");
            order.iter().map(|id| (id - 30).abs()).sum::<i64>()
        };
        assert_eq!(distance(0.0), 2 * (1..=10).sum::<i64>());
        assert!(distance(1.0) > 2 * (1..=10).sum::<i64>());
    }

    #[test]
    fn feel_compares_energy_and_learned_scales() {
        let dir = tempfile::tempdir().unwrap();
        // Ten outliers raise the distances, so that none of the others is far from its neighbours.
        let mut engine = engine(dir.path(), |i, new| {
            new.tags.artist = Some(i.to_string());
            if i >= 50 {
                let angle = 0.4 * (i - 46) as f32;
                new.vector = vec![angle.cos(), angle.sin()];
            }
        });
        let options = MixOptions {
            limit: 2,
            feel: 1.0,
            ..nearest()
        };
        let similar = |engine: &mut Engine| {
            let seeds = [engine.seed_of(TrackId(1)).unwrap()];
            let options = SimilarOptions {
                limit: 2,
                ..SimilarOptions::default()
            };
            let found = engine.similar_in_feel(&seeds, &options, 1.0)?;
            let ids = found.iter().map(|found| found.track.id.0);
            Ok::<_, EngineError>(ids.collect::<Vec<i64>>())
        };
        assert_eq!(ids(&mut engine, 1, &options), [2, 3], "no scale is known");
        assert!(matches!(similar(&mut engine), Err(EngineError::NoEnergy)));
        let give = |engine: &mut Engine, name: &str, origin, each: i64| {
            let tracks = engine.library().tracks().unwrap().into_iter();
            let values: Vec<_> = tracks
                .map(|track| {
                    let value = if track.id.0 % each == 1 { 100.0 } else { 0.0 };
                    let value = ScaleValue::new(value, None, origin).unwrap();
                    (track.audio.content, value)
                })
                .collect();
            let name = name.parse().unwrap();
            engine
                .library
                .scales_mut()
                .set_scale(name, &values)
                .unwrap();
        };
        give(&mut engine, "brightness", ScaleOrigin::Measured, 5);
        assert!(matches!(similar(&mut engine), Err(EngineError::NoEnergy)));
        give(&mut engine, "energy", ScaleOrigin::Measured, 2);
        assert_eq!(ids(&mut engine, 1, &options), [3, 5]);
        assert_eq!(similar(&mut engine).unwrap(), [3, 5]);
        give(&mut engine, "warm", ScaleOrigin::Learned, 3);
        let one = MixOptions {
            limit: 1,
            ..options
        };
        assert_eq!(ids(&mut engine, 1, &one), [7]);
        assert_eq!(similar(&mut engine).unwrap()[0], 7);
    }
}
