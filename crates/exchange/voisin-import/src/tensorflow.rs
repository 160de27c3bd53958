//! Frozen TensorFlow graphs: the message `GraphDef`.

use std::collections::HashMap;

use crate::constant::{Constant, KernelLayout, elements, shorten};
use crate::graph::{Node, Op, OperatorGraph};
use crate::protobuf::{Attributes, Field, Message, WireValue, attribute};
use crate::{ImportError, WeightFormat};

const FORMAT: WeightFormat = WeightFormat::TensorFlow;
/// `DT_FLOAT`
const FLOAT: i64 = 1;

/// Whether bytes begin as a `GraphDef` does: with a node that has a name and an operation.
pub(super) fn is_graph(bytes: &[u8]) -> bool {
    let node = Message::new(FORMAT, bytes).next().and_then(Result::ok);
    let Some(Field {
        number: 1,
        value: WireValue::Bytes(node),
    }) = node
    else {
        return false;
    };
    let mut fields = Message::new(FORMAT, node);
    let mut is_text = |wanted| {
        let field = fields.next().and_then(Result::ok);
        field.is_some_and(|field| {
            field.number == wanted && field.value.bytes().is_some_and(<[u8]>::is_ascii)
        })
    };
    // A weak signature, but all other formats have been tried before.
    is_text(1) && is_text(2)
}

pub(super) fn read(bytes: &[u8]) -> Result<OperatorGraph<'_>, ImportError> {
    let mut graph = OperatorGraph {
        nodes: Vec::new(),
        producers: HashMap::new(),
        constants: Vec::new(),
    };
    for field in Message::new(FORMAT, bytes) {
        if let Field {
            number: 1,
            value: WireValue::Bytes(node),
        } = field?
        {
            let (mut node, constant) = read_node(node)?;
            if let Some(tensor) = constant {
                node.op = Op::Constant(graph.constants.len());
                graph.constants.push(Box::new(move || read_tensor(tensor)));
            }
            graph.producers.insert(node.name.clone(), graph.nodes.len());
            graph.nodes.push(node);
        }
    }
    Ok(graph)
}

/// A node, and its tensor if it is a constant of floats.
fn read_node(bytes: &[u8]) -> Result<(Node, Option<&[u8]>), ImportError> {
    let mut name = String::new();
    let mut kind = String::new();
    let mut inputs = Vec::new();
    let mut attributes = Attributes::new();
    for field in Message::new(FORMAT, bytes) {
        let Field { number, value } = field?;
        match number {
            1 => name = value.text().unwrap_or_default(),
            2 => kind = value.text().unwrap_or_default(),
            3 => inputs.push(value.text().unwrap_or_default()),
            5 => {
                let mut key = String::new();
                let mut content = &[][..];
                for field in Message::new(FORMAT, value.bytes().unwrap_or_default()) {
                    match field? {
                        Field { number: 1, value } => key = value.text().unwrap_or_default(),
                        Field { number: 2, value } => content = value.bytes().unwrap_or_default(),
                        _ => {}
                    }
                }
                attributes.insert(key, Message::new(FORMAT, content));
            }
            _ => {}
        }
    }
    // "^node" only orders execution, "node:0" is the node's first output.
    inputs.retain(|input| !input.starts_with('^'));
    for input in &mut inputs {
        if let Some(end) = input.rfind(':') {
            input.truncate(end);
        }
    }
    let mut constant = None;
    let op = match kind.as_str() {
        "Placeholder" | "PlaceholderWithDefault" => Op::Input,
        "Const" => {
            constant = attribute(&attributes, "value", 8)?.and_then(WireValue::bytes);
            // The caller replaces it by the constant; a `Const` without a value stays unsupported.
            Op::Other(kind)
        }
        "Conv2D" => convolution(&name, &attributes)?,
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => Op::BatchNorm {
            epsilon: attribute(&attributes, "epsilon", 4)?
                .and_then(WireValue::float)
                .unwrap_or(1e-4),
        },
        "MaxPool" => {
            check_layout(&name, &attributes)?;
            let size = ints(&attributes, "ksize")?;
            let strides = ints(&attributes, "strides")?;
            match (size.as_slice(), strides == size) {
                (&[1, h, w, 1], true) => Op::MaxPool { size: Some([h, w]) },
                _ => {
                    return Err(other(
                        &name,
                        "a pool whose strides are its size",
                        format!("{size:?} by {strides:?}"),
                    ));
                }
            }
        }
        "Max" => Op::MaxPool { size: None },
        "Relu" => Op::Relu,
        "BiasAdd" | "Add" | "AddV2" => Op::Add,
        "Sub" => Op::Subtract,
        "Mul" => Op::Multiply,
        "RealDiv" | "Div" => Op::Divide,
        "Rsqrt" => Op::ReciprocalRoot,
        "Sqrt" => Op::Root,
        "Neg" => Op::Negate,
        "Identity" | "Reshape" | "Squeeze" | "ExpandDims" | "Transpose" | "Cast"
        | "StopGradient" | "NoOp" | "ReadVariableOp" | "PreventGradient" | "Snapshot" => Op::Same,
        _ => Op::Other(kind),
    };
    Ok((Node { name, op, inputs }, constant))
}

fn other(name: &str, expected: &str, found: impl Into<String>) -> ImportError {
    ImportError::other(
        FORMAT,
        format!("node \"{}\"", shorten(name)),
        expected,
        found,
    )
}

fn convolution(name: &str, attributes: &Attributes) -> Result<Op, ImportError> {
    check_layout(name, attributes)?;
    for key in ["strides", "dilations"] {
        let found = ints(attributes, key)?;
        if found.iter().any(|&step| step != 1) {
            return Err(other(
                name,
                "a convolution at every place",
                format!("{key} {found:?}"),
            ));
        }
    }
    let padding = attribute(attributes, "padding", 2)?
        .and_then(WireValue::text)
        .unwrap_or_default();
    let padding = match padding.as_str() {
        "SAME" => None,
        "VALID" => Some([0; 4]),
        _ => return Err(other(name, "padding SAME or VALID", shorten(&padding))),
    };
    Ok(Op::Convolution {
        padding,
        kernel: KernelLayout::Hwio,
    })
}

fn check_layout(name: &str, attributes: &Attributes) -> Result<(), ImportError> {
    let layout = attribute(attributes, "data_format", 2)?.and_then(WireValue::text);
    match layout.as_deref() {
        None | Some("NHWC") => Ok(()),
        Some(found) => Err(other(name, "layout NHWC", shorten(found))),
    }
}

/// A list of integers.
fn ints(attributes: &Attributes, key: &str) -> Result<Vec<i64>, ImportError> {
    let mut found = Vec::new();
    if let Some(list) = attribute(attributes, key, 1)?.and_then(WireValue::bytes) {
        for field in Message::new(FORMAT, list) {
            let field = field?;
            if field.number == 3 {
                field.value.push_ints(FORMAT, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn read_tensor(bytes: &[u8]) -> Result<Constant, ImportError> {
    let mut kind = 0;
    let mut shape = Vec::new();
    let mut content = None;
    let mut values = Vec::new();
    for field in Message::new(FORMAT, bytes) {
        let Field { number, value } = field?;
        match number {
            1 => kind = value.int().unwrap_or_default(),
            2 => {
                for axis in Message::new(FORMAT, value.bytes().unwrap_or_default()) {
                    let Field { number: 2, value } = axis? else {
                        continue;
                    };
                    // protocol buffers leave out a value of 0
                    let mut size = 0;
                    for field in Message::new(FORMAT, value.bytes().unwrap_or_default()) {
                        let field = field?;
                        if field.number == 1 {
                            size = field.value.int().unwrap_or_default();
                        }
                    }
                    shape.push(
                        usize::try_from(size).map_err(|_| damaged("an axis of negative length"))?,
                    );
                }
            }
            4 => content = value.bytes(),
            5 => value.push_floats(&mut values),
            _ => {}
        }
    }
    if kind != FLOAT {
        return Err(ImportError::other(
            FORMAT,
            "constants",
            "32-bit floats (type 1)",
            format!("type {kind}"),
        ));
    }
    let count = elements(&shape).ok_or_else(|| damaged(&format!("a tensor of shape {shape:?}")))?;
    if let Some(content) = content.filter(|content| !content.is_empty()) {
        values = content
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
    }
    // TensorFlow writes a tensor of equal numbers as one number. The limit keeps a few bytes from expanding to a huge tensor.
    if values.len() == 1 && count > 1 && count <= 1 << 16 {
        values = vec![values[0]; count];
    }
    if values.len() == count {
        Ok(Constant { shape, values })
    } else {
        Err(damaged(&format!(
            "{} numbers for a tensor of shape {shape:?}",
            values.len()
        )))
    }
}

fn damaged(reason: &str) -> ImportError {
    ImportError::damaged(FORMAT, format!("found {reason}"))
}
