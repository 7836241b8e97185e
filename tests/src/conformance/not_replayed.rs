//! Reads of what a replica has not replayed yet, and logins that it does not accept yet: the primary is asked, and nothing
//! is remembered (contracts: `Work`, `Backend`).

use dbrouter::{Dialect, Reason, Router};

use super::{Handle, How, Mount, Need, Site, Subject, check, error, expect, last, until};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Classifies, Servers};
    for change in changes::<S>() {
        let name = format!("{}_is_asked_of_the_primary", change.name);
        mount.case(
            &name,
            &[Servers, Classifies],
            async move |site: &Site<S>| is_asked_of_the_primary(site, change).await,
        );
    }
    mount
        .case(
            "what_no_node_knows_is_an_error_and_not_remembered",
            &[Servers, Classifies],
            what_no_node_knows,
        )
        .case(
            "a_login_that_replicas_refuse_fails_no_read",
            &[Servers],
            refused_logins,
        );
}

/// A change that the primary makes while its replicas replay nothing, and a read that relies on it.
#[derive(Clone, Copy)]
struct Change {
    name: &'static str,
    /// What all servers have replayed, as the servers' administrator.
    before: &'static [&'static str],
    /// What only the primary has done, as the servers' administrator.
    change: &'static [&'static str],
    read: &'static str,
    answer: i64,
}

fn changes<S: Subject>() -> &'static [Change] {
    match S::DATABASE {
        Dialect::Postgres => &ON_POSTGRES,
        Dialect::MariaDb => &ON_MARIADB,
        _ => &[],
    }
}

const ON_POSTGRES: [Change; 12] = [
    // 42501; cityofaustin/atd-data-tech#10251.
    Change {
        name: "a_grant",
        before: &[
            "create table secret (id bigint)",
            "insert into secret values (7)",
        ],
        change: &["grant select on secret to app"],
        read: "select id from secret",
        answer: 7,
    },
    // 22P02
    Change {
        name: "a_label_of_an_enum",
        before: &[
            "create type mood as enum ('sad')",
            "create table day (mood mood)",
            "grant all on day to app",
        ],
        change: &[
            "alter type mood add value 'glad'",
            "insert into day values ('glad')",
        ],
        read: "select count(*) from day where mood = 'glad'",
        answer: 1,
    },
    // 42704
    Change {
        name: "a_collation",
        before: &[],
        change: &["create collation plain from \"C\""],
        read: "select count(*) from kv where 'a' < 'b' collate plain",
        answer: 64,
    },
    // 42883
    Change {
        name: "a_function",
        before: &[
            "create function price(int) returns bigint immutable language sql as 'select 1::bigint'",
        ],
        change: &[
            "create function price(text) returns bigint immutable language sql as 'select 7::bigint'",
        ],
        read: "select price('tea'::text)",
        answer: 7,
    },
    // P0001
    Change {
        name: "the_next_version_of_a_function",
        before: &[
            "create function grade(text) returns bigint stable language plpgsql as \
                   'begin raise exception ''unknown''; end'",
        ],
        change: &[
            "create or replace function grade(text) returns bigint stable language plpgsql as \
                   'begin return 7; end'",
        ],
        read: "select grade('tea')",
        answer: 7,
    },
    // 42P01, though it is the schema that is missing.
    Change {
        name: "a_schema",
        before: &[],
        change: &[
            "create schema shop",
            "create table shop.item as select 7::bigint as id",
            "grant usage on schema shop to app",
            "grant select on shop.item to app",
        ],
        read: "select id from shop.item",
        answer: 7,
    },
    // 42501, of a schema.
    Change {
        name: "a_grant_of_a_schema",
        before: &[
            "create schema vault",
            "create table vault.item as select 7::bigint as id",
            "grant select on vault.item to app",
        ],
        change: &["grant usage on schema vault to app"],
        read: "select id from vault.item",
        answer: 7,
    },
    // 42883: the operator that the extension's type has.
    Change {
        name: "an_extension",
        before: &[
            "create table tag (name text)",
            "insert into tag values ('a=>1')",
            "grant all on tag to app",
        ],
        change: &[
            "create extension hstore",
            "alter table tag alter name type hstore using name::hstore",
        ],
        read: "select count(*) from tag where name ? 'a'",
        answer: 1,
    },
    // 42704
    Change {
        name: "a_text_search_configuration",
        before: &[],
        change: &["create text search configuration shop (copy = simple)"],
        read: "select length(to_tsvector('shop', 'tea time'))::bigint",
        answer: 2,
    },
    // 55000
    Change {
        name: "the_filling_of_a_materialized_view",
        before: &[
            "create materialized view sums as select count(*) as rows from kv with no data",
            "grant select on sums to app",
        ],
        change: &["refresh materialized view sums"],
        read: "select rows from sums",
        answer: 64,
    },
    // 42704
    Change {
        name: "a_role",
        before: &[],
        change: &["create role auditor"],
        read: "select has_table_privilege('auditor', 'kv', 'select')::int::bigint",
        answer: 0,
    },
    // 42803: the other columns depend on the new primary key.
    Change {
        name: "a_primary_key",
        before: &[
            "create table item (id bigint not null, price bigint)",
            "insert into item values (1, 7)",
            "grant all on item to app",
        ],
        change: &["alter table item add primary key (id)"],
        read: "select price from item group by id",
        answer: 7,
    },
];

const ON_MARIADB: [Change; 8] = [
    // 1142; cityofaustin/atd-data-tech#10251.
    Change {
        name: "a_grant",
        before: &[
            "create database vault",
            "create table vault.secret (id bigint primary key)",
            "insert into vault.secret values (7)",
        ],
        change: &["grant select on vault.secret to app@'127.0.0.1'"],
        read: "select id from vault.secret",
        answer: 7,
    },
    // 1143
    Change {
        name: "a_grant_of_a_column",
        before: &[
            "create database vault",
            "create table vault.secret (id bigint primary key, price bigint)",
            "insert into vault.secret values (1, 7)",
            "grant select (id) on vault.secret to app@'127.0.0.1'",
        ],
        change: &["grant select (price) on vault.secret to app@'127.0.0.1'"],
        read: "select price from vault.secret",
        answer: 7,
    },
    // 1146 or 1142: the database is not there.
    Change {
        name: "a_database",
        before: &[],
        change: &[
            "create database shop",
            "create table shop.item (id bigint primary key)",
            "insert into shop.item values (7)",
            "grant select on shop.* to app@'127.0.0.1'",
        ],
        read: "select id from shop.item",
        answer: 7,
    },
    // 1356
    Change {
        name: "what_a_view_refers_to",
        before: &[
            "create table part (id bigint primary key)",
            "create view whole as select id from part",
            "drop table part",
        ],
        change: &[
            "create table part (id bigint primary key)",
            "insert into part values (7)",
        ],
        read: "select id from whole",
        answer: 7,
    },
    // 1449
    Change {
        name: "the_definer_of_a_view",
        before: &[
            "create table part (id bigint primary key)",
            "insert into part values (7)",
            "create definer = ghost@'%' view whole as select id from part",
        ],
        change: &[
            "create user ghost@'%'",
            "grant select on app.* to ghost@'%'",
        ],
        read: "select id from whole",
        answer: 7,
    },
    // 1191
    Change {
        name: "a_fulltext_index",
        before: &[
            "create table note (id bigint primary key, body text)",
            "insert into note values (7, 'green tea')",
        ],
        change: &["alter table note add fulltext (body)"],
        read: "select id from note where match (body) against ('tea')",
        answer: 7,
    },
    // 1735
    Change {
        name: "a_partition",
        before: &[
            "create table part (id bigint primary key) partition by range (id) (partition low values less than (5))",
        ],
        change: &[
            "alter table part add partition (partition high values less than (10))",
            "insert into part values (7)",
        ],
        read: "select id from part partition (high)",
        answer: 7,
    },
    // 1176
    Change {
        name: "an_index_that_is_asked_for",
        before: &[],
        change: &["create index by_version on kv (version)"],
        read: "select count(*) from kv use index (by_version)",
        answer: 64,
    },
];

async fn is_asked_of_the_primary<S: Subject>(site: &Site<S>, change: &Change) -> Result<()> {
    for sql in change.before {
        site.administer(0, sql).await?;
    }
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    let db = site.connect().await?;
    site.pause_all().await?;
    for sql in change.change {
        site.administer(0, sql).await?;
    }
    // Each in a session of its own, which need not see what somebody else has changed.
    for _ in 0..3 {
        let session = db.session();
        let answer = session.query(How::AsIs, change.read).await?;
        expect(change.read, answer, change.answer)?;
        let asked = ("primary".to_owned(), Reason::NotReplayed);
        expect(change.read, last(&session)?, asked)?;
    }
    site.resume_all().await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    // Connections that are asked again may remember that it was not there; the primary serves these, too.
    let db = site.connect().await?;
    for _ in 0..3 {
        let session = db.session();
        let answer = session.query(How::AsIs, change.read).await?;
        expect(change.read, answer, change.answer)?;
        let (_, reason) = last(&session)?;
        check(
            reason != Reason::NotReplayed && reason != Reason::Misrouted,
            format!("{}: {reason}", change.read),
        )?;
    }
    expect("misjudged", db.cluster().status().misjudged, 0)
}

async fn what_no_node_knows<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for _ in 0..3 {
        let session = db.session();
        error(
            session.query(How::AsIs, "select id from nowhere").await,
            "an unknown table",
        )?;
        let asked = ("primary".to_owned(), Reason::NotReplayed);
        expect("decision", last(&session)?, asked)?;
    }
    expect("misjudged", db.cluster().status().misjudged, 0)
}

/// The replicas have not replayed yet that the application may log in. The monitor's connections are older than that, so
/// it finds nothing wrong.
async fn refused_logins<S: Subject>(site: &Site<S>) -> Result<()> {
    let (shut, open) = match S::DATABASE {
        Dialect::Postgres => ("alter role app nologin", "alter role app login"),
        _ => (
            "alter user app@'127.0.0.1' account lock",
            "alter user app@'127.0.0.1' account unlock",
        ),
    };
    let db = site.connect().await?;
    site.administer(0, shut).await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    site.pause_all().await?;
    site.administer(0, open).await?;
    for _ in 0..10 {
        let session = db.session();
        expect("on the root handle", db.get(1).await?, Some(0))?;
        expect("on a session", session.get(1).await?, Some(0))?;
        expect("its node", last(&session)?.0, "primary".to_owned())?;
    }
    expect("misjudged", db.cluster().status().misjudged, 0)?;
    site.resume_all().await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    until(&db, "well again", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    let serves = crate::wait::until(async || {
        let session = db.session();
        session.get(1).await.is_ok_and(|version| version == Some(0))
            && last(&session).is_ok_and(|(node, _)| node != "primary")
    });
    check(serves.await, "the replicas do not serve again")
}
