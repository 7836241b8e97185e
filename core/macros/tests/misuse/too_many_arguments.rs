#[dbrouter::on_primary(crate = dbrouter, sticky)]
async fn count() -> i64 {
    7
}

fn main() {
    drop(count());
}
