//! Agreement of the student with its teachers on held-out music.

use std::collections::{BTreeMap, BTreeSet};

use voisin_encoder::openl3::{self, WINDOW};
use voisin_encoder::{
    Architecture, CpuPath, DeviceChoice, Encoder, StackTensor,
};

use crate::cache::TrainingSet;
use crate::head::TeacherHead;
use crate::layout::{outputs, spans};

/// Windows that go through the network at once.
const BATCH: usize = 32;
/// Beginning of the names of groups of rendered grooves.
pub const GROOVES: &str = "grooves ";

/// Splits crops into those of held-out groups and the others; mixtures with a held-out group are in
/// neither. Groups are held out in the order of a hash of their name until they have a `share` of
/// the tracks; a group that would exceed it by half is skipped.
pub fn split(data: &TrainingSet, share: f64) -> (Vec<usize>, Vec<usize>) {
    let mut sizes = BTreeMap::<&str, usize>::new();
    for (group, _) in &data.tracks {
        *sizes.entry(group).or_default() += 1;
    }
    let mut out = BTreeSet::<&str>::new();
    // A single group cannot be held out.
    if share > 0.0 && sizes.len() > 1 {
        let (grooves, mut order): (Vec<_>, Vec<_>) = sizes
            .into_iter()
            .partition(|(group, _)| group.starts_with(GROOVES));
        // All groups of grooves are equivalent, so the first is held out, in addition to the share of the music.
        if grooves.len() > 1 {
            out.insert(grooves[0].0);
        }
        order.sort_by_key(|(group, _)| *blake3::hash(group.as_bytes()).as_bytes());
        let want = share * order.iter().map(|(_, size)| *size).sum::<usize>() as f64;
        let mut held = 0;
        for (group, size) in order {
            if held as f64 >= want {
                break;
            }
            if (held + size) as f64 <= 1.5 * want {
                out.insert(group);
                held += size;
            }
        }
    }
    let mut held = Vec::new();
    let mut rest = Vec::new();
    for crop in 0..data.len() {
        let group = data.group(crop);
        match data.partner(crop) {
            None if out.contains(group) => held.push(crop),
            Some(partner) if out.contains(group) || out.contains(partner) => {}
            _ => rest.push(crop),
        }
    }
    (held, rest)
}

/// At most `limit` of `crops`, evenly spread.
pub fn thin(crops: &[usize], limit: usize) -> Vec<usize> {
    let n = crops.len().min(limit);
    (0..n).map(|i| crops[i * crops.len() / n]).collect()
}

/// Predictions of the head for crops that are not degraded, `[n][outputs]`.
pub fn predict(
    data: &TrainingSet,
    crops: &[usize],
    weights: &[StackTensor],
    head: &TeacherHead,
) -> anyhow::Result<Vec<f32>> {
    let weights = openl3::weights(weights);
    let cpu = DeviceChoice::Cpu.resolve()?;
    let net = Encoder::with_weights(Architecture::OpenL3, weights, &cpu, CpuPath::Fast)?;
    let mut mels = vec![0.0; BATCH * WINDOW];
    let mut embeddings = Vec::new();
    for batch in crops.chunks(BATCH) {
        let mels = &mut mels[..batch.len() * WINDOW];
        for (&crop, mel) in batch.iter().zip(mels.chunks_exact_mut(WINDOW)) {
            data.mel(crop, 0, mel);
        }
        embeddings.extend(net.encode(mels, batch.len())?);
    }
    Ok(head.forward(&embeddings))
}

/// Share of the variance of z-scored targets, about their mean, that predictions explain: of the penultimate layers, and
/// of the tag logits; 1 is perfect.
///
/// - `predictions`, `targets`: `[n][outputs]`
pub fn explained(data: &TrainingSet, predictions: &[f32], targets: &[f32]) -> [f64; 2] {
    let width = outputs(&data.teachers);
    let column = |rows: &[f32], at: usize| -> Vec<f64> {
        rows.iter()
            .skip(at)
            .step_by(width)
            .map(|&x| f64::from(x))
            .collect()
    };
    let mut found = [Vec::new(), Vec::new()];
    for (teacher, start) in spans(&data.teachers) {
        for at in 0..teacher.outputs() {
            let p = column(predictions, start + at);
            let t = column(targets, start + at);
            let mean = t.iter().sum::<f64>() / t.len() as f64;
            let total: f64 = t.iter().map(|t| (t - mean).powi(2)).sum();
            let residual: f64 = p.iter().zip(&t).map(|(p, t)| (p - t).powi(2)).sum();
            // A target that is nearly constant on this music has no variance to explain.
            if total > 1e-9 {
                found[usize::from(at >= teacher.penultimate)].push(1.0 - residual / total);
            }
        }
    }
    found.map(|shares| shares.iter().sum::<f64>() / shares.len().max(1) as f64)
}
