//! Everything about a router that is not a node, and the rationale of each default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::classify::{self, Classifier};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::context::Context;
use crate::dialect::Dialect;
use crate::events::Events;
use crate::fallback::{FallbackLimit, Places};
use crate::freshness::Commits;
use crate::health::HealthSettings;
use crate::hold::Hold;
use crate::observer::Observer;
use crate::policy::{PeakEwma, Policy, Sticky};
use crate::vocabulary::{Preference, Pressure};

/// Everything about a router that is not a node. Adapters' builders fill it in.
#[derive(Clone)]
pub struct Settings {
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) preference: Preference,
    pub(crate) classifier: Option<Arc<dyn Classifier>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) monitor: MonitorSettings,
    pub(crate) health: HealthSettings,
    pub(crate) acquire_limit: Duration,
    pub(crate) standstill_limit: Duration,
    pub(crate) retries: u32,
    pub(crate) wait_for_primary: Duration,
    pub(crate) start: Start,
    pub(crate) promotion: Promotion,
    pub(crate) hold: Hold,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) fallback_limit: Option<FallbackLimit>,
    observers: Vec<Arc<dyn Observer>>,
}

impl Settings {
    const USUAL_STALENESS: Duration = Duration::from_secs(60);

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            policy: Arc::new(Sticky::new(PeakEwma::new())),
            preference: Preference::default(),
            classifier: None,
            clock: Arc::new(SystemClock::new()),
            monitor: MonitorSettings::new(),
            health: HealthSettings::new(),
            acquire_limit: Duration::from_millis(250),
            standstill_limit: Duration::from_secs(1),
            retries: 3,
            wait_for_primary: Duration::ZERO,
            start: Start::default(),
            promotion: Promotion::default(),
            hold: Hold::closely(),
            max_staleness: None,
            fallback_limit: None,
            observers: observers(),
        }
    }

    /// How one of several candidates is chosen. Defaults to [`Sticky`] over [`PeakEwma`]: a session sees one moment of
    /// the database, and whoever is slow, or fails fast, gets next to nothing.
    ///
    /// It was chosen by `tests/benches/tail.rs`. Of 10,000 reads on three replicas, of which one had just become 50 ms
    /// slower, it sent 10 there and the others about 100, which is when the 99th percentile is 50 ms as well. While all
    /// are well it spreads reads as evenly.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Where reads go that do not say so themselves. Defaults to [`Preference::ReplicaPreferred`].
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.preference = preference;
        self
    }

    /// How reads are told from writes. Defaults to `Sql` for the servers' dialect if the feature `sql` is
    /// on; otherwise every statement whose intent is not stated goes to the primary.
    #[must_use]
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.classifier = Some(Arc::new(classifier));
        self
    }

    /// The router's clock. Defaults to [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How replicas are watched.
    #[must_use]
    pub fn monitor(mut self, monitor: MonitorSettings) -> Self {
        self.monitor = monitor;
        self
    }

    /// When nodes are kept from work that has failed, and how they come back.
    #[must_use]
    pub fn health(mut self, health: HealthSettings) -> Self {
        self.health = health;
        self
    }

    /// How long a read waits for a connection of one node while another node would serve it, if the pool is not simply
    /// full. After that it goes there: a server that is frozen, or behind a network that swallows packets, refuses nothing,
    /// and a pool would wait for it for 30 s. If the server has not answered the monitor meanwhile, the node is suspect;
    /// if it has, and nobody has a connection of the pool, it is the pool that [fails](crate::Node::pool_error). Where no
    /// other node would serve the read, it waits as long as the pool says.
    ///
    /// Defaults to 250 ms, to which ten of the node's round trips are added: a connection within a region takes a few
    /// milliseconds to open, and one to another continent a second or two.
    #[must_use]
    pub fn acquire_limit(mut self, limit: Duration) -> Self {
        self.acquire_limit = limit;
        self
    }

    /// How long a replica's replay may stand still while the primary writes, and how long a read without a row stays on
    /// such a replica. From then on the replica gets no new reads while another one would serve them, and the read goes
    /// on at another node that would serve it. Defaults to 1 s; `Duration::MAX` switches it off.
    ///
    /// On PostgreSQL replay stands still where reports may finish first (`max_standby_streaming_delay`), and then an
    /// `ALTER TABLE` that is to be replayed keeps all new reads of its table waiting. A second is far more than the
    /// replay of one record takes, and few readers wait longer. A report that was sent before, and has a row only after a
    /// longer time, begins again elsewhere, once: not where replay stands still as well, nor where the
    /// [limit](Self::fallback_limit) leaves no place.
    #[must_use]
    pub fn standstill_limit(mut self, limit: Duration) -> Self {
        self.standstill_limit = limit;
        self
    }

    /// On how many other nodes a read is tried after the first has failed it. Defaults to 3: when four nodes in a row
    /// have failed one read, the fifth is not what it needs. Zero switches it off. A write is never sent again.
    #[must_use]
    pub fn retries(mut self, most: u32) -> Self {
        self.retries = most;
        self
    }

    /// How long a write, or a read that only the primary can serve, waits for a primary if there is none: it is lost
    /// and none has been promoted yet, or two claim to be it. Then it fails with a [`RouteError`](crate::RouteError)
    /// whose [`is_without_primary`](crate::RouteError::is_without_primary) says so. Nothing has been sent by then.
    ///
    /// Defaults to zero, which fails it at once: who waits holds what he has (a request, a place in a queue, locks
    /// elsewhere), and how long that is better than an error only the application knows. A failover takes the
    /// database's own tools some seconds; the router follows within a fraction of one.
    #[must_use]
    pub fn wait_for_primary(mut self, most: Duration) -> Self {
        self.wait_for_primary = most;
        self
    }

    /// Whether the primary must be there at the start. Defaults to [`Start::WithPrimary`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// When another node takes over the writes. Defaults to [`Promotion::WhenSeenToFollow`].
    #[must_use]
    pub fn promotion(mut self, promotion: Promotion) -> Self {
        self.promotion = promotion;
        self
    }

    /// For how long sessions keep the replica connection that they read from, between their statements.
    /// Defaults to [`Hold::closely`]: several reads in a row cost little more than half of what they cost through
    /// a pool, one alone costs the same, and nobody waits for a connection that is kept.
    #[must_use]
    pub fn hold_connection(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// By how much a replica may lag that serves reads. One that lags by more, or has not proved yet where it stands,
    /// serves none, whatever they need, [eventual](crate::Consistency::Eventual) ones included; they go to another
    /// replica or to the primary, where a [limit](Self::fallback_limit) keeps the load bearable. Defaults to 60 s, or
    /// three times the monitor's interval if that is more. `Duration::MAX` lifts it.
    ///
    /// Behind that default stands what people see: a replica that is a minute behind is broken, or is being repaired,
    /// and nobody who reads without needs expects an hour-old page from it. GitLab's load balancer draws the line at
    /// the same 60 s, for all reads; ProxySQL shuns a server beyond its `max_replication_lag` in the same way.
    ///
    /// It says which replicas are in service, and is no promise about a read. (For that a handle or a
    /// [request](crate::Request::max_staleness) states a bound of its own, which takes the place of this one.)
    ///
    /// * How far a replica lags is measured at the primary's last answer. While the primary does not answer, nobody
    ///   knows of anything that the replicas lack, and they serve as before, however long that lasts. So they do when a
    ///   router [starts](Self::start) without its primary.
    /// * A replica that is too old serves all the same when nothing else is left: the primary is gone, or the
    ///   preference rules it out.
    /// * Replicas that lag on purpose (PostgreSQL's `recovery_min_apply_delay`) are read by handles with
    ///   `max_staleness(Duration::MAX)`.
    ///
    /// It is at least the monitor's [interval](MonitorSettings::interval), since nobody knows more of a replica between
    /// two rounds; from three times the interval on, no replica that keeps up is ever found too old.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }

    /// How many reads may be on the primary at once because no replica would serve them. Defaults to no limit:
    /// a limit fails reads that could be served, and at how many that is right depends on the primary. See
    /// [`FallbackLimit`] for what it protects.
    #[must_use]
    pub fn fallback_limit(mut self, limit: FallbackLimit) -> Self {
        self.fallback_limit = Some(limit);
        self
    }

    /// Somebody who is told of decisions and events. May be called several times: all are told. Defaults to nobody; with
    /// the feature `tracing`, to [`observer::Tracing`](crate::observer), which stays.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// What the parts of a router with these settings share, whose primary's pool is like this.
    pub(crate) fn context(&self, dialect: Dialect, primary: impl FnOnce() -> Pressure) -> Context {
        let limit = self.fallback_limit;
        let places = limit.map(|limit| Places::new(limit, primary()));
        let events = Events::new(&self.observers);
        Context::new(
            Arc::clone(&self.clock),
            places,
            self.health,
            events,
            dialect,
        )
    }

    /// The classifier for servers of a kind.
    pub(crate) fn classifier_for(&self, dialect: Dialect) -> Arc<dyn Classifier> {
        let given = self.classifier.clone();
        given.unwrap_or_else(|| classify::default_for(dialect))
    }

    /// Whether they are right for servers of a kind.
    pub(crate) fn check(&self, dialect: Dialect) -> Result<(), ConfigError> {
        if let Some(classifier) = &self.classifier {
            classifier.check()?;
        }
        self.monitor.check()?;
        self.health.check()?;
        if self.acquire_limit.is_zero() {
            let problem = "is 0ns; it must be above zero: no connection is there at once";
            let kind = ConfigErrorKind::OutOfRange;
            return Err(ConfigError::new(kind, "acquire_limit", problem));
        }
        if self.standstill_limit.is_zero() {
            let problem =
                "is 0ns; it must be above zero: every replica stands still between two records";
            let kind = ConfigErrorKind::OutOfRange;
            return Err(ConfigError::new(kind, "standstill_limit", problem));
        }
        match self.max_staleness {
            Some(bound) => self.check_max_staleness(bound, dialect),
            None => Ok(()),
        }
    }

    /// By how much a replica may lag that serves reads, if that is limited.
    pub(crate) fn max_lag(&self) -> Option<Duration> {
        let usual = || Self::USUAL_STALENESS.max(self.monitor.interval.saturating_mul(3));
        let bound = self.max_staleness.unwrap_or_else(usual);
        (bound != Duration::MAX).then_some(bound)
    }

    /// Whether it can be known of servers of a kind that what they show is no older than `bound`.
    pub(crate) fn check_max_staleness(
        &self,
        bound: Duration,
        dialect: Dialect,
    ) -> Result<(), ConfigError> {
        let interval = self.monitor.interval;
        // SQLite's readers are always fresh.
        if bound >= interval || dialect == Dialect::Sqlite {
            return Ok(());
        }
        let problem = format!(
            "is {bound:?}; it must not be below monitor.interval, {interval:?}: between two rounds nobody knows \
             how fresh a replica is"
        );
        let kind = ConfigErrorKind::OutOfRange;
        Err(ConfigError::new(kind, "max_staleness", problem))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("preference", &self.preference)
            .field("clock", &self.clock)
            .field("monitor", &self.monitor)
            .field("health", &self.health)
            .field("acquire_limit", &self.acquire_limit)
            .field("standstill_limit", &self.standstill_limit)
            .field("retries", &self.retries)
            .field("wait_for_primary", &self.wait_for_primary)
            .field("start", &self.start)
            .field("promotion", &self.promotion)
            .field("hold", &self.hold)
            .field("max_staleness", &self.max_lag())
            .field("fallback_limit", &self.fallback_limit)
            .finish_non_exhaustive()
    }
}

/// Those that every router has.
fn observers() -> Vec<Arc<dyn Observer>> {
    vec![
        #[cfg(feature = "tracing")]
        Arc::new(crate::observer::Tracing),
    ]
}

/// Whether a router may start without a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// An unreachable primary is an error. The default: a wrong address is found when the service
    /// starts and not at its first write.
    #[default]
    WithPrimary,
    /// The router starts all the same: the primary cannot be reached, or the node given as the primary is a standby, as
    /// at a disaster-recovery site, whose only nodes are standbys until one of them is promoted.
    ///
    /// * Writes are refused at once, or wait for as long as [`wait_for_primary`](Settings::wait_for_primary) says. The
    ///   error says that there is no primary.
    /// * As soon as a node says that it is the primary, it takes the writes, within the monitor's
    ///   [interval](MonitorSettings::interval).
    /// * Replicas serve reads, however old they are: while no primary has said where its log stands, nobody knows of
    ///   anything that they lack, so the router's [`max_staleness`](Settings::max_staleness) rules none out. A standby in
    ///   the primary's place serves reads as a replica does.
    /// * What must be compared with a primary cannot be known without one, so such reads are refused: those of a session
    ///   that has a [`Token`](crate::Token) or was told to [`observe_now`](crate::Cluster::observe_now), those with a
    ///   bound of their own on staleness, and those of a session whose replica was lost, on any other node.
    ///   [Eventual](crate::Consistency::Eventual) reads are served.
    ReadOnly,
}

/// When a node that says it is the primary takes over the writes from the one that had them.
///
/// Whatever is chosen, a node that claims to be the primary beside one that answers, and that this router has never seen
/// follow it, takes nothing: it may be a copy that was restored from a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Promotion {
    /// Also while the primary still answers and says that it is one, if the node's history is the later one and this
    /// router has seen the node follow the primary before. The default: a promotion is somebody's decision, and the old
    /// primary is often still there for a while, where what is written would be lost.
    #[default]
    WhenSeenToFollow,
    /// Only once the primary no longer answers, or no longer says that it is one. For replicas that are promoted to
    /// serve something else under the same address.
    WhenPrimaryIsGone,
    /// Never. Writes are refused until the configured primary is there again.
    Never,
}

/// How a router's monitor watches its nodes.
///
/// One task per router asks the primary where its log stands and each replica how far it has
/// replayed it, on connections of its own.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::MonitorSettings;
///
/// let calm = MonitorSettings::new().interval(Duration::from_secs(1));
/// # let _ = calm;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    pub(crate) interval: Duration,
    pub(crate) gap: Duration,
    pub(crate) timeout: Duration,
    pub(crate) commits: Commits,
    pub(crate) refresh: Duration,
}

impl MonitorSettings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_millis(100),
            gap: Duration::from_millis(1),
            timeout: Duration::from_secs(1),
            commits: Commits::default(),
            refresh: Duration::from_secs(30),
        }
    }

    /// The time between two rounds when nobody asks for one. Defaults to 100 ms: ten questions a
    /// second, each of about 0.1 ms, are no load, and a lost node is noticed before people notice.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The least time between two rounds, however many sessions ask for one. Defaults to 1 ms, so
    /// that at most a thousand questions a second reach the primary, and a session's reads are back on
    /// a replica a few milliseconds after its write.
    #[must_use]
    pub fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// How long a node may take to answer before it counts as lost. Defaults to 1 s: far above any answer of a working
    /// server in the same region. A node gets four of its round trips more. If the connection that the monitor keeps has
    /// given no answer for half of that time, the node is asked on another one as well: a firewall may have forgotten the
    /// first. Connecting may take up to 10 s; a node that is being connected to counts as lost after the limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is trusted of commits that are acknowledged before they are flushed. Defaults to
    /// [`Commits::MayBeAsynchronous`], which trusts nothing and is right for all.
    #[must_use]
    pub fn commits(mut self, commits: Commits) -> Self {
        self.commits = commits;
        self
    }

    /// The time after which the server is asked whether what the [classifier](Classifier::question) must know of it has
    /// changed: on PostgreSQL, its functions. Only then is that read again. Defaults to 30 s: the
    /// [question](Classifier::sign) takes the primary about 5 ms (20 ms if there are 50,000 functions), on a
    /// connection of its own, and reading about 15 ms (40 ms more for each 2,000 functions). Until the next question,
    /// the calls of a new function go to the primary; those of a function that was a read and no longer is go to
    /// replicas, where what they write is refused. As often, the statements that replicas
    /// [refused](crate::Cluster::misjudged) are forgotten.
    #[must_use]
    pub fn refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        let out_of_range = |field: &str, value: Duration, right: &str| {
            let problem = format!("is {value:?}; {right}");
            Err(ConfigError::new(
                ConfigErrorKind::OutOfRange,
                field,
                problem,
            ))
        };
        if self.interval.is_zero() {
            return out_of_range("monitor.interval", self.interval, "it must be above zero");
        }
        if self.gap > self.interval {
            let right = format!("it must not be above the interval, {:?}", self.interval);
            return out_of_range("monitor.gap", self.gap, &right);
        }
        if self.refresh.is_zero() {
            return out_of_range("monitor.refresh", self.refresh, "it must be above zero");
        }
        if self.timeout.is_zero() {
            return out_of_range("monitor.timeout", self.timeout, "it must be above zero");
        }
        Ok(())
    }
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self::new()
    }
}
