//! An ONNX file: read, checked without running anything, and cut down to what one output needs.
//!
//! The checks are those that tract leaves to its caller: it panics where an output is missing, loops where nodes are in a
//! circle, and allocates what a shape says.

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};

use voisin_encoder::OnnxInput;

use crate::{OnnxError, short};

/// Most nodes of a graph: tract's time grows with their square.
const MOST_NODES: usize = 6000;
/// Most inputs, outputs and attributes of a node.
const MOST_PARTS: usize = 1024;
/// Most numbers of one tensor.
// 4 GB of floats: twice what one message of the format may have, so that no real file is refused.
const MOST_NUMBERS: usize = 1 << 30;
/// Most bytes that all tensors take from files beside it: what one message of the format may have, as it is kept.
const MOST_TAKEN: usize = 1 << 31;
/// Most axes of a tensor.
const MOST_AXES: usize = 8;

/// Operators that answer otherwise each time.
const RANDOM: [&str; 5] = [
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
];

/// A checked ONNX file, with all its data within.
#[derive(Debug, Clone)]
pub struct OnnxFile {
    pub(crate) model: ModelProto,
}

impl OnnxFile {
    /// Reads and checks a file.
    ///
    /// - `external`: gives the bytes of a file beside it by its name, which has no folders; called once for each name
    pub fn read(
        bytes: &[u8],
        mut external: impl FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, OnnxError> {
        // The reader bounds how deep messages lie in each other.
        let mut model = ModelProto::decode(bytes)
            .map_err(|error| OnnxError::Damaged(short(&error.to_string(), 200)))?;
        if !model.functions.is_empty() {
            return Err(OnnxError::Operators(
                "functions of the file's own: export it again with all of them inlined".to_owned(),
            ));
        }
        // Kept files hold nothing that running them does not need.
        model.training_info.clear();
        model.metadata_props.clear();
        let graph = model
            .graph
            .as_mut()
            .ok_or_else(|| OnnxError::Damaged("expected a graph, found none".to_owned()))?;
        // Facts that follow from the rest of the file, and that a file may lie about.
        graph.value_info.clear();
        graph.quantization_annotation.clear();
        check_graph(graph)?;
        let mut files = HashMap::new();
        let mut left = MOST_TAKEN;
        let nodes = graph.node.iter_mut();
        // A `Constant` node carries its tensor as an attribute, which may lie beside the file as
        // well.
        let constants = nodes.flat_map(|node| &mut node.attribute);
        let constants =
            constants.flat_map(|attribute| attribute.t.iter_mut().chain(&mut attribute.tensors));
        for tensor in graph.initializer.iter_mut().chain(constants) {
            take_in(tensor, &mut files, &mut left, &mut external)?;
            check_tensor(tensor)?;
        }
        Ok(Self { model })
    }

    /// The file as bytes, without any file beside it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("checked when it was read")
    }

    /// The inputs that are fed, those that have a value in the file left out.
    pub fn inputs(&self) -> Vec<OnnxInput> {
        let graph = self.graph();
        let given: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let fed = graph
            .input
            .iter()
            // A default that a caller could override is not an input here.
            .filter(|input| !given.contains(input.name.as_str()));
        fed.map(|input| {
            let tensor = tensor_type(input);
            let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
            let elements = tensor.map_or(0, |tensor| tensor.elem_type);
            OnnxInput {
                name: input.name.clone(),
                axes: shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(fixed).collect()),
                whole: [DataType::Int64 as i32, DataType::Int32 as i32].contains(&elements),
            }
        })
        .collect()
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> Vec<String> {
        self.graph()
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect()
    }

    /// Operators and how often each is there, by name.
    pub fn operators(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for node in &self.graph().node {
            *counts.entry(node.op_type.clone()).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    /// Leaves one output, and the nodes and data that it needs.
    ///
    /// - `output`: the name of any value or node in the graph; by default the only output
    ///
    /// # Errors
    /// There is none of that name, or there are several and none is named; operators that are not run.
    pub fn cut(&mut self, output: Option<&str>) -> Result<(), OnnxError> {
        let all = self.outputs();
        let graph = self.model.graph.as_mut().expect("checked when it was read");
        let name = match (output, all.as_slice()) {
            (Some(name), _) => value_name(graph, name).ok_or_else(|| {
                OnnxError::Output(format!(
                    "no output or node \"{}\": expected one of {}",
                    short(name, 100),
                    listed(&all)
                ))
            })?,
            (None, [only]) => only.clone(),
            (None, several) => {
                return Err(OnnxError::Output(format!(
                    "{} outputs: name the one that is the vector with --output: {}",
                    several.len(),
                    listed(several)
                )));
            }
        };
        // Walks back from the output and keeps what it meets; a classifier's head behind the vector
        // goes.
        let maker: HashMap<&str, usize> = graph
            .node
            .iter()
            .enumerate()
            .flat_map(|(at, node)| node.output.iter().map(move |name| (name.as_str(), at)))
            .collect();
        let mut needed = HashSet::from([name.clone()]);
        let mut kept = BTreeSet::new();
        let mut open = vec![name.as_str()];
        while let Some(value) = open.pop() {
            let Some(&at) = maker.get(value) else {
                continue;
            };
            if kept.insert(at) {
                for input in graph.node[at]
                    .input
                    .iter()
                    .filter(|input| !input.is_empty())
                {
                    if needed.insert(input.clone()) {
                        open.push(input);
                    }
                }
            }
        }
        // `retain` keeps the order, which `check_graph` found to be one that can be run.
        let mut at = 0;
        graph.node.retain(|_| {
            at += 1;
            kept.contains(&(at - 1))
        });
        graph
            .initializer
            .retain(|tensor| needed.contains(&tensor.name));
        graph.input.retain(|input| needed.contains(&input.name));
        // Without a type: that of the old output may not be this one's.
        graph.output = vec![ValueInfoProto {
            name,
            ..ValueInfoProto::default()
        }];
        // Only now: an operator that is not run is no fault where nothing needs it.
        check_operators(&graph.node)
    }

    /// Gives the inputs fixed shapes.
    pub(crate) fn shaped(&self, shapes: &[(&str, &[usize])]) -> Result<ModelProto, OnnxError> {
        let mut model = self.model.clone();
        let graph = model.graph.as_mut().expect("checked when it was read");
        for (name, shape) in shapes {
            let input = graph.input.iter_mut().find(|input| input.name == *name);
            let input = input
                .ok_or_else(|| OnnxError::Input(format!("no input \"{}\"", short(name, 100))))?;
            let elements = tensor_type(input).map_or(DataType::Float as i32, |t| t.elem_type);
            let dim = shape.iter().map(|&length| tensor_shape_proto::Dimension {
                value: Some(tensor_shape_proto::dimension::Value::DimValue(
                    length as i64,
                )),
                ..Default::default()
            });
            input.r#type = Some(TypeProto {
                value: Some(Value::TensorType(type_proto::Tensor {
                    elem_type: elements,
                    shape: Some(TensorShapeProto { dim: dim.collect() }),
                })),
                ..Default::default()
            });
        }
        Ok(model)
    }
}

fn tensor_type(input: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match input.r#type.as_ref()?.value.as_ref()? {
        Value::TensorType(tensor) => Some(tensor),
    }
}

fn fixed(axis: &tensor_shape_proto::Dimension) -> Option<usize> {
    match axis.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(length)) => {
            // 0 and -1 are no lengths: such an axis may vary.
            usize::try_from(length).ok().filter(|length| *length > 0)
        }
        _ => None,
    }
}

/// A value of this name, or the first output of a node of this name.
fn value_name(graph: &GraphProto, name: &str) -> Option<String> {
    let nodes = || graph.node.iter();
    let value = nodes()
        .flat_map(|node| &node.output)
        .find(|output| *output == name);
    let node = || nodes().find(|node| node.name == name);
    value.or_else(|| node()?.output.first()).cloned()
}

/// Names in a message, not more than fit.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| short(name, 60))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    shown.join(", ")
        + &(if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        })
}

fn damaged(reason: impl Into<String>) -> OnnxError {
    OnnxError::Damaged(reason.into())
}

/// Counts, names, the order of nodes.
fn check_graph(graph: &GraphProto) -> Result<(), OnnxError> {
    if graph.node.len() > MOST_NODES {
        return Err(OnnxError::TooLarge(format!(
            "{} nodes: expected at most {MOST_NODES}",
            graph.node.len()
        )));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(OnnxError::Operators("sparse tensors".to_owned()));
    }
    let mut known = HashSet::new();
    let mut add = |name: &str| {
        if known.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(damaged(format!(
                "two values are named \"{}\"",
                short(name, 100)
            )))
        }
    };
    for tensor in &graph.initializer {
        add(&tensor.name)?;
    }
    let given: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    for input in &graph.input {
        let Some(tensor) = tensor_type(input) else {
            return Err(damaged(format!(
                "input \"{}\" is no tensor",
                short(&input.name, 100)
            )));
        };
        let axes = tensor.shape.as_ref().map_or(0, |shape| shape.dim.len());
        if axes > MOST_AXES {
            return Err(damaged(format!(
                "an input has {axes} axes: expected at most {MOST_AXES}"
            )));
        }
        // Files of before 2019 list their weights as inputs too.
        if !given.contains(input.name.as_str()) {
            add(&input.name)?;
        }
    }
    for node in &graph.node {
        let parts = [node.input.len(), node.output.len(), node.attribute.len()];
        if parts.iter().any(|n| *n > MOST_PARTS) {
            return Err(OnnxError::TooLarge(format!(
                "a node of {parts:?} inputs, outputs and attributes: expected at most {MOST_PARTS}"
            )));
        }
        // ONNX wants them in order; a circle of nodes has none.
        if let Some(input) = node
            .input
            .iter()
            .find(|i| !i.is_empty() && !known.contains(*i))
        {
            return Err(damaged(format!(
                "node \"{}\" takes \"{}\", which nothing before it makes",
                short(&node.name, 100),
                short(input, 100)
            )));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !known.insert(output.clone()) {
                return Err(damaged(format!(
                    "two values are named \"{}\"",
                    short(output, 100)
                )));
            }
        }
        check_numbers(node)?;
        let integers = node.attribute.iter().map(|attribute| attribute.ints.len());
        if integers.max().unwrap_or(0) > MOST_PARTS {
            return Err(OnnxError::TooLarge(
                "an attribute with too many numbers".to_owned(),
            ));
        }
    }
    match graph
        .output
        .iter()
        .find(|output| !known.contains(&output.name))
    {
        Some(output) => Err(damaged(format!(
            "nothing makes the output \"{}\"",
            short(&output.name, 100)
        ))),
        None if graph.output.is_empty() => Err(damaged("expected an output, found none")),
        None => Ok(()),
    }
}

/// Axes, and windows of convolutions and pools, of which tract makes a list of all places.
fn check_numbers(node: &NodeProto) -> Result<(), OnnxError> {
    /// Longest side, step, or pad.
    const LONGEST: u64 = 1 << 16;
    /// Most places of a window.
    const MOST_PLACES: u64 = 1 << 18;
    const SIDES: [&str; 6] = [
        "kernel_shape",
        "strides",
        "dilations",
        "pads",
        "output_padding",
        "output_shape",
    ];
    for attribute in &node.attribute {
        // tract counts from one axis to another, and up to numbers of parts.
        let most = match attribute.name.as_str() {
            "axis" | "axes" => 2 * MOST_AXES as u64,
            "value_int" | "value_ints" => u64::MAX,
            _ => 1 << 20,
        };
        let mut whole = attribute.ints.iter().chain([&attribute.i]);
        if let Some(found) = whole.find(|n| n.unsigned_abs() > most) {
            return Err(OnnxError::TooLarge(format!(
                "node \"{}\" has the {} {found}, expected at most {most}",
                short(&node.name, 100),
                short(&attribute.name, 100)
            )));
        }
        // tract looks for the axis that follows each, without end where one is there twice.
        let is_permutation =
            |axes: &[i64]| (0..axes.len()).all(|axis| axes.contains(&(axis as i64)));
        if attribute.name == "perm" && !is_permutation(&attribute.ints) {
            return Err(damaged(format!(
                "node \"{}\" puts the axes {} in order: expected each once",
                short(&node.name, 100),
                short(&format!("{:?}", attribute.ints), 100)
            )));
        }
        if !SIDES.contains(&attribute.name.as_str()) {
            continue;
        }
        let places = attribute.ints.iter().try_fold(1_u64, |all, side| {
            // A side of 0 must not make the product of huge ones small.
            all.checked_mul(side.unsigned_abs().max(1))
        });
        let is_kernel = attribute.name == "kernel_shape";
        let is_large = attribute
            .ints
            .iter()
            .any(|side| side.unsigned_abs() > LONGEST)
            || is_kernel && places.is_none_or(|places| places > MOST_PLACES);
        if is_large {
            return Err(OnnxError::TooLarge(format!(
                "node \"{}\" has the {} {}",
                short(&node.name, 100),
                attribute.name,
                short(&format!("{:?}", attribute.ints), 100)
            )));
        }
    }
    Ok(())
}

/// All operators that are not run, at once.
fn check_operators(nodes: &[NodeProto]) -> Result<(), OnnxError> {
    // All that are missing, not the first: whoever exports again wants to know at once whether it
    // pays.
    let known = tract_onnx::onnx().op_register.0;
    let mut missing = BTreeSet::new();
    for node in nodes {
        let holds_graph = node
            .attribute
            .iter()
            .any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
        let is_run = known.contains_key(&node.op_type)
            && !holds_graph
            // The same file must give the same vector each time.
            && !RANDOM.contains(&node.op_type.as_str())
            && node
                .attribute
                .iter()
                .all(|a| a.sparse_tensor.is_none() && a.sparse_tensors.is_empty());
        if !is_run {
            missing.insert(node.op_type.clone());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.into_iter().collect();
    Err(OnnxError::Operators(listed(&missing)))
}

/// Data of a file beside this one becomes the tensor's own.
///
/// - `left`: bytes that tensors may still take
fn take_in(
    tensor: &mut TensorProto,
    files: &mut HashMap<String, Vec<u8>>,
    left: &mut usize,
    external: &mut impl FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<(), OnnxError> {
    if tensor.data_location != Some(DataLocation::External as i32) {
        if !tensor.external_data.is_empty() {
            return Err(OnnxError::External(
                "a tensor has data both within and beside the file".to_owned(),
            ));
        }
        return Ok(());
    }
    let field = |key: &str| {
        let mut entries = tensor.external_data.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    };
    let name = field("location").unwrap_or_default();
    // Nothing but a name: "../", an absolute path or a drive would read any file of this user into
    // the model.
    let is_plain = std::path::Path::new(name).file_name() == Some(std::ffi::OsStr::new(name));
    if !is_plain || name.contains(['/', '\\', ':']) {
        return Err(OnnxError::External(format!(
            "\"{}\": expected the name of a file in the same folder",
            short(name, 100)
        )));
    }
    let number = |key: &str| {
        let value = field(key).map(str::parse::<usize>).transpose();
        value.map_err(|_| OnnxError::External(format!("the {key} of a tensor is no number")))
    };
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?;
    if !files.contains_key(name) {
        let bytes = external(name).map_err(|reason| {
            OnnxError::External(format!("{}: {}", short(name, 100), short(&reason, 300)))
        })?;
        files.insert(name.to_owned(), bytes);
    }
    let bytes = &files[name];
    let end = length.map_or(Some(bytes.len()), |length| offset.checked_add(length));
    let part = end.and_then(|end| bytes.get(offset..end)).ok_or_else(|| {
        OnnxError::External(format!(
            "a tensor takes bytes from {offset} of {}, which has {}",
            short(name, 100),
            bytes.len()
        ))
    })?;
    // Before the copy: many tensors may refer to one long file.
    // Sixteen bytes are twice the widest number that `check_tensor` accepts.
    if number_of(tensor)?.saturating_mul(16) < part.len() {
        return Err(OnnxError::External(
            "a tensor takes more bytes than it has numbers".to_owned(),
        ));
    }
    *left = left.checked_sub(part.len()).ok_or_else(|| {
        OnnxError::TooLarge("all tensors take more than 2 GiB of the files beside it".to_owned())
    })?;
    tensor.raw_data = part.to_vec();
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(())
}

/// Numbers of a tensor, by its shape.
fn number_of(tensor: &TensorProto) -> Result<usize, OnnxError> {
    let size = tensor.dims.iter().try_fold(1_usize, |size, axis| {
        size.checked_mul(usize::try_from(*axis).ok()?)
    });
    match size {
        Some(size) if size <= MOST_NUMBERS && tensor.dims.len() <= MOST_AXES => Ok(size),
        _ => Err(OnnxError::TooLarge(format!(
            "tensor \"{}\" has the shape {}: expected at most {MOST_AXES} axes and 2^30 numbers",
            short(&tensor.name, 100),
            short(&format!("{:?}", tensor.dims), 100)
        ))),
    }
}

/// Whether a tensor has the numbers that its shape says.
fn check_tensor(tensor: &TensorProto) -> Result<(), OnnxError> {
    let size = number_of(tensor)?;
    let width = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        Ok(DataType::Float16 | DataType::Int16 | DataType::Uint16) => 2,
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Bool) => 1,
        other => {
            let kind =
                other.map_or_else(|_| tensor.data_type.to_string(), |kind| format!("{kind:?}"));
            return Err(OnnxError::Operators(format!("tensors of {kind}")));
        }
    };
    let typed = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    // Numbers of a tensor lie in one of five lists by their type, or all in `raw_data`.
    let typed = typed.iter().sum::<usize>();
    let raw = tensor.raw_data.len();
    let is_whole = if raw == 0 {
        typed == size
    } else {
        raw == size * width
    };
    if is_whole && tensor.string_data.is_empty() && tensor.segment.is_none() {
        return Ok(());
    }
    Err(damaged(format!(
        "tensor \"{}\" of shape {} has {typed} numbers and {raw} bytes",
        short(&tensor.name, 100),
        short(&format!("{:?}", tensor.dims), 100),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::StringStringEntryProto;

    #[test]
    fn tensors_share_one_budget_of_bytes() {
        let location = StringStringEntryProto {
            key: "location".to_owned(),
            value: "data".to_owned(),
        };
        let tensor = TensorProto {
            dims: vec![4],
            data_type: DataType::Float as i32,
            data_location: Some(DataLocation::External as i32),
            external_data: vec![location],
            ..TensorProto::default()
        };
        let mut files = HashMap::new();
        let mut left = 40;
        let mut take = || {
            let mut beside = |_: &str| Ok(vec![0; 16]);
            take_in(&mut tensor.clone(), &mut files, &mut left, &mut beside)
        };
        assert!(take().is_ok() && take().is_ok());
        assert!(matches!(take(), Err(OnnxError::TooLarge(_))));
    }
}
