//! Undirected weighted graphs for layouts and clusters.

#[derive(Debug, Clone, Default)]
pub(crate) struct Edges {
    /// Start of each row's entries; one more than there are rows.
    pub(crate) offsets: Vec<usize>,
    /// Other end of each entry.
    pub(crate) ends: Vec<u32>,
    /// Strength of each entry, above 0.
    pub(crate) weights: Vec<f32>,
}

impl Edges {
    /// A graph of `n` rows, each with ascending entries.
    ///
    /// - `edges`: each once: the lower row, the higher row and their strength, ascending
    pub(crate) fn symmetric(
        n: usize,
        edges: impl Iterator<Item = (u32, u32, f32)> + Clone,
    ) -> Self {
        let mut offsets = vec![0; n + 1];
        for (a, b, _) in edges.clone() {
            offsets[a as usize + 1] += 1;
            offsets[b as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut ends = vec![0; offsets[n]];
        let mut weights = vec![0.0; offsets[n]];
        // First the lower ends, then the higher ones, so that rows are ascending.
        for lower in [true, false] {
            for (a, b, weight) in edges.clone() {
                let (row, end) = if lower { (b, a) } else { (a, b) };
                ends[next[row as usize]] = end;
                weights[next[row as usize]] = weight;
                next[row as usize] += 1;
            }
        }
        Self {
            offsets,
            ends,
            weights,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn row(&self, i: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.offsets[i]..self.offsets[i + 1];
        self.ends[range.clone()]
            .iter()
            .map(|&j| j as usize)
            .zip(self.weights[range].iter().copied())
    }
}
