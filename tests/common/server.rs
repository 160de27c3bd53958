//! `voisin serve` as a process, and a client that can send malformed requests.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Sandbox, fine, six_tracks, text};

/// A library of six tracks of the demo.
pub(crate) fn small_library(sandbox: &Sandbox) -> PathBuf {
    let music = six_tracks(sandbox);
    fine(sandbox.run(["add", "--threads", "1", music.to_str().unwrap()]));
    music
}

pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// Its standard error, read by a thread.
    pub(crate) log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Server {
    pub(crate) fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::start_with(sandbox, arguments, &[])
    }

    /// With additional environment variables.
    pub(crate) fn start_with(
        sandbox: &Sandbox,
        arguments: &[&str],
        variables: &[(&str, &OsStr)],
    ) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--verbose"];
        all.extend(arguments);
        let mut command = sandbox.command(all);
        command.envs(variables.iter().copied());
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().expect("a line with its address").unwrap();
        assert!(
            !line.contains("token"),
            "a token that is not shown on a terminal would end in a log: {line}"
        );
        let address = line
            .strip_prefix("listening on http://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let mut stderr = process.stderr.take().unwrap();
        let kept = log.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut piece) {
                kept.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        });
        let token = fs::read_to_string(sandbox.path("library/serve.token")).unwrap_or_default();
        let token = token.trim().to_owned();
        Self {
            process,
            address: address.parse().unwrap(),
            token,
            log,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .unwrap();
        stream
    }

    /// Sends these bytes, and reads until the server closes or an answer is complete.
    pub(crate) fn raw(&self, request: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        // A server that refuses early may close before all is sent.
        let _ = stream.write_all(request);
        read_answer(&mut stream)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address, self.token, body.len()
        )
        .into_bytes();
        request.extend(body);
        self.raw(&request)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send("GET", path, "", b"");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send_json("POST", path, body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send_json("PUT", path, body)
    }

    fn send_json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = "Content-Type: application/json\r\n";
        let (status, _, body) = self.send(method, path, kind, body.to_string().as_bytes());
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// The answer to a request that must succeed.
    pub(crate) fn good(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    pub(crate) fn good_get(&self, path: &str) -> Value {
        let (status, answer) = self.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Status, head and body of an answer; 0 where there was none.
pub(crate) fn read_answer(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65536];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = text(&bytes[..end]);
            let lower = head.to_ascii_lowercase();
            let length = lower
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| bytes.len() >= end + 4 + length) {
                break;
            }
        }
        match stream.read(&mut piece) {
            Ok(n @ 1..) => bytes.extend(&piece[..n]),
            _ => break,
        }
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return (0, String::new(), bytes);
    };
    let head = text(&bytes[..end]);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let body = bytes.split_off(end + 4);
    (status, head, body)
}
