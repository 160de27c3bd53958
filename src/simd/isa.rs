//! The instruction set that the kernels use: detected at run time, or set by `VOISIN_ISA`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that names an instruction set.
const VARIABLE: &str = "VOISIN_ISA";

/// An instruction set that this processor has. It is only made by [`Isa::available`] and by parsing
/// a name, which check the processor, so a kernel with an `Isa` may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(Set);

/// The sets that kernels are compiled for on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Set {
    /// 16 lanes, 32 registers: AVX-512 F, BW, DQ and VL; AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512 {
        /// VNNI, for sums of integers.
        integers: bool,
    },
    /// 8 lanes, 16 registers: AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust that the compiler vectorises for its baseline.
    Portable,
}

impl Isa {
    /// Plain Rust, which every machine runs.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Every set that this processor has, best first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        // Kernels for AVX2 use FMA as well, and a processor may have one without the other.
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // The 512-bit kernels need all of these together; Knights Landing has AVX-512 F without
            // BW, DQ and VL.
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("popcnt")
            {
                all.push(Self(Set::Avx512 {
                    integers: is_x86_feature_detected!("avx512vnni"),
                }));
            }
            all.push(Self(Set::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Set::Neon));
        }
        all.push(Self::PORTABLE);
        all
    }

    #[inline]
    pub fn set(self) -> Set {
        self.0
    }

    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { .. } => 16,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 8,
            _ => 4,
        }
    }

    /// The name in `VOISIN_ISA`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { .. } => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }
}

/// An instruction set in `VOISIN_ISA` that this processor, or this build of voisin, lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaError(String);

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        write!(
            f,
            "VOISIN_ISA: this machine lacks the instruction set {:?}: expected {}; \
             unset it to use the best this machine has",
            self.0,
            available.join(" or ")
        )
    }
}

impl std::error::Error for IsaError {}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Self, IsaError> {
        // Accepts the printed form, AVX-512, as well as the variable's.
        let wanted = text.trim().replace('-', "").to_ascii_lowercase();
        let mut all = Self::available().into_iter();
        all.find(|isa| isa.name() == wanted)
            .ok_or_else(|| IsaError(text.to_owned()))
    }
}

/// The instruction set in use: the best one, or the one that the environment variable `VOISIN_ISA`
/// (`avx512`, `avx2`, `neon`, `portable`) names. Read once per process.
pub fn isa() -> Result<Isa, IsaError> {
    static CHOSEN: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
    // An empty variable counts as unset, as shells use it to turn one off.
    let choose = || match std::env::var_os(VARIABLE) {
        Some(name) if !name.is_empty() => name.to_string_lossy().parse(),
        _ => Ok(Isa::available()[0]),
    };
    CHOSEN.get_or_init(choose).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let all = Isa::available();
        assert_eq!(all.last(), Some(&Isa::PORTABLE));
        for isa in all {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
    }

    #[test]
    fn choosing_an_absent_instruction_set_names_those_present() {
        let error = "sse9".parse::<Isa>().unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("portable"));
    }
}
