include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<usize> {
    let mut conn = db.strict().read().await?;
    let query = diesel::sql_query("vacuum");
    dbrouter_diesel::assume_read(query).execute(&mut conn).await
}
