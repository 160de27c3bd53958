//! f32 buffers whose first value lies on a cache line, and one compilation of a kernel per instruction set.

#![allow(unsafe_code, reason = "a slice of cache lines seen as a slice of f32")]

/// A cache line of floats.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([f32; 16]);

/// Zeroed f32 values, aligned to 64 bytes.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// At least `len` zeros.
    pub(super) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); len.div_ceil(16)] }
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` and holds nothing but 16 floats: 64 bytes, aligned to 64.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), 16 * self.lines.len()) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 16 * self.lines.len()) }
    }
}

/// Defines `unsafe fn name(isa, …)` that runs `generic::<S>(…)`, compiled with the features of each instruction
/// set.
macro_rules! per_isa {
    ($(#[$doc:meta])* $name:ident => $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `isa.is_available()`, and the arguments keep the promises of the generic function.
        #[allow(clippy::too_many_arguments, reason = "the generic kernel's own arguments")]
        pub(super) unsafe fn $name(isa: crate::encoder::conv::Isa, $($arg: $ty),*) {
            use crate::encoder::conv::{Isa, simd};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { $generic::<simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $generic::<simd::Avx2>($($arg),*) }
            }
            // SAFETY: the caller checked that the processor has `isa`.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => $generic::<simd::Neon>($($arg),*),
                    _ => $generic::<simd::Portable>($($arg),*),
                }
            }
        }
    };
}
pub(super) use per_isa;

/// Floats in a register of `isa`.
pub(super) fn lanes(isa: crate::encoder::conv::Isa) -> usize {
    use crate::encoder::conv::Isa;
    match isa {
        Isa::Avx512 => 16,
        Isa::Avx2 => 8,
        Isa::Neon | Isa::Portable => 4,
    }
}
