//! The same tracks on several maps.

use super::{Anchor, FAINT, GRID, INK, Scene, TITLE, shorten};
use voisin_explore::map::category_colours;

/// One map.
pub(crate) struct MapPanel<'a> {
    /// Its title.
    pub(crate) title: String,
    /// Positions of the tracks.
    pub(crate) points: &'a [[f32; 2]],
    /// Positions of the classes, pale in the background.
    pub(crate) means: &'a [[f32; 2]],
}

/// Maps side by side, all to one scale, a colour for each class (grey beyond the palette's sixteen)
/// and black for the highlighted one.
///
/// - `(names, class_of)`: names of the classes, and the index of each track's class
/// - `apart`: the highlighted class
pub(crate) fn maps(
    title: &str,
    (names, class_of): (&[String], &[usize]),
    apart: Option<usize>,
    panels: &[MapPanel],
) -> Scene {
    const SIDE: f64 = 200.0;
    const GAP: f64 = 16.0;
    // one row of at most four, else two
    let rows = panels.len().div_ceil(4);
    let across = panels.len().div_ceil(rows.max(1)).max(1);
    let left = GAP + (SIDE + GAP) * across as f64;
    let below = 30.0 + (SIDE + 34.0) * rows as f64;
    let mut scene = Scene::new(left + 170.0, below.max(60.0 + 20.0 * names.len() as f64));
    scene.text(12.0, 18.0, TITLE, Anchor::Start, INK, title);
    let all = panels
        .iter()
        .flat_map(|panel| panel.points.iter().chain(panel.means).flatten());
    // One scale for all panels, so that a contracting space is visible.
    let widest = all.fold(1e-6f32, |most, x| most.max(x.abs()));
    let colour = |class: usize| match apart {
        Some(highlighted) if highlighted == class => INK,
        _ => category_colours().get(class).copied().unwrap_or(FAINT),
    };
    let size = |class: usize| if apart == Some(class) { 4.0 } else { 3.0 };
    for (number, panel) in panels.iter().enumerate() {
        let x = GAP + (SIDE + GAP) * (number % across) as f64;
        let y = 54.0 + (SIDE + 34.0) * (number / across) as f64;
        scene.text(x, y - 10.0, 13.0, Anchor::Start, INK, panel.title.as_str());
        let corners = [
            (x, y),
            (x + SIDE, y),
            (x + SIDE, y + SIDE),
            (x, y + SIDE),
            (x, y),
        ];
        scene.line(corners.to_vec(), GRID, 1.0);
        // The origin is in the middle: positions are relative to the mean of the training tracks.
        let mut dot = |place: [f32; 2], class: usize, size: f64, opacity: f64| {
            let [right, up] = place.map(|p| f64::from(p / widest) * (SIDE / 2.0 - 10.0));
            scene.dot(
                (x + SIDE / 2.0 + right, y + SIDE / 2.0 - up),
                size,
                colour(class),
                opacity,
            );
        };
        panel
            .means
            .iter()
            .enumerate()
            .for_each(|(class, place)| dot(*place, class, 9.0, 0.35));
        // drawn last, so on top
        let mut order: Vec<usize> = (0..panel.points.len().min(class_of.len())).collect();
        order.sort_by_key(|&track| apart == Some(class_of[track]));
        for track in order {
            dot(
                panel.points[track],
                class_of[track],
                size(class_of[track]),
                0.8,
            );
        }
    }
    for (class, name) in names.iter().enumerate() {
        let y = 60.0 + 20.0 * class as f64;
        scene.dot((left + 10.0, y), size(class) + 1.0, colour(class), 1.0);
        scene.text(left + 22.0, y, 12.0, Anchor::Start, INK, shorten(name, 20));
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_track_is_a_dot_inside_its_panel() {
        let names = ["a".to_owned(), "<b>".to_owned()];
        let first = [[1.0, -1.0], [0.0, 0.5]];
        let second = [[-2.0, 2.0], [0.1, 0.1]];
        let panel = |title: &str, points| MapPanel {
            title: title.to_owned(),
            points,
            means: &[[0.0, 1.0]],
        };
        let panels = [panel("before", &first[..]), panel("after", &second[..])];
        let svg = maps("t", (&names, &[0, 1]), Some(1), &panels).svg();
        assert_eq!(svg.matches("<circle").count(), 4 + 2 + 2, "{svg}");
        // the farthest one is at the second panel's upper left corner, ten units from both edges
        assert!(
            svg.contains("cx=\"242.0\" cy=\"64.0\"") && svg.contains("&lt;b&gt;"),
            "{svg}"
        );
    }
}
