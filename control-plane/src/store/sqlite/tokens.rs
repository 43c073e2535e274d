//! The admin tokens on SQLite.

use super::{Sqlite, SqliteWrite};
use crate::store::{
    StoreError,
    error::{STEP_LIMIT, within},
    rows::read,
    tokens::{AccessVersion, NewToken, StoredToken, TokenRow, VersionRow, millis_of},
};
use sqlx::sqlite::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

const TOKENS: &str =
    "select name, id, digest, role, created_at, created_by, expires_at, last_used_at from tokens order by name";

// === impl Sqlite ===

impl Sqlite {
    pub(in crate::store) async fn access_version(&self) -> Result<AccessVersion, StoreError> {
        let query = sqlx::query_as("select history, access from head");
        let row: VersionRow = within(STEP_LIMIT, query.fetch_one(&self.reading)).await?;
        row.try_into()
    }

    pub(in crate::store) async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let rows: Vec<TokenRow> = within(STEP_LIMIT, sqlx::query_as(TOKENS).fetch_all(&self.reading)).await?;
        read(rows)
    }

    pub(in crate::store) async fn note_uses(&self, uses: &[(Uuid, OffsetDateTime)]) -> Result<(), StoreError> {
        let noting = async {
            let mut transaction = self.writing.begin_with("begin immediate").await?;
            for (id, at) in uses {
                sqlx::query(
                    "update tokens set last_used_at = $2
                     where id = $1 and (last_used_at is null or last_used_at < $2)",
                )
                .bind(&id.as_bytes()[..])
                .bind(millis_of(*at))
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await
        };
        within(STEP_LIMIT, noting).await
    }
}

// === impl SqliteWrite ===

impl SqliteWrite {
    pub(in crate::store) async fn tokens(&mut self) -> Result<Vec<StoredToken>, StoreError> {
        let query = sqlx::query_as(TOKENS);
        let rows: Vec<TokenRow> = within(STEP_LIMIT, query.fetch_all(self.guard.connection())).await?;
        read(rows)
    }

    pub(in crate::store) async fn add_token(&mut self, token: &NewToken<'_>) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let adding = async {
            sqlx::query(
                "insert into tokens (name, id, digest, role, created_at, created_by, expires_at)
                 values ($1, $2, $3, $4, cast(unixepoch('subsec') * 1000 as integer), $5, $6)",
            )
            .bind(token.name)
            .bind(&token.id.as_bytes()[..])
            .bind(&token.digest[..])
            .bind(token.role.as_str())
            .bind(token.created_by)
            .bind(token.expires_at.map(millis_of))
            .execute(&mut *connection)
            .await?;
            count_change(connection).await
        };
        within(STEP_LIMIT, adding).await
    }

    pub(in crate::store) async fn remove_token(&mut self, id: Uuid) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let removing = async {
            let query = sqlx::query("delete from tokens where id = $1").bind(&id.as_bytes()[..]);
            query.execute(&mut *connection).await?;
            count_change(connection).await
        };
        within(STEP_LIMIT, removing).await
    }
}

pub(super) async fn count_change(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("update head set access = access + 1").execute(connection).await.map(drop)
}
