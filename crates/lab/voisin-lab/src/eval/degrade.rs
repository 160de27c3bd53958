//! Degraded copies of a track: lossy coding, other rates, other levels, cuts, lost treble, other
//! speeds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use voisin_audio;

/// Sample rate of degraded copies, Hz.
const RATE: u32 = 44_100;
/// Rate of the resampled copy, Hz.
const OTHER_RATE: u32 = 32_000;
/// Seconds that are cut off the beginning.
const SHIFT: usize = 3;
/// Edge of the low-pass, Hz.
const EDGE: f64 = 8000.0;

/// A way to degrade a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// MP3 at 64 kbit/s, by ffmpeg or lame.
    Mp3,
    /// Resampled to 32 kHz.
    Resampled,
    /// 6 dB softer.
    Softer,
    /// The first 3 s cut off.
    Shifted,
    /// Low-passed at 8 kHz (Butterworth, 48 dB an octave).
    LowPassed,
    /// 3 % faster: pitch and tempo together.
    Faster,
    /// 3 % slower: pitch and tempo together.
    Slower,
    /// Tempo 3 % up, same pitch; by ffmpeg.
    TempoUp,
    /// Tempo 3 % down, same pitch; by ffmpeg.
    TempoDown,
    /// Pitch 3 % up, same tempo; by ffmpeg.
    PitchUp,
    /// Pitch 3 % down, same tempo; by ffmpeg.
    PitchDown,
}

impl Degradation {
    /// All degradations with their names.
    pub const ALL: [(Self, &str); 11] = [
        (Self::Mp3, "MP3 at 64 kbit/s"),
        (Self::Resampled, "resampled to 32 kHz"),
        (Self::Softer, "6 dB softer"),
        (Self::Shifted, "3 s cut off"),
        (Self::LowPassed, "low-passed at 8 kHz"),
        (Self::Faster, "3 % faster"),
        (Self::Slower, "3 % slower"),
        (Self::TempoUp, "tempo + 3 %"),
        (Self::TempoDown, "tempo - 3 %"),
        (Self::PitchUp, "pitch + 3 %"),
        (Self::PitchDown, "pitch - 3 %"),
    ];
}

/// Programs found on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tools {
    ffmpeg: bool,
    lame: bool,
}

impl Tools {
    /// Looks for ffmpeg and lame.
    pub fn find() -> Self {
        let runs = |program: &str, argument: &str| {
            let output = Command::new(program)
                .arg(argument)
                .stdin(Stdio::null())
                .output();
            output.is_ok_and(|output| output.status.success())
        };
        Self {
            ffmpeg: runs("ffmpeg", "-version"),
            lame: runs("lame", "--version"),
        }
    }

    /// Whether a degradation is possible here; else what is missing.
    pub fn can(self, way: Degradation) -> Result<(), &'static str> {
        use Degradation as D;
        match way {
            D::Mp3 if !(self.ffmpeg || self.lame) => Err("needs ffmpeg or lame on the path"),
            D::TempoUp | D::TempoDown | D::PitchUp | D::PitchDown if !self.ffmpeg => {
                Err("needs ffmpeg on the path")
            }
            _ => Ok(()),
        }
    }
}

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DegradeError {
    /// The original could not be read.
    #[error(transparent)]
    Audio(#[from] voisin_audio::AudioError),
    /// The copy could not be written, or a program not started.
    #[error("{path}", path = path.display())]
    Io {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{path}: {program} failed: {reason}", path = path.display())]
    Program {
        /// The original.
        path: PathBuf,
        /// The program.
        program: &'static str,
        /// Its last line.
        reason: String,
    },
}

/// Writes a degraded copy of `original` into `folder` and returns its path. The original is only read.
pub fn degrade(
    original: &Path,
    way: Degradation,
    folder: &Path,
    tools: Tools,
) -> Result<PathBuf, DegradeError> {
    use Degradation as D;
    let out = folder.join(if way == D::Mp3 {
        "copy.mp3"
    } else {
        "copy.wav"
    });
    // Played faster by a wrong rate, resampled, and slowed down without a change of pitch.
    let up = format!(
        "asetrate={0},aresample={RATE},atempo={1:.8}",
        45_423,
        1.0 / 1.03
    );
    let down = format!(
        "asetrate={0},aresample={RATE},atempo={1:.8}",
        42_777,
        1.0 / 0.97
    );
    let filter = match way {
        D::TempoUp => Some("atempo=1.03"),
        D::TempoDown => Some("atempo=0.97"),
        D::PitchUp => Some(up.as_str()),
        D::PitchDown => Some(down.as_str()),
        _ => None,
    };
    if way == D::Mp3 && !tools.ffmpeg {
        let plain = folder.join("plain.pcm");
        let (waveform, _) = voisin_audio::read_all(original, RATE)?;
        // lame reads raw floating-point samples as integers, so it gets integers
        let integer =
            |x: &f32| ((x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).to_le_bytes();
        let bytes: Vec<u8> = waveform.samples.iter().flat_map(integer).collect();
        std::fs::write(&plain, bytes).map_err(|source| DegradeError::Io {
            path: plain.clone(),
            source,
        })?;
        let mut lame = Command::new("lame");
        let form = "--silent -b 64 -r -m m --signed --little-endian --bitwidth 16";
        lame.args(form.split(' '))
            .args(["-s", &format!("{}", f64::from(RATE) / 1000.0)])
            .arg(&plain)
            .arg(&out);
        run(lame, "lame", original)?;
        return Ok(out);
    }
    if way == D::Mp3 || filter.is_some() {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            // It must not wait for input; its output is the reason of a failure.
            .args(["-nostdin", "-v", "error", "-y", "-i"])
            .arg(absolute(original))
            .args(["-map", "0:a:0"]);
        match filter {
            Some(filter) => {
                // The pitch filters assume this rate.
                let filter = format!("aresample={RATE},{filter}");
                ffmpeg.args(["-af", filter.as_str(), "-ac", "1", "-c:a", "pcm_f32le"])
            }
            None => ffmpeg.args(["-b:a", "64k"]),
        };
        ffmpeg.arg(&out);
        run(ffmpeg, "ffmpeg", original)?;
        return Ok(out);
    }
    let rate = if way == D::Resampled {
        OTHER_RATE
    } else {
        RATE
    };
    let (mut waveform, _) = voisin_audio::read_all(original, rate)?;
    let samples = &mut waveform.samples;
    let mut header_rate = rate;
    match way {
        D::Softer => samples.iter_mut().for_each(|x| *x *= 0.501_187_2),
        D::Shifted => {
            // A track that is hardly longer keeps a second.
            let cut = (SHIFT * RATE as usize).min(samples.len().saturating_sub(RATE as usize));
            samples.drain(..cut);
        }
        D::LowPassed => low_pass(samples, EDGE / f64::from(RATE)),
        // 3 % above 44 100 Hz: the samples stay, and a wrong rate in the header makes players faster
        D::Faster => header_rate = 45_423,
        D::Slower => header_rate = 42_777,
        _ => {}
    }
    write_wav(&out, header_rate, samples)?;
    Ok(out)
}

/// An absolute path, which cannot be read as an option or a protocol.
fn absolute(path: &Path) -> std::ffi::OsString {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut text = std::ffi::OsString::from("file:");
    text.push(path);
    text
}

fn run(mut command: Command, program: &'static str, original: &Path) -> Result<(), DegradeError> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|source| DegradeError::Io {
            path: original.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no reason given")
        .to_owned();
    Err(DegradeError::Program {
        path: original.to_owned(),
        program,
        reason,
    })
}

/// Butterworth of the eighth order: four second-order sections (bilinear transform); `edge` in cycles per sample.
fn low_pass(samples: &mut [f32], edge: f64) {
    let k = (std::f64::consts::PI * edge).tan();
    for section in 0..4 {
        let angle = std::f64::consts::PI * (2.0 * f64::from(section) + 1.0) / 16.0;
        // The poles of the filter are evenly spaced on a half circle, a pair for each section.
        let q = 1.0 / (2.0 * angle.cos());
        let norm = 1.0 / (1.0 + k / q + k * k);
        let b0 = k * k * norm;
        let a1 = 2.0 * (k * k - 1.0) * norm;
        let a2 = (1.0 - k / q + k * k) * norm;
        // Transposed direct form II: two state variables, in f64 against rounding at low edges.
        let mut s1 = 0.0;
        let mut s2 = 0.0;
        for x in samples.iter_mut() {
            let input = f64::from(*x);
            let output = b0 * input + s1;
            s1 = 2.0 * b0 * input - a1 * output + s2;
            s2 = b0 * input - a2 * output;
            *x = output as f32;
        }
    }
}

/// Mono, 32-bit float.
fn write_wav(path: &Path, rate: u32, samples: &[f32]) -> Result<(), DegradeError> {
    let failed = |source| DegradeError::Io {
        path: path.to_owned(),
        source,
    };
    let size = samples.len() * 4 + 36;
    // Sizes in the header have 32 bits; the largest is the file's, without its first eight bytes.
    let size = u32::try_from(size).map_err(|_| {
        let text = format!("expected a copy of at most 4 GB, found {size} bytes: exclude the file");
        failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text))
    })?;
    let numbers = |numbers: &[u32]| {
        numbers
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    // 16 bytes of format: IEEE float (3) of one channel, 32 bits of which make 4 bytes of a frame.
    let format = numbers(&[16, 3 | 1 << 16, rate, rate * 4, 4 | 32 << 16]);
    let all = numbers(&[size]);
    let data = numbers(&[size - 36]);
    let mut file = [b"RIFF", &all[..], b"WAVEfmt ", &format, b"data", &data].concat();
    file.extend(samples.iter().flat_map(|x| x.to_le_bytes()));
    std::fs::write(path, file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::Degradation as D;
    use super::*;

    fn tone(hz: f64, seconds: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / f64::from(RATE);
        (0..seconds * RATE as usize)
            .map(|i| (0.5 * (step * i as f64).sin()) as f32)
            .collect()
    }

    fn level(samples: &[f32]) -> f64 {
        let power = samples.iter().map(|&x| f64::from(x * x)).sum::<f64>() / samples.len() as f64;
        10.0 * power.log10()
    }

    #[test]
    fn the_low_pass_has_its_edge_at_8_khz() {
        let gain = |hz: f64| {
            let mut samples = tone(hz, 1);
            let before = level(&samples);
            low_pass(&mut samples, EDGE / f64::from(RATE));
            level(&samples[4410..]) - before
        };
        assert!(
            gain(1000.0).abs() < 0.05 && (gain(8000.0) + 3.01).abs() < 0.1,
            "{}",
            gain(8000.0)
        );
        assert!(gain(16_000.0) < -45.0, "{}", gain(16_000.0));
    }

    #[test]
    fn each_copy_has_the_degradation_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original.wav");
        write_wav(&original, RATE, &tone(1000.0, 8)).unwrap();
        let tools = Tools::find();
        let make = |way: Degradation| {
            tools.can(way).ok()?;
            let copy = degrade(&original, way, folder.path(), tools).unwrap();
            let (waveform, _) = voisin_audio::read_all(&copy, RATE).unwrap();
            let seconds = waveform.samples.len() as f64 / f64::from(RATE);
            let middle = &waveform.samples[RATE as usize..RATE as usize * 3];
            let turns = middle
                .windows(2)
                .filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0))
                .count();
            Some((seconds, turns as f64 / 4.0, level(middle)))
        };
        let loud = level(&tone(1000.0, 1));
        for (way, seconds, hz, db) in [
            (D::Mp3, 8.0, 1000.0, loud),
            (D::Resampled, 8.0, 1000.0, loud),
            (D::Softer, 8.0, 1000.0, loud - 6.0),
            (D::Shifted, 5.0, 1000.0, loud),
            (D::LowPassed, 8.0, 1000.0, loud),
            (D::Faster, 8.0 / 1.03, 1030.0, loud),
            (D::Slower, 8.0 / 0.97, 970.0, loud),
            (D::TempoUp, 8.0 / 1.03, 1000.0, loud),
            (D::TempoDown, 8.0 / 0.97, 1000.0, loud),
            (D::PitchUp, 8.0, 1030.0, loud),
            (D::PitchDown, 8.0, 970.0, loud),
        ] {
            let Some(found) = make(way) else { continue };
            assert!(
                (found.0 - seconds).abs() < 0.15
                    && (found.1 - hz).abs() < 6.0
                    && (found.2 - db).abs() < 0.7,
                "{way:?}: {found:?}, expected {seconds} s, {hz} Hz, {db} dB"
            );
        }
        let nothing = Tools {
            ffmpeg: false,
            lame: false,
        };
        assert!(nothing.can(D::Mp3).is_err() && nothing.can(D::Softer).is_ok());
        let missing = degrade(
            &folder.path().join("gone.wav"),
            D::Softer,
            folder.path(),
            tools,
        );
        assert!(matches!(missing, Err(DegradeError::Audio(_))));
    }
}
