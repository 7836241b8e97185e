include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<i32> {
    let mut conn = db.strict().read().await?;
    let insert = diesel::insert_into(orders::table).values(orders::item.eq("tea"));
    insert.returning(orders::id).get_result(&mut conn).await
}
