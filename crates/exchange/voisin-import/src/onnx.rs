//! ONNX: the message `ModelProto`.

use std::collections::HashMap;

use half::f16;

use crate::constant::{Constant, KernelLayout, elements, shorten};
use crate::graph::{Node, Op, OperatorGraph};
use crate::protobuf::{Attributes, Field, Message, WireValue, attribute};
use crate::{ImportError, WeightFormat};

const FORMAT: WeightFormat = WeightFormat::Onnx;
/// `TensorProto.DataType`
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const HALF: i64 = 10;

/// Whether bytes begin as a `ModelProto` does: its version first, and a graph among the fields.
pub(super) fn is_model(bytes: &[u8]) -> bool {
    let mut fields = Message::new(FORMAT, bytes).map_while(Result::ok);
    matches!(
        fields.next(),
        Some(Field {
            number: 1,
            value: WireValue::Varint(1..100)
        })
    ) && fields
        .take(64)
        .any(|field| field.number == 7 && field.value.bytes().is_some())
}

pub(super) fn read(bytes: &[u8]) -> Result<OperatorGraph<'_>, ImportError> {
    // If a field occurs twice, the last one counts, as protocol buffers require.
    let mut content = &[][..];
    for field in Message::new(FORMAT, bytes) {
        if let Field {
            number: 7,
            value: WireValue::Bytes(found),
        } = field?
        {
            content = found;
        }
    }
    let mut graph = OperatorGraph {
        nodes: Vec::new(),
        producers: HashMap::new(),
        constants: Vec::new(),
    };
    // Initialisers may come after the nodes, and older files list them among the inputs too; constants take precedence.
    let mut nodes = Vec::new();
    let mut inputs = Vec::new();
    for field in Message::new(FORMAT, content) {
        let Field { number, value } = field?;
        let Some(bytes) = value.bytes() else { continue };
        match number {
            // Numbers of `GraphProto`: node, initializer, input, sparse_initializer.
            1 => nodes.push(bytes),
            5 => add_constant(&mut graph, text(bytes, 8)?, bytes),
            11 => inputs.push(text(bytes, 1)?),
            15 => return Err(damaged("a sparse tensor")),
            _ => {}
        }
    }
    for name in inputs {
        if !graph.producers.contains_key(&name) {
            add(
                &mut graph,
                vec![name.clone()],
                Node {
                    name,
                    op: Op::Input,
                    inputs: Vec::new(),
                },
            );
        }
    }
    let mut paddings = Paddings::new();
    for bytes in nodes {
        read_node(&mut graph, &mut paddings, bytes)?;
    }
    Ok(graph)
}

fn add(graph: &mut OperatorGraph, outputs: Vec<String>, node: Node) {
    for output in outputs {
        graph.producers.insert(output, graph.nodes.len());
    }
    graph.nodes.push(node);
}

fn add_constant<'a>(graph: &mut OperatorGraph<'a>, name: String, tensor: &'a [u8]) {
    let op = Op::Constant(graph.constants.len());
    graph.constants.push(Box::new(move || read_tensor(tensor)));
    add(
        graph,
        vec![name.clone()],
        Node {
            name,
            op,
            inputs: Vec::new(),
        },
    );
}

/// The last text of field `number`.
fn text(bytes: &[u8], number: u32) -> Result<String, ImportError> {
    let mut found = String::new();
    for field in Message::new(FORMAT, bytes) {
        let field = field?;
        if field.number == number {
            found = field.value.text().unwrap_or_default();
        }
    }
    Ok(found)
}

/// Decoded constants of paddings by index, since any number of nodes may refer to one.
type Paddings = HashMap<usize, Vec<f32>>;

fn read_node<'a>(
    graph: &mut OperatorGraph<'a>,
    paddings: &mut Paddings,
    bytes: &'a [u8],
) -> Result<(), ImportError> {
    let mut name = String::new();
    let mut kind = String::new();
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    let mut attributes = Attributes::new();
    for field in Message::new(FORMAT, bytes) {
        let Field { number, value } = field?;
        match number {
            1 => inputs.push(value.text().unwrap_or_default()),
            2 => outputs.push(value.text().unwrap_or_default()),
            3 => name = value.text().unwrap_or_default(),
            4 => kind = value.text().unwrap_or_default(),
            5 => {
                let bytes = value.bytes().unwrap_or_default();
                attributes.insert(text(bytes, 1)?, Message::new(FORMAT, bytes));
            }
            _ => {}
        }
    }
    if name.is_empty() {
        // Nodes need no name in ONNX, but messages do; outputs always have one.
        name = outputs.first().cloned().unwrap_or_default();
    }
    let op = match kind.as_str() {
        "Constant" => {
            if let Some(tensor) = attribute(&attributes, "value", 5)?.and_then(WireValue::bytes) {
                add_constant(
                    graph,
                    outputs.into_iter().next().unwrap_or_default(),
                    tensor,
                );
            }
            return Ok(());
        }
        "Conv" => convolution(&name, &attributes)?,
        "BatchNormalization" => {
            // Only the first output is data.
            outputs.truncate(1);
            Op::BatchNorm {
                epsilon: attribute(&attributes, "epsilon", 2)?
                    .and_then(WireValue::float)
                    .unwrap_or(1e-5),
            }
        }
        "MaxPool" => {
            // The second output is the places of the maxima, which only an unpooling layer reads.
            outputs.truncate(1);
            let size = ints(&attributes, "kernel_shape")?;
            let strides = ints(&attributes, "strides")?;
            let padded = ints(&attributes, "pads")?.iter().any(|&pad| pad != 0);
            let dilated = ints(&attributes, "dilations")?
                .iter()
                .any(|&step| step != 1);
            // Without `strides` ONNX means 1, which overlaps: empty is not equal to the size
            // either.
            match (size.as_slice(), strides == size && !padded && !dilated) {
                (&[h, w], true) => Op::MaxPool { size: Some([h, w]) },
                _ => {
                    return Err(other(
                        &name,
                        "a pool whose strides are its size",
                        format!("{size:?} by {strides:?}"),
                    ));
                }
            }
        }
        // Axes are not read: the matcher accepts this only at the end of the network.
        "GlobalMaxPool" | "ReduceMax" => Op::MaxPool { size: None },
        "Relu" => Op::Relu,
        "Add" => Op::Add,
        "Sub" => Op::Subtract,
        "Mul" => Op::Multiply,
        "Div" => Op::Divide,
        "Sqrt" => Op::Root,
        "Neg" => Op::Negate,
        "Pad" => pad(graph, paddings, &name, &inputs, &attributes)?,
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Flatten"
        | "Dropout" => Op::Same,
        _ => Op::Other(kind),
    };
    // An omitted input has an empty name.
    inputs.retain(|input| !input.is_empty());
    add(graph, outputs, Node { name, op, inputs });
    Ok(())
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
    let group = attribute(attributes, "group", 3)?
        .and_then(WireValue::int)
        .unwrap_or(1);
    if group != 1 {
        return Err(other(
            name,
            "a convolution over all channels",
            format!("{group} groups"),
        ));
    }
    let automatic = attribute(attributes, "auto_pad", 4)?
        .and_then(WireValue::text)
        .unwrap_or_default();
    let padding = match automatic.as_str() {
        "SAME_UPPER" | "SAME_LOWER" => None,
        "" | "NOTSET" => match *ints(attributes, "pads")? {
            [] => Some([0; 4]),
            [top, left, bottom, right] => Some([top, left, bottom, right]),
            ref found => return Err(other(name, "padding of two axes", format!("{found:?}"))),
        },
        "VALID" => Some([0; 4]),
        _ => return Err(other(name, "padding", shorten(&automatic))),
    };
    Ok(Op::Convolution {
        padding,
        kernel: KernelLayout::Oihw,
    })
}

/// Padding of the last two axes with zeros, from an input (since version 11) or an attribute.
fn pad(
    graph: &OperatorGraph,
    paddings: &mut Paddings,
    name: &str,
    inputs: &[String],
    attributes: &Attributes,
) -> Result<Op, ImportError> {
    let mode = attribute(attributes, "mode", 4)?
        .and_then(WireValue::text)
        .unwrap_or_default();
    if !matches!(mode.as_str(), "" | "constant") {
        return Err(other(name, "zeros around", shorten(&mode)));
    }
    let mut constant = |i: usize| -> Result<Option<Vec<f32>>, ImportError> {
        let producer = inputs
            .get(i)
            .and_then(|input| graph.producers.get(input))
            .map(|&at| &graph.nodes[at].op);
        let Some(Op::Constant(at)) = producer else {
            return Ok(None);
        };
        if let Some(known) = paddings.get(at) {
            return Ok(Some(known.clone()));
        }
        let values = (graph.constants[*at])()?.values;
        // Two numbers for each of four axes.
        if values.len() > 8 {
            let found = format!("{} numbers", values.len());
            return Err(other(name, "padding of height and width", found));
        }
        paddings.insert(*at, values.clone());
        Ok(Some(values))
    };
    let pads = match constant(1)? {
        Some(values) => values.iter().map(|&x| x as i64).collect(),
        None => ints(attributes, "pads")?,
    };
    if constant(2)?.is_some_and(|fill| fill.iter().any(|&x| x != 0.0)) {
        return Err(other(name, "zeros around", "another number"));
    }
    match *pads {
        // All beginnings, then all ends; channels second (ONNX) or last (converted from
        // TensorFlow).
        [0, 0, top, left, 0, 0, bottom, right] | [0, top, left, 0, 0, bottom, right, 0] => {
            Ok(Op::Pad(Some([top, left, bottom, right])))
        }
        // An input that is no constant.
        [] => Ok(Op::Pad(None)),
        _ => Err(other(
            name,
            "padding of height and width",
            format!("{pads:?}"),
        )),
    }
}

/// A list of integers.
fn ints(attributes: &Attributes, key: &str) -> Result<Vec<i64>, ImportError> {
    let mut found = Vec::new();
    for field in attributes.get(key).cloned().into_iter().flatten() {
        let field = field?;
        if field.number == 8 {
            field.value.push_ints(FORMAT, &mut found)?;
        }
    }
    Ok(found)
}

fn read_tensor(bytes: &[u8]) -> Result<Constant, ImportError> {
    let mut kind = 0;
    let mut dims = Vec::new();
    let mut raw = None;
    let mut values = Vec::new();
    let mut ints = Vec::new();
    for field in Message::new(FORMAT, bytes) {
        let Field { number, value } = field?;
        match number {
            1 => value.push_ints(FORMAT, &mut dims)?,
            2 => kind = value.int().unwrap_or_default(),
            4 => value.push_floats(&mut values),
            7 => value.push_ints(FORMAT, &mut ints)?,
            9 => raw = value.bytes(),
            // external_data. Only networks of any shape, under `import_onnx`, may have it.
            13 => {
                return Err(damaged(
                    "weights in another file: export the model as one file",
                ));
            }
            _ => {}
        }
    }
    let shape: Vec<usize> = dims
        .iter()
        .map(|&axis| usize::try_from(axis))
        .collect::<Result<_, _>>()
        .map_err(|_| damaged("an axis of negative length"))?;
    let count = elements(&shape).ok_or_else(|| damaged(&format!("a tensor of shape {shape:?}")))?;
    let values = match (kind, raw) {
        (FLOAT, Some(raw)) => raw
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        (HALF, Some(raw)) => raw
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        (FLOAT, None) => values,
        // Shapes and paddings.
        (INT64, Some(raw)) => raw
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b) as f32)
            .collect(),
        (INT64, None) => ints.into_iter().map(|x| x as f32).collect(),
        _ => {
            return Err(ImportError::other(
                FORMAT,
                "constants",
                "floats of 16 or 32 bits",
                format!("type {kind}"),
            ));
        }
    };
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
