//! Networks in ONNX: read, cut, built and run on an input of their shape.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voisin_onnx::{OnnxFile, OnnxNetwork, OnnxValues};

fuzz_target!(init: voisin_fuzz::only_guarded_panics(), |bytes: &[u8]| {
    let beside = |_: &str| Ok(vec![0; 800]);
    let run = || {
        let mut file = OnnxFile::read(bytes, beside)?;
        file.cut(None)?;
        let inputs = file.inputs();
        let shape_of = |axes: &[Option<usize>]| -> Vec<usize> {
            axes.iter().map(|axis| axis.unwrap_or(32).min(32)).collect()
        };
        let shapes: Vec<_> = inputs.iter().map(|input| shape_of(&input.axes)).collect();
        // An input of six axes may still have too many numbers.
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        if shapes.iter().any(|shape| size(shape) > 1 << 16) {
            return Ok(());
        }
        let named: Vec<(&str, &[usize])> =
            inputs.iter().zip(&shapes).map(|(input, shape)| (input.name.as_str(), shape.as_slice())).collect();
        let network = OnnxNetwork::new(&file, &named)?;
        let floats: Vec<Vec<f32>> = shapes.iter().map(|shape| vec![0.5; size(shape)]).collect();
        let values: Vec<_> = floats.iter().map(|values| OnnxValues::Floats(values)).collect();
        let found = network.run(&values)?;
        assert_eq!(found.len(), network.output_shape().iter().product::<usize>());
        Ok(())
    };
    if let Err(error) = run() {
        let error: voisin_onnx::OnnxError = error;
        assert!((1..2000).contains(&error.to_string().len()));
    }
});
