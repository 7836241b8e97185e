include!("prelude.inc");

use diesel_async::RunQueryDsl; // even with diesel-async's own, a strict guard is no connection

async fn case(db: Db) -> QueryResult<Vec<(i32, String)>> {
    let mut conn = db.strict().read().await?;
    orders::table.load(&mut conn).await
}
