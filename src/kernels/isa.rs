//! Which instruction set the kernels use: found at run time, forced by `VOISIN_ISA`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set for which the kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// 16 lanes, 32 registers (x86-64 with AVX-512 F, BW, DQ and VL).
    Avx512,
    /// 8 lanes, 16 registers (x86-64 with AVX2 and FMA).
    Avx2,
    /// 4 lanes, 32 registers (`AArch64`).
    Neon,
    /// Plain Rust that the compiler vectorises for its baseline.
    Portable,
}

impl Isa {
    /// Every variant, best first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The best one that this processor can run.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Portable)
    }

    /// The name as `VOISIN_ISA` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Neon => "NEON",
            Self::Portable => "portable",
        })
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name().eq_ignore_ascii_case(s.trim()))
            .ok_or_else(|| format!("unknown instruction set {s:?}: expected avx512, avx2, neon or portable"))
    }
}

/// The precision of the products inside a convolution. Sums, transforms and activations are f32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// Factors rounded to bf16, products summed in f32 (AVX-512 BF16).
    Bf16,
}

impl Precision {
    /// Whether this processor has it with `isa`.
    pub fn is_available(self, isa: Isa) -> bool {
        match self {
            Self::F32 => isa.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => isa == Isa::Avx512 && isa.is_available() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.trim().to_ascii_lowercase().as_str() {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("unknown precision {s:?}: expected f32 or bf16")),
        }
    }
}

/// The instruction set in use: the best one, or what `VOISIN_ISA` (avx512, avx2, neon, portable)
/// names if this processor has it. Read once per process.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var("VOISIN_ISA") {
        Ok(name) if !name.trim().is_empty() => match name.parse::<Isa>() {
            Ok(isa) if isa.is_available() => isa,
            Ok(isa) => {
                let best = Isa::best();
                tracing::warn!("VOISIN_ISA asks for {isa}, which this processor lacks; using {best}");
                best
            }
            Err(error) => {
                let best = Isa::best();
                tracing::warn!("VOISIN_ISA: {error}; using {best}");
                best
            }
        },
        _ => Isa::best(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_portable_always_runs() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse::<Isa>().unwrap(), isa);
        }
        assert!("sse9".parse::<Isa>().is_err());
        assert!(Isa::Portable.is_available());
        assert!(Isa::best().is_available());
    }
}
