//! `voisin clusters`.

use std::collections::HashMap;

use crate::cli::Ending;
use crate::cli::args::{ClustersArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::safe::table_path;
use crate::cli::render::{self, count};
use voisin::questions::answers::clusters::ClustersJson;
use voisin::questions::explore::Clusters;
use voisin::{Engine, meta};
use voisin_base::track::TrackId;
use voisin_explore::clusters::{Clustering, Share};

pub(crate) fn run(context: &Context, args: &ClustersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    args.filters.check_folders(&engine)?;
    let filter = args.filters.filter(&engine, &[])?;
    let found = match engine.matching(&filter)? {
        Some(tracks) => Clusters::among(&mut engine, &tracks)?,
        None => Clusters::all(&mut engine)?,
    };
    match args.format {
        TableFormat::Json => render::print_json(&ClustersJson::new(&engine, &found)?)?,
        TableFormat::Csv => print_csv(&engine, &found)?,
        TableFormat::Table => cluster_table(&engine, &found)?,
    }
    if found.clusters.is_empty() {
        context
            .console
            .note("no group stands out: the tracks are too few, or too evenly spread");
        return Ok(Ending::Partial);
    }
    Ok(Ending::Fine)
}

fn print_csv(engine: &Engine, found: &Clustering) -> anyhow::Result<()> {
    let clusters = found.clusters.iter();
    let names: HashMap<u32, &str> = clusters.map(|c| (c.id, c.name.as_str())).collect();
    let ids = found.ids();
    let mut rows = Vec::new();
    engine.library().for_each_track(|track| {
        if let Some(cluster) = ids.get(&track.id) {
            let name = names.get(cluster).copied().unwrap_or("noise");
            rows.push([
                track.id.to_string(),
                table_path(&track.path),
                cluster.to_string(),
                name.to_owned(),
            ]);
        }
        Ok(())
    })?;
    render::print_csv(["id", "path", "cluster", "name"], rows)
}

/// Up to three labels that are more frequent in a cluster than in the library, without labels that few of its tracks have.
fn marks(shares: &[Share]) -> String {
    let marks = shares
        .iter()
        // At least a twentieth of the cluster, as a rare label of a large library has a huge lift by
        // chance.
        .filter(|share| share.share >= 0.05 && share.lift >= 1.0)
        .take(3);
    let marks = marks.map(|s| {
        let predicted = match s.predicted {
            0 => String::new(),
            tracks => format!(", {tracks} of {} predicted", s.tracks),
        };
        let percent = 100.0 * s.share;
        format!("{} {percent:.0} % (×{:.1}{predicted})", s.label, s.lift)
    });
    marks.collect::<Vec<_>>().join(", ")
}

fn cluster_table(engine: &Engine, found: &Clustering) -> anyhow::Result<()> {
    let medoids: Vec<TrackId> = found
        .clusters
        .iter()
        .map(|cluster| cluster.medoid)
        .collect();
    let medoids = engine.library().tracks_by_id(&medoids)?;
    let taxonomy = engine.taxonomy()?;
    let clusters = count(found.clusters.len() as u64, "cluster");
    let noise = count(found.noise.len() as u64, "track");
    render::print_line(&format!("{clusters}, {noise} in no group"))?;
    for (cluster, medoid) in found.clusters.iter().zip(&medoids) {
        let nearest = cluster
            .nearest
            .first()
            .map_or_else(String::new, |near| format!("{} {}", near.id, near.name));
        let tracks = count(cluster.members.len() as u64, "track");
        let id = cluster.id;
        let name = &cluster.name;
        let cohesion = cluster.cohesion;
        render::print_fitted(&format!(
            "{id:>3}  {name}: {tracks}, cohesion {cohesion:.2}"
        ))?;
        let indent = " ".repeat(5);
        for (what, text) in [
            ("genres ", marks(&cluster.genres)),
            ("artists", marks(&cluster.artists)),
            ("nearest", nearest),
            (
                "typical",
                format!(
                    "{} (id:{})",
                    meta(medoid, &taxonomy).display(),
                    cluster.medoid
                ),
            ),
        ] {
            if !text.is_empty() {
                render::print_fitted(&format!("{indent}{what}  {text}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_marked_by_what_it_has_more_of() {
        let share = |label: &str, share, lift| Share {
            label: label.to_owned(),
            tracks: 3,
            predicted: usize::from(label == "Pop"),
            share,
            lift,
        };
        let shares = [
            share("Rock", 0.9, 2.2),
            share("Song", 0.004, 0.0),
            share("Disco", 0.04, 18.6),
            share("Classical", 0.3, 0.1),
            share("Pop", 0.05, 1.0),
        ];
        let expected = "Rock 90 % (×2.2), Pop 5 % (×1.0, 1 of 3 predicted)";
        assert_eq!(marks(&shares), expected);
        assert_eq!(marks(&shares[1..4]), "");
    }
}
