//! Drawings of a layout: an interactive HTML file, CSV for other tools.
//!
//! For: self-contained files. Not for: positions of tracks ([`layout`](super::layout)) or groups
//! ([`clusters`](super::clusters)).

mod colour_order;
mod html;

pub use colour_order::{coloured_genres, genre};
pub use html::html;

use std::collections::HashMap;

use ndarray::ArrayView2;

use super::clusters::Clustering;
use super::{KnnGraph, TrackMeta};

/// The colours of both maps, `voisin map`'s and the server's: eight that differ most from each other and from grey, also
/// without green (at least 0.14 and 0.09 apart in Oklab).
const PALETTE: &str = include_str!("palette.json");

/// The script of both maps: a module that includes the palette.
pub const CORE: &str = concat!(
    "const PALETTE = ",
    include_str!("palette.json"),
    ";\n",
    include_str!("page/core.js"),
    include_str!("page/ui.js")
);

/// The style of both maps, with the colours and controls of both pages.
pub const STYLE: &str = include_str!("page/page.css");

#[derive(Debug, Clone, Copy)]
pub struct MapData<'a> {
    /// `[n, 2]` positions.
    pub positions: ArrayView2<'a, f32>,
    pub meta: &'a [TrackMeta],
    /// Same rows; the first eight neighbours are shown.
    pub graph: &'a KnnGraph,
    pub clustering: &'a Clustering,
}

impl MapData<'_> {
    /// Name of each row's cluster; `None` is noise.
    fn cluster_names(&self) -> Vec<Option<&str>> {
        let mut names = HashMap::new();
        for cluster in &self.clustering.clusters {
            let members = cluster.members.iter();
            names.extend(members.map(|&track| (track, cluster.name.as_str())));
        }
        let name = |track: &TrackMeta| names.get(&track.id).copied();
        self.meta.iter().map(name).collect()
    }

    /// Smallest and largest coordinates: x, y, x, y.
    fn bounds(&self) -> [f32; 4] {
        let mut bounds = [
            f32::INFINITY,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NEG_INFINITY,
        ];
        for row in self.positions.rows() {
            for d in 0..2 {
                bounds[d] = bounds[d].min(row[d]);
                bounds[d + 2] = bounds[d + 2].max(row[d]);
            }
        }
        if bounds[0] > bounds[2] {
            return [0.0, 0.0, 1.0, 1.0];
        }
        for d in 0..2 {
            // If all are in one place, since positions are divided by the width.
            if bounds[d + 2] - bounds[d] < 1e-6 {
                bounds[d] -= 0.5;
                bounds[d + 2] += 0.5;
            }
        }
        bounds
    }
}

/// CSV with a header: id, x, y, cluster, words (the model's strongest tags, joined by "; "), artist, title, album, genres (joined by "; "), `predicted_genre`,
/// year, path. Fields that a spreadsheet would evaluate as a formula get a leading apostrophe.
pub fn csv(data: &MapData<'_>) -> String {
    let clusters = data.cluster_names();
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Into memory, where writing cannot fail.
    let mut write = |fields: [String; 12]| writer.write_record(fields).expect("equal rows");
    write(
        [
            "id",
            "x",
            "y",
            "cluster",
            "words",
            "artist",
            "title",
            "album",
            "genres",
            "predicted_genre",
            "year",
            "path",
        ]
        .map(str::to_owned),
    );
    for (row, track) in data.meta.iter().enumerate() {
        let text = |value: &str| {
            // The characters of OWASP's page on CSV injection.
            let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
            if formula {
                format!("'{value}")
            } else {
                value.to_owned()
            }
        };
        write([
            track.id.to_string(),
            data.positions[[row, 0]].to_string(),
            data.positions[[row, 1]].to_string(),
            text(clusters[row].unwrap_or("")),
            text(&track.tags.join("; ")),
            text(track.artist.as_deref().unwrap_or("")),
            text(track.display_title()),
            text(track.album.as_deref().unwrap_or("")),
            text(&track.genres.join("; ")),
            text(track.predicted_genre.as_deref().unwrap_or("")),
            track.year.map(|year| year.to_string()).unwrap_or_default(),
            // Without an apostrophe, because programs open the file by it.
            track.path.clone(),
        ]);
    }
    let bytes = writer.into_inner().expect("a vector takes all");
    String::from_utf8(bytes).expect("only strings were written")
}
