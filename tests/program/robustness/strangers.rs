//! Other things in place of voisin's files: pipes, devices, folders, nothing, other people's models.

use super::*;

/// The program fails at once, with this message on one line.
fn refused(sandbox: &Sandbox, arguments: &[&str], words: &str) {
    let start = std::time::Instant::now();
    let output = sandbox.run(arguments);
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), 2, "{arguments:?}: {stderr}");
    assert!(
        stderr.contains(words) && stderr.lines().count() == 1,
        "{arguments:?}: {stderr}"
    );
    assert!(
        start.elapsed().as_secs() < 10,
        "{arguments:?} took {:?}",
        start.elapsed()
    );
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_models_and_no_vectors() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("")).unwrap();
    let pipe = sandbox.path("pipe.safetensors");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let words = "expected a regular file";
    let music = string(&repository("data/demo/library"));
    let add = |model: &Path| {
        refused(&sandbox, &["--model", &string(model), "add", &music], words);
    };
    for model in [&string(&pipe), "/dev/zero", "/dev/null"] {
        refused(
            &sandbox,
            &["model", "import", model, "--name", "mine"],
            words,
        );
        add(Path::new(model));
    }
    let manifest = fs::read_to_string(repository("models/voisin-3.json")).unwrap();
    let card = sandbox.path("card.json");
    fs::write(
        &card,
        manifest.replace("voisin-3.safetensors", "pipe.safetensors"),
    )
    .unwrap();
    add(&card);
    let pipe = sandbox.path("pipe.json");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    add(&pipe);
    for vectors in [&string(&pipe), "/dev/zero"] {
        let tracks = string(&sandbox.path("tracks.csv"));
        let add = ["add", "--vectors", vectors, "--tracks", &tracks];
        refused(&sandbox, &[&add[..], &["--model", "x"]].concat(), words);
    }
}

#[test]
fn an_import_names_a_file_that_is_none_of_weights() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("")).unwrap();
    let file = sandbox.path("x.safetensors");
    let import = |path: &str, words: &str| {
        refused(
            &sandbox,
            &["model", "import", path, "--name", "mine"],
            words,
        );
    };
    let missing = sandbox.path("missing.safetensors");
    import(&string(&missing), "missing.safetensors");
    for bytes in [
        &b""[..],
        b"<!DOCTYPE html>\n",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x89HDF\r\n\x1a\n",
    ] {
        fs::write(&file, bytes).unwrap();
        import(&string(&file), "not a model voisin reads");
    }
}

#[test]
fn a_model_of_a_user_never_stands_in_for_a_built_in_one() {
    let sandbox = Sandbox::new();
    let models = sandbox.path("models");
    fs::create_dir_all(&models).unwrap();
    let weights = string(&repository("models/voisin-3.safetensors"));
    for name in ["musicnn-msd", "Voisin-3"] {
        refused(
            &sandbox,
            &["model", "import", &weights, "--name", name],
            "is the name of a built-in model",
        );
    }
    assert_eq!(fs::read_dir(&models).unwrap().count(), 0);
    // A model that an older version accepted.
    let manifest = fs::read_to_string(repository("models/voisin-3.json")).unwrap();
    fs::write(
        models.join("mine.json"),
        manifest.replace("\"voisin-3\"", "\"musicnn-msd\""),
    )
    .unwrap();
    fs::copy(&weights, models.join("voisin-3.safetensors")).unwrap();
    let listed = sandbox.run(["model", "list"]);
    assert_eq!(code(&listed), 1);
    assert!(
        text(&listed.stderr).contains("mine.json: \"musicnn-msd\" is the name of a built-in model")
    );
    let added = fine(
        &sandbox,
        &[
            "--model",
            "musicnn-msd",
            "add",
            &string(&noises(&sandbox, 1)),
        ],
    );
    assert!(
        text(&added.stderr).contains("the built-in model is used"),
        "{}",
        text(&added.stderr)
    );
    assert_eq!(status(&sandbox)["dimension"], 200);
}

#[test]
fn a_damaged_genre_head_is_reported_alike_by_all_verbs() {
    let sandbox = Sandbox::new();
    fine(&sandbox, &["add", &string(&noises(&sandbox, 3))]);
    let head = sandbox.path("library").join("genre.safetensors");
    fs::write(&head, "no tensors").unwrap();
    let next = "\"voisin train\" trains one";
    let checked = sandbox.run(["verify"]);
    assert_eq!(code(&checked), 1);
    let table = text(&checked.stdout);
    let row = table
        .lines()
        .find(|line| line.trim_start().starts_with("genre head"))
        .unwrap();
    assert!(row.contains("WRONG") && row.contains(next), "{row}");
    let output = fine(&sandbox, &["status"]);
    assert!(
        text(&output.stdout).contains(next) && !text(&output.stderr).contains("trains it again")
    );
    assert_eq!(status(&sandbox)["genre_head"]["retrain"], false);
    let table = sandbox.path("labels.csv");
    let row = |name: &str| format!("{},Noise\n", string(&sandbox.path("music").join(name)));
    fs::write(
        &table,
        format!("path,genre\n{}{}", row("00.wav"), row("01.wav")),
    )
    .unwrap();
    let classified = sandbox.run(["classify", "id:1", "--label-from", &string(&table)]);
    assert!(
        text(&classified.stderr).contains(next),
        "{}",
        text(&classified.stderr)
    );
    fs::remove_file(head).unwrap();
    fine(&sandbox, &["verify"]);
}

#[test]
fn an_emptied_database_is_not_a_new_library() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 2);
    fine(&sandbox, &["add", &string(&music)]);
    let library = sandbox.path("library");
    fs::write(library.join("voisin.db"), "").unwrap();
    for name in ["voisin.db-wal", "voisin.db-shm"] {
        let _ = fs::remove_file(library.join(name));
    }
    for arguments in [vec!["status"], vec!["similar", "id:1"], vec!["verify"]] {
        refused(
            &sandbox,
            &arguments,
            "is empty, but the files beside it show that there was a library",
        );
    }
    fine(&sandbox, &["add", &string(&music)]);
    fine(&sandbox, &["verify"]);
}
