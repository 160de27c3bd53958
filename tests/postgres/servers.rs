//! Servers of PostgreSQL for a test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::common::text;

/// The programs of a PostgreSQL that has pgvector.
pub(super) fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let version = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let extensions = Path::new("/usr/share/postgresql")
                .join(version)
                .join("extension");
            extensions.join("vector.control").exists()
        })
        .collect();
    found.sort();
    let found = found.pop().map(|path| path.join("bin"));
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "scripts/install_postgres installs the programs of this test"
        );
        eprintln!("skipped: no PostgreSQL with pgvector (scripts/install_postgres installs them)");
    }
    found
}

/// A separate server on loopback, which ends with the test.
pub(super) struct Server {
    pub(super) programs: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) port: u16,
}

fn is_root() -> bool {
    text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0"
}

/// Programs of PostgreSQL, and `PgBouncer`, refuse to be root.
fn command_as_nobody(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn as_nobody(program: &Path, arguments: &[&str]) -> Output {
    command_as_nobody(program).args(arguments).output().unwrap()
}

/// The files of a new server, packed: making them takes ten times as long as unpacking them.
fn new_files(programs: &Path) -> &'static [u8] {
    static FILES: OnceLock<Vec<u8>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("voisin-postgres-{}", std::process::id()));
        let data = folder.to_str().unwrap();
        let made = as_nobody(
            &programs.join("initdb"),
            &[
                "-D", data, "-U", "voisin", "-A", "trust", "-N", "-E", "UTF8",
            ],
        );
        assert!(made.status.success(), "{}", text(&made.stderr));
        let packed = as_nobody(Path::new("tar"), &["-C", data, "-cf", "-", "."]);
        assert!(packed.status.success(), "{}", text(&packed.stderr));
        fs::remove_dir_all(&folder).unwrap();
        packed.stdout
    })
}

impl Server {
    pub(super) fn start(programs: &Path) -> Self {
        let files = new_files(programs);
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder =
            std::env::temp_dir().join(format!("voisin-postgres-{}-{port}", std::process::id()));
        let data = folder.to_str().unwrap();
        let made = as_nobody(Path::new("mkdir"), &["-m", "700", data]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let mut unpacking = command_as_nobody(Path::new("tar"))
            .args(["-C", data, "-xf", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut unpacking.stdin.take().unwrap(), files).unwrap();
        assert!(unpacking.wait().unwrap().success());
        let server = Self {
            programs: programs.to_owned(),
            folder,
            port,
        };
        server.up();
        server
    }

    pub(super) fn up(&self) {
        let options = format!(
            "-h 127.0.0.1 -p {} -k {} -c fsync=off -c max_connections=30",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log");
        let data = self.folder.to_str().unwrap();
        let started = as_nobody(
            &self.programs.join("pg_ctl"),
            &[
                "-D",
                data,
                "-o",
                &options,
                "-l",
                log.to_str().unwrap(),
                "-w",
                "-t",
                "60",
                "start",
            ],
        );
        assert!(
            started.status.success(),
            "{}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }

    pub(super) fn stop(&self, mode: &str) {
        let data = self.folder.to_str().unwrap();
        as_nobody(
            &self.programs.join("pg_ctl"),
            &["-D", data, "-m", mode, "-w", "stop"],
        );
    }

    /// Turns encryption on, with a certificate of its own for localhost. Returns its file.
    pub(super) fn encrypt(&self) -> PathBuf {
        let [key, certificate] = ["server.key", "server.crt"].map(|name| self.folder.join(name));
        let options = "req -new -x509 -days 2 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
            -addext basicConstraints=critical,CA:FALSE";
        let mut options: Vec<&str> = options.split_whitespace().collect();
        options.extend(["-keyout", key.to_str().unwrap()]);
        options.extend(["-out", certificate.to_str().unwrap()]);
        let made = as_nobody(Path::new("openssl"), &options);
        assert!(made.status.success(), "{}", text(&made.stderr));
        self.psql("alter system set ssl = on");
        self.psql("select pg_reload_conf()");
        std::thread::sleep(Duration::from_millis(500));
        certificate
    }

    pub(super) fn url(&self) -> String {
        format!(
            "postgres://voisin@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    pub(super) fn psql(&self, sql: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "voisin",
            "-d",
            "postgres",
        ]);
        command
            .args(["-v", "ON_ERROR_STOP=1", "-AtX", "-q", "-w"])
            .env("PGSSLMODE", "disable");
        let mut child = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{sql}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Everything that a push writes, except for the number of pushes.
    pub(super) fn tables(&self) -> String {
        self.psql(
            "select id, md5(digest), path, labels, words, md5(vector::text) from voisin_track order by id;
             select library, fingerprint, labels, md5(mean::text) from voisin_state;",
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("immediate");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `PgBouncer` in transaction mode with a limit of server sessions, so that clients share them; ends with the test.
pub(super) struct Pooler {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Pooler {
    /// `None`, with a message, where it is not installed.
    pub(super) fn start(server: &Server, sessions: u32) -> Option<Self> {
        // The variable names another one than the system's, such as a newer build.
        let program =
            std::env::var_os("VOISIN_TEST_PGBOUNCER").unwrap_or_else(|| "pgbouncer".into());
        if Command::new(&program).arg("--version").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "scripts/install_postgres installs the programs of this test"
            );
            eprintln!("skipped: no pgbouncer (scripts/install_postgres installs it)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder =
            std::env::temp_dir().join(format!("voisin-pgbouncer-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=voisin\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = {sessions}\nmax_client_conn = 100\nquery_wait_timeout = 30\nlogfile = {}/log\n",
            server.port,
            folder.display()
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings).unwrap();
        if is_root() {
            let given = Command::new("chown")
                .args(["-R", "postgres", folder.to_str().unwrap()])
                .status();
            assert!(given.unwrap().success());
        }
        let mut command = command_as_nobody(Path::new(&program));
        command.args(["-q", file.to_str().unwrap()]);
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self {
            process,
            folder,
            port,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(pooler);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "pgbouncer does not listen: {}",
            fs::read_to_string(pooler.folder.join("log")).unwrap_or_default()
        );
    }

    pub(super) fn url(&self) -> String {
        format!(
            "postgres://voisin@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
