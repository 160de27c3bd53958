//! The configuration of a front end, and its fingerprint.

use serde::{Deserialize, Serialize};

use super::FeaturesError;

/// How each FFT bin enters the mel bands, and how their sums leave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spectrum {
    /// |X| in, sum out, as in Essentia.
    Magnitude,
    /// |X|² in, sum out.
    Power,
    /// |X|² in, square root of the sum out.
    RootOfPower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MelScale {
    /// `2595 log10(1 + f / 700)`.
    Htk,
    /// Linear below 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998).
    Slaney,
    /// Critical bands. Traunmüller, "Analytical expressions for the tonotopic sensory scale", 1990.
    Bark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MelNorm {
    /// Unit area over frequency in Hz: height `2 / (upper - lower)`.
    Slaney,
    Peak,
}

/// From mel bands to the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `max(10 log10(max(x, 1e-10)) - window's maximum, -80)`; silence is 0 everywhere.
    Decibel,
    /// `10 log10(max(x, 1e-10))`, which depends on level.
    AbsoluteDecibel,
    /// `log10(scale · half(x) + 1)`, `half` a round trip through 16-bit floats.
    LogHalf { scale: f64 },
}

/// All parameters of a mel spectrogram.
///
/// Frame `i`, under a periodic Hann window, begins at sample `i · hop - pad_left` of the window;
/// samples outside that are zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MelConfig {
    // The order of the fields is part of the fingerprint.
    /// Hz.
    pub sample_rate: u32,
    pub window_samples: usize,
    /// Samples of a frame, and of its FFT.
    pub n_fft: usize,
    pub hop: usize,
    pub n_frames: usize,
    /// Zeros before the window's first sample.
    pub pad_left: usize,
    pub spectrum: Spectrum,
    pub n_mels: usize,
    /// Edges of the lowest and the highest band, Hz.
    pub f_min: f64,
    pub f_max: f64,
    pub mel_scale: MelScale,
    pub mel_norm: MelNorm,
    pub compression: Compression,
    /// Level to which every window is scaled first, dB RMS relative to full scale.
    #[serde(default)]
    pub level_dbfs: Option<f32>,
    /// Whether each spectrogram is brought to mean 0 and deviation 1 in the end.
    #[serde(default)]
    pub standardised: bool,
    /// Whether a sound shorter than the window is repeated as often as it fits, and the window mirrored
    /// at its ends instead of padded with zeros.
    #[serde(default)]
    pub repeated: bool,
}

impl MelConfig {
    /// OpenL3's, of one second at 48 kHz, as the published weights were trained (openl3 up to 0.3.1,
    /// torchopenl3; Cramer, Wu, Salamon and Bello 2019).
    pub fn openl3() -> Self {
        Self {
            sample_rate: 48_000,
            window_samples: 48_000,
            n_fft: 2048,
            hop: 242,
            n_frames: 199,
            pad_left: 982,
            spectrum: Spectrum::RootOfPower,
            n_mels: 128,
            f_min: 0.0,
            f_max: 24_000.0,
            mel_scale: MelScale::Htk,
            mel_norm: MelNorm::Slaney,
            compression: Compression::Decibel,
            level_dbfs: None,
            standardised: false,
            repeated: false,
        }
    }

    /// A frame of Slaney's bands over all frequencies, in decibels, as in librosa.
    pub fn librosa(sample_rate: u32, n_fft: usize, hop: usize, n_mels: usize) -> Self {
        Self {
            sample_rate,
            window_samples: n_fft,
            n_fft,
            hop,
            n_frames: 1,
            pad_left: 0,
            spectrum: Spectrum::Power,
            n_mels,
            f_max: f64::from(sample_rate) / 2.0,
            mel_scale: MelScale::Slaney,
            ..Self::openl3()
        }
    }

    /// MusiCNN's, of about three seconds at 16 kHz (Pons and Serra 2019).
    pub fn musicnn() -> Self {
        Self {
            window_samples: 48_128,
            n_frames: 187,
            compression: Compression::LogHalf { scale: 10_000.0 },
            ..Self::librosa(16_000, 512, 256, 96)
        }
    }

    /// CLAP's, of ten seconds at 48 kHz: `ClapFeatureExtractor` of the transformers library.
    ///
    /// - `htk`: the filter bank of `"truncation": "fusion"`; else Slaney's, of `"rand_trunc"`
    /// - `edges`: of the bands, Hz
    pub fn clap(htk: bool, edges: [f64; 2]) -> Self {
        let (mel_scale, mel_norm) = if htk {
            (MelScale::Htk, MelNorm::Peak)
        } else {
            (MelScale::Slaney, MelNorm::Slaney)
        };
        Self {
            sample_rate: 48_000,
            window_samples: 480_000,
            n_fft: 1024,
            hop: 480,
            n_frames: 1001,
            pad_left: 512,
            n_mels: 64,
            f_min: edges[0],
            f_max: edges[1],
            mel_scale,
            mel_norm,
            compression: Compression::AbsoluteDecibel,
            repeated: true,
            ..Self::musicnn()
        }
    }

    pub fn cells(&self) -> usize {
        self.n_mels * self.n_frames
    }

    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and names are valid JSON");
        // Its own context separates this hash from other hashes of the same text.
        let hash = blake3::derive_key("voisin mel front end 1", text.as_bytes());
        blake3::Hash::from_bytes(hash).to_hex()[..16].to_owned()
    }

    /// Checks what a handwritten manifest may have.
    pub fn validate(&self) -> Result<(), FeaturesError> {
        let scale = match self.compression {
            Compression::LogHalf { scale } => scale,
            Compression::Decibel | Compression::AbsoluteDecibel => 1.0,
        };
        let level = f64::from(self.level_dbfs.unwrap_or(0.0));
        let rate = f64::from(self.sample_rate);
        let window = self.window_samples as f64;
        let n_fft = self.n_fft as f64;
        // Limits the memory that an untrusted manifest can allocate.
        let ranges: [(_, f64, f64, f64); 12] = [
            ("level_dbfs", level, -60.0, 0.0),
            ("sample_rate", rate, 1e3, 768e3),
            ("window_samples", window, 1.0, 16_777_216.0),
            ("n_fft", n_fft, 16.0, 65_536.0),
            // The real transform needs an even length.
            ("n_fft: its remainder by 2", n_fft % 2.0, 0.0, 0.0),
            ("hop", self.hop as f64, 1.0, 65_536.0),
            ("n_frames", self.n_frames as f64, 1.0, 16_384.0),
            ("pad_left", self.pad_left as f64, 0.0, n_fft),
            ("n_mels", self.n_mels as f64, 1.0, 1024.0),
            ("f_max", self.f_max, 1.0, rate / 2.0),
            ("f_min", self.f_min, 0.0, self.f_max - 1.0),
            ("scale", scale, 1e-3, 1e9),
        ];
        for (field, value, low, high) in ranges {
            // NaN is outside.
            if !(low..=high).contains(&value) {
                let expected = format!("{low} to {high}");
                return Err(FeaturesError::Config(field, value.to_string(), expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_range_are_reported() {
        let mut config = MelConfig::musicnn();
        config.f_max = f64::NAN;
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "front end: f_max is NaN, expected 1 to 8000");
        for n_fft in [1 << 40, 513] {
            config = MelConfig::musicnn();
            config.n_fft = n_fft;
            assert!(config.validate().is_err());
        }
    }
}
