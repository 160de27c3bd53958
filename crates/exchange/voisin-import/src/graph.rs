//! From a graph of operations to the network's layers.
//!
//! The readers of TensorFlow and ONNX graphs translate each node. This module follows the path from
//! the input to the embedding, computes the constants along it, and matches the steps with the
//! network's layers, without regard to the names of nodes.

use std::collections::{BTreeMap, HashMap};

use crate::WeightTensor;
use crate::canonical::{EPSILON, LAYERS};
use crate::constant::{Constant, KernelLayout, MAX_SPREAD, shorten};
use crate::matcher::{Matcher, Step};
use crate::{ImportError, MAX_TOTAL, WeightFormat};

/// Most constants that are computed; graphs of this network have some fifty.
// The bound is on work, not on the size of the graph: see `evaluate`.
const MAX_EVALUATIONS: usize = 20_000;
/// Maximum depth of constants computed from each other.
const MAX_DEPTH: usize = 40;

/// The operation of a node with its parameters. Inputs are names in [`Node::inputs`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    /// The graph's input.
    Input,
    /// A constant; its index in [`OperatorGraph::constants`].
    Constant(usize),
    /// Input, kernel, and optionally a bias. Padding is `[top, left, bottom, right]`, `None` for "same".
    Convolution {
        padding: Option<[i64; 4]>,
        kernel: KernelLayout,
    },
    /// Input, scale, offset, mean, variance.
    BatchNorm {
        epsilon: f32,
    },
    /// Maximum over places this high and wide, `None` for all.
    MaxPool {
        size: Option<[i64; 2]>,
    },
    Relu,
    Add,
    Subtract,
    Multiply,
    Divide,
    /// `1 / √x`
    ReciprocalRoot,
    Root,
    Negate,
    /// Padding with zeros: `[top, left, bottom, right]`; `None` if the graph computes it.
    Pad(Option<[i64; 4]>),
    /// An operation that keeps the numbers of its first input: reshaping, transposing, casting.
    Same,
    /// Unsupported; its type.
    Other(String),
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// For messages.
    pub(super) name: String,
    pub(super) op: Op,
    pub(super) inputs: Vec<String>,
}

/// A graph, with constants still in the file's bytes.
pub(super) struct OperatorGraph<'a> {
    pub(super) nodes: Vec<Node>,
    /// The node that computes each value.
    pub(super) producers: HashMap<String, usize>,
    /// Decodes constant `i`.
    pub(super) constants: Vec<Box<dyn Fn() -> Result<Constant, ImportError> + 'a>>,
}

/// The network's tensors under its names.
pub(super) fn assemble(
    format: WeightFormat,
    graph: &OperatorGraph,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
    let mut walk = PathWalk {
        format,
        graph,
        evaluations: 0,
        decoded: 0,
    };
    let end = walk.end()?;
    let steps = walk.steps(end, notes)?;
    Matcher::new(format, steps).network(notes)
}

struct PathWalk<'g, 'a> {
    format: WeightFormat,
    graph: &'g OperatorGraph<'a>,
    evaluations: usize,
    /// Numbers in all constants decoded so far.
    decoded: usize,
}

impl<'g> PathWalk<'g, '_> {
    fn producer(&self, value: &str) -> Option<&'g Node> {
        self.graph
            .producers
            .get(value)
            .and_then(|&i| self.graph.nodes.get(i))
    }

    fn other(&self, node: &Node, expected: &str, found: impl Into<String>) -> ImportError {
        ImportError::other(
            self.format,
            format!("node \"{}\"", shorten(&node.name)),
            expected,
            found,
        )
    }

    /// The node with the most convolutions on the path from the input.
    fn end(&self) -> Result<usize, ImportError> {
        let graph = self.graph;
        let used: std::collections::HashSet<&str> = graph
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().map(String::as_str))
            .collect();
        let mut unused = vec![true; graph.nodes.len()];
        for (value, &producer) in &graph.producers {
            if used.contains(value.as_str()) {
                unused[producer] = false;
            }
        }
        // Bounded: a malicious graph may have thousands of loose nodes, and each end costs a walk through the whole graph.
        let ends = unused
            .iter()
            .enumerate()
            .filter(|(_, unused)| **unused)
            .map(|(i, _)| i)
            .take(64);
        // A convolution's first input is never a constant; of a sum, follow the side that is none.
        // Looked up once, since a cycle would repeat it at each round.
        let is_data = |&at: &usize| !matches!(graph.nodes[at].op, Op::Constant(_));
        let before = |node: &Node| {
            let mut inputs = node.inputs.iter();
            inputs.find_map(|input| graph.producers.get(input).copied().filter(is_data))
        };
        let before: Vec<Option<usize>> = graph.nodes.iter().map(before).collect();
        let convolutions = |end: usize| {
            let mut count = 0;
            let mut at = Some(end);
            for _ in 0..graph.nodes.len() {
                let Some(node) = at else { break };
                count += usize::from(matches!(graph.nodes[node].op, Op::Convolution { .. }));
                at = before[node];
            }
            count
        };
        // Of equal ends the first in the file, so that the choice does not depend on a hash map's order.
        let best = ends
            .map(|end| (convolutions(end), end))
            .max_by_key(|&(count, end)| (count, usize::MAX - end));
        match best {
            Some((count, end)) if count > 0 => Ok(end),
            _ => Err(ImportError::other(
                self.format,
                "graph",
                format!("{LAYERS} convolutions between input and output"),
                format!(
                    "{} nodes and no convolution on the way to an output",
                    graph.nodes.len()
                ),
            )),
        }
    }

    /// Steps from the input to node `end`.
    fn steps(&mut self, end: usize, notes: &mut Vec<String>) -> Result<Vec<Step>, ImportError> {
        let graph = self.graph;
        let mut steps = Vec::new();
        let mut unchecked = 0;
        let mut node = &graph.nodes[end];
        // A convolution whose padding has not been seen yet, and its amount.
        let mut padding_due: Option<(&Node, [i64; 4])> = None;
        // a path longer than the number of nodes is a cycle
        for _ in 0..=graph.nodes.len() {
            if let Some((convolution, due)) = padding_due
                && !matches!(node.op, Op::Pad(_) | Op::Same)
            {
                return Err(self.other(
                    convolution,
                    "one zero of padding on each side",
                    format!("{due:?} missing"),
                ));
            }
            let data = match &node.op {
                Op::Input => {
                    steps.reverse();
                    if unchecked > 0 {
                        notes.push(format!(
                            "the graph computes the padding of {unchecked} convolutions: taken to be one zero on each \
                             side"
                        ));
                    }
                    return Ok(steps);
                }
                Op::Same => 0,
                Op::Relu => {
                    steps.push(Step::Relu);
                    0
                }
                Op::MaxPool { size } => {
                    steps.push(Step::MaxPool(*size));
                    0
                }
                Op::Pad(around) => {
                    match (padding_due.take(), around) {
                        (Some((_, due)), Some(around)) if due == *around => {}
                        (Some(_), None) => unchecked += 1,
                        (None, Some([0, 0, 0, 0])) => {}
                        _ => {
                            let found =
                                around.map_or("another".to_owned(), |around| format!("{around:?}"));
                            // The walk goes backwards, so a Pad comes right after its convolution.
                            return Err(self.other(node, "no padding but a convolution's", found));
                        }
                    }
                    0
                }
                Op::Convolution {
                    padding,
                    kernel: layout,
                } => {
                    let kernel = self.input(node, 1)?;
                    let bias = if node.inputs.len() > 2 {
                        Some(self.input(node, 2)?)
                    } else {
                        None
                    };
                    steps.push(Step::Convolution {
                        kernel,
                        layout: *layout,
                        bias,
                    });
                    // "Same" is one zero on each side for a kernel of 3 × 3 at every place.
                    let padded = padding.unwrap_or([1; 4]);
                    padding_due = (padded != [1; 4]).then(|| (node, padded.map(|pad| 1 - pad)));
                    0
                }
                Op::BatchNorm { epsilon } => {
                    let mut fields = [const { Vec::new() }; 4];
                    for (i, field) in fields.iter_mut().enumerate() {
                        *field = self.input(node, i + 1)?.values;
                    }
                    let [gamma, _, _, variance] = &mut fields;
                    for (gamma, variance) in gamma.iter_mut().zip(variance) {
                        let moved = *variance + (epsilon - EPSILON);
                        if moved < 0.0 && *variance >= 0.0 {
                            // With a smaller epsilon in the file and a variance close to 0, no
                            // variance is small enough, and the scale is changed instead.
                            *gamma *= (EPSILON / (*variance + epsilon)).sqrt();
                            *variance = 0.0;
                        } else {
                            // The network adds its own epsilon, so the difference goes into the variance.
                            *variance = moved;
                        }
                    }
                    steps.push(Step::Norm(fields));
                    0
                }
                Op::Add | Op::Subtract | Op::Multiply | Op::Divide => {
                    self.arithmetic(node, &mut steps)?
                }
                Op::Constant(_) => {
                    return Err(self.other(node, "a path to the graph's input", "a constant"));
                }
                Op::ReciprocalRoot | Op::Root | Op::Negate => {
                    return Err(self.other(
                        node,
                        // Supported for constants only: decomposed batch norms compute 1 / √variance.
                        "an operation of the network",
                        "one that the network does not have",
                    ));
                }
                Op::Other(op) => {
                    return Err(self.other(
                        node,
                        "an operation of the network",
                        format!("\"{}\"", shorten(op)),
                    ));
                }
            };
            let Some(input) = node.inputs.get(data) else {
                return Err(self.other(node, "an input", "none"));
            };
            node = self.producer(input).ok_or_else(|| {
                self.other(
                    node,
                    "inputs that the graph computes",
                    format!("\"{}\"", shorten(input)),
                )
            })?;
        }
        Err(ImportError::other(
            self.format,
            "graph",
            "a path from input to output",
            "a circle",
        ))
    }

    /// A sum or product of the data with a constant; returns the index of the data input.
    fn arithmetic(&mut self, node: &Node, steps: &mut Vec<Step>) -> Result<usize, ImportError> {
        let [first, second] = node
            .inputs
            .first_chunk()
            .ok_or_else(|| self.other(node, "two inputs", "fewer"))?;
        let (data, constant) = match self.evaluate(second, 0)? {
            Some(constant) => (0, constant),
            None => match self.evaluate(first, 0)? {
                Some(constant) => (1, constant),
                None => return Err(self.other(node, "a constant on one side", "data on both")),
            },
        };
        // [1, C, 1, 1] and [C] are one number a channel; a real matrix is another layer.
        if constant.shape.iter().filter(|&&axis| axis != 1).count() > 1 {
            return Err(self.other(
                node,
                "one number for each channel",
                format!("{:?}", constant.shape),
            ));
        }
        let values = constant.values;
        steps.push(match (&node.op, data) {
            (Op::Add, _) => Step::Shift(values),
            (Op::Multiply, _) => Step::Scale(values),
            (Op::Subtract, 0) => Step::Shift(values.into_iter().map(|x| -x).collect()),
            (Op::Divide, 0) => Step::Scale(values.into_iter().map(f32::recip).collect()),
            _ => {
                return Err(self.other(
                    node,
                    "data minus or over a constant",
                    "a constant minus or over data",
                ));
            }
        });
        Ok(data)
    }

    /// Constant input `i` of a node.
    fn input(&mut self, node: &Node, i: usize) -> Result<Constant, ImportError> {
        let name = node
            .inputs
            .get(i)
            .ok_or_else(|| self.other(node, "weights as inputs", "none"))?;
        let constant = self.evaluate(name, 0)?;
        constant.ok_or_else(|| {
            self.other(
                node,
                "weights as constants",
                format!("computed \"{}\"", shorten(name)),
            )
        })
    }

    /// The value of something that depends on constants only; `None` if it depends on the input.
    fn evaluate(&mut self, value: &str, depth: usize) -> Result<Option<Constant>, ImportError> {
        // Shared constants are computed again for each use, so nesting could double the work at
        // every level: it is bounded by a count, not only by depth.
        self.evaluations += 1;
        if self.evaluations > MAX_EVALUATIONS || depth > MAX_DEPTH {
            let expected = format!("constants at most {MAX_DEPTH} operations deep");
            return Err(ImportError::other(self.format, "graph", expected, "more"));
        }
        let graph = self.graph;
        let Some(node) = graph.producers.get(value).and_then(|&i| graph.nodes.get(i)) else {
            return Ok(None);
        };
        let unary: fn(f32) -> f32 = match &node.op {
            Op::Constant(i) => return self.decode(*i).map(Some),
            Op::Same => |x| x,
            Op::ReciprocalRoot => |x| x.sqrt().recip(),
            Op::Root => f32::sqrt,
            Op::Negate => |x| -x,
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide => {
                return self.evaluate_binary(node, depth);
            }
            _ => return Ok(None),
        };
        let Some(input) = node.inputs.first() else {
            return Ok(None);
        };
        let Some(mut constant) = self.evaluate(input, depth + 1)? else {
            return Ok(None);
        };
        for x in &mut constant.values {
            *x = unary(*x);
        }
        Ok(Some(constant))
    }

    fn decode(&mut self, i: usize) -> Result<Constant, ImportError> {
        let constant = (self.graph.constants[i])()?;
        // Counted at each use: a few bytes of graph may refer to one large constant many times.
        self.decoded += constant.values.len();
        if self.decoded > MAX_TOTAL {
            return Err(ImportError::TooLarge {
                found: self.decoded as u64 * 4,
                limit: MAX_TOTAL as u64 * 4,
            });
        }
        Ok(constant)
    }

    fn evaluate_binary(
        &mut self,
        node: &Node,
        depth: usize,
    ) -> Result<Option<Constant>, ImportError> {
        let Some([first, second]) = node.inputs.first_chunk() else {
            return Ok(None);
        };
        let Some(a) = self.evaluate(first, depth + 1)? else {
            return Ok(None);
        };
        let Some(b) = self.evaluate(second, depth + 1)? else {
            return Ok(None);
        };
        let length = a.values.len().max(b.values.len());
        // A constant of shape [0] has no number to broadcast.
        if (a.values.len() != b.values.len() && a.values.len() != 1 && b.values.len() != 1)
            || a.values.is_empty()
            || b.values.is_empty()
            || length > MAX_SPREAD
        {
            let found = format!("{:?} and {:?}", a.shape, b.shape);
            return Err(self.other(node, "two constants for the same channels", found));
        }
        let at = |constant: &Constant, i: usize| constant.values[i % constant.values.len().max(1)];
        let values = (0..length)
            .map(|i| {
                let x = at(&a, i);
                let y = at(&b, i);
                match node.op {
                    Op::Add => x + y,
                    Op::Subtract => x - y,
                    Op::Multiply => x * y,
                    _ => x / y,
                }
            })
            .collect();
        let shape = if a.values.len() == length {
            a.shape
        } else {
            b.shape
        };
        Ok(Some(Constant { shape, values }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of these nodes, each with its value's name.
    fn graph(nodes: &[(&str, Op, &[&str])], constants: &[&[f32]]) -> OperatorGraph<'static> {
        let node = |(name, op, inputs): &(&str, Op, &[&str])| Node {
            name: (*name).to_owned(),
            op: op.clone(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        };
        let names = nodes.iter().enumerate();
        let mut graph = OperatorGraph {
            nodes: nodes.iter().map(node).collect(),
            producers: names
                .map(|(at, (name, ..))| ((*name).to_owned(), at))
                .collect(),
            constants: Vec::new(),
        };
        for values in constants {
            let constant = Constant {
                shape: vec![values.len()],
                values: values.to_vec(),
            };
            graph.constants.push(Box::new(move || Ok(constant.clone())));
        }
        graph
    }

    fn walk<'a>(graph: &'a OperatorGraph<'static>) -> PathWalk<'a, 'static> {
        PathWalk {
            format: WeightFormat::Onnx,
            graph,
            evaluations: 0,
            decoded: 0,
        }
    }

    #[test]
    fn a_batch_norm_of_any_epsilon_scales_alike() {
        let variances = [0.0, 1e-4, 0.5];
        for epsilon in [1e-5, 1e-3, 1e-2] {
            let nodes: [(&str, Op, &[&str]); 5] = [
                ("x", Op::Input, &[]),
                ("gamma", Op::Constant(0), &[]),
                ("zeros", Op::Constant(1), &[]),
                ("variance", Op::Constant(2), &[]),
                (
                    "y",
                    Op::BatchNorm { epsilon },
                    &["x", "gamma", "zeros", "zeros", "variance"],
                ),
            ];
            let graph = graph(&nodes, &[&[2.0; 3], &[0.0; 3], &variances]);
            let steps = walk(&graph).steps(4, &mut Vec::new()).unwrap();
            let [Step::Norm([gamma, _, _, moved])] = &steps[..] else {
                panic!("{steps:?}");
            };
            for (at, variance) in variances.into_iter().enumerate() {
                let expected = 2.0 / (variance + epsilon).sqrt();
                let found = gamma[at] / (moved[at] + EPSILON).sqrt();
                assert!(
                    moved[at] >= 0.0 && (found / expected - 1.0).abs() < 1e-4,
                    "{variance} with {epsilon}: {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn malicious_graphs_are_refused() {
        let nodes: [(&str, Op, &[&str]); 3] = [
            ("none", Op::Constant(0), &[]),
            ("one", Op::Constant(1), &[]),
            ("sum", Op::Add, &["none", "one"]),
        ];
        let numbers = graph(&nodes, &[&[], &[1.0]]);
        assert!(walk(&numbers).evaluate("sum", 0).is_err(), "no number");
        let nodes: [(&str, Op, &[&str]); 3] = [
            ("a", Op::Relu, &["b"]),
            ("b", Op::Relu, &["a"]),
            ("y", Op::Relu, &["a"]),
        ];
        assert!(walk(&graph(&nodes, &[])).end().is_err(), "a circle");
    }
}
