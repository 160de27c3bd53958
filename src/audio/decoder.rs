//! Packets to samples: Symphonia's decoders and opus-pure behind one interface.

use ebur128::Channel;
use symphonia::core::audio::{Channels, GenericAudioBufferRef, Position};
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

/// Turns the packets of one track into samples.
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
        let decoder = registry
            .make_audio_decoder(params, &options)
            .or_else(|error| {
                let core = aac_core(params).ok_or(error)?;
                registry.make_audio_decoder(&core, &options)
            });
        decoder.map(Self::Symphonia).map_err(|error| plain(&error))
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Symphonia(decoder) => decoder.reset(),
            Self::Opus(opus) => opus.reset(),
        }
    }

    /// Decodes a packet into `planes`, replacing what they hold.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        planes: &mut Planes,
    ) -> Result<PacketFormat, String> {
        // Before decoding, so that an error leaves nothing of the previous packet.
        planes.clear();
        match self {
            Self::Symphonia(decoder) => {
                let decoded = decoder.decode(packet).map_err(|error| plain(&error))?;
                let spec = decoded.spec();
                let format = PacketFormat {
                    rate: spec.rate(),
                    channels: spec.channels().count() as u16,
                };
                keep(&decoded, planes);
                Ok(format)
            }
            Self::Opus(opus) => {
                opus.decode(&packet.data, planes)?;
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
    let config = params.extra_data.as_deref()?;
    // Escape codes (type 31, rate index 15) are not decoded: no value below fits them.
    let bits = |at: usize, n: usize| -> Option<u32> {
        (at..at + n).try_fold(0, |value, bit| {
            Some(value << 1 | u32::from(config.get(bit / 8)? >> (7 - bit % 8) & 1))
        })
    };
    let (kind, index, channels) = (bits(0, 5)?, bits(5, 4)?, bits(9, 4)?);
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

/// Copies the channels; NaN becomes silence.
fn keep(decoded: &GenericAudioBufferRef<'_>, planes: &mut Planes) {
    planes.kinds = kinds(decoded.spec().channels());
    decoded.copy_to_vecs_planar(&mut planes.samples);
    // Integers are always finite and within full scale; floats need not be.
    if let GenericAudioBufferRef::F32(_) | GenericAudioBufferRef::F64(_) = decoded {
        planes.samples.iter_mut().for_each(|plane| sanitise(plane));
    }
}

/// Each channel's weight in loudness: side and rear channels weigh more, the bass channel nothing.
fn kinds(channels: &Channels) -> Vec<Channel> {
    let bass = Position::LFE1 | Position::LFE2;
    let around =
        Position::SIDE_LEFT | Position::SIDE_RIGHT | Position::REAR_LEFT | Position::REAR_RIGHT;
    let positions: Vec<Position> = match channels {
        Channels::Positioned(positions) => positions.iter().collect(),
        _ => Vec::new(),
    };
    let is_bass = |i: usize| positions.get(i).is_some_and(|at| bass.contains(*at));
    // A file of effects alone is mixed as well. Of two channels none is for effects: their mask named only one, and the
    // other was assigned the next bit.
    let count = channels.count();
    let has_bass = count > 2 && !(0..count).all(is_bass);
    (0..count)
        .map(|i| match positions.get(i) {
            _ if has_bass && is_bass(i) => Channel::Unused,
            // Left and right have the same weight in the standard, so one value is used for both.
            Some(position) if around.contains(*position) => Channel::LeftSurround,
            _ => Channel::Left,
        })
        .collect()
}

fn sanitise(samples: &mut [f32]) {
    for sample in samples {
        *sample = if sample.is_finite() {
            sample.clamp(-LOUDEST, LOUDEST)
        } else {
            0.0
        };
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::audio::{AudioBuffer, AudioMut, AudioSpec};

    use super::*;

    fn mixed(channels: Channels, frame: &[f32]) -> f32 {
        let mut buffer = AudioBuffer::<f32>::new(AudioSpec::new(48_000, channels), 1);
        buffer.render_silence(Some(1));
        for (i, &sample) in frame.iter().enumerate() {
            buffer.plane_mut(i).expect("as many planes as channels")[0] = sample;
        }
        let mut planes = Planes::default();
        let mut mono = Vec::new();
        keep(&GenericAudioBufferRef::F32(&buffer), &mut planes);
        planes.mix(&mut mono);
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
