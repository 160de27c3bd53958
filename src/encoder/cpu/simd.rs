//! One small vector trait, so that one kernel source is compiled for every instruction set.
//!
//! A value of a type that implements [`Simd`] proves that the processor has its instruction set:
//! only [`dispatch!`] makes one, from an [`Isa`](voisin_simd::Isa). So arithmetic is safe; loads and
//! stores are not, because they take pointers. Every method is `inline(always)` and must be reached
//! from a function compiled with the matching target features, or it runs, but slowly.

pub(super) trait Simd: Copy + 'static {
    type V: Copy;
    const LANES: usize;
    /// Tiles that one microkernel call covers at most (accumulators = `MR` × `NV`).
    const MR: usize;
    /// Registers side by side in a microkernel's panel of output channels.
    const NV: usize = 2;
    /// # Safety
    /// The processor has the instruction set and those that [`dispatch!`] enables with it.
    unsafe fn assume() -> Self;
    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` is valid for reads of `LANES` floats; no alignment is needed.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is valid for writes of `LANES` floats; no alignment is needed.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a·b
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Prefetches the cache line at `p` (which need not exist) into the second-level cache.
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which every x86-64 has and which does not access memory.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(p.cast());
        }
    }
}

/// The methods that are intrinsics, for a type that proves that the processor has them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! intrinsics {
    (load($p:ident) $load:expr; store($to:ident, $value:ident) $store:expr;
        $($name:ident($($arg:ident: $ty:ty),*) $result:expr;)*) => {
        #[inline(always)]
        unsafe fn assume() -> Self {
            Self(())
        }
        #[inline(always)]
        unsafe fn load(self, $p: *const f32) -> Self::V {
            // SAFETY: the pointer is the caller's duty; `self` proves that the instructions exist.
            unsafe { $load }
        }
        #[inline(always)]
        unsafe fn store(self, $to: *mut f32, $value: Self::V) {
            // SAFETY: as in `load`.
            unsafe { $store }
        }
        $(#[inline(always)]
        fn $name(self, $($arg: $ty),*) -> Self::V {
            // SAFETY: `self` proves that the instructions exist.
            unsafe { $result }
        })*
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "intrinsics name themselves")]
    use std::arch::x86_64::*;

    use super::Simd;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(());

    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        const MR: usize = 14;
        intrinsics! {
            load(p) _mm512_loadu_ps(p);
            store(p, v) _mm512_storeu_ps(p, v);
            splat(x: f32) _mm512_set1_ps(x);
            add(a: __m512, b: __m512) _mm512_add_ps(a, b);
            sub(a: __m512, b: __m512) _mm512_sub_ps(a, b);
            mul(a: __m512, b: __m512) _mm512_mul_ps(a, b);
            max(a: __m512, b: __m512) _mm512_max_ps(a, b);
            fma(a: __m512, b: __m512, c: __m512) _mm512_fmadd_ps(a, b, c);
            fnma(a: __m512, b: __m512, c: __m512) _mm512_fnmadd_ps(a, b, c);
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(());

    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        const MR: usize = 6;
        intrinsics! {
            load(p) _mm256_loadu_ps(p);
            store(p, v) _mm256_storeu_ps(p, v);
            splat(x: f32) _mm256_set1_ps(x);
            add(a: __m256, b: __m256) _mm256_add_ps(a, b);
            sub(a: __m256, b: __m256) _mm256_sub_ps(a, b);
            mul(a: __m256, b: __m256) _mm256_mul_ps(a, b);
            max(a: __m256, b: __m256) _mm256_max_ps(a, b);
            fma(a: __m256, b: __m256, c: __m256) _mm256_fmadd_ps(a, b, c);
            fnma(a: __m256, b: __m256, c: __m256) _mm256_fnmadd_ps(a, b, c);
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    #[allow(clippy::wildcard_imports, reason = "intrinsics name themselves")]
    use std::arch::aarch64::*;

    use super::Simd;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Neon(());

    impl Simd for Neon {
        type V = float32x4_t;
        const LANES: usize = 4;
        const MR: usize = 12;
        intrinsics! {
            load(p) vld1q_f32(p);
            store(p, v) vst1q_f32(p, v);
            splat(x: f32) vdupq_n_f32(x);
            add(a: float32x4_t, b: float32x4_t) vaddq_f32(a, b);
            sub(a: float32x4_t, b: float32x4_t) vsubq_f32(a, b);
            mul(a: float32x4_t, b: float32x4_t) vmulq_f32(a, b);
            max(a: float32x4_t, b: float32x4_t) vmaxq_f32(a, b);
            fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) vfmaq_f32(c, a, b);
            fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) vfmsq_f32(c, a, b);
        }
    }
}
#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

/// Defines `pub(super) unsafe fn $name(isa, args…)`, which runs the function `$generic(simd,
/// args…)` compiled for `isa`.
macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident => $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the generic function that it runs.
        #[allow(clippy::too_many_arguments, reason = "the generic kernel's own arguments")]
        pub(super) unsafe fn $name(isa: voisin_simd::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: these features are enabled here, so the caller detected them; the
                // rest is passed on.
                unsafe { $generic(<$crate::cpu::simd::Avx512 as $crate::cpu::simd::Simd>::assume(), $($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $generic(<$crate::cpu::simd::Avx2 as $crate::cpu::simd::Simd>::assume(), $($arg),*) }
            }
            // SAFETY: an `Isa` is only made for what the processor has; the rest is passed on.
            unsafe {
                match isa.set() {
                    #[cfg(target_arch = "x86_64")]
                    voisin_simd::isa::Set::Avx512 { .. } => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    voisin_simd::isa::Set::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    voisin_simd::isa::Set::Neon => $generic(<$crate::cpu::simd::Neon as $crate::cpu::simd::Simd>::assume(), $($arg),*),
                    voisin_simd::isa::Set::Portable => unreachable!("kernels need vector instructions"),
                }
            }
        }
    };
}
pub(super) use dispatch;
