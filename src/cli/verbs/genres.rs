//! `voisin genres`.

use crate::cli::Ending;
use crate::cli::args::{GenresArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::kinship::print_kinship;
use crate::cli::render::{self, Align, Table, count};
use voisin::Engine;
use voisin::questions::answers::genres::{GenreJson, GenresJson};
use voisin_base::track::TrackId;
use voisin_genre::{Genre, GenreKinship};

pub(crate) fn run(context: &Context, args: &GenresArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let kinship = args.question.run(&mut engine)?;
    match &args.genre {
        None => match args.format {
            TableFormat::Table => print_kinship(&kinship)?,
            TableFormat::Json => {
                render::print_json(&GenresJson::new(&engine, &kinship)?)?;
            }
            TableFormat::Csv => csv(&kinship.genres.iter().collect::<Vec<_>>())?,
        },
        Some(name) => {
            let wanted = engine
                .taxonomy()?
                .genre(name)
                // A name outside the taxonomy is looked up as it is, for the error that suggests
                // others.
                .unwrap_or_else(|| Genre::plain(name));
            let genre = kinship.of(&wanted)?;
            match args.format {
                TableFormat::Table => one(&engine, genre)?,
                TableFormat::Json => render::print_json(&GenreJson::new(&engine, genre)?)?,
                TableFormat::Csv => csv(&[genre])?,
            }
        }
    }
    Ok(Ending::Fine)
}

fn csv(genres: &[&GenreKinship]) -> anyhow::Result<()> {
    render::print_csv(
        [
            "genre", "tracks", "cohesion", "other", "distance", "centroid", "votes",
        ],
        genres.iter().flat_map(|genre| {
            genre.nearest.iter().map(|kin| {
                [
                    genre.genre.to_string(),
                    genre.tracks.to_string(),
                    genre
                        .cohesion
                        .map_or_else(String::new, |cohesion| format!("{cohesion:.4}")),
                    kin.genre.to_string(),
                    format!("{:.4}", kin.distance),
                    format!("{:.4}", kin.centroid),
                    format!("{:.4}", kin.votes),
                ]
            })
        }),
    )
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
