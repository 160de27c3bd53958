//! Curves over numbers of any size, and bars.

use super::{Anchor, FAINT, INK, SERIES, Scene, axes, legend, shares, shorten};

/// A curve: its name, and its points in order.
pub type Curve = (String, Vec<(f64, f64)>);

/// About five round numbers from `low` to `high`.
pub(super) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        // The finest step with at most nine ticks.
        .find(|step| span / step <= 8.0);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (first..first + 10)
        .map(|i| i as f64 * step)
        .take_while(|x| *x <= high + step * 1e-6)
        .collect()
}

/// A number in its shortest clear form.
pub(super) fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        "0".to_owned()
    } else if size >= 1e6 {
        format!("{:.3}", x / 1e6)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
            + " M"
    } else if size >= 1e4 {
        format!("{:.1}", x / 1e3)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
            + " k"
    } else {
        format!("{x:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    }
}

/// Curves with axes that fit them; points that are not finite are left out.
pub fn chart(title: &str, x_name: &str, y_name: &str, curves: &[Curve]) -> Scene {
    const WIDE: f64 = 560.0;
    const HIGH: f64 = 320.0;
    const LEFT: f64 = 72.0;
    const UP: f64 = 40.0;
    let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points
            .iter()
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect()
    };
    let curves: Vec<(&str, Vec<(f64, f64)>)> = curves
        .iter()
        .map(|(name, points)| (name.as_str(), finite(points)))
        .collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let range = |value: fn(&(f64, f64)) -> f64| {
        let low = all().map(value).fold(f64::INFINITY, f64::min);
        let high = all().map(value).fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            (0.0, 1.0)
        } else if low == high {
            (low - 0.5, high + 0.5)
        } else {
            (low, high)
        }
    };
    let (left, right) = range(|p| p.0);
    let (low, high) = range(|p| p.1);
    // An axis begins at 0 if that costs little, so that heights can be compared.
    let low = if low >= 0.0 && low < 0.5 * high {
        0.0
    } else {
        low
    };
    let mut scene = Scene::new(LEFT + WIDE + 190.0, UP + HIGH + 60.0);
    let at = |(x, y): (f64, f64)| {
        (
            LEFT + (x - left) / (right - left) * WIDE,
            UP + HIGH - (y - low) / (high - low) * HIGH,
        )
    };
    let marks = |from: f64, to: f64| {
        let marks = ticks(from, to).into_iter();
        marks
            .map(|tick| ((tick - from) / (to - from), number(tick)))
            .collect::<Vec<_>>()
    };
    let place = [LEFT, UP, WIDE, HIGH];
    axes(
        &mut scene,
        title,
        place,
        [&marks(left, right), &marks(low, high)],
        [x_name, y_name],
    );
    scene.line(
        vec![(LEFT, UP), (LEFT, UP + HIGH), (LEFT + WIDE, UP + HIGH)],
        FAINT,
        1.0,
    );
    for (i, (name, points)) in curves.iter().enumerate() {
        let colour = SERIES[i % SERIES.len()];
        scene.line(points.iter().copied().map(at).collect(), colour, 2.0);
        legend(
            &mut scene,
            LEFT + WIDE,
            UP + 10.0 + 20.0 * i as f64,
            colour,
            name,
        );
    }
    scene
}

/// Shares (0 to 1) as bars, each with its spread as a line; a spread of 0 draws none.
pub fn bars(title: &str, rows: &[(String, f64, f64)]) -> Scene {
    const WIDE: f64 = 420.0;
    const ROW: f64 = 26.0;
    const UP: f64 = 40.0;
    let names: Vec<String> = rows.iter().map(|(name, ..)| shorten(name, 32)).collect();
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0) as f64;
    let left = 24.0 + 7.5 * longest;
    let high = ROW * rows.len() as f64;
    let mut scene = Scene::new(left + WIDE + 110.0, UP + high + 40.0);
    axes(
        &mut scene,
        title,
        [left, UP, WIDE, high],
        [&shares(), &[]],
        ["", ""],
    );
    for (i, ((_, value, spread), name)) in rows.iter().zip(&names).enumerate() {
        let y = UP + ROW * (i as f64 + 0.5);
        let value = if value.is_finite() {
            value.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let spread = if spread.is_finite() {
            spread.max(0.0)
        } else {
            0.0
        };
        let percent = format!("{:.1} %", 100.0 * value);
        let around = if spread > 0.0 {
            format!(" ± {:.1}", 100.0 * spread)
        } else {
            String::new()
        };
        scene.text(left - 8.0, y, 13.0, Anchor::End, INK, name.as_str());
        scene.rect(
            left,
            y - 8.0,
            value * WIDE,
            16.0,
            SERIES[0],
            format!("{name}: {percent}{around}"),
        );
        if spread > 0.0 {
            let ends = [(value - spread).max(0.0), (value + spread).min(1.0)]
                .map(|v| (left + v * WIDE, y));
            scene.line(ends.to_vec(), INK, 2.0);
        }
        scene.text(left + WIDE + 8.0, y, 12.0, Anchor::Start, INK, percent);
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.2 * 3.0, 0.8, 1.0]);
        assert_eq!(
            ticks(0.0, 25_000.0),
            [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0]
        );
        assert_eq!(ticks(3.0, 3.0), [3.0]);
        let odd = ticks(-0.37, 0.91);
        assert!(
            odd.len() >= 3 && odd.iter().all(|x| (-0.37..=0.91).contains(x)),
            "{odd:?}"
        );
        assert_eq!(
            (number(0.25), number(25_000.0), number(1.5e6)),
            ("0.25".into(), "25 k".into(), "1.5 M".into())
        );
    }

    #[test]
    fn every_curve_and_bar_is_drawn_inside_the_picture() {
        let curves = [
            (
                "a".to_owned(),
                vec![(0.0, 1.0), (10.0, 3.0), (20.0, f64::NAN)],
            ),
            ("b".to_owned(), vec![]),
        ];
        let svg = chart("t", "x", "y", &curves).svg();
        // The highest point of the only curve with points is at the top right of the axes.
        assert!(svg.contains("points=\"72.0,253.3 632.0,40.0\""), "{svg}");
        let svg = bars(
            "t",
            &[
                ("<x>".to_owned(), 0.5, 0.1),
                ("y".to_owned(), f64::NAN, 0.0),
            ],
        )
        .svg();
        assert!(
            svg.contains("width=\"210.0\"") && svg.contains("&lt;x&gt;") && !svg.contains("NaN")
        );
        assert!(svg.contains(": 50.0 % ± 10.0<") && svg.contains(">y: 0.0 %<"));
    }
}
