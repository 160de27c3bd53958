//! Addresses of PostgreSQL servers and connections to them: TLS with the server's name checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{BackendError, Result};

/// Timeout of connecting, if the address sets none.
const PATIENCE: Duration = Duration::from_secs(10);

/// PostgreSQL's own port.
const PORT: u16 = 5432;

/// The address of a library in PostgreSQL.
#[derive(Clone)]
pub struct PostgresAddress {
    config: Config,
    /// A file of certificates to trust instead of the system's.
    root_certificates: Option<PathBuf>,
}

impl std::fmt::Display for PostgresAddress {
    /// Without the password and the options.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.config.get_user().unwrap_or_default();
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(PORT);
        let database = self.config.get_dbname().unwrap_or(user);
        write!(f, "postgres://{user}@{host}:{port}/{database}")
    }
}

impl PostgresAddress {
    /// Reads an address: `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`.
    ///
    /// - `is_public`: it comes from the command line, where a password is refused
    pub fn parse(text: &str, is_public: bool) -> Result<Self> {
        let wrong = |problem: String| BackendError::Address { problem };
        let (front, query) = text.split_once('?').unwrap_or((text, ""));
        if !front.starts_with("postgres://") && !front.starts_with("postgresql://") {
            return Err(wrong("not an address of PostgreSQL".to_owned()));
        }
        // The client crate knows neither a file of certificates nor the strict modes.
        let mut root_certificates = None;
        let mut mode = SslMode::Prefer;
        let mut kept = Vec::new();
        for option in query.split('&') {
            match option.split_once('=') {
                Some(("sslrootcert", "system") | ("sslmode", "prefer")) => {}
                Some(("sslrootcert", file)) => {
                    // In an address a plus is a plus, not a space as in forms.
                    let file = file.replace('+', "%2B");
                    let file = form_urlencoded::parse(file.as_bytes()).next();
                    root_certificates = file.map(|(file, _)| PathBuf::from(file.as_ref()));
                }
                Some(("sslmode", "disable")) => mode = SslMode::Disable,
                // Certificate and name are checked whenever there is encryption.
                Some(("sslmode", "require" | "verify-ca" | "verify-full")) => {
                    mode = SslMode::Require;
                }
                _ => kept.push(option),
            }
        }
        let mut config: Config = format!("{front}?{}", kept.join("&"))
            .trim_end_matches('?')
            .parse()
            // The end of a password that has a question mark reads as an option, which the client's error names.
            .map_err(|error: postgres::Error| {
                wrong(if query.contains('@') {
                    "expected %3F for a ? in a password, and %40 for an @".to_owned()
                } else {
                    causes(&error)
                })
            })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host".to_owned()));
        }
        if is_public && config.get_password().is_some() {
            return Err(BackendError::Password);
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_user().is_none() {
            config.user(std::env::var("USER").as_deref().unwrap_or("postgres"));
        }
        config.ssl_mode(mode).application_name("voisin");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        notice_absence(&mut config);
        Ok(Self {
            config,
            root_certificates,
        })
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
                place: self.to_string(),
                problem,
            })
        })
    }

    fn connect_patiently(&self) -> Result<Client> {
        let failed = |problem: String| BackendError::Connect {
            place: self.to_string(),
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
        connected.map_err(|error| failed(causes(&error)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_refused_in_public_and_never_shown() {
        let secret = "postgres://me:s3cret@db.example:5433/music?sslmode=verify-full";
        for text in [secret, "postgres://me@db/music?password=s3cret"] {
            assert!(matches!(
                PostgresAddress::parse(text, true),
                Err(BackendError::Password)
            ));
        }
        for text in [
            secret,
            "postgres://me:s3@cret:x@db.example/music",
            "postgres://db/music?password=s3cret",
            "postgres://db/music?pass%77ord=s3cret",
            "postgres://me:s?3cret@db.example/music",
            "postgres://me:5?3cret@db.example/music",
            "postgres:/me:s3cret@db.example/music",
            "host=db user=me password=s3cret",
        ] {
            let place = PostgresAddress::parse(text, false).map(|place| place.to_string());
            let shown = place.unwrap_or_else(|error| error.to_string());
            assert!(!shown.contains("cret"), "{shown}");
        }
        let place = PostgresAddress::parse(secret, false).unwrap();
        assert_eq!(place.to_string(), "postgres://me@db.example:5433/music");
        assert_eq!(place.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn invalid_addresses_are_refused_with_a_reason() {
        for text in [
            "mysql://x/y",
            "music",
            "",
            "postgres:///music",
            "postgres://h/d?sslmode=maybe",
            "postgres://h/d?sslcert=x",
            "postgres://h:port/d",
        ] {
            let error = PostgresAddress::parse(text, true)
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains("expected postgres://"), "{error}");
        }
    }

    #[test]
    fn options_reach_the_server() {
        let place = PostgresAddress::parse(
            "postgres://u@h/d?options=-csearch_path%3Dmine&sslmode=disable&sslrootcert=a%20b",
            true,
        )
        .unwrap();
        assert_eq!(place.config.get_options(), Some("-csearch_path=mine"));
        assert_eq!(place.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(place.root_certificates, Some("a b".into()));
    }
}
