//! The books of tickets, where the configuration wants them.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use probabilistic_ticket::{
    Ledger, PostgresAddress, PostgresLedger, SenderLedger, SqliteLedger, ledger::Inspector,
};

use crate::{
    config::{Config, SQLITE},
    keystore,
};

/// Whose books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// An orchestrator's: what is owed to it.
    Recipient,
    /// A broadcaster's: what it promised.
    Sender,
}

impl Side {
    /// The file in the data folder. A database holds both sides.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Recipient => "recipient.sqlite",
            Self::Sender => "sender.sqlite",
        }
    }
}

/// Open books. Clones share them.
#[derive(Clone, Debug)]
pub(crate) enum Books {
    /// A file of this process.
    Sqlite(SqliteLedger),
    /// A database that others may use as well.
    Postgres(PostgresLedger),
}

impl Books {
    /// Opens the configured books of one side.
    ///
    /// # Errors
    /// They cannot be opened; the error says what to do.
    pub(crate) async fn open(config: &Config, side: Side) -> anyhow::Result<Self> {
        Ok(match address(config, &config.ledger)? {
            None => Self::Sqlite(SqliteLedger::open(config.data_dir().join(side.file())).await?),
            Some(address) => Self::Postgres(PostgresLedger::open(&address).await?),
        })
    }

    /// The recipient's side.
    pub(crate) fn recipient(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Sqlite(ledger) => Arc::new(ledger.clone()),
            Self::Postgres(ledger) => Arc::new(ledger.clone()),
        }
    }

    /// The sender's side.
    pub(crate) fn sender(&self) -> Arc<dyn SenderLedger> {
        match self {
            Self::Sqlite(ledger) => Arc::new(ledger.clone()),
            Self::Postgres(ledger) => Arc::new(ledger.clone()),
        }
    }

    /// Answers the calls made before and lets go of file or server.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(ledger) => ledger.close().await,
            Self::Postgres(ledger) => ledger.close().await,
        }
    }
}

/// The database that `ledger` means; none for files.
fn address(config: &Config, ledger: &str) -> anyhow::Result<Option<PostgresAddress>> {
    if ledger == SQLITE {
        return Ok(None);
    }
    let file = config.ledger_password_file.as_deref();
    let password = file.map(keystore::read_secret).transpose().context("ledger_password_file")?;
    Ok(Some(PostgresAddress::parse(ledger, password.as_deref())?))
}

/// Books to be looked at.
#[derive(Debug)]
pub(crate) enum Place {
    /// A file.
    File(PathBuf),
    /// A database.
    Database(Box<PostgresAddress>),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Database(address) => write!(f, "{address}"),
        }
    }
}

impl Place {
    /// Those that `named` means; without it those of the configuration that exist.
    ///
    /// # Errors
    /// There are none, or the address cannot be used.
    pub(crate) fn find(config: &Config, named: Option<&str>) -> anyhow::Result<Vec<Self>> {
        match named {
            Some(text) if PostgresAddress::is_meant_by(text) => Self::database(config, text),
            Some(path) => Ok(vec![Self::File(path.into())]),
            None if config.ledger != SQLITE => Self::database(config, &config.ledger),
            None => Self::files(config),
        }
    }

    /// The books that a role keeps on one side.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) fn of(config: &Config, side: Side) -> anyhow::Result<Self> {
        Ok(match address(config, &config.ledger)? {
            None => Self::File(config.data_dir().join(side.file())),
            Some(address) => Self::Database(Box::new(address)),
        })
    }

    fn database(config: &Config, text: &str) -> anyhow::Result<Vec<Self>> {
        Ok(address(config, text)?.map(Box::new).map(Self::Database).into_iter().collect())
    }

    fn files(config: &Config) -> anyhow::Result<Vec<Self>> {
        let folder = config.data_dir();
        let files = [Side::Recipient, Side::Sender].map(|side| folder.join(side.file()));
        let found: Vec<_> = files.into_iter().filter(|path| path.exists()).map(Self::File).collect();
        anyhow::ensure!(
            !found.is_empty(),
            "there is no ledger in {}; name one by --ledger, or set data_dir or ledger",
            folder.display()
        );
        Ok(found)
    }

    /// Opens the books to read them as they are at this moment.
    ///
    /// # Errors
    /// They cannot be read; the error says what to do.
    pub(crate) async fn inspect(&self) -> anyhow::Result<Inspector> {
        let inspector = match self {
            Self::File(path) => SqliteLedger::inspect(path).await,
            Self::Database(address) => PostgresLedger::inspect(address).await,
        };
        inspector.with_context(|| self.to_string())
    }
}
