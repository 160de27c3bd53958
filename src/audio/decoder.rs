//! Packets to mono samples: Symphonia's decoders and opus-pure behind one interface.

use ebur128::Channel;
use symphonia::core::audio::conv::IntoSample;
use symphonia::core::audio::sample::Sample;
use symphonia::core::audio::{
    Audio, AudioBuffer, ChannelLabel, Channels, GenericAudioBufferRef, Position,
};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::loudness::Planes;
use super::opus::Opus;

/// Float files may overshoot full scale; beyond this (48 dB) a sample is garbage and is limited.
const LOUDEST: f32 = 256.0;

/// Most samples of a packet in all channels: readers trust the header, and decoders allocate that many before the
/// first packet. FLAC's longest packets have 65 535 frames.
const MOST_SAMPLES: u64 = 1 << 24;

/// Turns the packets of one track into mono samples.
pub(super) enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
}

impl Decoder {
    /// A decoder for the track; the error names what is not supported.
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Self, String> {
        if params.codec == CODEC_ID_OPUS {
            return Opus::new(params.extra_data.as_deref().unwrap_or_default())
                .map(|opus| Self::Opus(Box::new(opus)));
        }
        let frames = params.max_frames_per_packet.unwrap_or(0);
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        if frames.saturating_mul(channels as u64) > MOST_SAMPLES {
            return Err(format!("packets of {frames} frames in {channels} channels"));
        }
        // Trimming is done by position, in one place for all formats.
        let options = AudioDecoderOptions::default().gapless(false);
        let registry = symphonia::default::get_codecs();
        // The stream as it is first: if Symphonia refuses it, it is tried as the core of HE-AAC.
        let first = match registry.make_audio_decoder(params, &options) {
            Ok(decoder) => return Ok(Self::Symphonia(decoder)),
            Err(error) => plain(&error),
        };
        if let Some(core) = aac_core(params)
            && let Ok(decoder) = registry.make_audio_decoder(&core, &options)
        {
            return Ok(Self::Symphonia(decoder));
        }
        Err(unsupported_aac(params).unwrap_or(first))
    }

    /// Resets all state, as if the next packet were the first.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Symphonia(decoder) => decoder.reset(),
            Self::Opus(opus) => opus.reset(),
        }
    }

    /// Decodes a packet into `mono` (replacing its content), and its channels into `planes`, if requested.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        mono: &mut Vec<f32>,
        mut planes: Option<&mut Planes>,
    ) -> Result<PacketFormat, String> {
        // Before decoding, so that an error leaves nothing of the previous packet.
        mono.clear();
        if let Some(planes) = &mut planes {
            planes.clear();
        }
        match self {
            Self::Symphonia(decoder) => {
                let decoded = decoder.decode(packet).map_err(|error| plain(&error))?;
                let spec = decoded.spec();
                let format = PacketFormat {
                    rate: spec.rate(),
                    channels: spec.channels().count() as u16,
                };
                downmix(&decoded, mono);
                if let Some(planes) = planes {
                    keep(&decoded, planes);
                }
                Ok(format)
            }
            Self::Opus(opus) => {
                opus.decode(&packet.data, mono, planes)?;
                Ok(PacketFormat {
                    // Opus decodes to this rate, whatever original rate its header gives.
                    rate: 48_000,
                    channels: opus.channels(),
                })
            }
        }
    }
}

/// The format of a decoded packet, which may differ from the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketFormat {
    pub rate: u32,
    pub channels: u16,
}

/// Symphonia's error without its own prefixes, in one line.
pub(super) fn plain(error: &Error) -> String {
    match error {
        Error::DecodeError(what) | Error::Unsupported(what) | Error::LimitError(what) => {
            (*what).to_owned()
        }
        other => other.to_string(),
    }
}

/// The header of an AAC stream (ISO/IEC 14496-3, 1.6.2.1).
struct AacConfig {
    /// The audio object type: 2 is LC.
    kind: u32,
    rate_index: u32,
    /// The channel configuration: 7 has eight channels, and 0 leaves them open.
    channels: u32,
}

impl AacConfig {
    fn parse(params: &AudioCodecParameters) -> Option<Self> {
        let config = params.extra_data.as_deref()?;
        // Escape codes (type 31, rate index 15) are not decoded: no caller accepts these values.
        let bits = |at: usize, n: usize| -> Option<u32> {
            (at..at + n).try_fold(0, |value, bit| {
                Some(value << 1 | u32::from(config.get(bit / 8)? >> (7 - bit % 8) & 1))
            })
        };
        Some(Self {
            kind: bits(0, 5)?,
            rate_index: bits(5, 4)?,
            channels: bits(9, 4)?,
        })
    }
}

/// Why an AAC stream is not decoded, for messages.
fn unsupported_aac(params: &AudioCodecParameters) -> Option<String> {
    if params.codec != CODEC_ID_AAC {
        return None;
    }
    let config = AacConfig::parse(params);
    let channels = match &config {
        Some(config) if config.channels == 7 => 8,
        Some(config) => config.channels as usize,
        // A raw stream has its header in each packet.
        None => params.channels.as_ref().map_or(0, Channels::count),
    };
    let found = match config {
        Some(AacConfig { kind, .. }) if !matches!(kind, 2 | 5 | 29) => {
            format!("object type {kind}, of which LC and HE are decoded")
        }
        _ if channels > 2 => format!("{channels} channels, of which one or two are decoded"),
        _ if channels == 0 => {
            "a channel layout of its own, of which mono and stereo are decoded".to_owned()
        }
        _ => return None,
    };
    Some(format!("aac of {found}: convert a copy to FLAC"))
}

/// The low-complexity core of an HE-AAC stream, which Symphonia refuses as a whole.
///
/// Spectral band replication only adds what lies above the core's band (some 11 kHz); decoding the core
/// alone loses that and nothing else. Returns the parameters of the core (ISO/IEC 14496-3, 1.6.2.1).
fn aac_core(params: &AudioCodecParameters) -> Option<AudioCodecParameters> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    if params.codec != CODEC_ID_AAC {
        return None;
    }
    let AacConfig {
        kind,
        rate_index: index,
        channels,
    } = AacConfig::parse(params)?;
    // Object types 2 (LC, with SBR announced after it), 5 (SBR) and 29 (parametric stereo): all wrap an LC core.
    if !matches!(kind, 2 | 5 | 29) || !matches!(channels, 1 | 2) {
        return None;
    }
    let rate = *RATES.get(index as usize)?;
    // LC in five bits, the rate in four, the channels in four; three zeros for the usual frame
    // length.
    let config = (2u16 << 11) | ((index as u16) << 7) | ((channels as u16) << 3);
    let mut core = params.clone();
    core.with_extra_data(Box::new(config.to_be_bytes()));
    core.with_sample_rate(rate);
    Some(core)
}

/// Averages the channels without low-frequency effects; NaN becomes silence.
fn downmix(decoded: &GenericAudioBufferRef<'_>, mono: &mut Vec<f32>) {
    match decoded {
        GenericAudioBufferRef::U8(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::U16(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::U24(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::U32(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::S8(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::S16(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::S24(buffer) => mix(buffer, mono),
        GenericAudioBufferRef::S32(buffer) => mix(buffer, mono),
        // Integers are always finite and within full scale; floats need not be.
        GenericAudioBufferRef::F32(buffer) => {
            mix(buffer, mono);
            sanitise(mono);
        }
        GenericAudioBufferRef::F64(buffer) => {
            mix(buffer, mono);
            sanitise(mono);
        }
    }
}

/// Copies the channels; NaN becomes silence.
fn keep(decoded: &GenericAudioBufferRef<'_>, planes: &mut Planes) {
    planes.kinds = kinds(decoded.spec().channels());
    decoded.copy_to_vecs_planar(&mut planes.samples);
    planes.samples.iter_mut().for_each(|plane| sanitise(plane));
}

/// Each channel's weight in loudness: side and rear channels weigh more, the bass channel nothing.
fn kinds(channels: &Channels) -> Vec<Channel> {
    let lfe = lfe_planes(channels);
    let around =
        Position::SIDE_LEFT | Position::SIDE_RIGHT | Position::REAR_LEFT | Position::REAR_RIGHT;
    let positions: Vec<Position> = match channels {
        Channels::Positioned(positions) => positions.iter().collect(),
        _ => Vec::new(),
    };
    (0..channels.count())
        .map(|i| match positions.get(i) {
            _ if is_lfe(lfe, i) => Channel::Unused,
            // Left and right have the same weight in the standard, so one value is used for both.
            Some(position) if around.contains(*position) => Channel::LeftSurround,
            _ => Channel::Left,
        })
        .collect()
}

fn mix<S: Sample + IntoSample<f32>>(buffer: &AudioBuffer<S>, mono: &mut Vec<f32>) {
    let lfe = lfe_planes(buffer.spec().channels());
    let frames = buffer.frames();
    let planes = || {
        buffer
            .iter_planes()
            .enumerate()
            .filter(|&(i, _)| !is_lfe(lfe, i))
            .map(|(_, plane)| plane)
    };
    let mut rest = planes();
    // Mono and stereo, as nearly all music is, in one pass without sums in memory.
    match (rest.next(), rest.next(), rest.next()) {
        (None, ..) => mono.resize(frames, 0.0),
        (Some(only), None, _) => {
            mono.extend(only.iter().map(|&s| IntoSample::<f32>::into_sample(s)));
        }
        (Some(left), Some(right), None) => mono.extend(left.iter().zip(right).map(|(&l, &r)| {
            let l: f32 = l.into_sample();
            let r: f32 = r.into_sample();
            0.5 * (l + r)
        })),
        _ => {
            mono.resize(frames, 0.0);
            let mut count = 0;
            for plane in planes() {
                count += 1;
                for (sum, &sample) in mono.iter_mut().zip(plane) {
                    *sum += IntoSample::<f32>::into_sample(sample);
                }
            }
            let scale = 1.0 / count as f32;
            for sample in mono.iter_mut() {
                *sample *= scale;
            }
        }
    }
}

/// Bit `i` is set where plane `i` is a low-frequency-effects channel among others.
fn lfe_planes(channels: &Channels) -> u64 {
    let lfe = Position::LFE1 | Position::LFE2;
    let mask = match channels {
        Channels::Positioned(positions) => positions
            .iter()
            .enumerate()
            .filter(|(_, position)| lfe.contains(*position))
            .fold(0, |mask, (i, _)| mask | 1u64 << i),
        Channels::Custom(labels) => labels
            .iter()
            .enumerate()
            .take(64)
            .filter(
                |(_, label)| matches!(label, ChannelLabel::Positioned(position) if lfe.contains(*position)),
            )
            .fold(0, |mask, (i, _)| mask | 1u64 << i),
        _ => 0,
    };
    // A file of effects alone is mixed as well. Of two channels none is for effects: their mask named only one, and the
    // other was assigned the next bit.
    if channels.count() < 3 || mask.count_ones() as usize >= channels.count() {
        0
    } else {
        mask
    }
}

/// Whether plane `i` is in the set; planes after the 64th never are.
fn is_lfe(planes: u64, i: usize) -> bool {
    planes
        .checked_shr(i as u32)
        .is_some_and(|planes| planes & 1 == 1)
}

fn sanitise(mono: &mut [f32]) {
    for sample in mono {
        *sample = if sample.is_finite() {
            sample.clamp(-LOUDEST, LOUDEST)
        } else {
            0.0
        };
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::audio::{AudioMut, AudioSpec};

    use super::*;

    fn mixed(channels: Channels, frame: &[f32]) -> f32 {
        let mut buffer = AudioBuffer::<f32>::new(AudioSpec::new(48_000, channels), 1);
        buffer.render_silence(Some(1));
        for (i, &sample) in frame.iter().enumerate() {
            buffer.plane_mut(i).expect("as many planes as channels")[0] = sample;
        }
        let mut mono = Vec::new();
        downmix(&GenericAudioBufferRef::F32(&buffer), &mut mono);
        mono[0]
    }

    #[test]
    fn packets_longer_than_any_are_refused() {
        use symphonia::core::codecs::audio::well_known::CODEC_ID_PCM_S16BE;
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_PCM_S16BE)
            .with_sample_rate(8000)
            .with_channels(Channels::Discrete(2))
            .with_max_frames_per_packet(1 << 23);
        assert!(Decoder::new(&params).is_ok());
        params.with_max_frames_per_packet(u64::from(u32::MAX));
        let refused = Decoder::new(&params).err();
        assert_eq!(
            refused.as_deref(),
            Some("packets of 4294967295 frames in 2 channels")
        );
    }

    #[test]
    fn surround_averages_without_its_bass_channel() {
        let five_one = Position::from_count(6).expect("six positions");
        // Planes in WAVE order: FL FR FC LFE RL RR.
        let mean = mixed(
            Channels::Positioned(five_one),
            &[0.1, 0.2, 0.3, 9.0, 0.4, 0.5],
        );
        assert!((mean - 0.3).abs() < 1e-7, "{mean}");
        let custom = Channels::Custom(Box::new([
            ChannelLabel::Positioned(Position::LFE1),
            ChannelLabel::Discrete(1),
            ChannelLabel::Discrete(2),
        ]));
        assert_eq!(mixed(custom, &[9.0, 0.5, 0.25]), 0.375);
    }

    #[test]
    fn decoding_turns_nan_into_silence_and_limits_loud_samples() {
        let one = || Channels::Positioned(Position::FRONT_LEFT);
        assert_eq!(mixed(one(), &[f32::NAN]), 0.0);
        assert_eq!(mixed(one(), &[f32::INFINITY]), 0.0);
        assert_eq!(mixed(one(), &[-1e30]), -LOUDEST);
        assert_eq!(mixed(one(), &[1.5]), 1.5);
    }

    #[test]
    fn aac_that_is_not_decoded_has_a_true_reason() {
        let reason = |config: [u8; 2]| {
            let mut params = AudioCodecParameters::new();
            params.for_codec(CODEC_ID_AAC).with_sample_rate(44_100);
            params.with_extra_data(Box::new(config));
            Decoder::new(&params).err().unwrap_or_default()
        };
        // Object type 2 (LC) with six channels, and object type 1 (Main) with two.
        assert!(reason([0x12, 0x30]).contains("6 channels"));
        assert!(reason([0x0a, 0x10]).contains("object type 1"));
        // No channel configuration: it is in the stream.
        assert!(reason([0x12, 0x00]).contains("a channel layout of its own"));
        assert_eq!(reason([0x12, 0x10]), "");
    }

    #[test]
    fn the_core_of_he_aac_is_found() {
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_AAC).with_sample_rate(44_100);
        // Object type 5 (SBR), core rate index 7 (22 050 Hz), stereo, extension rate index 4, then LC.
        params.with_extra_data(Box::new([0x2b, 0x92, 0x08, 0x00]));
        let core = aac_core(&params).expect("an SBR configuration");
        assert_eq!(core.sample_rate, Some(22_050));
        assert_eq!(core.extra_data.as_deref(), Some(&[0x13, 0x90][..]));
        assert!(Decoder::new(&params).is_ok());
    }
}
