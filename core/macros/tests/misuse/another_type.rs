#[dbrouter::on_replica]
async fn count(short: bool) -> Result<i64, std::num::ParseIntError> {
    if short {
        return Ok("7");
    }
    let id: u8 = "7".parse()?;
    std::fs::read("7")?;
    Ok(id.into())
}

fn main() {
    drop(count(true));
}
