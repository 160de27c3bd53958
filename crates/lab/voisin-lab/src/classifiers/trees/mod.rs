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
    /// The left child, which the right one follows. In a leaf: the number of its value.
    left: Vec<u32>,
}

impl Tree {
    /// Adds a leaf, to be filled in or split by the caller.
    fn push(&mut self) -> usize {
        self.column.push(LEAF);
        self.threshold.push(0.0);
        self.left.push(0);
        self.column.len() - 1
    }

    fn split(&mut self, node: usize, column: usize, threshold: f32) -> (usize, usize) {
        let left = self.push();
        let right = self.push();
        (self.column[node], self.threshold[node], self.left[node]) =
            (column as u32, threshold, left as u32);
        (left, right)
    }

    /// The number of the value for a row.
    fn value(&self, row: &[f32]) -> usize {
        let mut node = 0;
        while self.column[node] != LEAF {
            // NaN compares false and goes left.
            let is_right = row[self.column[node] as usize] > self.threshold[node];
            node = self.left[node] as usize + usize::from(is_right);
        }
        self.left[node] as usize
    }

    /// Whether all indices are valid for so many columns and values.
    fn is_sound(&self, columns: usize, values: usize) -> bool {
        let n = self.column.len();
        n > 0
            && (0..n).all(|node| {
                let left = self.left[node] as usize;
                match self.column[node] {
                    LEAF => left < values,
                    // Children come after their parent, so that there are no cycles.
                    column => (column as usize) < columns && left > node && left + 1 < n,
                }
            })
    }
}

/// Concatenated trees; their lengths are in `NAME.sizes`.
fn save(trees: &[Tree], name: &str, out: &mut Tensors) {
    out.put_u32(
        &format!("{name}.sizes"),
        trees.iter().map(|tree| tree.column.len() as u32).collect(),
    );
    out.put_u32(
        &format!("{name}.column"),
        trees.iter().flat_map(|tree| tree.column.clone()).collect(),
    );
    out.put_f32(
        &format!("{name}.threshold"),
        trees
            .iter()
            .flat_map(|tree| tree.threshold.clone())
            .collect(),
    );
    out.put_u32(
        &format!("{name}.left"),
        trees.iter().flat_map(|tree| tree.left.clone()).collect(),
    );
}

fn load(from: &Tensors, name: &str) -> Option<Vec<Tree>> {
    let column = from.u32(&format!("{name}.column"))?;
    let threshold = from.f32(&format!("{name}.threshold"))?;
    let left = from.u32(&format!("{name}.left"))?;
    let mut at = 0;
    let sizes = from.u32(&format!("{name}.sizes"))?;
    let trees: Option<Vec<Tree>> = sizes
        .iter()
        .map(|&size| {
            let range = at..at + size as usize;
            at = range.end;
            Some(Tree {
                column: column.get(range.clone())?.to_vec(),
                threshold: threshold.get(range.clone())?.to_vec(),
                left: left.get(range)?.to_vec(),
            })
        })
        .collect();
    // The sizes have to cover all nodes.
    trees.filter(|_| at == column.len())
}
