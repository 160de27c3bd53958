//! Steered searches: neighbours of the seeds in which given words are stronger or weaker.
//!
//! The query vector is moved along the direction of its words, which is the covariance of a word's strength with the library's
//! vectors, so that the index finds candidates on the way. Those with the greatest sum of similarity to the seeds and weighted
//! strength are chosen. The weight is not an option: it is the greatest at which the results keep the requested share of
//! their similarity to the seeds.

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

/// Sample size in a large library for percentiles and directions.
const SAMPLE: usize = 20_000;
/// How far the query is moved for candidates, as lengths of the direction relative to the seeds' of 1.
const STEPS: [f32; 4] = [0.0, 0.5, 1.0, 2.0];
/// Candidates at each step per result, and at least.
const REACH: usize = 20;
const LEAST: usize = 200;
/// How far a single track may be below the farthest unmoved result, as a multiple of the loss that the mean may have. Without
/// this bound a few far tracks that are strong in a word would be balanced by tracks that do not move at all.
const LEEWAY: f32 = 2.0;
/// Bisection steps for the weight.
const HALVINGS: usize = 24;
/// The greatest weight of a word's strength, at which similarity only breaks ties.
const HEAVIEST: f32 = 1000.0;

/// Words by which a search is steered.
#[derive(Debug, Clone)]
pub struct Steering {
    /// Words and phrases of [`EngineWords::find`](crate::EngineWords::find) that there should be more of.
    pub more: Vec<String>,
    /// Words there should be less of.
    pub less: Vec<String>,
    /// Least share of the unmoved results' mean similarity to the seeds that the moved ones keep, 0 to 1.
    pub keep: f32,
}

/// The effect of a word.
#[derive(Debug, Clone, PartialEq)]
pub struct SteeredWord {
    /// The word as written.
    pub word: String,
    /// Whether there should be less of it.
    pub less: bool,
    /// Mean percentile among the library's tracks of the unmoved results, 0 to 1.
    pub before: f32,
    /// The same for the moved results.
    pub after: f32,
}

/// The effect of steering.
#[derive(Debug, Clone, PartialEq)]
pub struct Steered {
    /// The effect of each word.
    pub words: Vec<SteeredWord>,
    /// Mean similarity of the unmoved results to the seeds.
    pub before: f32,
    /// The same for the moved results.
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
            // Words like "faster" are comparatives already.
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

/// A word of the query, its sign, and its strength by track.
struct Wish {
    word: String,
    sign: f32,
    /// In the order of the tracks, so that sums over them are the same each time.
    strength: BTreeMap<TrackId, f32>,
}

/// A candidate for the results.
struct SteerCandidate {
    near: Neighbor,
    artists: Vec<String>,
    /// Sum of the strengths of the words, negative for those that should be weaker.
    lean: f32,
}

impl Engine {
    /// Tracks near the mean of the seeds in which words are stronger or weaker than in the nearest ones, nearest first, and
    /// the effect of the steering.
    ///
    /// [`SimilarOptions::unlike`] is ignored.
    ///
    /// # Errors
    /// A word is not known; the library's model has no tags.
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
        // Percentiles within a sample, for the direction only; below, the candidates are added to it.
        let mut wishes = self.wishes(steering, &tracks)?;
        let direction = self.direction(&wishes, query.len());
        let mut found: HashMap<TrackId, Neighbor> = HashMap::new();
        let reach = options.limit.saturating_mul(REACH).max(LEAST);
        // Step 0 finds the neighbours of the seeds, from which the unmoved results are chosen.
        for step in STEPS {
            let mut moved: Vec<f32> = query
                .iter()
                .zip(&direction)
                .map(|(from, along)| from + step * along)
                .collect();
            if make_unit(&mut moved) {
                let near =
                    self.steer_candidates(&moved, query, &seeds, options, reach, allowed.as_ref())?;
                // Similarities are to the unmoved query at every step, so that they do not depend on
                // which step found a track.
                found.extend(near.into_iter().map(|near| (near.id, near)));
            }
        }
        if every > 1 {
            // Strengths exist only for tracks that were read.
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
        // If the greatest weight keeps enough similarity, no smaller one moves the results further.
        let mut moved = keeps(HEAVIEST);
        if moved.is_none() {
            // On a logarithmic scale, because the order of magnitude of the weight is unknown.
            let mut low = HEAVIEST.recip().ln();
            let mut high = HEAVIEST.ln();
            // `low` keeps enough, `high` does not: bisection finds the greatest weight that does.
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

    /// The words of the query, and the strength of each in these tracks.
    fn wishes(&self, steering: &Steering, tracks: &[TrackId]) -> Result<Vec<Wish>, EngineError> {
        let tags: PredictedTags = self.predicted_tags_of(Some(tracks))?;
        let more = steering.more.iter().map(|phrase| (phrase, 1.0));
        let less = steering.less.iter().map(|phrase| (phrase, -1.0));
        let mut wishes = Vec::new();
        for (phrase, sign) in more.chain(less) {
            for (term, strength) in tags.strengths(phrase)? {
                let strength = tags.ids.iter().copied().zip(strength).collect();
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

    /// The direction of vectors that fulfil the wishes: the sum of each one's covariance with the vectors, of length 1.
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
                    // 0.5 is the mean of percentiles, so that the sum is a covariance.
                    *sum += wish.sign * (strength - 0.5) * value;
                }
            }
            // Each wish has the same weight, however much its word varies in this library.
            if make_unit(&mut along) {
                direction
                    .iter_mut()
                    .zip(along)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        // Wishes that cancel each other have no direction.
        if make_unit(&mut direction) {
            direction
        } else {
            vec![0.0; dimension]
        }
    }

    /// Tracks near a moved query that may be in the results, with their similarity to the unmoved one.
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

    /// Candidates with their strengths, nearest to the seeds first.
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

/// The best by similarity plus weighted strength, within the limit per artist.
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
    fn steered_results_report_the_effect_of_each_word() {
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
