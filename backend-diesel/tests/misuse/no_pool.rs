include!("prelude.inc");

use dbrouter_diesel::RunQueryDsl;

async fn case() {
    let db = RoutedPool::<AsyncPgConnection>::builder();
    drop(db);
}
