//! Chunks of WAV and AIFF files: finding them, and hiding and correcting what strict readers refuse.

use std::io::{self, Read, Seek};

use super::bytes::{MAX_ITEMS, Patches, big, bytes_at, damaged, little};

/// Bytes of a chunk's name and size.
const HEADER: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Iff {
    Wave,
    /// RF64, with sizes beyond 4 GB in a chunk of their own.
    LongWave,
    Aiff,
}

/// A chunk of a file, whose size may reach beyond it.
pub(crate) struct Chunk {
    pub(crate) name: [u8; 4],
    at: u64,
    pub(crate) size: u64,
}

impl Chunk {
    pub(crate) fn body(&self) -> u64 {
        self.at + HEADER
    }
}

impl Iff {
    /// - `head`: the first twelve bytes of a file
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match (head.get(..4)?, head.get(8..12)?) {
            (b"RIFF", b"WAVE") => Some(Self::Wave),
            (b"RF64" | b"BW64", b"WAVE") => Some(Self::LongWave),
            (b"FORM", b"AIFF" | b"AIFC") => Some(Self::Aiff),
            _ => None,
        }
    }

    /// The chunks of a file, at most [`MAX_ITEMS`].
    pub(crate) fn chunks(self, file: &mut (impl Read + Seek)) -> io::Result<Vec<Chunk>> {
        let mut found = Vec::new();
        let mut at = 12;
        while found.len() < MAX_ITEMS {
            let head = bytes_at(file, at, HEADER)?;
            let Some(&[a, b, c, d, ref size @ ..]) = head.first_chunk::<8>() else {
                break;
            };
            let size = match self {
                Self::Aiff => big(size),
                _ => little(size).into(),
            };
            let name = [a, b, c, d];
            found.push(Chunk { name, at, size });
            // Chunks begin at even positions.
            at += HEADER + size + (size & 1);
        }
        Ok(found)
    }

    /// The parts of a file of `length` bytes that a reader may see.
    pub(crate) fn repairs(self, file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
        let all = self.chunks(file)?;
        // Chunks that were not followed cannot be hidden.
        if all.len() == MAX_ITEMS {
            return Err(damaged(&format!("fewer than {MAX_ITEMS} chunks"), "more"));
        }
        match self {
            Self::Aiff => Ok(aiff(&all, length)),
            Self::Wave | Self::LongWave => self.wave(file, &all, length),
        }
    }

    /// Makes a WAV header agree with the file's bytes. Streaming writers leave sizes at 0 or 2^32 - 1, hostile files have
    /// any, RF64 has its sizes elsewhere. The outer size always counts as unknown; the sound, and with it the visible file,
    /// ends at its own size or at the file's, whichever is less.
    fn wave(
        self,
        file: &mut (impl Read + Seek),
        all: &[Chunk],
        length: u64,
    ) -> io::Result<Repairs> {
        let Some(place) = all.iter().position(|chunk| chunk.name == *b"data") else {
            return Ok(Repairs::hiding(all));
        };
        let before = &all[..place];
        let sound = &all[place];
        let sizes = before.iter().find(|chunk| chunk.name == *b"ds64");
        let mut found = Repairs::hiding(before);
        // RF64 becomes RIFF of unknown size, which Symphonia reads to the visible end.
        found.patches.push((0, b"RIFF".to_vec()));
        found.patches.push((4, vec![0xff; 4]));
        let there = length.saturating_sub(sound.body());
        let stated = match sizes.filter(|_| self == Self::LongWave) {
            // The size of the file comes first, that of the sound second.
            Some(sizes) if sound.size == u64::from(u32::MAX) => {
                let size = bytes_at(file, sizes.body() + 8, 8)?;
                size.try_into().map_or(there, u64::from_le_bytes)
            }
            _ if sound.size == 0 || sound.size == u64::from(u32::MAX) => there,
            _ => sound.size,
        };
        let size = stated.min(there);
        found.end = Some(sound.body() + size);
        let stated = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        found.patches.push((sound.at + 4, stated.to_vec()));
        Ok(found)
    }
}

/// Changes to a file's bytes as they are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Repairs {
    pub(crate) patches: Patches,
    /// The end to assume.
    pub(crate) end: Option<u64>,
}

impl Repairs {
    /// Renames chunks with tags, texts and markers, so that readers skip them: chapters in an `ID3v2` tag may be nested
    /// deeper than a reader's stack.
    fn hiding(chunks: &[Chunk]) -> Self {
        let is_hidden = |chunk: &&Chunk| match &chunk.name {
            b"LIST" | b"MARK" | b"COMT" | b"APPL" | b"NAME" | b"AUTH" | b"(c) " | b"ANNO"
            | b"ID3 " => true,
            // The number of frames.
            b"fact" => chunk.size != 4,
            _ => false,
        };
        let hidden = chunks.iter().filter(is_hidden);
        Self {
            patches: hidden.map(|chunk| (chunk.at, b"JUNK".to_vec())).collect(),
            ..Self::default()
        }
    }
}

/// The outer size is always that of the file, and the sound's size is corrected if it exceeds the file.
fn aiff(all: &[Chunk], length: u64) -> Repairs {
    let mut found = Repairs::hiding(all);
    let mut has_sound = false;
    for chunk in all {
        let there = length.saturating_sub(chunk.body());
        let is_sound = chunk.name == *b"SSND";
        // Interrupted writers leave a size of 0.
        if is_sound && (chunk.size > there || chunk.size == 0) {
            let size = u32::try_from(there).unwrap_or(u32::MAX);
            found
                .patches
                .push((chunk.at + 4, size.to_be_bytes().to_vec()));
            break;
        }
        // Garbage after the sound, or a truncated chunk: the file ends here.
        let is_name = chunk.name.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if chunk.size > there || has_sound && !is_name {
            found.end = Some(chunk.at);
            break;
        }
        has_sound |= is_sound;
    }
    let whole = found.end.unwrap_or(length).saturating_sub(HEADER);
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    found.patches.push((4, whole.to_be_bytes().to_vec()));
    found
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn seen(file: &[u8]) -> io::Result<Vec<u8>> {
        let kind = Iff::of(file).unwrap();
        let found = kind.repairs(&mut Cursor::new(file), file.len() as u64)?;
        let mut seen = file.to_vec();
        for (at, bytes) in found.patches {
            seen[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        seen.truncate(found.end.map_or(seen.len(), |end| end as usize));
        Ok(seen)
    }

    #[test]
    fn texts_are_hidden_and_sound_is_not() {
        let wav = |start: &[u8; 4], size: [u8; 4], list: &[u8; 4], fact: &[u8; 4]| {
            let format = b"WAVEfmt \x02\0\0\0\x02\0";
            let sound = b"\0\0\0\0data\0\0\0\0";
            [&start[..], &size, format, list, b"\0\0\0\0", fact, sound].concat()
        };
        let file = wav(b"RF64", [0; 4], b"LIST", b"fact");
        let expected = wav(b"RIFF", [0xff; 4], b"JUNK", b"JUNK");
        assert_eq!(seen(&file).unwrap(), expected);
        let file = [b"FORM....AIFF", &b"ID3 \0\0\0\0".repeat(MAX_ITEMS)[..]].concat();
        assert_eq!(seen(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
