//! Measures the width that a search needs, on the index's own vectors against the exact search.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::fields::{FieldResult, HeaderFields};
use super::graph::Graph;
use super::lists::{Lists, Next, Reach};
use super::metric::IndexMetric;
use super::residual::Residuals;
use super::segment::{Budget, Segment, SignModel, nearest16};
use super::trials::{Hidden, Trial, Trials};
use super::types::{GraphAndLists, ListStats, SearchMode, WaySpeeds};
use voisin_kernels::dot::best::Scored;

/// Numbers of neighbours for which widths are measured; others are on the line through both.
const AT: [usize; 2] = [10, 100];
/// Widths tried.
const WIDTHS: [usize; 24] = [
    16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 320, 384, 448, 512,
    640, 768, 1024, 2048,
];
/// Share of the true neighbours whose signs are within the first limit of the cascade. A search
/// raises a limit that is too small, so this only affects speed.
const FIRST_SHARE: f64 = 0.97;
/// Share of the true neighbours that a stage of the cascade has to pass on: far above any target,
/// as a neighbour lost here is not found.
const HANDED_ON: f64 = 0.9995;
/// Single queries use the graph unless the lists are this many times as fast: less is measurement
/// noise.
const FASTER: f64 = 1.05;
/// Ranks are measured in a quarter of the lists, but at least in this many; in all if that does not
/// meet the target. Ranking all of them takes four times as long, and few neighbours are farther
/// away.
const RANKED_LISTS: usize = 400;
/// Margins are stored for 1, 2, 4, 8, … lists; the last is for the lists of 67 million vectors.
const MARGINS: usize = 16;
/// A margin with which a search compares all lists: far beyond any score.
const ALL: f32 = 1e30;
/// Tried shares of the allowed misses for codes that are not passed on. A larger share passes on
/// fewer codes but needs more lists; the cheapest of the five is used.
const NOT_HANDED_ON: [f64; 5] = [0.08, 0.16, 0.3, 0.5, 0.7];
/// Standard errors by which the sample must exceed the target, for a one-sided error probability of
/// 5 %.
const CONFIDENCE: f64 = 1.645;
/// The first aim, as a share of the way from the target to 1. For vectors that are not in the
/// index, such as other recordings, fewer neighbours are found than for trials, which are: windows
/// of strange recordings find 0.962, 0.990, 0.993 and 0.9996 of theirs for targets of 0.95, 0.99,
/// 0.995 and 0.999; with a smaller aim, and less hidden in trials, they found 0.945 for 0.95.
const ABOVE: f64 = 0.55;
/// If fewer of the sample's neighbours than this may be missed, as at a target of 0.999, the
/// measured need depends on a handful of vectors.
const FEW_MISSES: f64 = 4.;
/// Lists and codes are multiplied by this then: with it, windows of strange recordings found 0.9994
/// for a target of 0.999.
const UNKNOWN: f32 = 1.4;
/// The same if vectors have near copies, which are found or missed together, so that a trial counts
/// as one neighbour. With 1.4 one recording in eight was missed in one of four sets.
const TOGETHER: f32 = 2.;
/// Most widenings of a reach that is too small, by an eighth each: up to four times in all.
const WIDENINGS: usize = 12;
/// Recall that may be lost by reading fewer vectors than are passed on, as a share of the allowed
/// misses: reading a vector from a disk or a database takes far longer than comparing it.
const UNREAD: f64 = 0.1;

/// Kinds of queries for which a method is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queries {
    Alone,
    /// Single, with a filter.
    Filtered,
    Batch,
}

/// Widths for [`AT`] neighbours each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    /// Candidates of a graph search.
    pub(crate) ef: [usize; 2],
    /// Candidates by sign.
    pub(crate) bits: [usize; 2],
    /// How far beyond its expectation the number of differing signs may be, in standard deviations.
    pub(crate) sign_error: f32,
    /// How far a similarity at 8 bits may be from the one at 16.
    pub(crate) error8: f32,
    /// Widths of a search of the lists.
    lists: ListTuning,
    /// Recall of the graph for the first of [`AT`].
    walk: Recall,
    /// All zero: not measured.
    pub(crate) speeds: WaySpeeds,
}

/// Measured reach of a search of the lists for [`AT`] neighbours each, and its recall.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ListTuning {
    /// On average.
    lists: [f32; 2],
    /// Margins with which 1, 2, 4, 8, … lists are compared.
    margins: [[f32; MARGINS]; 2],
    codes: [usize; 2],
    /// Vectors that an index without vectors reads.
    reads: [usize; 2],
    /// For the first of [`AT`].
    recall: Recall,
}

/// The share of true neighbours that are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Recall {
    pub(crate) mean: f64,
    /// Its standard error.
    pub(crate) error: f64,
}

impl Recall {
    /// Of everything.
    const WHOLE: Self = Self {
        mean: 1.,
        error: 0.,
    };

    /// The lower confidence bound.
    fn least(self) -> f64 {
        self.mean - CONFIDENCE * self.error
    }

    fn is_sane(self) -> bool {
        [self.mean, self.error]
            .iter()
            .all(|share| (0. ..=1.).contains(share))
    }

    fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        fields.real(&mut self.mean)?;
        fields.real(&mut self.error)
    }
}

impl Default for ListTuning {
    /// For indexes too small to measure: close to exact.
    fn default() -> Self {
        Self {
            lists: [1000., 2000.],
            margins: [[ALL; MARGINS]; 2],
            codes: [400, 800],
            reads: [400, 800],
            recall: Recall::WHOLE,
        }
    }
}

impl Default for Tuning {
    /// For indexes too small to measure: close to exact.
    fn default() -> Self {
        Self {
            ef: [200, 400],
            bits: [2000, 4000],
            sign_error: 6.,
            error8: 0.03,
            lists: ListTuning::default(),
            walk: Recall::WHOLE,
            speeds: WaySpeeds::default(),
        }
    }
}

impl Tuning {
    pub(crate) fn ef(&self, k: usize) -> usize {
        line(self.ef, k)
    }

    /// Passes the fields of a file, without [`speeds`](Self::pass_speeds).
    pub(crate) fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        let lists = &mut self.lists;
        for widths in [
            &mut self.ef,
            &mut self.bits,
            &mut lists.codes,
            &mut lists.reads,
        ] {
            fields.numbers(widths)?;
        }
        let margins = lists.margins.as_flattened_mut().iter_mut();
        lists
            .lists
            .iter_mut()
            .chain(margins)
            .try_for_each(|real| fields.single(real))?;
        fields.single(&mut self.sign_error)?;
        fields.single(&mut self.error8)?;
        lists.recall.pass(fields)?;
        self.walk.pass(fields)
    }

    /// Passes the speeds of a file, which are separate, as no two builds measure the same.
    pub(crate) fn pass_speeds(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        let WaySpeeds {
            alone,
            filtered,
            batches,
        } = &mut self.speeds;
        for GraphAndLists { graph, lists } in [alone, filtered, batches] {
            fields.real(graph)?;
            fields.real(lists)?;
        }
        Some(())
    }

    /// Whether the values are valid, for those from a file.
    pub(crate) fn is_sane(&self) -> bool {
        [self.ef, self.bits, self.lists.codes, self.lists.reads]
            .as_flattened()
            .iter()
            .all(|&width| width <= 1 << 31)
            && self
                .lists
                .lists
                .iter()
                .all(|lists| (0. ..=2e9).contains(lists))
            && self
                .lists
                .margins
                .as_flattened()
                .iter()
                .all(|margin| (-ALL..=ALL).contains(margin))
            && (0. ..=100.).contains(&self.sign_error)
            && (0. ..=2.).contains(&self.error8)
            && self.lists.recall.is_sane()
            && self.walk.is_sane()
    }

    /// The speeds, if they were measured.
    pub(crate) fn measured_speeds(&self) -> Option<WaySpeeds> {
        (self.speeds != WaySpeeds::default()).then_some(self.speeds)
    }

    /// The mode of [`SearchMode::Auto`] for an index with these parts.
    pub(crate) fn mode(&self, lists: bool, graph: bool, queries: Queries) -> SearchMode {
        let walks = match queries {
            Queries::Alone => self.speeds.alone.lists <= FASTER * self.speeds.alone.graph,
            Queries::Filtered => self.speeds.filtered.lists < self.speeds.filtered.graph,
            Queries::Batch => self.speeds.batches.lists < self.speeds.batches.graph,
        };
        match (lists, graph) {
            (true, true) if walks => SearchMode::Hnsw,
            (true, _) => SearchMode::Lists,
            _ => SearchMode::Scan,
        }
    }

    /// How much of the lists is compared for `k` neighbours.
    pub(crate) fn reach(&self, k: usize) -> Reach {
        let [low, high] = self.lists.lists;
        self.reach_of(k, low + (high - low).max(0.) * beyond(k))
    }

    /// The same for this many lists on average.
    pub(crate) fn reach_of(&self, k: usize, lists: f32) -> Reach {
        let lists = lists.max(1.);
        let place = lists.log2().min((MARGINS - 1) as f32);
        let at = place as usize;
        // Margins are stored for powers of two, so the position between two of them is a logarithm.
        let rest = place.fract();
        let between = |low: f32, high: f32, part: f32| low + (high - low) * part;
        let [low, high] = self.lists.margins.map(|margins| {
            let next = margins.get(at + 1).copied().unwrap_or(ALL);
            between(margins[at], next, rest)
        });
        let margin = between(low, high, beyond(k).min(1.));
        Reach {
            lists,
            most: usize::MAX,
            margin,
            codes: line(self.lists.codes, k),
        }
    }

    /// How many vectors are read for `k` neighbours by an index that holds none.
    pub(crate) fn reads(&self, k: usize) -> usize {
        line(self.lists.reads, k)
    }

    /// - `reads`: whether vectors are read
    pub(crate) fn list_stats(&self, reads: bool) -> ListStats {
        let Reach { lists, codes, .. } = self.reach(AT[0]);
        let read = reads.then(|| self.reads(AT[0]));
        ListStats {
            lists: lists.ceil() as usize,
            candidates: codes,
            read,
            recall: self.lists.recall.mean,
            recall_error: self.lists.recall.error,
        }
    }

    /// Recall of the [`mode`](Self::mode) for a single query; `None` for a scan.
    pub(crate) fn recall(&self, lists: bool, graph: bool) -> Option<Recall> {
        match self.mode(lists, graph, Queries::Alone) {
            SearchMode::Hnsw => Some(self.walk),
            SearchMode::Lists => Some(self.lists.recall),
            _ => None,
        }
    }

    pub(crate) fn budget(&self, k: usize) -> Budget {
        Budget {
            bits: line(self.bits, k),
            sign_error: self.sign_error,
            error8: self.error8,
        }
    }
}

/// The line through the widths for [`AT`].
fn line([low, high]: [usize; 2], k: usize) -> usize {
    // Every further neighbour needs at least one further candidate, however flat the measured line
    // is.
    let least = low + k.saturating_sub(AT[0]);
    let slope = high.saturating_sub(low) as f64 / (AT[1] - AT[0]) as f64;
    let along = (low as f64 + slope * k.saturating_sub(AT[0]) as f64).ceil() as usize;
    along.max(least).max(k)
}

/// How far a number of neighbours is beyond the first of [`AT`]; the second is at 1.
fn beyond(k: usize) -> f32 {
    k.saturating_sub(AT[0]) as f32 / (AT[1] - AT[0]) as f32
}

/// Measures all widths by trials.
pub(crate) fn measure(
    source: CodeSource<'_>,
    base: &Segment,
    trials: &Trials,
    graph: Option<&Graph>,
    lists: Option<&Lists>,
    residuals: Option<&Residuals>,
    target: f64,
) -> Tuning {
    let mut tuning = Tuning::default();
    if trials.is_empty() {
        return tuning;
    }
    // An index without vectors never runs the cascade, nor does one of distances.
    if residuals.is_none() && !source.codec.space.is_euclidean() {
        measure_cascade(source, base, &trials.all(), &mut tuning);
    }
    let error8 = tuning.error8;
    if let Some(lists) = lists {
        measure_lists(source, lists, residuals, trials, target, &mut tuning);
    }
    // Searches are compared with the stored vectors, which are rounded.
    let precision = precision(source, trials);
    let unknown = trials.unknown();
    let known = |recall: Recall| Recall {
        mean: recall.mean * precision * (1. - unknown),
        error: recall.error.hypot(unknown),
    };
    tuning.lists.recall = known(tuning.lists.recall);
    if let (Some(graph), Some(lists)) = (graph, lists) {
        for (at, k) in AT.into_iter().enumerate() {
            let target = if k == AT[0] { target } else { target.min(0.99) };
            let walk = |width: usize| {
                move |query: &PreparedQuery,
                      hidden: &Hidden,
                      then: &mut dyn FnMut(&mut [Scored])| {
                    graph.walk(lists, source, query, width, hidden, then);
                }
            };
            let reached = |width: usize, target: f64| {
                recall_from(source, walk(width), trials, k, error8, target)
            };
            // More neighbours need no fewer candidates.
            let least = k.max(if at > 0 { tuning.ef[0] } else { 0 });
            // Recall and measuring time grow with the width, so widths are bisected, from narrow
            // ones on.
            let last = WIDTHS.len() - 1;
            // With near copies, the width for fewer neighbours may exceed all of these.
            let mut low = WIDTHS.partition_point(|&width| width < least).min(last);
            let mut high = last;
            let mut enough = Recall::WHOLE;
            while low < high {
                let place = low + (high - low) / 4;
                if let Some(recall) = reached(WIDTHS[place], target) {
                    high = place;
                    enough = recall;
                } else {
                    low = place + 1;
                }
            }
            tuning.ef[at] = WIDTHS[high];
            if k == AT[0] {
                // The widest is used whatever its recall.
                let widest = (high == last).then(|| reached(WIDTHS[last], 0.)).flatten();
                tuning.walk = widest.unwrap_or(enough);
            }
            if trials.has_copies {
                tuning.ef[at] = (tuning.ef[at] as f32 * TOGETHER) as usize;
            }
        }
        tuning.walk = known(tuning.walk);
    }
    tuning
}

/// For each of a trial's nearest, the number of nearer lists and of nearer codes.
type Ranks = Vec<(usize, usize)>;

/// Needs of the trials if this many codes are passed on.
#[derive(Clone, Copy)]
struct ListFit {
    codes: usize,
    /// A list is compared if its score is at most this far below the worst candidate's.
    margin: f32,
    /// On average.
    lists: f32,
    /// As in [`ListTuning`].
    margins: [f32; MARGINS],
}

impl ListFit {
    /// `None` if this share of the `k` nearest cannot be found.
    ///
    /// - `nearest`: most lists
    fn of(
        source: CodeSource<'_>,
        lists: &Lists,
        (trials, ranks): (&[Trial], &[Ranks]),
        k: usize,
        (codes, nearest): (usize, usize),
        share: f64,
    ) -> Option<Self> {
        if codes >= source.codes.len() {
            return None;
        }
        let margins = margins_of(source, lists, trials, (codes, nearest));
        let handed_on = ranks.iter().zip(&margins).flat_map(|(ranks, margins)| {
            let within = ranks[..k].iter().filter(|rank| rank.1 < codes);
            within.filter_map(|rank| margins.get(rank.0).copied())
        });
        // Neighbours that are not passed on by codes are lost for any margin, so they count as
        // missed.
        let mut least: Vec<f32> = handed_on.collect();
        let needed = (share * (trials.len() * k) as f64).ceil() as usize;
        if needed == 0 || needed > least.len() {
            return None;
        }
        let margin = *least.select_nth_unstable_by(needed - 1, f32::total_cmp).1;
        Some(Self::with_margin(codes, margin, margins))
    }

    /// - `margins`: of each trial
    fn with_margin(codes: usize, margin: f32, margins: Vec<Vec<f32>>) -> Self {
        let trials = margins.len();
        let mut all = margins.concat();
        all.sort_unstable_by(f32::total_cmp);
        let mean = all.partition_point(|&other| other <= margin) as f32 / trials as f32;
        // Margins of -∞ are those of the lists that every search compares. The margin for a mean
        // number of lists is the one at that rank over all trials together.
        let first = all.partition_point(|&margin| margin == f32::NEG_INFINITY);
        let at = |i: usize| {
            all.get(((trials << i) - 1).max(first))
                .map_or(ALL, |margin| margin.clamp(-ALL, ALL))
        };
        Self {
            codes,
            margin,
            lists: mean,
            margins: std::array::from_fn(at),
        }
    }

    fn cost(&self, lists: &Lists) -> usize {
        lists.cost(Reach {
            lists: self.lists,
            ..Reach::fixed(0, self.codes)
        })
    }
}

/// The margins of the nearest lists, for each trial.
fn margins_of(
    source: CodeSource<'_>,
    lists: &Lists,
    trials: &[Trial],
    (codes, nearest): (usize, usize),
) -> Vec<Vec<f32>> {
    let margins =
        |trial: &Trial| lists.margins(source.isa, &trial.query, codes, &trial.hidden, nearest);
    trials.par_iter().map(margins).collect()
}

/// The cheapest fit that is estimated to meet the aim for each of [`AT`], by the ranks of the true
/// neighbours' lists and codes; `None` if all lists are needed.
fn fit_lists(
    source: CodeSource<'_>,
    lists: &Lists,
    trials: &[Trial],
    lists_of: &[Vec<u32>],
    aim: f64,
) -> [Option<ListFit>; 2] {
    let ranks = |nearest: usize| -> Vec<Ranks> {
        let ranks_of = |trial: &Trial| {
            lists.ranks(
                source.isa,
                &trial.query,
                &trial.hidden,
                &trial.nearest[..AT[1]],
                lists_of,
                nearest,
            )
        };
        trials.par_iter().map(ranks_of).collect()
    };
    let cheapest = |ranks: &[Ranks], k: usize, nearest: usize| {
        let mut places: Vec<usize> = ranks
            .iter()
            .flat_map(|ranks| &ranks[..k])
            .map(|rank| rank.1)
            .collect();
        places.sort_unstable();
        let codes = NOT_HANDED_ON.map(|share| {
            let at = ((1. - share * (1. - aim)) * places.len() as f64).ceil() as usize;
            places[at.clamp(1, places.len()) - 1]
                .saturating_add(1)
                .max(k)
        });
        let fit = |codes: usize, nearest: usize| {
            ListFit::of(source, lists, (trials, ranks), k, (codes, nearest), aim)
        };
        let fits = codes.into_iter().filter_map(|codes| fit(codes, nearest));
        // A quarter more are passed on than trials need: codes of very similar vectors hardly
        // differ, and a vector did not find itself.
        fits.min_by_key(|fit| fit.cost(lists))
            .and_then(|best| fit(best.codes + best.codes / 4, lists.len()))
    };
    let nearest = lists.len().div_ceil(4).max(RANKED_LISTS).min(lists.len());
    let known = ranks(nearest);
    let fits = AT.map(|k| cheapest(&known, k, nearest));
    if fits.iter().all(Option::is_some) || nearest == lists.len() {
        return fits;
    }
    let known = ranks(lists.len());
    AT.map(|k| cheapest(&known, k, lists.len()))
}

/// Finds the cheapest reach that meets the target for each kind of trials: by the ranks of the true
/// neighbours' lists and codes, and then by searching.
fn measure_lists(
    source: CodeSource<'_>,
    lists: &Lists,
    residuals: Option<&Residuals>,
    trials: &Trials,
    target: f64,
    tuning: &mut Tuning,
) {
    let lists_of = lists.lists_of(source.codes.len());
    let aim = target + ABOVE * (1. - target);
    let kinds = trials.kinds();
    let fit = |trials: &&[Trial]| fit_lists(source, lists, trials, &lists_of, aim);
    let fits: Vec<_> = kinds.iter().map(fit).collect();
    for (at, k) in AT.into_iter().enumerate() {
        let everything = ListFit {
            codes: source.codes.len(),
            margin: ALL,
            lists: lists.len() as f32,
            margins: [ALL; MARGINS],
        };
        let of_kinds = kinds.iter().zip(&fits);
        let of_kinds = of_kinds.map(|(kind, fits)| (fits[at].unwrap_or(everything), *kind));
        let hardest = of_kinds.max_by_key(|(fit, _)| fit.cost(lists));
        let (mut fit, tried) = hardest.unwrap_or((everything, &trials.beside));
        // By inner products even a vector that is in the index has other ones' copies before its.
        let has_strangers = source.codec.space.metric == IndexMetric::InnerProduct
            || !std::ptr::eq(tried, &raw const trials.beside[..]);
        let is_together = trials.has_copies && has_strangers;
        let each = if is_together { 1 } else { k };
        // With few misses the sample's need depends on two or three vectors.
        let times = if (1. - aim) * ((tried.len() * each) as f64) >= FEW_MISSES {
            1.
        } else if is_together {
            TOGETHER
        } else {
            UNKNOWN
        };
        let mut codes = (fit.codes as f32 * times) as usize;
        if codes < source.codes.len() {
            // The mean number of lists is for vectors of the index.
            let margins = margins_of(source, lists, &trials.beside, (codes, lists.len()));
            fit = ListFit::with_margin(codes, fit.margin, margins);
        }
        let mut mean = fit.lists * times;
        tuning.lists.margins[at] = fit.margins;
        let next = residuals.map_or(Next::Codes(source.codes), Next::Residuals);
        // Read vectors are always compared, whatever their codes' scores.
        let error8 = if residuals.is_some() {
            f32::INFINITY
        } else {
            tuning.error8
        };
        let measured = |reach: Reach, reads: usize| {
            let search =
                |query: &PreparedQuery, hidden: &Hidden, then: &mut dyn FnMut(&mut [Scored])| {
                    lists.nearest(
                        source.isa,
                        next,
                        query,
                        reach,
                        hidden,
                        |pool: &mut [Scored]| {
                            let mut read = pool.to_vec();
                            source
                                .isa
                                .keep_best(&mut read, (reads, reads), &mut Vec::new());
                            then(&mut read);
                        },
                    );
                };
            recall_from(source, search, trials, k, error8, 0.).unwrap_or(Recall::WHOLE)
        };
        let reach_of = |mean: f32, codes: usize, tuning: &Tuning| Reach {
            codes,
            ..tuning.reach_of(k, mean)
        };
        let mut measured_recall = Recall::WHOLE;
        // The estimate by ranks is verified by searching, and widened until the sample confirms the
        // target.
        for _ in 0..WIDENINGS {
            measured_recall = measured(reach_of(mean, codes, tuning), usize::MAX);
            if measured_recall.least() >= target {
                break;
            }
            (mean, codes) = (mean * 1.125, codes * 9 / 8 + 1);
        }
        if residuals.is_some() {
            let enough = measured_recall.mean - UNREAD * (1. - target);
            let mut reads = k;
            while reads < codes {
                measured_recall = measured(reach_of(mean, codes, tuning), reads);
                if measured_recall.mean >= enough {
                    break;
                }
                // Steps of a twelfth: finer ones would cost trials and save few reads.
                reads += (reads / 12).max(1);
            }
            tuning.lists.reads[at] = reads;
        }
        if k == AT[0] {
            tuning.lists.recall = measured_recall;
        }
        (tuning.lists.lists[at], tuning.lists.codes[at]) = (mean.min(lists.len() as f32), codes);
    }
}

/// Errors of the stages of the cascade in one trial.
#[derive(Default)]
struct Errors {
    /// Rank by signs of each of the nearest.
    ranks: Vec<usize>,
    /// Differing signs beyond expectation, in standard deviations.
    signs: Vec<f32>,
    /// Similarity at 16 bits beyond the one at 8.
    error8: Vec<f32>,
}

fn measure_cascade(source: CodeSource<'_>, base: &Segment, trials: &[&Trial], tuning: &mut Tuning) {
    let errors = |trial: &&Trial| {
        let query = &trial.query;
        let nearest = &trial.nearest[..AT[1]];
        let mut products = Vec::new();
        let mut estimates = Vec::new();
        source
            .codes
            .similarities8(source.isa, query, nearest, &mut products, &mut estimates);
        let mut errors = Errors::default();
        let signs = base.sign_ranks(source.isa, query, nearest);
        for ((&slot, (rank, distance)), estimate) in nearest.iter().zip(signs).zip(estimates) {
            let similarity = source.codes.similarity(source.isa, query, slot as usize);
            // Relative to the expected number for this angle, because far vectors differ in more
            // signs.
            let model = SignModel::new(
                source.codec,
                query,
                source.codes.meta[slot as usize],
                similarity,
            );
            errors.ranks.push(rank);
            errors
                .signs
                .push((distance as f32 - model.mean) / model.deviation.max(1.));
            errors.error8.push(similarity - estimate.score());
        }
        errors
    };
    let errors: Vec<Errors> = trials.par_iter().map(errors).collect();
    for (at, k) in AT.into_iter().enumerate() {
        let mut ranks: Vec<usize> = errors
            .iter()
            .flat_map(|trial| trial.ranks[..k].iter().copied())
            .collect();
        ranks.sort_unstable();
        // If this is too few, the limit of signs is raised during the search.
        tuning.bits[at] = ranks[((ranks.len() - 1) as f64 * FIRST_SHARE) as usize].max(4 * k);
    }
    let beyond = |errors_of: fn(&Errors) -> &Vec<f32>| {
        let mut all: Vec<f32> = errors
            .iter()
            .flat_map(|trial| errors_of(trial).iter().copied())
            .collect();
        all.sort_unstable_by(f32::total_cmp);
        all[((all.len() - 1) as f64 * HANDED_ON).ceil() as usize].max(0.)
    };
    // A file may hold no larger ones.
    tuning.sign_error = beyond(|errors| &errors.signs).min(100.);
    tuning.error8 = beyond(|errors| &errors.error8).min(2.);
}

/// The expected share of the nearest at 16 bits that are the nearest in double precision, by the
/// rounding error of each; equal ones count as found. Without middles of two vectors, whose
/// neighbours are equally near by design.
fn precision(source: CodeSource<'_>, trials: &Trials) -> f64 {
    /// Neighbours after the nearest that may change places with them.
    const BEHIND: usize = 30;
    /// The standard deviation of rounding to integers.
    const ROUNDED: f64 = 0.288_675_134_594_812_9;
    if source.codec.space.is_euclidean() {
        return 1.;
    }
    let lost = |trial: &Trial| {
        let query = &trial.query;
        let value = |&slot: &u32| {
            let step = source.codes.meta[slot as usize].scale.hypot(query.scale) / 254.;
            let similarity = source.codes.similarity(source.isa, query, slot as usize);
            (f64::from(similarity), ROUNDED * f64::from(step))
        };
        let nearest = trial.nearest.iter().take(AT[0] + BEHIND);
        let values: Vec<(f64, f64)> = nearest.map(value).collect();
        let (near, far) = values.split_at(AT[0]);
        let bound = 0.5 * (near[AT[0] - 1].0 + far[0].0);
        // The number that cross the bound; a logistic curve is within a hundredth of the normal
        // distribution's.
        let crossing = |side: &[(f64, f64)]| {
            let unequal = side.iter().filter(|value| value.0 != bound);
            let chances = unequal.map(|(similarity, deviation)| {
                1. / (1. + (1.702 * (similarity - bound).abs() / deviation.max(1e-9)).exp())
            });
            chances.sum::<f64>()
        };
        crossing(near).min(crossing(far)) / AT[0] as f64
    };
    let of_kind = |trials: &[Trial]| {
        let lost: f64 = trials.iter().map(lost).sum();
        1. - lost / trials.len().max(1) as f64
    };
    of_kind(&trials.beside).min(of_kind(&trials.similar))
}

/// Recall of the worst kind of trials; `None` as soon as one kind is below `target`, which too
/// narrow widths usually show after a few trials.
fn recall_from(
    source: CodeSource<'_>,
    search: impl Fn(&PreparedQuery, &Hidden, &mut dyn FnMut(&mut [Scored])) + Sync,
    trials: &Trials,
    k: usize,
    error8: f32,
    target: f64,
) -> Option<Recall> {
    let mut worst = Recall::WHOLE;
    for kind in trials.kinds() {
        let recall = recall(source, &search, kind, k, error8, target)?;
        if recall.least() < worst.least() {
            worst = recall;
        }
    }
    Some(worst)
}

/// Mean share of the true `k` neighbours that a search returns; `None` if it is below `target`.
///
/// - `search`: passes on candidates for a query, without some slots
fn recall(
    source: CodeSource<'_>,
    search: impl Fn(&PreparedQuery, &Hidden, &mut dyn FnMut(&mut [Scored])) + Sync,
    trials: &[Trial],
    k: usize,
    error8: f32,
    target: f64,
) -> Option<Recall> {
    let n = trials.len() as f64;
    let most = (1. - target) * n * k as f64 + 1e-6; // rounding is no miss
    let missed = AtomicUsize::new(0);
    let hits_of = |trial: &Trial| {
        let mut hits = 0;
        search(&trial.query, &trial.hidden, &mut |pool| {
            hits = nearest16(source, &trial.query, pool, k, error8, |found| {
                found
                    .iter()
                    .filter(|found| trial.nearest[..k].contains(&found.name()))
                    .count()
            });
        });
        let missed = missed.fetch_add(k - hits, Ordering::Relaxed) + k - hits;
        (missed as f64 <= most).then_some(hits)
    };
    let hits: Vec<usize> = trials.par_iter().map(hits_of).collect::<Option<_>>()?;
    let mean = hits.iter().sum::<usize>() as f64 / (n * k as f64);
    let square: f64 = hits
        .iter()
        .map(|&hits| (hits as f64 / k as f64 - mean).powi(2))
        .sum();
    let error = (square / (n * (n - 1.).max(1.))).sqrt();
    Some(Recall { mean, error })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use crate::trials::Hidden;
    use crate::{Id, IndexOptions, SearchMode, SearchParams, VectorIndex};

    const RECORDINGS: usize = 300;
    const WINDOWS: usize = 40;
    const DIMENSION: usize = 96;

    /// Windows of recordings, in order, which differ less than recordings do.
    fn recordings(n: usize, rng: &mut StdRng) -> Array2<f32> {
        recordings_of(n, WINDOWS, rng)
    }

    fn recordings_of(n: usize, windows: usize, rng: &mut StdRng) -> Array2<f32> {
        let mut vectors = Array2::zeros((n * windows, DIMENSION));
        for mut windows in vectors.axis_chunks_iter_mut(Axis(0), windows) {
            let mut at: Vec<f32> = (0..DIMENSION).map(|_| rng.random::<f32>() - 0.5).collect();
            for mut window in windows.outer_iter_mut() {
                at.iter_mut()
                    .for_each(|x| *x += 0.1 * (rng.random::<f32>() - 0.5));
                window.iter_mut().zip(&at).for_each(|(to, &x)| *to = x);
            }
        }
        vectors
    }

    #[test]
    fn a_width_is_about_the_number_of_lists_that_a_search_looks_at() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut vectors = recordings(RECORDINGS, &mut rng);
        // Shuffled, so that vectors hidden beside a trial are unlike it.
        let mut order: Vec<usize> = (0..vectors.nrows()).collect();
        order.shuffle(&mut rng);
        vectors = vectors.select(Axis(0), &order);
        let ids: Vec<Id> = (0..vectors.nrows() as i64).map(Id).collect();
        let options = IndexOptions {
            lists_from: 0,
            ..IndexOptions::default()
        };
        let index = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
        let lists = index.lists.as_ref().unwrap();
        let mut before = 0;
        // Fewer lists would not hold enough candidates.
        for width in [20, 40, 100, lists.len()] {
            let reach = index.tuning.reach_of(10, width as f32);
            let compared = |slot: usize| {
                let query = index.codec.stored_at(&index.base.codes, slot);
                let hidden = Hidden::beside(slot as u32..slot as u32 + 1);
                let margins = lists.margins(index.isa, &query, reach.codes, &hidden, lists.len());
                margins
                    .iter()
                    .filter(|&&margin| margin <= reach.margin)
                    .count()
            };
            let counts: Vec<usize> = (0..vectors.nrows()).step_by(7).map(compared).collect();
            let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
            // Margins are stored for powers of two, and for the candidates before the reach was
            // widened.
            assert!((mean / width as f64 - 1.).abs() < 0.4, "{width}: {mean}");
            // The number of lists differs between vectors, except for the last width.
            let most = counts.iter().max().unwrap();
            assert!(
                (*most as f64 > 1.3 * mean) == (width < lists.len()),
                "{width}: {most}"
            );
            let params = SearchParams {
                ef: Some(width),
                ..SearchParams::default()
            };
            let found = index
                .search_batch(vectors.slice(ndarray::s![..;40, ..]), 10, &params)
                .unwrap();
            let exact = SearchParams {
                mode: SearchMode::Exact,
                ..params
            };
            let truth = index
                .search_batch(vectors.slice(ndarray::s![..;40, ..]), 10, &exact)
                .unwrap();
            let pairs = found.iter().zip(&truth);
            let hits: usize = pairs
                .map(|(a, b)| b.iter().filter(|neighbor| a.contains(neighbor)).count())
                .sum();
            assert!(hits >= before, "{width}: {hits} after {before}");
            before = hits;
        }
        assert!(before >= 2990, "{before} of 3000");
    }

    /// Share of the ten nearest by double precision that the default search finds.
    fn recall_of_strangers(ids: &[Id], vectors: &Array2<f32>, strangers: &Array2<f32>) -> f64 {
        let options = IndexOptions {
            lists_from: 0,
            ..IndexOptions::default()
        };
        let index = VectorIndex::build(ids, vectors.view(), &options).unwrap();
        recall_of(&index, ids, vectors, strangers)
    }

    fn recall_of(
        index: &VectorIndex,
        ids: &[Id],
        vectors: &Array2<f32>,
        strangers: &Array2<f32>,
    ) -> f64 {
        let params = SearchParams::default();
        let found = index.search_batch(strangers.view(), 10, &params).unwrap();
        // Scaled to length 1 once for all queries.
        let mut rows = vectors.mapv(f64::from);
        rows.outer_iter_mut()
            .for_each(|mut row| row /= row.dot(&row).sqrt());
        let mut right = 0;
        for (found, query) in found.iter().zip(strangers.outer_iter()) {
            let cosines = rows.dot(&query.mapv(f64::from));
            let pairs = cosines.iter().copied().zip(ids.iter().copied());
            let mut truth: Vec<(f64, Id)> = pairs.collect();
            truth.select_nth_unstable_by(9, |a, b| b.0.total_cmp(&a.0));
            // Equal ones may come in either order.
            let last = truth[9].0 - 1e-5 * truth[9].0.abs();
            let near = truth.iter().filter(|other| other.0 >= last);
            let near: Vec<Id> = near.map(|&(_, id)| id).collect();
            right += found
                .iter()
                .filter(|neighbor| near.contains(&neighbor.id))
                .count();
        }
        right as f64 / (10 * strangers.nrows()) as f64
    }

    #[test]
    fn recall_says_what_rounding_loses() {
        let mut rng = StdRng::seed_from_u64(12);
        let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.;
        let centres = Array2::from_shape_simple_fn((100, 32), &mut normal);
        let mut claimed = |spread: f32| {
            let vectors = Array2::from_shape_fn((6000, 32), |(row, at)| {
                centres[(row % 100, at)] + spread * normal()
            });
            let ids: Vec<Id> = (0..6000).map(Id).collect();
            let index = VectorIndex::build(&ids, vectors.view(), &IndexOptions::default()).unwrap();
            index.stats().recall.unwrap()
        };
        // Clusters of some 2e-5, where 16 bits leave 0.92 of the order.
        let tight = claimed(0.01);
        assert!((0.8..0.97).contains(&tight), "{tight}");
        assert!(claimed(0.5) > 0.99);
    }

    #[test]
    fn near_copies_at_any_place_do_not_answer_for_strangers() {
        let mut rng = StdRng::seed_from_u64(8);
        let mut normal = |n: usize| {
            Array2::from_shape_simple_fn((n, 64), || {
                (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.
            })
        };
        for (copies, noise) in [(2, 0.1), (12, 0.1), (12, 0.), (100, 0.3)] {
            let originals = normal(9600 / copies);
            let noises = normal(9600);
            let vectors = Array2::from_shape_fn((9600, 64), |(row, at)| {
                originals[(row % originals.nrows(), at)] + noise * noises[(row, at)]
            });
            let ids: Vec<Id> = (0..9600).map(Id).collect();
            let recall = recall_of_strangers(&ids, &vectors, &normal(400));
            assert!(recall >= 0.9915, "{copies} copies, {noise}: {recall}");
        }
        // Nearly all are one vector.
        let mut vectors = normal(6000);
        let one = vectors.row(0).to_owned();
        (0..6000)
            .filter(|row| row % 50 != 0)
            .for_each(|row| vectors.row_mut(row).assign(&one));
        let ids: Vec<Id> = (0..6000).map(Id).collect();
        let recall = recall_of_strangers(&ids, &vectors, &normal(200));
        assert!(recall >= 0.9915, "one vector: {recall}");
    }

    #[test]
    fn targets_are_met_for_each_kind_of_set_or_reported() {
        let mut rng = StdRng::seed_from_u64(21);
        let mut normal = |n: usize| {
            Array2::from_shape_simple_fn((n, 48), || {
                (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.
            })
        };
        let mut sets = Vec::new();
        for copies in [2, 100] {
            let originals = normal(3000 / copies);
            let vectors = Array2::from_shape_fn((3000, 48), |(row, at)| {
                originals[(row % originals.nrows(), at)]
            });
            sets.push((
                format!("{copies} copies"),
                vectors + 0.1 * &normal(3000),
                normal(200),
            ));
        }
        let mut vectors = normal(3000);
        let one = vectors.row(0).to_owned();
        (0..3000)
            .filter(|row| row % 100 != 0)
            .for_each(|row| vectors.row_mut(row).assign(&one));
        sets.push(("one vector".to_owned(), vectors, normal(200)));
        let mut rng = StdRng::seed_from_u64(22);
        // Seventy-five trials are too few for a miss that one in a hundred strangers has.
        for (n, windows) in [(75, 40), (30, 100)] {
            let some: Vec<usize> = (0..3000).step_by(10).collect();
            let vectors = recordings_of(n, windows, &mut rng);
            let strangers = recordings_of(n, windows, &mut rng).select(Axis(0), &some);
            sets.push((format!("{n} recordings"), vectors, strangers));
        }
        for (name, vectors, strangers) in &sets {
            let n = vectors.nrows();
            // Copies, or windows, beside each other, as far apart as possible, or at random.
            let sorted: Vec<Id> = (0..n as i64).map(Id).collect();
            let mut anywhere = sorted.clone();
            anywhere.shuffle(&mut rng);
            for target_recall in [0.99, 0.9999] {
                for ids in [&sorted, &anywhere] {
                    let options = IndexOptions {
                        lists_from: 0,
                        graph_from: 0,
                        target_recall,
                        ..IndexOptions::default()
                    };
                    let index = VectorIndex::build(ids, vectors.view(), &options).unwrap();
                    let real = recall_of(&index, ids, vectors, strangers);
                    let stated = index.stats().recall.unwrap();
                    let promised = target_recall - (1. - target_recall) / 2. - 0.001;
                    assert!(
                        real >= promised || stated < promised && real >= stated - 0.01,
                        "{name}, {target_recall}: {real}, stated {stated}"
                    );
                }
            }
        }
    }

    #[test]
    fn widths_are_wide_enough_for_recordings_that_are_not_there() {
        let mut rng = StdRng::seed_from_u64(4);
        let vectors = recordings(RECORDINGS, &mut rng);
        let strangers = recordings(100, &mut rng);
        let some = strangers.slice(ndarray::s![..;10, ..]);
        let mut ids: Vec<Id> = (0..vectors.nrows() as i64).map(Id).collect();
        let options = IndexOptions {
            lists_from: 0,
            graph_from: 0,
            ..IndexOptions::default()
        };
        let recalls = |ids: &[Id]| {
            let index = VectorIndex::build(ids, vectors.view(), &options).unwrap();
            let search = |mode| {
                let params = SearchParams {
                    mode,
                    ..SearchParams::default()
                };
                index.search_batch(some, 10, &params).unwrap()
            };
            let exact = search(SearchMode::Exact);
            [SearchMode::Lists, SearchMode::Hnsw].map(|mode| {
                let pairs = search(mode).into_iter().zip(&exact);
                let hits: usize = pairs
                    .map(|(a, b)| b.iter().filter(|neighbor| a.contains(neighbor)).count())
                    .sum();
                hits as f64 / (10 * some.nrows()) as f64
            })
        };
        let in_order = recalls(&ids);
        // Windows of a recording are hidden by similarity, not by position.
        ids.shuffle(&mut rng);
        let anywhere = recalls(&ids);
        let all = [in_order, anywhere].concat();
        assert!(all.iter().all(|&recall| recall >= 0.985), "{all:?}");
    }
}
