trait Count {
    #[dbrouter::without_writes]
    async fn count(&self) -> i64;
}

fn main() {}
