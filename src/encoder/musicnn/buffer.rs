//! f32 buffers whose first value lies on a cache line.

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

/// Floats in a register of `isa`.
pub(super) fn lanes(isa: crate::encoder::conv::Isa) -> usize {
    use crate::encoder::conv::Isa;
    match isa {
        Isa::Avx512 => 16,
        Isa::Avx2 => 8,
        Isa::Neon | Isa::Portable => 4,
    }
}
