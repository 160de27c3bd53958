//! Opus packets (RFC 6716) as laid out by RFC 7845 and its kin, through opus-decoder.

use opus_decoder::{OpusDecoder, OpusMultistreamDecoder};

/// Samples a packet can hold per channel: 120 ms at 48 kHz.
const LONGEST: usize = 5_760;

/// The identification header, wherever it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub channels: u8,
    /// Samples at 48 kHz before the first audible one.
    pub pre_skip: u16,
    /// Factor for every sample.
    gain: f32,
    layout: Option<Layout>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
    /// The last channel carries low-frequency effects.
    bass: bool,
}

impl Head {
    /// Reads `OpusHead`, little-endian as in Ogg and Matroska (version 1) or big-endian as in MP4 (version 0).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let short = || "opus: identification header too short".to_owned();
        let body = bytes.strip_prefix(b"OpusHead").ok_or("opus: no identification header")?;
        let fixed: &[u8; 11] = body.first_chunk().ok_or_else(short)?;
        let word = |at: usize| {
            let pair = [fixed[at], fixed[at + 1]];
            if fixed[0] == 0 { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let channels = fixed[1];
        let gain = 10f32.powf(f32::from(word(8) as i16) / (20.0 * 256.0));
        let layout = match fixed[10] {
            0 if matches!(channels, 1 | 2) => None,
            1 | 255 if channels > 0 => {
                let table = body.get(11..13 + usize::from(channels)).ok_or_else(short)?;
                // In the Vorbis order of mapping family 1, 5.1, 6.1 and 7.1 end with the bass channel.
                let bass = fixed[10] == 1 && (6..=8).contains(&channels);
                Some(Layout { streams: table[0], coupled: table[1], mapping: table[2..].to_vec(), bass })
            }
            0 => return Err(format!("opus: {channels} channels without a mapping")),
            family => return Err(format!("opus: channel mapping family {family}")),
        };
        Ok(Self { channels, pre_skip: word(2), gain, layout })
    }
}

/// Samples at 48 kHz in a packet, by its table of contents (RFC 6716, section 3.1); 0 for a broken one.
pub(super) fn packet_samples(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        0..12 => [480, 960, 1920, 2880][usize::from(config & 3)],
        12..16 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 0x3f)),
    };
    let samples = frame * frames;
    if samples > LONGEST as u64 { 0 } else { samples }
}

enum Inner {
    Plain(Box<OpusDecoder>),
    Multi(Box<OpusMultistreamDecoder>),
}

/// A decoder of one Opus stream to mono at 48 kHz.
pub(super) struct Opus {
    inner: Inner,
    head: Head,
    /// Channels that are averaged.
    audible: Vec<usize>,
    pcm: Vec<f32>,
}

impl Opus {
    pub(super) fn new(head: &[u8]) -> Result<Self, String> {
        let head = Head::parse(head)?;
        let channels = usize::from(head.channels);
        let inner = match &head.layout {
            None => OpusDecoder::new(48_000, channels).map(|decoder| Inner::Plain(Box::new(decoder))),
            Some(Layout { streams, coupled, mapping, .. }) => OpusMultistreamDecoder::new(
                48_000,
                channels,
                usize::from(*streams),
                usize::from(*coupled),
                mapping,
            )
            .map(|decoder| Inner::Multi(Box::new(decoder))),
        };
        let inner = inner.map_err(|error| format!("opus: {error}"))?;
        let last =
            if head.layout.as_ref().is_some_and(|layout| layout.bass) { channels - 1 } else { channels };
        let pcm = vec![0.0; LONGEST * channels];
        Ok(Self { inner, head, audible: (0..last).collect(), pcm })
    }

    pub(super) fn channels(&self) -> u16 {
        u16::from(self.head.channels)
    }

    pub(super) fn reset(&mut self) {
        match &mut self.inner {
            Inner::Plain(decoder) => decoder.reset(),
            Inner::Multi(decoder) => decoder.reset(),
        }
    }

    pub(super) fn decode(&mut self, packet: &[u8], mono: &mut Vec<f32>) -> Result<(), String> {
        // An empty packet would ask for concealment of a lost one.
        if packet_samples(packet) == 0 {
            return Err("opus: broken packet".to_owned());
        }
        let frames = match &mut self.inner {
            Inner::Plain(decoder) => decoder.decode_float(packet, &mut self.pcm, false),
            Inner::Multi(decoder) => decoder.decode_float(packet, &mut self.pcm, false),
        };
        let frames = frames.map_err(|error| format!("opus: {error}"))?;
        let channels = usize::from(self.head.channels);
        let scale = self.head.gain / self.audible.len() as f32;
        mono.extend(
            self.pcm
                .chunks_exact(channels)
                .take(frames)
                .map(|frame| scale * self.audible.iter().map(|&channel| frame[channel]).sum::<f32>()),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_of_the_header_agree() {
        let ogg = Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\x00\x01\x00").expect("a header of Ogg");
        let mp4 = Head::parse(b"OpusHead\x00\x02\x01\x38\0\0\xbb\x80\x01\x00\x00").expect("a header of MP4");
        assert_eq!(ogg, mp4);
        assert_eq!(ogg.pre_skip, 312);
        // 256 in Q7.8 is one decibel.
        assert!((ogg.gain - 1.122_018).abs() < 1e-5);
    }

    #[test]
    fn unknown_mappings_are_named() {
        let error = Head::parse(b"OpusHead\x01\x04\x38\x01\x80\xbb\0\0\0\0\x02").expect_err("ambisonics");
        assert_eq!(error, "opus: channel mapping family 2");
        assert!(Head::parse(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\x00").is_err());
    }

    #[test]
    fn packet_lengths_follow_the_table_of_contents() {
        assert_eq!(packet_samples(&[]), 0);
        assert_eq!(packet_samples(&[31 << 3]), 960);
        assert_eq!(packet_samples(&[3 << 3 | 1]), 5_760);
        assert_eq!(packet_samples(&[16 << 3 | 3, 48]), 5_760);
        assert_eq!(packet_samples(&[31 << 3 | 3, 63]), 0, "more than 120 ms is not allowed");
        assert_eq!(packet_samples(&[31 << 3 | 3]), 0);
    }
}
