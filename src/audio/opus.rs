//! Opus packets (RFC 6716) in Ogg (RFC 7845), Matroska and MP4, decoded with opus-pure.

use ebur128::Channel;
use opus_pure::{ChannelLayout, OpusMSDecoder, packet::samples_48k};

use super::loudness::Planes;

/// The identification header, from any container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpusHead {
    pub channels: u8,
    /// Samples at 48 kHz before the first audible one.
    pub pre_skip: u16,
    gain: f32,
    /// The channel mapping family: 0 for one or two channels, 1 for Vorbis' order.
    family: u8,
}

impl OpusHead {
    /// Reads `OpusHead`, little-endian as in Ogg and Matroska (version 1) or big-endian as in MP4 (version 0).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let short = || "opus: identification header too short".to_owned();
        let body = bytes
            .strip_prefix(b"OpusHead")
            .ok_or("opus: no identification header")?;
        // Version, channels, pre-skip (2), rate (4), gain (2), mapping family: RFC 7845, 5.1.
        let fixed: &[u8; 11] = body.first_chunk().ok_or_else(short)?;
        let word = |at: usize| {
            let pair = [fixed[at], fixed[at + 1]];
            if fixed[0] == 0 {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        };
        let [channels, family] = [fixed[1], fixed[10]];
        let layout = ChannelLayout::surround(channels.into(), family)
            .map_err(|_| format!("opus: channel mapping family {family} of {channels} channels"))?;
        if family == 1 {
            let table = body.get(11..13 + usize::from(channels)).ok_or_else(short)?;
            let counts = [layout.nb_streams, layout.nb_coupled_streams];
            if counts != [table[0], table[1]].map(usize::from) || layout.mapping != table[2..] {
                return Err("opus: a channel mapping of its own".to_owned());
            }
        }
        Ok(Self {
            channels,
            pre_skip: word(2),
            // In 1/256 dB, signed.
            gain: 10f32.powf(f32::from(word(8) as i16) / (20.0 * 256.0)),
            family,
        })
    }
}

/// Samples at 48 kHz in a packet; 0 for a damaged one.
pub(super) fn packet_samples(packet: &[u8]) -> u64 {
    samples_48k(packet).unwrap_or(0) as u64
}

/// A decoder of one Opus track at 48 kHz.
pub(super) struct Opus {
    decoder: OpusMSDecoder,
    /// Each channel's weight in loudness.
    kinds: Vec<Channel>,
    gain: f32,
    /// Decoded frames, channels side by side.
    pcm: Vec<f32>,
}

impl Opus {
    pub(super) fn new(head: &[u8]) -> Result<Self, String> {
        let head = OpusHead::parse(head)?;
        let channels = usize::from(head.channels);
        let decoder = OpusMSDecoder::new(48_000, channels, head.family)
            .map_err(|error| format!("opus: {error}"))?;
        Ok(Self {
            decoder,
            kinds: (0..channels).map(|i| kind(i, channels)).collect(),
            gain: head.gain,
            pcm: Vec::new(),
        })
    }

    pub(super) fn channels(&self) -> u16 {
        self.kinds.len() as u16
    }

    pub(super) fn reset(&mut self) {
        // It only fails for rates and channels that `new` refuses.
        let _ = self.decoder.reset_state();
    }

    pub(super) fn decode(&mut self, packet: &[u8], planes: &mut Planes) -> Result<(), String> {
        let channels = self.kinds.len();
        let samples = packet_samples(packet) as usize;
        // An empty packet would request concealment of a lost one.
        if samples == 0 {
            return Err("opus: broken packet".to_owned());
        }
        self.pcm.resize(samples * channels, 0.0);
        let decoded = self.decoder.decode(packet, samples, &mut self.pcm);
        if decoded.map_err(|error| format!("opus: {error}"))? != samples {
            return Err("opus: broken packet".to_owned());
        }
        planes.fill(&self.kinds, samples);
        for (channel, plane) in planes.samples.iter_mut().take(channels).enumerate() {
            let of_channel = self.pcm.iter().skip(channel).step_by(channels);
            for (sample, decoded) in plane.iter_mut().zip(of_channel) {
                *sample = self.gain * decoded;
            }
        }
        Ok(())
    }
}

/// A channel's weight in loudness, in Vorbis' order: two or three front channels, then side and rear, then the bass,
/// which the downmix leaves out.
fn kind(i: usize, channels: usize) -> Channel {
    match channels {
        6..=8 if i + 1 == channels => Channel::Unused,
        4 if i >= 2 => Channel::LeftSurround,
        5..=8 if i >= 3 => Channel::LeftSurround,
        _ => Channel::Left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_of_the_header_agree() {
        let ogg = OpusHead::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\x00\x01\x00")
            .expect("a header of Ogg");
        let mp4 = OpusHead::parse(b"OpusHead\x00\x02\x01\x38\0\0\xbb\x80\x01\x00\x00")
            .expect("a header of MP4");
        assert_eq!(ogg, mp4);
        assert_eq!(ogg.pre_skip, 312);
        // 256 in Q7.8 is one decibel.
        assert!((ogg.gain - 1.122_018).abs() < 1e-5);
    }
}
