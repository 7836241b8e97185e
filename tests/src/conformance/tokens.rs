//! What is handed on from session to session, between processes (contracts: `Token`, `SessionState`). Two routers
//! over the same servers have no more in common than two processes have.

use dbrouter::{Preference, Reason, Token};

use super::{Handle, Mount, Need, Site, Statements, Subject, body, check, expect, last, until};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::Servers;
    mount
        .case("who_wrote_nothing_has_none", &[], wrote_nothing)
        .case("a_write_is_seen_elsewhere", &[], seen_elsewhere)
        .case("without_one_the_past_is_shown", &[Servers], stale_without)
        .case(
            "whichever_replica_has_it_serves",
            &[Servers],
            whichever_replica,
        )
        .case(
            "keep_nobody_on_the_primary_for_long",
            &[Servers],
            not_pinned,
        )
        .case("of_two_parents_show_both", &[], two_parents)
        .case("of_reads_never_go_back", &[Servers], reads_never_go_back)
        .case("a_transaction_is_in_it", &[], of_a_transaction)
        .case("who_uses_the_root_has_one_too", &[], of_the_root)
        .case("an_unreadable_one_needs_all_of_now", &[], unreadable)
        .case("a_strangers_one_costs_one_round", &[Servers], strangers)
        .case(
            "a_router_without_replicas_has_them",
            &[Servers],
            without_replicas,
        )
        .case("are_under_80_characters", &[], short);
}

/// The session's token, as it arrives elsewhere.
async fn token<H: Handle>(session: &H) -> Result<Token> {
    let token = session.token().await.ok_or("there is no token")?;
    Ok(token.to_string().parse()?)
}

async fn wrote_nothing<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    expect("at first", session.token().await, None)?;
    expect(
        "with reads, at first",
        session.token_with_reads().await,
        None,
    )?;
    session.get(1).await?;
    expect("after a read", session.token().await, None)?;
    check(
        session.token_with_reads().await.is_some(),
        "what was read is in no token",
    )?;
    let other = db.session();
    other.set(1, 1).await?;
    expect("after another's write", session.token().await, None)?;
    session.observe(&token(&other).await?);
    expect("after another's token", session.token().await, None)
}

async fn seen_elsewhere<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    for version in 1..=50 {
        let session = here.session();
        session.set(1, version).await?;
        let next = elsewhere.session_from(&token(&session).await?);
        expect("version", next.get(1).await?, Some(version))?;
    }
    Ok(())
}

/// The case above can fail: this one is it, with the guarantee switched off.
async fn stale_without<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    for version in 1..=20 {
        let session = here.session();
        session.set(1, version).await?;
        token(&session).await?;
        let next = elsewhere.session();
        expect("a stale version", next.get(1).await?, Some(0))?;
    }
    Ok(())
}

async fn whichever_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause(1).await?;
    let session = here.session();
    session.set(1, 1).await?;
    let token = token(&session).await?;
    site.catch_up(2).await?;
    let fresh = async || {
        let next = elsewhere.session_from(&token);
        next.get(1).await.is_ok() && last(&next).is_ok_and(|(node, _)| node == site.name(2))
    };
    check(
        crate::wait::until(fresh).await,
        "the replica that has it is not known to",
    )?;
    let before = [
        site.reads(&elsewhere, 0).await?,
        site.reads(&elsewhere, 1).await?,
    ];
    for _ in 0..50 {
        let next = elsewhere.session_from(&token);
        expect("version", next.get(1).await?, Some(1))?;
        expect("node", last(&next)?.0, site.name(2).to_owned())?;
    }
    let after = [
        site.reads(&elsewhere, 0).await?,
        site.reads(&elsewhere, 1).await?,
    ];
    expect("reads elsewhere than on that replica", after, before)
}

async fn not_pinned<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    let session = here.session();
    session.set(1, 1).await?;
    let token = token(&session).await?;
    // Others go on writing: what they write is not in the token.
    let next = elsewhere.session_from(&token);
    let mut version = 1;
    let served = async || {
        version += 1;
        let written = here.set(2, version).await.is_ok();
        let read = next.get(1).await.is_ok_and(|version| version == Some(1));
        written && read && last(&next).is_ok_and(|(node, _)| node != "primary")
    };
    check(
        crate::wait::until(served).await,
        "the session stays on the primary",
    )
}

async fn two_parents<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    for version in 1..=10 {
        let (first, second) = (here.session(), elsewhere.session());
        first.set(1, version).await?;
        second.set(2, version).await?;
        let job = elsewhere.session_from(&token(&first).await?);
        job.observe(&token(&second).await?);
        expect("of the first", job.get(1).await?, Some(version))?;
        expect("of the second", job.get(2).await?, Some(version))?;
    }
    Ok(())
}

/// One user's requests are served by two processes in turn, while others write and one replica lags.
async fn reads_never_go_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let processes = [site.connect().await?, site.connect().await?];
    let writer = site.connect().await?;
    site.pause(1).await?;
    let mut token = Token::UNPLACED;
    let mut newest = 0;
    let mut stale = 0;
    for request in 1..=60 {
        writer.set(1, request).await?;
        let db = &processes[usize::from(request % 2 == 0)];
        let session = db.session_from(&token);
        // Sometimes a user looks at what has just been written.
        let version = match request % 5 {
            0 => session.preference(Preference::Primary).get(1).await?,
            _ => session.get(1).await?,
        };
        let version = version.ok_or("the key is gone")?;
        check(
            version >= newest,
            format!("from {newest} back to {version} at request {request}"),
        )?;
        newest = version;
        let next = session.token_with_reads().await;
        token = next.ok_or("what was read is in no token")?;
        let without = db.session().get(1).await?;
        stale += usize::from(without < Some(newest));
    }
    check(stale > 0, "without tokens, nobody went back in time either")
}

async fn of_a_transaction<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    let session = here.session();
    let writes = body(|transaction: &mut dyn Statements| {
        Box::pin(async {
            transaction.execute(&super::write(7)).await?;
            transaction
                .execute("update kv set version = 8 where id = 2")
                .await
        })
    });
    session.transact(writes).await?;
    let next = elsewhere.session_from(&token(&session).await?);
    expect("the first write", next.get(1).await?, Some(7))?;
    expect("the second write", next.get(2).await?, Some(8))
}

async fn of_the_root<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    expect("at first", here.token().await, None)?;
    here.set(1, 1).await?;
    // It is everybody's: elsewhere all code that knows nothing of sessions sees it from now on.
    elsewhere.observe(&token(&here).await?);
    expect("version", elsewhere.get(1).await?, Some(1))
}

async fn unreadable<S: Subject>(site: &Site<S>) -> Result<()> {
    let (here, elsewhere) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    let session = here.session();
    session.set(1, 1).await?;
    let text = token(&session).await?.to_string();
    for text in ["", "?", "AAAA", &text[1..], &text[..text.len() - 1]] {
        let token = text.parse().unwrap_or(Token::UNPLACED);
        let next = elsewhere.session_from(&token);
        expect("version", next.get(1).await?, Some(1))?;
    }
    Ok(())
}

async fn strangers<S: Subject>(site: &Site<S>) -> Result<()> {
    let stranger = Site::<S>::open_stranger().await?;
    let session = stranger.connect().await?.session();
    for version in 1..=50 {
        session.set(1, version).await?;
    }
    let token = token(&session).await?;
    let db = site.connect().await?;
    // It says more than this cluster has come to, or less; it is not compared.
    let next = db.session_from(&token);
    let served =
        async || next.get(1).await.is_ok() && last(&next).is_ok_and(|(node, _)| node != "primary");
    check(
        crate::wait::until(served).await,
        "a foreign token keeps the session on the primary",
    )?;
    site.pause_all().await?;
    db.session().set(1, 1).await?;
    let next = db.session_from(&token);
    expect("version", next.get(1).await?, Some(1))?;
    expect("why", last(&next)?.1, Reason::NotFresh)?;
    stranger.close();
    Ok(())
}

async fn without_replicas<S: Subject>(site: &Site<S>) -> Result<()> {
    let here = S::root(S::builder().primary(site.node(0)).connect().await?);
    let elsewhere = site.connect().await?;
    let session = here.session();
    session.set(1, 1).await?;
    let token = token(&session).await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    until(&elsewhere, "fresh", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    // It says of a place, so who comes later need not ask.
    let served = async || {
        let next = elsewhere.session_from(&token);
        next.get(1).await.is_ok() && last(&next).is_ok_and(|(node, _)| node != "primary")
    };
    check(
        crate::wait::until(served).await,
        "the session stays on the primary",
    )?;
    let next = elsewhere.session_from(&token);
    expect("version", next.get(1).await?, Some(1))
}

async fn short<S: Subject>(site: &Site<S>) -> Result<()> {
    let session = site.connect().await?.session();
    session.set(1, 1).await?;
    let text = session
        .token()
        .await
        .ok_or("there is no token")?
        .to_string();
    check(
        text.len() < 80,
        format!("{text} has {} characters", text.len()),
    )?;
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    check(
        text.chars().all(safe),
        format!("{text} is not safe in URLs"),
    )
}
