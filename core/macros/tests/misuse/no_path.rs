#[dbrouter::without_writes(crate = "dbrouter")]
async fn count() -> i64 {
    7
}

fn main() {
    drop(count());
}
