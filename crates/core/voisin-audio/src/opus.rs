//! Opus packets (RFC 6716) in Ogg (RFC 7845), Matroska and MP4, decoded with opus-pure.

use ebur128::Channel;
use opus_pure::OpusDecoder;

use super::loudness::Planes;

/// Most samples of a packet per channel: 120 ms at 48 kHz.
const LONGEST: usize = 5_760;

/// The identification header, from any container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpusHead {
    pub channels: u8,
    /// Samples at 48 kHz before the first audible one.
    pub pre_skip: u16,
    /// The gain as a factor.
    gain: f32,
    layout: Option<ChannelLayout>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ChannelLayout {
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
    /// Whether the last channel has low-frequency effects.
    bass: bool,
}

impl OpusHead {
    /// Reads `OpusHead`, little-endian as in Ogg and Matroska (version 1) or big-endian as in MP4 (version 0).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let short = || "opus: identification header too short".to_owned();
        let body = bytes
            .strip_prefix(b"OpusHead")
            .ok_or("opus: no identification header")?;
        // Version, channels, pre-skip (2), original rate (4), gain (2), mapping family: RFC 7845,
        // 5.1.
        let fixed: &[u8; 11] = body.first_chunk().ok_or_else(short)?;
        let word = |at: usize| {
            let pair = [fixed[at], fixed[at + 1]];
            if fixed[0] == 0 {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        };
        let channels = fixed[1];
        // In 1/256 dB, signed.
        let gain = 10f32.powf(f32::from(word(8) as i16) / (20.0 * 256.0));
        let layout = match fixed[10] {
            0 if matches!(channels, 1 | 2) => None,
            1 | 255 if channels > 0 => {
                let table = body.get(11..13 + usize::from(channels)).ok_or_else(short)?;
                // In the Vorbis order of mapping family 1, 5.1, 6.1 and 7.1 end with the bass channel.
                let bass = fixed[10] == 1 && (6..=8).contains(&channels);
                Some(ChannelLayout {
                    streams: table[0],
                    coupled: table[1],
                    mapping: table[2..].to_vec(),
                    bass,
                })
            }
            0 => return Err(format!("opus: {channels} channels without a mapping")),
            family => return Err(format!("opus: channel mapping family {family}")),
        };
        Ok(Self {
            channels,
            pre_skip: word(2),
            gain,
            layout,
        })
    }
}

/// Samples at 48 kHz in a packet, by its table of contents (RFC 6716, section 3.1); 0 for a damaged
/// one.
pub(super) fn packet_samples(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    // SILK has frames of 10 to 60 ms, the hybrid of 10 and 20 ms, CELT of 2.5 to 20 ms.
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

/// The frames of a packet and the bytes it takes (RFC 6716, section 3.2; appendix B where self-delimited).
///
/// `None` for a damaged packet. At most 48 frames.
fn frames(packet: &[u8], self_delimited: bool) -> Option<(Vec<&[u8]>, usize)> {
    let (&toc, mut rest) = packet.split_first()?;
    let mut padding = 0;
    let sizes: Vec<Option<usize>> = match toc & 3 {
        0 => vec![None],
        1 => vec![None; 2],
        2 => vec![Some(size(&mut rest)?), None],
        _ => {
            let count = byte(&mut rest)?;
            if count & 0x40 != 0 {
                loop {
                    let more = usize::from(byte(&mut rest)?);
                    // 255 means 254 bytes, and another count follows.
                    padding += if more == 255 { 254 } else { more };
                    if more != 255 {
                        break;
                    }
                }
            }
            let n = usize::from(count & 0x3f);
            if !(1..=48).contains(&n) {
                return None;
            }
            if count & 0x80 == 0 {
                vec![None; n]
            } else {
                // All frames but the last have a size.
                let mut sizes = (1..n)
                    .map(|_| size(&mut rest).map(Some))
                    .collect::<Option<Vec<_>>>()?;
                sizes.push(None);
                sizes
            }
        }
    };
    // Frames without their own size share one: given if self-delimited, else the rest.
    let stated: usize = sizes.iter().flatten().sum();
    let unstated = sizes.iter().filter(|size| size.is_none()).count();
    let shared = if self_delimited {
        size(&mut rest)?
    } else {
        let left = rest.len().checked_sub(stated + padding)?;
        if left % unstated != 0 {
            return None;
        }
        left / unstated
    };
    let mut frames = Vec::with_capacity(sizes.len());
    for size in sizes {
        let (frame, after) = rest.split_at_checked(size.unwrap_or(shared))?;
        frames.push(frame);
        rest = after;
    }
    // The padding after the last frame belongs to the packet.
    let used = packet.len() - rest.len().checked_sub(padding)?;
    Some((frames, used))
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

/// A frame's length in one or two bytes.
fn size(rest: &mut &[u8]) -> Option<usize> {
    let first = usize::from(byte(rest)?);
    if first < 252 {
        Some(first)
    } else {
        Some(first + 4 * usize::from(byte(rest)?))
    }
}

/// One of the elementary streams of a track.
struct Elementary {
    decoder: OpusDecoder,
    channels: usize,
    /// Each channel's share of the mono mix.
    weights: [f32; 2],
    /// For each of the track's channels from this stream: its number, and which of the two it is.
    outputs: Vec<(usize, usize)>,
    pcm: Vec<f32>,
}

/// A decoder of one Opus track to mono at 48 kHz.
///
/// opus-pure decodes one elementary stream at a time, so packets of several streams are split here and their
/// frames decoded one by one, with the same result.
pub(super) struct Opus {
    streams: Vec<Elementary>,
    channels: u8,
    /// Each channel's weight in loudness.
    kinds: Vec<Channel>,
    gain: f32,
    single: Vec<u8>,
}

impl Opus {
    pub(super) fn new(head: &[u8]) -> Result<Self, String> {
        let head = OpusHead::parse(head)?;
        let channels = usize::from(head.channels);
        let (streams, coupled, mapping, bass) = match head.layout {
            None => (1, channels - 1, (0..head.channels).collect(), false),
            Some(ChannelLayout {
                streams,
                coupled,
                mapping,
                bass,
            }) => (usize::from(streams), usize::from(coupled), mapping, bass),
        };
        if streams == 0 || coupled > streams {
            return Err(format!("opus: {coupled} coupled of {streams} streams"));
        }
        // The bass channel is left out of the downmix, as with all other codecs.
        let audible = &mapping[..channels - usize::from(bass)];
        let weight = head.gain / audible.len() as f32;
        // 255 means a silent channel.
        let slots = streams + coupled;
        if audible
            .iter()
            .any(|&slot| slot != 255 && usize::from(slot) >= slots)
        {
            return Err("opus: mapping to a stream that is not there".to_owned());
        }
        let share = |slot: usize| {
            weight
                * audible
                    .iter()
                    .filter(|&&to| usize::from(to) == slot)
                    .count() as f32
        };
        let streams = (0..streams)
            .map(|i| {
                let channels = 1 + usize::from(i < coupled);
                // Slots number decoded channels: two for each coupled stream, then one for each of
                // the others.
                let first = if i < coupled { 2 * i } else { coupled + i };
                let decoder =
                    OpusDecoder::new(48_000, channels).map_err(|error| format!("opus: {error}"))?;
                let pcm = vec![0.0; LONGEST * channels];
                let channel_of = |slot: usize| {
                    mapping
                        .iter()
                        .enumerate()
                        .filter(move |&(_, &to)| usize::from(to) == slot)
                        .map(|(i, _)| i)
                };
                let left = channel_of(first).map(|output| (output, 0));
                let right = channel_of(first + 1)
                    .map(|output| (output, 1))
                    .filter(|_| channels == 2);
                let outputs = left.chain(right).collect();
                Ok(Elementary {
                    decoder,
                    channels,
                    weights: [share(first), share(first + 1)],
                    outputs,
                    pcm,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let kinds = (0..channels).map(|i| kind(i, channels, bass)).collect();
        Ok(Self {
            streams,
            channels: head.channels,
            kinds,
            gain: head.gain,
            single: Vec::new(),
        })
    }

    pub(super) fn channels(&self) -> u16 {
        u16::from(self.channels)
    }

    pub(super) fn reset(&mut self) {
        for stream in &mut self.streams {
            // It only fails for rates and channels that `new` refuses.
            let _ = stream.decoder.reset_state();
        }
    }

    /// Decodes a packet into `mono`, which is empty, and its channels into `planes`, if requested.
    pub(super) fn decode(
        &mut self,
        mut packet: &[u8],
        mono: &mut Vec<f32>,
        mut planes: Option<&mut Planes>,
    ) -> Result<(), String> {
        let broken = || "opus: broken packet".to_owned();
        let samples = packet_samples(packet) as usize;
        // An empty packet would request concealment of a lost one.
        if samples == 0 {
            return Err(broken());
        }
        mono.resize(samples, 0.0);
        if let Some(planes) = &mut planes {
            planes.fill(&self.kinds, samples);
        }
        let gain = self.gain;
        let last = self.streams.len() - 1;
        for (i, stream) in self.streams.iter_mut().enumerate() {
            // All streams of a packet must have one length to be mixed.
            if packet_samples(packet) as usize != samples {
                return Err(broken());
            }
            // A single stream is decoded as it is, whatever its framing.
            if last == 0 {
                stream.add(packet, mono, 0)?;
                stream.keep(planes.as_deref_mut(), gain, 0, samples);
                continue;
            }
            // Code 0, one frame to a packet; not empty, as `packet_samples` was above 0.
            let toc = packet[0] & !3;
            // All streams but the last are self-delimited (RFC 7845, section 3).
            let (frames, used) = frames(packet, i < last).ok_or_else(broken)?;
            let mut at = 0;
            for frame in frames {
                self.single.clear();
                self.single.push(toc);
                self.single.extend_from_slice(frame);
                let n = stream.add(&self.single, mono, at)?;
                stream.keep(planes.as_deref_mut(), gain, at, n);
                at += n;
            }
            packet = &packet[used..];
        }
        Ok(())
    }
}

impl Elementary {
    /// Decodes a packet and adds it to the mix from position `at` on; returns its length.
    fn add(&mut self, packet: &[u8], mono: &mut [f32], at: usize) -> Result<usize, String> {
        let decoded = self.decoder.decode(packet, LONGEST, &mut self.pcm);
        let n = decoded.map_err(|error| format!("opus: {error}"))?;
        let pcm = &self.pcm[..n * self.channels];
        let [left, right] = self.weights;
        let sums = mono.iter_mut().skip(at);
        if self.channels == 1 {
            sums.zip(pcm)
                .for_each(|(sum, &sample)| *sum += left * sample);
        } else {
            sums.zip(pcm.chunks_exact(2))
                .for_each(|(sum, frame)| *sum += left * frame[0] + right * frame[1]);
        }
        Ok(n)
    }

    /// Copies the last `n` decoded frames to their channels, from frame `at` on.
    fn keep(&self, planes: Option<&mut Planes>, gain: f32, at: usize, n: usize) {
        let Some(planes) = planes else { return };
        for &(output, side) in &self.outputs {
            let decoded = self.pcm.chunks_exact(self.channels).take(n);
            for (sample, frame) in planes.samples[output].iter_mut().skip(at).zip(decoded) {
                *sample = gain * frame[side];
            }
        }
    }
}

/// A channel's weight in loudness, in Vorbis' order: two or three front channels, then side and rear.
fn kind(i: usize, channels: usize, bass: bool) -> Channel {
    match channels {
        _ if bass && i + 1 == channels => Channel::Unused,
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

    #[test]
    fn unknown_mappings_are_named() {
        let error = OpusHead::parse(b"OpusHead\x01\x04\x38\x01\x80\xbb\0\0\0\0\x02")
            .expect_err("ambisonics");
        assert_eq!(error, "opus: channel mapping family 2");
        assert!(
            OpusHead::parse(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\x00").is_err()
        );
    }

    #[test]
    fn packets_come_apart_as_the_rfc_has_it() {
        let apart = |packet: &[u8], delimited| {
            frames(packet, delimited).map(|(frames, used)| {
                (
                    frames
                        .iter()
                        .map(|frame| frame.to_vec())
                        .collect::<Vec<_>>(),
                    used,
                )
            })
        };
        let a = vec![1, 2];
        let b = vec![3, 4];
        assert_eq!(apart(&[0xf8, 1, 2], false), Some((vec![a.clone()], 3)));
        assert_eq!(
            apart(&[0xf8, 2, 1, 2, 99], true),
            Some((vec![a.clone()], 4))
        );
        assert_eq!(
            apart(&[0xf9, 1, 2, 3, 4], false),
            Some((vec![a.clone(), b.clone()], 5))
        );
        assert_eq!(
            apart(&[0xf9, 2, 1, 2, 3, 4, 99], true),
            Some((vec![a.clone(), b.clone()], 6))
        );
        assert_eq!(
            apart(&[0xfa, 1, 9, 3, 4], false),
            Some((vec![vec![9], b.clone()], 5))
        );
        assert_eq!(
            apart(&[0xfa, 1, 2, 9, 3, 4, 99], true),
            Some((vec![vec![9], b.clone()], 6))
        );
        // Three equal frames with two bytes of padding; then frames with their own sizes.
        assert_eq!(
            apart(&[0xfb, 0x43, 2, 7, 8, 9, 0, 0], false),
            Some((vec![vec![7], vec![8], vec![9]], 8))
        );
        assert_eq!(
            apart(&[0xfb, 0x82, 1, 9, 3, 4], false),
            Some((vec![vec![9], b.clone()], 6))
        );
        assert_eq!(
            apart(&[0xfb, 0x82, 1, 2, 9, 3, 4, 99], true),
            Some((vec![vec![9], b], 7))
        );
        for broken in [
            &[][..],
            &[0xf9, 1, 2, 3],
            &[0xfa, 5, 1],
            &[0xfb],
            &[0xfb, 0],
            &[0xfb, 0x43, 255, 9],
        ] {
            assert_eq!(apart(broken, false), None, "{broken:?}");
        }
    }

    #[test]
    fn packet_lengths_follow_the_table_of_contents() {
        assert_eq!(packet_samples(&[]), 0);
        assert_eq!(packet_samples(&[31 << 3]), 960);
        assert_eq!(packet_samples(&[3 << 3 | 1]), 5_760);
        assert_eq!(packet_samples(&[16 << 3 | 3, 48]), 5_760);
        assert_eq!(
            packet_samples(&[31 << 3 | 3, 63]),
            0,
            "more than 120 ms is not allowed"
        );
        assert_eq!(packet_samples(&[31 << 3 | 3]), 0);
    }
}
