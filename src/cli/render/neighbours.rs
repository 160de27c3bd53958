//! The answer of `similar`, as the demo shows it too.

use super::safe::table_path;
use super::track::{lossy, print_files, print_rows, title};
use super::{Align, Table, clock};
use crate::cli::args::{ListFormat, ListOutput};
use voisin_engine::{Seed, SimilarTrack, meta};
use voisin_explore::TrackMeta;
use voisin_learn::genre::{Genre, Taxonomy};
use voisin_questions::SimilarAnswer;
use voisin_questions::answers::similar::SimilarJson;

fn names(genres: &[Genre]) -> Vec<String> {
    genres.iter().map(ToString::to_string).collect()
}

/// Prints the nearest tracks, in the form that was asked for.
pub(crate) fn print_neighbours(
    seeds: &[Seed],
    answer: &SimilarAnswer,
    output: &ListOutput,
) -> anyhow::Result<()> {
    let SimilarAnswer {
        found: neighbours,
        standing,
        ..
    } = answer;
    let standing = standing.as_ref();
    let unlike = neighbours.iter().any(|found| found.unlike.is_some());
    match output.format {
        ListFormat::Table => {
            let mut columns = vec![
                ("", Align::Right),
                ("id", Align::Right),
                ("similarity", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("genre", Align::Left),
                ("time", Align::Right),
                ("path", Align::Left),
            ];
            if unlike {
                // What the list is ordered by, and what it is made of.
                columns.insert(3, ("to the unlike", Align::Right));
            }
            let mut table = Table::new(&columns);
            for (
                i,
                SimilarTrack {
                    track,
                    genres,
                    similarity,
                    unlike: away,
                },
            ) in neighbours.iter().enumerate()
            {
                let mut cells = vec![
                    (i + 1).to_string(),
                    track.id.to_string(),
                    standing
                        .and_then(|standing| standing.percentile(*similarity))
                        .map_or_else(
                            || format!("{similarity:.3}"),
                            |percent| format!("{similarity:.3} {percent:>3} %"),
                        ),
                    track.tags.artist.clone().unwrap_or_default(),
                    title(track),
                    names(genres).join(", "),
                    clock(track.audio.seconds),
                    lossy(&track.path),
                ];
                if unlike {
                    cells.insert(
                        3,
                        away.map_or_else(String::new, |away| format!("{away:.3}")),
                    );
                }
                table.row(cells);
            }
            table.print()
        }
        ListFormat::Json | ListFormat::Template(_) => {
            print_rows(&SimilarJson::new(seeds, answer), &output.format)
        }
        ListFormat::Csv => {
            let mut header = vec![
                "rank",
                "id",
                "path",
                "similarity",
                "artist",
                "title",
                "genres",
                "percentile",
            ];
            if unlike {
                header.insert(4, "similarity_to_unlike");
            }
            super::print_csv(
                header,
                neighbours.iter().enumerate().map(
                    |(
                        i,
                        SimilarTrack {
                            track,
                            genres,
                            similarity,
                            unlike: away,
                        },
                    )| {
                        let mut cells = vec![
                            (i + 1).to_string(),
                            track.id.to_string(),
                            table_path(&track.path),
                            format!("{similarity:.6}"),
                            track.tags.artist.clone().unwrap_or_default(),
                            track.tags.title.clone().unwrap_or_default(),
                            names(genres).join(";"),
                            standing
                                .and_then(|standing| standing.percentile(*similarity))
                                .map_or_else(String::new, |percent| {
                                    format!("{:.2}", f64::from(percent) / 100.0)
                                }),
                        ];
                        if unlike {
                            cells.insert(
                                4,
                                away.map_or_else(String::new, |away| format!("{away:.6}")),
                            );
                        }
                        cells
                    },
                ),
            )
        }
        _ => {
            let metas: Vec<TrackMeta> = neighbours
                .iter()
                .map(|found| meta(&found.track, &Taxonomy::default()))
                .collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin similar", output)
        }
    }
}
