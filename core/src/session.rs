//! One unit of work: what it must see, and the replica that it stays with.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::affinity::Slot;
use crate::causality::{Causality, Needs, Writes};
use crate::clock::Instant;
use crate::context::Context;
use crate::decision::Reason;
use crate::hold::Hold;
use crate::lean::AtomicLean;
use crate::live::Epoch;
use crate::node::NodeId;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::vocabulary::{Intent, Preference};

/// A session: one unit of work, such as a web request or a job. Clones are the same session.
///
/// # Guarantees
///
/// * **Read your writes**: a read that begins after a write of the session was acknowledged sees it.
/// * **Monotonic reads**: a read that begins after another has ended sees no older state, whichever
///   nodes served the two. (Not the root session's: its reads are spread, statement by statement.)
///
/// Sessions are independent: other sessions' writes do not send this one's reads to the primary. The root session,
/// which is shared by everybody who uses the root handle, sees the writes of all: what any session of the router wrote
/// is one of its own writes.
#[derive(Clone)]
pub struct SessionState(Arc<Inner>);

struct Inner {
    id: u64,
    kind: Kind,
    context: Arc<Context>,
    causality: Causality,
    /// What this session wrote, if it is a unit of work of its own: see [`SessionState::writes`].
    writes: Writes,
    /// The epoch of the replica that the session stays with; zero if there is none.
    choice: AtomicU32,
    /// Where reads go that do not say so themselves.
    lean: AtomicLean,
    /// Reads in a row that found no fresh replica.
    fallbacks: AtomicU32,
    /// The node, intent and reason of the last decision, for whoever asks.
    decision: AtomicU64,
    /// For how long a connection is kept between statements, if that was said of this session.
    hold: AtomicU64,
    /// The connection that is kept, once there was one.
    slot: OnceLock<Option<Arc<Slot>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Everybody's who uses the root handle.
    Root,
    /// One unit of work's own.
    Unit,
    /// A unit of work that is done in the root's name.
    Branch,
}

impl SessionState {
    pub(crate) fn root(context: &Arc<Context>) -> Self {
        Self::new(Kind::Root, context)
    }

    pub(crate) fn unit(context: &Arc<Context>) -> Self {
        Self::new(Kind::Unit, context)
    }

    /// A session that must see what the root session must, with reads and a replica of its own. Its writes are the
    /// root's: it is the same handle.
    pub(crate) fn branch(&self) -> Self {
        Self::new(Kind::Branch, &self.0.context)
    }

    fn new(kind: Kind, context: &Arc<Context>) -> Self {
        Self(Arc::new(Inner {
            id: context.next_session(),
            kind,
            context: Arc::clone(context),
            causality: Causality::new(),
            writes: Writes::new(),
            choice: AtomicU32::new(0),
            lean: AtomicLean::new(),
            fallbacks: AtomicU32::new(0),
            decision: AtomicU64::new(0),
            hold: AtomicU64::new(Hold::pack(None)),
            slot: OnceLock::new(),
        }))
    }

    /// A session of its own that needs what this one needs now, and stays with the same replica.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(self.0.kind, &self.0.context);
        copy.0.causality.assume(&self.0.causality);
        copy.0.writes.assume(&self.0.writes);
        copy.0.lean.assume(&self.0.lean);
        copy.0.choice.store(self.choice().into(), Ordering::Release);
        copy
    }

    /// Whether this is the session shared by everybody who uses the router's root handle.
    #[must_use]
    #[inline]
    pub fn is_root(&self) -> bool {
        self.0.kind == Kind::Root
    }

    /// The instant as of which a node that the session has not read from must be fresh to serve it.
    #[must_use]
    pub fn needs(&self) -> Instant {
        self.causal_needs().anywhere()
    }

    /// For how long the session keeps the replica connection that it reads from, between statements,
    /// whichever handle they come through. Defaults to what the router's settings say. The root session keeps
    /// none.
    pub fn hold_connection(&self, hold: Hold) {
        self.0.hold.store(Hold::pack(Some(hold)), Ordering::Relaxed);
    }

    /// What was said of that, if anything was.
    pub(crate) fn stated_hold(&self) -> Option<Hold> {
        Hold::unpack(self.0.hold.load(Ordering::Relaxed))
    }

    /// Where the session keeps its connection, if it has kept one yet.
    #[inline]
    pub(crate) fn slot(&self) -> Option<&Arc<Slot>> {
        self.0.slot.get()?.as_ref()
    }

    /// Where the session keeps its connection from now on.
    pub(crate) fn slot_to_fill(&self) -> Option<&Arc<Slot>> {
        let new = || Slot::new(self.id()).map(Arc::new);
        self.0.slot.get_or_init(new).as_ref()
    }

    /// The session writes, and reads from the primary for now: its connection to a replica is of no use.
    pub(crate) fn give_connection_back(&self) {
        if let Some(slot) = self.slot() {
            slot.give_back();
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// What its router's clock shows.
    pub(crate) fn now(&self) -> Instant {
        self.0.context.now()
    }

    pub(crate) fn belongs_to(&self, context: &Arc<Context>) -> bool {
        Arc::ptr_eq(&self.0.context, context)
    }

    #[inline]
    pub(crate) fn causal_needs(&self) -> Needs {
        let needs = self.0.causality.needs();
        match self.0.kind {
            Kind::Unit => needs.as_of(self.0.writes.ended()),
            Kind::Root | Kind::Branch => needs.as_of(self.0.context.root.instant()),
        }
    }

    /// The writes that the session must see: its own, or everybody's.
    #[inline]
    fn writes(&self) -> &Writes {
        match self.0.kind {
            Kind::Unit => &self.0.writes,
            Kind::Root | Kind::Branch => &self.0.context.root.writes,
        }
    }

    /// What this session does with its writes it does with everybody's as well, which the root must see.
    #[inline]
    fn for_it_and_the_root(&self, act: impl Fn(&Writes)) {
        act(&self.0.context.root.writes);
        if self.0.kind == Kind::Unit {
            act(&self.0.writes);
        }
    }

    /// A write ended now: acknowledged, or with an outcome that is not known.
    pub(crate) fn wrote(&self) {
        let now = self.0.context.after_now();
        self.for_it_and_the_root(|writes| writes.end(now));
        self.0.lean.wrote();
        self.0.context.wake.ask(now);
    }

    /// When the last write ended that the session must see, if there was one: now, while a connection is out on which
    /// something may just have been written.
    pub(crate) fn written(&self) -> Option<Instant> {
        if self.has_open_writer() {
            return Some(self.0.context.after_now());
        }
        let written = self.writes().ended();
        (written != Instant::VOID).then_some(written)
    }

    /// The session must see what a node shows that is fresh as of `instant`.
    pub(crate) fn require(&self, instant: Instant) {
        match self.0.kind {
            Kind::Unit => self.0.causality.require(instant),
            Kind::Root | Kind::Branch => self.0.context.root.observe(instant),
        }
        self.0.context.wake.ask(instant);
    }

    /// Where the session's reads go from now on, unless they say so themselves.
    #[cfg(feature = "tower")]
    pub(crate) fn lean(&self, lean: crate::lean::Lean) {
        self.0.lean.set(lean);
    }

    /// Where its reads go now that do not say so themselves, if the session says so.
    #[inline]
    pub(crate) fn preference(&self) -> Option<Preference> {
        self.0.lean.preference()
    }

    /// A read on the node in `epoch` ended now.
    pub(crate) fn read(&self, epoch: Epoch, reason: Reason) {
        if self.is_root() {
            return;
        }
        let now = self.0.context.after_now();
        self.0.causality.read(epoch, now);
        if matches!(reason, Reason::NotFresh | Reason::NotReplayed) {
            // What the primary has just shown must be on a replica before the next read may go there.
            self.0.context.wake.ask(self.needs());
        }
    }

    /// Whether a connection is out that may be writing what the session must see.
    #[inline]
    pub(crate) fn has_open_writer(&self) -> bool {
        self.writes().has_open()
    }

    pub(crate) fn open_writer(&self) {
        self.give_connection_back();
        self.for_it_and_the_root(Writes::open);
    }

    /// A connection that may have been writing is back. What it wrote is needed before it is no
    /// longer known to be out.
    pub(crate) fn close_writer(&self) {
        self.wrote();
        self.close_silent_writer();
    }

    /// A connection that is known to have written nothing is back.
    pub(crate) fn close_silent_writer(&self) {
        self.for_it_and_the_root(Writes::close);
    }

    /// Something that the router cannot see may write from now on, until the guard is dropped: the session's
    /// reads and the root's go to the primary, and then all that may have been written counts as written. For adapters
    /// whose ORM hands out something of its own.
    pub fn hold_open(&self) -> OpenWriter {
        self.open_writer();
        OpenWriter(self.clone())
    }

    /// The epoch of the replica that the session stays with; zero if there is none.
    #[inline]
    pub(crate) fn choice(&self) -> Epoch {
        // Only ever stored from an `Epoch`.
        self.0.choice.load(Ordering::Acquire) as Epoch
    }

    /// Stays with the replica in `next` instead of the one in `current`, unless another statement of
    /// the session has chosen in the meantime: then that choice is the answer.
    pub(crate) fn choose(&self, current: Epoch, next: Epoch) -> Result<(), Epoch> {
        self.0
            .choice
            .compare_exchange(
                current.into(),
                next.into(),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(drop)
            .map_err(|other| other as Epoch)
    }

    /// A read of the session found no fresh replica, or one did.
    pub(crate) fn count_fallback(&self, reason: Reason) {
        if reason == Reason::NotFresh {
            self.0.fallbacks.fetch_add(1, Ordering::Relaxed);
        } else if self.fallbacks() > 0 {
            self.0.fallbacks.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn fallbacks(&self) -> u32 {
        self.0.fallbacks.load(Ordering::Relaxed)
    }

    /// Remembers a decision. The root session does not: it is everybody's, so the last one is nobody's.
    #[inline]
    pub(crate) fn decided(&self, node: NodeId, intent: Intent, reason: Reason) {
        if !self.is_root() {
            let intent = u64::from(intent == Intent::Write);
            let word = u64::from(node.0) << 16 | intent << 8 | (reason as u64 + 1);
            self.0.decision.store(word, Ordering::Relaxed);
        }
    }

    /// The last decision, if there is one.
    pub(crate) fn last_decision(&self) -> Option<(NodeId, Intent, Reason)> {
        let word = self.0.decision.load(Ordering::Relaxed);
        let reason = usize::try_from((word & 0xFF).checked_sub(1)?).ok()?;
        let intent = if word >> 8 & 1 == 1 {
            Intent::Write
        } else {
            Intent::Read
        };
        let node = NodeId(u32::try_from(word >> 16).ok()?);
        Some((node, intent, *Reason::ALL.get(reason)?))
    }
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState")
            .field("id", &self.0.id)
            .field("kind", &self.0.kind)
            .field("needs", &self.needs())
            .finish_non_exhaustive()
    }
}

/// Writes that the router cannot see, until it is dropped: see [`SessionState::hold_open`].
#[derive(Debug)]
#[must_use = "the writes count as ended when it is dropped"]
pub struct OpenWriter(SessionState);

impl Drop for OpenWriter {
    fn drop(&mut self) {
        self.0.close_writer();
    }
}

#[cfg(all(test, dbrouter_loom))]
mod loom_tests {
    use super::*;
    use crate::candidates::{Candidates, IndexSet};
    use crate::clock::{Clock, ManualClock};
    use crate::lean::Lean;
    use crate::live::Live;
    use crate::node::{Member, NodeSpec};
    use crate::vocabulary::Role;
    use loom::thread;
    use std::time::Duration;

    fn context(clock: &ManualClock) -> Arc<Context> {
        let settings = crate::Settings::new().clock(clock.clone());
        let context = settings.context(crate::Dialect::Postgres, crate::Pressure::default);
        Arc::new(context)
    }

    fn session(clock: &ManualClock) -> SessionState {
        SessionState::unit(&context(clock))
    }

    /// Who sees no open writer sees what the last one may have written.
    #[test]
    fn a_writer_leaves_its_needs_before_it_is_gone() {
        loom::model(|| {
            let clock = ManualClock::new();
            let session = session(&clock);
            session.open_writer();
            let opened = clock.now();
            clock.advance(Duration::from_millis(1));
            let writer = {
                let session = session.clone();
                thread::spawn(move || session.close_writer())
            };
            if !session.has_open_writer() {
                assert!(session.causal_needs().of(1) > opened);
            }
            writer.join().unwrap();
            assert!(!session.has_open_writer() && session.needs() > opened);
        });
    }

    /// A root read that no longer sees a session's open writer sees what that may have written, and so does one of a
    /// branch.
    #[test]
    fn the_root_needs_what_a_session_wrote_before_its_writer_is_gone() {
        loom::model(|| {
            let clock = ManualClock::new();
            let context = context(&clock);
            let (root, session) = (SessionState::root(&context), SessionState::unit(&context));
            let branch = root.branch();
            session.open_writer();
            let opened = clock.now();
            clock.advance(Duration::from_millis(1));
            let writer = thread::spawn(move || session.close_writer());
            for everybody in [&root, &branch] {
                if !everybody.has_open_writer() {
                    assert!(everybody.causal_needs().of(1) > opened);
                }
            }
            writer.join().unwrap();
            assert!(!root.has_open_writer() && root.needs() > opened);
        });
    }

    /// Of two sessions that write at once the root needs the later write, whichever is told of first.
    #[test]
    fn the_root_needs_the_latest_of_all_writes() {
        loom::model(|| {
            let clock = ManualClock::new();
            let context = context(&clock);
            let root = SessionState::root(&context);
            let [one, other] = [(); 2].map(|()| SessionState::unit(&context));
            let writer = thread::spawn(move || one.wrote());
            let begun = clock.now();
            clock.advance(Duration::from_millis(1));
            other.wrote();
            assert!(root.needs() > begun);
            writer.join().unwrap();
            assert!(root.needs() >= other.needs());
        });
    }

    /// Who sees that a session no longer leans towards the primary sees what it has written.
    #[test]
    fn a_write_leaves_its_needs_before_the_lean_is_gone() {
        loom::model(|| {
            let clock = ManualClock::new();
            let session = session(&clock);
            session.0.lean.set(Lean::PrimaryUntilWritten);
            let begun = clock.now();
            clock.advance(Duration::from_millis(1));
            let writer = {
                let session = session.clone();
                thread::spawn(move || session.wrote())
            };
            if session.preference().is_none() {
                assert!(session.causal_needs().of(1) > begun);
            }
            writer.join().unwrap();
            assert_eq!(session.preference(), None);
        });
    }

    /// Two first reads of one session, at once, land on one replica.
    #[test]
    fn first_reads_agree_on_a_replica() {
        loom::model(|| {
            let session = session(&ManualClock::new());
            let members: Arc<[Member]> = [1, 2]
                .map(|epoch| {
                    let live = Live::new(Role::Replica, epoch);
                    Member::new(NodeId(epoch.into()), "replica", &NodeSpec::new(), live)
                })
                .into();
            let adopt = |session: SessionState, members: Arc<[Member]>, index| {
                let mut set = IndexSet::new();
                set.add(0);
                set.add(1);
                let candidates = Candidates::new(&members, &set, &session);
                let adopted = candidates.adopt(index);
                (adopted, candidates.session_replica())
            };
            let other = {
                let (session, members) = (session.clone(), Arc::clone(&members));
                thread::spawn(move || adopt(session, members, 0))
            };
            let mine = adopt(session, members, 1);
            let theirs = other.join().unwrap();
            assert_eq!(mine, theirs);
            assert_eq!(mine.1, Some(mine.0));
        });
    }
}
