include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.read().await?; // not `strict()`: the import alone will do
    let insert = diesel::insert_into(orders::table).values(orders::item.eq("tea"));
    insert.execute(&mut conn).await?;
    Ok(())
}
