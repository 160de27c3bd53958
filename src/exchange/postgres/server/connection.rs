//! Transactions over a connection that may be lost, and errors on which a caller can act.
//!
//! A pooler in transaction mode, such as `PgBouncer`, gives the server's session to another client
//! between two transactions. So nothing is left in a session: statements are unnamed, and settings
//! and locks last for one transaction.

use std::time::Duration;

use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, CopyInWriter, Row, SimpleQueryMessage};

use super::CLASH;
use crate::postgres::address::causes;
use crate::postgres::parameter::SqlParameter;
use crate::postgres::{BackendError, PostgresAddress, Result};

/// Runs statements of one transaction.
pub(crate) struct Transaction<'a>(&'a mut Client);

impl Transaction<'_> {
    /// Runs statements without parameters.
    pub(crate) fn batch_execute(&mut self, sql: &str) -> Result<(), postgres::Error> {
        self.0.batch_execute(sql)
    }

    pub(crate) fn query(
        &mut self,
        sql: &str,
        values: &[&dyn SqlParameter],
    ) -> Result<Vec<Row>, postgres::Error> {
        self.0.query_typed(sql, &typed(values))
    }

    pub(crate) fn query_one(
        &mut self,
        sql: &str,
        values: &[&dyn SqlParameter],
    ) -> Result<Row, postgres::Error> {
        self.0.query_typed_one(sql, &typed(values))
    }

    pub(crate) fn query_opt(
        &mut self,
        sql: &str,
        values: &[&dyn SqlParameter],
    ) -> Result<Option<Row>, postgres::Error> {
        self.0.query_typed_opt(sql, &typed(values))
    }

    pub(crate) fn execute(
        &mut self,
        sql: &str,
        values: &[&dyn SqlParameter],
    ) -> Result<u64, postgres::Error> {
        self.0.execute_typed(sql, &typed(values))
    }

    /// The client names this statement while it runs; within the transaction the session is not shared.
    pub(crate) fn copy_in(&mut self, sql: &str) -> Result<CopyInWriter<'_>, postgres::Error> {
        self.0.copy_in(sql)
    }
}

fn typed<'a>(values: &[&'a dyn SqlParameter]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values
        .iter()
        .map(|value| (value.as_sql(), value.kind()))
        .collect()
}

/// A connection to a server. If it was lost, the next transaction opens a new one.
pub(crate) struct Connection {
    place: PostgresAddress,
    client: Option<Client>,
}

impl Connection {
    pub(crate) fn open(place: &PostgresAddress) -> Result<Self> {
        Ok(Self {
            place: place.clone(),
            client: Some(place.connect()?),
        })
    }

    pub(crate) fn place(&self) -> &PostgresAddress {
        &self.place
    }

    /// Runs one transaction. If the connection was lost before it began, it is opened again.
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
        match in_one(client, &mut work) {
            Ok(value) => Ok(value),
            // After a restart of the server a connection fails at its first use; a lasting fault
            // fails again, with its own message.
            Err(error) if again && is_worth_another_try(&error) => {
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

    fn unconnected(&self, problem: &str) -> BackendError {
        BackendError::Connect {
            place: self.place.to_string(),
            problem: problem.to_owned(),
        }
    }

    /// Converts an error of the client into one on which a caller can act.
    pub(crate) fn fault(&self, error: &postgres::Error) -> BackendError {
        let place = self.place.to_string();
        let Some(db_error) = error.as_db_error() else {
            let problem = causes(error);
            return if is_lost(error) {
                BackendError::Connect { place, problem }
            } else {
                BackendError::Refused { place, problem }
            };
        };
        let mut problem = db_error.message().to_owned();
        if let Some(detail) = db_error.detail() {
            problem = format!("{problem} ({detail})");
        }
        if let Some(hint) = db_error.hint() {
            problem = format!("{problem}; {hint}");
        }
        let mut problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(next) = next_step(db_error.code(), &problem) {
            problem = format!("{problem}: {next}");
        }
        if is_lost(error) {
            return BackendError::Connect { place, problem };
        }
        if *db_error.code() == SqlState::UNIQUE_VIOLATION {
            problem = format!("{CLASH}: {problem}");
        }
        BackendError::Refused { place, problem }
    }

    /// Runs statements outside of a transaction.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        let client = self.client.as_mut().filter(|client| !client.is_closed());
        let Some(client) = client else {
            return Err(self.unconnected("the connection was lost: run it again"));
        };
        let done = client.batch_execute(sql);
        done.map_err(|error| self.fault(&error))
    }
}

/// Whether a connection was lost.
fn is_lost(error: &postgres::Error) -> bool {
    let Some(db_error) = error.as_db_error() else {
        // Errors without a code are the client's, such as a value of an unexpected type.
        let source = std::error::Error::source(error);
        return error.is_closed()
            || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    };
    let code = db_error.code().code();
    // Class 08: connections. 57P01 to 57P05: shutdown, crash, start, a dropped database, an idle
    // session.
    code.starts_with("08") || code.starts_with("57P0")
}

/// Whether a second try may succeed: the connection was lost, or another program left a statement
/// of this name in the session, while the next one gets another name.
fn is_worth_another_try(error: &postgres::Error) -> bool {
    is_lost(error) || error.code() == Some(&SqlState::DUPLICATE_PSTATEMENT)
}

fn in_one<T>(
    client: &mut Client,
    work: &mut impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
) -> Result<T, postgres::Error> {
    client.batch_execute("begin")?;
    match work(&mut Transaction(client)) {
        Ok(value) => client.batch_execute("commit").map(|()| value),
        Err(error) => {
            // If the connection was lost, the server rolls back itself.
            let _ = client.batch_execute("rollback");
            Err(error)
        }
    }
}

/// A lock that outlasts a change: that of an otherwise empty transaction on a separate connection.
/// It ends when this value is dropped, with the process, and with the connection.
pub(crate) struct Lock(Client);

impl Lock {
    /// Attempts at a lock that is held, and the pause between them: a busy server may notice late
    /// that the holder has disconnected.
    const TRIES: usize = 15;
    const PAUSE: Duration = Duration::from_millis(200);

    /// Takes a lock; `None` if another session keeps it.
    ///
    /// - `key`: an expression, one or two arguments of `pg_try_advisory_xact_lock`
    pub(crate) fn take(place: &PostgresAddress, key: &str) -> Result<Option<Self>> {
        let fault = |error: postgres::Error| BackendError::Connect {
            place: place.to_string(),
            problem: causes(&error),
        };
        let mut client = place.connect()?;
        for _ in 0..Self::TRIES {
            // The timeouts for idle sessions must not end it during a push.
            let begin = "begin; select set_config(name, '0', true) from pg_settings
                where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')";
            client.batch_execute(begin).map_err(fault)?;
            // The simple protocol: a portal of the extended one stays open with its snapshot, for
            // which `create index concurrently` would wait as long as this lock is held.
            let locked = format!("select 1 where pg_try_advisory_xact_lock({key})");
            if has_row(&client.simple_query(&locked).map_err(fault)?) {
                return Ok(Some(Self(client)));
            }
            client.batch_execute("rollback").map_err(fault)?;
            std::thread::sleep(Self::PAUSE);
        }
        Ok(None)
    }

    /// Whether it is still held: a pooler or a restart of the server may have ended it.
    pub(crate) fn is_held(&mut self) -> bool {
        let held = "select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted";
        self.0
            .simple_query(held)
            .is_ok_and(|messages| has_row(&messages))
    }
}

fn has_row(messages: &[SimpleQueryMessage]) -> bool {
    messages
        .iter()
        .any(|message| matches!(message, SimpleQueryMessage::Row(_)))
}
/// The statement that makes pgvector known to a database.
pub(super) const MAKE_EXTENSION: &str = "run as the database's owner: create extension vector";

/// The next step after refusals whose messages do not name it.
fn next_step(code: &SqlState, problem: &str) -> Option<&'static str> {
    let names_vectors = problem.contains("halfvec") || problem.contains("vector");
    if *code == SqlState::INSUFFICIENT_PRIVILEGE && problem.contains("extension") {
        return Some(MAKE_EXTENSION);
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE && problem.contains("for schema") {
        return Some(
            "its owner grants it (grant usage, create on schema NAME to ROLE; usage alone for queries), or name another schema",
        );
    }
    if *code == SqlState::QUERY_CANCELED && problem.contains("statement timeout") {
        return Some("lift it for this role (alter role ROLE set statement_timeout = 0)");
    }
    if *code == SqlState::UNTRANSLATABLE_CHARACTER {
        return Some("the encoding of this database lacks it: use one with encoding 'UTF8'");
    }
    if names_vectors && [SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_FUNCTION].contains(code) {
        return Some(
            "pgvector is in a schema that is not searched (alter role ROLE set search_path = public, extensions)",
        );
    }
    (*code == SqlState::READ_ONLY_SQL_TRANSACTION)
        .then_some("this role or server may only read: name one that may write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_next_step() {
        for (code, problem, next) in [
            (
                "42501",
                "permission denied for schema public",
                Some("grant usage, create"),
            ),
            ("42501", "permission denied for table voisin_track", None),
            (
                "57014",
                "canceling statement due to statement timeout",
                Some("statement_timeout = 0"),
            ),
            ("57014", "canceling statement due to user request", None),
            (
                "22P05",
                "character with byte sequence 0xe6 has no equivalent",
                Some("UTF8"),
            ),
            (
                "42704",
                "type \"halfvec\" does not exist",
                Some("search_path"),
            ),
            (
                "42883",
                "operator does not exist: extensions.halfvec <#> unknown",
                Some("search_path"),
            ),
            ("42883", "function lower(integer) does not exist", None),
            (
                "25006",
                "cannot execute UPDATE in a read-only transaction",
                Some("may only read"),
            ),
        ] {
            let found = next_step(&SqlState::from_code(code), problem);
            assert_eq!(found.is_some(), next.is_some(), "{problem}");
            assert!(
                next.is_none_or(|next| found.unwrap_or_default().contains(next)),
                "{problem}"
            );
        }
    }
}
