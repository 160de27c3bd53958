//! One division of a weighted graph, by Leiden.

use leiden_rs::{GraphData, GraphDataBuilder, Leiden, LeidenConfig, Partition, QualityType};

use super::super::{ExploreError, Result};

/// Two rows and the weight between them.
pub(super) type Edge = (usize, usize, f64);

impl From<leiden_rs::LeidenError> for ExploreError {
    fn from(error: leiden_rs::LeidenError) -> Self {
        Self::Leiden(error.to_string())
    }
}

/// A graph of `n` rows.
pub(super) fn data(n: usize, edges: &[Edge]) -> Result<GraphData> {
    let mut builder = GraphDataBuilder::new(n);
    for &(a, b, weight) in edges {
        builder.add_edge(a, b, weight)?;
    }
    Ok(builder.build()?)
}

/// One division of a graph of `n` rows.
pub(super) fn leiden_labels(n: usize, edges: &[Edge], resolution: f64, seed: u64) -> Result<Vec<usize>> {
    Ok(leiden(&data(n, edges)?, resolution, seed, None)?.0)
}

/// Leiden until it no longer improves, from `start` or from single tracks.
pub(super) fn leiden(
    data: &GraphData,
    resolution: f64,
    seed: u64,
    start: Option<Vec<usize>>,
) -> Result<(Vec<usize>, f64)> {
    let leiden = Leiden::new(LeidenConfig {
        resolution,
        seed: Some(seed),
        quality: QualityType::Modularity,
        // Sequential moves only: the result must not depend on the machine.
        parallel_local_moving_threshold: Some(usize::MAX),
        parallel_aggregation_threshold: Some(usize::MAX),
        ..LeidenConfig::default()
    });
    let mut output = match start {
        Some(start) => leiden.run_with_initial_partition(data, Partition::from_membership(start))?,
        None => leiden.run(data)?,
    };
    for _ in 0..10 {
        let next = leiden.run_with_initial_partition(data, output.partition.clone())?;
        if next.quality <= output.quality + 1e-9 {
            break;
        }
        output = next;
    }
    Ok((output.partition.as_slice().to_vec(), output.quality))
}
