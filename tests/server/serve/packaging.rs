//! The files of `scripts/packaging/`: their commands are run here, with their settings.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::server::Server;
use crate::common::{Sandbox, fine, six_tracks, text};

fn packaged(name: &str) -> String {
    fs::read_to_string(format!(
        "{}/scripts/packaging/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

#[test]
fn the_image_serves_at_once_and_listens_by_itself() {
    let file = packaged("Containerfile");
    let value = |start: &str| {
        file.lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
    };
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let command: Vec<String> = serde_json::from_str(value("CMD ")).unwrap();
    assert_eq!(command[..2], ["voisin", "serve"]);
    let options: Vec<&str> = command[2..]
        .iter()
        .map(|word| {
            if word == "/music" {
                music.to_str().unwrap()
            } else {
                word
            }
        })
        .collect();
    let begun = Instant::now();
    let server = Server::start(&sandbox, &options);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it waits for no music"
    );
    let health: Vec<String> =
        serde_json::from_str(value("HEALTHCHECK ").split_once("CMD ").unwrap().1).unwrap();
    let port = server.address.port();
    let check = |port: u16| {
        let script = health[2].replace("/8766", &format!("/{port}"));
        Command::new(&health[0])
            .args([&health[1], &script])
            .output()
            .unwrap()
    };
    fine(check(port));
    assert!(!check(1).status.success(), "no server at that port");
    // Progress is visible at once.
    assert_ne!(server.good_get("/api/v1/scan")["state"], "idle");
    while server.good_get("/api/v1/status")["tracks"] != 6 {
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "{}",
            server.log.lock().unwrap()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // From another machine of the network, by its address.
    let request =
        "GET /api/v1/health HTTP/1.1\r\nHost: 192.168.1.10:8766\r\nConnection: close\r\n\r\n";
    assert_eq!(server.raw(request.as_bytes()).0, 200);
}

#[test]
fn the_unit_is_one_and_its_mistakes_do_not_loop() {
    let unit = packaged("voisin.service");
    let value = |name: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")))
    };
    let (_, options) = value("ExecStart").unwrap().split_once("/voisin ").unwrap();
    assert_eq!(options, "serve --folder %h/Music");
    // A missing folder ends it with the code after which the unit is not restarted.
    let sandbox = Sandbox::new();
    let missing = sandbox.run(["serve", "--folder", sandbox.path("Music").to_str().unwrap()]);
    assert_eq!(
        missing.status.code().unwrap().to_string(),
        value("RestartPreventExitStatus").unwrap()
    );
    assert!(
        text(&missing.stderr).contains("there is no folder"),
        "{}",
        text(&missing.stderr)
    );
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        return;
    };
    if version.status.success() {
        let service = sandbox.path("voisin.service");
        fs::write(
            &service,
            unit.replace("%h/.cargo/bin/voisin", env!("CARGO_BIN_EXE_voisin")),
        )
        .unwrap();
        let verified = Command::new("systemd-analyze")
            .args(["--user", "verify"])
            .arg(&service)
            .output()
            .unwrap();
        let complaints = text(&verified.stderr);
        assert!(!complaints.contains("voisin.service"), "{complaints}");
    }
}
