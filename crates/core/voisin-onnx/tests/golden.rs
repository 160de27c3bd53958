//! Networks of tests/data/onnx against onnxruntime's answers; `make.py` there made both.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use voisin_onnx::{OnnxError, OnnxFile, OnnxNetwork, OnnxValues};

fn bytes(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/onnx");
    std::fs::read(folder.join(name)).unwrap()
}

fn floats(name: &str) -> Vec<f32> {
    let bytes = bytes(name);
    let numbers = bytes.chunks_exact(4);
    numbers
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn open(name: &str) -> OnnxFile {
    let file = OnnxFile::read(&bytes(&format!("{name}.onnx")), |beside| Ok(bytes(beside)));
    let mut file = file.unwrap();
    file.cut(None).unwrap();
    file
}

/// The largest difference, relative to the largest number.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn networks_answer_as_onnxruntime_does() {
    for (name, input, shape) in [
        ("convolutions", "mel", &[1, 1, 64, 96][..]),
        ("attention", "samples", &[1, 4000]),
        ("quantised", "mel", &[1, 64, 50]),
        ("recurrent", "mel", &[1, 40, 32]),
        ("beside", "mel", &[1, 1, 64, 96]),
    ] {
        let file = open(name);
        let network = OnnxNetwork::new(&file, &[(input, shape)]).unwrap();
        let values = floats(&format!("{name}.in"));
        let found = network.run(&[OnnxValues::Floats(&values)]).unwrap();
        let off = difference(&found, &floats(&format!("{name}.out")));
        assert!(off < 1e-4, "{name}: {off:e}");
        let again = network.run(&[OnnxValues::Floats(&values)]).unwrap();
        assert_eq!(found, again, "{name}");
        // As an import keeps it.
        let kept = OnnxFile::read(&file.to_bytes(), |_| Err("none".to_owned())).unwrap();
        let network = OnnxNetwork::new(&kept, &[(input, shape)]).unwrap();
        assert_eq!(found, network.run(&[OnnxValues::Floats(&values)]).unwrap());
    }
}

#[test]
fn a_network_that_reads_takes_tokens_and_their_mask() {
    let file = open("text");
    assert!(file.inputs().iter().all(|input| input.whole));
    let shape = [1, 9];
    let shapes: [(&str, &[usize]); 2] = [("input_ids", &shape), ("attention_mask", &shape)];
    let network = OnnxNetwork::new(&file, &shapes).unwrap();
    let tokens: Vec<i64> = bytes("text.in")
        .chunks_exact(8)
        .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let values = [
        OnnxValues::Wholes(&tokens[..9]),
        OnnxValues::Wholes(&tokens[9..]),
    ];
    let off = difference(&network.run(&values).unwrap(), &floats("text.out"));
    assert!(off < 1e-4, "{off:e}");
}

#[test]
fn any_node_can_be_the_output() {
    let file = OnnxFile::read(&bytes("convolutions.onnx"), |_| Err("none".to_owned())).unwrap();
    assert_eq!(file.inputs()[0].axes, [None, Some(1), Some(64), None]);
    let mut cut = file.clone();
    cut.cut(Some("v3")).unwrap();
    assert_eq!(cut.outputs(), ["v3"]);
    let kept = |file: &OnnxFile| file.operators().iter().map(|(_, n)| n).sum::<usize>();
    assert!(kept(&cut) < kept(&file) && cut.to_bytes().len() < file.to_bytes().len());
    let network = OnnxNetwork::new(&cut, &[("mel", &[1, 1, 64, 32])]).unwrap();
    assert_eq!(network.output_shape(), [1, 24, 32, 16]);
    let error = file.clone().cut(Some("nothing")).unwrap_err().to_string();
    assert_eq!(
        error,
        "no output or node \"nothing\": expected one of embedding"
    );
    assert!(matches!(
        OnnxNetwork::new(&file, &[]),
        Err(OnnxError::Input(_))
    ));
}

/// Two windows of 128 bands and 199 frames, in decibels; `network.py` beside the files has the same formula.
fn openl3_input() -> Vec<f32> {
    let value = |n: f64, m: f64, t: f64| {
        let x = (0.05 * m * (n + 1.0) + 0.11 * t).sin() * (0.013 * m * t + n).cos();
        (40.0 * x - 40.0) as f32
    };
    let place = |i: usize| (i / (128 * 199), i / 199 % 128, i % 199);
    (0..2 * 128 * 199)
        .map(place)
        .map(|(n, m, t)| value(n as f64, m as f64, t as f64))
        .collect()
}

#[test]
fn openl3_graphs_answer_as_the_programs_that_made_them() {
    for (name, expected, input, shape) in [
        ("export", "torch", "melspectrogram", [2, 1, 128, 199]),
        ("export_script", "torch", "melspectrogram", [2, 1, 128, 199]),
        ("tf2onnx", "keras", "melspectrogram:0", [2, 128, 199, 1]),
    ] {
        let importers = |name: String| bytes(&format!("../importers/{name}"));
        let mut file = OnnxFile::read(&importers(format!("{name}.onnx")), |_| {
            Err("none".to_owned())
        })
        .unwrap();
        file.cut(None).unwrap();
        let network = OnnxNetwork::new(&file, &[(input, &shape)]).unwrap();
        let found = network.run(&[OnnxValues::Floats(&openl3_input())]).unwrap();
        let array = importers(format!("{expected}_expected.npy"));
        // Behind the header, which is 128 bytes long.
        let expected: Vec<f32> = array[128..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let off = difference(&found, &expected);
        assert!(off < 1e-4, "{name}: {off:e}");
    }
}
