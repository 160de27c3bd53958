//! One small vector trait, so that one kernel source is instantiated for every instruction set.
//!
//! Every method is `inline(always)` and must be reached only from a function compiled with the
//! matching target features (see `dispatch!` in [`super::kernels`]).

#![allow(unsafe_code, reason = "SIMD intrinsics; every caller is behind a run-time feature check")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all methods, stated at the trait")]

/// A vector of `LANES` f32.
///
/// # Safety
/// Methods may be called only when the processor has the instruction set; pointers must be valid
/// for `LANES` floats (no alignment needed).
pub(super) trait Simd: Copy + 'static {
    /// The vector register.
    type V: Copy;
    /// Floats in a register.
    const LANES: usize;
    /// Tiles that one microkernel call covers at most (accumulators = `MR` × `NV`).
    const MR: usize;
    /// Registers side by side in a microkernel's panel of output channels.
    const NV: usize = 2;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a·b
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Asks for the cache line at `p` (which need not exist) to be brought into the second-level cache.
    #[inline(always)]
    unsafe fn prefetch(_p: *const f32) {}
    /// Stores `v` rounded to bf16. Only where [`super::Precision::Bf16`] is available.
    #[inline(always)]
    unsafe fn store_half(_p: *mut u16, _v: Self::V) {
        unreachable!("bf16 kernels run only on processors that have them");
    }
    /// Pairs of bf16, `lo` and `hi` of each lane. Only where bf16 is available.
    #[inline(always)]
    unsafe fn pack2(_lo: Self::V, _hi: Self::V) -> Self::V {
        unreachable!("bf16 kernels run only on processors that have them");
    }
    /// a and b hold pairs of bf16: a₀·b₀ + a₁·b₁ + c. Only where bf16 is available.
    #[inline(always)]
    unsafe fn dot2(_a: Self::V, _b: Self::V, _c: Self::V) -> Self::V {
        unreachable!("bf16 kernels run only on processors that have them");
    }
    /// Lanes of `v` where `a > b`, else 0.
    unsafe fn keep_gt(a: Self::V, b: Self::V, v: Self::V) -> Self::V;
    /// Lanes of `v` where `a == b`, else `w`.
    unsafe fn select_eq(a: Self::V, b: Self::V, v: Self::V, w: Self::V) -> Self::V;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// 16 lanes, 32 registers.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512;

    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        const MR: usize = 14;
        #[inline(always)]
        unsafe fn prefetch(p: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fnmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn store_half(p: *mut u16, v: __m512) {
            unsafe {
                _mm256_storeu_si256(
                    p.cast(),
                    std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)),
                );
            }
        }
        #[inline(always)]
        unsafe fn pack2(lo: __m512, hi: __m512) -> __m512 {
            // SAFETY: registers of the same size; only their reading as numbers changes.
            unsafe {
                let lo = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(lo));
                let hi = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(hi));
                let hi = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(hi));
                _mm512_castsi512_ps(_mm512_or_si512(_mm512_cvtepu16_epi32(lo), hi))
            }
        }
        #[inline(always)]
        unsafe fn dot2(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: registers of 512 bits both; only their reading as numbers changes.
            unsafe {
                let (a, b) =
                    (std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b));
                _mm512_dpbf16_ps(c, a, b)
            }
        }
        #[inline(always)]
        unsafe fn keep_gt(a: __m512, b: __m512, v: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), v) }
        }
        #[inline(always)]
        unsafe fn select_eq(a: __m512, b: __m512, v: __m512, w: __m512) -> __m512 {
            unsafe { _mm512_mask_mov_ps(w, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), v) }
        }
    }

    /// 8 lanes, 16 registers.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2;

    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        const MR: usize = 6;
        #[inline(always)]
        unsafe fn prefetch(p: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fnmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn keep_gt(a: __m256, b: __m256, v: __m256) -> __m256 {
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b), v) }
        }
        #[inline(always)]
        unsafe fn select_eq(a: __m256, b: __m256, v: __m256, w: __m256) -> __m256 {
            unsafe { _mm256_blendv_ps(w, v, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)) }
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::*;

    /// 4 lanes, 32 registers.
    #[derive(Clone, Copy)]
    pub(super) struct Neon;

    impl Simd for Neon {
        type V = float32x4_t;
        const LANES: usize = 4;
        const MR: usize = 12;
        #[inline(always)]
        unsafe fn splat(x: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> float32x4_t {
            unsafe { vld1q_f32(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: float32x4_t) {
            unsafe { vst1q_f32(p, v) }
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vsubq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vmaxq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmsq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn keep_gt(a: float32x4_t, b: float32x4_t, v: float32x4_t) -> float32x4_t {
            unsafe { vbslq_f32(vcgtq_f32(a, b), v, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn select_eq(a: float32x4_t, b: float32x4_t, v: float32x4_t, w: float32x4_t) -> float32x4_t {
            unsafe { vbslq_f32(vceqq_f32(a, b), v, w) }
        }
    }
}
#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

/// Four lanes of plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;
    const MR: usize = 5;
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        zip(c, zip(a, b, |x, y| x * y), |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn keep_gt(a: [f32; 4], b: [f32; 4], v: [f32; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        for i in 0..4 {
            if a[i] > b[i] {
                out[i] = v[i];
            }
        }
        out
    }
    #[inline(always)]
    unsafe fn select_eq(a: [f32; 4], b: [f32; 4], v: [f32; 4], w: [f32; 4]) -> [f32; 4] {
        let mut out = w;
        for i in 0..4 {
            if a[i] == b[i] {
                out[i] = v[i];
            }
        }
        out
    }
}
