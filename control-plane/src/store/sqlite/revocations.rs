//! Nodes that are not let in any more, on SQLite.

use super::{Sqlite, SqliteWrite, tokens::count_change};
use crate::store::{
    StoreError,
    error::{STEP_LIMIT, within},
    revocations::{Revocation, RevocationRow},
    rows::read,
};

const REVOCATIONS: &str = "select id, revoked_at, revoked_by from revoked_nodes order by id";

// === impl Sqlite ===

impl Sqlite {
    pub(in crate::store) async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<RevocationRow> = within(STEP_LIMIT, sqlx::query_as(REVOCATIONS).fetch_all(&self.reading)).await?;
        read(rows)
    }
}

// === impl SqliteWrite ===

impl SqliteWrite {
    pub(in crate::store) async fn revocations(&mut self) -> Result<Vec<Revocation>, StoreError> {
        let query = sqlx::query_as(REVOCATIONS);
        let rows: Vec<RevocationRow> = within(STEP_LIMIT, query.fetch_all(self.guard.connection())).await?;
        read(rows)
    }

    pub(in crate::store) async fn add_revocation(&mut self, id: &str, by: &str) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let adding = async {
            sqlx::query(
                "insert into revoked_nodes (id, revoked_at, revoked_by)
                 values ($1, cast(unixepoch('subsec') * 1000 as integer), $2)",
            )
            .bind(id)
            .bind(by)
            .execute(&mut *connection)
            .await?;
            count_change(connection).await
        };
        within(STEP_LIMIT, adding).await
    }

    pub(in crate::store) async fn remove_revocation(&mut self, id: &str) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let removing = async {
            sqlx::query("delete from revoked_nodes where id = $1").bind(id).execute(&mut *connection).await?;
            count_change(connection).await
        };
        within(STEP_LIMIT, removing).await
    }
}
