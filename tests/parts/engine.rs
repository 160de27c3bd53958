//! A run of the engine that adds, from the lock to the report.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use voisin::{
    AddOptions, DeviceChoice, Embedder, Encoder, Engine, EngineError, Library, LibraryError,
    ModelRef, OpenMode, is_audio_candidate,
};
use voisin::{AddReport, AddRun};
use voisin_library::scan::{Scan, scan};

fn embedder() -> Arc<Embedder> {
    static EMBEDDER: OnceLock<Arc<Embedder>> = OnceLock::new();
    let load = || {
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let encoder = Encoder::load(&ModelRef::default(), &device).unwrap();
        Arc::new(Embedder::new(encoder).unwrap())
    };
    Arc::clone(EMBEDDER.get_or_init(load))
}

/// Twelve seconds of noise at 16 kHz, 16 bits.
fn write_noise(path: &Path) {
    const RATE: u32 = 16_000;
    let mut state = 1_u32;
    let samples: Vec<u8> = (0..12 * RATE)
        .flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i16 / 4).to_le_bytes()
        })
        .collect();
    let size = samples.len() as u32;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + size).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(RATE.to_le_bytes());
    wav.extend((2 * RATE).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(size.to_le_bytes());
    wav.extend(samples);
    std::fs::write(path, wav).unwrap();
}

/// An empty library beside a folder of music with one file.
struct Household {
    _folder: tempfile::TempDir,
    engine: Engine,
    music: PathBuf,
}

impl Household {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(folder.path()).unwrap();
        let music = root.join("music");
        std::fs::create_dir(&music).unwrap();
        write_noise(&music.join("album.wav"));
        Self {
            engine: Engine::open(&root.join("library"), OpenMode::Create).unwrap(),
            _folder: folder,
            music,
        }
    }

    fn scan(&self) -> Scan {
        scan(std::slice::from_ref(&self.music), &is_audio_candidate)
    }

    fn add(&mut self, run: &AddRun<'_>) -> AddReport {
        let load = |_: &Library| Ok::<_, EngineError>(embedder());
        let stop = AtomicBool::new(false);
        run.run(&mut self.engine, load, &mut |_| (), &stop).unwrap()
    }
}

fn of_scan(found: &Scan) -> AddRun<'_> {
    AddRun {
        files: &found.files,
        ..AddRun::default()
    }
}

#[test]
fn a_run_waits_for_no_other_writer() {
    let mut home = Household::new();
    let found = home.scan();
    let other = Library::open(home.engine.library().dir(), OpenMode::ReadWrite).unwrap();
    let _lock = other.lock_for_writing().unwrap();
    let load = |_: &Library| -> Result<Arc<Embedder>, EngineError> {
        panic!("the model is loaded although another process writes")
    };
    let stop = AtomicBool::new(false);
    let run = of_scan(&found);
    let refused = run.run(&mut home.engine, load, &mut |_| (), &stop).err();
    assert!(
        matches!(
            refused,
            Some(EngineError::Library(LibraryError::WriterBusy { .. }))
        ),
        "{refused:?}"
    );
}

#[test]
fn an_analysis_anew_replaces_what_decoding_lost() {
    let mut home = Household::new();
    let found = home.scan();
    home.add(&of_scan(&found));
    let library = home.engine.library_mut();
    let track = library.track_ids().unwrap()[0];
    library.set_damaged_packets(track, 1).unwrap();
    assert_eq!(library.track(track).unwrap().audio.damaged_packets, 1);
    let again = AddRun {
        options: AddOptions {
            force: true,
            ..AddOptions::default()
        },
        ..of_scan(&found)
    };
    let report = home.add(&again);
    assert_eq!(report.summary.updated, 1);
    let audio = home.engine.library().track(track).unwrap().audio;
    assert_eq!(audio.damaged_packets, 0);
}
