include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<Vec<i32>> {
    let mut conn = db.strict().read().await?;
    let ids = orders::table.select(orders::id);
    ids.union(orders::table.select(orders::id)).get_results(&mut conn).await
}
