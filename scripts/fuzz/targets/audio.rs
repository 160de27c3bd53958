//! The decoders' wrapper: probing, windows by both methods, and whole files.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voisin_audio::{DecodePath, WindowRequest};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| voisin_fuzz::scratch().join("audio"));

/// Longer files would only take more time.
const MOST_SECONDS: f64 = 60.;

fuzz_target!(
    init: voisin_fuzz::only_guarded_panics(),
    |bytes: &[u8]| {
        std::fs::write(&*FILE, bytes).expect("room in memory");
        let info = match voisin_audio::probe(&FILE) {
            Ok(info) => info,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        assert!(info.sample_rate > 0 && info.channels > 0 && info.n_frames > 0, "{info:?}");
        assert_eq!(voisin_audio::probe(&FILE).expect("it was there").content, info.content);
        if info.seconds() > MOST_SECONDS {
            return;
        }
        let rate = 16_000;
        let end = voisin_audio::resampled_len(&info, rate) as i64;
        let starts = [-100, 0, end / 2, (end - 500).max(end / 2), end + 10];
        let read = |how| {
            let mut windows = Vec::new();
            let request = WindowRequest { how, ..WindowRequest::new(rate, &starts, 1000) };
            let report = voisin_audio::read_request(&FILE, &info, request, &mut |i, window| {
                assert_eq!((i, window.len()), (windows.len() / 1000, 1000));
                windows.extend_from_slice(window);
            });
            report.map(|report| (windows, report))
        };
        if let Ok((windows, report)) = read(DecodePath::Full) {
            assert!(windows.iter().all(|sample| sample.is_finite()), "not finite");
            assert!((0. ..=1.).contains(&report.decoded_share), "{report:?}");
            let _ = read(DecodePath::Windows);
        }
    }
);
