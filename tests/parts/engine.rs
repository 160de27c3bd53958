//! A run of the engine that adds, from the lock to the report.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use voisin::{
    AddEvent, AddOptions, DeviceChoice, Embedder, Encoder, Engine, EngineError, Library,
    LibraryError, ModelRef, OpenMode, is_audio_candidate,
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
    album: PathBuf,
}

impl Household {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = dunce::canonicalize(folder.path()).unwrap();
        let music = root.join("music");
        std::fs::create_dir(&music).unwrap();
        let album = music.join("album.wav");
        write_noise(&album);
        Self {
            engine: Engine::open(&root.join("library"), OpenMode::Create).unwrap(),
            _folder: folder,
            music,
            album,
        }
    }

    fn scan(&self) -> Scan {
        scan(std::slice::from_ref(&self.music), &is_audio_candidate)
    }

    /// Adds what the run names; returns the report and the events, but for those of single files.
    fn add(&mut self, run: &AddRun<'_>) -> (AddReport, Vec<String>) {
        let mut events = Vec::new();
        let mut note = |event: AddEvent<'_>| match event {
            AddEvent::Planned { .. } | AddEvent::Done { .. } | AddEvent::Stored => {}
            other => events.push(format!("{other:?}")),
        };
        let load = |_: &Library| Ok::<_, EngineError>(embedder());
        let report = run
            .run(&mut self.engine, load, &mut note, &AtomicBool::new(false))
            .unwrap();
        (report, events)
    }
}

fn options() -> AddOptions {
    AddOptions::default()
}

fn of_scan(found: &Scan) -> AddRun<'_> {
    AddRun {
        files: &found.files,
        options: options(),
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
            ..options()
        },
        ..of_scan(&found)
    };
    let (report, _) = home.add(&again);
    assert_eq!(report.summary.updated, 1);
    let audio = home.engine.library().track(track).unwrap().audio;
    assert_eq!(audio.damaged_packets, 0);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_left_over_twice_is_set_aside() {
    let mut home = Household::new();
    let found = home.scan();
    // The journal of a killed run: a length, and the path of the file being read.
    let path = home.album.to_str().unwrap().as_bytes();
    let entry = [&(path.len() as u16).to_le_bytes()[..], path].concat();
    let dir = home.engine.library().dir().to_owned();
    let journals = ["voisin.reading-x", "voisin.reading-y"].map(|name| dir.join(name));
    let leave_over = |journal: &PathBuf| std::fs::write(journal, &entry).unwrap();

    // In two journals: the second run was killed when it read the file alone.
    journals.iter().for_each(leave_over);
    let (report, events) = home.add(&of_scan(&found));
    assert_eq!((report.summary.added, report.summary.failed), (0, 1));
    let expected = AddEvent::CutOff { files: 1 };
    assert_eq!(events[0], format!("{expected:?}"));
    assert!(events[1].starts_with("SetAside"), "{events:?}");
    assert_eq!(
        home.engine.library().failures().unwrap()[0].path,
        home.album
    );
    assert!(!journals.iter().any(|journal| journal.exists()));

    // It is tried again if asked for, and counts once.
    leave_over(&journals[0]);
    let again = AddRun {
        options: AddOptions {
            retry: true,
            ..options()
        },
        ..of_scan(&found)
    };
    let (report, events) = home.add(&again);
    assert_eq!((report.summary.added, report.summary.failed), (1, 0));
    assert_eq!(events, [format!("{expected:?}")]);
    assert!(!journals[0].exists());

    // A run of other files forgets it.
    leave_over(&journals[0]);
    let none = AddRun {
        files: &[],
        ..of_scan(&found)
    };
    home.add(&none);
    assert!(!journals[0].exists());
}
