//! Preparing, training, resuming and exporting, on small nets and made-up music.

use std::path::Path;

use sha2::Digest as _;
use voisin_encoder::openl3::{OPENL3_WIDTHS, OpenL3Weights, WINDOW};
use voisin_kernels::isa;
use voisin_train::TrainError;
use voisin_train_encoder::{
    Checkpoint, ExportOptions, PrepareOptions, Start, TrainOptions, TrainingSet, export, prepare,
    train,
};

/// The smallest width that the kernels support.
const NARROW: [usize; 8] = [16; 8];

/// A 16-bit mono WAV file at 48 kHz.
pub(crate) fn write_wav(path: &Path, samples: &[f32]) {
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + 2 * samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    for field in [1u16, 1] {
        bytes.extend(field.to_le_bytes());
    }
    for field in [48_000u32, 96_000] {
        bytes.extend(field.to_le_bytes());
    }
    for field in [2u16, 16] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((2 * samples.len() as u32).to_le_bytes());
    bytes.extend(
        samples
            .iter()
            .flat_map(|x| ((x * 32_000.0) as i16).to_le_bytes()),
    );
    std::fs::write(path, bytes).expect("a temporary file can be written");
}

/// `kind` decides between chords, drums and noise that pulses; `seed` varies pitch and tempo.
pub(crate) fn music(kind: usize, seed: usize, seconds: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (seed as u64 + 1);
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let root = 110.0 * (1.0 + seed as f32 * 0.13);
    (0..seconds * 48_000)
        .map(|i| {
            let t = i as f32 / 48_000.0;
            let tone = |hz: f32| (std::f32::consts::TAU * hz * t).sin();
            let beat = (t * (1.5 + 0.2 * seed as f32)).fract();
            match kind % 3 {
                0 => 0.2 * (tone(root) + tone(root * 1.25) + tone(root * 1.5)),
                1 => 0.6 * (-12.0 * beat).exp() * (tone(60.0) + 0.5 * noise()),
                _ => 0.3 * noise() * (0.6 + 0.4 * tone(3.0)),
            }
        })
        .collect()
}

/// Six tracks in three albums, prepared.
fn prepared(folder: &Path) -> std::path::PathBuf {
    for track in 0..6 {
        let album = folder.join("music").join(format!("album {}", track / 2));
        std::fs::create_dir_all(&album).expect("a temporary folder can be made");
        write_wav(&album.join(format!("{track}.wav")), &music(track, track, 7));
    }
    std::fs::write(folder.join("music/album 0/broken.ogg"), b"OggS and nothing").expect("as above");
    let cache = folder.join("cache");
    let mut options = PrepareOptions::new(vec![folder.join("music")], cache.clone());
    options.crops = 4;
    let first = prepare(&options, &|_| true).expect("made-up music can be prepared");
    assert_eq!((first.tracks, first.crops, first.present), (6, 24, 0));
    assert_eq!(first.skipped.len(), 1, "{:?}", first.skipped);
    assert!(first.skipped[0].0.ends_with("album 0/broken.ogg"));
    let again = prepare(&options, &|_| true).expect("as above");
    assert_eq!((again.tracks, again.present), (0, 6));
    cache
}

fn options(cache: &Path, out: &Path) -> TrainOptions {
    let mut options = TrainOptions::new(cache.to_owned(), out.to_owned());
    options.widths = NARROW;
    options.batch = 4;
    options.windows = 192;
    options.holdout_groups = vec!["album 2".to_owned()];
    options.validate_every = 96;
    options.learning_rate = 1e-2;
    options.average = 0.8;
    options
}

#[test]
fn prepares_trains_resumes_and_exports() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let cache = prepared(folder);

    let data = TrainingSet::open(&cache).expect("prepared music can be read");
    assert_eq!(
        (data.len(), data.tracks().len(), data.outputs()),
        (24, 6, 250)
    );
    assert_eq!(
        data.teachers()
            .iter()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>(),
        ["musicnn-msd"]
    );
    let mut mel = vec![0.0; WINDOW];
    for crop in 0..data.len() {
        for variant in 0..data.variants(crop) {
            data.mel(crop, variant, &mut mel);
            let loudest = mel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(loudest.abs() < 1e-9 && mel.iter().all(|x| (-80.0..=0.0).contains(x)));
        }
    }
    // Crops of one chord are similar to the teacher, those of other music are not.
    let distance = |a: usize, b: usize| -> f32 {
        data.targets(a)[..200]
            .iter()
            .zip(&data.targets(b)[..200])
            .map(|(a, b)| (a - b).powi(2))
            .sum()
    };
    let crops_of = |name: &str| {
        (0..24)
            .filter(|&c| data.tracks()[data.track(c)].1.ends_with(name))
            .collect::<Vec<_>>()
    };
    let chord = crops_of("0.wav");
    let drums = crops_of("1.wav");
    assert!(distance(chord[0], chord[1]) < 0.3 * distance(chord[0], drums[0]));

    // The loss falls, and every layer moved.
    let whole = options(&cache, &folder.join("whole"));
    let mut losses = Vec::new();
    let one = train(&whole, &mut |p| {
        losses.push(p.losses.total);
        true
    })
    .expect("training works");
    assert!(one.finished && losses.len() == 48);
    let start = losses[..8].iter().sum::<f32>();
    let end = losses[40..].iter().sum::<f32>();
    assert!(end < 0.8 * start, "{losses:?}");
    let seeded = OpenL3Weights::seeded(1, &NARROW);
    for (i, (a, b)) in one
        .checkpoint
        .network
        .convs
        .iter()
        .zip(&seeded.convs)
        .enumerate()
    {
        assert!(
            a.weight
                .iter()
                .zip(&b.weight)
                .any(|(a, b)| (a - b).abs() > 1e-3),
            "layer {i} did not move"
        );
    }
    let validation = one.validation.expect("an album is held out");
    assert_eq!((validation.windows, validation.tracks), (8, 2));
    assert_eq!(one.checkpoint.run.tracks, 4);

    // Interrupted after 5 and 7 more steps, on another number of threads: bit-for-bit the same.
    let parts = options(&cache, &folder.join("parts"));
    for stop in [5, 7] {
        let cut = train(&parts, &mut |p| p.step < stop).expect("training works");
        assert!(!cut.finished && cut.checkpoint.run.step == stop);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("threads");
    let two = pool
        .install(|| train(&parts, &mut |_| true))
        .expect("training resumes");
    assert_eq!(two.checkpoint.network, one.checkpoint.network);
    assert_eq!(two.checkpoint.average, one.checkpoint.average);
    assert_eq!(two.checkpoint.head, one.checkpoint.head);
    assert_eq!(two.checkpoint.adam, one.checkpoint.adam);
    assert_eq!(two.validation, one.validation);
    let rows = |run: &str, file: &str| {
        let text = std::fs::read_to_string(folder.join(run).join(file)).expect("a CSV file");
        text.lines()
            .skip(1)
            .map(|line| line.split(',').next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rows("parts", "validation.csv"),
        rows("whole", "validation.csv")
    );
    assert_eq!(rows("whole", "validation.csv"), ["24", "48"]);

    // Another seed, other weights; another width in the same folder is refused.
    let other = TrainOptions {
        seed: 2,
        windows: 8,
        ..options(&cache, &folder.join("other"))
    };
    assert_ne!(
        train(&other, &mut |_| true)
            .expect("training works")
            .checkpoint
            .network,
        one.checkpoint.network
    );
    let wrong = TrainOptions {
        widths: [32; 8],
        ..parts.clone()
    };
    assert!(matches!(
        train(&wrong, &mut |_| true),
        Err(TrainError::Checkpoint { .. })
    ));

    // Widened: the same predictions before the first step, and it trains with all objectives.
    let checkpoint = folder.join("whole/checkpoint.safetensors");
    let mut grown = options(&cache, &folder.join("grown"));
    grown.start = Start::From(checkpoint.clone());
    grown.widths = [16, 32, 16, 16, 32, 16, 16, 32];
    grown.windows = 8;
    grown.losses.contrast = 0.3;
    grown.losses.temperature = 1.0;
    grown.losses.tags_bce = 0.5;
    grown.losses.penultimate_cosine = 0.5;
    let mut first = None;
    let trained = train(&grown, &mut |p| {
        first.get_or_insert(p.losses);
        true
    })
    .expect("a grown network trains");
    let first = first.expect("steps were made");
    assert!(first.contrast > 0.0 && first.tags_bce > 0.0 && first.penultimate_cosine > 0.0);
    assert!(
        first.penultimate_mse + first.tags_mse < 0.9 * start / 8.0,
        "starts where the other stopped: {first:?}"
    );
    assert_eq!(trained.checkpoint.run.windows_before, 192);

    // Exported: projection · embedding equals the averaged student's prediction.
    let exported = export(&ExportOptions {
        checkpoint: checkpoint.clone(),
        out: folder.join("models"),
        name: "tiny".to_owned(),
        licence: "CC0-1.0".to_owned(),
        provenance: "made-up music".to_owned(),
        full_width: false,
        tags_share: 0.5,
        frames: Vec::new(),
        tag_teachers: Vec::new(),
        corpus: None,
    })
    .expect("the weights can be written");
    assert!(exported.bytes < 10_000_000, "{}", exported.bytes);
    let state = Checkpoint::load(&checkpoint).expect("a checkpoint");
    let device = voisin_encoder::DeviceChoice::Cpu.resolve().expect("a CPU");
    let model = voisin_encoder::ModelRef::from(exported.path.as_path());
    let encoder = voisin_encoder::Encoder::load(&model, &device).expect("the model loads");
    data.mel(3, 0, &mut mel);
    let wide = encoder.encode_with_tags(&mel, 1).expect("it encodes");
    assert_eq!(
        encoder.encode(&mel, 1).expect("it encodes"),
        wide.embeddings
    );
    assert_eq!(encoder.manifest().tags.as_ref().map(Vec::len), Some(50));
    let net = state.average.compile(isa().unwrap());
    let mut narrow = vec![0.0; net.dimension()];
    net.forward(&mel, 1, &mut narrow);
    let predicted = state.head_average.forward(&narrow);
    let scale = predicted.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for (i, x) in wide.embeddings.iter().enumerate() {
        let (expected, tolerance) = match i {
            0..200 => (predicted[i], 0.02),
            200..250 => (0.5 * predicted[i], 0.02),
            // The tags' logits, too small to turn a vector.
            250..300 => (0.02 * predicted[i - 50], 4e-4),
            _ => (0.0, 1e-9),
        };
        assert!(
            (x - expected).abs() < tolerance * scale,
            "dimension {i}: {x}, expected {expected}"
        );
    }
    for (i, x) in wide.logits.iter().enumerate() {
        let deviation = state.target_deviation[200 + i];
        let mean = state.target_mean[200 + i];
        let expected = predicted[200 + i] * deviation + mean;
        assert!(
            (x - expected).abs() < 0.02 * scale * deviation.max(1.0),
            "tag {i}: {x}, expected {expected}"
        );
    }
    let layer = voisin_encoder::TagLayer::of(&model).expect("it can be read");
    let stored = layer
        .expect("stored vectors contain the tags")
        .logits(&wide.embeddings.row(0).to_vec());
    assert!(stored.iter().eq(wide.logits.iter()), "as in the encoder");

    // Continued from the exported model: a head is fitted, and hardly changes at this rate.
    assert_eq!(
        Start::of(checkpoint.to_str().expect("UTF-8")),
        Start::From(checkpoint.clone())
    );
    assert_eq!(
        Start::of(exported.path.to_str().expect("UTF-8")),
        Start::Model(model.clone())
    );
    let mut further = options(&cache, &folder.join("further"));
    further.start = Start::Model(model);
    further.widths = OPENL3_WIDTHS;
    (further.windows, further.learning_rate) = (4, 1e-9);
    let further = train(&further, &mut |_| true)
        .expect("a model can be trained on")
        .checkpoint;
    let old = &state.average.convs[0].weight;
    let new = &further.network.convs[0].weight;
    assert!(
        old.iter()
            .zip(new)
            .all(|(old, new)| (old - new).abs() < 1e-3 * old.abs().max(0.1))
    );
    let net = state.average.compile(isa().unwrap());
    let mut error = 0.0;
    let mut plain = 0.0;
    for crop in (0..data.len()).filter(|&crop| data.tracks()[data.track(crop)].0 != "album 2") {
        data.mel(crop, 0, &mut mel);
        net.forward(&mel, 1, &mut narrow);
        let wide: Vec<f32> = (0..OPENL3_WIDTHS[7])
            .map(|i| narrow[i % narrow.len()])
            .collect();
        for (i, predicted) in further.head.forward(&wide).into_iter().enumerate() {
            let target =
                (data.targets(crop)[i] - further.target_mean[i]) / further.target_deviation[i];
            error += (predicted - target).powi(2);
            plain += target.powi(2);
        }
    }
    assert!(
        error < 0.5 * plain,
        "squares {error}, without a head {plain}"
    );
    // Under a time limit, progress reports the time that is left, not an estimate from the windows.
    let mut timed = options(&cache, &folder.join("timed"));
    (timed.windows, timed.time_limit) = (u64::MAX, Some(std::time::Duration::from_secs(1000)));
    let mut left = Vec::new();
    let timed = train(&timed, &mut |p| {
        left.push(p.seconds_left);
        left.len() < 2
    });
    assert!(!timed.expect("it trains").finished);
    assert!(
        left[0] < 1000.0 && left[1] < left[0] && left[1] > 900.0,
        "{left:?}"
    );
    let mut other = options(&cache, &folder.join("other model"));
    other.start = Start::of("musicnn-msd");
    assert!(
        matches!(train(&other, &mut |_| true), Err(TrainError::Encoder(_))),
        "another network"
    );
}

/// A model with random weights and tags, as a second teacher.
fn second_teacher(folder: &Path) -> voisin_encoder::ModelRef {
    use voisin_encoder::{Architecture, ModelManifest, ModelRef, Weights};
    std::fs::create_dir_all(folder).expect("a temporary folder can be made");
    let path = folder.join("second-test.safetensors");
    Weights::random(Architecture::Musicnn, 4)
        .to_safetensors(&path)
        .expect("weights can be written");
    let digest = sha2::Sha256::digest(std::fs::read(&path).expect("they were written"));
    let manifest = ModelManifest {
        name: "second-test".to_owned(),
        architecture: Architecture::Musicnn,
        weights: "second-test.safetensors".to_owned(),
        weights_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ..ModelRef::Name("musicnn-msd".into())
            .manifest()
            .expect("a shipped model")
    };
    let card = folder.join("second-test.json");
    std::fs::write(
        &card,
        serde_json::to_string(&manifest).expect("a manifest is JSON"),
    )
    .expect("as above");
    ModelRef::from(card.as_path())
}

#[test]
fn a_second_teacher_is_added_to_a_prepared_cache_with_grooves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    for (i, style) in ["waltz", "waltz", "techno", "techno"]
        .into_iter()
        .enumerate()
    {
        let at = folder.join("grooves").join(style);
        std::fs::create_dir_all(&at).expect("a temporary folder can be made");
        write_wav(&at.join(format!("{i}.wav")), &music(i / 2, i, 5));
    }
    let cache = folder.join("cache");
    let mut first = PrepareOptions::new(Vec::new(), cache.clone());
    first.grooves = vec![folder.join("grooves")];
    first.crops = 2;
    let prepared = prepare(&first, &|_| true).expect("grooves can be prepared");
    assert_eq!((prepared.tracks, prepared.crops), (4, 8));
    let one = TrainingSet::open(&cache).expect("it was prepared");
    assert_eq!(one.style_names(), ["techno", "waltz"]);
    assert!((0..8).all(|crop| {
        let name = &one.tracks()[one.track(crop)].1;
        one.style(crop)
            .map(|style| one.style_names()[style].as_str())
            == name.split('/').nth(1)
    }));

    let mut both = first.clone();
    both.teachers.push(second_teacher(&folder.join("teachers")));
    let added = prepare(&both, &|_| true).expect("a teacher can be added");
    assert_eq!((added.tracks, added.present, added.added), (0, 0, 4));
    assert_eq!(prepare(&both, &|_| true).expect("as above").present, 4);
    let two = TrainingSet::open(&cache).expect("it was prepared");
    assert_eq!(
        (
            two.outputs(),
            two.teachers().len(),
            two.teachers()[1].penultimate
        ),
        (250 + 250, 2, 200)
    );
    let mut a = vec![0.0; WINDOW];
    let mut b = vec![0.0; WINDOW];
    for crop in 0..8 {
        assert_eq!(
            two.targets(crop)[..250],
            *one.targets(crop),
            "the first teacher's outputs stay"
        );
        one.mel(crop, 1, &mut a);
        two.mel(crop, 1, &mut b);
        assert_eq!(a, b);
    }
    // Prepared together, they are the same.
    let mut whole = both.clone();
    whole.cache = folder.join("at once");
    prepare(&whole, &|_| true).expect("as above");
    let at_once = TrainingSet::open(&whole.cache).expect("it was prepared");
    assert!((0..8).all(|crop| at_once.targets(crop) == two.targets(crop)));
    // Other crops than were prepared are refused track by track.
    let mut other = both.clone();
    other
        .teachers
        .push(voisin_encoder::ModelRef::Name("musicnn-msd".into()));
    assert!(
        matches!(prepare(&other, &|_| true), Err(TrainError::Options(_))),
        "the same teacher twice"
    );

    // Both teachers and the styles; interrupted and resumed.
    let run = |out: &str| {
        let mut options = options(&cache, &folder.join(out));
        options.windows = 96;
        options.holdout = 0.0;
        options.holdout_groups = Vec::new();
        options.losses.style = 1.0;
        options.teachers = vec![
            ("second-test".to_owned(), 0.5),
            ("musicnn-msd".to_owned(), 1.0),
        ];
        options
    };
    let mut styles = Vec::new();
    let whole = train(&run("whole"), &mut |p| {
        styles.push(p.losses.style);
        true
    })
    .expect("it trains");
    assert!(
        styles[..4].iter().sum::<f32>() > styles[20..].iter().sum::<f32>(),
        "{styles:?}"
    );
    assert_eq!(whole.checkpoint.run.styles, ["techno", "waltz"]);
    assert_eq!(whole.checkpoint.head.outputs, 306 + 250 + 2);
    train(&run("cut"), &mut |p| p.step < 9).expect("it trains");
    let mut resumed = run("cut");
    resumed.teachers = Vec::new(); // the run's own
    let resumed = train(&resumed, &mut |_| true).expect("it resumes");
    assert_eq!(resumed.checkpoint.network, whole.checkpoint.network);
    assert_eq!(resumed.checkpoint.run.weights, [0.5, 1.0]);

    // Widened with another set of teachers: the common one keeps its rows.
    let mut grown = options(&cache, &folder.join("grown"));
    grown.start = Start::From(folder.join("whole/checkpoint.safetensors"));
    grown.teachers = vec![("musicnn-msd".to_owned(), 1.0)];
    grown.holdout = 0.0;
    grown.holdout_groups = Vec::new();
    grown.windows = 4;
    grown.learning_rate = 1e-9;
    let grown = train(&grown, &mut |_| true).expect("it trains");
    let old = &whole.checkpoint.head_average.parameters;
    let new = &grown.checkpoint.head.parameters;
    assert!(
        (old[250 * 16] - new[0]).abs() < 1e-5,
        "{} and {}",
        old[250 * 16],
        new[0]
    );

    // The search vector of both teachers together: 400 rows.
    let mut export_options = ExportOptions {
        checkpoint: folder.join("whole/checkpoint.safetensors"),
        out: folder.join("models"),
        name: "both".to_owned(),
        licence: "CC0-1.0".to_owned(),
        provenance: "made-up music".to_owned(),
        full_width: false,
        tags_share: 0.0,
        frames: vec![
            ("musicnn-msd".to_owned(), 1.0),
            ("second-test".to_owned(), 0.5),
        ],
        tag_teachers: Vec::new(),
        corpus: None,
    };
    let exported = export(&export_options).expect("the weights can be written");
    let device = voisin_encoder::DeviceChoice::Cpu.resolve().expect("a CPU");
    let model = voisin_encoder::ModelRef::from(exported.path.as_path());
    let encoder = voisin_encoder::Encoder::load(&model, &device).expect("the model loads");
    let vector = encoder.encode(&a, 1).expect("it encodes");
    assert!(
        vector.iter().take(450).all(|x| *x != 0.0) && vector.iter().skip(450).all(|x| *x == 0.0)
    );
    let size = |range: std::ops::Range<usize>| range.map(|i| vector[[0, i]].powi(2)).sum::<f32>();
    assert!(
        size(400..450) < 1e-2 * size(0..400),
        "the rows with the tags of musicnn-msd are small"
    );
    assert_eq!(
        encoder
            .encode_with_tags(&a, 1)
            .expect("it has tags")
            .logits
            .ncols(),
        50
    );
    export_options.tag_teachers = vec!["second-test".to_owned()];
    assert!(
        matches!(export(&export_options), Err(TrainError::Options(_))),
        "its tags have no names"
    );
    export_options.tag_teachers.clear();
    export_options.frames = vec![("nobody".to_owned(), 1.0)];
    assert!(matches!(
        export(&export_options),
        Err(TrainError::Options(_))
    ));
}

#[test]
fn teachers_run_on_mixtures_which_are_never_held_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let cache = prepared(folder);
    let plain = TrainingSet::open(&cache).expect("it was prepared");
    std::fs::create_dir_all(folder.join("voices")).expect("as above");
    write_wav(&folder.join("voices/one.wav"), &music(2, 9, 6));
    let mut options = PrepareOptions::new(vec![folder.join("music")], cache.clone());
    options.crops = 4;
    options.passes = 0..3;
    options.mixed_from = 1;
    options.mixtures = 2;
    options.overlays = vec![folder.join("voices")];
    let added = prepare(&options, &|_| true).expect("mixtures can be prepared");
    assert_eq!((added.tracks, added.present, added.crops), (12, 6, 96));

    let data = TrainingSet::open(&cache).expect("it was prepared");
    let mixed: Vec<usize> = (0..data.len())
        .filter(|&crop| data.partner(crop).is_some())
        .collect();
    assert_eq!((data.len(), data.tracks().len(), mixed.len()), (120, 6, 96));
    assert!(
        mixed
            .iter()
            .all(|&crop| data.variants(crop) == 1 && data.style(crop).is_none())
    );
    assert!(mixed.iter().all(|&crop| {
        data.partner(crop)
            .is_some_and(|name| name.starts_with("album "))
    }));
    // The two mixtures of a crop differ.
    let mut one = vec![0.0; WINDOW];
    let mut other = vec![0.0; WINDOW];
    for pair in mixed.chunks_exact(2) {
        assert_eq!(data.track(pair[0]), data.track(pair[1]));
        data.mel(pair[0], 0, &mut one);
        data.mel(pair[1], 0, &mut other);
        assert_ne!(one, other);
        assert_ne!(data.targets(pair[0]), data.targets(pair[1]));
    }
    // The teacher's outputs are those for the mixture, never those for the track alone.
    for &crop in &mixed {
        let same_track = (0..plain.len())
            .filter(|&c| plain.tracks()[plain.track(c)] == data.tracks()[data.track(crop)]);
        for alone in same_track {
            let far = plain
                .targets(alone)
                .iter()
                .zip(data.targets(crop))
                .any(|(a, b)| (a - b).abs() > 0.05);
            assert!(far, "crop {crop}");
        }
    }

    // Two teachers at once get the same mixtures as one after the other; another set of mixtures is refused.
    let mut both = options.clone();
    both.teachers.push(second_teacher(&folder.join("teachers")));
    assert_eq!(
        prepare(&both, &|_| true)
            .expect("a teacher can be added")
            .added,
        18
    );
    let later = TrainingSet::open(&cache).expect("it was prepared");
    let mut whole = both.clone();
    whole.cache = folder.join("at once");
    prepare(&whole, &|_| true).expect("as above");
    let at_once = TrainingSet::open(&whole.cache).expect("as above");
    let mut a = vec![0.0; WINDOW];
    let mut b = vec![0.0; WINDOW];
    for crop in 0..120 {
        assert_eq!(later.targets(crop), at_once.targets(crop));
        later.mel(crop, 0, &mut a);
        at_once.mel(crop, 0, &mut b);
        assert_eq!(a, b);
    }
    let mut other = options.clone();
    other.cache = folder.join("other");
    prepare(&other, &|_| true).expect("as above");
    other.overlays = Vec::new();
    other.teachers = both.teachers.clone();
    let refused = prepare(&other, &|_| true).expect("tracks are skipped one by one");
    assert_eq!(
        (refused.added, refused.skipped.len()),
        (6, 12 + 3),
        "{:?}",
        refused.skipped
    );

    // A run that holds out an album does not train on mixtures with it.
    let mut run = self::options(&cache, &folder.join("run"));
    run.teachers = vec![("musicnn-msd".to_owned(), 1.0)];
    run.windows = 16;
    let trained = train(&run, &mut |_| true).expect("training works");
    let free = (0..120).filter(|&crop| {
        let group = &data.tracks()[data.track(crop)].0;
        group != "album 2" && data.partner(crop) != Some("album 2")
    });
    assert_eq!(trained.checkpoint.run.crops, free.count());
    assert_eq!(trained.validation.expect("an album is held out").windows, 8);
}

#[test]
fn a_narrow_student_is_exported_narrow_or_wide() {
    use voisin_encoder::{CpuPath, DeviceChoice, Encoder, EncoderOptions, ModelRef};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let cache = prepared(folder);
    let mut run = options(&cache, &folder.join("run"));
    run.widths = [16, 32, 16, 16, 32, 16, 16, 512];
    run.windows = 16;
    train(&run, &mut |_| true).expect("training works");
    let model = |full_width: bool| {
        let exported = export(&ExportOptions {
            checkpoint: folder.join("run/checkpoint.safetensors"),
            out: folder.join("models"),
            name: format!("student-{full_width}"),
            licence: "CC0-1.0".to_owned(),
            provenance: "made-up music".to_owned(),
            full_width,
            tags_share: 0.0,
            frames: Vec::new(),
            tag_teachers: Vec::new(),
            corpus: None,
        })
        .expect("the weights can be written");
        (exported.bytes, ModelRef::from(exported.path.as_path()))
    };
    let (narrow_bytes, narrow) = model(false);
    let (wide_bytes, wide) = model(true);
    assert!(
        narrow_bytes < 1_000_000 && wide_bytes > 9_000_000,
        "{narrow_bytes}, {wide_bytes}"
    );
    let device = DeviceChoice::Cpu.resolve().expect("a CPU");
    let mut mel = vec![0.0; WINDOW];
    TrainingSet::open(&cache)
        .expect("it was prepared")
        .mel(5, 0, &mut mel);
    let encode = |model: &ModelRef, engine| {
        let options = EncoderOptions {
            engine,
            ..EncoderOptions::default()
        };
        let encoder = Encoder::load_with(model, &device, &options).expect("the model loads");
        encoder.encode(&mel, 1).expect("it encodes")
    };
    let fast = encode(&narrow, CpuPath::Fast);
    let largest = fast.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (other, what) in [
        (encode(&narrow, CpuPath::Candle), "Candle"),
        (encode(&wide, CpuPath::Fast), "widened"),
    ] {
        let error = fast
            .iter()
            .zip(&other)
            .fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(error < 5e-3 * largest, "{what}: {error} of {largest}");
    }
}
