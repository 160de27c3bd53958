//! Codecs by their ids: names, and bytes of a sample.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codec;

/// Bytes per sample of uncompressed codecs.
pub(super) fn pcm_bytes(id: AudioCodecId) -> Option<u64> {
    match id {
        codec::CODEC_ID_PCM_S8
        | codec::CODEC_ID_PCM_U8
        | codec::CODEC_ID_PCM_ALAW
        | codec::CODEC_ID_PCM_MULAW => Some(1),
        codec::CODEC_ID_PCM_S16LE
        | codec::CODEC_ID_PCM_S16BE
        | codec::CODEC_ID_PCM_U16LE
        | codec::CODEC_ID_PCM_U16BE => Some(2),
        codec::CODEC_ID_PCM_S24LE
        | codec::CODEC_ID_PCM_S24BE
        | codec::CODEC_ID_PCM_U24LE
        | codec::CODEC_ID_PCM_U24BE => Some(3),
        codec::CODEC_ID_PCM_S32LE
        | codec::CODEC_ID_PCM_S32BE
        | codec::CODEC_ID_PCM_U32LE
        | codec::CODEC_ID_PCM_U32BE
        | codec::CODEC_ID_PCM_F32LE
        | codec::CODEC_ID_PCM_F32BE => Some(4),
        codec::CODEC_ID_PCM_F64LE | codec::CODEC_ID_PCM_F64BE => Some(8),
        _ => None,
    }
}

/// Names of codecs, for reports and errors.
pub(super) fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    let known = match id {
        codec::CODEC_ID_OPUS => "opus",
        codec::CODEC_ID_SPEEX => "speex",
        codec::CODEC_ID_MUSEPACK => "musepack",
        codec::CODEC_ID_MP1 => "mp1",
        codec::CODEC_ID_MP2 => "mp2",
        codec::CODEC_ID_AAC => "aac",
        codec::CODEC_ID_AC3 => "ac3",
        codec::CODEC_ID_EAC3 => "eac3",
        codec::CODEC_ID_AC4 => "ac4",
        codec::CODEC_ID_DCA => "dts",
        codec::CODEC_ID_WMA => "wma",
        codec::CODEC_ID_WAVPACK => "wavpack",
        codec::CODEC_ID_MONKEYS_AUDIO => "monkey's audio",
        codec::CODEC_ID_TTA => "true audio",
        codec::CODEC_ID_TRUEHD => "truehd",
        _ => {
            return symphonia::default::get_codecs()
                .get_audio_decoder(id)
                .map(|found| found.codec.info.short_name);
        }
    };
    Some(known)
}
