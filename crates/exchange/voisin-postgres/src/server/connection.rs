//! Transactions over a connection that may be lost, and errors as a caller can act on them.
//!
//! Between two of its transactions a connection may be another one's: `PgBouncer` and its like, in transaction mode, give a
//! session of the server to whoever needs it next. So nothing is left in a session: statements have no names (a name stays,
//! and the next client may use it too), settings are those of a transaction, and so are locks.

use std::time::Duration;

use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, CopyInWriter, Row, SimpleQueryMessage};

use crate::address::causes;
use crate::parameter::SqlParameter;
use crate::{BackendError, PostgresAddress, Result};

/// Statements of one transaction.
pub(crate) struct Transaction<'a>(&'a mut Client);

impl Transaction<'_> {
    /// Runs statements that have no values.
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

    /// The one statement that has a name, for as long as it runs: within the transaction nobody else meets it.
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

/// A connection to a server. Where it was lost it is made anew by the next question.
pub(crate) struct Connection {
    place: PostgresAddress,
    client: Option<Client>,
    /// A transaction was begun that the next ones are parts of.
    is_within: bool,
}

impl Connection {
    pub(crate) fn open(place: &PostgresAddress) -> Result<Self> {
        Ok(Self {
            place: place.clone(),
            client: Some(place.connect()?),
            is_within: false,
        })
    }

    pub(crate) fn place(&self) -> &PostgresAddress {
        &self.place
    }

    /// Runs one transaction. A connection that was lost before it began is made anew.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        self.run_again(work, !self.is_within)
    }

    fn run_again<T>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
        again: bool,
    ) -> Result<T> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            if self.is_within {
                let problem = "the connection was lost in the middle of a change, which is undone: run it again";
                return Err(self.unconnected(problem));
            }
            self.client = Some(self.place.connect()?);
        }
        let client = self.client.as_mut().expect("it was connected above");
        let done = if self.is_within {
            work(&mut Transaction(client))
        } else {
            in_one(client, &mut work)
        };
        match done {
            Ok(value) => Ok(value),
            // A server that was started again leaves a connection behind that ends at its first use, and so does a shard;
            // a fault that lasts says more the second time.
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

    /// Begins a transaction that the next ones are parts of, and waits in it for a lock that ends with it. Only this one
    /// session of the server is needed, however many wait.
    pub(crate) fn begin(&mut self, lock: i64) -> Result<()> {
        // An empty transaction first: it makes a connection that was lost anew, which "begin"
        // cannot.
        self.run(|tx| tx.batch_execute("select"))?;
        let Some(client) = &mut self.client else {
            return Err(self.unconnected("the connection was lost"));
        };
        let begun = client.batch_execute(&format!("begin; select pg_advisory_xact_lock({lock})"));
        if let Err(error) = begun {
            // Fails where the connection is gone, and then the server has done so.
            let _ = client.batch_execute("rollback");
            return Err(self.fault(&error));
        }
        self.is_within = true;
        Ok(())
    }

    /// Ends what was begun.
    ///
    /// - `is_good`: whether what was done in it holds; else all of it is undone
    pub(crate) fn end(&mut self, is_good: bool) -> Result<()> {
        // Whatever comes of it: with the connection lost there is nothing to be within.
        self.is_within = false;
        self.execute(if is_good { "commit" } else { "rollback" })
    }

    fn unconnected(&self, problem: &str) -> BackendError {
        BackendError::Connect {
            place: self.place.to_string(),
            problem: problem.to_owned(),
        }
    }

    /// An error of the client as a caller can act on it.
    pub(crate) fn fault(&self, error: &postgres::Error) -> BackendError {
        let place = self.place.to_string();
        let Some(db_error) = error.as_db_error() else {
            let problem = causes(error);
            return if is_lost(error) {
                BackendError::Connect { place, problem }
            } else {
                BackendError::Server {
                    place,
                    problem,
                    code: None,
                }
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
            return BackendError::Shard { place, problem };
        }
        if *db_error.code() == SqlState::UNIQUE_VIOLATION {
            return BackendError::Clash(problem);
        }
        BackendError::Server {
            place,
            problem,
            code: Some(db_error.code().code().to_owned()),
        }
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

/// Whether a connection was lost: to the server, or from there to a shard.
fn is_lost(error: &postgres::Error) -> bool {
    let Some(db_error) = error.as_db_error() else {
        // Others are the client's own, such as a value of another type than it expects.
        let source = std::error::Error::source(error);
        return error.is_closed()
            || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    };
    let code = db_error.code().code();
    // Class 08: connections. 57P01 to 57P05: shutdown, crash, start, a dropped database, an idle
    // session.
    code.starts_with("08") || code.starts_with("57P0")
}

/// Whether the same again may end otherwise: the connection was lost, or the name of a statement was left in the session by
/// another program, while the next one has a name of its own.
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
            // Of a connection that was lost the server does so itself.
            let _ = client.batch_execute("rollback");
            Err(error)
        }
    }
}

/// A lock that lasts longer than a change: that of a transaction which does nothing else, on a connection of its own. It
/// ends with this, with the process, and with the connection, whoever the session is given to then.
pub(crate) struct Lock(Client);

impl Lock {
    /// How often a lock is asked for that somebody holds, and how long after the last time: a busy server may notice a little
    /// late that one who held it has gone.
    const TRIES: usize = 15;
    const PAUSE: Duration = Duration::from_millis(200);

    /// Takes a lock; `None` where somebody else keeps it.
    ///
    /// - `key`: an expression, one or two arguments of `pg_try_advisory_xact_lock`
    pub(crate) fn take(place: &PostgresAddress, key: &str) -> Result<Option<Self>> {
        let fault = |error: postgres::Error| BackendError::Connect {
            place: place.to_string(),
            problem: causes(&error),
        };
        let mut client = place.connect()?;
        for _ in 0..Self::TRIES {
            // The time in which it waits for the end of a push is no idleness.
            let begin = "begin; select set_config(name, '0', true) from pg_settings
                where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')";
            client.batch_execute(begin).map_err(fault)?;
            // A row or none, in the simple protocol: a portal of the extended one stays open and keeps its snapshot, for
            // whose end `create index concurrently` would wait as long as this lock is held.
            let locked = format!("select 1 where pg_try_advisory_xact_lock({key})");
            if has_row(&client.simple_query(&locked).map_err(fault)?) {
                return Ok(Some(Self(client)));
            }
            client.batch_execute("rollback").map_err(fault)?;
            std::thread::sleep(Self::PAUSE);
        }
        Ok(None)
    }

    /// Whether it is held still: a pooler or a server that was started again took it away.
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
/// The next step after refusals whose own words leave it open.
fn next_step(code: &SqlState, problem: &str) -> Option<&'static str> {
    let names_vectors = problem.contains("halfvec") || problem.contains("vector");
    if *code == SqlState::INSUFFICIENT_PRIVILEGE && problem.contains("for schema") {
        return Some(
            "its owner grants it (grant usage, create on schema NAME to ROLE; usage alone to ask questions), or name another schema",
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
            "pgvector lies in a schema that is not searched (alter role ROLE set search_path = public, extensions)",
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
