#[dbrouter::on_primary]
pub struct Handler {
    id: i64,
}

fn main() {
    let _ = Handler { id: 7 }.id;
}
