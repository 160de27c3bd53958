//! The interface of the runtime for ONNX networks, which the program installs when it starts.
//!
//! tract, which runs them, is as large as the rest of a default build. With these traits only the crate `voisin-onnx`
//! and the program depend on it, so that no other crate is compiled twice for the feature `onnx`.

use std::path::Path;
use std::sync::OnceLock;

use crate::EncoderError;

/// An input of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxInput {
    /// Its name.
    pub name: String,
    /// Its axes; `None` if the length may vary.
    pub axes: Vec<Option<usize>>,
    /// Whether it takes integers, such as tokens.
    pub whole: bool,
}

/// Values of an input, row-major.
#[derive(Debug, Clone, Copy)]
pub enum OnnxValues<'a> {
    /// A spectrogram or samples.
    Floats(&'a [f32]),
    /// Tokens, or their mask.
    Wholes(&'a [i64]),
}

/// Returns the bytes of a file beside a network by its name, without folders.
pub type ExternalData<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

/// Reads ONNX files. Errors of these traits are messages for users.
pub trait OnnxRuntime: Sync {
    /// Reads and checks a file.
    ///
    /// - `external`: called once for each name
    fn read(
        &self,
        bytes: &[u8],
        external: &mut ExternalData<'_>,
    ) -> Result<Box<dyn OnnxGraph>, String>;
}

/// A checked file, with all its data within.
pub trait OnnxGraph {
    /// The inputs, without those that have a value in the file.
    fn inputs(&self) -> Vec<OnnxInput>;

    /// Names of the outputs.
    fn outputs(&self) -> Vec<String>;

    /// Reduces the graph to one output, with the nodes and data that it needs.
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

    /// The output for one set of inputs, row-major; bit-for-bit reproducible.
    fn run(&self, values: &[OnnxValues<'_>]) -> Result<Vec<f32>, String>;
}

static RUNTIME: OnceLock<&'static dyn OnnxRuntime> = OnceLock::new();

/// Installs the runtime for this process. The first one stays.
pub fn install_onnx_runtime(runtime: &'static dyn OnnxRuntime) {
    // A second call, e.g. of another test in the same process, has no effect.
    let _ = RUNTIME.set(runtime);
}

/// The runtime that was installed.
///
/// - `file`: the network that needs it, for the message
///
/// # Errors
/// None is installed: the program was built without the feature `onnx`.
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
