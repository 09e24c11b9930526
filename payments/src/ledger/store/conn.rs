//! One way to speak to either database: the statements are the same, the drivers are not.

use alloy_primitives::{Address, B256};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Database, Encode, Executor, IntoArguments, PgConnection, Row as _, SqliteConnection, Type};

use crate::ledger::LedgerError;
use crate::units::Wei;

/// A connection within a transaction.
pub(crate) enum Conn<'c> {
    /// To a file.
    Sqlite(&'c mut SqliteConnection),
    /// To a server.
    Postgres(&'c mut PgConnection),
}

/// A column's value: amounts and hashes are bytes, counters are integers.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// Databases keep signed integers; the cast keeps every bit, and what is sorted by (nonces, times) stays below 2⁶³.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(Some(value.cast_signed()))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<u64>> for Value {
    fn from(value: Option<u64>) -> Self {
        Self::Int(value.map(u64::cast_signed))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Address> for Value {
    fn from(value: Address) -> Self {
        value.as_slice().into()
    }
}

impl From<B256> for Value {
    fn from(value: B256) -> Self {
        value.as_slice().into()
    }
}

impl From<Option<B256>> for Value {
    fn from(value: Option<B256>) -> Self {
        Self::Bytes(value.map(|hash| hash.to_vec()))
    }
}

impl From<Wei> for Value {
    fn from(value: Wei) -> Self {
        value.to_be_bytes().as_slice().into()
    }
}

/// The values of one statement or row.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::ledger::store::conn::Value::from($value)),*] };
}
pub(crate) use values;

/// A statement for one row, and the same for many at once, which saves a server's round trips. `many` takes an array for
/// each value of `one`.
pub(crate) struct Bulk {
    pub(crate) one: &'static str,
    pub(crate) many: &'static str,
}

/// A row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn int(&self, column: &'static str) -> Result<i64, LedgerError> {
        self.maybe_int(column)?.ok_or(LedgerError::Corrupt(column))
    }

    pub(crate) fn counter(&self, column: &'static str) -> Result<u64, LedgerError> {
        self.int(column).map(i64::cast_unsigned)
    }

    pub(crate) fn maybe_blob(&self, column: &'static str) -> Result<Option<&[u8]>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn blob(&self, column: &'static str) -> Result<&[u8], LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], LedgerError> {
        self.blob(column)?.try_into().map_err(|_| LedgerError::Corrupt(column))
    }

    pub(crate) fn wei(&self, column: &'static str) -> Result<Wei, LedgerError> {
        self.bytes(column).map(Wei::from_be_bytes)
    }

    pub(crate) fn hash(&self, column: &'static str) -> Result<B256, LedgerError> {
        self.bytes(column).map(B256::new)
    }

    pub(crate) fn address(&self, column: &'static str) -> Result<Address, LedgerError> {
        self.bytes(column).map(Address::new)
    }
}

type Query<DB> = sqlx::query::Query<'static, DB, <DB as Database>::Arguments>;

fn bound<DB>(sql: &'static str, values: Vec<Value>) -> Query<DB>
where
    DB: Database,
    Option<i64>: Encode<'static, DB> + Type<DB>,
    Option<Vec<u8>>: Encode<'static, DB> + Type<DB>,
{
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

async fn all<'c, DB, E>(connection: E, query: Query<DB>) -> Result<Vec<DB::Row>, LedgerError>
where
    DB: Database,
    E: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    Ok(query.fetch_all(connection).await?)
}

/// Rows of values become columns of values: PostgreSQL takes an array for each.
fn columns(sql: &'static str, rows: Vec<Vec<Value>>) -> Query<sqlx::Postgres> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns: Vec<Vec<Value>> = std::iter::repeat_with(Vec::new).take(width).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns.into_iter().fold(sqlx::query(sql), |query, column| match column.first() {
        Some(Value::Int(_)) => query.bind(ints(column)),
        Some(Value::Bytes(_)) | None => query.bind(blobs(column)),
    })
}

fn ints(column: Vec<Value>) -> Vec<Option<i64>> {
    let int = |value| if let Value::Int(value) = value { value } else { None };
    column.into_iter().map(int).collect()
}

fn blobs(column: Vec<Value>) -> Vec<Option<Vec<u8>>> {
    let blob = |value| if let Value::Bytes(value) = value { value } else { None };
    column.into_iter().map(blob).collect()
}

impl Conn<'_> {
    /// Runs a statement; how many rows it touched.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, LedgerError> {
        Ok(match self {
            Self::Sqlite(connection) => bound(sql, values).execute(&mut **connection).await?.rows_affected(),
            Self::Postgres(connection) => {
                bound(sql, values).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// Runs the statement of the database at hand.
    pub(crate) async fn execute_either(
        &mut self,
        sqlite: &'static str,
        postgres: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, LedgerError> {
        let sql = if matches!(self, Self::Sqlite(_)) { sqlite } else { postgres };
        self.execute(sql, values).await
    }

    /// Every row of a query.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, LedgerError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                all(&mut **connection, bound(sql, values)).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                all(&mut **connection, bound(sql, values)).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The first row of a query, if it has one.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<Row>, LedgerError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a statement for each of `rows`.
    pub(crate) async fn execute_each(
        &mut self,
        bulk: &Bulk,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), LedgerError> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Self::Sqlite(connection) => {
                for row in rows {
                    bound(bulk.one, row).execute(&mut **connection).await?;
                }
            }
            Self::Postgres(connection) => {
                columns(bulk.many, rows).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// The rows that a query finds for each of `keys`, in no order that counts.
    pub(crate) async fn rows_each(
        &mut self,
        bulk: &Bulk,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Row>, LedgerError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::with_capacity(keys.len());
        match self {
            Self::Sqlite(connection) => {
                for key in keys {
                    let rows = all(&mut **connection, bound(bulk.one, key)).await?;
                    found.extend(rows.into_iter().map(Row::Sqlite));
                }
            }
            Self::Postgres(connection) => {
                let rows = all(&mut **connection, columns(bulk.many, keys)).await?;
                found.extend(rows.into_iter().map(Row::Postgres));
            }
        }
        Ok(found)
    }
}
