//! An object store of one's own: moto's S3, on loopback.

// A test may fail by a panic, and says what it leaves out.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::{Sandbox, text};

/// Answers as S3 does, as long as its standard input is open. It has one bucket.
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

/// A Python that has these packages; `None`, with a message, where there is none. An error where CI could have had it.
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

    /// What a program is told of it, by the variables of AWS.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hidden-from-all".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// A run of the program, with a folder of its own for temporary files, which is empty afterwards.
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
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(
            !said.contains("hidden-from-all") && !said.contains("panicked"),
            "{said}"
        );
        output
    }

    /// What a program of Python's prints, which has the bucket as `bucket`.
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
        let said = self.python(&format!(
            "for one in bucket.objects.filter(Prefix='{prefix}'): print(one.key)"
        ));
        said.lines().map(str::to_owned).collect()
    }
}

impl Drop for ObjectStoreServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
