//! What one piece of work asks of the router.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

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
