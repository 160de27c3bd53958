//! Operators that are evaluated while a graph is read, within bounds.
//!
//! tract evaluates what has constant inputs as it infers shapes, and looks at the size of the result afterwards: a shape of
//! a hundred bytes can ask for all memory. Each operator is therefore wrapped in one that looks at the inferred shape first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tract_onnx::tract_core::ops::OpState;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::{
    EvalContext, EvalOp, Factoid, HashMap, InferenceFact, InferenceModel, InferenceModelPatch,
    InferenceNode, InferenceOp, Op, OutletId, SpecialOps, StaticName, TValue, TVec,
    TractErrorContext, TractResult, TypedModel, TypedOp, bail,
};

/// Bytes that all values of a network may have which are there at a time.
// Keeps a process that reads a hostile file below 600 MB in all, as the tests demand.
pub(crate) const MOST_LIVE: usize = 384 << 20;

/// An operator whose outputs are bounded.
#[derive(Debug, Clone)]
struct Guarded {
    inner: Box<dyn InferenceOp>,
    /// Bytes that constants which are computed on the way may still have.
    left: Arc<AtomicUsize>,
}

/// Wraps all operators but inputs and constants.
///
/// - `constants`: bytes that what is computed of constants alone may have together
pub(crate) fn guard_operators(model: &mut InferenceModel, constants: usize) {
    let left = Arc::new(AtomicUsize::new(constants));
    for node in model.nodes_mut() {
        // Neither computes anything.
        if InferenceModel::is_source(&node.op) || node.op_is::<Const>() {
            continue;
        }
        let inner = node.op.clone();
        let left = Arc::clone(&left);
        node.op = Box::new(Guarded { inner, left });
    }
}

/// Bytes of a value, where its shape is known; of a type that is not known as many as the widest have.
fn bytes(fact: &InferenceFact) -> TractResult<Option<usize>> {
    // An open shape is not computed: only what is constant is evaluated early.
    let Some(shape) = fact.shape.concretize() else {
        return Ok(None);
    };
    let mut size = fact
        .datum_type
        .concretize()
        .map_or(8, |kind| kind.size_of());
    for axis in &shape {
        let Ok(length) = axis.to_i64() else {
            return Ok(None);
        };
        let length = usize::try_from(length).ok();
        // Each axis is compared at once: a product over all of them might pass the largest number.
        size = length
            // An axis of 0 must not hide the lengths beside it.
            .and_then(|length| size.checked_mul(length.max(1)))
            .filter(|size| *size <= MOST_LIVE)
            .with_context(|| {
                format!(
                    "a value of the shape {shape:?} takes more than {} MB",
                    MOST_LIVE >> 20
                )
            })?;
    }
    Ok(Some(size))
}

/// Whether a range of constants has few enough numbers.
fn check_range(inputs: &[&InferenceFact]) -> TractResult<()> {
    let values: Option<Vec<_>> = inputs
        .iter()
        .map(|input| input.value.concretize())
        .collect();
    let Some(values) = values.filter(|values| values.len() == 3) else {
        return Ok(());
    };
    let mut ends = [0.0; 3];
    for (end, value) in ends.iter_mut().zip(&values) {
        *end = value.cast_to_scalar::<f64>()?;
    }
    // In floats: bounds of 64 bits cannot overflow here, and a step of 0 gives infinity or no
    // number.
    let count = (ends[1] - ends[0]) / ends[2];
    if !count.is_finite() || count * 8.0 > MOST_LIVE as f64 {
        bail!("a range of {count} numbers");
    }
    Ok(())
}

type Facts = (
    TVec<InferenceFact>,
    TVec<InferenceFact>,
    TVec<InferenceFact>,
);

impl InferenceOp for Guarded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<Facts> {
        // Shapes first, which costs nothing; the values only if the result is small enough.
        let inferred = self.infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
        let is_constant = |fact: &InferenceFact| fact.value.concretize().is_some();
        if inferred.0.is_empty() || !inferred.0.iter().all(is_constant) {
            return Ok(inferred);
        }
        let mut size = 0;
        for output in &inferred.1 {
            match bytes(output)? {
                Some(bytes) => size += bytes,
                // Its size is not known before it is computed, so it is not.
                None => return Ok(inferred),
            }
        }
        // One budget for the whole graph: two thousand constants that are each small enough are
        // not.
        let spend = |left: usize| left.checked_sub(size);
        if self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_err()
        {
            bail!("too much is computed of constants alone");
        }
        self.inner.infer(inputs, outputs, observed)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<Facts> {
        // It computes its numbers already here.
        if self.inner.name() == "Range" {
            check_range(&inputs)?;
        }
        let inferred = self.inner.infer_facts(inputs, outputs, observed)?;
        for output in &inferred.1 {
            bytes(output)?;
        }
        Ok(inferred)
    }

    fn observe_outlets(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Vec<OutletId>> {
        self.inner.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.inner.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.nboutputs()
    }

    // The operator itself, for all who look for one of a kind.
    fn as_op(&self) -> &dyn Op {
        self.inner.as_op()
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self.inner.as_op_mut()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.inner.to_typed(source, node, target, mapping)
    }
}

impl Op for Guarded {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        self.inner.as_op().as_typed()
    }
}

impl EvalOp for Guarded {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.inner.eval(context, inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.inner.eval_out_of_plan(inputs)
    }

    fn state(&self, context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        self.inner.state(context)
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner.as_op() == other.inner.as_op()
    }
}

impl Eq for Guarded {}
