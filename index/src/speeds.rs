//! Measures at the build which of graph and lists is faster, on the index's own vectors.

use std::time::{Duration, Instant};

use super::codes::{CodeSource, PreparedQuery};
use super::segment::nearest16;
use super::trials::{Trial, Trials};
use super::tuning::Queries;
use super::types::{GraphAndLists, SearchMode, SearchParams, WaySpeeds};
use super::{Id, IndexError, VectorIndex};
use voisin_base::random::hash;
use voisin_kernels::dot::best::Scored;

/// Number of neighbours per search.
const K: usize = 10;
/// Repeats of the same queries by each method, alternating; the median counts.
const REPEATS: usize = 5;
/// Queries per turn: few, so that an interruption of the process affects few of them.
const TURN: usize = 50;
/// If one method takes this many times as long as the other, two repeats of the first turn suffice.
const CLEAR: u32 = 3;
/// Queries with a filter, which take longer.
const FILTERED: usize = 100;

impl VectorIndex {
    /// Measures the speed of graph and lists on the trials, whose hidden vectors are left out of
    /// single searches; and frees the graph's blocks if it is not used.
    pub(super) fn measure_speeds(&mut self, trials: &Trials) -> Result<(), IndexError> {
        if self.graph.is_none() || self.lists.is_none() || trials.is_empty() {
            return Ok(());
        }
        let all = trials.all();
        let queries: Vec<PreparedQuery> = all.iter().map(|trial| trial.query.clone()).collect();
        let half = self.subset(&|track: Id| hash(track.0 as u64).is_multiple_of(2));
        let by = |mode| SearchParams {
            mode,
            ..SearchParams::default()
        };
        let filtered = |query: &PreparedQuery, mode| {
            let subset = Some(&half);
            let params = SearchParams { subset, ..by(mode) };
            self.search_query(query, K, &params).map(drop)
        };
        let together =
            |queries: &[PreparedQuery], mode| self.search_all(queries, K, &by(mode)).map(drop);
        let speeds = WaySpeeds {
            alone: in_turns(&all, TURN, |trials, mode| {
                trials.iter().for_each(|trial| self.try_alone(trial, mode));
                Ok(())
            })?,
            filtered: in_turns(
                &queries[..FILTERED.min(queries.len())],
                TURN,
                |some, mode| some.iter().try_for_each(|query| filtered(query, mode)),
            )?,
            batches: in_turns(&queries, queries.len(), together)?,
        };
        self.tuning.speeds = speeds;
        let walks = [Queries::Alone, Queries::Filtered, Queries::Batch]
            .into_iter()
            .any(|queries| self.tuning.mode(true, true, queries) == SearchMode::Hnsw);
        if !walks && let Some(graph) = self.graph.as_mut().and_then(std::sync::Arc::get_mut) {
            graph.drop_blocks();
        }
        Ok(())
    }

    /// Searches for a trial by a method and discards the result.
    fn try_alone(&self, trial: &Trial, mode: SearchMode) {
        let source = CodeSource {
            isa: self.isa,
            codec: &self.codec,
            codes: &self.base.codes,
        };
        let Trial { query, hidden, .. } = trial;
        let finish = |pool: &mut [Scored]| {
            nearest16(source, query, pool, K, self.tuning.error8, |found| {
                found.len()
            });
        };
        match (mode, self.graph.as_deref(), self.lists.as_deref()) {
            (SearchMode::Hnsw, Some(graph), Some(lists)) => {
                graph.walk(lists, source, query, self.tuning.ef(K), hidden, finish);
            }
            (_, _, Some(lists)) => {
                let reach = self.tuning.reach(K);
                lists.nearest(self.isa, self.next(), query, reach, hidden, finish);
            }
            _ => {}
        }
    }
}

/// Queries a second of both methods, which alternate.
fn in_turns<T>(
    queries: &[T],
    turn: usize,
    search: impl Fn(&[T], SearchMode) -> Result<(), IndexError>,
) -> Result<GraphAndLists, IndexError> {
    let time = |part: &[T], mode| {
        let start = Instant::now();
        search(part, mode).map(|()| start.elapsed())
    };
    let mut graph = Duration::ZERO;
    let mut lists = Duration::ZERO;
    let mut count = 0_usize;
    for part in queries.chunks(turn.max(1)) {
        let far = graph.max(lists) > CLEAR * graph.min(lists);
        if count > 0 && far {
            break;
        }
        let mut walks = Vec::with_capacity(REPEATS);
        let mut looks = Vec::with_capacity(REPEATS);
        for _ in 0..REPEATS {
            walks.push(time(part, SearchMode::Hnsw)?);
            looks.push(time(part, SearchMode::Lists)?);
            if is_clear(&walks, &looks) || is_clear(&looks, &walks) {
                break;
            }
        }
        graph += median(walks);
        lists += median(looks);
        count += part.len();
    }
    let speed = |time: Duration| count as f64 / time.as_secs_f64().max(1e-9);
    Ok(GraphAndLists {
        graph: speed(graph),
        lists: speed(lists),
    })
}

/// Whether one method took far longer twice, as an interruption could lengthen one time.
fn is_clear(slow: &[Duration], fast: &[Duration]) -> bool {
    slow.len() > 1 && slow.iter().min() > fast.iter().max().map(|time| CLEAR * *time).as_ref()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
