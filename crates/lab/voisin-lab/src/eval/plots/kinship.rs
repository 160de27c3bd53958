//! Distances between genres: a heat map and a dendrogram.

use super::{Anchor, FAINT, INK, NOTHING, SERIES, Scene, TITLE, blue, grid, shorten};
use voisin_genre::Kinship;

/// Genres of fewer tracks are marked.
const FEW: usize = 3;

/// Draws the legend of colours below a heat map of distances.
fn ramp(scene: &mut Scene) {
    const STEPS: usize = 10;
    let left = 64.0;
    let step = 14.0;
    let high = 14.0;
    let y = scene.height;
    scene.height += 30.0;
    scene.width = scene.width.max(340.0);
    let middle = y + high / 2.0;
    scene.text(left - 8.0, middle, 12.0, Anchor::End, INK, "0, near");
    for i in 0..STEPS {
        let share = 1.0 - (i as f64 + 0.5) / STEPS as f64;
        scene.rect(left + step * i as f64, y, step, high, blue(share), "");
    }
    let end = left + step * STEPS as f64;
    scene.text(end + 8.0, middle, 12.0, Anchor::Start, INK, "far, 1");
    scene.rect(end + 60.0, y, step, high, NOTHING, "");
    scene.text(
        end + 60.0 + step + 8.0,
        middle,
        12.0,
        Anchor::Start,
        INK,
        "itself",
    );
}

/// Explains the star after a genre below the picture, if there is one.
fn note(scene: &mut Scene, kinship: &Kinship) {
    if kinship.genres.iter().any(|genre| genre.tracks < FEW) {
        scene.height += 24.0;
        let text = format!("* fewer than {FEW} tracks: its position is uncertain");
        scene.text(12.0, scene.height - 14.0, 12.0, Anchor::Start, INK, text);
    }
}

/// Distances between genres, darker if nearer, in the order of the dendrogram.
pub fn kinship_heat_map(kinship: &Kinship) -> Scene {
    let order = kinship.leaf_order();
    let names: Vec<String> = order.iter().map(|&g| name_of(kinship, g)).collect();
    let mut scene = grid([&names, &names], "Distance between genres", |i, j| {
        if i == j {
            return (None, String::new(), names[i].clone());
        }
        let d = kinship.distance[order[i]][order[j]];
        (
            Some(1.0 - d),
            format!("{d:.2}"),
            format!("{} – {}: {d:.3}", names[i], names[j]),
        )
    });
    ramp(&mut scene);
    note(&mut scene, kinship);
    scene
}

/// A genre's name, with a star if it has few tracks.
fn name_of(kinship: &Kinship, genre: usize) -> String {
    let genre = &kinship.genres[genre];
    format!(
        "{}{}",
        genre.genre.name(),
        if genre.tracks < FEW { " *" } else { "" }
    )
}

/// Genres joined from the nearest pair up.
pub fn kinship_dendrogram(kinship: &Kinship) -> Scene {
    let order = kinship.leaf_order();
    let merges = kinship.merges();
    let n = order.len();
    let names: Vec<String> = order
        .iter()
        .map(|&g| shorten(&name_of(kinship, g), 24))
        .collect();
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0) as f64;
    let row = 24.0;
    let left = 24.0 + 7.5 * longest;
    let plot = 520.0;
    let mut scene = Scene::new(left + plot + 40.0, 104.0 + row * n as f64);
    scene.text(
        12.0,
        18.0,
        TITLE,
        Anchor::Start,
        INK,
        "Genres joined by distance",
    );
    let most = merges.iter().map(|m| m.2).fold(1e-9, f64::max);
    let x = |d: f64| left + d / most * plot;
    // (height of the cluster, its vertical middle)
    let mut at: Vec<(f64, f64)> = vec![(0.0, 0.0); n + merges.len()];
    for (place, &g) in order.iter().enumerate() {
        at[g] = (0.0, 40.0 + row * (place as f64 + 0.5));
        scene.text(
            left - 8.0,
            at[g].1,
            13.0,
            Anchor::End,
            INK,
            names[place].as_str(),
        );
    }
    for (i, &(a, b, d)) in merges.iter().enumerate() {
        let pa = at[a];
        let pb = at[b];
        scene.line(
            vec![(x(pa.0), pa.1), (x(d), pa.1), (x(d), pb.1), (x(pb.0), pb.1)],
            SERIES[0],
            2.0,
        );
        // Clusters are numbered after the genres, in the order of joining.
        at[n + i] = (d, f64::midpoint(pa.1, pb.1));
    }
    let base = 48.0 + row * n as f64;
    scene.line(vec![(left, base), (left + plot, base)], FAINT, 1.0);
    let step = if most < 0.2 { 0.05 } else { 0.2 };
    for tick in 0..=(most / step + 1e-9) as u32 {
        let d = step * f64::from(tick);
        scene.text(
            x(d),
            base + 14.0,
            12.0,
            Anchor::Middle,
            INK,
            format!("{d:.2}"),
        );
    }
    scene.text(
        left + plot / 2.0,
        base + 36.0,
        13.0,
        Anchor::Middle,
        INK,
        "distance at which they are joined (0: the same, 1: farthest apart)",
    );
    note(&mut scene, kinship);
    scene
}
