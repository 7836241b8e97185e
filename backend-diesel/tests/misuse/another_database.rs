include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

type Sqlite = diesel_async::sync_connection_wrapper::SyncConnectionWrapper<SqliteConnection>;
type SqlitePool = diesel_async::pooled_connection::deadpool::Pool<Sqlite>;

async fn case(pool: SqlitePool) {
    let builder = Db::builder().primary(pool);
    drop(builder);
}
