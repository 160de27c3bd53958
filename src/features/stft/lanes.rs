//! A few `f64` at a time: the arithmetic that the transform is written in.
//!
//! Every instruction set does the same operations on each number, in the same order; AVX2 and AVX-512 give the same
//! bits, and the portable lanes differ only by not fusing multiply and add.
#![allow(unsafe_code)]
// What is not inlined into the functions that enable vector instructions would run without them.
#![allow(clippy::inline_always)]

/// Consecutive numbers that are computed together.
///
/// # Safety
/// Methods of the x86 types may only run where the CPU has the features, and must be inlined into a function that
/// enables them; pointers must be valid for [`N`](Self::N) numbers.
pub(super) trait Lanes: Copy {
    /// How many.
    const N: usize;
    unsafe fn load(from: *const f64) -> Self;
    /// `N` numbers of 32 bits, widened.
    unsafe fn widen(from: *const f32) -> Self;
    unsafe fn splat(x: f64) -> Self;
    unsafe fn store(self, to: *mut f64);
    /// Rounds to 32 bits.
    unsafe fn narrow(self, to: *mut f32);
    /// Rounds to 32 bits, then takes the square root.
    unsafe fn narrow_root(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · a + b`
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    /// `self · a - b`
    unsafe fn mul_sub(self, a: Self, b: Self) -> Self;
    /// Last number first.
    unsafe fn reverse(self) -> Self;
    /// Transposes the `N × N` matrix at `from` (rows `from_stride` apart) to `to` (rows `to_stride` apart).
    unsafe fn transpose(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize);
    /// As `transpose`, from 32 bits.
    unsafe fn transpose_widening(from: *const f32, from_stride: usize, to: *mut f64, to_stride: usize);
}

/// Two numbers of an array; compiles to whatever vectors the target always has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f64; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

// SAFETY (all methods): plain reads and writes of N numbers at pointers that the caller vouches for.
impl Lanes for Portable {
    const N: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(unsafe { from.cast::<[f64; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn widen(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() }.map(f64::from))
    }
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self([x; 4])
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { to.cast::<[f64; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn narrow(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0.map(|x| x as f32)) }
    }
    #[inline(always)]
    unsafe fn narrow_root(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0.map(|x| (x as f32).sqrt())) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        self.zip(a, |x, y| x * y).zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn mul_sub(self, a: Self, b: Self) -> Self {
        self.zip(a, |x, y| x * y).zip(b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn reverse(self) -> Self {
        let [a, b, c, d] = self.0;
        Self([d, c, b, a])
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        for row in 0..Self::N {
            for column in 0..Self::N {
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_widening(from: *const f32, from_stride: usize, to: *mut f64, to_stride: usize) {
        for row in 0..Self::N {
            for column in 0..Self::N {
                unsafe {
                    *to.add(column * to_stride + row) = f64::from(*from.add(row * from_stride + column));
                };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256d, __m512d, _mm_loadu_ps, _mm_sqrt_ps, _mm_storeu_ps, _mm256_add_pd, _mm256_cvtpd_ps,
        _mm256_cvtps_pd, _mm256_fmadd_pd, _mm256_fmsub_pd, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_mul_pd,
        _mm256_permute2f128_pd, _mm256_permute4x64_pd, _mm256_set1_pd, _mm256_sqrt_ps, _mm256_storeu_pd,
        _mm256_storeu_ps, _mm256_sub_pd, _mm256_unpackhi_pd, _mm256_unpacklo_pd, _mm512_add_pd,
        _mm512_cvtpd_ps, _mm512_cvtps_pd, _mm512_fmadd_pd, _mm512_fmsub_pd, _mm512_loadu_pd, _mm512_mul_pd,
        _mm512_permutexvar_pd, _mm512_set_epi64, _mm512_set1_pd, _mm512_shuffle_f64x2, _mm512_storeu_pd,
        _mm512_sub_pd, _mm512_unpackhi_pd, _mm512_unpacklo_pd,
    };

    use super::Lanes;

    /// Four numbers; needs `avx2` and `fma`.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256d);

    /// Eight numbers; needs `avx512f`.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512d);

    impl Avx2 {
        /// SAFETY: as the trait's.
        #[inline(always)]
        unsafe fn transpose_rows(rows: [__m256d; 4], to: *mut f64, stride: usize) {
            unsafe {
                let [a, b, c, d] = rows;
                let (ab0, ab1) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
                let (cd0, cd1) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
                _mm256_storeu_pd(to, _mm256_permute2f128_pd::<0x20>(ab0, cd0));
                _mm256_storeu_pd(to.add(stride), _mm256_permute2f128_pd::<0x20>(ab1, cd1));
                _mm256_storeu_pd(to.add(2 * stride), _mm256_permute2f128_pd::<0x31>(ab0, cd0));
                _mm256_storeu_pd(to.add(3 * stride), _mm256_permute2f128_pd::<0x31>(ab1, cd1));
            }
        }
    }

    // SAFETY (all methods): the trait's contract: the CPU has the features, pointers are valid for N numbers.
    impl Lanes for Avx2 {
        const N: usize = 4;
        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            Self(unsafe { _mm256_loadu_pd(from) })
        }
        #[inline(always)]
        unsafe fn widen(from: *const f32) -> Self {
            Self(unsafe { _mm256_cvtps_pd(_mm_loadu_ps(from)) })
        }
        #[inline(always)]
        unsafe fn splat(x: f64) -> Self {
            Self(unsafe { _mm256_set1_pd(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { _mm256_storeu_pd(to, self.0) }
        }
        #[inline(always)]
        unsafe fn narrow(self, to: *mut f32) {
            unsafe { _mm_storeu_ps(to, _mm256_cvtpd_ps(self.0)) }
        }
        #[inline(always)]
        unsafe fn narrow_root(self, to: *mut f32) {
            unsafe { _mm_storeu_ps(to, _mm_sqrt_ps(_mm256_cvtpd_ps(self.0))) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_pd(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul_sub(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmsub_pd(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn reverse(self) -> Self {
            Self(unsafe { _mm256_permute4x64_pd::<0b00_01_10_11>(self.0) })
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
            unsafe {
                let rows = [0, 1, 2, 3].map(|i| _mm256_loadu_pd(from.add(i * from_stride)));
                Self::transpose_rows(rows, to, to_stride);
            }
        }
        #[inline(always)]
        unsafe fn transpose_widening(from: *const f32, from_stride: usize, to: *mut f64, to_stride: usize) {
            unsafe {
                let rows = [0, 1, 2, 3].map(|i| _mm256_cvtps_pd(_mm_loadu_ps(from.add(i * from_stride))));
                Self::transpose_rows(rows, to, to_stride);
            }
        }
    }

    impl Avx512 {
        /// SAFETY: as the trait's.
        #[inline(always)]
        unsafe fn transpose_rows(rows: &[__m512d; 8], to: *mut f64, stride: usize) {
            unsafe {
                // Pairs of rows, then pairs of 128-bit parts, then pairs of 256-bit parts.
                let [a, b, c, d, e, f, g, h] = *rows;
                let (ab0, ab1) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
                let (cd0, cd1) = (_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
                let (ef0, ef1) = (_mm512_unpacklo_pd(e, f), _mm512_unpackhi_pd(e, f));
                let (gh0, gh1) = (_mm512_unpacklo_pd(g, h), _mm512_unpackhi_pd(g, h));
                // Columns 0 and 4, 2 and 6 of the even half; 1 and 5, 3 and 7 of the odd half.
                let p04 = _mm512_shuffle_f64x2::<0b10_00_10_00>(ab0, cd0);
                let p26 = _mm512_shuffle_f64x2::<0b11_01_11_01>(ab0, cd0);
                let q04 = _mm512_shuffle_f64x2::<0b10_00_10_00>(ef0, gh0);
                let q26 = _mm512_shuffle_f64x2::<0b11_01_11_01>(ef0, gh0);
                let p15 = _mm512_shuffle_f64x2::<0b10_00_10_00>(ab1, cd1);
                let p37 = _mm512_shuffle_f64x2::<0b11_01_11_01>(ab1, cd1);
                let q15 = _mm512_shuffle_f64x2::<0b10_00_10_00>(ef1, gh1);
                let q37 = _mm512_shuffle_f64x2::<0b11_01_11_01>(ef1, gh1);
                let put = |row: usize, x: __m512d| _mm512_storeu_pd(to.add(row * stride), x);
                put(0, _mm512_shuffle_f64x2::<0b10_00_10_00>(p04, q04));
                put(4, _mm512_shuffle_f64x2::<0b11_01_11_01>(p04, q04));
                put(2, _mm512_shuffle_f64x2::<0b10_00_10_00>(p26, q26));
                put(6, _mm512_shuffle_f64x2::<0b11_01_11_01>(p26, q26));
                put(1, _mm512_shuffle_f64x2::<0b10_00_10_00>(p15, q15));
                put(5, _mm512_shuffle_f64x2::<0b11_01_11_01>(p15, q15));
                put(3, _mm512_shuffle_f64x2::<0b10_00_10_00>(p37, q37));
                put(7, _mm512_shuffle_f64x2::<0b11_01_11_01>(p37, q37));
            }
        }
    }

    // SAFETY (all methods): the trait's contract: the CPU has the features, pointers are valid for N numbers.
    impl Lanes for Avx512 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            Self(unsafe { _mm512_loadu_pd(from) })
        }
        #[inline(always)]
        unsafe fn widen(from: *const f32) -> Self {
            Self(unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from)) })
        }
        #[inline(always)]
        unsafe fn splat(x: f64) -> Self {
            Self(unsafe { _mm512_set1_pd(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { _mm512_storeu_pd(to, self.0) }
        }
        #[inline(always)]
        unsafe fn narrow(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, _mm512_cvtpd_ps(self.0)) }
        }
        #[inline(always)]
        unsafe fn narrow_root(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, _mm256_sqrt_ps(_mm512_cvtpd_ps(self.0))) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_pd(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm512_fmadd_pd(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul_sub(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm512_fmsub_pd(self.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn reverse(self) -> Self {
            Self(unsafe { _mm512_permutexvar_pd(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), self.0) })
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
            unsafe {
                let rows = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| _mm512_loadu_pd(from.add(i * from_stride)));
                Self::transpose_rows(&rows, to, to_stride);
            }
        }
        #[inline(always)]
        unsafe fn transpose_widening(from: *const f32, from_stride: usize, to: *mut f64, to_stride: usize) {
            unsafe {
                let rows = [0, 1, 2, 3, 4, 5, 6, 7]
                    .map(|i| _mm512_cvtps_pd(_mm256_loadu_ps(from.add(i * from_stride))));
                Self::transpose_rows(&rows, to, to_stride);
            }
        }
    }
}
