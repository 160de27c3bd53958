//! Fills long tables in parallel at their first use, while other threads wait.

/// Calls `write` for each block of `step` numbers, with its index, on as many threads as rayon's
/// current pool has.
///
/// Not on the pool's threads, which may all be blocked by searches that wait for the table.
pub(crate) fn fill<T: Send>(table: &mut [T], step: usize, write: impl Fn(usize, &mut [T]) + Sync) {
    /// Least numbers per thread.
    const FEW: usize = 1 << 16;
    let blocks = table.len() / step.max(1);
    let threads = rayon::current_num_threads().min(table.len() / FEW).max(1);
    let each = blocks.div_ceil(threads).max(1);
    let write_part = |part: usize, table: &mut [T]| {
        for (at, block) in table.chunks_exact_mut(step.max(1)).enumerate() {
            write(part * each + at, block);
        }
    };
    if threads == 1 {
        return write_part(0, table);
    }
    std::thread::scope(|scope| {
        for (part, table) in table.chunks_mut(each * step).enumerate() {
            scope.spawn(move || write_part(part, table));
        }
    });
}
