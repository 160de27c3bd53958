//! Who runs ONNX networks: a runtime that the program installs when it starts.
//!
//! tract, which runs them, is as large as all else that a default build compiles. Behind these traits it concerns the crate
//! `voisin-onnx` and the program alone: no other crate is compiled a second time for the feature `onnx`.

use std::path::Path;
use std::sync::OnceLock;

use crate::EncoderError;

/// An input of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxInput {
    /// Its name.
    pub name: String,
    /// Its axes, `None` where the length may vary.
    pub axes: Vec<Option<usize>>,
    /// Whether it takes whole numbers, as tokens are.
    pub whole: bool,
}

/// Values of an input, row-major.
#[derive(Debug, Clone, Copy)]
pub enum OnnxValues<'a> {
    /// A spectrogram or samples.
    Floats(&'a [f32]),
    /// Tokens, or which of them count.
    Wholes(&'a [i64]),
}

/// Gives the bytes of a file beside a network by its name, which has no folders.
pub type ExternalData<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

/// Reads ONNX files. Errors of these traits are messages for people.
pub trait OnnxRuntime: Sync {
    /// Reads and checks a file.
    ///
    /// - `external`: is called once for each name
    fn read(
        &self,
        bytes: &[u8],
        external: &mut ExternalData<'_>,
    ) -> Result<Box<dyn OnnxGraph>, String>;
}

/// A checked file, with all its data within.
pub trait OnnxGraph {
    /// The inputs that are fed, those that have a value in the file left out.
    fn inputs(&self) -> Vec<OnnxInput>;

    /// Names of the outputs.
    fn outputs(&self) -> Vec<String>;

    /// Leaves one output, and the nodes and data that it needs.
    ///
    /// - `output`: the name of any value or node in the graph; by default the only output
    fn cut(&mut self, output: Option<&str>) -> Result<(), String>;

    /// The file, with the data that was beside it.
    fn to_bytes(&self) -> Vec<u8>;

    /// Makes a network of a graph with one output.
    ///
    /// - `shapes`: of all inputs, by name, in the order in which [`OnnxRunner::run`] takes their values
    fn compile(&self, shapes: &[(&str, &[usize])]) -> Result<Box<dyn OnnxRunner>, String>;
}

/// A network for inputs of fixed shapes.
pub trait OnnxRunner: Send + Sync {
    /// Shape of the output.
    fn output_shape(&self) -> &[usize];

    /// The output for one set of inputs, row-major; the same numbers give the same answer to the last bit.
    fn run(&self, values: &[OnnxValues<'_>]) -> Result<Vec<f32>, String>;
}

static RUNTIME: OnceLock<&'static dyn OnnxRuntime> = OnceLock::new();

/// Lets this process run ONNX networks. The first runtime stays.
pub fn install_onnx_runtime(runtime: &'static dyn OnnxRuntime) {
    // A second call, of another test in the same process say, finds what it wanted.
    let _ = RUNTIME.set(runtime);
}

/// The runtime that was installed.
///
/// - `file`: the network that asks for it, for the message
///
/// # Errors
/// None was: the program was built without the feature `onnx`.
pub fn onnx_runtime(file: &Path) -> Result<&'static dyn OnnxRuntime, EncoderError> {
    RUNTIME
        .get()
        .copied()
        .ok_or_else(|| EncoderError::BadWeights {
            origin: file.display().to_string(),
            reason: "an ONNX network, which this voisin was built without: take a package of a release, or build it with \
                     `cargo install --path . --features onnx`"
                .to_owned(),
        })
}
