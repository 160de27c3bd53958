//! tract as the runtime of voisin's encoders.

use voisin_encoder::{
    ExternalData, OnnxGraph, OnnxInput, OnnxRunner, OnnxRuntime, OnnxValues, install_onnx_runtime,
};

use crate::{OnnxFile, OnnxNetwork};

struct Tract;

/// Lets this process run networks in ONNX; see [`install_onnx_runtime`].
pub fn install() {
    install_onnx_runtime(&Tract);
}

impl OnnxRuntime for Tract {
    fn read(
        &self,
        bytes: &[u8],
        external: &mut ExternalData<'_>,
    ) -> Result<Box<dyn OnnxGraph>, String> {
        match OnnxFile::read(bytes, external) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl OnnxGraph for OnnxFile {
    fn inputs(&self) -> Vec<OnnxInput> {
        self.inputs()
    }

    fn outputs(&self) -> Vec<String> {
        self.outputs()
    }

    fn cut(&mut self, output: Option<&str>) -> Result<(), String> {
        self.cut(output).map_err(|error| error.to_string())
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn compile(&self, shapes: &[(&str, &[usize])]) -> Result<Box<dyn OnnxRunner>, String> {
        match OnnxNetwork::new(self, shapes) {
            Ok(network) => Ok(Box::new(network)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl OnnxRunner for OnnxNetwork {
    fn output_shape(&self) -> &[usize] {
        self.output_shape()
    }

    fn run(&self, values: &[OnnxValues<'_>]) -> Result<Vec<f32>, String> {
        self.run(values).map_err(|error| error.to_string())
    }
}
