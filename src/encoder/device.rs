//! Choosing and describing the device of a network.

use std::fmt;
use std::str::FromStr;

use super::EncoderError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if there is a usable one, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The GPU with this ordinal.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| EncoderError::UnknownDevice(other.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// `Auto` falls back to the CPU, with the reason in [`Device::note`]; `Cuda` never falls back.
    /// Call it inside the rayon pool that will encode: the CPU's description names that pool's
    /// number of threads.
    pub fn resolve(self) -> Result<Device, EncoderError> {
        match self {
            Self::Cpu => Device::cpu(None),
            Self::Cuda(ordinal) => Device::cuda(ordinal).map_err(|reason| EncoderError::Device {
                device: self.to_string(),
                reason,
            }),
            // Without a GPU this is the normal case; the reason is stored as a note.
            Self::Auto => Device::cuda(0).or_else(|reason| Device::cpu(Some(reason))),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Device {
    inner: candle_core::Device,
    description: String,
    note: Option<String>,
}

impl Device {
    fn cpu(note: Option<String>) -> Result<Self, EncoderError> {
        let threads = rayon::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        let description = format!(
            "CPU, {threads} thread{plural}, {}",
            voisin_simd::isa()?.name()
        );
        let note = note.map(|why| format!("no GPU: {why}"));
        Ok(Self {
            inner: candle_core::Device::Cpu,
            description,
            note,
        })
    }

    /// `Device::cuda_if_available` of Candle is an error without a GPU, so the device itself is
    /// tried.
    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize) -> Result<Self, String> {
        // Without a driver cudarc panics while it loads the library; that must not end the process.
        let opened = std::panic::catch_unwind(|| candle_core::Device::new_cuda(ordinal));
        match opened {
            Ok(Ok(inner)) => {
                let name = match &inner {
                    candle_core::Device::Cuda(device) => device.cuda_stream().context().name().ok(),
                    _ => None,
                };
                let name = name.map(|name| format!(", {name}")).unwrap_or_default();
                Ok(Self {
                    description: format!("CUDA GPU {ordinal}{name}"),
                    inner,
                    note: None,
                })
            }
            Ok(Err(error)) => Err(plain(&error.to_string())),
            Err(_) => Err("the CUDA driver library could not be loaded".to_owned()),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_ordinal: usize) -> Result<Self, String> {
        Err("this voisin was built without the feature \"cuda\"".to_owned())
    }

    /// `CPU, 2 threads, AVX-512`, `CUDA GPU 0`.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Why the GPU is not used, if that needs a note.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub fn is_gpu(&self) -> bool {
        self.inner.is_cuda()
    }

    /// Free memory of the GPU in bytes; `None` for the CPU.
    pub(crate) fn memory(&self) -> Option<u64> {
        match &self.inner {
            #[cfg(feature = "cuda")]
            candle_core::Device::Cuda(device) => {
                let free = device.cuda_stream().context().mem_get_info();
                // All cards that CUDA 13 supports have more.
                Some(free.map_or(2 << 30, |(free, _)| free as u64))
            }
            _ => None,
        }
    }

    pub(crate) fn candle(&self) -> &candle_core::Device {
        &self.inner
    }
}

/// Candle's error as one sentence, without a backtrace, and with a text for codes that CUDA cannot
/// explain without a driver.
#[cfg(any(test, feature = "cuda"))]
fn plain(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default().trim();
    // The two codes that a user can act on; others stay unchanged.
    if first.contains("CUDA_ERROR_NO_DEVICE") {
        "no NVIDIA GPU with a driver was found".to_owned()
    } else if first.contains("CUDA_ERROR_INVALID_DEVICE") {
        "there is no NVIDIA GPU of this number".to_owned()
    } else {
        format!("CUDA did not start: {first}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_cuda_did_not_start_is_one_sentence() {
        let missing = "DriverError(CUDA_ERROR_NO_DEVICE, \"<Failure>\")\n   0: candle";
        assert_eq!(plain(missing), "no NVIDIA GPU with a driver was found");
        let other = "DriverError(CUDA_ERROR_X, \"x\")\n   0: candle\n   1: more";
        let expected = "CUDA did not start: DriverError(CUDA_ERROR_X, \"x\")";
        assert_eq!(plain(other), expected);
    }

    #[test]
    fn choices_round_trip() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_missing_gpu_is_reported_and_never_silently_replaced() {
        let auto = DeviceChoice::Auto.resolve().unwrap();
        assert!(auto.note().unwrap().contains("built without"));
        let message = DeviceChoice::Cuda(0).resolve().unwrap_err().to_string();
        assert!(message.contains("cuda:0"), "{message}");
    }
}
