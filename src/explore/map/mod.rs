//! Drawings of a layout: one HTML file to walk on, PNG and SVG for papers, CSV for other tools.

use std::path::Path;

use ndarray::ArrayView2;

use super::clusters::Clustering;
use super::{KnnGraph, Result, TrackMeta};

/// What a map shows.
#[derive(Debug, Clone, Copy)]
pub struct MapData<'a> {
    /// `[n, 2]` positions.
    pub positions: ArrayView2<'a, f32>,
    /// One per row.
    pub meta: &'a [TrackMeta],
    /// Same rows; the first eight neighbours are shown.
    pub graph: &'a KnnGraph,
    /// Clusters to colour by.
    pub clustering: Option<&'a Clustering>,
}

/// One self-contained HTML page.
///
/// - `title`: shown on top
/// - `page_folder`: the folder the page will lie in, so that links to audio files can be relative; `None`
///   leaves paths as they are
pub fn html(data: &MapData<'_>, title: &str, page_folder: Option<&Path>) -> Result<String> {
    let _ = (data, title, page_folder);
    todo!()
}

/// What a static map is coloured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourBy {
    /// First genre of the tags.
    #[default]
    Genre,
    /// Predicted genre.
    Predicted,
    /// Cluster.
    Cluster,
    /// Artist.
    Artist,
}

/// Size and content of a static map.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticOptions {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Title on top; empty for none.
    pub title: String,
    /// Colours.
    pub colour_by: ColourBy,
}

/// PNG file's bytes.
pub fn png(data: &MapData<'_>, options: &StaticOptions) -> Result<Vec<u8>> {
    let _ = (data, options);
    todo!()
}

/// SVG text.
pub fn svg(data: &MapData<'_>, options: &StaticOptions) -> Result<String> {
    let _ = (data, options);
    todo!()
}

/// CSV with a header: id, x, y, cluster, artist, title, album, genres, `predicted_genre`, year, path.
pub fn csv(data: &MapData<'_>) -> Result<String> {
    let _ = data;
    todo!()
}
