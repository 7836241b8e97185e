include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<Vec<(i32, String)>> {
    let mut conn = db.session().read_prefer_primary().await?;
    orders::table.for_no_key_update().load(&mut conn).await
}
