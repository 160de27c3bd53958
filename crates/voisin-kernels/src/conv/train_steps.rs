//! Groups of windows of a training step.

/// Windows of layer `i` that go through its steps together, so that what one step writes is still in
/// cache when the next one reads it.
pub(super) fn chunk(i: usize) -> usize {
    match i {
        0 | 1 => 2,
        2 | 3 => 4,
        _ => 8,
    }
}

/// (first, count) of those groups of windows.
pub(super) fn chunks(i: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = chunk(i);
    (0..n).step_by(size).map(move |first| (first, size.min(n - first)))
}
