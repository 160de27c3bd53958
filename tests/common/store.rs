//! A local object store: moto's S3, on loopback.

// A test may fail by a panic, and prints what it skips.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::{Sandbox, text};

/// An S3 server that runs as long as its standard input is open. It has one bucket.
const STORE: &str = "
import sys, boto3
from moto.server import ThreadedMotoServer
store = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
store.start()
host, port = store.get_host_and_port()
url = f'http://{host}:{port}'
boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id='test',
    aws_secret_access_key='test').create_bucket(Bucket='music')
print(url, flush=True)
sys.stdin.read()
";

/// A Python with these packages; `None`, with a message, where there is none. In CI a failed installation is an error.
pub(crate) fn python(packages: &str) -> Option<PathBuf> {
    let python = std::env::var_os("VOISIN_TEST_PYTHON")
        .map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = Command::new(&python)
        .args(["-c", &format!("import {packages}")])
        .output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "VOISIN_TEST_PYTHON must name a Python with {packages}"
    );
    eprintln!("skipped: no Python with {packages} (VOISIN_TEST_PYTHON names one)");
    None
}

pub(crate) struct ObjectStoreServer {
    process: Child,
    python: PathBuf,
    pub(crate) url: String,
}

impl ObjectStoreServer {
    /// `None`, with a message, where Python has no moto.
    pub(crate) fn find() -> Option<Self> {
        python("moto.server, boto3").map(Self::start)
    }

    fn start(python: PathBuf) -> Self {
        let mut process = Command::new(&python)
            .args(["-c", STORE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("http://"), "moto did not start: {line}");
        Self {
            process,
            python,
            url: line.trim().to_owned(),
        }
    }

    /// The AWS environment variables of a client.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hidden-from-all".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// A run of the program, with a separate folder for temporary files, which is empty afterwards.
    pub(crate) fn run(&self, sandbox: &Sandbox, words: &[&str]) -> Output {
        let temporary = sandbox.path("temporary");
        std::fs::create_dir_all(&temporary).unwrap();
        let mut command = sandbox.command(words);
        let output = command
            .envs(self.variables())
            .env("TMPDIR", &temporary)
            .output()
            .unwrap();
        let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let printed = text(&output.stderr) + &text(&output.stdout);
        assert!(
            !printed.contains("hidden-from-all") && !printed.contains("panicked"),
            "{printed}"
        );
        output
    }

    /// Output of a Python script, in which `bucket` is the bucket.
    pub(crate) fn python(&self, script: &str) -> String {
        let script = format!(
            "import boto3\nbucket = boto3.resource('s3', endpoint_url='{}', region_name='us-east-1',
    aws_access_key_id='test', aws_secret_access_key='test').Bucket('music')\n{script}",
            self.url
        );
        let output = Command::new(&self.python)
            .args(["-c", &script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn upload(&self, file: &Path, key: &str) {
        self.python(&format!(
            "bucket.upload_file({:?}, {key:?})",
            file.to_str().unwrap()
        ));
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let listing = self.python(&format!(
            "for one in bucket.objects.filter(Prefix='{prefix}'): print(one.key)"
        ));
        listing.lines().map(str::to_owned).collect()
    }
}

impl Drop for ObjectStoreServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
