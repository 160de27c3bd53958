//! `voisin clusters`.

use std::collections::HashMap;

use crate::cli::Ending;
use crate::cli::args::{ClustersArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::graph::{clustered, neighbour_graph};
use crate::cli::render::track::display;
use crate::cli::render::{self, Align, Table, count};
use crate::cli::sound::with_compatible_keys;
use crate::engine::Collection;
use crate::explore::clusters::{Change, ClusterOptions, Clustering};

pub(crate) fn run(context: &Context, args: &ClustersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let mut collection = engine.collection()?;
    let graph = neighbour_graph(&mut engine, &collection)?;
    collection.predict_genres(&graph)?;
    let rows = engine
        .matching(&with_compatible_keys(&engine, args.filters.filter(), &args.filters.sound, &[])?)?
        .map(|tracks| collection.rows_of(&tracks));
    if rows.as_ref().is_some_and(Vec::is_empty) {
        context.console.note("no track passes the filters: loosen them");
        return Ok(Ending::Partial);
    }
    let options = ClusterOptions {
        detail: args.detail,
        count: args.clusters.map(|n| n as usize),
        seed: args.seed,
        ..ClusterOptions::default()
    };
    let found = clustered(&mut engine, &collection, &graph, rows.as_deref(), &options)?;
    match args.format {
        TableFormat::Json => render::print_json(&found)?,
        TableFormat::Csv => {
            let names: HashMap<u32, &str> = found.clusters.iter().map(|c| (c.id, c.name.as_str())).collect();
            let assigned =
                collection.meta.iter().zip(&found.assignment).filter(|(_, id)| **id != 0 || rows.is_none());
            render::print_csv(
                ["id", "path", "cluster", "name"],
                assigned.map(|(track, cluster)| {
                    let name = names.get(cluster).copied().unwrap_or("noise");
                    [track.id.to_string(), track.path.clone(), cluster.to_string(), name.to_owned()]
                }),
            )?;
        }
        TableFormat::Table => cluster_table(&collection, &found)?,
    }
    if found.clusters.is_empty() {
        context.console.note("no group stands out: the tracks are too few, or too evenly spread");
        return Ok(Ending::Partial);
    }
    Ok(Ending::Fine)
}

fn cluster_table(collection: &Collection, found: &Clustering) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("id", Align::Right),
        ("name", Align::Left),
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("genres (share, lift)", Align::Left),
        ("artists", Align::Left),
        ("nearest", Align::Left),
        ("typical track", Align::Left),
    ]);
    for cluster in &found.clusters {
        let genres: Vec<String> = cluster
            .genres
            .iter()
            .take(3)
            .map(|genre| format!("{} {:.0} % ×{:.1}", genre.label, 100.0 * genre.share, genre.lift))
            .collect();
        let artists: Vec<&str> = cluster.artists.iter().take(2).map(|artist| artist.label.as_str()).collect();
        let nearest = cluster.nearest.first().map_or_else(String::new, |near| near.name.clone());
        table.row([
            cluster.id.to_string(),
            cluster.name.clone(),
            cluster.members.len().to_string(),
            format!("{:.2}", cluster.cohesion),
            genres.join(", "),
            artists.join(", "),
            nearest,
            display(collection, cluster.medoid),
        ]);
    }
    if !found.clusters.is_empty() {
        table.print()?;
    }
    if !found.noise.is_empty() {
        let noise = count(found.noise.len() as u64, "track");
        render::print_line(&format!("noise: {noise} in no group"))?;
    }
    for change in &found.changes {
        let text = match change {
            Change::New { id } => format!("cluster {id} is new"),
            Change::Split { from, id } => format!("cluster {id} split off from {from}"),
            Change::Merged { from, into } => format!("cluster {from} merged into {into}"),
            Change::Gone { id } => format!("cluster {id} is gone"),
        };
        render::print_line(&text)?;
    }
    Ok(())
}
