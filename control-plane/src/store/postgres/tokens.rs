//! The admin tokens on Postgres.

use super::{CHANNEL, Postgres, PostgresWrite};
use crate::store::{
    StoreError,
    error::{STEP_LIMIT, within},
    rows::read,
    tokens::{AccessVersion, NewToken, StoredToken, TokenRow, VersionRow, millis_of},
};
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

const TOKENS: &str = "select name, id, digest, role, created_by,
        (extract(epoch from created_at) * 1000)::bigint as created_at,
        (extract(epoch from expires_at) * 1000)::bigint as expires_at,
        (extract(epoch from last_used_at) * 1000)::bigint as last_used_at
    from tokens order by name";

// === impl Postgres ===

impl Postgres {
    pub(in crate::store) async fn access_version(&self) -> Result<AccessVersion, StoreError> {
        let query = sqlx::query_as("select history, access from head");
        let row: VersionRow = within(STEP_LIMIT, query.fetch_one(&self.core)).await?;
        row.try_into()
    }

    pub(in crate::store) async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let rows: Vec<TokenRow> = within(STEP_LIMIT, sqlx::query_as(TOKENS).fetch_all(&self.core)).await?;
        read(rows)
    }

    pub(in crate::store) async fn note_uses(&self, uses: &[(Uuid, OffsetDateTime)]) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update tokens set last_used_at = to_timestamp(used.at / 1000.0)
             from unnest($1::bytea[], $2::bigint[]) as used (id, at)
             where tokens.id = used.id
                 and (last_used_at is null or last_used_at < to_timestamp(used.at / 1000.0))",
        );
        let query = query
            .bind(uses.iter().map(|(id, _)| id.as_bytes().to_vec()).collect::<Vec<_>>())
            .bind(uses.iter().map(|(_, at)| millis_of(*at)).collect::<Vec<_>>());
        within(STEP_LIMIT, query.execute(&self.core)).await.map(drop)
    }
}

// === impl PostgresWrite ===

impl PostgresWrite {
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
                 values ($1, $2, $3, $4, date_trunc('milliseconds', clock_timestamp()), $5,
                     to_timestamp($6::bigint / 1000.0))",
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

pub(super) async fn count_change(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let query = sqlx::query(
        "with counted as (update head set access = access + 1 returning revision)
         select pg_notify($1, revision::text) from counted",
    );
    query.bind(CHANNEL).execute(connection).await.map(drop)
}
