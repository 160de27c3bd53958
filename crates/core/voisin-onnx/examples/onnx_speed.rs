//! Runs a network in ONNX as often as it is told to, for `research/speed/onnx_speed.py`:
//!
//! `onnx_speed FILE OUTPUT NAME=1,1,128,1000`. The input (f32, little-endian) comes on standard input, then a byte for each
//! run; each output goes to standard output.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

use std::io::{Read, Write};

use voisin_onnx::{OnnxFile, OnnxNetwork, OnnxValues};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&arguments[1]).unwrap();
    let mut file = OnnxFile::read(&bytes, |_| Err("not here".to_owned())).unwrap();
    let output = Some(arguments[2].as_str()).filter(|name| !name.is_empty());
    file.cut(output).unwrap();
    let (name, shape) = arguments[3].split_once('=').unwrap();
    let shape: Vec<usize> = shape.split(',').map(|n| n.parse().unwrap()).collect();
    let network = OnnxNetwork::new(&file, &[(name, &shape)]).unwrap();
    let mut input = vec![0; 4 * shape.iter().product::<usize>()];
    std::io::stdin().read_exact(&mut input).unwrap();
    let values: Vec<f32> = input
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let values = [OnnxValues::Floats(&values)];
    network.run(&values).unwrap();
    for (operator, time) in network.profile(&values).unwrap().iter().take(8) {
        eprintln!("{operator} {:.2} ms", 1000.0 * time.as_secs_f64());
    }
    // A byte for each run, so that another program can run in between.
    let mut signal = [0];
    while std::io::stdin().read_exact(&mut signal).is_ok() {
        let found = network.run(&values).unwrap();
        let bytes: Vec<u8> = found.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::io::stdout().write_all(&bytes).unwrap();
        std::io::stdout().flush().unwrap();
    }
}
