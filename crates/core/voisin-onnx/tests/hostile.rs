//! Files that were damaged or made to do harm: an error of at most 2 kB, no panic, at most 600 MB.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::type_proto::{self, Value};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension,
};
use voisin_onnx::{OnnxFile, OnnxNetwork, OnnxValues};

/// Reads, cuts, makes and runs; `Ok` with the number of outputs.
fn feed(bytes: &[u8]) -> Result<usize, String> {
    let read = || {
        let beside = |name: &str| {
            if name == "beside.data" {
                Ok(vec![0; 800])
            } else {
                Err("not there".to_owned())
            }
        };
        let mut file = OnnxFile::read(bytes, beside)?;
        file.cut(None)?;
        let inputs = file.inputs();
        let shapes: Vec<(String, Vec<usize>)> = inputs
            .iter()
            .map(|input| {
                let axes = input.axes.iter();
                let shape = axes.map(|axis| axis.unwrap_or(64).min(100)).collect();
                (input.name.clone(), shape)
            })
            .collect();
        let borrowed: Vec<(&str, &[usize])> = shapes
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()))
            .collect();
        let network = OnnxNetwork::new(&file, &borrowed)?;
        let floats: Vec<Vec<f32>> = shapes
            .iter()
            .map(|(_, shape)| vec![0.5; shape.iter().product()])
            .collect();
        let values: Vec<OnnxValues<'_>> = floats.iter().map(|f| OnnxValues::Floats(f)).collect();
        Ok(network.run(&values)?.len())
    };
    read().map_err(|error: voisin_onnx::OnnxError| error.to_string())
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/onnx");
    std::fs::read(folder.join(name)).unwrap()
}

fn info(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|&length| Dimension {
        value: Some(dimension::Value::DimValue(length)),
        ..Dimension::default()
    });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn with_ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 7,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    });
    node
}

fn with_int(mut node: NodeProto, name: &str, i: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 2,
        i,
        ..AttributeProto::default()
    });
    node
}

fn wholes(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: vec![0.25; count],
        ..TensorProto::default()
    }
}

fn model(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> ModelProto {
    let last = nodes.last().map_or("x", |node| &node.output[0]).to_owned();
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..OperatorSetIdProto::default()
        }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: tensors,
            input: vec![info("x", &[1, 4, 8])],
            output: vec![info(&last, &[1, 4])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// One node that takes `x` and the constant `c`, and a sum that needs its result.
fn with_constant(op: &str, constant: TensorProto) -> ModelProto {
    model(vec![node(op, &["x", "c"], "y")], vec![constant])
}

fn constructed() -> Vec<(&'static str, ModelProto)> {
    const HUGE: i64 = 1 << 40;
    let relu = || model(vec![node("Relu", &["x"], "y")], Vec::new());
    let changed = |change: &dyn Fn(&mut ModelProto)| {
        let mut model = relu();
        change(&mut model);
        model
    };
    let graph = |change: &dyn Fn(&mut GraphProto)| changed(&|m| change(m.graph.as_mut().unwrap()));
    let tensor = |change: &dyn Fn(&mut TensorProto)| {
        let mut constant = floats("c", &[8]);
        change(&mut constant);
        with_constant("Add", constant)
    };
    let external = |location: &str, offset: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        tensor(&|t| {
            t.float_data.clear();
            t.data_location = Some(DataLocation::External as i32);
            t.external_data = vec![entry("location", location), entry("offset", offset)];
        })
    };
    let of_shape = |shape: &[i64]| {
        let made = vec![
            node("ConstantOfShape", &["c"], "big"),
            node("ReduceSum", &["big"], "one"),
            node("Add", &["x", "one"], "y"),
        ];
        model(made, vec![wholes("c", shape)])
    };
    let mut nested = GraphProto::default();
    for _ in 0..200 {
        let mut holder = node("If", &["x"], "y");
        holder.attribute.push(AttributeProto {
            name: "then_branch".to_owned(),
            r#type: 5,
            g: Some(nested),
            ..AttributeProto::default()
        });
        nested = GraphProto {
            node: vec![holder],
            ..GraphProto::default()
        };
    }
    let mut doubling = Vec::new();
    let mut constants_doubling = vec![node("Identity", &["c"], "d0")];
    for i in 0..40 {
        let before = if i == 0 {
            "x".to_owned()
        } else {
            format!("v{i}")
        };
        let concat = node("Concat", &[&before, &before], &format!("v{}", i + 1));
        doubling.push(with_int(concat, "axis", 0));
        let before = format!("d{i}");
        let concat = node("Concat", &[&before, &before], &format!("d{}", i + 1));
        constants_doubling.push(with_int(concat, "axis", 0));
    }
    let mut many = vec![node("Relu", &["x"], "n0")];
    let mut expansions = Vec::new();
    for i in 0..9000 {
        many.push(node("Relu", &[&format!("n{i}")], &format!("n{}", i + 1)));
        if i < 2000 {
            expansions.push(node("Expand", &["c", "s"], &format!("e{i}")));
        }
    }
    expansions.push(node("Add", &["x", "e0"], "y"));
    let all: Vec<String> = (0..900).map(|i| format!("e{i}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expansions.push(node("Sum", &all, "z"));
    let conv = |name: &str, ints: &[i64]| {
        let conv = with_ints(node("Conv", &["x", "c"], "y"), name, ints);
        model(vec![conv], vec![floats("c", &[2, 4, 3])])
    };
    vec![
        ("no graph", changed(&|m| m.graph = None)),
        ("no output", graph(&|g| g.output.clear())),
        (
            "an output that nothing makes",
            graph(&|g| g.output = vec![info("z", &[1])]),
        ),
        ("no input", graph(&|g| g.input.clear())),
        (
            "an input of 9 axes",
            graph(&|g| g.input = vec![info("x", &[1; 9])]),
        ),
        (
            "an input without a type",
            graph(&|g| g.input[0].r#type = None),
        ),
        (
            "two inputs of one name",
            graph(&|g| g.input.push(info("x", &[1]))),
        ),
        (
            "a node of itself",
            model(vec![node("Add", &["x", "y"], "y")], Vec::new()),
        ),
        (
            "nodes in a circle",
            model(
                vec![node("Add", &["x", "b"], "a"), node("Relu", &["a"], "b")],
                Vec::new(),
            ),
        ),
        (
            "two values of one name",
            model(
                vec![node("Relu", &["x"], "y"), node("Relu", &["x"], "y")],
                Vec::new(),
            ),
        ),
        ("graphs in graphs", {
            let mut m = relu();
            m.graph.as_mut().unwrap().node.extend(nested.node);
            "z".clone_into(&mut m.graph.as_mut().unwrap().node[1].output[0]);
            m
        }),
        ("a graph in a node", {
            let mut m = relu();
            m.graph.as_mut().unwrap().node[0]
                .attribute
                .push(AttributeProto {
                    name: "body".to_owned(),
                    r#type: 5,
                    g: relu().graph,
                    ..AttributeProto::default()
                });
            m
        }),
        (
            "functions",
            changed(&|m| m.functions.push(FunctionProto::default())),
        ),
        (
            "an operator that nobody knows",
            model(vec![node("Frobnicate", &["x"], "y")], Vec::new()),
        ),
        (
            "random numbers",
            model(
                vec![with_ints(node("RandomNormal", &[], "y"), "shape", &[4])],
                Vec::new(),
            ),
        ),
        ("a negative axis", tensor(&|t| t.dims = vec![-8])),
        (
            "axes beyond all numbers",
            tensor(&|t| t.dims = vec![1 << 62, 1 << 62]),
        ),
        (
            "a huge constant without data",
            tensor(&|t| t.dims = vec![1 << 35]),
        ),
        (
            "nine axes",
            tensor(&|t| t.dims = vec![1, 1, 1, 1, 1, 1, 1, 1, 8]),
        ),
        ("too little data", tensor(&|t| t.float_data.truncate(3))),
        ("too much data", tensor(&|t| t.float_data.push(1.0))),
        (
            "bytes that are no floats",
            tensor(&|t| t.raw_data = vec![0; 31]),
        ),
        ("texts", tensor(&|t| t.data_type = DataType::String as i32)),
        ("a kind that is none", tensor(&|t| t.data_type = 99)),
        ("a file above", external("../beside.data", "0")),
        ("a file anywhere", external("/etc/passwd", "0")),
        ("a file in a folder", external("data/beside.data", "0")),
        ("a file of another system", external("C:\\beside.data", "0")),
        ("a file that is not there", external("gone.data", "0")),
        ("an offset beyond the file", external("beside.data", "900")),
        (
            "an offset beyond all numbers",
            external("beside.data", "99999999999999999999999"),
        ),
        (
            "more data than the tensor has",
            external("beside.data", "0"),
        ),
        ("a constant of a huge shape", of_shape(&[HUGE])),
        (
            "a constant of a huge product",
            of_shape(&[1 << 21, 1 << 21, 1 << 21]),
        ),
        ("a constant of a negative shape", of_shape(&[-5])),
        (
            "an expansion",
            with_constant("Expand", wholes("c", &[1 << 24, 4, 8])),
        ),
        (
            "an expansion beyond all numbers",
            with_constant("Expand", wholes("c", &[1 << 62, 1 << 62, 4, 8])),
        ),
        (
            "tiles",
            with_constant("Tile", wholes("c", &[HUGE, HUGE, HUGE])),
        ),
        (
            "a reshape to nothing",
            with_constant("Reshape", wholes("c", &[-2, 7])),
        ),
        (
            "a reshape to more",
            with_constant("Reshape", wholes("c", &[1 << 40])),
        ),
        (
            "a pad",
            with_constant("Pad", wholes("c", &[HUGE, HUGE, HUGE, HUGE, HUGE, HUGE])),
        ),
        (
            "a pad of the wrong rank",
            with_constant("Pad", wholes("c", &[1])),
        ),
        (
            "a pad below nothing",
            with_constant("Pad", wholes("c", &[-9, -9, -9, -9, -9, -9])),
        ),
        (
            "an index outside",
            with_constant("Gather", wholes("c", &[99])),
        ),
        (
            "an axis outside",
            with_constant("Squeeze", wholes("c", &[99])),
        ),
        (
            "an axis far outside",
            with_constant("Unsqueeze", wholes("c", &[i64::MIN])),
        ),
        ("the most of too few", {
            let mut top = node("TopK", &["x", "c"], "y");
            top.output.push("where".to_owned());
            model(vec![top], vec![wholes("c", &[HUGE])])
        }),
        ("a range", {
            let nodes = vec![
                node("Range", &["a", "b", "c"], "r"),
                node("Add", &["x", "r"], "y"),
            ];
            let scalar = |name, value| TensorProto {
                dims: Vec::new(),
                ..wholes(name, &[value])
            };
            model(
                nodes,
                vec![scalar("a", 0), scalar("b", HUGE), scalar("c", 1)],
            )
        }),
        ("a range without steps", {
            let nodes = vec![
                node("Range", &["a", "b", "c"], "r"),
                node("Add", &["x", "r"], "y"),
            ];
            let scalar = |name, value| TensorProto {
                dims: Vec::new(),
                ..wholes(name, &[value])
            };
            model(nodes, vec![scalar("a", 0), scalar("b", 9), scalar("c", 0)])
        }),
        ("an outer product", {
            let nodes = vec![
                node("MatMul", &["a", "b"], "m"),
                node("ReduceSum", &["m"], "s"),
                node("Add", &["x", "s"], "y"),
            ];
            model(
                nodes,
                vec![floats("a", &[100_000, 1]), floats("b", &[1, 100_000])],
            )
        }),
        ("a division by nothing", {
            let nodes = vec![
                node("Div", &["a", "b"], "q"),
                node("Reshape", &["x", "q"], "y"),
            ];
            model(nodes, vec![wholes("a", &[4, 8]), wholes("b", &[0, 0])])
        }),
        ("what doubles forty times", model(doubling, Vec::new())),
        (
            "constants that double forty times",
            model(constants_doubling, vec![floats("c", &[1, 4, 8])]),
        ),
        (
            "two thousand large constants",
            model(
                expansions,
                vec![floats("c", &[1]), wholes("s", &[1000, 4, 8])],
            ),
        ),
        (
            "a chain of three hundred nodes",
            model(many[..300].to_vec(), Vec::new()),
        ),
        ("a chain of all nodes", model(many, Vec::new())),
        (
            "a convolution with huge pads",
            conv("pads", &[1 << 40, 1 << 40]),
        ),
        (
            "a convolution with negative pads",
            conv("pads", &[-50, -50]),
        ),
        ("a convolution without steps", conv("strides", &[0])),
        ("a convolution of huge steps", conv("strides", &[i64::MAX])),
        ("a convolution spread out", conv("dilations", &[i64::MAX])),
        (
            "a convolution of another kernel",
            conv("kernel_shape", &[3, 3, 3]),
        ),
        ("a convolution of no kernel", conv("kernel_shape", &[0])),
        (
            "a pool of nothing",
            model(
                vec![with_ints(
                    node("MaxPool", &["x"], "y"),
                    "kernel_shape",
                    &[0],
                )],
                Vec::new(),
            ),
        ),
        (
            "a pool of everything",
            model(
                vec![with_ints(
                    node("AveragePool", &["x"], "y"),
                    "kernel_shape",
                    &[1 << 40],
                )],
                Vec::new(),
            ),
        ),
        (
            "axes in no order",
            model(
                vec![with_ints(
                    node("Transpose", &["x"], "y"),
                    "perm",
                    &[0, 0, 7],
                )],
                Vec::new(),
            ),
        ),
        (
            "a split of another length",
            model(
                vec![with_int(node("Split", &["x"], "y"), "axis", 99)],
                Vec::new(),
            ),
        ),
        (
            "a cast to nothing",
            model(
                vec![with_int(node("Cast", &["x"], "y"), "to", 99)],
                Vec::new(),
            ),
        ),
        (
            "a softmax of no axis",
            model(
                vec![with_int(node("Softmax", &["x"], "y"), "axis", -99)],
                Vec::new(),
            ),
        ),
        (
            "groups of none",
            model(
                vec![with_int(node("Conv", &["x", "c"], "y"), "group", 0)],
                vec![floats("c", &[2, 4, 3])],
            ),
        ),
        (
            "an attribute of a million numbers",
            model(
                vec![with_ints(
                    node("Transpose", &["x"], "y"),
                    "perm",
                    &[0; 1_000_000],
                )],
                Vec::new(),
            ),
        ),
        (
            "a node of too many inputs",
            model(vec![node("Sum", &["x"; 5000], "y")], Vec::new()),
        ),
        (
            "a norm over axes without end",
            model(
                vec![with_int(
                    node("LayerNormalization", &["x", "c"], "y"),
                    "axis",
                    i64::MIN,
                )],
                vec![floats("c", &[8])],
            ),
        ),
        (
            "an axis twice in a transposition",
            model(
                vec![with_ints(
                    node("Transpose", &["x"], "y"),
                    "perm",
                    &[0, 1, 1],
                )],
                Vec::new(),
            ),
        ),
        (
            "a node of no inputs",
            model(vec![node("Add", &[], "y")], Vec::new()),
        ),
        (
            "a name of a million letters",
            model(vec![node(&"X".repeat(1 << 20), &["x"], "y")], Vec::new()),
        ),
        (
            "an old set of operators",
            changed(&|m| m.opset_import[0].version = i64::MIN),
        ),
    ]
}

fn check(what: &str, bytes: &[u8]) -> bool {
    let before = Instant::now();
    let answer = feed(bytes);
    let took = before.elapsed();
    assert!(took < Duration::from_mins(1), "{what}: {took:?}");
    if let Err(message) = &answer {
        assert!(
            (5..2000).contains(&message.len()),
            "{what}: {} bytes: {message}",
            message.len()
        );
        println!("{what} ({took:.1?}): {message}");
    } else {
        println!("{what} ({took:.1?}): {answer:?}");
    }
    answer.is_err()
}

#[test]
fn hostile_files_are_errors_in_little_memory() {
    // These do no harm and may run: an operator may be more patient than the format.
    let harmless = [
        "no input",
        "an old set of operators",
        "a chain of three hundred nodes",
    ];
    let mut taken = Vec::new();
    for (what, model) in constructed() {
        if !check(what, &model.encode_to_vec()) && !harmless.contains(&what) {
            taken.push(what);
        }
    }
    assert!(taken.is_empty(), "taken: {taken:?}");
    check("nothing", b"");
    check("zeros", &[0; 1000]);
    check("ones", &[0xff; 1000]);
    for name in [
        "convolutions.onnx",
        "attention.onnx",
        "quantised.onnx",
        "recurrent.onnx",
        "beside.onnx",
    ] {
        let whole = fixture(name);
        for part in [1, 10, 50, 90, 99] {
            check("cut", &whole[..whole.len() * part / 100]);
        }
        let mut state = 1_u64;
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Half of them where the graph is, and not in the weights.
                let at = (state >> 33) as usize
                    % if state & 1 << 32 == 0 {
                        bytes.len()
                    } else {
                        bytes.len().min(3000)
                    };
                bytes[at] ^= 1 << (state >> 29 & 7);
            }
            check("bits flipped", &bytes);
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(most) = most {
        let kb: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
        println!("at most {} MB", kb / 1024);
        assert!(kb < 600 * 1024, "{kb} kB");
    }
}
