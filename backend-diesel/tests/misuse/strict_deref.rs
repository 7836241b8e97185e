include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<usize> {
    let mut conn = db.strict().read().await?;
    diesel::delete(orders::table).execute(&mut *conn).await
}
