include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<Vec<(i32, String)>> {
    let mut conn = db.strict().read().await?;
    orders::table.for_update().load(&mut conn).await
}
