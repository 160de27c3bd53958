//! `voisin clusters`, `map`, `path`, `playlist`, `artists`, `duplicates` and `outliers`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use voisin::engine::{Collection, Engine, window_set};
use voisin::explore::clusters::{self, ClusterOptions, Clustering, Detail, Identity};
use voisin::explore::duplicates::{DuplicateOptions, duplicates};
use voisin::explore::layout::{LayoutOptions, layout, place_new};
use voisin::explore::map::{self, MapData, StaticOptions};
use voisin::explore::outliers::{self, outliers};
use voisin::explore::path::{PathOptions, path};
use voisin::explore::playlist::{self, Format, Length, PathStyle, PlaylistOptions, SeedUse, playlist};
use voisin::explore::{TrackMeta, artists};
use voisin::library::stored_path;
use voisin::track::TrackId;

use super::Ending;
use super::args::{
    ArtistsArgs, ClustersArgs, DetailKind, DuplicatesArgs, MapArgs, OutliersArgs, PathArgs, PlaylistArgs,
    PlaylistFormat, TableFormat,
};
use super::context::Context;
use super::render::{self, Align, Table, clock, count};
use super::similar::seeds;

/// Neighbours in the graphs that clusters and maps are made from.
const GRAPH_K: usize = 15;

pub(crate) fn clusters(context: &Context, args: &ClustersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let rows: Option<Vec<usize>> = args.genre.as_ref().map(|genre| rows_of_genre(&collection, genre));
    if rows.as_ref().is_some_and(Vec::is_empty) {
        context.console.note("no track has this genre");
        return Ok(Ending::Partial);
    }
    let detail = match args.detail {
        DetailKind::Coarse => Detail::Coarse,
        DetailKind::Default => Detail::Default,
        DetailKind::Fine => Detail::Fine,
    };
    let options = ClusterOptions {
        detail,
        count: args.clusters.map(|n| n as usize),
        seed: args.seed,
        ..ClusterOptions::default()
    };
    let found = clustered(&mut engine, &collection, rows.as_deref(), &options)?;
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
    Ok(Ending::Fine)
}

fn cluster_table(collection: &Collection, found: &Clustering) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("id", Align::Right),
        ("name", Align::Left),
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("genres (share, lift)", Align::Left),
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
        let nearest = cluster.nearest.first().map_or_else(String::new, |near| near.name.clone());
        table.row([
            cluster.id.to_string(),
            cluster.name.clone(),
            cluster.members.len().to_string(),
            format!("{:.2}", cluster.cohesion),
            genres.join(", "),
            nearest,
            display(collection, cluster.medoid),
        ]);
    }
    table.print()?;
    if !found.noise.is_empty() {
        render::print_line(&format!("noise: {} near nothing", count(found.noise.len() as u64, "track")))?;
    }
    for change in &found.changes {
        use voisin::explore::clusters::Change;
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

/// Clusters a library, with ids carried over from the last time the same question was asked.
fn clustered(
    engine: &mut Engine,
    collection: &Collection,
    rows: Option<&[usize]>,
    options: &ClusterOptions,
) -> anyhow::Result<Clustering> {
    let graph = engine.knn_graph(collection, GRAPH_K.min(collection.ids.len().saturating_sub(1)))?;
    // Ids of the whole collection survive; parts of it and fixed numbers are asked for now and then.
    let remembered = rows.is_none() && options.count.is_none();
    let name = format!("clusters.{:?}", options.detail).to_lowercase();
    let previous: Option<Identity> = match engine.library().setting(&name)? {
        Some(text) if remembered => serde_json::from_str(&text).ok(),
        _ => None,
    };
    let found = clusters::cluster(
        collection.vectors.view(),
        &graph,
        &collection.meta,
        rows,
        options,
        previous.as_ref(),
    )?;
    if remembered && engine.library().mode() != voisin::library::OpenMode::ReadOnly {
        let text = serde_json::to_string(&found.identity)?;
        engine.library_mut().set_setting(&name, Some(&text))?;
    }
    Ok(found)
}

pub(crate) fn map(context: &Context, args: &MapArgs) -> anyhow::Result<Ending> {
    let extension = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if !["html", "png", "svg", "csv"].contains(&extension.as_str()) {
        bail!("--output ends in \".{extension}\", expected .html, .png, .svg or .csv");
    }
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let n = collection.ids.len();
    if n < 3 {
        bail!("a map needs at least 3 tracks, this library has {n}");
    }
    let graph = engine.knn_graph(&collection, GRAPH_K.min(n - 1))?;
    let options = LayoutOptions { seed: args.seed, ..LayoutOptions::default() };
    // Positions are kept beside the library, so that --update can leave old tracks where they were.
    let kept_in = engine.library().dir().join("map.json");
    let known: HashMap<i64, [f32; 2]> = match std::fs::read(&kept_in) {
        Ok(bytes) if args.update => serde_json::from_slice(&bytes).unwrap_or_default(),
        _ => HashMap::new(),
    };
    let positions = if known.is_empty() {
        layout(collection.vectors.view(), &graph, &options)?
    } else {
        let known: Vec<Option<[f32; 2]>> =
            collection.ids.iter().map(|id| known.get(&id.0).copied()).collect();
        place_new(&graph, &known, &options)?
    };
    let now: HashMap<i64, [f32; 2]> =
        collection.ids.iter().zip(positions.rows()).map(|(id, at)| (id.0, [at[0], at[1]])).collect();
    if let Err(error) = write_whole(&kept_in, &serde_json::to_vec(&now)?) {
        context.console.detail(&format!("positions are not kept: {error}"));
    }
    let clustering = clustered(&mut engine, &collection, None, &ClusterOptions::default())?;
    let data = MapData {
        positions: positions.view(),
        meta: &collection.meta,
        graph: &graph,
        clustering: Some(&clustering),
    };
    let title = args.title.clone().unwrap_or_else(|| format!("voisin: {}", count(n as u64, "track")));
    let picture = StaticOptions {
        title: title.clone(),
        colour_by: args.colour_by.parse()?,
        ..StaticOptions::default()
    };
    let bytes = match extension.as_str() {
        "html" => {
            let folder = stored_path(&args.output);
            map::html(&data, &title, folder.parent())?.into_bytes()
        }
        "png" => map::png(&data, &picture)?,
        "svg" => map::svg(&data, &picture)?.into_bytes(),
        _ => map::csv(&data)?.into_bytes(),
    };
    write_whole(&args.output, &bytes).with_context(|| format!("cannot write {}", args.output.display()))?;
    let text = format!("{} on {}", count(n as u64, "track"), args.output.display());
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::Fine)
}

pub(crate) fn walk(context: &Context, args: &PathArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let row = |text: &std::ffi::OsString| -> anyhow::Result<usize> {
        let seed = seeds(context, &engine, std::slice::from_ref(text))?;
        Ok(collection.row_of(&seed[0])?)
    };
    let (from, to) = (row(&args.from)?, row(&args.to)?);
    let via = args.via.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    let graph = engine.knn_graph(&collection, GRAPH_K.min(collection.ids.len().saturating_sub(1)))?;
    let options = PathOptions {
        via,
        tracks: args.steps.map(|steps| steps as usize + 1),
        max_per_artist: args.max_per_artist.map(|n| n as usize),
    };
    let walk = path(collection.vectors.view(), &graph, &collection.meta, from, to, &options)?;
    if args.format == PlaylistFormat::Table {
        let mut table = Table::new(&[
            ("", Align::Right),
            ("step", Align::Right),
            ("artist", Align::Left),
            ("title", Align::Left),
            ("path", Align::Left),
        ]);
        for (i, &row) in walk.rows.iter().enumerate() {
            let track = &collection.meta[row];
            let step = if i == 0 { String::new() } else { format!("{:.3}", walk.steps[i - 1]) };
            let artist = track.artist.clone().unwrap_or_default();
            table.row([
                (i + 1).to_string(),
                step,
                artist,
                track.display_title().to_owned(),
                track.path.clone(),
            ]);
        }
        table.print()?;
        context.console.note(&format!(
            "largest step {:.3} (distance), smallest possible {:.3}",
            walk.largest_step, walk.bottleneck
        ));
        return Ok(Ending::Fine);
    }
    print_list(&collection, &walk.rows, args.format, args.relative_to.as_deref(), "voisin path")?;
    Ok(Ending::Fine)
}

pub(crate) fn make_playlist(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let mut rows = Vec::new();
    let mut named = false;
    for seed in seeds(context, &engine, &args.seed)? {
        rows.push(collection.row_of(&seed)?);
        named = true;
    }
    for genre in &args.genre {
        rows.extend(rows_of_genre(&collection, genre));
    }
    if let Some(cluster) = args.cluster {
        let found = clustered(&mut engine, &collection, None, &ClusterOptions::default())?;
        rows.extend((0..collection.ids.len()).filter(|&row| found.assignment[row] == cluster));
    }
    if rows.is_empty() {
        bail!("no seed: name tracks with --seed, or a --genre or --cluster that has tracks");
    }
    let length = match (args.length, args.tracks) {
        (Some(length), _) => Length::Seconds(length.0),
        (None, Some(n)) => Length::Tracks(n as usize),
        (None, None) => Length::Tracks(20),
    };
    let options = PlaylistOptions {
        length,
        max_per_artist: args.max_per_artist.map(|n| n as usize),
        diversity: args.diversity,
        shuffle: args.shuffle,
        seeds: if named { SeedUse::Open } else { SeedUse::Allow },
        min_similarity: args.min_similarity,
    };
    let mut excluded: std::collections::HashSet<usize> = std::collections::HashSet::new();
    if args.no_duplicates {
        for group in find_duplicates(&mut engine, &collection)? {
            excluded.extend(group.others.iter().filter_map(|&track| collection.row(track)));
        }
    }
    let entries = playlist(
        collection.vectors.view(),
        &collection.meta,
        &rows,
        &|row| excluded.contains(&row),
        &options,
    )?;
    let rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
    print_list(&collection, &rows, args.format, args.relative_to.as_deref(), "voisin playlist")?;
    Ok(if rows.is_empty() { Ending::Partial } else { Ending::Fine })
}

pub(crate) fn near_artists(context: &Context, args: &ArtistsArgs) -> anyhow::Result<Ending> {
    let engine = context.open_engine()?;
    let collection = engine.collection()?;
    match &args.name {
        None => {
            let all = artists::artists(collection.vectors.view(), &collection.meta)?;
            if args.format == TableFormat::Json {
                render::print_json(&all)?;
                return Ok(Ending::Fine);
            }
            let row = |artist: &artists::ArtistSummary| {
                let (near, similarity) = artist
                    .nearest
                    .clone()
                    .map_or_else(Default::default, |(name, s)| (name, format!("{s:.3}")));
                [
                    artist.artist.clone(),
                    artist.tracks.to_string(),
                    format!("{:.3}", artist.cohesion),
                    near,
                    similarity,
                ]
            };
            let header = ["artist", "tracks", "cohesion", "nearest", "similarity"];
            if args.format == TableFormat::Csv {
                render::print_csv(header, all.iter().map(row))?;
            } else {
                let aligns = [Align::Left, Align::Right, Align::Right, Align::Left, Align::Right];
                let columns: Vec<_> = header.into_iter().zip(aligns).collect();
                let mut table = Table::new(&columns);
                all.iter().for_each(|artist| table.row(row(artist)));
                table.print()?;
            }
        }
        Some(name) => {
            let near = artists::near_artists(
                collection.vectors.view(),
                &collection.meta,
                name,
                args.limit as usize,
            )?;
            if args.format == TableFormat::Json {
                render::print_json(&near)?;
                return Ok(Ending::Fine);
            }
            let mut table = Table::new(&[
                ("artist", Align::Left),
                ("tracks", Align::Right),
                ("similarity", Align::Right),
                ("because", Align::Left),
            ]);
            for artist in &near {
                let because = artist.because.first().map_or_else(String::new, |&(a, b, _)| {
                    format!("{} / {}", display(&collection, a), display(&collection, b))
                });
                let similarity = format!("{:.3}", artist.similarity);
                table.row([artist.artist.clone(), artist.tracks.to_string(), similarity, because]);
            }
            table.print()?;
        }
    }
    Ok(Ending::Fine)
}

pub(crate) fn find_copies(context: &Context, args: &DuplicatesArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let groups = find_duplicates(&mut engine, &collection)?;
    let path =
        |id: TrackId| collection.row(id).map_or_else(String::new, |row| collection.meta[row].path.clone());
    match args.format {
        TableFormat::Json => render::print_json(&groups)?,
        TableFormat::Csv => render::print_csv(
            ["group", "keep", "path", "why"],
            groups.iter().enumerate().flat_map(|(i, group)| {
                let path = &path;
                let best = [(i + 1).to_string(), "yes".to_owned(), path(group.best), group.reason.clone()];
                let others = group
                    .others
                    .iter()
                    .map(move |&other| [(i + 1).to_string(), "no".to_owned(), path(other), String::new()]);
                std::iter::once(best).chain(others)
            }),
        )?,
        TableFormat::Table => {
            for group in &groups {
                let best = format!("better: {} ({})", path(group.best), group.reason);
                render::print_line(&render::terminal_safe(&best))?;
                for &other in &group.others {
                    render::print_line(&render::terminal_safe(&format!("   also: {}", path(other))))?;
                }
            }
            let bytes: u64 = groups.iter().map(|group| group.bytes).sum();
            let text =
                format!("{}, {:.1} MB to be won", count(groups.len() as u64, "group"), bytes as f64 / 1e6);
            render::print_line(&text)?;
        }
    }
    Ok(if groups.is_empty() { Ending::Partial } else { Ending::Fine })
}

fn find_duplicates(
    engine: &mut Engine,
    collection: &Collection,
) -> anyhow::Result<Vec<voisin::explore::duplicates::DuplicateGroup>> {
    let options = DuplicateOptions::default();
    let k = options.neighbours.min(collection.ids.len().saturating_sub(1));
    if k == 0 {
        return Ok(Vec::new());
    }
    let graph = engine.knn_graph(collection, k)?;
    let library = engine.library();
    let mut source = |track: TrackId| window_set(library, track);
    Ok(duplicates(&graph, &collection.meta, &mut source, &options)?)
}

pub(crate) fn find_outliers(context: &Context, args: &OutliersArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let graph = engine.knn_graph(&collection, GRAPH_K.min(collection.ids.len().saturating_sub(1)))?;
    let library = engine.library();
    let mut source = |track: TrackId| window_set(library, track);
    let threshold = args.threshold.unwrap_or(outliers::THRESHOLD);
    let mut found = outliers(&graph, &collection.meta, Some(&mut source), threshold)?;
    found.truncate(args.limit as usize);
    let row = |outlier: &outliers::Outlier| {
        let track = &collection.meta[outlier.row];
        [format!("{:.1}", outlier.score), track.display(), outlier.reasons.join("; "), track.path.clone()]
    };
    match args.format {
        TableFormat::Json => render::print_json(&found)?,
        TableFormat::Csv => render::print_csv(["score", "track", "reasons", "path"], found.iter().map(row))?,
        TableFormat::Table => {
            let mut table = Table::new(&[
                ("score", Align::Right),
                ("track", Align::Left),
                ("why", Align::Left),
                ("path", Align::Left),
            ]);
            found.iter().for_each(|outlier| table.row(row(outlier)));
            table.print()?;
        }
    }
    if found.is_empty() {
        context.console.note("nothing lies far from everything");
    }
    Ok(if found.is_empty() { Ending::Partial } else { Ending::Fine })
}

fn rows_of_genre(collection: &Collection, genre: &str) -> Vec<usize> {
    let taxonomy = voisin::genre::Taxonomy::default();
    let wanted = taxonomy.genre(genre).unwrap_or_else(|| voisin::genre::Genre::plain(genre));
    let has = |track: &TrackMeta| taxonomy.parse(&track.genres).contains(&wanted);
    (0..collection.ids.len()).filter(|&row| has(&collection.meta[row])).collect()
}

fn print_list(
    collection: &Collection,
    rows: &[usize],
    format: PlaylistFormat,
    relative_to: Option<&Path>,
    title: &str,
) -> anyhow::Result<()> {
    let tracks: Vec<&TrackMeta> = rows.iter().map(|&row| &collection.meta[row]).collect();
    let style = relative_to.map_or(PathStyle::Absolute, |folder| PathStyle::Relative(stored_path(folder)));
    let format = match format {
        PlaylistFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("time", Align::Right),
                ("path", Align::Left),
            ]);
            for (i, track) in tracks.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    track.artist.clone().unwrap_or_default(),
                    track.display_title().to_owned(),
                    clock(track.seconds),
                    track.path.clone(),
                ]);
            }
            return table.print();
        }
        PlaylistFormat::Json => return render::print_json(&tracks),
        PlaylistFormat::M3u8 => Format::M3u8,
        PlaylistFormat::Xspf => Format::Xspf,
        PlaylistFormat::Jspf => Format::Jspf,
        PlaylistFormat::Paths => Format::Paths,
    };
    render::print(playlist::write(&tracks, title, format, &style)?)
}

fn display(collection: &Collection, track: TrackId) -> String {
    collection.row(track).map_or_else(String::new, |row| collection.meta[row].display())
}

/// Writes a file under a temporary name and renames it: readers find the old one or the new one, whole.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
