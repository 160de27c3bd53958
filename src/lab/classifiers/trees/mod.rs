//! Decision trees: random forests and gradient boosting.

mod boost;
mod forest;

use super::{FittedClassifier, Tensors, Training, softmax};

pub use boost::{Boost, BoostSettings};
pub use forest::{Forest, ForestSettings};

/// In place of a column, marks a leaf.
const LEAF: u32 = u32::MAX;

/// A tree: node 0 is the root, and a node's children are adjacent and after it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tree {
    /// The column that is compared; [`LEAF`] in a leaf.
    column: Vec<u32>,
    /// Values up to here go to the left child.
    threshold: Vec<f32>,
    /// The left child, which the right one follows. In a leaf: its place among the values.
    left: Vec<u32>,
    values: Vec<f32>,
}

impl Tree {
    /// Adds a leaf, to be filled in or split by the caller.
    fn push(&mut self) -> usize {
        self.column.push(LEAF);
        self.threshold.push(0.0);
        self.left.push(0);
        self.column.len() - 1
    }

    fn fill(&mut self, node: usize, values: impl IntoIterator<Item = f32>) {
        self.left[node] = self.values.len() as u32;
        self.values.extend(values);
    }

    fn split(&mut self, node: usize, column: usize, threshold: f32) -> (usize, usize) {
        let left = self.push();
        let right = self.push();
        (self.column[node], self.threshold[node], self.left[node]) =
            (column as u32, threshold, left as u32);
        (left, right)
    }

    /// The numbers, so many, of the leaf of a row.
    fn leaf(&self, row: &[f32], width: usize) -> &[f32] {
        let mut node = 0;
        while self.column[node] != LEAF {
            // NaN compares false and goes left.
            let is_right = row[self.column[node] as usize] > self.threshold[node];
            node = self.left[node] as usize + usize::from(is_right);
        }
        &self.values[self.left[node] as usize..][..width]
    }

    /// Whether all indices are valid for so many columns and numbers of a leaf.
    fn is_sound(&self, columns: usize, width: usize) -> bool {
        let n = self.column.len();
        let is_node = |node: usize| {
            let left = self.left[node] as usize;
            match self.column[node] {
                LEAF => left + width <= self.values.len(),
                // Children come after their parent, so that there are no cycles.
                column => (column as usize) < columns && left > node && left + 1 < n,
            }
        };
        n > 0 && (0..n).all(is_node)
    }
}

/// Concatenated trees, with the numbers of nodes and values of each.
fn save(trees: &[Tree], out: &mut Tensors) {
    let sizes = trees.iter();
    let sizes = sizes.flat_map(|tree| [tree.column.len(), tree.values.len()]);
    out.put_indices("trees.sizes", sizes);
    let column = trees.iter().flat_map(|tree| &tree.column).copied();
    out.put("trees.column", column);
    let threshold = trees.iter().flat_map(|tree| &tree.threshold).copied();
    out.put("trees.threshold", threshold);
    let left = trees.iter().flat_map(|tree| &tree.left).copied();
    out.put("trees.left", left);
    let values = trees.iter().flat_map(|tree| &tree.values).copied();
    out.put("trees.values", values);
}

/// - `width`: numbers of a leaf
fn load(from: &Tensors, columns: usize, width: usize) -> Option<Vec<Tree>> {
    let column = from.get("trees.column")?;
    let threshold = from.singles("trees.threshold")?;
    let left = from.get("trees.left")?;
    let values = from.singles("trees.values")?;
    let indices = |values: &[f64]| values.iter().map(|value| *value as u32).collect();
    let sizes = from.indices("trees.sizes")?;
    let (mut node, mut value) = (0_usize, 0_usize);
    let mut trees = Vec::new();
    for &[nodes, count] in sizes.as_chunks::<2>().0 {
        // Sums of numbers of a damaged file may be too large.
        let [nodes_end, values_end] = [node.checked_add(nodes)?, value.checked_add(count)?];
        let range = node..nodes_end;
        let tree = Tree {
            column: indices(column.get(range.clone())?),
            threshold: threshold.get(range.clone())?.to_vec(),
            left: indices(left.get(range)?),
            values: values.get(value..values_end)?.to_vec(),
        };
        (node, value) = (nodes_end, values_end);
        trees.push(Some(tree).filter(|tree| tree.is_sound(columns, width))?);
    }
    Some(trees).filter(|trees| !trees.is_empty())
}
