//! More of this, less of that: neighbours of the seeds among which words are stronger or weaker.
//!
//! The question is moved along the direction of its words, which is the covariance of a word's strength with the library's
//! vectors, so that the index finds candidates on the way; of these, those are chosen whose similarity to the seeds and
//! strength together are greatest. How much a word's strength weighs is not a number that anybody has to know: it is as much
//! as leaves the answer the share of its similarity to the seeds that is asked for.

use std::collections::{BTreeMap, HashMap, HashSet};

use ndarray::{Axis, aview1};

use super::artist_limit::artists_of;
use super::seed::is_seed;
use super::words::PredictedTags;
use super::{Engine, EngineError, Seed, SimilarOptions, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_base::vector::{dot, make_unit};
use voisin_explore::NameLimit;
use voisin_index::Neighbor;
use voisin_library::TrackSet;

/// Tracks of a large library that stand for all in percentiles and directions.
const SAMPLE: usize = 20_000;
/// How far the question is moved for candidates, as lengths of the direction beside the seeds' of 1.
const STEPS: [f32; 4] = [0.0, 0.5, 1.0, 2.0];
/// Candidates at each step, for each track of the answer, and at least.
const REACH: usize = 20;
const LEAST: usize = 200;
/// By how many times what the mean may lose a single track may fall behind the farthest of the unmoved answer: without a
/// bound a few strangers that are strong in a word would be paid for by tracks that do not move at all.
const LEEWAY: f32 = 2.0;
/// Halvings of the interval in which the weight lies.
const HALVINGS: usize = 24;
/// The greatest weight of a word's strength: beside it, similarity decides between equal ones alone.
const HEAVIEST: f32 = 1000.0;

/// Which way an answer is to be moved away from its seeds.
#[derive(Debug, Clone)]
pub struct Steering {
    /// Words and phrases of [`EngineWords::find`](crate::EngineWords::find) that there should be more of.
    pub more: Vec<String>,
    /// Words there should be less of.
    pub less: Vec<String>,
    /// Share of the unmoved answer's mean similarity to the seeds that the moved one keeps at least, 0 to 1.
    pub keep: f32,
}

/// The effect of a word.
#[derive(Debug, Clone, PartialEq)]
pub struct SteeredWord {
    /// As it was written.
    pub word: String,
    /// Whether there should be less of it.
    pub less: bool,
    /// Mean percentile among the library's tracks, 0 to 1, of the unmoved answer.
    pub before: f32,
    /// Of the moved one.
    pub after: f32,
}

/// By how much an answer was moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Steered {
    /// The effect of each word.
    pub words: Vec<SteeredWord>,
    /// Mean similarity of the unmoved answer to the seeds.
    pub before: f32,
    /// Of the moved one.
    pub after: f32,
}

fn is_comparative(word: &str) -> bool {
    matches!(
        word,
        "faster" | "slower" | "louder" | "quieter" | "softer" | "brighter" | "darker" | "warmer"
    )
}

impl std::fmt::Display for Steered {
    /// `more guitar: above 83 % of this library instead of 41 %, faster: above 61 % instead of 22 %; mean similarity 0.580
    /// instead of 0.710`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (
            at,
            SteeredWord {
                word,
                less,
                before,
                after,
            },
        ) in self.words.iter().enumerate()
        {
            let comma = if at == 0 { "" } else { ", " };
            // "faster" and its like are comparatives already.
            let sign = match (*less, is_comparative(word)) {
                (true, _) => "less ",
                (false, true) => "",
                (false, false) => "more ",
            };
            let library = if at == 0 { " of this library" } else { "" };
            write!(
                f,
                "{comma}{sign}{word}: above {:.0} %{library} instead of {:.0} %",
                100.0 * after,
                100.0 * before
            )?;
        }
        write!(
            f,
            "; mean similarity {:.3} instead of {:.3}",
            self.after, self.before
        )
    }
}

/// A word of the question, which way it moves, and its strength by track.
struct Wish {
    word: String,
    sign: f32,
    /// In the order of the tracks, so that sums over them are the same each time.
    strength: BTreeMap<TrackId, f32>,
}

/// A track that may come into the answer.
struct SteerCandidate {
    near: Neighbor,
    artists: Vec<String>,
    /// Sum of the strengths of what there should be more of, less those of the others.
    lean: f32,
}

impl Engine {
    /// The tracks nearest to the mean of the seeds among those in which words are stronger or weaker than in the nearest, and
    /// what that came to; nearest first.
    ///
    /// [`SimilarOptions::unlike`] is not looked at.
    ///
    /// # Errors
    /// A word is not understood; the library's model has no tags.
    pub fn steered(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
        steering: &Steering,
    ) -> Result<(Vec<SimilarTrack>, Steered), EngineError> {
        self.with_index(|engine| engine.steer(seeds, options, steering))
    }

    fn steer(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
        steering: &Steering,
    ) -> Result<(Vec<SimilarTrack>, Steered), EngineError> {
        let allowed = self.allowed(options)?;
        let (seeds, query) = self.space()?.query(seeds)?;
        let query = query.as_slice();
        let mut tracks = self.library().track_ids()?;
        let all = tracks.len();
        let every = all.div_ceil(SAMPLE).max(1);
        tracks = tracks.into_iter().step_by(every).collect();
        // Percentiles of a sample, for the direction alone; candidates are held against it again
        // below.
        let mut wishes = self.wishes(steering, &tracks)?;
        let direction = self.direction(&wishes, query.len());
        let mut found: HashMap<TrackId, Neighbor> = HashMap::new();
        let reach = options.limit.saturating_mul(REACH).max(LEAST);
        // Step 0 finds the neighbours of the seeds themselves, which the unmoved answer is made of.
        for step in STEPS {
            let mut moved: Vec<f32> = query
                .iter()
                .zip(&direction)
                .map(|(from, along)| from + step * along)
                .collect();
            if make_unit(&mut moved) {
                let near =
                    self.steer_candidates(&moved, query, &seeds, options, reach, allowed.as_ref())?;
                // Similarities are to the unmoved query at every step, so that it does not matter
                // which one found a track.
                found.extend(near.into_iter().map(|near| (near.id, near)));
            }
        }
        if every > 1 {
            // Strengths are told of what was read alone.
            let read: HashSet<TrackId> = tracks.iter().copied().collect();
            tracks.extend(found.keys().filter(|track| !read.contains(track)));
            tracks.sort_unstable();
            wishes = self.wishes(steering, &tracks)?;
        }
        let candidates = self.weighed(found, &wishes)?;
        let most = options.max_per_artist;
        let unmoved = chosen(
            &candidates.iter().collect::<Vec<_>>(),
            0.0,
            options.limit,
            most,
        );
        let before = mean(&unmoved, |one| one.near.similarity);
        let loss = (1.0 - steering.keep) * before.abs();
        let farthest = unmoved
            .iter()
            .map(|one| one.near.similarity)
            .fold(f32::INFINITY, f32::min);
        let least = before - loss;
        let floor = farthest - LEEWAY * loss;
        let candidates: Vec<&SteerCandidate> = candidates
            .iter()
            .filter(|one| one.near.similarity >= floor)
            .collect();
        let keeps = |weight: f32| {
            let moved = chosen(&candidates, weight, options.limit, most);
            (mean(&moved, |one| one.near.similarity) >= least).then_some(moved)
        };
        // If the heaviest weight still keeps enough similarity, no smaller one moves the answer
        // further.
        let mut moved = keeps(HEAVIEST);
        if moved.is_none() {
            // On a scale of ratios: it is not known how much a strength weighs beside a similarity.
            let mut low = HEAVIEST.recip().ln();
            let mut high = HEAVIEST.ln();
            // `low` keeps enough, `high` does not: the search closes in on the greatest weight that
            // does.
            for _ in 0..HALVINGS {
                let middle = f32::midpoint(low, high);
                match keeps(middle.exp()) {
                    Some(better) => (low, moved) = (middle, Some(better)),
                    None => high = middle,
                }
            }
        }
        let mut moved = moved.unwrap_or_else(|| unmoved.clone());
        moved.sort_by(|a, b| {
            b.near
                .similarity
                .total_cmp(&a.near.similarity)
                .then(a.near.id.cmp(&b.near.id))
        });
        let words = wishes.iter().map(|wish| {
            let mean_strength = |answer: &[&SteerCandidate]| {
                mean(answer, |one| {
                    wish.strength.get(&one.near.id).copied().unwrap_or(0.5)
                })
            };
            SteeredWord {
                word: wish.word.clone(),
                less: wish.sign < 0.0,
                before: mean_strength(&unmoved),
                after: mean_strength(&moved),
            }
        });
        let after = mean(&moved, |one| one.near.similarity);
        let steered = Steered {
            words: words.collect(),
            before,
            after,
        };
        let tracks = self.answered(moved.iter().map(|one| (one.near, None)).collect())?;
        Ok((tracks, steered))
    }

    /// The question's words, and how strong each is in these tracks.
    fn wishes(&self, steering: &Steering, tracks: &[TrackId]) -> Result<Vec<Wish>, EngineError> {
        let heard: PredictedTags = self.predicted_tags_of(Some(tracks))?;
        let more = steering.more.iter().map(|phrase| (phrase, 1.0));
        let less = steering.less.iter().map(|phrase| (phrase, -1.0));
        let mut wishes = Vec::new();
        for (phrase, sign) in more.chain(less) {
            for (term, strength) in heard.strengths(phrase)? {
                let strength = heard.ids.iter().copied().zip(strength).collect();
                // Less of "no voice" is more voice.
                let sign = if term.negated { -sign } else { sign };
                wishes.push(Wish {
                    word: term.text,
                    sign,
                    strength,
                });
            }
        }
        Ok(wishes)
    }

    /// Which way vectors lie in which the wishes are fulfilled: the sum of each one's covariance with the vectors, brought to
    /// length 1.
    fn direction(&self, wishes: &[Wish], dimension: usize) -> Vec<f32> {
        let index = self.loaded_index();
        let mut direction = vec![0.0_f32; dimension];
        for wish in wishes {
            let mut along = vec![0.0_f32; dimension];
            for (track, strength) in &wish.strength {
                let Some(vector) = index.vector(*track) else {
                    continue;
                };
                for (sum, value) in along.iter_mut().zip(vector) {
                    // Strengths are percentiles: 0.5 is their mean, so that the sum is a
                    // covariance.
                    *sum += wish.sign * (strength - 0.5) * value;
                }
            }
            // Each wish weighs alike, however much its word varies in this library.
            if make_unit(&mut along) {
                direction
                    .iter_mut()
                    .zip(along)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        // Wishes that cancel each other lead nowhere.
        if make_unit(&mut direction) {
            direction
        } else {
            vec![0.0; dimension]
        }
    }

    /// Tracks near to a moved question that may be in the answer, with their similarity to the unmoved one.
    fn steer_candidates(
        &self,
        moved: &[f32],
        query: &[f32],
        seeds: &[Seed],
        options: &SimilarOptions,
        reach: usize,
        allowed: Option<&TrackSet>,
    ) -> Result<Vec<Neighbor>, EngineError> {
        let index = self.loaded_index();
        let choose = |_, found: Vec<Neighbor>| {
            let belongs = found.into_iter().filter_map(|near| {
                let vector = index.vector(near.id)?;
                let similarity = dot(&vector, query);
                let is_near = options
                    .min_similarity
                    .is_none_or(|least| similarity >= least);
                let fits =
                    is_near && (options.include_seed || !is_seed(seeds, near.id, Some(&vector)));
                fits.then_some(Neighbor { similarity, ..near })
            });
            Ok(belongs.collect())
        };
        let question = aview1(moved).insert_axis(Axis(0));
        let found = self.search_until_all(question, reach, options.mode, allowed, choose)?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Candidates with what they are weighed by, nearest to the seeds first.
    fn weighed(
        &self,
        found: HashMap<TrackId, Neighbor>,
        wishes: &[Wish],
    ) -> Result<Vec<SteerCandidate>, EngineError> {
        let mut near: Vec<Neighbor> = found.into_values().collect();
        near.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
        let ids: Vec<TrackId> = near.iter().map(|near| near.id).collect();
        let tracks = self.library().tracks_by_id(&ids)?;
        let candidates = near.into_iter().zip(tracks).map(|(near, track)| {
            let strengths = wishes
                .iter()
                .map(|wish| wish.sign * wish.strength.get(&near.id).unwrap_or(&0.5));
            SteerCandidate {
                near,
                artists: artists_of(&track),
                lean: strengths.sum(),
            }
        });
        Ok(candidates.collect())
    }
}

/// The best by similarity and weighted strength, within the limit of an artist.
///
/// - `candidates`: nearest first
fn chosen<'a>(
    candidates: &[&'a SteerCandidate],
    weight: f32,
    limit: usize,
    max_per_artist: Option<usize>,
) -> Vec<&'a SteerCandidate> {
    let score = |one: &SteerCandidate| one.near.similarity + weight * one.lean;
    let mut order = candidates.to_vec();
    // Stable: equal scores stay nearest first.
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let mut artists = NameLimit::new(max_per_artist);
    order
        .into_iter()
        .filter(|one| artists.admit(one.artists.clone()))
        .take(limit)
        .collect()
}

fn mean(candidates: &[&SteerCandidate], value: impl Fn(&SteerCandidate) -> f32) -> f32 {
    candidates.iter().map(|one| value(one)).sum::<f32>() / candidates.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steered_answer_says_what_it_moved() {
        let word = |word: &str, less, before, after| SteeredWord {
            word: word.to_owned(),
            less,
            before,
            after,
        };
        let steered = Steered {
            words: vec![
                word("guitar", false, 0.414, 0.83),
                word("faster", false, 0.22, 0.61),
                word("voice", true, 0.6, 0.22),
            ],
            before: 0.71,
            after: 0.58,
        };
        assert_eq!(
            steered.to_string(),
            "more guitar: above 83 % of this library instead of 41 %, faster: above 61 % instead of 22 %, less voice: above \
             22 % instead of 60 %; mean similarity 0.580 instead of 0.710"
        );
    }
}
