//! A short training on made music.

use std::path::Path;

use anyhow::{bail, ensure};
use voisin_encoder::DeviceChoice;

use crate::prepare::prepare;
use crate::train::train;
use crate::{PrepareArgs, RunArgs};

/// Steps of the training.
const STEPS: u64 = 50;
const BATCH: usize = 8;
/// The mean loss of the last ten is at most this share of that of the first ten.
const FALL: f32 = 0.9;

/// Six made tracks with musicnn-msd as the teacher, and a network of a quarter of OpenL3's width.
#[test]
fn fifty_steps_on_made_music_lower_the_loss() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let music = folder.path().join("music");
    for track in 0..6 {
        let album = music.join(format!("album {}", track / 2));
        std::fs::create_dir_all(&album)?;
        write_wav(&album.join(format!("{track}.wav")), &sound(track, 12))?;
    }
    let cache = folder.path().join("cache");
    let prepared = prepare(
        &PrepareArgs {
            music: vec![music],
            cache: cache.clone(),
            grooves: Vec::new(),
            teacher: vec!["musicnn-msd".to_owned()],
            passes: 1,
            mixed: 0,
            mixtures: 3,
            overlay: Vec::new(),
            crops: 6,
            random_seed: 1,
        },
        &|_| true,
    )?;
    ensure!(prepared.crops == 36, "{prepared:?}");
    let losses = train(
        DeviceChoice::Cpu,
        &RunArgs {
            cache,
            run: folder.path().join("run"),
            windows: STEPS * BATCH as u64,
            batch: BATCH,
            rate: 2e-3,
            random_seed: 1,
            from: None,
        },
        &mut |_, _| true,
    )?;
    let [first, .., last] = &losses[..] else {
        bail!("no losses");
    };
    ensure!(
        last.total() <= FALL * first.total(),
        "the loss does not fall"
    );
    Ok(())
}

/// Chords, drums or noise that pulses, by the track's number.
fn sound(track: usize, seconds: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (track as u64 + 1);
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let root = 110.0 * (1.0 + track as f32 * 0.13);
    (0..seconds * 48_000)
        .map(|i| {
            let t = i as f32 / 48_000.0;
            let tone = |hz: f32| (std::f32::consts::TAU * hz * t).sin();
            let beat = (t * (1.5 + 0.2 * track as f32)).fract();
            match track % 3 {
                0 => 0.2 * (tone(root) + tone(root * 1.25) + tone(root * 1.5)),
                1 => 0.6 * (-12.0 * beat).exp() * (tone(60.0) + 0.5 * noise()),
                _ => 0.3 * noise() * (0.6 + 0.4 * tone(3.0)),
            }
        })
        .collect()
}

/// A 16-bit mono WAV file at 48 kHz.
fn write_wav(path: &Path, samples: &[f32]) -> std::io::Result<()> {
    let size = 2 * samples.len() as u32;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + size).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(48_000u32.to_le_bytes());
    bytes.extend(96_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(size.to_le_bytes());
    let samples = samples.iter().map(|x| (x * 32_000.0) as i16);
    bytes.extend(samples.flat_map(i16::to_le_bytes));
    std::fs::write(path, bytes)
}
