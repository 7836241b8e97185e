//! What one piece of work asks of the router.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::decision::Cause;
use crate::node::NodeId;
use crate::tags::Tags;
use crate::vocabulary::{Consistency, Intent, Preference};

/// What one piece of work asks of the router: its intent, and how its node is to be chosen.
///
/// ```
/// use dbrouter::{Preference, Request, Tags};
///
/// let request = Request::read()
///     .preference(Preference::Nearest)
///     .tagged(Tags::new().with("zone", "a"));
/// assert_eq!(request.tags().value("zone"), Some("a"));
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    intent: Intent,
    cause: Cause,
    preference: Option<Preference>,
    consistency: Consistency,
    max_staleness: Stated,
    wait: Stated,
    waited_for_primary: Duration,
    tags: Tags,
    key: Option<u64>,
    excluded: Vec<NodeId>,
    scope: InScope,
}

/// What the scopes say in which the work begins, beside a preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InScope {
    bound: bool,
    writes_forbidden: bool,
}

/// A time that may be stated, in one word: each piece of work has a request of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stated(u64);

impl Stated {
    const NOTHING: Self = Self(u64::MAX);

    /// As many nanoseconds as fit, which are centuries.
    fn new(time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(nanos.min(u64::MAX - 1))
    }

    /// As long as can be stated.
    #[inline]
    fn is_longest(self) -> bool {
        self.0 == u64::MAX - 1
    }

    #[inline]
    fn time(self) -> Option<Duration> {
        (self != Self::NOTHING).then(|| Duration::from_nanos(self.0))
    }
}

impl Request {
    /// Work that surely changes nothing.
    #[must_use]
    pub fn read() -> Self {
        Self::new(Intent::Read, Cause::Asked)
    }

    /// Work that changes something, or may.
    #[must_use]
    pub fn write() -> Self {
        Self::new(Intent::Write, Cause::Asked)
    }

    fn new(intent: Intent, cause: Cause) -> Self {
        Self {
            intent,
            cause,
            preference: None,
            consistency: Consistency::default(),
            max_staleness: Stated::NOTHING,
            wait: Stated::NOTHING,
            waited_for_primary: Duration::ZERO,
            tags: Tags::new(),
            key: None,
            excluded: Vec::new(),
            scope: InScope::default(),
        }
    }

    /// The same request with another intent, and what it was concluded from.
    #[must_use]
    pub fn with_intent(mut self, intent: Intent, cause: Cause) -> Self {
        self.intent = intent;
        self.cause = cause;
        self
    }

    /// Where the read may go. Defaults to the router's own preference.
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.preference = Some(preference);
        self
    }

    /// How much of the past the read must see. Defaults to [`Consistency::Causal`].
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// How old what a replica shows may be: the read only goes to one that is known to show all that was
    /// acknowledged so long before the read began, to whomever. It bounds
    /// [eventual](Consistency::Eventual) reads, and adds to what a session must see.
    ///
    /// What is stated here is a promise: if no replica keeps it, and the primary does not serve the read, it is refused.
    /// It takes the place of the router's own [bound](crate::Settings::max_staleness), which only says which replicas
    /// are in service, and which is the default. `Duration::MAX` accepts any age.
    ///
    /// A request knows no router. Whatever it says holds; but a bound below the monitor's interval mostly leaves
    /// the primary, which is why [`Terms::max_staleness`](crate::Terms::max_staleness) refuses it.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Stated::new(bound);
        self
    }

    /// How long the read waits for a replica that shows what it must see, rather than fall back to the primary or
    /// be refused because none does. It ends as soon as there is one; a read that finds one at once waits for
    /// nothing.
    ///
    /// It does not wait for what no time brings: while its session holds a connection that may be writing, or on a
    /// router without a monitor. Nor does a read that names what a replica does not know: the primary is asked at
    /// once, since it may be no more than a slip of the pen.
    ///
    /// Defaults to no wait: the primary has the answer now, and how long it is better to wait for less load on it
    /// only the caller knows. After a write, replicas within one region usually take a few milliseconds.
    #[must_use]
    pub fn wait_for_fresh(mut self, most: Duration) -> Self {
        self.wait = Stated::new(most);
        self
    }

    /// The labels that the read's node must have. Defaults to none. The primary takes what falls
    /// back to it whatever its labels.
    #[must_use]
    pub fn tagged(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// What the read is about, for policies such as [`Rendezvous`](crate::policy::Rendezvous) that
    /// send the same key to the same replica. The same bytes mean the same key in every process.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(stable_hash(key.as_ref()));
        self
    }

    /// Leaves a node out: this very request has just failed there.
    pub fn exclude(&mut self, node: NodeId) {
        self.excluded.push(node);
    }

    /// A replica has refused the work as a write: it is one, and for the primary.
    pub fn refused_as_write(&mut self) {
        self.intent = Intent::Write;
        self.cause = Cause::Refused;
    }

    /// A replica did not know what the read names. The primary is asked, unless only replicas are wanted.
    pub fn not_replayed(&mut self) {
        self.cause = Cause::NotReplayed;
    }

    /// The read has waited so long: before the next node that long less, however many fail it.
    pub(crate) fn waited(&mut self, time: Duration) {
        if let Some(wait) = self.wait.time() {
            self.wait = Stated::new(wait.saturating_sub(time));
        }
    }

    /// The work has waited so long for a primary.
    pub(crate) fn waited_for_primary(&mut self, time: Duration) {
        self.waited_for_primary = self.waited_for_primary.saturating_add(time);
    }

    /// How long the work has waited for a primary so far.
    pub(crate) fn wait_for_primary(&self) -> Duration {
        self.waited_for_primary
    }

    /// Where the read may go, if the request does not state it.
    #[inline]
    pub(crate) fn prefer(&mut self, preference: Preference) {
        self.preference.get_or_insert(preference);
    }

    /// The read stays with its session's replica, whatever the policy.
    #[inline]
    pub(crate) fn bind(&mut self) {
        self.scope.bound = true;
    }

    /// If it is a write, it is refused.
    #[inline]
    pub(crate) fn forbid_writes(&mut self) {
        self.scope.writes_forbidden = true;
    }

    /// What the work needs.
    #[must_use]
    #[inline]
    pub fn intent(&self) -> Intent {
        self.intent
    }

    /// What the intent was concluded from.
    #[must_use]
    #[inline]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The preference that the request states, if it states one.
    #[must_use]
    #[inline]
    pub fn stated_preference(&self) -> Option<Preference> {
        self.preference
    }

    /// How much of the past the read must see.
    #[must_use]
    #[inline]
    pub fn stated_consistency(&self) -> Consistency {
        self.consistency
    }

    /// How old what the read is shown may be, if the request states it.
    #[must_use]
    #[inline]
    pub fn stated_max_staleness(&self) -> Option<Duration> {
        self.max_staleness.time()
    }

    /// How old what the read is shown may be, if the request says that it may not be of any age.
    #[inline]
    pub(crate) fn promised_staleness(&self) -> Option<Duration> {
        self.stated_max_staleness()
            .filter(|_| !self.max_staleness.is_longest())
    }

    /// How long the read waits for a fresh replica, if the request states it.
    #[must_use]
    #[inline]
    pub fn stated_wait(&self) -> Option<Duration> {
        self.wait.time()
    }

    /// The labels that the read's node must have.
    #[must_use]
    #[inline]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The hash of the key that the request states, if it states one.
    #[must_use]
    #[inline]
    pub fn key_hash(&self) -> Option<u64> {
        self.key
    }

    /// Whether this request has already failed somewhere.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// On how many nodes this request has failed.
    pub(crate) fn failures(&self) -> usize {
        self.excluded.len()
    }

    #[inline]
    pub(crate) fn is_bound(&self) -> bool {
        self.scope.bound
    }

    #[inline]
    pub(crate) fn forbids_writes(&self) -> bool {
        self.scope.writes_forbidden
    }

    #[inline]
    pub(crate) fn excludes(&self, node: NodeId) -> bool {
        self.excluded.contains(&node)
    }
}

/// SipHash-1-3 with no key: the same in every process and release, as keys shared between processes
/// must be.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}
