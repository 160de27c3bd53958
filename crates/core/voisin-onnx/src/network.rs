//! A network made of a file, for inputs of fixed shapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::konst::Const;

use crate::guarded::{MOST_LIVE, guard_operators};
use crate::{OnnxError, OnnxFile, short};
use voisin_base::guard::guard;
use voisin_encoder::OnnxValues;

/// Bytes of constants that are computed while a network is made, beside those of its file.
// A graph of a hundred bytes can ask for any amount of them.
const MOST_CONSTANTS: usize = 128 << 20;
/// Multiplications for one window; the largest published encoders take a tenth of that.
const MOST_WORK: i64 = 4_000_000_000_000;

/// A network that runs, on the thread that calls it; the same numbers give the same answer to the last bit.
pub struct OnnxNetwork {
    plan: Arc<TypedSimplePlan>,
    shapes: Vec<Vec<usize>>,
    output: Vec<usize>,
}

impl std::fmt::Debug for OnnxNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxNetwork")
            .field("shapes", &self.shapes)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl OnnxNetwork {
    /// Makes a network of a file that was [cut](OnnxFile::cut) down to one output.
    ///
    /// - `shapes`: of all inputs, by name, in the order in which [`run`](Self::run) takes their values
    ///
    /// # Errors
    /// Shapes that do not fit, operators in a form that is not run, or more memory or work than an encoder takes.
    pub fn new(file: &OnnxFile, shapes: &[(&str, &[usize])]) -> Result<Self, OnnxError> {
        let expected = file.inputs();
        // Before tract sees the graph: it would make a network whose further input nobody feeds.
        if let Some(other) = expected
            .iter()
            .find(|input| shapes.iter().all(|(name, _)| *name != input.name))
        {
            return Err(OnnxError::Input(format!(
                "the network has the further input \"{}\": expected one sound alone",
                short(&other.name, 100)
            )));
        }
        // tract reports what it does not expect by a panic as often as by an error.
        let made = guard(|| prepare(file, shapes));
        let (plan, output) = made
            .map_err(OnnxError::Network)
            .flatten()
            .map_err(shortened)?;
        Ok(Self {
            plan,
            // In the caller's order: `run` pairs values with shapes by place.
            shapes: shapes.iter().map(|(_, shape)| shape.to_vec()).collect(),
            output,
        })
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> &[usize] {
        &self.output
    }

    /// The output for one set of inputs, row-major.
    pub fn run(&self, values: &[OnnxValues<'_>]) -> Result<Vec<f32>, OnnxError> {
        let run = || -> TractResult<Vec<f32>> {
            let outputs = self.plan.run(self.inputs(values)?)?;
            // Networks of 16 bits answer in 16 bits; callers know one width only.
            let floats = outputs[0].cast_to::<f32>()?;
            Ok(floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        let done = guard(run).map_err(OnnxError::Network)?;
        done.map_err(|error| OnnxError::Network(format!("{error:#}")))
            .map_err(shortened)
    }

    /// Time that each kind of operator takes in one run, the slowest first: the operators as they are run, which differ
    /// from those of the file.
    pub fn profile(&self, values: &[OnnxValues<'_>]) -> Result<Vec<(String, Duration)>, OnnxError> {
        let mut times: BTreeMap<String, Duration> = BTreeMap::new();
        // As `run`, with a clock around each operator.
        let run = || -> TractResult<()> {
            let inputs = self.inputs(values)?;
            let mut state = self.plan.spawn()?;
            state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                let start = Instant::now();
                let outputs = tract_onnx::tract_core::plan::eval(context, state, node, inputs);
                *times.entry(node.op.name().into_owned()).or_default() += start.elapsed();
                outputs
            })?;
            Ok(())
        };
        let done = guard(run).map_err(OnnxError::Network)?;
        done.map_err(|error| shortened(OnnxError::Network(format!("{error:#}"))))?;
        let mut times: Vec<(String, Duration)> = times.into_iter().collect();
        times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        Ok(times)
    }

    fn inputs(&self, values: &[OnnxValues<'_>]) -> TractResult<TVec<TValue>> {
        let facts = self.plan.model().input_outlets()?;
        let mut inputs = tvec!();
        for ((values, shape), outlet) in values.iter().zip(&self.shapes).zip(facts) {
            let tensor = match values {
                OnnxValues::Floats(values) => Tensor::from_shape(shape, values)?,
                OnnxValues::Wholes(values) => Tensor::from_shape(shape, values)?,
            };
            // Tokens come as 64-bit numbers, spectrograms as 32-bit floats, whatever the file
            // declares.
            let kind = self.plan.model().outlet_fact(*outlet)?.datum_type;
            inputs.push(tensor.cast_to_dt(kind)?.into_owned().into_tvalue());
        }
        Ok(inputs)
    }
}

/// Messages of other people's code name whole operators with their weights.
fn shortened(error: OnnxError) -> OnnxError {
    match error {
        OnnxError::Network(text) => OnnxError::Network(short(&text, 600)),
        other => other,
    }
}

fn prepare(
    file: &OnnxFile,
    shapes: &[(&str, &[usize])],
) -> Result<(Arc<TypedSimplePlan>, Vec<usize>), OnnxError> {
    let failed = |error: TractError| OnnxError::Network(format!("{error:#}"));
    let proto = file.shaped(shapes)?;
    // Grows with the file: what is computed of its weights, such as floats of 8-bit ones, takes
    // several times their bytes.
    let weights: usize = proto
        .graph
        .iter()
        .flat_map(|g| &g.initializer)
        .map(|t| t.raw_data.len())
        .sum();
    // Shapes that the file states for values in between are claims; tract infers them itself.
    let framework = tract_onnx::onnx().with_ignore_value_info(true);
    let parsed = framework.parse(&proto, None).map_err(failed)?;
    // A copy of all weights, which the parsed model no longer needs: they need not lie in memory
    // twice.
    drop(proto);
    if let Some(name) = parsed.unresolved_inputs.first() {
        return Err(OnnxError::Network(format!("nothing makes \"{name}\"")));
    }
    let mut model = parsed.model;
    // Before shapes are inferred: that is when tract evaluates constants.
    guard_operators(&mut model, MOST_CONSTANTS + 8 * weights);
    let order: TractResult<Vec<OutletId>> = shapes
        .iter()
        .map(|(name, _)| Ok(OutletId::new(model.node_by_name(name)?.id, 0)))
        .collect();
    model
        .set_input_outlets(&order.map_err(failed)?)
        .map_err(failed)?;
    // Sizes are checked before and after optimising, which changes the operators.
    let model = model.into_typed().map_err(failed)?;
    check_size(&model)?;
    let model = model.into_optimized().map_err(failed)?;
    check_size(&model)?;
    let outlet = *model
        .output_outlets()
        .map_err(failed)?
        .first()
        .expect("cut to one output");
    let fact = model.outlet_fact(outlet).map_err(failed)?;
    // Inputs are fixed by now, so only an operator such as NonZero leaves an axis open.
    let shape = fact.shape.as_concrete().ok_or_else(|| {
        OnnxError::Network(format!(
            "the output's shape depends on what is heard: {:?}",
            fact.shape
        ))
    })?;
    if !fact.datum_type.is_float() {
        return Err(OnnxError::Network(format!(
            "the output is of {:?}, expected floats",
            fact.datum_type
        )));
    }
    let shape = shape.to_vec();
    if shape.contains(&0) {
        return Err(OnnxError::Network(format!(
            "the output has no numbers: {shape:?}"
        )));
    }
    let plan = model.into_runnable().map_err(failed)?;
    Ok((plan, shape))
}

/// Bytes of the values that are there at a time, and multiplications.
fn check_size(model: &TypedModel) -> Result<(), OnnxError> {
    let failed = |error: TractError| OnnxError::Network(format!("{error:#}"));
    // In the order in which the plan runs: a value lives from its node to its last use.
    let order = model.eval_order().map_err(failed)?;
    let mut last_use = vec![0; model.nodes().len()];
    for (at, &node) in order.iter().enumerate() {
        // A value that nothing uses, the output among them, ends at once.
        last_use[node] = at;
        for input in &model.node(node).inputs {
            last_use[input.node] = at;
        }
    }
    let bytes = |node: &TypedNode| -> Result<i64, OnnxError> {
        // Weights were counted with the file.
        if node.op_is::<Const>() {
            return Ok(0);
        }
        let mut sum = 0_i64;
        for output in &node.outputs {
            let size = output.fact.mem_size().to_i64().map_err(|_| {
                OnnxError::Network(format!(
                    "the shape of {} depends on what is heard: {:?}",
                    node.name, output.fact.shape
                ))
            })?;
            sum = sum.saturating_add(size);
        }
        Ok(sum)
    };
    // By place in the order, so that the walk below need not search for what ends there.
    let mut ends: Vec<Vec<usize>> = vec![Vec::new(); order.len()];
    for &node in &order {
        ends[last_use[node]].push(node);
    }
    let mut live = 0_i64;
    let mut work = 0_i64;
    for (at, &id) in order.iter().enumerate() {
        let node = model.node(id);
        live = live.saturating_add(bytes(node)?);
        if live > MOST_LIVE as i64 {
            return Err(OnnxError::TooLarge(format!(
                "a window takes {} MB at {}, expected at most {}: a shorter window takes less",
                live >> 20,
                short(&node.name, 100),
                MOST_LIVE >> 20
            )));
        }
        let inputs = model.node_input_facts(id).map_err(failed)?;
        // Multiplications stand for the time; operators that only move numbers are bounded by their
        // memory.
        for (kind, count) in node.op.cost(&inputs).map_err(failed)? {
            if matches!(kind, Cost::FMA(_)) {
                work = work.saturating_add(count.to_i64().unwrap_or(i64::MAX));
            }
        }
        if work > MOST_WORK {
            return Err(OnnxError::TooLarge(format!(
                "a window takes more than {MOST_WORK} multiplications"
            )));
        }
        for &ended in &ends[at] {
            live = live.saturating_sub(bytes(model.node(ended))?);
        }
    }
    Ok(())
}
