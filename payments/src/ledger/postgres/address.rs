//! Where the database is, without its secret.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::ledger::LedgerError;

/// How long the server may take to let us in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// What the server is told of a connection. A commit is on the server's disk before it answers; a process that hangs within
/// a transaction, or whose machine vanished, does not keep others waiting for longer than live video can bear.
const SETTINGS: [(&str, &str); 7] = [
    ("synchronous_commit", "on"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
];

/// What may stand after `?`, besides `password`, which has its own refusal.
const PARAMETERS: [&str; 8] =
    ["host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// A database's address, checked, with the password if there is one. Shows itself without it.
#[derive(Clone)]
pub struct PostgresAddress {
    options: PgConnectOptions,
    shown: String,
}

impl PostgresAddress {
    /// Whether a text means a server at all.
    pub fn is_meant_by(text: &str) -> bool {
        rest(text).is_some()
    }

    /// Reads `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`; host, port, user and dbname may also be parameters,
    /// and a host that begins with `/` is the folder of a socket. Without `password` the environment's `PGPASSWORD` counts,
    /// and then the file that `PGPASSFILE` names, or `~/.pgpass`.
    ///
    /// # Errors
    /// [`LedgerError::Address`] says what is wrong. An address never holds the password: it is shown in logs, and the
    /// command line that holds it is everybody's to read.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, LedgerError> {
        check(text).map_err(LedgerError::Address)?;
        let options = PgConnectOptions::from_str(text)
            .map_err(|error| LedgerError::Address(format!("{text}: {error}")))?;
        if options.get_database().is_none() {
            return Err(LedgerError::Address(format!("{text} names no database; append /DATABASE")));
        }
        let mut options = options.application_name("framemill").options(SETTINGS).disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password);
        }
        Ok(Self { options, shown: text.to_owned() })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<PgConnection, LedgerError> {
        let connected = tokio::time::timeout(CONNECT_PATIENCE, self.options.connect()).await;
        let connected = connected
            .map_err(|_| LedgerError::Unreachable(format!("{} did not let us in in time", self.shown)))?;
        connected.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: sqlx::Error) -> LedgerError {
        let at = |text: &str| format!("{}: {text}", self.shown);
        match error {
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => {
                LedgerError::Address(at(&format!("{error}; check sslmode and the certificates")))
            }
            error => match LedgerError::from(error) {
                LedgerError::Unreachable(text) => LedgerError::Unreachable(at(&text)),
                LedgerError::Denied(text) => LedgerError::Denied(at(&text)),
                other => other,
            },
        }
    }
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresAddress").field(&self.shown).finish()
    }
}

fn rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

/// Looks for what must not be in an address; does not repeat it where it may be a secret.
fn check(text: &str) -> Result<(), String> {
    const SECRET: &str =
        "holds a password; put it into a file that ledger_password_file names, or into PGPASSWORD";
    let rest = rest(text).ok_or("does not begin with postgres://".to_owned())?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(SECRET.to_owned());
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "password" {
            return Err(SECRET.to_owned());
        }
        if !PARAMETERS.contains(&name) {
            return Err(format!("has the parameter {name}; known are {}", PARAMETERS.join(", ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        PostgresAddress::parse(text, None).unwrap_err().to_string()
    }

    #[test]
    fn password_in_an_address_is_refused_and_not_repeated() {
        for text in [
            "postgres://me:hunter2@host/db",
            "postgres://host/db?user=me&password=hunter2",
            "postgresql://me:@host/db",
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains("holds a password") && !refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn unknown_parameters_and_missing_databases_are_refused() {
        assert!(refusal("postgres://me@host/db?sslmod=require").contains("the parameter sslmod"));
        assert!(refusal("postgres://me@host").contains("names no database"));
        assert!(refusal("mysql://me@host/db").contains("does not begin with postgres://"));
        assert!(refusal("postgres://me@host/db?sslmode=maybe").contains("sslmode"));
    }

    #[test]
    fn address_is_shown_without_its_password() {
        let address = PostgresAddress::parse("postgres://me@host/db", Some("hunter2")).unwrap();
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }
}
