include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

use diesel_async::AsyncConnection;

async fn case(db: Db) -> QueryResult<usize> {
    let mut conn = db.read().await?;
    conn.transaction(async |conn| {
        let delete = diesel::delete(orders::table);
        delete.execute(conn).await
    })
    .await
}
