use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    read: ms(50),
    write: ms(80),
    patience: ms(100),
    settle: ms(10),
    visibility: Visibility::PrimaryFirst,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn on(server: u32, role: Role) -> Option<Served> {
    Some(Served {
        server: ServerId(server),
        role,
    })
}

const PRIMARY: Option<Served> = on(0, Role::Primary);
const FIRST: Option<Served> = on(1, Role::Replica);
const SECOND: Option<Served> = on(2, Role::Replica);
/// The first replica, promoted.
const PROMOTED: Option<Served> = on(1, Role::Primary);

/// An operation of session 1 on key 1 that takes a millisecond.
fn one(begin: u64, outcome: Outcome, served: Option<Served>) -> Operation {
    Operation {
        session: SessionId(1),
        key: Key(1),
        begin: ms(begin),
        end: ms(begin + 1),
        served,
        outcome,
    }
}

fn saw(begin: u64, version: u64, served: Option<Served>) -> Operation {
    one(begin, Outcome::Saw(Version(version)), served)
}

fn wrote(begin: u64, version: u64, served: Option<Served>) -> Operation {
    one(begin, Outcome::Wrote(Version(version)), served)
}

fn failed(begin: u64) -> Operation {
    one(begin, Outcome::ReadFailed, None)
}

impl Operation {
    fn of(mut self, session: u64) -> Self {
        self.session = SessionId(session);
        self
    }

    fn about(mut self, key: u64) -> Self {
        self.key = Key(key);
        self
    }

    fn until(mut self, end: u64) -> Self {
        self.end = ms(end);
        self
    }
}

fn history(operations: &[Operation]) -> History {
    let mut history = History::new(ServerId(0));
    for operation in operations {
        history.push(*operation);
    }
    history
}

fn rules(history: &History) -> Vec<Rule> {
    let violations = history.check(&LIMITS);
    violations.iter().map(|violation| violation.rule).collect()
}

fn promoted(history: &mut History, at: u64, server: u32, kept: u64) {
    history.promoted(Promotion {
        at: ms(at),
        server: ServerId(server),
        survived: HashMap::from([(Key(1), Version(kept))]),
        predecessor: Predecessor::Gone,
    });
}

fn unable(history: &mut History, server: u32, from: u64, to: u64, of: Ability) {
    history.unable(Outage {
        server: ServerId(server),
        from: ms(from),
        to: ms(to),
        of,
    });
}

fn handed_over(history: &mut History, taken: u64, given: u64, tells: Told) {
    history.handed_over(Handover {
        from: SessionId(1),
        taken: ms(taken),
        to: SessionId(2),
        given: ms(given),
        tells,
    });
}

#[track_caller]
fn breaks(rule: Rule, history: &History) {
    assert_eq!(rules(history), [rule]);
}

#[track_caller]
fn keeps(history: &History) {
    let violations = history.check(&LIMITS);
    assert!(violations.is_empty(), "{}", violations[0]);
}

#[test]
fn a_session_reads_its_writes() {
    breaks(
        Rule::ReadYourWrites,
        &history(&[wrote(1, 1, PRIMARY), saw(3, 0, FIRST)]),
    );
    // As soon as the write has ended.
    breaks(
        Rule::ReadYourWrites,
        &history(&[wrote(1, 1, PRIMARY), saw(2, 0, FIRST)]),
    );
    keeps(&history(&[wrote(1, 1, PRIMARY), saw(2, 1, FIRST)]));
    // The read began before the write had ended; it is another's; it is about something else.
    keeps(&history(&[wrote(1, 1, PRIMARY).until(4), saw(3, 0, FIRST)]));
    keeps(&history(&[wrote(1, 1, PRIMARY), saw(3, 0, FIRST).of(2)]));
    keeps(&history(&[wrote(1, 1, PRIMARY), saw(3, 0, FIRST).about(2)]));
    // Nobody said that it was written.
    keeps(
        &history(&[
            one(1, Outcome::WriteUnknown, None).until(90),
            saw(91, 0, FIRST),
        ])
        .with_outage_of_the_primary(),
    );
}

impl History {
    fn with_outage_of_the_primary(mut self) -> Self {
        unable(&mut self, 0, 0, 1000, Ability::Service);
        for operation in &mut self.operations {
            operation.end = operation.end.min(operation.begin + ms(40));
        }
        self
    }
}

#[test]
fn what_is_told_is_seen() {
    let operations = [wrote(1, 1, PRIMARY), saw(6, 0, FIRST).of(2)];
    for tells in [Told::Writes, Told::WritesAndReads] {
        let mut told = history(&operations);
        handed_over(&mut told, 3, 5, tells);
        breaks(Rule::ReadYourWrites, &told);
        // The token was taken before the write had ended, or came after the read had begun.
        let mut early = history(&operations);
        handed_over(&mut early, 1, 5, tells);
        keeps(&early);
        let mut late = history(&operations);
        handed_over(&mut late, 3, 7, tells);
        keeps(&late);
    }
    let operations = [
        wrote(1, 1, PRIMARY).of(3),
        saw(3, 1, FIRST),
        saw(7, 0, SECOND).of(2),
    ];
    let mut told = history(&operations);
    handed_over(&mut told, 5, 6, Told::WritesAndReads);
    breaks(Rule::MonotonicReads, &told);
    let mut told = history(&operations);
    handed_over(&mut told, 5, 6, Told::Writes);
    keeps(&told);
}

#[test]
fn time_does_not_go_back() {
    let written = [wrote(1, 1, PRIMARY).of(2), wrote(3, 2, PRIMARY).of(2)];
    let with = |reads: &[Operation]| history(&[&written[..], reads].concat());
    breaks(
        Rule::MonotonicReads,
        &with(&[saw(5, 2, FIRST), saw(7, 1, SECOND)]),
    );
    keeps(&with(&[saw(5, 1, FIRST), saw(7, 2, SECOND)]));
    keeps(&with(&[saw(5, 2, FIRST), saw(7, 2, SECOND)]));
    // They overlap.
    keeps(&with(&[saw(5, 2, FIRST).until(8), saw(7, 1, SECOND)]));
    // In between there was another one.
    breaks(
        Rule::MonotonicReads,
        &with(&[saw(5, 2, FIRST), saw(7, 2, SECOND), saw(9, 1, FIRST)]),
    );
}

#[test]
fn a_replica_may_show_first_what_nobody_was_told() {
    let operations = |acknowledged: u64| {
        history(&[
            wrote(1, 1, PRIMARY).of(2).until(acknowledged),
            saw(3, 1, FIRST),
            saw(5, 0, PRIMARY),
        ])
    };
    let logged = Limits {
        visibility: Visibility::Logged,
        ..LIMITS
    };
    assert_eq!(rules(&operations(8)), [Rule::MonotonicReads]);
    assert!(operations(8).check(&logged).is_empty());
    // Once somebody has been told, there is no excuse.
    let told: Vec<_> = operations(4).check(&logged);
    assert_eq!(told[0].rule, Rule::MonotonicReads);
    // Nor for a replica.
    let mut replica = operations(8);
    replica.operations[2].served = SECOND;
    assert_eq!(replica.check(&logged)[0].rule, Rule::MonotonicReads);
}

#[test]
fn what_was_acknowledged_is_on_the_primary() {
    let operations = [wrote(1, 1, PRIMARY), saw(3, 0, PRIMARY).of(2)];
    breaks(Rule::LostWrite, &history(&operations));
    // To another session, an operation that begins when another ends does not come after it.
    keeps(&history(&[wrote(1, 1, PRIMARY), saw(2, 0, PRIMARY).of(2)]));
    keeps(&history(&[wrote(1, 1, PRIMARY), saw(3, 1, PRIMARY).of(2)]));
    let mut later = history(&operations);
    promoted(&mut later, 2, 1, 0);
    // Who was the primary shows nothing that need be there.
    keeps(&later);
}

#[test]
fn what_was_acknowledged_remains() {
    let with = |remained: u64| {
        let mut history = history(&[wrote(1, 1, PRIMARY), wrote(3, 2, PRIMARY).of(2)]);
        history.remained(HashMap::from([(Key(1), Version(remained))]));
        history
    };
    breaks(Rule::LostWrite, &with(1));
    keeps(&with(2));
    let mut lost = with(1);
    promoted(&mut lost, 10, 1, 1);
    keeps(&lost);
    let mut both = with(0);
    promoted(&mut both, 10, 1, 1);
    breaks(Rule::LostWrite, &both);
}

#[test]
fn what_dies_with_its_server_need_not_be_seen() {
    let operations = [
        wrote(1, 1, PRIMARY),
        wrote(3, 2, PRIMARY),
        saw(30, 1, SECOND),
    ];
    breaks(Rule::ReadYourWrites, &history(&operations));
    let with = |kept: u64| {
        let mut history = history(&operations);
        promoted(&mut history, 10, 1, kept);
        history
    };
    keeps(&with(1));
    breaks(Rule::ReadYourWrites, &with(2));
    // Not before it has happened.
    let mut later = history(&operations);
    promoted(&mut later, 40, 1, 1);
    breaks(Rule::ReadYourWrites, &later);
    // What was before that must still be seen.
    let mut older = history(&[operations[0], operations[1], saw(30, 0, SECOND)]);
    promoted(&mut older, 10, 1, 1);
    breaks(Rule::ReadYourWrites, &older);
}

#[test]
fn a_deposed_server_shows_the_past() {
    // Its number is the highest, and yet it lacks what the promoted one has taken.
    let mut history = history(&[
        wrote(1, 1, PRIMARY).of(2),
        wrote(11, 3, PROMOTED),
        wrote(12, 4, PRIMARY).of(2),
        saw(14, 4, PRIMARY),
    ]);
    promoted(&mut history, 10, 1, 1);
    breaks(Rule::ReadYourWrites, &history);
    history.operations[3] = saw(14, 4, PRIMARY).of(2);
    keeps(&history);
}

#[test]
fn who_has_not_met_the_promoted_server_may_believe_its_predecessor() {
    let with = |predecessor: Predecessor, begin: u64| {
        let mut history = history(&[
            wrote(1, 1, PRIMARY),
            wrote(11, 2, PROMOTED),
            saw(begin, 1, SECOND),
        ]);
        promoted(&mut history, 10, 1, 1);
        history.promotions[1].predecessor = predecessor;
        history
    };
    breaks(Rule::ReadYourWrites, &with(Predecessor::Gone, 19));
    keeps(&with(Predecessor::Answers, 19));
    breaks(Rule::ReadYourWrites, &with(Predecessor::Answers, 20));
    let mut unmet = with(Predecessor::Answers, 20);
    unable(&mut unmet, 1, 14, 15, Ability::Service);
    keeps(&unmet);
    // What was there before must be seen.
    let mut older = with(Predecessor::Answers, 19);
    older.operations[2].outcome = Outcome::Saw(Version(0));
    older.operations.remove(1);
    breaks(Rule::ReadYourWrites, &older);
}

#[test]
fn no_replica_writes() {
    breaks(Rule::WriteOnReplica, &history(&[wrote(1, 1, FIRST)]));
    keeps(&history(&[wrote(1, 1, PRIMARY)]));
    let mut executed = history(&[one(1, Outcome::WriteUnknown, None)]).with_outage_of_the_primary();
    let execution = |served: Served| Execution {
        operation: 0,
        version: Version(1),
        served,
        at: ms(1),
    };
    executed.executed(FIRST.map(execution).into_iter().collect());
    breaks(Rule::WriteOnReplica, &executed);
    executed.executed(PRIMARY.map(execution).into_iter().collect());
    keeps(&executed);
}

#[test]
fn each_write_is_carried_out_once() {
    let execution = |version: u64| Execution {
        operation: 0,
        version: Version(version),
        served: Served {
            server: ServerId(0),
            role: Role::Primary,
        },
        at: ms(1),
    };
    let with = |outcome: Outcome, versions: &[u64]| {
        let mut history = history(&[one(1, outcome, PRIMARY)]).with_outage_of_the_primary();
        history.executed(versions.iter().copied().map(execution).collect());
        rules(&history)
    };
    let wrote = Outcome::Wrote(Version(1));
    let twice = [Rule::ExactlyOnce];
    assert_eq!(with(wrote, &[1]), []);
    assert_eq!(with(wrote, &[]), twice);
    assert_eq!(with(wrote, &[1, 2]), twice);
    assert_eq!(with(Outcome::WriteUnknown, &[]), []);
    assert_eq!(with(Outcome::WriteUnknown, &[1]), []);
    assert_eq!(with(Outcome::WriteUnknown, &[1, 2]), twice);
    assert_eq!(with(Outcome::WriteRefused, &[]), []);
    assert_eq!(with(Outcome::WriteRefused, &[1]), twice);
}

#[test]
fn nothing_is_invented() {
    breaks(Rule::Invented, &history(&[saw(1, 7, FIRST)]));
    keeps(&history(&[saw(1, 0, FIRST)]));
    keeps(&history(&[wrote(1, 7, PRIMARY).until(9), saw(2, 7, FIRST)]));
    // It may have been this one, unless the servers say that it was not.
    let mut guess = history(&[one(1, Outcome::WriteUnknown, None), saw(3, 7, FIRST)]);
    guess = guess.with_outage_of_the_primary();
    keeps(&guess);
    guess.executed(Vec::new());
    breaks(Rule::Invented, &guess);
}

#[test]
fn no_read_fails_while_it_can_be_served() {
    let with = |outages: &[(u32, u64, u64, Ability)], operations: &[Operation]| {
        let mut history = history(operations);
        for (server, from, to, of) in outages {
            unable(&mut history, *server, *from, *to, *of);
        }
        history
    };
    let service = Ability::Service;
    let proof = Ability::Proof;
    breaks(Rule::FailedRead, &with(&[], &[failed(20)]));
    keeps(&with(&[(0, 19, 30, service)], &[failed(20)]));
    // It went in the middle; it came back a moment ago; it went long ago.
    keeps(&with(&[(0, 20, 30, service)], &[failed(20).until(22)]));
    keeps(&with(&[(0, 1, 11, service)], &[failed(20)]));
    breaks(
        Rule::FailedRead,
        &with(&[(0, 1, 10, service)], &[failed(20)]),
    );
    breaks(
        Rule::FailedRead,
        &with(&[(0, 21, 30, service)], &[failed(20)]),
    );
    // A replica is there for whoever has done nothing yet.
    let gone = (0, 4, 30, service);
    let unproved = (1, 4, 30, proof);
    breaks(Rule::FailedRead, &with(&[gone, unproved], &[failed(20)]));
    keeps(&with(&[gone, (1, 1, 30, service)], &[failed(20)]));
    // For who has done something, if it can show that it will do.
    let other = saw(1, 0, PRIMARY);
    keeps(&with(&[gone, unproved], &[other, failed(20)]));
    breaks(
        Rule::FailedRead,
        &with(&[gone, (1, 4, 10, proof)], &[other, failed(20)]),
    );
    // And for who has read nowhere else, unless it was away meanwhile.
    let here = saw(1, 0, FIRST);
    breaks(
        Rule::FailedRead,
        &with(&[gone, unproved], &[here, failed(20)]),
    );
    keeps(&with(
        &[gone, unproved, (1, 5, 6, service)],
        &[here, failed(20)],
    ));
    keeps(&with(
        &[gone, unproved, (2, 4, 30, proof)],
        &[here, saw(3, 0, SECOND), failed(20)],
    ));
    // Or had been a moment before, which may be noticed later.
    let away = |until| {
        [
            (0, 4, 50, service),
            (1, 4, 50, proof),
            (1, 2, until, service),
        ]
    };
    let late = [saw(15, 0, FIRST), failed(30)];
    keeps(&with(&away(6), &late));
    breaks(Rule::FailedRead, &with(&away(5), &late));
}

#[test]
fn a_promoted_server_has_a_moment() {
    let with = |failure: Operation| {
        let mut history = history(&[failure]);
        promoted(&mut history, 20, 1, 0);
        unable(&mut history, 0, 15, 100, Ability::Service);
        history
    };
    let refused = |begin: u64| one(begin, Outcome::WriteRefused, None);
    keeps(&with(refused(29)));
    breaks(Rule::FailedWrite, &with(refused(30)));
    keeps(&with(refused(14).until(16)));
    breaks(Rule::FailedWrite, &with(refused(13).until(15)));
    breaks(
        Rule::FailedWrite,
        &with(one(30, Outcome::WriteUnknown, None)),
    );
    // The server is there all the time, so it may be read from.
    breaks(Rule::FailedRead, &with(failed(30)));
}

#[test]
fn a_predecessor_gets_no_more_writes() {
    let with = |begin: u64| {
        let mut history = history(&[wrote(begin, 1, PRIMARY)]);
        promoted(&mut history, 20, 1, 0);
        history
    };
    keeps(&with(29));
    breaks(Rule::DeposedPrimary, &with(30));
    let mut unreachable = with(30);
    unable(&mut unreachable, 1, 22, 40, Ability::Service);
    keeps(&unreachable);
}

#[test]
fn nothing_takes_too_long() {
    let without = |server: u32, operation: Operation| {
        let mut history = history(&[operation]);
        unable(&mut history, server, 20, 21, Ability::Service);
        history
    };
    let read = |end: u64| saw(1, 0, FIRST).until(end);
    keeps(&history(&[read(51)]));
    breaks(Rule::Latency, &history(&[read(52)]));
    breaks(Rule::Latency, &without(0, read(52)));
    let write = |end: u64| wrote(1, 1, PRIMARY).until(end);
    keeps(&history(&[write(81)]));
    breaks(Rule::Latency, &history(&[write(82)]));
    breaks(Rule::Latency, &without(1, write(82)));
    // Nobody could do it sooner, but nobody waits for ever.
    keeps(&without(0, write(101)));
    breaks(Rule::Latency, &without(0, write(102)));
    let mut nobody = without(0, read(101));
    unable(&mut nobody, 1, 20, 21, Ability::Service);
    keeps(&nobody);
    nobody.operations[0].end = ms(102);
    breaks(Rule::Latency, &nobody);
}

#[test]
fn who_reads_the_report_finds_the_operations() {
    let history = history(&[wrote(1, 1, PRIMARY), saw(3, 0, FIRST)]);
    let text = history.check(&LIMITS)[0].to_string();
    assert_eq!(
        text,
        "ReadYourWrites: version 0 was seen by a session that had written version 1\n  \
         #0 1ms to 2ms, session 1: wrote version 1 of key 1, on primary 0\n  \
         #1 3ms to 4ms, session 1: saw version 0 of key 1, on replica 1"
    );
}

/// One step of chance: whose, about what, how long it takes, how far back it looks.
type Step = (u64, u64, u64, u64, bool);

/// A history of one primary, in which reads see what was there a while ago.
fn of_chance(steps: &[Step], promotion: Option<(u64, u64)>) -> History {
    let mut made = History::new(ServerId(0));
    let mut log: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut version = 0;
    for (index, (session, key, duration, back, writes)) in steps.iter().enumerate() {
        let begin = 2 * index as u64;
        let versions = log.entry(*key).or_insert_with(|| vec![0]);
        let operation = if *writes {
            version += 1;
            versions.push(version);
            wrote(begin, version, PRIMARY)
        } else {
            let back = versions.len().saturating_sub(1 + *back as usize);
            saw(begin, versions[back], FIRST)
        };
        let operation = operation.of(*session).about(*key);
        made.push(operation.until(begin + 1 + duration));
    }
    if let Some((at, kept)) = promotion {
        let survived = (0..3).map(|key| (Key(key), Version(kept)));
        made.promoted(Promotion {
            at: ms(at),
            server: ServerId(1),
            survived: survived.collect(),
            predecessor: Predecessor::Gone,
        });
    }
    made
}

/// The same rules by their definition: each read against each operation before it in its session.
fn by_definition(history: &History) -> BTreeSet<(Rule, usize)> {
    let lost = |version: Version| {
        let promotion = history.promotions.get(1)?;
        let kept = promotion.survived[&Key(0)];
        (version > kept).then_some((promotion.at, kept))
    };
    let mut broken = BTreeSet::new();
    for (index, read) in history.operations.iter().enumerate() {
        let Outcome::Saw(version) = read.outcome else {
            continue;
        };
        let amounts_to = match lost(version) {
            Some((at, kept)) if at <= read.end => kept,
            _ => version,
        };
        for before in &history.operations {
            let comes_before = before.session == read.session
                && before.key == read.key
                && before.end <= read.begin;
            let (rule, needed) = match before.outcome {
                Outcome::Wrote(version) => (Rule::ReadYourWrites, version),
                Outcome::Saw(version) => (Rule::MonotonicReads, version),
                _ => continue,
            };
            let lasts = lost(needed).is_none_or(|(at, _)| at > read.end);
            if comes_before && lasts && needed > amounts_to {
                broken.insert((rule, index));
            }
        }
    }
    broken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// One pass finds what each with each finds.
    #[test]
    fn the_rules_are_their_definition(
        steps in proptest::collection::vec((0..3_u64, 0..3_u64, 0..6_u64, 0..3_u64, any::<bool>()), 0..60),
        promotion in proptest::option::of((0..120_u64, 0..30_u64)),
    ) {
        let history = of_chance(&steps, promotion);
        let found: BTreeSet<_> = history
            .check(&LIMITS)
            .into_iter()
            .filter(|violation| matches!(violation.rule, Rule::ReadYourWrites | Rule::MonotonicReads))
            .map(|violation| (violation.rule, violation.operations[1].0))
            .collect();
        prop_assert_eq!(found, by_definition(&history));
    }

    /// What one server does alone breaks nothing, and one read that is changed to see less does.
    #[test]
    fn one_server_alone_is_right(
        steps in proptest::collection::vec((0..3_u64, 0..3_u64, Just(0_u64), Just(0_u64), any::<bool>()), 1..60),
        changed in any::<prop::sample::Index>(),
    ) {
        let mut history = of_chance(&steps, None);
        prop_assert!(history.check(&LIMITS).is_empty());
        let changed = changed.index(steps.len());
        let operation = history.operations[changed];
        let by_same = |other: &&Operation| other.session == operation.session
            && other.key == operation.key
            && other.outcome != Outcome::Saw(Version(0));
        if let Outcome::Saw(_) = operation.outcome {
            history.operations[changed].outcome = Outcome::Saw(Version(0));
            let knew_more = history.operations[..changed].iter().any(|other| by_same(&other));
            prop_assert_eq!(history.check(&LIMITS).is_empty(), !knew_more);
        }
    }
}

/// A hundred thousand operations of a thousand sessions take no longer than a moment: a checker that compared each with
/// each would take hours.
#[test]
fn long_histories_are_checked_in_one_pass() {
    let steps: Vec<Step> = (0..100_000_u64)
        .map(|index| (index % 1009, index % 13, index % 5, 0, index % 7 == 0))
        .collect();
    keeps(&of_chance(&steps, None));
}
