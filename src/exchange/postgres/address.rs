//! Addresses of PostgreSQL servers and connections to them: TLS with the server's name checked.

use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::causes;
use super::{BackendError, Result};

/// Timeout of connecting, if the address sets none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address of a library in PostgreSQL.
#[derive(Clone)]
pub struct PostgresAddress(Config);

impl std::fmt::Display for PostgresAddress {
    /// Without the password and the options.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = match self.0.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => String::new(),
        };
        let user = self
            .0
            .get_user()
            .map_or_else(String::new, |user| format!("{user}@"));
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        let database = self.0.get_dbname().unwrap_or_default();
        write!(f, "postgres://{user}{host}:{port}/{database}")
    }
}

impl PostgresAddress {
    /// Reads an address: `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`.
    ///
    /// - `is_public`: it comes from the command line, where a password is refused
    pub fn parse(text: &str, is_public: bool) -> Result<Self> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(BackendError::Address);
        }
        // Certificate and name are checked whenever there is encryption.
        let text = text.replace("sslmode=verify-full", "sslmode=require");
        // The client's error may hold a part of the password.
        let mut config: Config = text.parse().map_err(|_| BackendError::Address)?;
        if config.get_hosts().is_empty() {
            return Err(BackendError::Address);
        }
        if is_public && config.get_password().is_some() {
            return Err(BackendError::Password);
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        config.application_name("voisin");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        Ok(Self(config))
    }

    pub(super) fn connect(&self) -> Result<Client> {
        let failed = |problem: String| BackendError::Connect {
            place: self.to_string(),
            problem,
        };
        let mut config = self.0.clone();
        // A socket of this machine is never encrypted.
        if !matches!(config.get_hosts().first(), Some(Host::Tcp(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        let encryption = encryption().map_err(|error| failed(error.to_string()))?;
        config
            .connect(MakeRustlsConnect::new(encryption))
            .map_err(|error| failed(causes(&error)))
    }
}

/// By the system's certificates.
fn encryption() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be read is skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // Explicit, since a library must not set the process's default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
            "postgres://db/music?pass%77ord=s3cret",
            "postgres://me:s?3cret@db.example/music",
            "postgres:/me:s3cret@db.example/music",
            "host=db user=me password=s3cret",
        ] {
            let place = PostgresAddress::parse(text, false).map(|place| place.to_string());
            let shown = place.unwrap_or_else(|error| error.to_string());
            assert!(!shown.contains("cret"), "{shown}");
        }
        let place = PostgresAddress::parse(secret, false).unwrap();
        assert_eq!(place.to_string(), "postgres://me@db.example:5433/music");
        assert_eq!(place.0.get_ssl_mode(), SslMode::Require);
        for text in [
            "mysql://x/y",
            "",
            "postgres:///music",
            "postgres://h:port/d",
        ] {
            assert!(PostgresAddress::parse(text, true).is_err(), "{text}");
        }
    }
}
