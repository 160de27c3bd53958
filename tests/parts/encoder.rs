//! The networks against PyTorch and TensorFlow, models on disk, and results that depend on nothing but the window.

// A test may fail by a panic, and prints that it skips.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use ndarray::{Array2, ArrayView1, s};
use voisin_encoder::{
    Architecture, Device, DeviceChoice, Encoder, EncoderError, ModelManifest, ModelRef, Weights,
    models,
};

fn cpu() -> Device {
    DeviceChoice::Cpu.resolve().unwrap()
}

fn golden(name: &str) -> Array2<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/encoder")
        .join(name);
    ndarray_npy::read_npy(path).unwrap()
}

/// `formulas.uniform`: `SplitMix64` started at FNV-1a of a name.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
        })
        .collect()
}

/// `formulas.spectrograms`: `scale · cell · band · frame`; the last window is constant.
fn spectrograms(n: usize, bands: usize, frames: usize, scale: f64) -> Vec<f32> {
    let cell = uniform("cell", n * bands * frames);
    let band = uniform("band", n * bands);
    let frame = uniform("frame", n * frames);
    let mut mels = Vec::with_capacity(n * bands * frames);
    for i in 0..n {
        for b in 0..bands {
            for t in 0..frames {
                let x = scale
                    * cell[(i * bands + b) * frames + t]
                    * band[i * bands + b]
                    * frame[i * frames + t];
                mels.push(if i + 1 == n { scale * 0.25 } else { x } as f32);
            }
        }
    }
    mels
}

/// Largest difference over the largest magnitude of the reference.
fn relative_error(found: ArrayView1<f32>, expected: ArrayView1<f32>) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    found
        .iter()
        .zip(expected)
        .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()))
        / scale
}

/// In Candle it is compared by tests/seeds.rs.
#[test]
fn openl3_agrees_with_torchopenl3() {
    let expected = golden("openl3.npy");
    let mels = spectrograms(5, 128, 199, -80.0);
    let encoder = Encoder::random(Architecture::OpenL3, 7, &cpu()).unwrap();
    let found = encoder.encode(&mels, 5).unwrap();
    for (i, (found, expected)) in found.rows().into_iter().zip(expected.rows()).enumerate() {
        let error = relative_error(found, expected);
        assert!(error <= 1e-4, "window {i}: {error}");
    }
}

fn musicnn() -> ModelRef {
    ModelRef::Name("musicnn-msd".into())
}

fn built_in(name: &str) -> ModelManifest {
    ModelRef::Name(name.into()).manifest().unwrap()
}

#[test]
fn musicnn_agrees_with_the_wheels_own_graph() {
    let expected = golden("musicnn.npy");
    let encoder = Encoder::load(&musicnn(), &cpu()).unwrap();
    let tagged = encoder
        .encode_each(&[&spectrograms(5, 96, 187, 7.0)], 5)
        .unwrap();
    for i in 0..5 {
        let error = relative_error(tagged.embeddings.row(i), expected.slice(s![i, ..200]));
        assert!(error <= 1e-4, "penultimate layer of window {i}: {error}");
        let error = relative_error(tagged.logits.row(i), expected.slice(s![i, 200..]));
        assert!(error <= 1e-4, "logits of window {i}: {error}");
    }
}

#[test]
fn built_in_models_have_their_tags_licences_and_spectrograms() {
    let own = built_in("voisin-3");
    assert_eq!((own.dimension, own.licence.as_str()), (512, "CC0-1.0"));
    assert_eq!(own.front_end, Architecture::OpenL3.front_end());
    let msd = built_in("musicnn-msd");
    assert_eq!(own.tags, msd.tags, "the teacher's tags");
    assert_eq!((msd.dimension, msd.licence.as_str()), (200, "ISC"));
    assert_eq!(msd.front_end.level_dbfs, Some(-20.0));
    let tags = msd.tags.unwrap();
    assert_eq!((tags.len(), tags[49].as_str()), (50, "happy"));
}

/// The default: MusiCNN joined with voisin-3, which leaves out the tags that MusiCNN has, reads every third window and gives
/// 56 of its numbers.
#[test]
fn the_default_spreads_every_third_window_and_keeps_given_parts() {
    let encoder = Encoder::load(&ModelRef::default(), &cpu()).unwrap();
    let manifest = encoder.manifest();
    assert_eq!(
        (manifest.name.as_str(), manifest.dimension),
        ("voisin-equal", 256)
    );
    assert_eq!(encoder.every().collect::<Vec<_>>(), [1, 3]);
    let ours = spectrograms(3, 128, 199, -80.0);
    let theirs = spectrograms(7, 96, 187, 7.0);
    let joined = encoder.encode_each(&[&theirs, &ours], 7).unwrap();
    let msd = Encoder::load(&musicnn(), &cpu())
        .unwrap()
        .encode_each(&[&theirs], 7)
        .unwrap();
    let long = Encoder::load(&ModelRef::Name("voisin-3".into()), &cpu()).unwrap();
    let long = long.encode_each(&[&ours], 3).unwrap();
    assert_eq!(joined.embeddings.slice(s![.., ..200]), msd.embeddings);
    assert_eq!(joined.logits.slice(s![.., ..50]), msd.logits);
    for (window, group) in [0, 0, 0, 1, 1, 1, 2].into_iter().enumerate() {
        let first = joined.embeddings.slice(s![3 * group, 200..]);
        assert_eq!(joined.embeddings.slice(s![window, 200..]), first);
        assert!(group == 0 || first != joined.embeddings.slice(s![0, 200..]));
        // An orthonormal basis adds no information.
        let norm = |vector: ArrayView1<f32>| vector.dot(&vector).sqrt();
        let share = norm(first) / norm(long.embeddings.row(group));
        assert!((0.5..1.0 + 1e-5).contains(&share), "{share}");
    }
    // A window more or less in the last group changes no other row.
    let fewer = encoder
        .encode_each(&[&theirs[..5 * 96 * 187], &ours[..2 * 128 * 199]], 5)
        .unwrap();
    assert_eq!(fewer.embeddings, joined.embeddings.slice(s![..5, ..]));
    let one_short = encoder
        .encode_each(&[&theirs, &ours[..2 * 128 * 199]], 7)
        .unwrap_err();
    assert!(
        matches!(one_short, EncoderError::WrongInput { windows: 3, .. }),
        "{one_short}"
    );
    // No tag is there twice.
    let mut names = manifest.tags.clone().unwrap();
    let outputs = manifest.outputs.iter();
    names.extend(outputs.flat_map(|output| output.labels.clone()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), encoder.tags());
    let one = encoder.encode(&theirs, 7).unwrap_err();
    assert!(matches!(one, EncoderError::SeveralNetworks { .. }), "{one}");
}

/// A window's embedding is the same to the last bit alone, in any batch, and with any number of threads.
#[test]
fn batches_and_threads_change_no_bit() {
    for (architecture, n, bands, frames, scale) in [
        (Architecture::Musicnn, 32, 96, 187, 7.0),
        (Architecture::OpenL3, 3, 128, 199, -80.0),
    ] {
        let mels = spectrograms(n, bands, frames, scale);
        let encoder = Encoder::random(architecture, 1, &cpu()).unwrap();
        let pool = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
        };
        let one = pool(1).install(|| encoder.encode(&mels, n)).unwrap();
        assert_eq!(
            one,
            pool(2).install(|| encoder.encode(&mels, n)).unwrap(),
            "{architecture}: threads"
        );
        for i in [0, n / 2, n - 1] {
            let window = &mels[i * bands * frames..(i + 1) * bands * frames];
            for threads in [1, 2, 5] {
                let alone = pool(threads).install(|| encoder.encode(window, 1)).unwrap();
                assert_eq!(
                    alone.row(0),
                    one.row(i),
                    "{architecture}: window {i} alone, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn wrong_input_is_refused() {
    let encoder = Encoder::load(&musicnn(), &cpu()).unwrap();
    assert!(matches!(
        encoder.encode(&[0.0; 100], 1),
        Err(EncoderError::WrongInput {
            windows: 1,
            expected: 17_952,
            found: 100
        })
    ));
    assert_eq!(encoder.encode(&[], 0).unwrap().dim(), (0, 200));
    let mut mels = vec![1.0; 2 * 96 * 187];
    mels[96 * 187 + 5] = f32::NAN;
    assert!(matches!(
        encoder.encode(&mels, 2),
        Err(EncoderError::NotFinite { window: 1 })
    ));
}

/// A user's model: found by name, by manifest and by weights; damage is noticed.
#[test]
fn models_on_disk_are_found_and_damage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let weights_path = dir.path().join("mine.safetensors");
    Weights::random(Architecture::Musicnn, 3)
        .to_safetensors(&weights_path)
        .unwrap();

    // Without a manifest the architecture follows from the tensors.
    let by_weights = ModelRef::from(weights_path.as_path());
    let mut manifest = by_weights.manifest().unwrap();
    assert_eq!(manifest.architecture, Architecture::Musicnn);
    let mels = spectrograms(2, 96, 187, 7.0);
    let encode = |model: &ModelRef| {
        let encoder = Encoder::load(model, &cpu()).unwrap();
        encoder.encode(&mels, 2).unwrap()
    };
    let expected = encode(&by_weights);
    let random = Encoder::random(Architecture::Musicnn, 3, &cpu()).unwrap();
    assert_eq!(expected, random.encode(&mels, 2).unwrap());

    // A manifest is used from its own path and from that of the weights.
    manifest.name = "my-model".to_owned();
    let manifest_path = dir.path().join("mine.json");
    std::fs::write(&manifest_path, serde_json::to_string(&manifest).unwrap()).unwrap();
    for reference in [by_weights.clone(), ModelRef::from(manifest_path.as_path())] {
        assert_eq!(reference.manifest().unwrap().name, "my-model");
        assert_eq!(encode(&reference), expected);
    }
    let names: Vec<_> = models(Some(dir.path()))
        .into_iter()
        .map(|m| m.unwrap().manifest.name)
        .collect();
    assert_eq!(
        names,
        ["voisin-equal", "voisin-3", "musicnn-msd", "my-model"]
    );

    // A flipped bit, a cut file, a broken manifest.
    let mut bytes = std::fs::read(&weights_path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights_path, &bytes).unwrap();
    let damaged = Encoder::load(&by_weights, &cpu()).err().unwrap();
    assert!(
        matches!(damaged, EncoderError::WrongDigest { .. }),
        "{damaged}"
    );
    std::fs::remove_file(&manifest_path).unwrap();
    std::fs::write(&weights_path, &bytes[..bytes.len() / 2]).unwrap();
    let cut = Encoder::load(&by_weights, &cpu()).err().unwrap();
    assert!(matches!(cut, EncoderError::BadWeights { .. }), "{cut}");
    std::fs::write(&manifest_path, "{}").unwrap();
    let listed = models(Some(dir.path()));
    assert!(listed[2].is_ok() && matches!(listed[3], Err(EncoderError::BadManifest { .. })));

    let unknown = Encoder::load(&"no-such-model".parse().unwrap(), &cpu())
        .err()
        .unwrap()
        .to_string();
    assert!(unknown.contains("musicnn-msd"), "{unknown}");
}
