//! Plain Rust compiled for every instruction set.

use crate::Isa;

/// A computation that [`vectorised`] compiles for every instruction set.
pub trait Work {
    type Output;
    /// Runs it; implementations, and functions called in their loops, must be `inline(always)`.
    fn run(self) -> Self::Output;
}

/// Runs plain Rust's `work`, compiled for `isa`, so that the compiler vectorises its loops.
pub fn vectorised<W: Work>(isa: Isa, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    use crate::isa::Set;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512<W: Work>(work: W) -> W::Output {
        work.run()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<W: Work>(work: W) -> W::Output {
        work.run()
    }
    match isa.set() {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 { .. } => {
            // SAFETY: an `Isa` is only made for what the processor has.
            unsafe { avx512(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => {
            // SAFETY: as above.
            unsafe { avx2(work) }
        }
        _ => work.run(),
    }
}
