//! Limits the free memory that the system's allocator keeps. Only for glibc: other allocators have
//! other settings.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
    fn malloc_trim(kept: usize) -> std::ffi::c_int;
}

/// Least bytes of blocks that are returned to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: std::ffi::c_int = 256 << 10;

/// Returns large blocks to the system when they are freed, for a long-running process. By default
/// the allocator raises its threshold up to 32 MiB as such blocks are freed, and keeps smaller
/// ones.
pub fn give_back_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// glibc's `M_MMAP_THRESHOLD`.
        const MMAP_THRESHOLD: std::ffi::c_int = -3;
        // SAFETY: it sets one number, under its own lock; existing blocks are not changed.
        unsafe { mallopt(MMAP_THRESHOLD, LARGE) };
    }
}

/// Returns all free memory to the system, also between used blocks. Takes some milliseconds.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks and changes no used block.
    unsafe {
        malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn free_memory_goes_back() {
        // In bytes.
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
            1024 * kilobytes.parse::<usize>().unwrap()
        };
        // Set before any allocation: the threshold only applies to new blocks.
        give_back_large_blocks();
        let large: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 1 << 20]).collect();
        let full = resident();
        drop(large);
        assert!(resident() + (100 << 20) < full);
        // One small block in a hundred is kept, so that the heap cannot shrink from its end.
        let small: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1 << 10]).collect();
        let small: Vec<Vec<u8>> = small.into_iter().step_by(100).collect();
        let full = resident();
        give_back();
        assert!(resident() + (30 << 20) < full);
        assert_eq!(small.len(), 1000);
    }
}
