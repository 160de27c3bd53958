//! `voisin genres`.

use crate::cli::Ending;
use crate::cli::args::{GenresArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::{self, Align, Table, count};
use voisin::Engine;
use voisin::questions::answers::genres::{GenreJson, GenresJson};
use voisin::questions::genre::GenreRelations;
use voisin_base::track::TrackId;
use voisin_genre::{Genre, GenreKinship, Kinship};

const KIN: usize = 3;

pub(crate) fn run(context: &Context, args: &GenresArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let kinship = GenreRelations::run(&mut engine)?;
    let is_json = args.format == ReportFormat::Json;
    let Some(name) = &args.genre else {
        if is_json {
            render::print_json(&GenresJson::new(&engine, &kinship)?)?;
        } else {
            all(&kinship)?;
        }
        return Ok(Ending::Fine);
    };
    // A name outside the taxonomy is looked up as it is, for the error that suggests others.
    let wanted = engine.taxonomy()?.genre(name);
    let genre = kinship.of(&wanted.unwrap_or_else(|| Genre::plain(name)))?;
    if is_json {
        render::print_json(&GenreJson::new(&engine, genre)?)?;
    } else {
        one(&engine, genre)?;
    }
    Ok(Ending::Fine)
}

fn all(kinship: &Kinship) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("genre", Align::Left),
        ("tracks", Align::Right),
        ("cohesion", Align::Right),
        ("nearest genres (distance, 0 to 1)", Align::Left),
    ]);
    for genre in &kinship.genres {
        let kin = genre.nearest.iter().take(KIN);
        let kin = kin.map(|kin| format!("{} {:.2}", kin.genre, kin.distance));
        let cohesion = genre.cohesion.map(|cohesion| format!("{cohesion:.2}"));
        table.row([
            genre.genre.to_string(),
            genre.tracks.to_string(),
            cohesion.unwrap_or_else(|| "–".to_owned()),
            kin.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.print()
}

fn one(engine: &Engine, genre: &GenreKinship) -> anyhow::Result<()> {
    let cohesion = genre
        .cohesion
        .map_or_else(String::new, |cohesion| format!(", cohesion {cohesion:.2}"));
    let tracks = count(genre.tracks as u64, "track");
    let head = format!("{}: {tracks}{cohesion}", genre.genre);
    render::print_line(&render::terminal_safe(&head))?;
    let mut table = Table::new(&[
        ("nearest", Align::Left),
        ("distance", Align::Right),
        ("votes", Align::Right),
        ("centroids 0–2", Align::Right),
    ]);
    for kin in genre.nearest.iter().take(10) {
        table.row([
            kin.genre.to_string(),
            format!("{:.2}", kin.distance),
            format!("{:.0} %", 100.0 * kin.votes),
            format!("{:.2}", kin.centroid),
        ]);
    }
    table.print()?;
    let name =
        |id: TrackId| -> anyhow::Result<String> { Ok(engine.library().track(id)?.display_name()) };
    for (i, &id) in genre.typical.iter().enumerate() {
        let label = if i == 0 { "typical:   " } else { "           " };
        render::print_line(&format!("{label}{}", render::terminal_safe(&name(id)?)))?;
    }
    Ok(())
}
