include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case(db: Db) -> QueryResult<()> {
    let mut conn = db.strict().read().await?;
    let insert = diesel::insert_into(orders::table).values(orders::item.eq("tea"));
    insert.execute(&mut conn).await?;
    Ok(())
}
