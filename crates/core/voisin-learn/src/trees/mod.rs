//! Trees of decisions: forests of them, and sums of small ones.

mod boost;
mod forest;

use super::Tensors;

pub use boost::{Boost, BoostSettings};
pub use forest::{Forest, ForestSettings};

/// In place of a column: this node is a leaf.
const LEAF: u32 = u32::MAX;

/// A tree: node 0 is the root, and a node's children lie side by side behind it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tree {
    /// The column that is compared; [`LEAF`] in a leaf.
    column: Vec<u32>,
    /// Values up to here go to the left child.
    threshold: Vec<f32>,
    /// The left child; the right one follows it. In a leaf: which of the tree's values it has.
    left: Vec<u32>,
}

impl Tree {
    /// A new leaf, for whoever will fill it in or split it.
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

    /// The value that a row ends at.
    fn value(&self, row: &[f32]) -> usize {
        let mut node = 0;
        while self.column[node] != LEAF {
            // NaN compares false and goes left, as every row has to end somewhere.
            let is_right = row[self.column[node] as usize] > self.threshold[node];
            node = self.left[node] as usize + usize::from(is_right);
        }
        self.left[node] as usize
    }

    /// Whether every way through it ends at one of `values`, comparing values of `columns`.
    fn is_sound(&self, columns: usize, values: usize) -> bool {
        let n = self.column.len();
        n > 0
            && (0..n).all(|node| {
                let left = self.left[node] as usize;
                match self.column[node] {
                    LEAF => left < values,
                    // Children lie behind their parent, so a walk cannot go in circles.
                    column => (column as usize) < columns && left > node && left + 1 < n,
                }
            })
    }
}

/// Trees side by side; the lengths of each in `NAME.sizes`.
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
    // Sizes that leave a rest belong to another file.
    trees.filter(|_| at == column.len())
}
