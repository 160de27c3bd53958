//! Agreement of two divisions of the same tracks.

use std::collections::HashMap;

/// Cells of the contingency table and its two margins.
struct Contingency {
    cells: HashMap<(u32, u32), f64>,
    rows: HashMap<u32, f64>,
    columns: HashMap<u32, f64>,
    n: f64,
}

fn table(a: &[u32], b: &[u32]) -> Contingency {
    let mut table = Contingency {
        cells: HashMap::new(),
        rows: HashMap::new(),
        columns: HashMap::new(),
        n: 0.0,
    };
    for (&x, &y) in a.iter().zip(b) {
        *table.cells.entry((x, y)).or_default() += 1.0;
        *table.rows.entry(x).or_default() += 1.0;
        *table.columns.entry(y).or_default() += 1.0;
        table.n += 1.0;
    }
    table
}

/// Adjusted Rand index (Hubert and Arabie, 1985): 0 is the expectation for random divisions, 1 identical up to names.
pub fn adjusted_rand_index(a: &[u32], b: &[u32]) -> f64 {
    let table = table(a, b);
    let pairs = |c: f64| c * (c - 1.0) / 2.0;
    let sum = |values: Vec<f64>| -> f64 { values.into_iter().map(pairs).sum() };
    let index = sum(sorted(table.cells.values()));
    let rows = sum(sorted(table.rows.values()));
    let columns = sum(sorted(table.columns.values()));
    let all = pairs(table.n);
    let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = f64::midpoint(rows, columns);
    // Both have a single group, or only groups of one track.
    if most - expected == 0.0 {
        1.0
    } else {
        (index - expected) / (most - expected)
    }
}

/// In ascending order, so that sums do not depend on the map's order.
fn sorted<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.copied().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scikit_learn() {
        // scikit-learn 1.9.1: adjusted_rand_score of the same lists.
        let a = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let b = [0, 0, 1, 1, 1, 1, 2, 2, 0, 2];
        assert!((adjusted_rand_index(&a, &b) - 0.431_818_181_8).abs() < 1e-9);
        assert!((adjusted_rand_index(&a, &a) - 1.0).abs() < 1e-12);
        assert!(adjusted_rand_index(&a, &[0; 10]).abs() < 1e-12);
    }
}
