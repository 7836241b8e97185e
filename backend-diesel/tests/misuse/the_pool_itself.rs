include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(mut db: Db) -> QueryResult<Vec<(i32, String)>> {
    orders::table.load(&mut db).await
}
