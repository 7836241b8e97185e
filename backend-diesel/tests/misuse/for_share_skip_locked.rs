include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<(i32, String)> {
    let mut conn = db.strict().read().await?;
    orders::table.for_share().skip_locked().first(&mut conn).await
}
