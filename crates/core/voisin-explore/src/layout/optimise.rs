//! Stochastic gradient descent on the layout, on one thread, so that a seed gives the same map.
//!
//! Moving all tracks at once from the positions before the epoch would be parallel and as reproducible, but
//! preserves 0.01 fewer of 15 neighbours (measured on GTZAN's vectors).

use voisin_base::random::Random;

use super::super::edges::Edges;
use super::LayoutOptions;
use super::curve;

/// Largest move per sample and coordinate.
const CLIP: f32 = 4.0;

/// Moves the movable rows so that strong pairs are close and random pairs apart.
///
/// Follows umap-learn's schedule: an edge of relative strength w is sampled in a share w of the epochs and
/// attracts both its ends; after each sample its head is repelled from `negative_samples` random rows; the
/// step falls linearly from 1 to 0.
pub(super) fn optimise(
    positions: &mut [[f32; 2]],
    edges: &Edges,
    moving: &[bool],
    epochs: usize,
    options: &LayoutOptions,
) {
    // Rates are relative to the strongest edge, which is sampled in every epoch.
    let strongest = edges.weights.iter().copied().fold(0.0, f32::max);
    if strongest <= 0.0 {
        return;
    }
    let n = positions.len();
    let (a, b) = curve::fit(options.min_dist);
    let mut random = Random::new(options.seed);
    let heads: Vec<usize> = (0..n).filter(|&i| moving[i]).collect();
    let mut group = Group::new(Forces::new(a, b), n, options.negative_samples);
    let rates: Vec<f32> = edges
        .weights
        .iter()
        .map(|weight| weight / strongest)
        .collect();
    // Number of samples of each edge.
    let mut counts = vec![0_u32; rates.len()];
    let mut due = Vec::new();
    let mut samples = Vec::new();
    for epoch in 0..epochs {
        let step = 1.0 - epoch as f32 / epochs as f32;
        for &i in &heads {
            let row = edges.offsets[i]..edges.offsets[i + 1];
            due.clear();
            // One more than edges, for the last unconditional write.
            due.resize(row.len() + 1, 0);
            let mut many = 0;
            // Writes without a branch, which would be mispredicted often.
            for ((&j, &rate), count) in
                (edges.ends[row.clone()].iter().zip(&rates[row.clone()])).zip(&mut counts[row])
            {
                // Due when the running count of samples passes an integer.
                let now = (f64::from(rate) * (epoch + 1) as f64) as u32;
                due[many] = j;
                many += usize::from(now != *count);
                *count = now;
            }
            samples.clear();
            for &j in &due[..many] {
                samples.push(j);
                samples.extend((0..options.negative_samples).map(|_| draw_row(&mut random, n)));
            }
            if !samples.is_empty() {
                group.add(i, &samples, positions, moving, step);
            }
        }
        group.run(positions, moving, step);
    }
}

/// Rows that are moved interleaved, because each move of a row depends on the previous one, while moves
/// of other rows are independent. Only rows whose moves do not affect each other are in a group, so that
/// the result equals moving one row after the other.
struct Group {
    forces: Forces,
    /// Repelling samples after each attracting one.
    negative: usize,
    /// Rows with the starts of their samples.
    heads: Vec<(usize, usize)>,
    /// For each row: an attracting row, then the repelling ones, and so on.
    samples: Vec<u32>,
    /// The number of this group.
    number: u32,
    /// For each row, twice the number of the last group that uses it, plus 1 if the group moves it.
    marks: Vec<u32>,
}

/// Most rows of a group, about the number of moves that a core executes concurrently.
const TOGETHER: usize = 8;

impl Group {
    fn new(forces: Forces, rows: usize, negative: usize) -> Self {
        let heads = Vec::with_capacity(TOGETHER);
        let samples = Vec::new();
        Self {
            forces,
            negative,
            heads,
            samples,
            number: 1,
            marks: vec![0; rows],
        }
    }

    /// Adds a row, after moving the others if it depends on one of them.
    fn add(
        &mut self,
        row: usize,
        samples: &[u32],
        positions: &mut [[f32; 2]],
        moving: &[bool],
        step: f32,
    ) {
        // Marked again after the run, which changed the number of the group.
        if self.heads.len() == TOGETHER || !self.mark(row, samples, moving) {
            self.run(positions, moving, step);
            self.mark(row, samples, moving);
        }
        self.heads.push((row, self.samples.len()));
        self.samples.extend_from_slice(samples);
    }

    /// Marks the rows that a row's moves read and write. False if one of them is in another row's
    /// moves.
    fn mark(&mut self, row: usize, samples: &[u32], moving: &[bool]) -> bool {
        let seen = 2 * self.number;
        let moved = 2 * self.number + 1;
        // A row that moves must have no mark of this group.
        let mut is_free = self.marks[row] < seen;
        for samples in samples.chunks_exact(self.negative + 1) {
            let pulled = samples[0] as usize;
            for &other in &samples[usize::from(moving[pulled])..] {
                let mark = &mut self.marks[other as usize];
                // Several rows may read the same row.
                is_free &= *mark < moved;
                *mark = (*mark).max(seen);
            }
            if moving[pulled] {
                is_free &= self.marks[pulled] < seen;
                self.marks[pulled] = moved;
            }
        }
        self.marks[row] = moved;
        is_free
    }

    /// Moves all rows of the group.
    fn run(&mut self, positions: &mut [[f32; 2]], moving: &[bool], step: f32) {
        let every = self.negative + 1;
        let ends = self
            .heads
            .iter()
            .skip(1)
            .map(|head| head.1)
            .chain([self.samples.len()]);
        let mut lanes: Vec<(usize, [f32; 2], &[u32])> = (self.heads.iter().zip(ends))
            .map(|(&(row, begin), end)| (row, positions[row], &self.samples[begin..end]))
            .collect();
        // Rows with most moves first, so that the active ones are always a prefix.
        lanes.sort_unstable_by_key(|lane| std::cmp::Reverse(lane.2.len()));
        let most = lanes.first().map_or(0, |lane| lane.2.len());
        for first in (0..most).step_by(every) {
            let active = lanes.partition_point(|lane| first < lane.2.len());
            let active = &mut lanes[..active];
            for (_, at, samples) in &mut *active {
                let j = samples[first] as usize;
                let (dx, dy, squared) = difference(*at, positions[j]);
                let force = self.forces.attract(squared);
                let x = step * (force * dx).clamp(-CLIP, CLIP);
                let y = step * (force * dy).clamp(-CLIP, CLIP);
                *at = [at[0] + x, at[1] + y];
                if moving[j] {
                    positions[j][0] -= x;
                    positions[j][1] -= y;
                }
            }
            for place in first + 1..first + every {
                for (row, at, samples) in &mut *active {
                    let j = samples[place] as usize;
                    // Its stored position is older than `at` and would repel it from its former
                    // place.
                    if j == *row {
                        continue;
                    }
                    let (dx, dy, squared) = difference(*at, positions[j]);
                    let force = self.forces.repel(squared);
                    at[0] += step * (force * dx).clamp(-CLIP, CLIP);
                    at[1] += step * (force * dy).clamp(-CLIP, CLIP);
                }
            }
        }
        lanes.iter().for_each(|(row, at, _)| positions[*row] = *at);
        self.heads.clear();
        self.samples.clear();
        self.number += 1;
        // Marks have twice the number, which must not overflow.
        if self.number == u32::MAX / 2 {
            self.marks.fill(0);
            self.number = 1;
        }
    }
}

fn difference(a: [f32; 2], b: [f32; 2]) -> (f32, f32, f32) {
    let dx = a[0] - b[0];
    let dy = a[1] - b[1];
    (dx, dy, dx * dx + dy * dy)
}

/// Gradient coefficients as tables over squared distance, because a power per sample would take most of the
/// time.
struct Forces {
    a: f32,
    b: f32,
    attract: Vec<f32>,
    repel: Vec<f32>,
}

/// Bits of the mantissa that select an entry: 64 entries per octave.
const FINE: u32 = 6;
/// The table begins at 2^−24 …
const FIRST: u32 = (127 - 24) << 23;
/// … and ends at 2^16.
const LAST: u32 = (127 + 16) << 23;

impl Forces {
    fn new(a: f32, b: f32) -> Self {
        let mut forces = Self {
            a,
            b,
            attract: Vec::new(),
            repel: Vec::new(),
        };
        for entry in 0..=(LAST - FIRST) >> (23 - FINE) {
            let squared = f32::from_bits(FIRST + (entry << (23 - FINE)));
            forces.attract.push(forces.exact_attract(squared));
            forces.repel.push(forces.exact_repel(squared));
        }
        forces
    }

    fn exact_attract(&self, squared: f32) -> f32 {
        if squared <= 0.0 {
            return 0.0;
        }
        let power = squared.powf(self.b);
        -2.0 * self.a * self.b * power / squared / (self.a * power + 1.0)
    }

    fn exact_repel(&self, squared: f32) -> f32 {
        if squared <= 0.0 {
            return 0.0;
        }
        2.0 * self.b / ((0.001 + squared) * (self.a * squared.powf(self.b) + 1.0))
    }

    fn attract(&self, squared: f32) -> f32 {
        between(&self.attract, squared).unwrap_or_else(|| self.exact_attract(squared))
    }

    fn repel(&self, squared: f32) -> f32 {
        between(&self.repel, squared).unwrap_or_else(|| self.exact_repel(squared))
    }
}

/// Linear interpolation in the table; `None` outside it.
fn between(table: &[f32], squared: f32) -> Option<f32> {
    let bits = squared.to_bits();
    if !(FIRST..LAST).contains(&bits) {
        return None;
    }
    let position = bits - FIRST;
    let entry = (position >> (23 - FINE)) as usize;
    // Within an octave the bits of a float are linear in its value.
    let rest = (position & ((1 << (23 - FINE)) - 1)) as f32 / (1 << (23 - FINE)) as f32;
    Some(table[entry] + rest * (table[entry + 1] - table[entry]))
}

/// A random row below `n`: the upper half of a draw, scaled. Must not change, because earlier layouts have to be reproducible.
fn draw_row(random: &mut Random, n: usize) -> u32 {
    (((random.u64() >> 32) * n as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::super::super::KnnGraph;
    use super::super::super::testing::unit_vectors;
    use super::super::fuzzy::fuzzy;
    use super::*;

    /// One row after the other.
    fn plain(
        positions: &mut [[f32; 2]],
        edges: &Edges,
        moving: &[bool],
        epochs: usize,
        options: &LayoutOptions,
    ) {
        let n = positions.len();
        let strongest = edges.weights.iter().copied().fold(0.0, f32::max);
        let (a, b) = curve::fit(options.min_dist);
        let forces = Forces::new(a, b);
        let mut random = Random::new(options.seed);
        for epoch in 0..epochs {
            let step = 1.0 - epoch as f32 / epochs as f32;
            let moved = |force: f32, d: f32| step * (force * d).clamp(-CLIP, CLIP);
            for i in (0..n).filter(|&i| moving[i]) {
                for (j, weight) in edges.row(i) {
                    let rate = f64::from(weight / strongest);
                    if (rate * (epoch + 1) as f64) as u64 == (rate * epoch as f64) as u64 {
                        continue;
                    }
                    let (dx, dy, squared) = difference(positions[i], positions[j]);
                    let force = forces.attract(squared);
                    let x = moved(force, dx);
                    let y = moved(force, dy);
                    positions[i] = [positions[i][0] + x, positions[i][1] + y];
                    if moving[j] {
                        positions[j] = [positions[j][0] - x, positions[j][1] - y];
                    }
                    for _ in 0..options.negative_samples {
                        let j = draw_row(&mut random, n) as usize;
                        if j != i {
                            let (dx, dy, squared) = difference(positions[i], positions[j]);
                            let force = forces.repel(squared);
                            positions[i] = [
                                positions[i][0] + moved(force, dx),
                                positions[i][1] + moved(force, dy),
                            ];
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn interleaved_moves_equal_sequential_ones() {
        for (n, epochs, still) in [(2, 30, 0), (40, 30, 0), (3000, 6, 0), (3000, 6, 7)] {
            let vectors = unit_vectors(n, 8, 5);
            let edges =
                fuzzy(&KnnGraph::exact(vectors.view(), 15.min(n - 1)).expect("unit vectors"));
            let mut random = Random::new(3);
            let start: Vec<[f32; 2]> = (0..n)
                .map(|_| [20.0 * random.f32(), 20.0 * random.f32()])
                .collect();
            let moving: Vec<bool> = (0..n).map(|i| still == 0 || i % still == 0).collect();
            let options = LayoutOptions {
                seed: 9,
                ..LayoutOptions::default()
            };
            let mut a = start.clone();
            let mut b = start.clone();
            optimise(&mut a, &edges, &moving, epochs, &options);
            plain(&mut b, &edges, &moving, epochs, &options);
            assert!(a == b && a != start, "{n} rows, {still}");
        }
    }

    #[test]
    fn the_table_agrees_with_the_formula() {
        let (a, b) = curve::fit(0.1);
        let forces = Forces::new(a, b);
        let mut random = Random::new(4);
        for _ in 0..10_000 {
            let squared = 2.0_f32.powf(random.below(60_000) as f32 / 1000.0 - 35.0);
            let attract = forces.exact_attract(squared);
            let repel = forces.exact_repel(squared);
            assert!((forces.attract(squared) - attract).abs() <= 3e-4 * attract.abs());
            assert!((forces.repel(squared) - repel).abs() <= 3e-4 * repel.abs());
        }
        assert!(
            forces.attract(0.0).abs() < f32::MIN_POSITIVE
                && forces.repel(0.0).abs() < f32::MIN_POSITIVE
        );
    }
}
