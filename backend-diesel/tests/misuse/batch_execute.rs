include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

use diesel_async::SimpleAsyncConnection;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    conn.batch_execute("delete from orders").await
}
