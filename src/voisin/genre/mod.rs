//! Genre classification from a library's labels, with reasons.
//!
//! [`Classifier::open`] reads the labels and chooses the method of a run: the trained head together with labelled
//! neighbours, the neighbours alone, or a first guess from the model's tags if too few tracks are labelled. Each result is a
//! [`GenreAnswer`]. Also here: training the head, the kinship of genres, and labels that look wrong.
//!
//! Not for: the mathematics of heads and votes, which is in [`voisin_genre`].

mod answer;
mod classifier;
mod first_guess;
mod head;
mod labels;
mod matching;
mod path_table;
mod voters;

pub(crate) use labels::table_state;
pub(crate) use matching::KnownFilter;

pub use answer::{AnswerSource, Evidence, GenreAnswer};
pub use classifier::{Classifier, ClassifyOptions, GenreNews, Labelled};
pub use first_guess::FirstGuess;
pub use head::{GENRE_MODEL_FILE, GenreHead, RETRAIN_SHARE};
pub use labels::{LabelSource, LabelledTracks, SYNONYMS_FILE, TrackDisplay};
