//! Search by words: their meaning as combinations of a model's tags, and the strength of each
//! track.
//!
//! A table ([`WordTable`]) assigns tags to words; [`WordTable::read`] parses a phrase. Strengths are percentiles of the
//! library ([`strength`]): "calm" means calmer than most of the user's music, whatever the network's
//! values.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1, ArrayView2};

use voisin_base::text::fold;

/// Words and their meanings.
#[derive(Debug, Clone)]
pub struct WordTable {
    /// Folded name of each tag → its column.
    columns: BTreeMap<String, usize>,
    /// Folded word → its meaning.
    words: BTreeMap<String, WordMeaning>,
}

/// Meaning of a word: the maximum of `any` minus the maximum of `but`; either may be
/// empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordMeaning {
    /// The first word of its line in the table.
    pub word: String,
    any: Vec<usize>,
    but: Vec<usize>,
}

impl WordMeaning {
    pub fn of_column(word: String, column: usize) -> Self {
        Self {
            word,
            any: vec![column],
            but: Vec::new(),
        }
    }

    /// Columns of its tags, with a minus for those of `but`.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        let any = self.any.iter().map(|&column| (column, ""));
        any.chain(self.but.iter().map(|&column| (column, "-")))
    }
}

/// A known part of a phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub text: String,
    pub meaning: WordMeaning,
    pub negated: bool,
}

/// A parsed phrase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phrase {
    pub terms: Vec<Term>,
    /// Other words, any of which may deny those beside it: "isn't", "few", "free".
    pub unknown: Vec<String>,
}

/// Words that change nothing.
const FILLERS: &str = "any too a an the and or with of for in to that is are me my i want find like some something \
    music song songs track tracks very really please sounds sounding but tunes";

const NEGATIONS: [&str; 6] = ["no", "not", "without", "non", "never", MINUS];
/// What a sign for it is read as.
const MINUS: &str = "minus";
const DASHES: [char; 8] = ['-', '‐', '‑', '‒', '–', '—', '―', '−'];
/// Signs that join or enclose words.
const SIGNS: [char; 9] = ['/', '|', '+', '(', '[', '{', '"', '“', '‘'];
/// Words that join what is negated.
const JOINTS: [&str; 3] = ["or", "nor", "and"];

impl WordTable {
    /// A table with the tags of a model as words.
    pub fn new<S: AsRef<str>>(tags: &[S]) -> Self {
        let columns: BTreeMap<String, usize> = tags
            .iter()
            .enumerate()
            .map(|(column, tag)| (column_key(tag.as_ref()), column))
            .collect();
        let plain = tags
            .iter()
            .enumerate()
            .filter(|(_, tag)| !is_marked(tag.as_ref()));
        let words = plain.map(|(column, tag)| {
            let word = tag.as_ref().to_lowercase();
            (fold(&word), WordMeaning::of_column(word, column))
        });
        Self {
            words: words.collect(),
            columns,
        }
    }

    /// Adds a table of two columns, words and tags; later lines replace earlier words. A tag that the model lacks is left out,
    /// and so is a word without other tags.
    pub fn extend(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((words, tags)) = line.split_once('\t') else {
                continue;
            };
            let mut any = Vec::new();
            let mut but = Vec::new();
            let mut is_all_denied = true;
            for tag in tags.split(',').map(str::trim) {
                let (list, name) = tag
                    .strip_prefix('-')
                    .map_or((&mut any, tag), |name| (&mut but, name));
                // By the line, even if the model lacks some of its tags.
                is_all_denied &= tag.starts_with('-');
                list.extend(self.columns.get(&column_key(name)));
            }
            // A word with positive tags needs at least one of them, or "drums, -rock" could mean "not
            // rock" alone.
            let has_none = if is_all_denied {
                but.is_empty()
            } else {
                any.is_empty()
            };
            let mut names = words.split(',').map(str::trim).peekable();
            let Some(&first) = names.peek().filter(|_| !has_none) else {
                continue;
            };
            for name in names {
                let meaning = WordMeaning {
                    word: first.to_owned(),
                    any: any.clone(),
                    but: but.clone(),
                };
                self.words.insert(fold(name), meaning);
            }
        }
    }

    /// All known words with their meanings, in alphabetical order.
    pub fn known(&self) -> impl Iterator<Item = (&str, &WordMeaning)> {
        self.words
            .iter()
            .map(|(word, meaning)| (word.as_str(), meaning))
    }

    pub fn meaning(&self, word: &str) -> Option<&WordMeaning> {
        self.words.get(&fold(word))
    }

    /// Parses a phrase such as `calm guitar, no voice`. The longest known phrase is taken first; "no", "not", "without" or
    /// a minus negates the next one, and further ones joined by "or", "nor" and "and". What could be the opposite is
    /// unknown.
    pub fn read(&self, text: &str) -> Phrase {
        let mut phrase = Phrase::default();
        let mut ended_denied = false;
        for part in text.split([',', ';', '.', '?', ':', '…', '\n']) {
            let denied_part = denied(part.trim()).map(|rest| format!("-{}", rest.trim_start()));
            let part = denied_part.as_deref().unwrap_or(part);
            // In "no vocals/drums" and "calm (-loud)" what is denied would be a guess, as in "~drums".
            let is_signed = part.contains(SIGNS) || part.contains(" & ");
            let mut apart = part.split(|c: char| c.is_whitespace() || SIGNS.contains(&c));
            let denies =
                |word: &str| denied(word).is_some() || NEGATIONS.contains(&fold(word).as_str());
            if is_signed && apart.any(denies) || part.split_whitespace().any(has_other_sign) {
                phrase.unknown.push(part.trim().to_owned());
            }
            // A minus right before a word negates it; within a word it is a hyphen.
            let spaced = part.split_whitespace().map(|word| {
                denied(word).map_or_else(|| word.to_owned(), |word| format!("{MINUS} {word}"))
            });
            let folded = fold(&spaced.collect::<Vec<_>>().join(" "));
            let words: Vec<&str> = folded.split(' ').filter(|word| !word.is_empty()).collect();
            // "no drums, bass or guitar" goes on.
            if ended_denied && !words.iter().any(|word| NEGATIONS.contains(word)) {
                let joints = words.iter().filter(|word| JOINTS.contains(word));
                phrase.unknown.extend(joints.map(ToString::to_string));
            }
            ended_denied = self.read_part(&words, &mut phrase);
        }
        phrase
    }

    /// Parses a part between commas; returns whether its last term is negated.
    fn read_part(&self, words: &[&str], phrase: &mut Phrase) -> bool {
        let mut at = 0;
        let mut negated = false;
        let mut joined = false;
        let mut ended_denied = false;
        let (mut by_word, mut is_open) = (false, false);
        while at < words.len() {
            // The longest first, so that "hip hop" is not parsed as "hip".
            let longest = (at + 1..=words.len()).rev().find_map(|end| {
                self.words
                    .get(&words[at..end].join(" "))
                    .map(|meaning| (end, meaning))
            });
            if let Some((end, meaning)) = longest {
                // "no drums or guitar" negates both.
                ended_denied = negated || joined;
                // In "no loud drums" they may be denied, too; a minus denies one term.
                if is_open && !ended_denied {
                    phrase.unknown.push(words[at..end].join(" "));
                }
                is_open = ended_denied && by_word;
                phrase.terms.push(Term {
                    text: words[at..end].join(" "),
                    meaning: meaning.clone(),
                    negated: ended_denied,
                });
                joined = ended_denied && words.get(end).is_some_and(|next| JOINTS.contains(next));
                negated = false;
                at = end;
                continue;
            }
            let word = words[at];
            at += 1;
            is_open = false;
            let is_joint = joined && JOINTS.contains(&word);
            if NEGATIONS.contains(&word) && !negated {
                negated = true;
                by_word = word != MINUS;
            } else if !is_joint && (joined || FILLERS.split(' ').all(|filler| filler != word)) {
                // Also "not without voice", and "no drums and some guitar".
                phrase.unknown.push(word.to_owned());
                (negated, joined) = (false, false);
            }
        }
        // What it denies is not there.
        phrase.unknown.extend(
            words
                .last()
                .filter(|_| negated)
                .map(|&word| word.to_owned()),
        );
        ended_denied
    }
}

/// Whether a sign that is no minus stands before a word, as in "~drums": it may deny it.
fn has_other_sign(word: &str) -> bool {
    let bare = denied(word).unwrap_or(word);
    let is_plain = |c: char| c.is_alphanumeric() || SIGNS.contains(&c) || "&'’".contains(c);
    !bare.starts_with(is_plain) && !bare.trim_start_matches(DASHES).is_empty()
}

/// The text after a negating mark or minus, which word processors and phones may turn into a longer dash.
fn denied(text: &str) -> Option<&str> {
    let behind_dash = text.strip_prefix(&DASHES[1..]);
    // A dash between words is a pause, and one before the first word is a minus.
    let behind_dash =
        behind_dash.filter(|rest| rest.trim_start().starts_with(char::is_alphanumeric));
    text.strip_prefix(['-', '!', '－', '！', '﹣'])
        .or(behind_dash)
}

/// Whether a part of a phrase begins with "no", "not", "without" or a minus, and the rest.
pub fn split_negation(part: &str) -> (bool, &str) {
    let part = part.trim();
    if let Some(rest) = denied(part) {
        return (true, rest.trim_start());
    }
    match part.split_once(char::is_whitespace) {
        Some((first, rest)) if NEGATIONS.contains(&fold(first).as_str()) => (true, rest.trim()),
        _ => (false, part),
    }
}

/// Prefixes of columns that are no words by themselves: guessed genres and measurements.
const MARKS: [&str; 2] = ["genre:", "sound:"];

fn is_marked(name: &str) -> bool {
    MARKS.iter().any(|mark| name.starts_with(mark))
}

/// The key of a column. Prefixes are kept, so that a tag and a genre of the same name differ.
fn column_key(name: &str) -> String {
    let marked = MARKS
        .iter()
        .find_map(|mark| Some((mark, name.strip_prefix(mark)?)));
    marked.map_or_else(
        || fold(name),
        |(mark, rest)| format!("{mark}{}", fold(rest)),
    )
}

/// Strength of a word in each track: its percentile, 0 to 1, among all rows; equal values have the same
/// one.
///
/// - `standard`: `[tracks, tags]`, each column of mean 0 and variance 1 (see [`standardised`])
pub fn strength(standard: ArrayView2<'_, f32>, meaning: &WordMeaning) -> Vec<f32> {
    let most = |row: ArrayView1<'_, f32>, columns: &[usize]| {
        let strengths = columns.iter().map(|&column| row[column]);
        strengths.reduce(f32::max).unwrap_or(0.0)
    };
    let rows = standard.rows().into_iter();
    let raw: Vec<f32> = rows
        .map(|row| most(row, &meaning.any) - most(row, &meaning.but))
        .collect();
    percentiles(&raw)
}

/// The share of values below each value, with equal ones counted half.
pub fn percentiles(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut shares = vec![0.0; values.len()];
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // Sorted, so that the first equal one is found by binary search.
        let below = order.partition_point(|&i| values[i].total_cmp(&values[group[0]]).is_lt());
        for &i in group {
            shares[i] = (below as f32 + group.len() as f32 / 2.0) / values.len() as f32;
        }
    }
    shares
}

/// Scales columns to mean 0 and variance 1; constant ones become 0.
pub fn standardised(mut values: Array2<f32>) -> Array2<f32> {
    for mut column in values.columns_mut() {
        let wide = column.mapv(f64::from);
        let mean = wide.mean().unwrap_or(0.0);
        let spread = wide.std(0.0);
        // A nearly constant column must not be divided by its rounding errors.
        let scale = if spread > 1e-6 { spread.recip() } else { 0.0 };
        column.assign(&wide.mapv(|x| ((x - mean) * scale) as f32));
    }
    values
}

/// Fit of each track to a phrase, 0 to 1: the geometric mean of its terms' strengths, so that a strong term does not
/// compensate for a missing one. A negated term counts as 1 minus its strength.
pub fn fit(strengths: &[(Vec<f32>, bool)]) -> Vec<f32> {
    let rows = strengths.first().map_or(0, |(shares, _)| shares.len());
    let joint_strength = |row: usize| {
        let logs = strengths.iter().map(|(shares, negated)| {
            let share = if *negated {
                1.0 - shares[row]
            } else {
                shares[row]
            };
            // A single 0 must not make the whole fit 0.
            f64::from(share.max(1e-6)).ln()
        });
        (logs.sum::<f64>() / strengths.len() as f64).exp() as f32
    };
    (0..rows).map(joint_strength).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn table() -> WordTable {
        let mut table = WordTable::new(&[
            "Mellow",
            "female vocalists",
            "Hip-Hop",
            "rock",
            "genre:Rock",
        ]);
        table.extend(
            "# words\ncalm, quiet\tMellow, -rock\nvoice, singing\tfemale vocalists\npiano\tno such tag\n",
        );
        table
    }

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let phrase = table().read(text);
        let sign = |term: &Term| format!("{}{}", if term.negated { "-" } else { "" }, term.text);
        (phrase.terms.iter().map(sign).collect(), phrase.unknown)
    }

    #[test]
    fn phrases_are_read_with_negations_and_unknown_words() {
        for (text, terms, unknown) in [
            (
                "calm piano, no voice",
                &["calm", "-voice"][..],
                &["piano"][..],
            ),
            (
                "Female Vocalists without hip-hop",
                &["female vocalists", "-hip hop"],
                &[],
            ),
            (
                "not rock or hip hop, quiet",
                &["-rock", "-hip hop", "quiet"],
                &[],
            ),
            ("-voice calm", &["-voice", "calm"], &[]),
            ("no voice with calm rock", &["-voice", "calm", "rock"], &[]),
            ("– rock, calm", &["-rock", "calm"], &[]),
            ("calm -rock", &["calm", "-rock"], &[]),
            ("–rock —voice −calm", &["-rock", "-voice", "-calm"], &[]),
            ("calm – rock", &["calm", "rock"], &[]),
            ("some music for me", &[], &[]),
            ("", &[], &[]),
            ("no theremin rock", &["rock"], &["theremin"]),
            ("without any voice, !rock", &["-voice", "-rock"], &[]),
        ] {
            assert_eq!(
                read(text),
                (
                    terms.iter().map(ToString::to_string).collect(),
                    unknown.iter().map(ToString::to_string).collect()
                ),
                "{text}"
            );
        }
        for text in [
            "isn't calm",
            "voice-free",
            "calm w/o voice",
            "anything but rock",
            "calm without",
            "calm? no",
            "not without voice",
            "no rock, calm or quiet",
            "no rock and some voice",
            "nor rock",
            "no rock/hip hop",
            "calm (-rock)",
            "calm/-rock",
            "no calm rock",
            "not rock or calm voice",
            "~rock",
            "calm ¬ rock",
            "–~rock",
        ] {
            assert!(!table().read(text).unknown.is_empty(), "{text}");
        }
    }

    #[test]
    fn strengths_are_percentiles_of_tags_minus_negated_ones() {
        let values = array![
            [0.0, 0., 0., 0.],
            [3.0, 0., 0., 3.5],
            [1.0, 0., 0., 0.],
            [1.0, 0., 0., 0.]
        ];
        let calm = strength(values.view(), table().meaning("QUIET").unwrap());
        assert_eq!(calm, [0.375, 0.125, 0.75, 0.75]);
        let fits = fit(&[(vec![0.9, 0.4], false), (vec![0.9, 0.1], true)]);
        assert!(
            (fits[0] - 0.3).abs() < 1e-4 && (fits[1] - 0.6).abs() < 1e-4,
            "{fits:?}"
        );
        let standard = standardised(array![[1.0, 5.0], [3.0, 5.0]]);
        assert_eq!(standard, array![[-1.0, 0.0], [1.0, 0.0]]);
    }

    #[test]
    fn a_word_needs_a_tag_that_the_model_has() {
        let mut table = table();
        table.extend("loud\t-Mellow\nsteady\tdrums, -rock\nsinging\trock\n");
        assert_eq!(
            (
                table.meaning("loud").map(|m| m.but.len()),
                table.meaning("steady")
            ),
            (Some(1), None)
        );
        let loud = strength(
            array![[0.0, 0., 0., 0., 0.], [1.0, 0., 0., 0., 0.]].view(),
            table.meaning("loud").unwrap(),
        );
        assert_eq!(loud, [0.75, 0.25]);
        assert_eq!(table.meaning("singing").unwrap().any, [3]);
    }
}
