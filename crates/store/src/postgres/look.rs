//! A look at the ledger by a person: one statement, in a transaction that changes nothing, with so many rows at most.
//!
//! This keeps accidents away and not ill will: whoever has the address of the ledger may do with it what its user may.

use std::pin::pin;

use futures::TryStreamExt as _;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use super::{Error, Postgres};

/// What a column holds, as far as it matters for showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Whole and other numbers.
    Number,
    /// `t` and `f`.
    Bool,
    /// JSON.
    Json,
    /// Everything else.
    Text,
}

/// What was seen: values as PostgreSQL writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Names of the columns, and what they hold.
    pub columns: Vec<(String, Holds)>,
    /// Rows in their order; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows than were asked for.
    pub more: bool,
}

impl Postgres {
    /// Runs one statement that only reads. The connection is closed afterwards, so nothing of it stays.
    ///
    /// # Errors
    /// [`Error::Statement`] with the server's words, also when it is more than one statement or would change something.
    pub async fn look(&self, sql: &str, rows_max: usize) -> Result<Look, Error> {
        let session = self.session().await?;
        session.batch_execute("BEGIN TRANSACTION READ ONLY").await?;
        // Prepared as one statement first: several could end this transaction and go on in another.
        let statement = session.prepare(sql).await?;
        let columns = statement
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), holds(column.type_())))
            .collect();
        let mut look = Look {
            columns,
            ..Look::default()
        };
        let mut messages = pin!(session.simple_query_raw(sql).await?);
        while let Some(message) = messages.try_next().await? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            if look.rows.len() == rows_max {
                look.more = true;
                break;
            }
            let values = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
            look.rows.push(values.collect());
        }
        Ok(look)
    }
}

fn holds(kind: &Type) -> Holds {
    match *kind {
        Type::INT2
        | Type::INT4
        | Type::INT8
        | Type::FLOAT4
        | Type::FLOAT8
        | Type::NUMERIC
        | Type::OID => Holds::Number,
        Type::BOOL => Holds::Bool,
        Type::JSON | Type::JSONB => Holds::Json,
        _ => Holds::Text,
    }
}
