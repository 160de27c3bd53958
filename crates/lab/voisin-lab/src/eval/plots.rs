//! Pictures of figures and of sound: curves, confusion, spectrograms.

mod chart;
mod sound;

pub use chart::{Curve, bars, chart};
pub use sound::{Panel, Ramp, hertz, sound};

use crate::scene::{Anchor, Rgb, Scene, blend, shorten};

const INK: Rgb = (34, 34, 34);
/// Size of titles.
const TITLE: f64 = 15.0;
/// Cells without a value.
const NOTHING: Rgb = (214, 214, 214);
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

/// White to dark blue for 0 to 1.
fn blue(value: f64) -> Rgb {
    blend(&[(247, 251, 255), (8, 69, 148)], value)
}

/// Cells in named rows and columns: `value` in [0, 1] is its colour (no value: grey), `label` its text.
pub(crate) fn grid(
    names: [&[String]; 2],
    title: &str,
    cell: impl Fn(usize, usize) -> (Option<f64>, String, String),
) -> Scene {
    let most = names[0].len().max(names[1].len());
    // Large cells for few names; many share the width of a page.
    let side = if most <= 16 {
        44.0
    } else {
        (720.0 / most as f64).max(12.0)
    };
    let names = names.map(|names| {
        names
            .iter()
            .map(|name| shorten(name, 24))
            .collect::<Vec<String>>()
    });
    let [margin, below] = names.each_ref().map(|names| {
        24.0 + 7.5
            * names
                .iter()
                .map(|name| name.chars().count())
                .max()
                .unwrap_or(0) as f64
    });
    let [high, wide] = names.each_ref().map(|names| side * names.len() as f64);
    // the title must fit too; a letter is at most 0.6 of its size wide on average
    let width = (margin + wide + 20.0).max(24.0 + 0.6 * TITLE * title.chars().count() as f64);
    let mut scene = Scene::new(width, 40.0 + below + high);
    scene.text(12.0, 18.0, TITLE, Anchor::Start, INK, title);
    let middle = |at: usize| side.mul_add(at as f64, side / 2.0);
    for (j, name) in names[1].iter().enumerate() {
        let x = margin + middle(j);
        let bottom = 40.0 + high + 8.0;
        scene.upwards(
            x,
            bottom,
            13.0f64.min(side),
            Anchor::End,
            INK,
            name.as_str(),
        );
    }
    for (i, name) in names[0].iter().enumerate() {
        scene.text(
            margin - 8.0,
            40.0 + middle(i),
            13.0f64.min(side),
            Anchor::End,
            INK,
            name.as_str(),
        );
        for j in 0..names[1].len() {
            let (value, label, hint) = cell(i, j);
            let x = margin + side * j as f64;
            let y = 40.0 + side * i as f64;
            scene.rect(
                x,
                y,
                side - 1.0,
                side - 1.0,
                value.map_or(NOTHING, blue),
                hint,
            );
            if side >= 30.0 && !label.is_empty() {
                // White text on dark cells.
                let colour = if value.is_some_and(|value| value > 0.5) {
                    (255, 255, 255)
                } else {
                    INK
                };
                scene.text(
                    x + side / 2.0,
                    y + side / 2.0,
                    12.0,
                    Anchor::Middle,
                    colour,
                    label,
                );
            }
        }
    }
    scene
}

/// Counts of true genre (row) against prediction (column), coloured by share of the row.
pub(crate) fn confusion_map(names: &[String], confusion: &[Vec<usize>]) -> Scene {
    grid(
        [names, names],
        "True genre (rows) against prediction (columns)",
        |i, j| {
            let total: usize = confusion[i].iter().sum();
            let count = confusion[i][j];
            let label = if count > 0 {
                count.to_string()
            } else {
                String::new()
            };
            (
                Some(count as f64 / total.max(1) as f64),
                label,
                format!("{} predicted as {}: {count} of {total}", names[i], names[j]),
            )
        },
    )
}

/// A curve with a name.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Curves in the unit square, with the diagonal.
///
/// - `names`: of the horizontal and the vertical axis
pub(crate) fn curves(title: &str, names: [&str; 2], series: &[Series]) -> Scene {
    const SIDE: f64 = 340.0;
    const LEFT: f64 = 64.0;
    const UP: f64 = 40.0;
    let beside = if series.len() > 1 { 190.0 } else { 20.0 };
    let height = (UP + SIDE + 60.0).max(UP + 20.0 * series.len() as f64 + 20.0);
    let mut scene = Scene::new(LEFT + SIDE + beside, height);
    let at = |(x, y): (f64, f64)| (LEFT + x * SIDE, UP + SIDE - y * SIDE);
    axes(
        &mut scene,
        title,
        [LEFT, UP, SIDE, SIDE],
        [&shares(), &shares()],
        names,
    );
    scene.line(vec![at((0.0, 0.0)), at((1.0, 1.0))], FAINT, 1.0);
    for (i, s) in series.iter().enumerate() {
        let colour = SERIES[i % SERIES.len()];
        scene.line(s.points.iter().copied().map(at).collect(), colour, 2.0);
        if series.len() > 1 {
            legend(
                &mut scene,
                LEFT + SIDE,
                UP + 10.0 + 20.0 * i as f64,
                colour,
                s.name,
            );
        }
    }
    scene
}

/// Ticks of an axis of shares from 0 to 1.
fn shares() -> Vec<(f64, String)> {
    let shares = (0..=5).map(|tick| f64::from(tick) / 5.0);
    shares
        .map(|share| (share, format!("{:.0} %", 100.0 * share)))
        .collect()
}

/// Title, grid and labels of a plot.
///
/// - `place`: left, top, width and height of the plot area
/// - `ticks`, `names`: of the horizontal, then of the vertical axis; a tick is a position on the axis (0 to 1) and its label
fn axes(
    scene: &mut Scene,
    title: &str,
    [left, up, wide, high]: [f64; 4],
    ticks: [&[(f64, String)]; 2],
    names: [&str; 2],
) {
    scene.text(12.0, 18.0, TITLE, Anchor::Start, INK, title);
    for (share, label) in ticks[0] {
        let x = left + share * wide;
        scene.line(vec![(x, up), (x, up + high)], GRID, 1.0);
        scene.text(
            x,
            up + high + 14.0,
            12.0,
            Anchor::Middle,
            INK,
            label.as_str(),
        );
    }
    for (share, label) in ticks[1] {
        let y = up + high - share * high;
        scene.line(vec![(left, y), (left + wide, y)], GRID, 1.0);
        scene.text(left - 8.0, y, 12.0, Anchor::End, INK, label.as_str());
    }
    scene.text(
        left + wide / 2.0,
        up + high + 38.0,
        13.0,
        Anchor::Middle,
        INK,
        names[0],
    );
    scene.upwards(14.0, up + high / 2.0, 13.0, Anchor::Middle, INK, names[1]);
}

/// A curve's colour and name to the right of a plot that ends at `right`.
fn legend(scene: &mut Scene, right: f64, y: f64, colour: Rgb, name: &str) {
    scene.line(vec![(right + 14.0, y), (right + 34.0, y)], colour, 3.0);
    scene.text(right + 40.0, y, 12.0, Anchor::Start, INK, shorten(name, 22));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_markup_are_escaped() {
        let names = vec![
            "<script>alert('x')</script>".to_owned(),
            "a&b\"\u{1}".to_owned(),
        ];
        let svg = confusion_map(&names, &[vec![1, 2], vec![3, 4]]).svg();
        assert!(!svg.contains("<script") && !svg.contains("a&b") && !svg.contains('\u{1}'));
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a&amp;b&quot;"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn titles_fit_small_pictures() {
        let names = vec!["A".to_owned(), "B".to_owned()];
        let title = "A title that is longer than two cells are wide, by far";
        let scene = grid([&names, &names], title, |_, _| {
            (Some(0.5), "0.50".into(), String::new())
        });
        let png = scene.png(1).unwrap();
        // the last letters are inside the picture: if cut off, it would end at the margin of the cells
        assert!(scene.width > 12.0 + 0.5 * TITLE * title.chars().count() as f64 && !png.is_empty());
        let wide: Vec<String> = (0..12).map(|i| format!("genre {i}")).collect();
        let scene = grid([&wide, &wide], "T", |_, _| {
            (Some(0.5), String::new(), String::new())
        });
        assert!((scene.width - (24.0 + 7.5 * 8.0 + 44.0 * 12.0 + 20.0)).abs() < 1e-9);
    }

    #[test]
    fn colours_darken() {
        assert_eq!(blue(0.0), (247, 251, 255));
        assert_eq!(blue(2.0), (8, 69, 148));
    }
}
