//! How much free memory the system's allocator keeps. Only glibc's is set: other allocators have
//! settings of their own.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
    fn malloc_trim(kept: usize) -> std::ffi::c_int;
}

/// Blocks from this length on, in bytes, go back to the system as soon as they are free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: std::ffi::c_int = 256 << 10;

/// Returns large blocks to the system as soon as they are free, for a process that runs for long.
/// Left alone, the allocator raises its bound to 32 MiB as such blocks come and go, and keeps the
/// smaller ones.
pub fn give_back_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// glibc's `M_MMAP_THRESHOLD`.
        const MMAP_THRESHOLD: std::ffi::c_int = -3;
        // SAFETY: it sets one number, under a lock of its own; blocks that are there stay as they
        // are.
        unsafe { mallopt(MMAP_THRESHOLD, LARGE) };
    }
}

/// Gives back what is free now, between blocks that are in use too. Takes some milliseconds.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and touches no block that is in use.
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
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .unwrap();
            1024 * line
                .trim()
                .trim_end_matches(" kB")
                .parse::<usize>()
                .unwrap()
        };
        // The threshold is set before anything is allocated: it decides where a new block lies, not
        // where an old one is kept.
        give_back_large_blocks();
        let kept: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 1 << 20]).collect();
        let small: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1 << 10]).collect();
        // One block in a hundred stays, so that the heap cannot shrink from its end.
        let small: Vec<Vec<u8>> = small.into_iter().step_by(100).collect();
        let full = resident();
        drop(kept);
        let without_large = resident();
        assert!(without_large + (100 << 20) < full, "{full} {without_large}");
        give_back();
        assert!(
            resident() + (30 << 20) < without_large,
            "{without_large} {}",
            resident()
        );
        assert_eq!(small.len(), 1000);
    }
}
