//! Music and Parquet files in object stores and on web servers: moto's S3, Python's web server, and servers that fail.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use voisin_library::{Library, OpenMode};

use crate::common::store::ObjectStoreServer;
use crate::common::{Sandbox, code, fine, json, noise_wav, text};
use crate::made::synthetic;
use crate::{half_vectors, music};

/// Each track's files: which of two copies names a track depends on the order of analysis.
fn paths(sandbox: &Sandbox) -> BTreeSet<String> {
    let library = Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap();
    let files = library
        .tracks()
        .unwrap()
        .into_iter()
        .flat_map(|track| track.files);
    files
        .map(|file| file.record.path.display().to_string())
        .collect()
}

/// A bucket is embedded like a folder, in shards too, and the results lie in the bucket.
#[test]
fn a_bucket_is_embedded_like_a_folder() {
    let Some(store) = ObjectStoreServer::find() else {
        return;
    };
    let sandbox = Sandbox::new();
    let music = music(&sandbox);
    // A recording twice: both files are listed.
    fs::copy(music.join("askyel-ambient-4.wav"), music.join("copy.wav")).unwrap();
    for entry in fs::read_dir(&music)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        store.upload(
            &entry,
            &format!("music/ä b/{}", entry.file_name().unwrap().to_str().unwrap()),
        );
    }
    store.upload(&music.join("askyel-ambient-4.wav"), "music/.hidden/a.wav");
    store.upload(
        &music.join("askyel-ambient-4.wav"),
        "music/podcast/deep/a.wav",
    );
    store.python("bucket.put_object(Key='music/podcast/.nomedia', Body=b'')");
    store.python("bucket.put_object(Key='music/cover.jpg', Body=b'jpeg')");
    store.python("bucket.put_object(Key='musical.mp3', Body=b'not below music')");
    let run = |words: &[&str]| store.run(&sandbox, words);

    let embed = [
        "embed",
        "s3://music/music/",
        "--format",
        "parquet",
        "--output",
        "s3://music/vectors",
    ];
    let embedded = run(&embed);
    let printed = text(&embedded.stderr) + &text(&embedded.stdout);
    assert_eq!(code(&embedded), 1, "one file is no music: {printed}");
    assert!(
        printed.contains("s3://music/music/ä b/bad.mp3: not an audio file"),
        "{printed}"
    );
    assert!(
        printed.contains("7 files and 1 failure in s3://music/vectors, 0 there already"),
        "{printed}"
    );
    assert_eq!(store.keys("vectors/").len(), 2, "{:?}", store.keys(""));
    // The second run skips known files, by size and time, also where the prefix has no trailing slash.
    let again = run(&[
        "embed",
        "s3://music/music",
        "--format",
        "parquet",
        "--output",
        "s3://music/vectors/",
    ]);
    let stdout = fine(again);
    assert!(
        stdout.contains("0 files and 0 failures") && stdout.contains("8 there already"),
        "{stdout}"
    );

    // The same vectors and facts as from local files, except for the paths.
    let here = sandbox.path("vectors");
    let local = [
        "embed",
        music.to_str().unwrap(),
        "--format",
        "parquet",
        "--output",
        here.to_str().unwrap(),
    ];
    assert_eq!(code(&sandbox.run(local)), 1);
    let ours = Sandbox::new();
    let theirs = Sandbox::new();
    fine(ours.run(["add", "--from-parquet", here.to_str().unwrap()]));
    fine(store.run(&theirs, &["add", "--from-parquet", "s3://music/vectors"]));
    assert_eq!(half_vectors(&ours), half_vectors(&theirs));
    let expected: BTreeSet<String> = paths(&ours)
        .iter()
        .map(|path| format!("s3://music/music/ä b/{}", path.rsplit('/').next().unwrap()))
        .collect();
    assert_eq!(paths(&theirs), expected);

    // Shards of a list of addresses: each file is in exactly one.
    let mut embedded = 0;
    for shard in ["0/2", "1/2"] {
        let stdout = text(
            &run(&[
                "embed",
                "s3://music/music/",
                "--shard",
                shard,
                "--format",
                "parquet",
                "--no-windows",
                "--output",
                "s3://music/shares",
            ])
            .stdout,
        );
        embedded += stdout.split(' ').next().unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(embedded, 7);

    // A library can be exported there and imported again, and so can changes.
    assert_eq!(
        fine(store.run(
            &theirs,
            &["export", "s3://music/exported", "--format", "parquet"]
        ))
        .lines()
        .count(),
        1
    );
    let third = Sandbox::new();
    fine(store.run(
        &third,
        &[
            "add",
            "--from-parquet",
            "s3://music/exported/tracks.parquet",
        ],
    ));
    assert_eq!(
        (half_vectors(&third), paths(&third)),
        (half_vectors(&theirs), paths(&theirs))
    );
    for expected in ["7 files changed", "0 files changed"] {
        let stdout = fine(store.run(
            &theirs,
            &[
                "export",
                "s3://music/changes",
                "--format",
                "parquet",
                "--changes",
            ],
        ));
        assert!(
            stdout.starts_with(expected) && stdout.contains("change 1"),
            "{stdout}"
        );
    }

    // A library adds from a bucket; objects missing there are removed only on request.
    let added = Sandbox::new();
    let once = json(store.run(&added, &["add", "s3://music/music/", "--format", "json"]));
    assert_eq!(
        (&once["added"], &once["failed"]),
        (&6.into(), &1.into()),
        "{once}"
    );
    assert_eq!(
        (half_vectors(&added), paths(&added)),
        (half_vectors(&theirs), expected)
    );
    let twice = json(store.run(&added, &["add", "s3://music/music/", "--format", "json"]));
    assert_eq!(
        (&twice["added"], &twice["unchanged"]),
        (&0.into(), &7.into()),
        "{twice}"
    );
    // One array for each file, as for local files.
    let arrays = sandbox.path("arrays");
    let one = [
        "embed",
        "s3://music/music/ä b/askyel-ambient-4.wav",
        "--hop",
        "1",
        "--output",
        arrays.to_str().unwrap(),
    ];
    fine(run(&one));
    assert!(arrays.join("askyel-ambient-4.npz").exists());
}

/// An object larger than a part is uploaded in parts, and complete.
#[test]
fn a_large_file_is_sent_in_parts() {
    let Some(store) = ObjectStoreServer::find() else {
        return;
    };
    let sandbox = Sandbox::new();
    let tracks = 30_000;
    drop(synthetic(&sandbox.path("library"), tracks, 1));
    let words = [
        "export",
        "s3://music/all",
        "--format",
        "parquet",
        "--no-windows",
        "--compression",
        "none",
    ];
    fine(store.run(&sandbox, &words));
    let tag = store.python("print(bucket.Object('all/tracks.parquet').e_tag, bucket.Object('all/tracks.parquet').content_length)");
    assert!(tag.contains("-2\"") || tag.contains("-3\""), "{tag}");
    let other = Sandbox::new();
    let taken = json(store.run(
        &other,
        &[
            "add",
            "--from-parquet",
            "s3://music/all",
            "--format",
            "json",
        ],
    ));
    assert_eq!(taken["added"], tracks);
}

/// Each mistake is one line, with the address and no secret, and with the same exit codes as for files.
#[test]
fn a_store_that_refuses_is_reported() {
    let Some(store) = ObjectStoreServer::find() else {
        return;
    };
    let sandbox = Sandbox::new();
    let song = sandbox.path("song.wav");
    fs::write(&song, noise_wav(22_050, 8.0, 7)).unwrap();
    store.upload(&song, "song.wav");
    let song = song.to_str().unwrap();
    let parquet = ["--format", "parquet", "--output"];
    let here = sandbox.path("out");
    let here = here.to_str().unwrap();
    let fails_with = |words: &[&str], expected: i32, reason: &str| {
        let words: Vec<&str> = [&["embed"], words].concat();
        let output = store.run(&sandbox, &words);
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), expected, "{words:?}: {stderr}");
        let lines: Vec<&str> = stderr
            .lines()
            .filter(|line| line.contains("s3://"))
            .collect();
        assert!(
            lines.len() == 1 && lines[0].contains(reason),
            "{words:?}: {stderr}"
        );
    };
    fails_with(
        &[&["s3://music/none/"][..], &parquet, &[here]].concat(),
        1,
        "s3://music/none/: there is no such object, and none below it",
    );
    fails_with(
        &[&["s3://nowhere/music/"][..], &parquet, &[here]].concat(),
        1,
        "s3://nowhere/music/: there is no such bucket: create it",
    );
    fails_with(
        &[&[song][..], &parquet, &["s3://nowhere/out"]].concat(),
        2,
        "cannot write s3://nowhere/out: there is no such bucket: create it",
    );
    fails_with(
        &[&["s3:///music/"][..], &parquet, &[here]].concat(),
        1,
        "expected the name of a bucket",
    );
    fails_with(
        &[&["s3://music/a//b"][..], &parquet, &[here]].concat(),
        1,
        "no store has an object of this name",
    );
    fails_with(
        &["s3://music/song.wav", "--output", "s3://music/arrays"],
        2,
        "only --format parquet goes there",
    );
    let npy = store.run(&sandbox, &["export", "s3://music/arrays"]);
    assert!(
        code(&npy) == 2 && text(&npy.stderr).contains("only --format parquet goes there"),
        "{}",
        text(&npy.stderr)
    );
    let damaged = store.run(&sandbox, &["add", "--from-parquet", "s3://music/song.wav"]);
    assert_eq!(
        code(&damaged),
        1,
        "no Parquet file there: {}",
        text(&damaged.stderr)
    );
    store.python("bucket.put_object(Key='bad.parquet', Body=b'PAR1 no such file PAR1')");
    let damaged = store.run(
        &sandbox,
        &["add", "--from-parquet", "s3://music/bad.parquet"],
    );
    assert!(
        code(&damaged) == 2
            && text(&damaged.stderr).contains("s3://music/bad.parquet: expected a Parquet file")
    );
    // Encryption is off only where the environment turns it off.
    let mut plain = sandbox.command([
        "embed",
        "s3://music/song.wav",
        "--format",
        "parquet",
        "--output",
        here,
    ]);
    let variables = store
        .variables()
        .into_iter()
        .filter(|(name, _)| *name != "AWS_ALLOW_HTTP");
    let plain = plain.envs(variables).output().unwrap();
    let stderr = text(&plain.stderr);
    assert!(
        code(&plain) == 1 && stderr.contains("AWS_ALLOW_HTTP"),
        "{stderr}"
    );
}

/// A server that records its requests and answers with `answer`: a status, headers and a body, or `None` for silence.
struct WebServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answer = Option<(u16, Vec<(&'static str, String)>, Vec<u8>)>;

impl WebServer {
    fn start(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let shared = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = Arc::clone(&answer);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &*answer, &shared));
            }
        });
        Self { address, requests }
    }

    fn count(&self, what: &str) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.contains(what))
            .count()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&str, &str) -> Answer,
    requests: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut first = String::new();
        let mut length = 0;
        let mut line = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split(' ');
        let method = words.next().unwrap();
        let path = words.next().unwrap();
        requests
            .lock()
            .unwrap()
            .push(format!("{method} {path} {length}"));
        let Some((status, head, body)) = answer(method, path) else {
            std::thread::sleep(Duration::from_mins(2));
            return;
        };
        let mut response = format!("HTTP/1.1 {status} Said\r\n");
        let has_length = head.iter().any(|(name, _)| *name == "content-length");
        for (name, value) in head {
            response += &format!("{name}: {value}\r\n");
        }
        if !has_length {
            response += &format!("content-length: {}\r\n", body.len());
        }
        let body = if method == "HEAD" { &[][..] } else { &body };
        let _ = stream.write_all(&[response.as_bytes(), b"\r\n", body].concat());
        if has_length && method != "HEAD" {
            // It declared more than it sent.
            return;
        }
    }
}

const TIME: (&str, &str) = ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT");

/// Files of a web server: complete, truncated, refused, and of one that falls silent, which ends within the documented
/// time.
#[test]
fn a_web_server_is_read_and_its_faults_are_reported() {
    let song = noise_wav(22_050, 8.0, 7);
    let all = song.clone();
    let server = WebServer::start(move |_, path| {
        let time = (TIME.0, TIME.1.to_owned());
        Some(match path {
            "/music/a%20b.wav" => (200, vec![time], song.clone()),
            "/half.wav" => (
                200,
                vec![time, ("content-length", song.len().to_string())],
                song[..song.len() / 2].to_vec(),
            ),
            "/forbidden.wav" => (403, vec![], b"<secret>why</secret>".to_vec()),
            "/silent.wav" => return None,
            "/broken.wav" => (500, vec![], b"broken".to_vec()),
            _ => (404, vec![], b"none".to_vec()),
        })
    });
    let sandbox = Sandbox::new();
    let address = |path: &str| format!("http://{}/{path}", server.address);
    let output = sandbox.path("out");
    let embed = |path: &str| -> (Output, Duration) {
        let start = Instant::now();
        let words = [
            "embed",
            &address(path),
            "--format",
            "parquet",
            "--output",
            output.to_str().unwrap(),
        ];
        (sandbox.run(words), start.elapsed())
    };
    fine(embed("music/a%20b.wav").0);
    let taken = Sandbox::new();
    fine(taken.run(["add", "--from-parquet", output.to_str().unwrap()]));
    assert_eq!(paths(&taken), BTreeSet::from([address("music/a%20b.wav")]));
    let alone = Sandbox::new();
    fs::write(alone.path("song.wav"), &all).unwrap();
    fine(alone.run(["add", alone.path("song.wav").to_str().unwrap()]));
    assert_eq!(half_vectors(&taken), half_vectors(&alone));
    for (path, reason) in [
        (
            "half.wav",
            format!(
                "half.wav: expected {} bytes, found {}",
                all.len(),
                all.len() / 2
            ),
        ),
        (
            "forbidden.wav",
            "forbidden.wav: the store denies access".to_owned(),
        ),
        (
            "broken.wav",
            "broken.wav: the server answered 500".to_owned(),
        ),
        ("none.wav", "none.wav: there is no such object".to_owned()),
        (
            "music/",
            "music/: expected the address of a file: web servers have no lists".to_owned(),
        ),
        (
            "a.wav?key=1",
            "a.wav?key=1: expected an address without a password, ? and #".to_owned(),
        ),
        (
            "silent.wav",
            "silent.wav: the server was silent for 10 s: try again later".to_owned(),
        ),
    ] {
        let (output, took) = embed(path);
        let stderr = text(&output.stderr);
        let lines: Vec<&str> = stderr
            .lines()
            .filter(|line| line.contains("http://"))
            .collect();
        assert!(
            code(&output) == 1 && lines.len() == 1 && lines[0].contains(&reason),
            "{path}: {stderr}"
        );
        assert!(!stderr.contains("secret"), "{stderr}");
        assert!(took < Duration::from_mins(1), "{path}: {took:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let words = [
        "embed",
        &format!("http://{nobody}/a.wav"),
        "--format",
        "parquet",
        "--output",
        output.to_str().unwrap(),
    ];
    let refused = sandbox.run(words);
    let stderr = text(&refused.stderr);
    assert!(
        code(&refused) == 1 && stderr.contains("no connection to the server"),
        "{stderr}"
    );
}

/// Results are uploaded to a web server that accepts them.
#[test]
fn a_web_server_receives_whole_files() {
    let server = WebServer::start(|method, path| {
        Some(if method == "PUT" && path.starts_with("/out/") {
            (201, vec![], vec![])
        } else {
            (403, vec![], vec![])
        })
    });
    let sandbox = Sandbox::new();
    let song = sandbox.path("song.wav");
    fs::write(&song, noise_wav(22_050, 8.0, 7)).unwrap();
    let embed = |folder: &str| {
        let output = format!("http://{}/{folder}", server.address);
        sandbox.run([
            "embed",
            song.to_str().unwrap(),
            "--format",
            "parquet",
            "--output",
            &output,
        ])
    };
    fine(embed("out"));
    assert_eq!(server.count("PUT /out/tracks-"), 1);
    let refused = embed("other");
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("the store denies access"),
        "{}",
        text(&refused.stderr)
    );
}

/// An upload that fails in the middle is aborted at the store: no object and no part remain.
#[test]
fn an_upload_that_fails_is_aborted() {
    let server = WebServer::start(|method, path| {
        let part = |number: &str| path.contains(&format!("partNumber={number}&"));
        Some(match method {
            "GET" => (
                200,
                vec![],
                b"<ListBucketResult><Name>music</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
                    .to_vec(),
            ),
            "POST" if path.ends_with("?uploads") || path.ends_with("?uploads=") => (
                200,
                vec![],
                b"<InitiateMultipartUploadResult><UploadId>seven</UploadId></InitiateMultipartUploadResult>"
                    .to_vec(),
            ),
            "PUT" if part("1") => (200, vec![("etag", "\"one\"".to_owned())], vec![]),
            "PUT" => (403, vec![], b"<Error><Code>AccessDenied</Code></Error>".to_vec()),
            "DELETE" => (204, vec![], vec![]),
            _ => (400, vec![], vec![]),
        })
    });
    let sandbox = Sandbox::new();
    drop(synthetic(&sandbox.path("library"), 30_000, 1));
    let mut command = sandbox.command([
        "export",
        "s3://music/all",
        "--format",
        "parquet",
        "--compression",
        "none",
    ]);
    command.envs([
        ("AWS_ENDPOINT_URL", format!("http://{}", server.address)),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ]);
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    assert!(
        code(&output) == 2
            && stderr
                .contains("cannot write s3://music/all/tracks.parquet: the store denies access"),
        "{stderr}"
    );
    assert_eq!(
        (server.count("partNumber=1&"), server.count("partNumber=2&")),
        (1, 1)
    );
    assert_eq!(
        server.count("DELETE /music/all/tracks.parquet?uploadId=seven"),
        1,
        "{:?}",
        server.requests
    );
    assert_eq!(server.count("POST "), 1, "it is not completed");
}
