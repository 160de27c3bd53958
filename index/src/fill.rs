//! Long tables that are made where they are first needed, while others wait for them.

/// Has `write` make each block of `step` numbers, by its place among them, on as many threads as
/// rayon's current pool has.
///
/// They are not the pool's threads: those may all be held by searches that wait for the table, and
/// none would be left to make it.
pub(crate) fn fill<T: Send>(table: &mut [T], step: usize, write: impl Fn(usize, &mut [T]) + Sync) {
    /// Numbers that are not worth another thread.
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
