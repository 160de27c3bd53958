//! The curve 1 / (1 + a x^2b) from distance on the map to closeness.

/// Least-squares `a` and `b` for an offset exponential (1 up to `min_dist`, then `exp(min_dist` − x)) on 300
/// points from 0 to 3, by Gauss–Newton with step halving.
///
/// For `min_dist` 0.1: a = 1.577, b = 0.895, as in umap-learn.
pub(super) fn fit(min_dist: f32) -> (f32, f32) {
    let min_dist = f64::from(min_dist);
    let points: Vec<(f64, f64)> = (0..300)
        .map(|i| {
            let x = 3.0 * f64::from(i) / 299.0;
            (
                x,
                if x < min_dist {
                    1.0
                } else {
                    (min_dist - x).exp()
                },
            )
        })
        .collect();
    let model = |a: f64, b: f64, x: f64| 1.0 / (1.0 + a * x.powf(2.0 * b));
    let error = |a: f64, b: f64| {
        points
            .iter()
            .map(|&(x, y)| (model(a, b, x) - y).powi(2))
            .sum::<f64>()
    };
    let mut a = 1.0;
    let mut b = 1.0;
    for _ in 0..200 {
        // Keeps the determinant above 0.
        let mut aa = 1e-12;
        let mut ab = 0.0;
        let mut bb = 1e-12;
        let mut ra = 0.0;
        let mut rb = 0.0;
        // Without x = 0, where the curve is 1 for any a and b and the logarithm is undefined.
        for &(x, y) in points.iter().filter(|p| p.0 > 0.0) {
            let f = model(a, b, x);
            let power = x.powf(2.0 * b);
            let da = -f * f * power;
            let db = -f * f * a * power * 2.0 * x.ln();
            aa += da * da;
            ab += da * db;
            bb += db * db;
            ra += da * (y - f);
            rb += db * (y - f);
        }
        let determinant = aa * bb - ab * ab;
        let step_a = (bb * ra - ab * rb) / determinant;
        let step_b = (aa * rb - ab * ra) / determinant;
        let before = error(a, b);
        // A full step may overshoot, so that it is halved until the error decreases.
        let better = (0..20).map(|halving| 0.5_f64.powi(halving)).find(|scale| {
            let a = a + scale * step_a;
            let b = b + scale * step_b;
            a > 0.0 && b > 0.0 && error(a, b) < before
        });
        let Some(scale) = better else { break };
        a += scale * step_a;
        b += scale * step_b;
    }
    (a as f32, b as f32)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn agrees_with_umap_learn() {
        // umap-learn 0.5.12: umap.umap_.find_ab_params(1.0, min_dist)
        for (min_dist, a, b) in [
            (0.1, 1.576_943_5, 0.895_060_9),
            (0.5, 0.583_030_2, 1.334_166_9),
        ] {
            let (found_a, found_b) = fit(min_dist);
            assert!(
                (found_a - a).abs() < 1e-3 && (found_b - b).abs() < 1e-3,
                "{found_a} {found_b}"
            );
        }
    }
}
