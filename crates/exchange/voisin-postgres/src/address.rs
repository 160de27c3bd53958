//! Addresses of PostgreSQL servers and connections to them: passwords from files, TLS with the server's name checked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::error::DbError;
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{BackendError, Result};
use voisin_base::directories;

/// Timeout of connecting, if the address sets none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address of a library in PostgreSQL.
#[derive(Clone)]
pub struct PostgresAddress {
    config: Config,
    /// The address without a password, for messages.
    shown: String,
    /// A file of certificates to trust instead of the system's.
    root_certificates: Option<PathBuf>,
    /// Where passwords are looked up.
    password_file: Option<PathBuf>,
    notices: Notices,
}

/// Notices that a server sent.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    fn push(&self, notice: &DbError) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(notice.message().to_owned());
    }
}

impl std::fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// PostgreSQL's own port.
const PORT: u16 = 5432;
/// The next step where a pooler refuses session settings.
const NO_OPTIONS: &str = "a pooler of connections takes no options: leave them out of the address and have them set for the role (alter role NAME set search_path = …), or name the server's own port";

impl PostgresAddress {
    /// Reads an address as libpq writes it: `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`.
    ///
    /// - `is_public`: it comes from the command line, where a password is refused
    pub fn parse(text: &str, is_public: bool) -> Result<Self> {
        let shown = without_password(text);
        let wrong = |problem: String| BackendError::Address {
            place: shown.clone(),
            problem,
        };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(wrong("not an address of PostgreSQL".to_owned()));
        }
        // Options that the client crate does not support are removed before it parses the others:
        // it refuses an address for one unknown name.
        let (front, query) = text.split_once('?').unwrap_or((text, ""));
        let mut root_certificates = None;
        let mut password_file = None;
        let mut kept = Vec::new();
        let mut mode = None;
        // In libpq's addresses a plus is a plus, not a space as in forms.
        for (name, value) in form_urlencoded::parse(query.replace('+', "%2B").as_bytes()) {
            match name.as_ref() {
                "sslrootcert" if value == "system" => {}
                "sslrootcert" => root_certificates = Some(PathBuf::from(value.as_ref())),
                "sslmode" => mode = Some(value.into_owned()),
                "passfile" => password_file = Some(PathBuf::from(value.as_ref())),
                // Without effect here: texts are UTF-8, and there is no Kerberos.
                "gssencmode" if value != "require" => {}
                "client_encoding"
                | "fallback_application_name"
                | "krbsrvname"
                | "gsslib"
                | "sslcompression"
                | "sslsni" => {}
                "gssencmode" | "requirepeer" | "service" | "servicefile" | "sslcert" | "sslcrl"
                | "sslkey" | "sslpassword" => {
                    return Err(wrong(format!(
                        "{name} is an option of libpq that voisin lacks: leave it out, or sign in with a password"
                    )));
                }
                _ => kept.push((name.into_owned(), value.into_owned())),
            }
        }
        let encoded: Vec<String> = kept
            .iter()
            .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
            .collect();
        let joined = if encoded.is_empty() {
            front.to_owned()
        } else {
            format!("{front}?{}", encoded.join("&"))
        };
        let mut config: Config = joined.parse().map_err(|error: postgres::Error| {
            // The end of a password that has a question mark reads as an option, which the client's error names.
            wrong(if query.contains('@') {
                "expected %3F for a ? in a password, and %40 for an @".to_owned()
            } else {
                causes(&error)
            })
        })?;
        // Before the environment and files are read: passwords from there are not in public.
        if is_public && config.get_password().is_some() {
            return Err(BackendError::Password);
        }
        // Certificate and name are checked whenever there is encryption: `require` is no weaker than `verify-full`.
        config.ssl_mode(match mode.as_deref() {
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some(other) => {
                return Err(wrong(format!(
                    "sslmode is \"{other}\", expected disable, prefer, require or verify-full"
                )));
            }
        });
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        // Options that the address lacks are filled in as libpq does: environment, then defaults.
        if config.get_ports().is_empty()
            && let Some(port) = variable("PGPORT")
        {
            let port = port
                .parse()
                .map_err(|_| wrong(format!("PGPORT is \"{port}\", expected a port")))?;
            config.port(port);
        }
        if config.get_hosts().is_empty() {
            let port = config.get_ports().first().copied().unwrap_or(PORT);
            config.host(&variable("PGHOST").unwrap_or_else(|| default_host(port)));
        }
        if config.get_dbname().is_none()
            && let Some(database) = variable("PGDATABASE")
        {
            config.dbname(&database);
        }
        if config.get_user().is_none() {
            let user = ["PGUSER", "USER"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok());
            config.user(user.as_deref().unwrap_or("postgres"));
        }
        // Last: a line of the file is chosen by host, port, database and user.
        let password_file = password_file.or_else(password_file_of_user);
        if config.get_password().is_none()
            && let Some(password) = password_for(&config, password_file.as_deref())
        {
            config.password(password);
        }
        config.application_name("voisin");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        notice_absence(&mut config);
        let notices = Notices::default();
        let received = notices.clone();
        config.notice_callback(move |notice| received.push(&notice));
        Ok(Self {
            config,
            shown,
            root_certificates,
            password_file,
            notices,
        })
    }

    /// Notices since the last call.
    pub(super) fn take_notices(&self) -> Vec<String> {
        std::mem::take(
            &mut *self
                .notices
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Connects within the time that the address allows (`connect_timeout`), even if the server accepts and then is silent.
    pub(super) fn connect(&self) -> Result<Client> {
        let patience = self
            .config
            .get_connect_timeout()
            .copied()
            .unwrap_or(PATIENCE);
        let (answer, answered) = std::sync::mpsc::channel();
        let place = self.clone();
        // A server that accepts and sends nothing keeps this thread waiting until the connection ends.
        std::thread::spawn(move || {
            // The receiver is gone after its timeout.
            let _ = answer.send(place.connect_patiently());
        });
        // The client's own timeout covers the TCP handshake only; it would wait for a server that
        // is silent afterwards without end.
        answered.recv_timeout(patience).unwrap_or_else(|_| {
            let problem = format!("no answer within {} s", patience.as_secs_f64());
            Err(BackendError::Connect {
                place: self.shown.clone(),
                problem,
            })
        })
    }

    fn connect_patiently(&self) -> Result<Client> {
        let failed = |problem: String| BackendError::Connect {
            place: self.shown.clone(),
            problem,
        };
        let is_plain = match self.config.get_hosts().first() {
            // A socket of this machine is never encrypted.
            #[cfg(unix)]
            Some(Host::Unix(_)) => true,
            _ => self.config.get_ssl_mode() == SslMode::Disable,
        };
        let connected = if is_plain {
            self.config
                .clone()
                .ssl_mode(SslMode::Disable)
                .connect(NoTls)
        } else {
            self.config
                .connect(MakeRustlsConnect::new(self.encryption().map_err(failed)?))
        };
        connected.map_err(|error| {
            let problem = causes(&error);
            // PgBouncer's message.
            let is_refused = problem.contains("unsupported startup parameter");
            let unread = self
                .password_file
                .as_ref()
                .filter(|file| is_open_to_others(file));
            failed(match unread {
                _ if is_refused => format!("{problem} ({NO_OPTIONS})"),
                Some(file) if problem.contains("password") => format!(
                    "{problem} ({0} is not read, because others can: chmod 600 {0})",
                    file.display()
                ),
                _ => problem,
            })
        })
    }

    fn encryption(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.root_certificates {
            let problem = |error: &dyn std::fmt::Display| {
                format!("{}: expected certificates (PEM): {error}", file.display())
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| problem(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| problem(&error))?;
                roots.add(certificate).map_err(|error| problem(&error))?;
            }
        } else {
            // A system certificate that cannot be read is skipped.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        // Explicit, since a library must not set the process's default.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Every cause of an error, once each; the client's message alone is too short to act on.
pub(super) fn causes(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    // Servers' messages have line breaks, and errors here are one line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A server that is lost during a query is noticed after a minute, unless the address sets another time.
fn notice_absence(config: &mut Config) {
    const ABSENT: Duration = Duration::from_mins(1);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(ABSENT);
    }
    // The default of two hours is too long.
    if config.get_keepalives_idle() > ABSENT {
        config
            .keepalives_idle(ABSENT / 2)
            .keepalives_interval(ABSENT / 6)
            .keepalives_retries(3);
    }
}

fn percent(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        // Forms encode a space as a plus, which libpq's addresses do not.
        .collect::<String>()
        .replace('+', "%20")
}

/// The address without `:password` before the `@`, and without one among its options.
fn without_password(text: &str) -> String {
    let (front, query) = text.split_once('?').unwrap_or((text, ""));
    let front = match front.split_once("://") {
        // A question mark within the password hides the rest of it from the split above.
        Some((scheme, _)) if query.contains('@') => return format!("{scheme}://…"),
        // A password may contain an @ that is not encoded.
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((user, host)) => {
                format!(
                    "{scheme}://{}@{host}",
                    user.split(':').next().unwrap_or_default()
                )
            }
            None => front.to_owned(),
        },
        // A mistyped address, or libpq's "host=… password=…".
        None if text.contains(['@', '=']) => return "…".to_owned(),
        None => front.to_owned(),
    };
    let kept: Vec<&str> = query
        .split('&')
        // `sslpassword` too, which is refused with this text in the message.
        .filter(|part| !part.is_empty())
        .filter(|part| {
            let mut options = form_urlencoded::parse(part.as_bytes());
            options.all(|(name, _)| !name.contains("password"))
        })
        .collect();
    if kept.is_empty() {
        front
    } else {
        format!("{front}?{}", kept.join("&"))
    }
}

/// The password for an address: PGPASSWORD, else that of the password file.
fn password_for(config: &Config, file: Option<&Path>) -> Option<String> {
    std::env::var("PGPASSWORD")
        .ok()
        .or_else(|| password_in_file(config, file?))
}

/// The file that PGPASSFILE names, else `~/.pgpass`.
fn password_file_of_user() -> Option<PathBuf> {
    std::env::var_os("PGPASSFILE")
        .map(PathBuf::from)
        .or_else(|| directories::home().map(|home| home.join(".pgpass")))
}

/// The default host of libpq: the socket of this machine's server, else localhost.
fn default_host(port: u16) -> String {
    let folders = ["/var/run/postgresql", "/tmp"];
    let has_socket = |folder: &&&str| {
        let socket = Path::new(folder).join(format!(".s.PGSQL.{port}"));
        cfg!(unix) && socket.exists()
    };
    let found = folders.iter().find(has_socket).copied();
    found.unwrap_or("localhost").to_owned()
}

/// The password that a file has for an address.
fn password_in_file(config: &Config, file: &Path) -> Option<String> {
    let host = config.get_hosts().first().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        // As libpq: a socket is "localhost" in the password file.
        #[cfg(unix)]
        Host::Unix(_) => "localhost".to_owned(),
    });
    let port = config
        .get_ports()
        .first()
        .copied()
        .unwrap_or(PORT)
        .to_string();
    let user = config.get_user().unwrap_or_default();
    // PostgreSQL's default: a database of the user's name.
    let database = config.get_dbname().unwrap_or(user);
    let wanted = [
        host.as_deref().unwrap_or("localhost"),
        port.as_str(),
        database,
        user,
    ];
    let text = read_private(file)?;
    text.lines().find_map(|line| password_of_line(line, wanted))
}

/// Reads a file that no other user can read; libpq refuses password files that others can read, too.
fn read_private(file: &Path) -> Option<String> {
    if is_open_to_others(file) {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// The password of a line `host:port:database:user:password` that fits; `*` fits all, a backslash
/// takes the next character literally.
fn password_of_line(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => fields.last_mut()?.extend(signs.next()),
            // The fifth field is the rest of the line: a password may contain colons.
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    let password = fields.get(4)?.clone();
    let fits = fields
        .iter()
        .zip(wanted)
        .all(|(field, wanted)| field == "*" || field == wanted);
    fits.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_refused_in_public_and_never_shown() {
        let secret = "postgres://me:s3cret@db.example:5433/music?sslmode=verify-full";
        assert!(matches!(
            PostgresAddress::parse(secret, true),
            Err(BackendError::Password)
        ));
        assert!(matches!(
            PostgresAddress::parse("postgres://me@db/music?password=s3cret", true),
            Err(BackendError::Password)
        ));
        for text in [
            secret,
            "postgres://me:s3@cret:x@db.example/music",
            "postgres://db/music?password=s3cret",
            "postgres://db/music?sslcert=x&sslpassword=s3cret",
            "postgres://db/music?pass%77ord=s3cret",
            "postgres://me:s?3cret@db.example/music",
            "postgres://me:5?3cret@db.example/music",
            "postgres:/me:s3cret@db.example/music",
            "host=db user=me password=s3cret",
        ] {
            let place =
                PostgresAddress::parse(text, false).map(|place| format!("{place} {place:?}"));
            let shown = place.unwrap_or_else(|error| error.to_string());
            assert!(!shown.contains("cret"), "{shown}");
        }
        let place = PostgresAddress::parse(secret, false).unwrap();
        assert_eq!(
            place.to_string(),
            "postgres://me@db.example:5433/music?sslmode=verify-full"
        );
        assert_eq!(place.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(place.config.get_ports(), [5433]);
    }

    #[test]
    fn invalid_addresses_are_refused_with_a_reason() {
        for text in [
            "mysql://x/y",
            "music",
            "",
            "postgres://h/d?sslmode=maybe",
            "postgres://h:port/d",
        ] {
            let error = PostgresAddress::parse(text, true).unwrap_err().to_string();
            assert!(error.contains("expected postgres://"), "{error}");
        }
    }

    #[test]
    fn an_option_of_libpq_is_accepted_or_named_in_the_error() {
        let parse = |options: &str| {
            PostgresAddress::parse(&format!("postgres://u@h/d?{options}"), true)
                .map(|place| place.password_file)
                .map_err(|error| error.to_string())
        };
        let taken = parse("gssencmode=disable&client_encoding=UTF8&passfile=%2Fhome%2Fme%2Fpw");
        assert_eq!(taken, Ok(Some("/home/me/pw".into())));
        for name in ["sslcert", "sslkey", "service", "requirepeer"] {
            let error = parse(&format!("{name}=x")).unwrap_err();
            assert!(
                error.contains(name) && error.contains("leave it out"),
                "{error}"
            );
        }
        assert!(parse("gssencmode=require").is_err());
    }

    #[test]
    fn options_reach_the_server() {
        let place = PostgresAddress::parse(
            "postgres://u@h/d?options=-csearch_path%3Dmine&sslmode=disable",
            true,
        )
        .unwrap();
        assert_eq!(place.config.get_options(), Some("-csearch_path=mine"));
        assert_eq!(place.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn a_password_file_is_read_as_libpq_reads_it() {
        let wanted = ["db", "5432", "music", "me"];
        let password_of = |line: &str| password_of_line(line, wanted);
        assert_eq!(
            password_of("db:5432:music:me:secret"),
            Some("secret".to_owned())
        );
        assert_eq!(
            password_of("*:*:*:me:a\\:b\\\\c:d"),
            Some("a:b\\c:d".to_owned())
        );
        assert_eq!(password_of("other:5432:music:me:secret"), None);
        assert_eq!(password_of("#db:5432:music:me:secret"), None);
        assert_eq!(password_of("db:5432:music"), None);
    }
}
