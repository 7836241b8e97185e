//! What connections have prepared is out of date after a migration, which replicas have replayed (contract: `Work`).

use dbrouter::{Preference, Router};

use super::{Handle, How, Mount, Need, PATIENCE, READS, Site, Subject, check, expect, last, next};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Classifies, Servers};
    mount.case(
        "a_migration_fails_no_read",
        &[Servers, Classifies],
        a_migration,
    );
}

/// transact-rs/sqlx#1250, SeaQL/sea-orm#1162: on PostgreSQL each connection fails each time that it uses what it has
/// prepared before.
async fn a_migration<S: Subject>(site: &Site<S>) -> Result<()> {
    const MENU: &str = "select * from menu";
    let builder = site.builder().pool_options(S::pool(3, PATIENCE));
    let db = S::root(builder.connect().await?);
    for sql in [
        "create table menu (id bigint)",
        "insert into menu values (7)",
    ] {
        site.execute(0, sql).await?;
    }
    site.catch_up(1).await?;
    site.catch_up(2).await?;

    let read = async |session: &S::Handle| -> Result<bool> {
        expect("as it is", session.query(How::AsIs, MENU).await?, 7)?;
        let (node, _) = last(session)?;
        expect("stated", session.query(READS, MENU).await?, 7)?;
        let mut stream = session.stream(How::AsIs, MENU);
        expect(
            "the first row",
            next(&mut stream).await.transpose()?,
            Some(7),
        )?;
        expect("after it", next(&mut stream).await.transpose()?, None)?;
        Ok(node == "primary")
    };
    let on_the_primary = || db.session().preference(Preference::Primary);
    // Several connections of each node prepare it, those in a transaction that only reads among them.
    let all = async || -> Result<()> {
        for _ in 0..20 {
            let (one, other, third) = (db.session(), db.session(), on_the_primary());
            let fallen = tokio::try_join!(read(&one), read(&other), read(&third))?;
            expect("on the primary", fallen, (false, false, true))?;
        }
        Ok(())
    };
    all().await?;
    for column in ["price", "tax", "vat"] {
        let sql = format!("alter table menu add column {column} bigint");
        site.execute(0, &sql).await?;
        site.catch_up(1).await?;
        site.catch_up(2).await?;
        all().await?;
    }
    let status = db.cluster().status();
    expect("misjudged", status.misjudged, 0)?;
    // Each was run again where it was, and no node is the worse for it.
    expect("run elsewhere", status.failovers, 0)?;
    let are_well = status
        .nodes
        .iter()
        .all(|node| node.healthy && node.failures == 0);
    check(are_well, status.to_string())
}
