//! Pictures of figures and of sound: curves, confusion, spectrograms.

mod sound;

pub(crate) use sound::{Panel, Ramp, hertz, sound};

use crate::scene::{Anchor, INK, Rgb, Scene, blend, shorten};

const TITLE: f64 = 15.0;
const FAINT: Rgb = (190, 190, 190);
const GRID: Rgb = (235, 235, 235);
/// Colours that the colour-blind can distinguish (Okabe and Ito).
const SERIES: [Rgb; 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (120, 94, 240),
    (34, 34, 34),
];
/// Top of a plot's area, below its title.
const UP: f64 = 40.0;

/// Counts of true class (row) against prediction (column), coloured by share of the row.
pub(crate) fn confusion_map(names: &[String], confusion: &[Vec<usize>]) -> Scene {
    const HEADING: &str = "True class (rows) against prediction (columns)";
    // Large cells for few classes; many share the width of a page.
    let side = if names.len() <= 16 {
        44.0
    } else {
        (720.0 / names.len() as f64).max(12.0)
    };
    let letters = 13.0f64.min(side);
    let short: Vec<String> = names.iter().map(|name| shorten(name, 24)).collect();
    let longest = short.iter().map(|name| name.chars().count()).max();
    let margin = 24.0 + 7.5 * longest.unwrap_or(0) as f64;
    let wide = side * names.len() as f64;
    // The title must fit too; a letter is at most 0.6 of its size wide on average.
    let width = (margin + wide + 20.0).max(24.0 + 0.6 * TITLE * HEADING.len() as f64);
    let mut scene = Scene::new(width, UP + margin + wide);
    scene.text((12.0, 18.0), TITLE, Anchor::Start, HEADING);
    let middle = |at: usize| side.mul_add(at as f64, side / 2.0);
    for (i, name) in short.iter().enumerate() {
        let below = (margin + middle(i), UP + wide + 8.0);
        scene.upwards(below, letters, Anchor::End, name);
        let beside = (margin - 8.0, UP + middle(i));
        scene.text(beside, letters, Anchor::End, name);
        let total: usize = confusion[i].iter().sum();
        for (j, &count) in confusion[i].iter().enumerate() {
            let share = count as f64 / total.max(1) as f64;
            let hint = format!("{} predicted as {}: {count} of {total}", names[i], names[j]);
            let left = margin + side * j as f64;
            let top = UP + side * i as f64;
            let blue = blend(&[(247, 251, 255), (8, 69, 148)], share);
            scene.rect([left, top, side - 1.0, side - 1.0], blue, &hint);
            if side >= 30.0 && count > 0 {
                // White text on dark cells.
                let colour = if share > 0.5 { (255, 255, 255) } else { INK };
                let place = (left + side / 2.0, top + side / 2.0);
                scene.coloured(place, 12.0, Anchor::Middle, colour, &count.to_string());
            }
        }
    }
    scene
}

/// A curve: its name, and its points in order.
pub(crate) type Curve = (String, Vec<(f64, f64)>);

/// Curves in the unit square, with the diagonal.
///
/// - `names`: of the horizontal and the vertical axis
pub(crate) fn unit_curves(title: &str, names: [&str; 2], curves: &[Curve]) -> Scene {
    let area = [64.0, UP, 340.0, 340.0];
    let mut scene = plot(title, area, curves.len());
    axes(&mut scene, area, [&shares(), &shares()], names);
    draw(&mut scene, area, [0.0, 1.0, 0.0, 1.0], curves);
    let [left, up, wide, high] = area;
    scene.line(&[(left, up + high), (left + wide, up)], FAINT, 1.0);
    scene
}

/// Curves with axes that fit them; points that are not finite are left out.
pub(crate) fn chart(title: &str, x_name: &str, curves: &[Curve]) -> Scene {
    let area = [72.0, UP, 560.0, 320.0];
    let finite = |(name, points): &Curve| {
        let points = points.iter().copied();
        let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        (name.clone(), points.collect())
    };
    let curves: Vec<Curve> = curves.iter().map(finite).collect();
    let range = |value: fn(&(f64, f64)) -> f64| {
        let all = || curves.iter().flat_map(|(_, points)| points).map(value);
        let low = all().fold(f64::INFINITY, f64::min);
        let high = all().fold(f64::NEG_INFINITY, f64::max);
        if low < high {
            (low, high)
        } else if low == high {
            (low - 0.5, high + 0.5)
        } else {
            (0.0, 1.0)
        }
    };
    let (left, right) = range(|point| point.0);
    let (low, high) = range(|point| point.1);
    // An axis begins at 0 if that costs little, so that heights can be compared.
    let low = if (0.0..0.5 * high).contains(&low) {
        0.0
    } else {
        low
    };
    let marks = |from: f64, to: f64| -> Vec<(f64, String)> {
        let marks = ticks(from, to).into_iter();
        marks
            .map(|tick| ((tick - from) / (to - from), number(tick)))
            .collect()
    };
    let mut scene = plot(title, area, curves.len());
    let marks = [marks(left, right), marks(low, high)];
    axes(&mut scene, area, [&marks[0], &marks[1]], [x_name, ""]);
    draw(&mut scene, area, [left, right, low, high], &curves);
    scene
}

/// An empty plot with its title, and room for a legend of some curves beside its area.
fn plot(title: &str, [left, up, wide, high]: [f64; 4], curves: usize) -> Scene {
    let height = (high + 60.0).max(20.0 * curves as f64 + 20.0);
    let mut scene = Scene::new(left + wide + 190.0, up + height);
    scene.text((12.0, 18.0), TITLE, Anchor::Start, title);
    scene
}

/// Curves with their legend.
///
/// - `range`: the numbers at the area's left, right, lower and upper end
fn draw(scene: &mut Scene, area: [f64; 4], range: [f64; 4], curves: &[Curve]) {
    let [left, up, wide, high] = area;
    let [from, to, low, top] = range;
    let at = |&(x, y): &(f64, f64)| {
        let share = (x - from) / (to - from);
        (
            left + share * wide,
            up + high - (y - low) / (top - low) * high,
        )
    };
    for (i, (name, points)) in curves.iter().enumerate() {
        let colour = SERIES[i % SERIES.len()];
        let points: Vec<(f64, f64)> = points.iter().map(at).collect();
        scene.line(&points, colour, 2.0);
        let y = up + 10.0 + 20.0 * i as f64;
        let right = left + wide;
        scene.line(&[(right + 14.0, y), (right + 34.0, y)], colour, 3.0);
        let place = (right + 40.0, y);
        scene.text(place, 12.0, Anchor::Start, &shorten(name, 22));
    }
}

/// Ticks of an axis of shares from 0 to 1.
fn shares() -> Vec<(f64, String)> {
    let shares = (0..=5).map(|tick| f64::from(tick) / 5.0);
    shares
        .map(|share| (share, format!("{:.0} %", 100.0 * share)))
        .collect()
}

/// Grid and labels of a plot.
///
/// - `area`: left, top, width and height
/// - `ticks`, `names`: of the horizontal, then of the vertical axis; a tick is a position on the axis (0 to 1) and its label
fn axes(scene: &mut Scene, area: [f64; 4], ticks: [&[(f64, String)]; 2], names: [&str; 2]) {
    let [left, up, wide, high] = area;
    for (share, label) in ticks[0] {
        let x = left + share * wide;
        scene.line(&[(x, up), (x, up + high)], GRID, 1.0);
        scene.text((x, up + high + 14.0), 12.0, Anchor::Middle, label);
    }
    for (share, label) in ticks[1] {
        let y = up + high - share * high;
        scene.line(&[(left, y), (left + wide, y)], GRID, 1.0);
        scene.text((left - 8.0, y), 12.0, Anchor::End, label);
    }
    let below = (left + wide / 2.0, up + high + 38.0);
    scene.text(below, 13.0, Anchor::Middle, names[0]);
    let beside = (14.0, up + high / 2.0);
    scene.upwards(beside, 13.0, Anchor::Middle, names[1]);
}

/// About five round numbers from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let power = 10f64.powf((span / 5.0).log10().floor());
    // The finest step with at most nine ticks.
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = steps.into_iter().find(|step| span / step <= 8.0);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (first..first + 10)
        .map(|i| i as f64 * step)
        .take_while(|x| *x <= high + step * 1e-6)
        .collect()
}

/// A number with at most four digits behind the point.
fn number(x: f64) -> String {
    let text = format!("{x:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.2 * 3.0, 0.8, 1.0]);
        assert_eq!(ticks(3.0, 3.0), [3.0]);
        let odd = ticks(-0.37, 0.91);
        assert!(
            odd.len() >= 3 && odd.iter().all(|x| (-0.37..=0.91).contains(x)),
            "{odd:?}"
        );
        assert_eq!([0.25, 25_000.0, -1e-9].map(number), ["0.25", "25000", "0"]);
    }
}
