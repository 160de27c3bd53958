//! Widens a network without changing its function (Chen, Goodfellow and Shlens, "`Net2Net`", ICLR 2016).

use super::{TeacherHead, TrainError};
use voisin_base::random::Random;
use voisin_encoder::openl3::{ConvWeights, NormWeights, OpenL3Weights};

/// Returns a wider network with the same function, and a head that fits it.
///
/// Channel j of a wider layer is a copy of channel j modulo the old width. The next layer's weight
/// for a channel is split among its copies in random shares, so that copies diverge in training.
/// Copied dimensions of the embedding share their column of the head in the same way.
///
/// # Errors
/// A width is smaller than that of the network.
pub fn widen(
    weights: &OpenL3Weights,
    head: &TeacherHead,
    widths: &[usize; 8],
    seed: u64,
) -> Result<(OpenL3Weights, TeacherHead), TrainError> {
    let old = weights.widths();
    if old.iter().zip(widths).any(|(old, new)| new < old) {
        return Err(TrainError::Options(format!(
            "cannot widen {old:?} to {widths:?}: expected no smaller width"
        )));
    }
    let mut random = Random::stream(seed, 0x31de);
    let mut convs = Vec::with_capacity(8);
    let mut cin = 1;
    for (conv, &cout) in weights.convs.iter().zip(widths) {
        let mut weight = vec![0.0; cout * cin * 9];
        for (o, filters) in weight.chunks_exact_mut(cin * 9).enumerate() {
            let from = &conv.weight[o % conv.cout * conv.cin * 9..][..conv.cin * 9];
            for (i, share) in shares(conv.cin, cin, &mut random).into_iter().enumerate() {
                let to = &mut filters[i * 9..][..9];
                let from = &from[i % conv.cin * 9..][..9];
                for (to, from) in to.iter_mut().zip(from) {
                    *to = share * from;
                }
            }
        }
        convs.push(ConvWeights {
            weight,
            bias: copies(&conv.bias, cout),
            cin,
            cout,
        });
        cin = cout;
    }
    let norms = weights
        .norms
        .iter()
        .zip(widths)
        .map(|(norm, &channels)| NormWeights {
            weight: copies(&norm.weight, channels),
            bias: copies(&norm.bias, channels),
            running_mean: copies(&norm.running_mean, channels),
            running_var: copies(&norm.running_var, channels),
        });
    let wide = OpenL3Weights {
        input_norm: weights.input_norm.clone(),
        norms: norms.collect(),
        convs,
    };
    let mut parameters = Vec::with_capacity(head.outputs * (cin + 1));
    for row in head.parameters[..head.outputs * head.inputs].chunks_exact(head.inputs) {
        let shares = shares(head.inputs, cin, &mut random);
        parameters.extend(
            shares
                .iter()
                .enumerate()
                .map(|(i, share)| share * row[i % head.inputs]),
        );
    }
    parameters.extend_from_slice(&head.parameters[head.outputs * head.inputs..]);
    Ok((
        wide,
        TeacherHead {
            inputs: cin,
            outputs: head.outputs,
            parameters,
        },
    ))
}

fn copies(values: &[f32], n: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(n).collect()
}

/// Shares of `new` copies of `old` channels: those of one channel sum to 1, each at least a third of an even share.
fn shares(old: usize, new: usize, random: &mut Random) -> Vec<f32> {
    // Without copies the weights stay bit-for-bit the same.
    if old == new {
        return vec![1.0; new];
    }
    let raw: Vec<f64> = (0..new).map(|_| random.range(0.5, 1.5)).collect();
    let mut sums = vec![0.0; old];
    for (i, x) in raw.iter().enumerate() {
        sums[i % old] += x;
    }
    raw.iter()
        .enumerate()
        .map(|(i, x)| (x / sums[i % old]) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_encoder::openl3::{OpenL3Train, WINDOW};
    use voisin_kernels::isa;

    fn train(weights: &OpenL3Weights) -> OpenL3Train {
        OpenL3Train::new(weights, isa().unwrap())
    }

    const NARROW: [usize; 8] = [16, 16, 16, 16, 16, 16, 16, 32];

    #[test]
    fn the_function_stays() {
        let weights = OpenL3Weights::seeded(3, &NARROW);
        let head = TeacherHead::seeded(32, 250, 3);
        let (wide, wide_head) =
            widen(&weights, &head, &[32, 48, 16, 32, 48, 16, 64, 64], 4).unwrap();
        assert_eq!(wide.widths(), [32, 48, 16, 32, 48, 16, 64, 64]);
        let mut random = Random::stream(1, 1);
        let mels: Vec<f32> = (0..2 * WINDOW)
            .map(|_| random.range(-80.0, 0.0) as f32)
            .collect();
        let predict = |weights: &OpenL3Weights, head: &TeacherHead| {
            let net = weights.compile(isa().unwrap());
            let mut out = vec![0.0; 2 * net.dimension()];
            net.forward(&mels, 2, &mut out);
            head.forward(&out)
        };
        let before = predict(&weights, &head);
        let after = predict(&wide, &wide_head);
        let scale = before.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let error = before
            .iter()
            .zip(&after)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(scale > 0.01 && error < 1e-4 * scale, "{error} of {scale}");
        // In training mode too, where batch norm uses the batch.
        let train = |weights: &OpenL3Weights, head: &TeacherHead| {
            head.forward(&train(weights).forward(&mels, 2))
        };
        let before = train(&weights, &head);
        let after = train(&wide, &wide_head);
        let scale = before.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let error = before
            .iter()
            .zip(&after)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(error < 1e-3 * scale, "{error} of {scale}");
    }

    #[test]
    fn copies_diverge_in_training() {
        let weights = OpenL3Weights::seeded(3, &NARROW);
        let head = TeacherHead::seeded(32, 250, 3);
        let (wide, _) = widen(&weights, &head, &[32; 8], 4).unwrap();
        let mut net = train(&wide);
        let mels: Vec<f32> = (0..WINDOW).map(|i| -((i % 71) as f32)).collect();
        let out = net.forward(&mels, 1);
        net.backward(&out.iter().map(|x| x * 0.1).collect::<Vec<_>>());
        let layer = net
            .layout()
            .iter()
            .find(|p| p.name == "conv2d_3.weight")
            .unwrap();
        let gradient = &net.gradients()[layer.range.clone()];
        let (first, copy) = gradient.split_at(gradient.len() / 2);
        let ratio: Vec<f32> = first
            .iter()
            .zip(copy)
            .filter(|(a, _)| a.abs() > 1e-6)
            .map(|(a, b)| b / a)
            .collect();
        let (low, high) = ratio
            .iter()
            .fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
        assert!(
            high - low > 0.1,
            "a copy's gradient is {low} to {high} times the original's"
        );
    }

    #[test]
    fn narrower_is_refused() {
        let head = TeacherHead::seeded(32, 250, 3);
        assert!(
            widen(
                &OpenL3Weights::seeded(3, &NARROW),
                &head,
                &[16, 16, 16, 16, 16, 16, 16, 16],
                1
            )
            .is_err()
        );
    }
}
