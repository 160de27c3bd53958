//! Zeroed, page-aligned f32 buffers that ask the kernel for huge pages and only ever grow.

#![allow(unsafe_code, reason = "f32 views of an anonymous mapping, and pointers shared by disjoint tasks")]
#![allow(clippy::cast_ptr_alignment, reason = "mappings are page aligned")]

use memmap2::MmapMut;

/// A buffer of f32, zero when it is made.
#[derive(Debug, Default)]
pub(super) struct Buf {
    map: Option<MmapMut>,
    /// Floats before the first used one (aligns it to a huge page), and used floats.
    start: usize,
    len: usize,
}

/// A huge page of x86-64 and most `AArch64` systems.
const HUGE: usize = 1 << 21;

impl Buf {
    /// A buffer of `len` zeros.
    pub(super) fn zeroed(len: usize) -> Self {
        let mut buf = Self::default();
        buf.reserve(len);
        buf
    }

    /// Makes room for `len` floats. When it must grow, the old contents are lost and all is zero.
    /// Returns whether it grew.
    pub(super) fn reserve(&mut self, len: usize) -> bool {
        if len <= self.len {
            return false;
        }
        self.map = None;
        // Rounded up so that a buffer which grows a little at a time is not mapped anew each time.
        let huge = len * 4 > HUGE / 4;
        let bytes = (len * 4).next_multiple_of(if huge { HUGE } else { 1 << 12 });
        let map = MmapMut::map_anon(bytes + if huge { HUGE } else { 0 })
            .expect("the system has memory for the network's activations");
        #[cfg(target_os = "linux")]
        if huge {
            // Only a hint: without huge pages all works, a little slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        self.start = if huge { map.as_ptr().align_offset(HUGE) / 4 } else { 0 };
        self.len = bytes / 4;
        self.map = Some(map);
        true
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        match &self.map {
            // SAFETY: the mapping holds `start + len` initialised (zero or written) f32, page aligned.
            Some(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast::<f32>().add(self.start), self.len)
            },
            None => &[],
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        match &mut self.map {
            // SAFETY: as in `as_slice`, and `&mut self` makes the view unique.
            Some(map) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().cast::<f32>().add(self.start), self.len)
            },
            None => &mut [],
        }
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.as_slice().as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.as_mut_slice().as_mut_ptr()
    }
}

/// A pointer that tasks on several threads share; each writes its own part.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);

// SAFETY: `Shared` is only a pointer; whoever dereferences it keeps the tasks' parts disjoint.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer `offset` floats on. (A method, so that closures capture the whole struct.)
    #[inline(always)]
    pub(super) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller keeps `offset` within the buffer.
        unsafe { self.0.add(offset) }
    }
}
