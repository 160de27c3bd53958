//! A first guess of the genre from a model's tags, without labelled tracks.
//!
//! Its parameters are in `data/default_genres.json`, fitted by
//! `scripts/research/models/fit_default_genres.py`. Ten genres are based on labels: softmax regression on
//! the mean tag logits of a track. The others are based on tags alone: the difference of their
//! strongest tag from the strongest tag of a labelled genre, above a threshold. Speech is separated
//! first, by logistic regression on the same logits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Genre, GenreError, Taxonomy};

const SHIPPED: &str = include_str!("../../data/default_genres.json");

/// The evidence of a genre of the default taxonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Labelled tracks of that genre.
    Labels,
    /// The model's tags of that name; not evaluated on labelled tracks.
    Tags,
}

/// One genre's probability in a guess.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuessShare {
    pub genre: Genre,
    pub probability: f32,
    pub basis: Basis,
}

/// A first guess.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guess {
    /// The most likely genre; `None` if its probability is too low.
    pub genre: Option<Genre>,
    pub probability: f32,
    /// All genres, most likely first.
    pub shares: Vec<GuessShare>,
}

#[derive(Debug, Deserialize)]
struct File {
    tags: Vec<String>,
    labelled: Vec<LabelledGenre>,
    naming: Vec<String>,
    tagged: Vec<TaggedGenre>,
    speech: LabelledGenre,
    unknown_below: f32,
}

#[derive(Debug, Deserialize)]
struct LabelledGenre {
    genre: String,
    weight: Vec<f32>,
    bias: f32,
}

#[derive(Debug, Deserialize)]
struct TaggedGenre {
    genre: String,
    tags: Vec<String>,
    bar: f32,
}

/// The default genre head.
#[derive(Debug)]
pub struct DefaultGenres {
    tags: Vec<String>,
    labelled: Vec<WeightedGenre>,
    /// Tags of labelled genres, by number.
    naming: Vec<usize>,
    /// Genres with their tags and the threshold.
    tagged: Vec<(Genre, Vec<usize>, f32)>,
    /// All other genres share the remaining probability.
    speech: WeightedGenre,
    unknown_below: f32,
}

/// A genre, its weights per tag, its bias.
type WeightedGenre = (Genre, Vec<f32>, f32);

impl DefaultGenres {
    /// From the output of `scripts/research/models/fit_default_genres.py`, which is a part of the program.
    pub fn shipped(taxonomy: &Taxonomy) -> Self {
        let file: File = serde_json::from_str(SHIPPED).expect("the shipped head is JSON");
        let tags = file.tags;
        let genre = |name: &str| taxonomy.genre(name).expect("a genre");
        let place = |tag: &String| tags.iter().position(|known| known == tag);
        let places = |some: &[String]| some.iter().filter_map(place).collect();
        let scored = |head: LabelledGenre| (genre(&head.genre), head.weight, head.bias);
        let tagged = file.tagged.iter();
        Self {
            labelled: file.labelled.into_iter().map(scored).collect(),
            naming: places(&file.naming),
            tagged: tagged
                .map(|tagged| (genre(&tagged.genre), places(&tagged.tags), tagged.bar))
                .collect(),
            speech: scored(file.speech),
            unknown_below: file.unknown_below,
            tags,
        }
    }

    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Its genres and their bases.
    pub fn genres(&self) -> impl Iterator<Item = (&Genre, Basis)> {
        let labelled = self
            .labelled
            .iter()
            .map(|(genre, ..)| (genre, Basis::Labels));
        let tagged = self.tagged.iter().map(|(genre, ..)| (genre, Basis::Tags));
        labelled
            .chain(tagged)
            .chain([(&self.speech.0, Basis::Labels)])
    }

    /// Guesses from a track's mean tag logits, in the order of [`tags`](Self::tags).
    ///
    /// # Errors
    /// Not as many logits as tags, or one that is not finite.
    pub fn guess(&self, logits: &[f32]) -> Result<Guess, GenreError> {
        if logits.len() != self.tags.len() || logits.iter().any(|x| !x.is_finite()) {
            return Err(GenreError::DefaultHead {
                reason: format!(
                    "expected {} finite tag logits, found {}",
                    self.tags.len(),
                    logits.len()
                ),
            });
        }
        // The range of the activations that it was fitted on.
        let limit = (1e-6f32).ln().abs();
        let x: Vec<f32> = logits.iter().map(|x| x.clamp(-limit, limit)).collect();
        let score = |(_, weight, bias): &WeightedGenre| {
            bias + weight.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>()
        };
        let scores: Vec<f32> = self.labelled.iter().map(score).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
        let mut p: Vec<f32> = scores
            .iter()
            .map(|score| (score - most).exp() / sum)
            .collect();
        let likeliest = p.iter().copied().fold(0.0, f32::max);
        let strongest =
            |tags: &[usize]| tags.iter().map(|&i| x[i]).fold(f32::NEG_INFINITY, f32::max);
        let rival = strongest(&self.naming);
        // A genre at its threshold has the probability of the most likely labelled one.
        p.extend(
            self.tagged
                .iter()
                // Capped, since the exponential of a very strong tag would overflow.
                .map(|(_, tags, bar)| likeliest * (strongest(tags) - rival - bar).min(50.0).exp()),
        );
        let speech = score(&self.speech);
        let music = p.iter().sum::<f32>();
        p.iter_mut()
            // The other genres share the remaining probability.
            .for_each(|p| *p /= music * (1.0 + speech.exp()));
        p.push(1.0 / (1.0 + (-speech).exp()));
        let all: f32 = p.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        let mut shares: Vec<GuessShare> = self
            .genres()
            .zip(&p)
            .map(|((genre, basis), p)| GuessShare {
                genre: genre.clone(),
                probability: p / all,
                basis,
            })
            .collect();
        shares.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let probability = shares.first().map_or(0.0, |share| share.probability);
        let genre = (probability >= self.unknown_below).then(|| shares[0].genre.clone());
        Ok(Guess {
            genre,
            probability,
            shares,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> DefaultGenres {
        DefaultGenres::shipped(&Taxonomy::default())
    }

    /// Logits of a track with these tags strong and all others as weak as the median tag of real
    /// tracks.
    fn logits(head: &DefaultGenres, strong: &[(&str, f32)]) -> Vec<f32> {
        head.tags()
            .iter()
            .map(|tag| {
                strong
                    .iter()
                    .find(|(name, _)| name == tag)
                    .map_or(-5.7, |(_, x)| *x)
            })
            .collect()
    }

    #[test]
    fn the_shipped_head_has_the_documented_genres_and_bases() {
        let head = head();
        let labels: Vec<&str> = head
            .genres()
            .filter(|(_, basis)| *basis == Basis::Labels)
            .map(|(genre, _)| genre.name())
            .collect();
        assert_eq!((labels.len(), labels[10]), (11, "Speech"));
        let tags: Vec<&str> = head
            .genres()
            .filter(|(_, basis)| *basis == Basis::Tags)
            .map(|(genre, _)| genre.name())
            .collect();
        assert_eq!(
            tags,
            ["Electronic", "Ambient", "Folk", "Punk", "Soul", "Funk"]
        );
        assert_eq!((head.tags().len(), head.tags()[0].as_str()), (50, "rock"));
        let scored = head.labelled.iter().chain([&head.speech]);
        for (genre, weight, bias) in scored {
            assert_eq!(weight.len(), 50, "{genre}");
            assert!(
                weight.iter().chain([bias]).all(|x| x.is_finite()),
                "{genre}"
            );
        }
        assert!(!head.naming.is_empty() && head.tagged.iter().all(|(_, tags, _)| !tags.is_empty()));
    }

    #[test]
    fn strong_tags_win_and_shares_add_up() {
        let head = head();
        for (strong, expected) in [
            (
                vec![
                    ("metal", 2.0),
                    ("heavy metal", 1.0),
                    ("rock", 0.0),
                    ("hard rock", -1.0),
                ],
                "Metal",
            ),
            // The strongest tags of the mean jazz track of GTZAN's training part.
            (
                vec![
                    ("jazz", 1.6),
                    ("instrumental", -2.9),
                    ("blues", -3.0),
                    ("female vocalists", -3.5),
                ],
                "Jazz",
            ),
            (
                vec![("electronic", 2.0), ("electronica", 1.0), ("dance", 0.0)],
                "Electronic",
            ),
            (vec![("punk", 3.0), ("rock", 0.0)], "Punk"),
            (vec![("country", 2.0), ("folk", -1.0)], "Country"),
        ] {
            let guess = head.guess(&logits(&head, &strong)).unwrap();
            assert_eq!(guess.shares[0].genre.name(), expected, "{guess:?}");
            let sum: f32 = guess.shares.iter().map(|share| share.probability).sum();
            assert!((sum - 1.0).abs() < 1e-5 && guess.shares.len() == 17);
            assert!((guess.probability - guess.shares[0].probability).abs() < 1e-9);
        }
        // A tag genre exactly at its threshold ties with the most likely labelled one.
        let (_, tags, bar) = head.tagged[3].clone();
        let mut at = logits(&head, &[("rock", 0.5)]);
        at[tags[0]] = 0.5 + bar;
        let guess = head.guess(&at).unwrap();
        let probability_of = |name: &str| {
            guess
                .shares
                .iter()
                .find(|s| s.genre.name() == name)
                .unwrap()
                .probability
        };
        let labelled = guess.shares.iter().filter(|s| s.basis == Basis::Labels);
        let likeliest = labelled.map(|s| s.probability).fold(0.0, f32::max);
        assert!(
            (probability_of("Punk") - likeliest).abs() < 1e-5,
            "{guess:?}"
        );
    }

    #[test]
    fn invalid_logits_are_refused_and_weak_ones_are_unknown() {
        let head = head();
        assert!(head.guess(&[0.0; 49]).is_err() && head.guess(&[f32::NAN; 50]).is_err());
        let high = DefaultGenres {
            unknown_below: 1.1,
            ..super::tests::head()
        };
        let guess = high.guess(&[0.0; 50]).unwrap();
        assert!(guess.genre.is_none() && guess.probability > 0.0);
    }
}
