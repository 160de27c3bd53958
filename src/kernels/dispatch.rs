//! Compiling a generic kernel for every instruction set, and choosing among them at run time.

/// Defines `pub(super) unsafe fn $name(isa, args…)` that runs `$generic::<S>` compiled for `isa`.
macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident => $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `isa.is_available()`, and every pointer in the arguments is valid for the extents they state.
        #[allow(clippy::too_many_arguments, reason = "the generic kernel's own arguments")]
        pub(super) unsafe fn $name(isa: $crate::kernels::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the features are enabled here; the pointers are the caller's duty.
                unsafe { $generic::<$crate::kernels::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $generic::<$crate::kernels::simd::Avx2>($($arg),*) }
            }
            // SAFETY: the caller checked that the processor has `isa`.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    $crate::kernels::Isa::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::kernels::Isa::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    $crate::kernels::Isa::Neon => $generic::<$crate::kernels::simd::Neon>($($arg),*),
                    _ => $generic::<$crate::kernels::simd::Portable>($($arg),*),
                }
            }
        }
    };
}

pub(super) use dispatch;

/// As `dispatch!`, for kernels that exist only where [`super::Precision::Bf16`] is available.
macro_rules! dispatch_half {
    ($(#[$doc:meta])* $name:ident => $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `Precision::Bf16.is_available(Isa::Avx512)`, and every pointer is valid for the extents stated.
        pub(super) unsafe fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the features are enabled here; the pointers are the caller's duty.
                unsafe { $generic::<$crate::kernels::simd::Avx512, true>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller checked that the processor has these features.
            unsafe {
                avx512($($arg),*);
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = ($($arg),*);
        }
    };
}
pub(super) use dispatch_half;
