//! The decoded track as consecutive frames, of which parts can be skipped without changing the
//! rest.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::packet::Packet;

use super::AudioError;
use super::decoder::Decoder;
use super::demux::{Demuxer, Piece};
use super::guard::guard;
use super::loudness::Planes;

/// Least distance for a seek: below it, reading on is cheaper.
const SEEK_AT_LEAST_SECONDS: u64 = 2;
/// Bytes an MP3 frame may borrow from earlier ones (ISO/IEC 11172-3: `main_data_begin` has nine bits).
const RESERVOIR: usize = 511;
/// The most an MP3 frame's header, checksum and side information take.
const MP3_OVERHEAD: usize = 4 + 2 + 32;
/// Packets and full reservoirs kept before an MP3 frame; one of each suffices in an undamaged
/// stream.
const MP3_PACKETS: usize = 6;
const MP3_RESERVOIRS: usize = 3;
/// Packets of AAC per decoder: 0.7 s. One packet in 33 is decoded twice.
const AAC_SEGMENT: u64 = 32;
// Most frames of a packet that are kept: FLAC's longest has 65 535, while the table of a hostile
// MP4 may have 2^32 - 1, which would take 16 GiB.
const LONGEST_PACKET: u64 = 1 << 24;

/// The history that a decoder needs to decode a packet as in a full run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Packets are independent.
    None,
    /// This many packets.
    Packets(usize),
    /// A full bit reservoir and more: an underflow upsets some frames after it.
    Mp3,
    /// Its segment of this many packets up to it, and the packet before the segment.
    ///
    /// Decoders whose state never fades (AAC's noise generator) are restarted at every segment, in a full
    /// run too: a packet then depends on its segment and the overlap of one packet before it.
    Segment(u64),
    /// All packets: none may be skipped.
    All,
}

/// A stretch of consecutive frames; silence where a packet was damaged or lost.
pub(super) struct Chunk<'a> {
    /// Frame number of the first, counted from the track's first decoded frame.
    pub start: u64,
    pub samples: &'a [f32],
    /// The channels it was mixed from, if the packet was undamaged.
    pub planes: Option<&'a Planes>,
}

#[derive(PartialEq, Eq)]
enum Skips {
    Nothing,
    Packets,
    /// Packets, and by seeking what is far from the requested.
    Far,
}

/// Decodes a track front to back, skipping what is not requested.
pub(super) struct Stream {
    path: PathBuf,
    demuxer: Demuxer,
    decoder: Decoder,
    memory: Memory,
    skips: Skips,
    /// Packets skipped since the last decoded one; the latest only, if `forgotten`.
    passed: VecDeque<Piece>,
    forgotten: bool,
    held: Option<Piece>,
    /// The packet before the next one, kept for the overlap at the start of a segment.
    before: Option<Packet>,
    mono: Vec<f32>,
    planes: Planes,
    is_left_alone: bool,
    last_frames: u64,
    counts: DecodeCounts,
}

/// Counts of the frames and packets decoded so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DecodeCounts {
    pub packets: u64,
    pub damaged: u64,
    pub good_frames: u64,
    pub lost_frames: u64,
}

impl Stream {
    /// - `sparse`: packets that are not requested may be skipped if that changes nothing
    /// - `regular`: whether the timestamps are exact enough for seeking, by the probe
    pub(super) fn open(path: &Path, sparse: bool, regular: bool) -> Result<Self, AudioError> {
        let demuxer = Demuxer::open(path)?;
        let decoder = demuxer.decoder()?;
        let memory = memory_of(&demuxer);
        let sparse = sparse && demuxer.countable() && memory != Memory::All;
        // Their readers seek by frame number, so that a seek is exact.
        let in_frames = matches!(demuxer.container(), "wave" | "aiff" | "flac");
        // A decoder with history needs earlier packets, which a seek would skip.
        let skips = match sparse {
            true if regular && in_frames && memory == Memory::None => Skips::Far,
            true => Skips::Packets,
            false => Skips::Nothing,
        };
        Ok(Self {
            path: path.to_owned(),
            demuxer,
            decoder,
            memory,
            skips,
            passed: VecDeque::new(),
            forgotten: false,
            held: None,
            before: None,
            mono: Vec::new(),
            planes: Planes::default(),
            is_left_alone: false,
            last_frames: 0,
            counts: DecodeCounts::default(),
        })
    }

    pub(super) fn demuxer(&self) -> &Demuxer {
        &self.demuxer
    }

    /// From now on chunks are the left channel.
    pub(super) fn hear_left_alone(&mut self) {
        self.is_left_alone = true;
    }

    /// Whether packets that are not requested are skipped.
    pub(super) fn is_sparse(&self) -> bool {
        self.skips != Skips::Nothing
    }

    pub(super) fn counts(&self) -> DecodeCounts {
        self.counts
    }

    /// The next stretch that ends after frame `from`; `None` at the end of the track.
    ///
    /// `from` must not decrease from call to call.
    pub(super) fn next(&mut self, from: u64) -> Result<Option<Chunk<'_>>, AudioError> {
        loop {
            let piece = if let Some(piece) = self.held.take() {
                piece
            } else {
                self.jump(from)?;
                let Some(piece) = self.demuxer.next()? else {
                    return Ok(None);
                };
                piece
            };
            if piece.hole > 0 {
                // The hole is a chunk of its own; its packet is for the next call.
                return Ok(Some(self.silence_before(piece)));
            }
            if self.may_pass(&piece, from) {
                self.pass(piece);
                continue;
            }
            self.catch_up()?;
            let start = piece.start;
            let good = self.decode(piece)?;
            return Ok(Some(Chunk {
                start,
                samples: &self.mono,
                planes: good.then_some(&self.planes),
            }));
        }
    }

    fn jump(&mut self, from: u64) -> Result<(), AudioError> {
        let far = SEEK_AT_LEAST_SECONDS * u64::from(self.demuxer.actual().rate);
        if self.skips == Skips::Far && from > self.demuxer.position() + far {
            self.demuxer.seek(from)?;
            self.forgotten = true;
            self.passed.clear();
        }
        Ok(())
    }

    fn silence_before(&mut self, mut piece: Piece) -> Chunk<'_> {
        let hole = std::mem::take(&mut piece.hole);
        let start = piece.start - hole;
        self.held = Some(piece);
        // A hole is counted as one damaged packet, however many were lost.
        self.counts.damaged += 1;
        self.counts.lost_frames += hole;
        self.mono.clear();
        self.mono.resize(hole as usize, 0.0);
        Chunk {
            start,
            samples: &self.mono,
            planes: None,
        }
    }

    fn may_pass(&self, piece: &Piece, from: u64) -> bool {
        self.is_sparse()
            && piece
                .frames
                .is_some_and(|frames| piece.start.saturating_add(frames) <= from)
    }

    /// Keeps a skipped packet as long as a later one may need it.
    fn pass(&mut self, piece: Piece) {
        self.passed.push_back(piece);
        while self.passed.len() > self.needed() {
            self.passed.pop_front();
            self.forgotten = true;
        }
    }

    /// How many of the skipped packets must be kept.
    fn needed(&self) -> usize {
        match self.memory {
            Memory::None => 0,
            Memory::Packets(n) => n,
            Memory::All => usize::MAX,
            Memory::Segment(size) => self
                .passed
                .back()
                // The packets of the segment so far, and the one before it, for the overlap.
                .map_or(0, |last| ((last.index + 1) % size) as usize + 1),
            Memory::Mp3 => {
                // The newest packet must decode correctly for its overlap, so the reservoir is that of the others.
                let mut bytes = 0;
                for (kept, piece) in self.passed.iter().rev().enumerate() {
                    if kept >= MP3_PACKETS && bytes >= MP3_RESERVOIRS * RESERVOIR {
                        return kept;
                    }
                    if kept > 0 {
                        bytes += piece.packet.data.len().saturating_sub(MP3_OVERHEAD);
                    }
                }
                usize::MAX
            }
        }
    }

    /// Decodes the kept packets to restore the decoder's state.
    fn catch_up(&mut self) -> Result<(), AudioError> {
        if self.forgotten {
            self.decoder.reset();
            self.forgotten = false;
        }
        while let Some(piece) = self.passed.pop_front() {
            // Damage does not matter, as this packet was not requested.
            let _ = self.feed(piece)?;
        }
        Ok(())
    }

    /// Decodes a packet; returns its rate, or `None` if it was damaged.
    fn feed(&mut self, piece: Piece) -> Result<Option<u32>, AudioError> {
        match (self.memory, &self.before) {
            (Memory::Segment(size), _) if piece.index.is_multiple_of(size) => {
                // A new decoder, as a reset does not restart the noise generator.
                self.decoder = self.demuxer.decoder()?;
                if let Some(before) = self.before.take() {
                    let _ = self.run(&before)?;
                }
            }
            // Symphonia's decoder refuses other rates and channels than those of its first packet.
            (Memory::Mp3, Some(before)) if mp3_format(before) != mp3_format(&piece.packet) => {
                self.decoder = self.demuxer.decoder()?;
            }
            _ => {}
        }
        let decoded = self.run(&piece.packet);
        self.before = Some(piece.packet);
        decoded
    }

    fn run(&mut self, packet: &Packet) -> Result<Option<u32>, AudioError> {
        let decoder = &mut self.decoder;
        let planes = &mut self.planes;
        let decoded = guard(&self.path, || decoder.decode(packet, planes))?;
        planes.mix(&mut self.mono);
        if let Some(left) = planes.samples.first().filter(|_| self.is_left_alone) {
            self.mono.clone_from(left);
        }
        Ok(decoded.ok().map(|format| format.rate))
    }

    /// Decodes a packet, or leaves silence of its length; returns whether it was undamaged.
    fn decode(&mut self, piece: Piece) -> Result<bool, AudioError> {
        let counted = piece.frames;
        let rate = self.feed(piece)?;
        // Frames at another rate are of another length: they stay silent. Only an MP3 changes its rate undamaged.
        let is_heard = rate == Some(self.demuxer.actual().rate);
        let good = is_heard || (rate.is_some() && self.memory == Memory::Mp3);
        if !is_heard {
            self.mono.clear();
        }
        self.counts.packets += 1;
        // If only decoding counts frames, a packet that is not heard counts as long as the last one that is.
        let frames = counted.unwrap_or(if is_heard {
            self.mono.len() as u64
        } else {
            self.last_frames
        });
        if good {
            self.last_frames = frames;
            self.counts.good_frames += frames;
        } else {
            self.counts.damaged += 1;
            self.counts.lost_frames += frames;
        }
        // The rest stays silent, as callers begin with zeros.
        self.mono.resize(frames.min(LONGEST_PACKET) as usize, 0.0);
        self.demuxer.count_decoded(frames);
        Ok(good)
    }
}

/// The bits of an MP3 packet's header that say its version, its rate, and whether it is mono.
fn mp3_format(packet: &Packet) -> Option<[u8; 3]> {
    const MONO: u8 = 0b11;
    let header = packet.data.first_chunk::<4>()?;
    Some([
        header[1] & 0b0001_1000,
        header[2] & 0b0000_1100,
        u8::from(header[3] >> 6 == MONO),
    ])
}

fn memory_of(demuxer: &Demuxer) -> Memory {
    match demuxer.params().codec {
        codec::CODEC_ID_MP3 => Memory::Mp3,
        codec::CODEC_ID_VORBIS => Memory::Packets(2),
        // The filter bank looks 512 samples back, and a packet of layer I has 384.
        codec::CODEC_ID_MP1 | codec::CODEC_ID_MP2 => Memory::Packets(3),
        codec::CODEC_ID_FLAC
        | codec::CODEC_ID_ALAC
        | codec::CODEC_ID_ADPCM_MS
        | codec::CODEC_ID_ADPCM_IMA_WAV => Memory::None,
        codec::CODEC_ID_AAC => Memory::Segment(AAC_SEGMENT),
        _ if demuxer.is_pcm() => Memory::None,
        // Opus, whose predictions fade but never end, and any other codec.
        _ => Memory::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_held_up_to_a_bound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut bytes = std::fs::read(root.join("tests/data/audio/alac.m4a")).unwrap();
        let table = bytes.windows(4).position(|name| name == b"stts").unwrap();
        // The length of the first packets, after a version and two numbers of entries.
        bytes[table + 16..table + 20].fill(0xff);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostile.m4a");
        std::fs::write(&path, bytes).unwrap();
        let mut stream = Stream::open(&path, false, false).unwrap();
        let first = stream.next(0).unwrap().unwrap();
        assert_eq!(first.samples.len() as u64, LONGEST_PACKET);
    }
}
