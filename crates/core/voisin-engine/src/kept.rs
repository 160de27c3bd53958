//! A cache in the database for results about the whole library, valid until their inputs change.

use std::collections::BTreeMap;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Engine, EngineError, LabelSource};
use voisin_genre::{Genre, GenreKinship, Kinship, Suspect};
use voisin_library::OpenMode;

/// Most bytes of a cached result; larger ones are computed each time.
const MOST_BYTES: usize = if cfg!(test) { 1 << 16 } else { 64 << 20 };

/// A result about the whole library.
pub trait KeptAnswer: Serialize + DeserializeOwned {
    /// All genres in it, whose keys are stored separately because JSON has only their names.
    fn genres(&mut self) -> Vec<&mut Genre> {
        Vec::new()
    }
}

impl KeptAnswer for Kinship {
    fn genres(&mut self) -> Vec<&mut Genre> {
        let mut all = Vec::new();
        for GenreKinship {
            genre,
            within,
            nearest,
            borderline,
            ..
        } in &mut self.genres
        {
            all.push(genre);
            all.extend(within);
            all.extend(nearest.iter_mut().map(|kin| &mut kin.genre));
            all.extend(borderline.iter_mut().map(|track| &mut track.towards));
        }
        all
    }
}

/// Labels that look wrong, and how many were checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundSuspects {
    /// Worst first.
    pub suspects: Vec<Suspect>,
    /// Labelled tracks that were checked.
    pub judged: usize,
}

impl KeptAnswer for FoundSuspects {
    fn genres(&mut self) -> Vec<&mut Genre> {
        let mut all = Vec::new();
        for Suspect {
            labels, suggested, ..
        } in &mut self.suspects
        {
            all.extend(labels);
            all.push(suggested);
        }
        all
    }
}

/// All inputs of a result. Its JSON, on one line, is compared as text.
#[derive(Serialize)]
struct AnswerBasis<'a> {
    version: &'static str,
    library: String,
    generation: u64,
    metadata_generation: u64,
    /// The kind, and the bytes of a file's path.
    source: (&'static str, &'a [u8]),
    table: Option<(u64, i128)>,
    synonyms: Option<(u64, i128)>,
    hierarchy: Option<(u64, i128)>,
    person: &'static str,
    question: &'a str,
}

/// The stored form: keys of genres by name, and the result.
#[derive(Serialize, Deserialize)]
struct KeptText<A> {
    keys: BTreeMap<String, String>,
    answer: A,
}

impl Engine {
    /// Returns the cached result of a query about the whole library, or computes and stores it if an input has changed
    /// (vectors, files, tags, labels, tables of genres, the version of voisin). The database has the last result of each
    /// kind, up to 64 MiB.
    ///
    /// - `kind`: the name of the kind
    /// - `question`: everything that the result depends on besides the library
    /// - `source`: where genres come from
    #[doc(hidden)]
    pub fn kept<A: KeptAnswer, E: From<EngineError>>(
        &mut self,
        kind: &str,
        question: &str,
        source: &LabelSource,
        work: impl FnOnce(&mut Self) -> Result<A, E>,
    ) -> Result<A, E> {
        let name = format!("answer.{kind}");
        let basis = self.basis(question, source)?;
        let text = self
            .library
            .settings()
            .setting(&name)
            .map_err(EngineError::from)?;
        if let Some(answer) = text.and_then(|text| read(&text, &basis)) {
            return Ok(answer);
        }
        let mut answer = work(self)?;
        // Another process may have changed an input meanwhile.
        if self.library.mode() != OpenMode::ReadOnly && self.basis(question, source)? == basis {
            let text = written(&basis, &mut answer);
            // If it cannot be stored, it is computed again next time.
            self.library
                .settings_mut()
                .set_setting(&name, text.as_deref())
                .ok();
        }
        Ok(answer)
    }

    /// The state that a result depends on, as text.
    fn basis(&self, question: &str, source: &LabelSource) -> Result<String, EngineError> {
        let library = &self.library;
        let table = match source {
            LabelSource::File(path) => super::genre::table_state(path),
            LabelSource::Tags | LabelSource::Folder => None,
        };
        let [synonyms, hierarchy] = self.genre_tables().map(|table| table.map(file_state));
        let basis = AnswerBasis {
            version: env!("CARGO_PKG_VERSION"),
            library: library.transfer().identity()?,
            generation: library.changes().generation()?,
            metadata_generation: library.changes().metadata_generation()?,
            source: match source {
                LabelSource::Tags => ("tags", &[]),
                LabelSource::Folder => ("folder", &[]),
                LabelSource::File(path) => ("file", path.as_os_str().as_encoded_bytes()),
            },
            table: table.map(file_state),
            synonyms,
            hierarchy,
            person: library.settings().person()?.name(),
            question,
        };
        Ok(serde_json::to_string(&basis).expect("numbers and texts are JSON"))
    }
}

/// Size of a file, and its time in nanoseconds since 1970 UTC.
fn file_state((size, time): (u64, SystemTime)) -> (u64, i128) {
    let nanoseconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos().cast_signed(),
        // Files may have times before 1970.
        Err(before) => -before.duration().as_nanos().cast_signed(),
    };
    (size, nanoseconds)
}

/// - `text`: the basis, a digest of the result, and the result; one line each
fn read<A: KeptAnswer>(text: &str, basis: &str) -> Option<A> {
    let (digest, answer) = text
        .strip_prefix(basis)?
        .strip_prefix('\n')?
        .split_once('\n')?;
    // SQLite does not detect flipped bits on the disk, which must not change a result.
    if blake3::hash(answer.as_bytes()).to_hex().as_str() != digest {
        return None;
    }
    let KeptText { keys, mut answer } = serde_json::from_str::<KeptText<A>>(answer).ok()?;
    for genre in answer.genres() {
        // JSON has only a genre's name. The keys, which are equal for synonyms, are stored beside the
        // result.
        *genre = Genre::from_parts(genre.name(), keys.get(genre.name())?.as_str());
    }
    Some(answer)
}

/// The stored form of a result; `None` if it is too large.
fn written<A: KeptAnswer>(basis: &str, answer: &mut A) -> Option<String> {
    let parts = |genre: &mut Genre| (genre.name().to_owned(), genre.key().to_owned());
    let keys = answer.genres().into_iter().map(parts).collect();
    let mut text = LimitedText::default();
    serde_json::to_writer(&mut text, &KeptText { keys, answer }).ok()?;
    let text = String::from_utf8(text.0).ok()?;
    Some(format!(
        "{basis}\n{}\n{text}",
        blake3::hash(text.as_bytes()).to_hex()
    ))
}

/// A writer of at most [`MOST_BYTES`], which fails before more memory is used.
#[derive(Default)]
struct LimitedText(Vec<u8>);

impl io::Write for LimitedText {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.0.len() + part.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::genre::SYNONYMS_FILE;
    use voisin_base::track::TrackId;
    use voisin_base::vector::make_unit;
    use voisin_genre::KinshipOptions;
    use voisin_library::testing::{library, track};
    use voisin_library::{Library, NewTrack, Person};

    // One has a key that differs from its name.
    const GENRES: [&str; 3] = ["Rock", "Rap Music", "Ambient"];

    type LibraryChange<'a> = &'a dyn Fn(&mut Library);

    fn new(seed: u64) -> NewTrack {
        let mut vector: Vec<f32> = (0..8)
            .map(|at| ((seed * 7 + at * 3) % 11) as f32 / 20.0)
            .collect();
        vector[seed as usize % 3] += 1.0;
        make_unit(&mut vector);
        let mut new = track(seed, vector, 0);
        new.tags.artist = Some(format!("Artist {}", seed / 2));
        new.tags.composer = Some(format!("Composer {}", seed % 5));
        new.tags.genres = vec![GENRES[seed as usize % 3].to_owned()];
        new
    }

    fn made(dir: &Path) {
        std::fs::write(dir.join(SYNONYMS_FILE), "rap music\thip hop\n").unwrap();
        let mut library = library(dir, 8);
        for seed in 0..30 {
            library.insert_track(&new(seed)).unwrap();
        }
    }

    /// Whether the result was computed now; checks that it equals an uncached one.
    fn is_new(dir: &Path, mode: OpenMode) -> bool {
        let mut engine = Engine::open(dir, mode).unwrap();
        let source = engine.genres().label_source();
        let options = KinshipOptions::default();
        let mut is_new = false;
        let found = engine.kept("genres", "", &source, |engine| {
            is_new = true;
            engine.genres().kinship(&source, &options)
        });
        // Names and keys of genres are restored.
        assert_eq!(
            format!("{:?}", found.unwrap()),
            format!("{:?}", engine.genres().kinship(&source, &options).unwrap())
        );
        is_new
    }

    #[test]
    fn a_result_is_cached_until_one_of_its_inputs_changes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        made(dir);
        let table = dir.join("labels.csv");
        let write = |genre: &str| {
            let rows = (0..30).map(|seed| {
                format!(
                    "/m/{seed}.ogg,{}\n",
                    if seed % 2 == 0 { "Punk" } else { genre }
                )
            });
            std::fs::write(&table, format!("path,genre\n{}", rows.collect::<String>())).unwrap();
        };
        write("Zeuhl");
        let label = |library: &mut Library, genre| {
            let content = library.tracks_by_id(&[TrackId(3)]).unwrap()[0]
                .audio
                .content;
            assert_eq!(
                library.labels_mut().set_labels(&[content], genre).unwrap(),
                1
            );
        };
        let changes: [(&str, LibraryChange<'_>); 10] = [
            ("a label", &|library| label(library, Some("Zeuhl"))),
            ("another", &|library| label(library, Some("Ambient"))),
            ("none", &|library| label(library, None)),
            ("added", &|library| {
                assert_eq!(library.insert_track(&new(30)).unwrap(), TrackId(31));
            }),
            ("removed", &|library| {
                assert_eq!(library.remove_tracks(&[TrackId(7)]).unwrap().tracks, 1);
            }),
            ("retagged", &|library| {
                let new = new(1);
                let tags = voisin_library::TrackTags {
                    artist: Some("Another".into()),
                    ..new.tags
                };
                library
                    .files_mut()
                    .attach_file(TrackId(2), &new.file, &tags)
                    .unwrap();
            }),
            ("by composers", &|library| {
                library.settings_mut().set_person(Person::Composer).unwrap();
            }),
            ("synonyms", &|_| {
                std::fs::write(dir.join(SYNONYMS_FILE), "rap music\tambient\n").unwrap();
            }),
            ("from a table", &|library| {
                library
                    .settings_mut()
                    .set_setting("labels", table.to_str())
                    .unwrap();
            }),
            ("the table", &|_| write("Zouk")),
        ];
        assert!(is_new(dir, OpenMode::ReadWrite));
        for (what, change) in changes {
            assert!(!is_new(dir, OpenMode::ReadWrite), "before: {what}");
            change(&mut Library::open(dir, OpenMode::ReadWrite).unwrap());
            assert!(is_new(dir, OpenMode::ReadWrite), "{what}");
        }
    }

    #[test]
    fn a_read_only_library_computes_results_without_caching() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        assert!(is_new(dir.path(), OpenMode::ReadOnly));
        assert!(
            is_new(dir.path(), OpenMode::ReadOnly),
            "nothing was written"
        );
        assert!(is_new(dir.path(), OpenMode::ReadWrite));
        assert!(!is_new(dir.path(), OpenMode::ReadOnly));
    }

    #[derive(Serialize, Deserialize)]
    struct LongAnswer(String);

    impl KeptAnswer for LongAnswer {}

    #[test]
    fn a_result_that_is_too_long_is_computed_each_time() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        let mut engine = Engine::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let mut ask = |length: usize| {
            let mut is_new = false;
            let answer = engine.kept("long", &length.to_string(), &LabelSource::Tags, |_| {
                is_new = true;
                Ok::<_, EngineError>(LongAnswer("x".repeat(length)))
            });
            assert_eq!(answer.unwrap().0.len(), length);
            (
                is_new,
                engine
                    .library
                    .settings()
                    .setting("answer.long")
                    .unwrap()
                    .map_or(0, |text| text.len())
                    / 1000,
            )
        };
        assert_eq!((ask(60_000), ask(60_000)), ((true, 60), (false, 60)));
        assert_eq!((ask(70_000), ask(70_000)), ((true, 0), (true, 0)));
    }

    #[test]
    fn a_damaged_result_is_computed_again() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path());
        is_new(dir.path(), OpenMode::ReadWrite);
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let text = library
            .settings()
            .setting("answer.genres")
            .unwrap()
            .unwrap();
        for damaged in [
            text[..text.len() - 9].to_owned(),
            text.replace("Ambient", "Ambiant"),
        ] {
            assert_ne!(damaged, text);
            library
                .settings_mut()
                .set_setting("answer.genres", Some(&damaged))
                .unwrap();
            assert!(is_new(dir.path(), OpenMode::ReadWrite));
            assert_eq!(
                library
                    .settings()
                    .setting("answer.genres")
                    .unwrap()
                    .unwrap(),
                text
            );
        }
    }
}
