//! Aligned memory for the kernels: buffers, views that several threads write, and files mapped into
//! memory.

#![allow(clippy::cast_ptr_alignment, reason = "mappings are page aligned")]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;

use memmap2::{Mmap, MmapMut};

#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([f32; 16]);

/// A huge page of x86-64 and most `AArch64` systems, in bytes.
const HUGE: usize = 1 << 21;

/// Buffers from this many bytes on are mapped.
const MAPPED: usize = HUGE / 4;

/// f32 values, initially zero, aligned to a cache line. Large buffers are mappings that request
/// huge pages. A buffer never shrinks.
#[derive(Debug)]
pub struct Buffer(Backing);

#[derive(Debug)]
enum Backing {
    Lines(Vec<Line>),
    /// Floats before the first used one, which is aligned to a huge page, and used floats.
    Mapped {
        map: MmapMut,
        start: usize,
        len: usize,
    },
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Backing::Lines(Vec::new()))
    }
}

impl Buffer {
    /// At least `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let bytes = 4 * len;
        if bytes <= MAPPED {
            return Self(Backing::Lines(vec![Line([0.0; 16]); len.div_ceil(16)]));
        }
        // Rounded up so that a buffer that grows in small steps is not remapped each time.
        let bytes = bytes.next_multiple_of(HUGE);
        // `mmap` aligns to a page of 4 KiB only, so one huge page more leaves room to begin at the
        // next huge page's boundary.
        let map = MmapMut::map_anon(bytes + HUGE)
            .expect("the system has memory for the network's activations");
        #[cfg(target_os = "linux")]
        // Only a hint: without huge pages it is a little slower.
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr().align_offset(HUGE) / 4;
        Self(Backing::Mapped {
            map,
            start,
            len: bytes / 4,
        })
    }

    /// Makes room for `len` floats. If it must grow, the contents become zero.
    pub fn reserve(&mut self, len: usize) {
        if len > self.as_slice().len() {
            // The old memory is freed first, so that both never exist at once.
            *self = Self::default();
            *self = Self::zeroed(len);
        }
    }

    pub fn as_slice(&self) -> &[f32] {
        let (start, len) = match &self.0 {
            Backing::Lines(lines) => (lines.as_ptr().cast(), 16 * lines.len()),
            Backing::Mapped { map, start, len } => {
                (map.as_ptr().cast::<f32>().wrapping_add(*start), *len)
            }
        };
        // SAFETY: `Line` is `repr(C)` and nothing but 16 floats; a mapping is page aligned, holds
        // `start + len` floats, and any bytes are floats.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let (start, len) = match &mut self.0 {
            Backing::Lines(lines) => (lines.as_mut_ptr().cast(), 16 * lines.len()),
            Backing::Mapped { map, start, len } => {
                (map.as_mut_ptr().cast::<f32>().wrapping_add(*start), *len)
            }
        };
        // SAFETY: as in `as_slice`, and `&mut self` makes the view unique.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// All of it, for several threads.
    pub fn share(&mut self) -> SharedSlice<'_> {
        SharedSlice::new(self.as_mut_slice())
    }
}

/// A slice that several tasks write, each in its own range.
#[derive(Clone, Copy)]
pub struct SharedSlice<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a pointer and a length; callers of `slice_mut` keep the tasks' ranges apart.
unsafe impl Send for SharedSlice<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedSlice<'_> {}

impl<'a> SharedSlice<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    #[expect(
        clippy::len_without_is_empty,
        reason = "kernels compare extents with it"
    )]
    pub fn len(self) -> usize {
        self.len
    }

    /// The floats after the first `offset`.
    #[must_use]
    #[inline]
    pub fn skip(self, offset: usize) -> Self {
        assert!(
            offset <= self.len,
            "{offset} floats into a buffer of {}",
            self.len
        );
        Self {
            start: self.start.wrapping_add(offset),
            len: self.len - offset,
            slice: PhantomData,
        }
    }

    #[inline]
    pub fn as_mut_ptr(self) -> *mut f32 {
        self.start
    }

    /// The floats of `range`.
    ///
    /// # Safety
    /// While the slice is in use, nothing else reads or writes these floats.
    #[inline]
    pub unsafe fn slice_mut(self, range: Range<usize>) -> &'a mut [f32] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} of {} floats",
            self.len
        );
        // SAFETY: inside the slice that this came from, whose borrow lasts; apart from others as
        // the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Maps a file that is only ever replaced, not modified: all mapped files of voisin are written
/// under another name and renamed.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: renaming another file over it does not change the mapped file. A program that
    // truncated or changed it in place could fault this process, as with any mapping.
    unsafe { Mmap::map(file) }
}

/// Makes the process end with a message and exit code 1 if it reads a missing part of a mapped file,
/// because another program truncated the file or its disk failed. Only for Linux.
pub fn explain_cut_files() {
    #[cfg(target_os = "linux")]
    {
        let action = libc::sigaction {
            sa_sigaction: end_for_cut_file as extern "C" fn(libc::c_int) as libc::sighandler_t,
            // SAFETY: a set of no signals is all zeros, and so is what the kernel fills in.
            ..unsafe { std::mem::zeroed() }
        };
        // SAFETY: the handler calls nothing but `write` and `_exit`, which handlers may call.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    }
}

#[cfg(target_os = "linux")]
extern "C" fn end_for_cut_file(_: libc::c_int) {
    const WHY: &str = "voisin: another program has cut a file that was in use, or its disk failed: \
                       run the command again (an index that was cut is built anew)\n";
    // SAFETY: both are async-signal-safe, and the bytes are static.
    unsafe {
        libc::write(libc::STDERR_FILENO, WHY.as_ptr().cast(), WHY.len());
        libc::_exit(1)
    }
}

/// Reads a file into memory, so that later changes of the file have no effect, and the file can be
/// replaced.
pub fn read_file(file: &File) -> io::Result<Mmap> {
    copy(
        file,
        usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?,
    )
}

/// Reads the next `length` bytes into memory.
pub fn copy(mut from: impl io::Read, length: usize) -> io::Result<Mmap> {
    let mut map = MmapMut::map_anon(length.max(1))?;
    #[cfg(target_os = "linux")]
    // Only a hint: without huge pages it is a little slower.
    let _ = map.advise(memmap2::Advice::HugePage);
    from.read_exact(&mut map[..length])?;
    map.make_read_only()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_aligned_and_grow() {
        let mut buffer = Buffer::default();
        assert!(buffer.as_slice().is_empty());
        for len in [1, 17, MAPPED / 4, MAPPED / 4 + 1, 3 * HUGE / 4 + 5] {
            buffer.reserve(len);
            assert!(buffer.as_slice().len() >= len && buffer.as_slice().iter().all(|x| *x == 0.0));
            assert_eq!(buffer.as_slice().as_ptr().align_offset(64), 0);
            buffer.as_mut_slice().fill(1.0);
        }
    }

    #[test]
    fn a_file_is_the_same_mapped_and_read() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..20_000).map(|i| i as u8).collect();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(map_file(&file).unwrap()[..], bytes);
        assert_eq!(read_file(&file).unwrap()[..], bytes);
        assert_eq!(copy(&bytes[..], 500).unwrap()[..], bytes[..500]);
    }

    /// In a process of its own, as the signal would end the tests.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_mapped_file_that_is_cut_ends_with_a_sentence() {
        const CHILD: &str = "VOISIN_TEST_CUT_FILE";
        if std::env::var_os(CHILD).is_some() {
            let file = tempfile::tempfile().unwrap();
            file.set_len(1 << 20).unwrap();
            explain_cut_files();
            let map = map_file(&file).unwrap();
            file.set_len(0).unwrap();
            println!("{}", map[1 << 19]);
            return;
        }
        let name = "buffer::tests::a_mapped_file_that_is_cut_ends_with_a_sentence";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let why = String::from_utf8(child.stderr).unwrap();
        assert_eq!(child.status.code(), Some(1), "{why}");
        assert!(
            why.ends_with("(an index that was cut is built anew)\n"),
            "{why}"
        );
    }
}
