//! Codecs by their ids: names, and bytes of a sample.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codec;

/// Bytes per sample of uncompressed codecs, by their names: `pcm_s16le`, `pcm_f64be`, `pcm_alaw`.
pub(super) fn pcm_bytes(id: AudioCodecId) -> Option<u64> {
    let format = codec_name(id)?.strip_prefix("pcm_")?;
    let digits = format.trim_matches(|c: char| !c.is_ascii_digit());
    // A-law and µ-law have no number, and a byte.
    Some(digits.parse().map_or(1, |bits: u64| bits / 8))
}

/// Names of codecs, for reports and errors: those that readers know, with a decoder or without.
pub(super) fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    Some(match id {
        codec::CODEC_ID_OPUS => "opus",
        codec::CODEC_ID_MUSEPACK => "musepack",
        codec::CODEC_ID_AC3 => "ac3",
        codec::CODEC_ID_EAC3 => "eac3",
        codec::CODEC_ID_DCA => "dts",
        codec::CODEC_ID_WAVPACK => "wavpack",
        codec::CODEC_ID_TTA => "true audio",
        codec::CODEC_ID_TRUEHD => "truehd",
        _ => {
            return symphonia::default::get_codecs()
                .get_audio_decoder(id)
                .map(|found| found.codec.info.short_name);
        }
    })
}
