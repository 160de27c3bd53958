//! Categories of a drawing, with their colours and the positions of their names.

use std::collections::HashMap;

use super::super::scene::Rgb;
use super::{MapData, palette};

/// Fewest tracks of a category whose name is on the map; smaller ones are only in the legend.
const FEWEST: usize = 5;

/// One line of the legend.
#[derive(Debug, Clone)]
pub(super) struct Category {
    pub(super) name: String,
    pub(super) count: usize,
    pub(super) colour: Rgb,
    /// Positions of its name: the densest spot of its tracks, and that of a second cloud, if any; empty for "other", for tracks
    /// without a category, and for tiny ones.
    pub(super) spots: Vec<[f32; 2]>,
}

/// Assigns rows to categories: the category of each row and the categories, some of them without rows.
///
/// - `labels`: category name per row, `None` for none
/// - `none`: name of the rows without one
/// - `order`: names in the order of colours; those beyond the palette are one category
pub(super) fn categories(
    data: &MapData<'_>,
    labels: &[Option<String>],
    none: &str,
    order: &[String],
) -> (Vec<usize>, Vec<Category>) {
    let palette = palette::light();
    let mut counts = counts(labels.iter().map(Option::as_deref));
    // Labels that are not shown stay in `counts` and are the category "other".
    let shown = &order[..order.len().min(palette.colours.len())];
    let number: HashMap<&str, usize> = shown
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), i))
        .collect();
    let of_row: Vec<usize> = labels
        .iter()
        .map(|label| match label.as_deref() {
            Some(label) => number.get(label).copied().unwrap_or(shown.len()),
            None => shown.len() + 1,
        })
        .collect();
    let sizes: Vec<usize> = shown
        .iter()
        .map(|name| counts.remove(name.as_str()).unwrap_or_default())
        .collect();
    let bounds = data.bounds();
    // A name over a few dots would seem to be that of the cloud around them; in a small library all categories are small.
    let least = FEWEST
        .min(sizes.iter().copied().max().unwrap_or_default())
        .max(2);
    let mut categories: Vec<Category> = shown
        .iter()
        .zip(sizes)
        .zip(&palette.colours)
        .enumerate()
        .map(|(i, ((name, count), &colour))| Category {
            name: name.clone(),
            count,
            colour,
            spots: if count < least {
                Vec::new()
            } else {
                spots(data, bounds, |row| of_row[row] == i)
            },
        })
        .collect();
    let missing = labels.iter().filter(|label| label.is_none()).count();
    for (name, count) in [
        (format!("other ({})", counts.len()), counts.values().sum()),
        (none.to_owned(), missing),
    ] {
        categories.push(Category {
            name,
            count,
            colour: palette.grey,
            spots: Vec::new(),
        });
    }
    (of_row, categories)
}

/// Names in the order of colours: the most common first, then by name.
pub(super) fn ranked<'a>(labels: impl Iterator<Item = Option<&'a str>>) -> Vec<String> {
    let mut order: Vec<(&str, usize)> = counts(labels).into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    order.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// Rows per category name.
fn counts<'a>(labels: impl Iterator<Item = Option<&'a str>>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    for label in labels.flatten() {
        *counts.entry(label).or_default() += 1;
    }
    counts
}

/// Least distance of a second cloud from the first spot, as a share of the map's width or height (the same as in page/core.js).
const APART: f32 = 0.15;

/// The densest spot, and the densest spot apart from it, if a third of the rows are there.
fn spots(data: &MapData<'_>, bounds: [f32; 4], belongs: impl Fn(usize) -> bool) -> Vec<[f32; 2]> {
    let rows = (0..data.meta.len()).filter(|&row| belongs(row)).count();
    let Some((_, first)) = densest(data, bounds, rows, &belongs) else {
        return Vec::new();
    };
    let off = |row: usize, d: usize| {
        (data.positions[[row, d]] - first[d]).abs() / (bounds[d + 2] - bounds[d])
    };
    let apart = |row: usize| belongs(row) && (off(row, 0) > APART || off(row, 1) > APART);
    let second = densest(data, bounds, rows, apart)
        .filter(|(count, _)| *count >= FEWEST && 3 * count >= rows);
    std::iter::once(first)
        .chain(second.map(|(_, spot)| spot))
        .collect()
}

/// The most central row around the fullest cell of a grid, counted with its neighbours, and the number of rows there; the grid
/// is coarse for few rows in `all`. A row, because the mean of a ring would be an empty place.
fn densest(
    data: &MapData<'_>,
    bounds: [f32; 4],
    all: usize,
    belongs: impl Fn(usize) -> bool,
) -> Option<(usize, [f32; 2])> {
    let rows: Vec<usize> = (0..data.meta.len()).filter(|&row| belongs(row)).collect();
    // Coarser for few rows, or the fullest cell would be random.
    let side = (2.0 * (all as f32).sqrt()).round().clamp(6.0, 48.0);
    let cell = |row: usize, d: usize| {
        ((data.positions[[row, d]] - bounds[d]) / (bounds[d + 2] - bounds[d]) * side).floor() as i32
    };
    let mut fields: HashMap<(i32, i32), (usize, [f32; 2])> = HashMap::new();
    for &row in &rows {
        let field = fields.entry((cell(row, 0), cell(row, 1))).or_default();
        field.0 += 1;
        (0..2).for_each(|d| field.1[d] += data.positions[[row, d]]);
    }
    let around = |&(x, y): &(i32, i32)| {
        let near = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (x + dx, y + dy)));
        near.filter_map(|cell| fields.get(&cell))
            .fold((0, [0.0; 2]), |sum, field| {
                (
                    sum.0 + field.0,
                    [sum.1[0] + field.1[0], sum.1[1] + field.1[1]],
                )
            })
    };
    let best = fields
        .keys()
        // Ties by position, since the order of a map is random.
        .max_by_key(|&cell| (around(cell).0, fields[cell].0, std::cmp::Reverse(*cell)))?;
    let (count, sum) = around(best);
    let at = |row: usize| [0, 1].map(|d| data.positions[[row, d]]);
    let off = |row: usize| -> f32 {
        (0..2)
            .map(|d| (at(row)[d] - sum[d] / count as f32).powi(2))
            .sum()
    };
    rows.into_iter()
        .min_by(|&a, &b| off(a).total_cmp(&off(b)))
        .map(|row| (count, at(row)))
}

/// A rectangle in pixels: left, top, right, bottom.
pub(super) type PixelRect = [i32; 4];

/// Places each name near its spot, without overlaps, within `frame`, and hiding few points; `None` if there is no room (the name
/// is in the legend).
///
/// - `wanted`: centre of the name, its width and height, in pixels; the most important first
/// - `points`: points to avoid, with their `radius`
pub(super) fn place(
    wanted: &[([i32; 2], [i32; 2])],
    frame: PixelRect,
    points: &[(i32, i32)],
    radius: i32,
) -> Vec<Option<PixelRect>> {
    let mut taken: Vec<PixelRect> = Vec::new();
    wanted
        .iter()
        .map(|&([x, y], [width, height])| {
            let free = candidates(height).map(|(dx, dy)| {
                // `max`, because `clamp` panics if its bounds are reversed, as for a name wider than the
                // frame.
                let left = (x + dx - width / 2).clamp(frame[0], (frame[2] - width).max(frame[0]));
                let top = (y + dy - height / 2).clamp(frame[1], (frame[3] - height).max(frame[1]));
                [left, top, left + width, top + height]
            });
            let overlaps = |a: &PixelRect, b: &PixelRect| {
                a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
            };
            let found = free
                .filter(|field| field[2] <= frame[2] && field[3] <= frame[3])
                .filter(|field| !taken.iter().any(|other| overlaps(field, other)))
                .min_by_key(|field| {
                    let hidden = |&&(x, y): &&(i32, i32)| {
                        field[0] - radius < x
                            && x < field[2] + radius
                            && field[1] - radius < y
                            && y < field[3] + radius
                    };
                    points.iter().filter(hidden).count()
                });
            taken.extend(found);
            found
        })
        .collect()
}

/// Offsets from the wanted place, nearest first.
fn candidates(height: i32) -> impl Iterator<Item = (i32, i32)> {
    let rings = (1..=5).flat_map(move |ring| {
        (0..16).map(move |k| {
            let angle = f64::from(k) * std::f64::consts::TAU / 16.0;
            let radius = f64::from(ring * height) * 0.8;
            (
                // Names are wide, so that horizontal steps are longer than vertical ones.
                (radius * 1.6 * angle.cos()) as i32,
                (radius * angle.sin()) as i32,
            )
        })
    });
    std::iter::once((0, 0)).chain(rings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_at_a_track_and_not_in_the_middle_of_a_ring() {
        use super::super::super::{KnnGraph, TrackMeta};
        let positions = ndarray::Array2::from_shape_fn((12, 2), |(i, d)| {
            let angle = i as f32 / 12.0 * std::f32::consts::TAU;
            0.1 * if d == 0 { angle.cos() } else { angle.sin() }
        });
        let vectors = super::super::super::testing::unit_vectors(12, 4, 1);
        let graph = KnnGraph::exact(vectors.view(), 3).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..12)
            .map(|i| TrackMeta::new(voisin_base::track::TrackId(i), "x.mp3"))
            .collect();
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[],
        };
        let spot = spots(&data, [-1.0, -1.0, 1.0, 1.0], |_| true)[0];
        assert!(
            positions
                .rows()
                .into_iter()
                .any(|row| row[0] == spot[0] && row[1] == spot[1]),
            "{spot:?}"
        );
        // Two clouds have a name each, but not a few tracks far away.
        for (second, expected) in [(0, 1), (4, 1), (5, 2), (7, 2)] {
            let two = ndarray::Array2::from_shape_fn((12, 2), |(i, _)| {
                0.005 * (i as f32) + if i < second { 0.7 } else { -0.7 }
            });
            let spots = spots(
                &MapData {
                    positions: two.view(),
                    ..data
                },
                [-1.0, -1.0, 1.0, 1.0],
                |_| true,
            );
            assert_eq!(spots.len(), expected, "{second} of 12: {spots:?}");
        }
    }

    #[test]
    fn names_of_the_legend_have_different_colours() {
        use super::super::super::{KnnGraph, TrackMeta};
        let rows = 60;
        let positions = super::super::super::testing::unit_vectors(rows, 2, 1);
        let graph = KnnGraph::exact(positions.view(), 3).expect("unit vectors");
        let meta: Vec<TrackMeta> = (0..rows)
            .map(|i| TrackMeta::new(voisin_base::track::TrackId(i as i64), "x.mp3"))
            .collect();
        let data = MapData {
            positions: positions.view(),
            meta: &meta,
            graph: &graph,
            clustering: None,
            scales: &[],
        };
        // 30 names, more than there are colours, and a row without.
        let labels: Vec<Option<String>> = (0..rows)
            .map(|i| (i > 0).then(|| format!("{:02}", i % 30 / 2 + i % 2 * 15)))
            .collect();
        let order = ranked(labels.iter().map(Option::as_deref));
        let (of_row, categories) = categories(&data, &labels, "none", &order);
        let colours: std::collections::HashSet<Rgb> =
            categories.iter().map(|category| category.colour).collect();
        let slots = palette::light().colours.len();
        assert_eq!(colours.len(), slots + 1);
        let [other, missing] = &categories[slots..] else {
            panic!("two grey ones: {categories:?}");
        };
        assert_eq!(other.name, format!("other ({})", order.len() - slots));
        assert_eq!(missing.count, 1);
        for (i, category) in categories.iter().enumerate() {
            let rows = of_row.iter().filter(|&&found| found == i).count();
            assert_eq!(category.count, rows, "{}", category.name);
        }
    }

    #[test]
    fn names_do_not_hide_points() {
        let points: Vec<(i32, i32)> = (0..8)
            .map(|i| (200 + 12 * (i % 4), 150 + 9 * (i / 4)))
            .collect();
        let field = place(&[([210, 152], [60, 16])], [0, 0, 400, 300], &points, 0)[0]
            .expect("there is room");
        assert!(
            points
                .iter()
                .all(|&(x, y)| x <= field[0] || field[2] <= x || y <= field[1] || field[3] <= y)
        );
    }

    #[test]
    fn names_do_not_touch_points() {
        // One point just below the wanted place: of radius 6 it would be touched there.
        let at = |radius| {
            place(
                &[([200, 150], [60, 16])],
                [0, 0, 400, 300],
                &[(200, 162)],
                radius,
            )[0]
        };
        assert_eq!(at(0), Some([170, 142, 230, 158]));
        let field = at(6).expect("there is room");
        assert!(
            field[3] + 6 <= 162
                || field[1] - 6 >= 162
                || field[2] + 6 <= 200
                || field[0] - 6 >= 200,
            "{field:?}"
        );
    }

    #[test]
    fn names_do_not_overlap_and_stay_inside() {
        let wanted: Vec<_> = (0..30)
            .map(|i| ([100 + (i * 37) % 60, 100 + (i * 23) % 40], [70, 16]))
            .collect();
        let placed = place(&wanted, [0, 0, 400, 300], &[], 0);
        let fields: Vec<PixelRect> = placed.into_iter().flatten().collect();
        assert!(fields.len() > 12);
        for (i, a) in fields.iter().enumerate() {
            assert!(a[0] >= 0 && a[1] >= 0 && a[2] <= 400 && a[3] <= 300);
            for b in &fields[i + 1..] {
                assert!(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]);
            }
        }
    }
}
