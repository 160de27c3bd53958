//! Transactions over a connection that may be lost, and errors as a caller can act on them.

use postgres::error::SqlState;
use postgres::{Client, Transaction};

use crate::address::causes;
use crate::{BackendError, PostgresAddress, Result};

/// A connection to a server. Where it was lost it is made anew by the next question.
pub(crate) struct Connection {
    place: PostgresAddress,
    client: Option<Client>,
}

impl Connection {
    pub(crate) fn open(place: &PostgresAddress) -> Result<Self> {
        Ok(Self { place: place.clone(), client: Some(place.connect()?) })
    }

    pub(crate) fn place(&self) -> &PostgresAddress {
        &self.place
    }

    /// Runs one transaction. A connection that was lost before it began is made anew.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        self.run_again(work, true)
    }

    fn run_again<T>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
        again: bool,
    ) -> Result<T> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = Some(self.place.connect()?);
        }
        let client = self.client.as_mut().expect("it was connected above");
        let done = client.transaction().and_then(|mut tx| {
            let value = work(&mut tx)?;
            tx.commit()?;
            Ok(value)
        });
        match done {
            Ok(value) => Ok(value),
            // A server that was started again leaves a connection behind that ends at its first use, and so does a shard;
            // a fault that lasts says more the second time.
            Err(error) if again && is_lost(&error) => {
                if error.as_db_error().is_none() {
                    self.client = None;
                }
                self.run_again(work, false)
            }
            Err(error) => {
                if error.as_db_error().is_none() {
                    self.client = None;
                }
                Err(self.fault(&error))
            }
        }
    }

    /// An error of the client as a caller can act on it.
    pub(crate) fn fault(&self, error: &postgres::Error) -> BackendError {
        let place = self.place.to_string();
        let Some(said) = error.as_db_error() else {
            return BackendError::Connect { place, problem: causes(error) };
        };
        let mut problem = said.message().to_owned();
        if let Some(detail) = said.detail() {
            problem = format!("{problem} ({detail})");
        }
        if let Some(hint) = said.hint() {
            problem = format!("{problem}; {hint}");
        }
        let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
        if is_lost(error) {
            return BackendError::Shard { place, problem };
        }
        if *said.code() == SqlState::UNIQUE_VIOLATION {
            return BackendError::Clash(problem);
        }
        BackendError::Server { place, problem, code: Some(said.code().code().to_owned()) }
    }

    /// Runs statements outside of a transaction.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        let client = self.client.as_mut().filter(|client| !client.is_closed());
        let Some(client) = client else {
            return Err(BackendError::Connect {
                place: self.place.to_string(),
                problem: "the connection was lost: run it again".to_owned(),
            });
        };
        let done = client.batch_execute(sql);
        done.map_err(|error| self.fault(&error))
    }
}

/// Whether a connection was lost: to the server, or from there to a shard.
fn is_lost(error: &postgres::Error) -> bool {
    let Some(said) = error.as_db_error() else { return error.is_closed() || error.code().is_none() };
    let code = said.code().code();
    code.starts_with("08") || code.starts_with("57P0")
}
