//! Constants of files, and functions on them that every reader uses.

use crate::MAX_ELEMENTS;

/// A constant that is broadcast over an axis has at most this many numbers.
pub(super) const MAX_SPREAD: usize = 1 << 16;

/// A constant, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// Order of a kernel's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KernelLayout {
    /// Height, width, in, out.
    Hwio,
    /// Out, in, height, width.
    Oihw,
}

/// `[h, w, in, out]` to `[out, in, h, w]`, for 3 × 3.
pub(super) fn to_oihw(values: &[f32], input: usize, output: usize) -> Vec<f32> {
    let mut moved = Vec::with_capacity(values.len());
    for o in 0..output {
        for i in 0..input {
            moved.extend((0..9).map(|at| values[(at * input + i) * output + o]));
        }
    }
    moved
}

/// Number of elements of a file's shape; `None` if it is more than any tensor may have.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    // Each axis too: with an axis of 0 any other length would pass, and loops run over it.
    shape
        .iter()
        .try_fold(1usize, |n, &axis| n.checked_mul(axis))
        .filter(|&n| n <= MAX_ELEMENTS && shape.iter().all(|&axis| axis <= MAX_ELEMENTS))
}

/// A name, shortened for a message.
pub(super) fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_no_longer_axis_than_a_tensor_has_numbers() {
        assert_eq!(elements(&[3, 0, 2]), Some(0));
        assert_eq!(elements(&[MAX_ELEMENTS]), Some(MAX_ELEMENTS));
        for shape in [
            [MAX_ELEMENTS + 1, 1],
            [0, MAX_ELEMENTS + 1],
            [usize::MAX, 2],
        ] {
            assert_eq!(elements(&shape), None, "{shape:?}");
        }
    }
}
