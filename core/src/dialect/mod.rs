//! What is asked of each kind of server, and how its answers are read.
//!
//! An adapter runs a [`Question`] on one of its connections and hands back the columns as text. What
//! they mean is known here and nowhere else: no adapter knows what a log position is.

mod mariadb;
mod postgres;
mod sqlite;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::vocabulary::{Fault, Role};

/// A kind of database server, with all that the router must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL with streaming replication.
    Postgres,
    /// MariaDB with GTID replication. (MySQL's own GTIDs are of another kind, which is not supported.)
    #[cfg_attr(feature = "serde", serde(rename = "mariadb"))]
    MariaDb,
    /// SQLite: every node is a set of connections to one file, so every node is always fresh.
    Sqlite,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::Sqlite => "SQLite",
        })
    }
}

impl Dialect {
    /// The question that also asks who the server is. Asked when a node is met and after each time
    /// that it was away.
    pub(crate) fn identify(self) -> Question {
        match self {
            Self::Postgres => postgres::IDENTIFY,
            Self::MariaDb => mariadb::LOCATE,
            Self::Sqlite => sqlite::IDENTIFY,
        }
    }

    /// The question of every other round, which costs the server as little as can be.
    pub(crate) fn locate(self) -> Question {
        match self {
            Self::Postgres => postgres::LOCATE,
            Self::MariaDb => mariadb::LOCATE,
            Self::Sqlite => sqlite::LOCATE,
        }
    }

    /// Which server a connection leads to, in the words of the questions above. `None` if there are no servers.
    pub(crate) fn server(self) -> Option<Question> {
        let sql = match self {
            Self::Postgres => postgres::SERVER,
            Self::MariaDb => mariadb::SERVER,
            Self::Sqlite => return None,
        };
        // Of each connection it is asked only once.
        Some(Question::once(sql.to_owned(), 1))
    }

    /// The question that a replica answers once it has replayed `position`, or after `limit`. `None` if servers of
    /// this kind have none for such a position.
    pub(crate) fn wait(self, position: &Position, limit: Duration) -> Option<Question> {
        match (self, position) {
            (Self::Postgres, Position::Log(position)) => Some(postgres::wait(*position, limit)),
            (Self::MariaDb, Position::Domains(domains)) => Some(mariadb::wait(domains, limit)),
            _ => None,
        }
    }

    /// The question that a primary answers once all that it had written is flushed, and so on its way to the replicas.
    /// `None` if servers of this kind acknowledge nothing before that.
    pub(crate) fn flush(self) -> Option<Question> {
        match self {
            Self::Postgres => Some(postgres::FLUSH),
            Self::MariaDb | Self::Sqlite => None,
        }
    }

    /// Whether it is a replica that has answered that, and did wait.
    pub(crate) fn has_waited(self, answer: &Answer) -> bool {
        match self {
            Self::Postgres => postgres::has_waited(answer),
            Self::MariaDb => mariadb::has_waited(answer),
            Self::Sqlite => false,
        }
    }

    /// What an answer says.
    pub(crate) fn read(self, answer: &Answer) -> Result<Report, AnswerError> {
        match self {
            Self::Postgres => postgres::read(answer),
            Self::MariaDb => mariadb::read(answer),
            Self::Sqlite => sqlite::read(answer),
        }
    }

    /// What a server's error says of the node that it came from: PostgreSQL's by its SQLSTATE, MariaDB's by
    /// its number, SQLite's by its (extended) result code.
    ///
    /// ```
    /// use dbrouter::{Dialect, Fault};
    ///
    /// assert_eq!(Dialect::Postgres.fault("57P01", "terminating connection"), Fault::Unavailable);
    /// assert_eq!(Dialect::MariaDb.fault("1040", "Too many connections"), Fault::Busy);
    /// assert_eq!(Dialect::Sqlite.fault("8", "attempt to write a readonly database"), Fault::ReadOnly);
    /// ```
    #[must_use]
    pub fn fault(self, code: &str, message: &str) -> Fault {
        match self {
            Self::Postgres => postgres::fault(code, message),
            Self::MariaDb => mariadb::fault(code, message),
            Self::Sqlite => sqlite::fault(code, message),
        }
    }

    /// Whether an error that came of opening a connection says that the server, or a PgBouncer in front of it, refuses the
    /// user or the password. `code` is as for [`fault`](Self::fault).
    ///
    /// ```
    /// use dbrouter::Dialect;
    ///
    /// assert!(Dialect::Postgres.refuses_login("28P01"));
    /// assert!(!Dialect::Postgres.refuses_login("57P03"));
    /// ```
    #[must_use]
    pub fn refuses_login(self, code: &str) -> bool {
        match self {
            // PgBouncer has one code for all that it says itself.
            Self::Postgres => matches!(code, "28000" | "28P01" | "08P01"),
            // Of accounts that are unknown, have another plugin, have expired or are locked.
            Self::MariaDb => matches!(code, "1045" | "1698" | "1820" | "1862" | "4151"),
            Self::Sqlite => false,
        }
    }

    /// Whether an error that came of opening a connection says that a PgBouncer refuses the startup parameter `options`,
    /// by which a replica's connections are made read-only. `code` and `message` are as for [`fault`](Self::fault).
    ///
    /// ```
    /// use dbrouter::Dialect;
    ///
    /// assert!(Dialect::Postgres.refuses_options("08P01", "unsupported startup parameter: options"));
    /// assert!(!Dialect::Postgres.refuses_options("08P01", "unsupported startup parameter: extra_float_digits"));
    /// ```
    #[must_use]
    pub fn refuses_options(self, code: &str, message: &str) -> bool {
        // From 1.20 on it reads the options, and says "in options: " and the name of the first that it does not know.
        const REFUSALS: [&str; 2] = [
            "unsupported startup parameter: options",
            "unsupported startup parameter in options",
        ];
        self == Self::Postgres
            && code == "08P01"
            && REFUSALS.iter().any(|refusal| message.contains(refusal))
    }

    /// The statement after which the server refuses writes on a connection, for drivers that cannot open one
    /// so.
    #[must_use]
    pub fn read_only(self) -> &'static str {
        match self {
            Self::Postgres => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            Self::MariaDb => "SET SESSION TRANSACTION READ ONLY",
            Self::Sqlite => "PRAGMA query_only = ON",
        }
    }

    /// The statement after which the server refuses writes on a connection that is in use already, for as long as it is
    /// lent to somebody who only reads; [`allow_writes_again`](Self::allow_writes_again) undoes it. What held before is
    /// kept on the connection, in a setting or variable called after `dbrouter`. It says nothing of a transaction that
    /// has begun before it, and a client that sets the same setting itself undoes it.
    #[must_use]
    pub fn refuse_writes(self) -> &'static str {
        match self {
            Self::Postgres => {
                "SELECT set_config('dbrouter.read_only', current_setting('default_transaction_read_only'), false), \
                 set_config('default_transaction_read_only', 'on', false)"
            }
            Self::MariaDb => {
                "SET @dbrouter_read_only = @@session.tx_read_only, SESSION tx_read_only = 1"
            }
            Self::Sqlite => "PRAGMA query_only = ON",
        }
    }

    /// The statement that undoes [`refuse_writes`](Self::refuse_writes): afterwards the connection is as it was. In
    /// SQLite it allows writes in any case, so there a connection must be asked before whether it
    /// [refuses them anyway](Self::refuses_writes).
    #[must_use]
    pub fn allow_writes_again(self) -> &'static str {
        match self {
            Self::Postgres => {
                "SELECT set_config('default_transaction_read_only', current_setting('dbrouter.read_only'), false)"
            }
            Self::MariaDb => "SET SESSION tx_read_only = @dbrouter_read_only",
            Self::Sqlite => "PRAGMA query_only = OFF",
        }
    }

    /// The question whether a connection refuses writes, which it does if the [answer is yes](Answer::is_yes). `None` where
    /// [`refuse_writes`](Self::refuse_writes) keeps what held before, so that nobody need ask.
    #[must_use]
    pub fn refuses_writes(self) -> Option<Question> {
        match self {
            Self::Postgres | Self::MariaDb => None,
            Self::Sqlite => Some(Question::new(
                "SELECT CAST(query_only AS text) FROM pragma_query_only",
                1,
            )),
        }
    }

    /// The statements, as one text, that make a new connection fit for a replica whatever the database's, the role's or
    /// the server's defaults are, for drivers that cannot open one so. The server refuses writes on it, as after
    /// [`read_only`](Self::read_only). Its isolation level is *repeatable read*: a hot standby of PostgreSQL refuses
    /// every statement at the level *serializable*, and a read of MariaDB's at that level takes locks that replication
    /// waits for. (MariaDB's other levels stay as they are.) And in MariaDB each statement is a transaction of its own (`autocommit`), and the end of a transaction
    /// begins no other (`completion_type`): otherwise a read would begin one that shows the same moment for as long as
    /// the connection lives.
    ///
    /// ```
    /// use dbrouter::Dialect;
    ///
    /// assert_eq!(Dialect::Sqlite.replica_session(), Dialect::Sqlite.read_only());
    /// ```
    #[must_use]
    pub fn replica_session(self) -> &'static str {
        match self {
            Self::Postgres => {
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            }
            Self::MariaDb => {
                "SET SESSION TRANSACTION READ ONLY; \
                 SET SESSION tx_isolation = IF(@@SESSION.tx_isolation = 'SERIALIZABLE', \
                 'REPEATABLE-READ', @@SESSION.tx_isolation), autocommit = 1, \
                 completion_type = 'NO_CHAIN'"
            }
            Self::Sqlite => self.read_only(),
        }
    }

    /// The statement that begins a transaction which will write, where the usual one is not enough. In SQLite a transaction that has
    /// read before it writes fails at once, whatever the busy timeout, if another process has written meanwhile. One that
    /// takes the lock when it begins waits for that process instead.
    #[must_use]
    pub fn begin_writing(self) -> Option<&'static str> {
        match self {
            Self::Postgres | Self::MariaDb => None,
            Self::Sqlite => Some("BEGIN IMMEDIATE"),
        }
    }

    /// The statement that begins a transaction in which the server refuses writes. (In SQLite it is the
    /// connection that must be read-only.)
    #[must_use]
    pub fn begin_read_only(self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN READ ONLY",
            Self::MariaDb => "START TRANSACTION READ ONLY",
            Self::Sqlite => "BEGIN",
        }
    }

    /// What begins a transaction in which the server refuses writes and all statements see one moment, whatever the
    /// connection's own defaults are: in MariaDB that of its beginning, elsewhere that of its first statement. (In
    /// SQLite every transaction is one, and it is the connection that must be read-only.)
    ///
    /// For MariaDB these are two statements, to be sent as one text: its `START TRANSACTION` has no isolation level.
    #[must_use]
    pub fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::MariaDb => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
            Self::Sqlite => "BEGIN",
        }
    }

    /// The port that such servers listen at if nothing else was configured.
    #[cfg(feature = "builder")]
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::Postgres => Some(5432),
            Self::MariaDb => Some(3306),
            Self::Sqlite => None,
        }
    }

    /// What OpenTelemetry's semantic conventions call it.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) fn otel_name(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MariaDb => "mariadb",
            Self::Sqlite => "sqlite",
        }
    }

    /// What the schemes of these databases' URLs are called.
    #[must_use]
    pub fn url_schemes(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgres", "postgresql"],
            Self::MariaDb => &["mysql", "mariadb"],
            Self::Sqlite => &["sqlite", "file"],
        }
    }
}

/// One statement whose answer is one row of text columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    sql: Cow<'static, str>,
    columns: usize,
}

impl Question {
    /// A question with as many columns in its answer.
    #[must_use]
    pub const fn new(sql: &'static str, columns: usize) -> Self {
        let sql = Cow::Borrowed(sql);
        Self { sql, columns }
    }

    /// A question that is asked like that only once.
    pub(crate) fn once(sql: String, columns: usize) -> Self {
        let sql = Cow::Owned(sql);
        Self { sql, columns }
    }

    /// The statement. It has no parameters and changes no data.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether the same text is asked again and again, so that it pays to prepare it. Of another one no prepared
    /// statement should be kept.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        matches!(self.sql, Cow::Borrowed(_))
    }

    /// The same question, which is not to be prepared: for connections that lead through a pooler which lends its own for
    /// one transaction at a time.
    #[must_use]
    pub fn unprepared(&self) -> Self {
        Self::once(self.sql.to_string(), self.columns)
    }

    /// How many columns its one row has; each is text or NULL.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }
}

/// The one row that a server answered a [`Question`] with.
///
/// ```
/// use dbrouter::Answer;
///
/// let answer: Answer = [Some("f".to_owned()), None].into_iter().collect();
/// assert_eq!(format!("{answer:?}"), r#"Answer([Some("f"), None])"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Vec<Option<String>>);

impl FromIterator<Option<String>> for Answer {
    fn from_iter<I: IntoIterator<Item = Option<String>>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

impl Answer {
    /// The columns: text, or NULL.
    pub fn columns(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    /// Whether the first column is `1`, which answers a question that is [one](Dialect::refuses_writes) of yes or no.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        self.column(0) == Some("1")
    }

    pub(crate) fn column(&self, index: usize) -> Option<&str> {
        self.0.get(index)?.as_deref()
    }

    fn required(&self, index: usize, name: &'static str) -> Result<&str, AnswerError> {
        self.column(index).ok_or(AnswerError {
            column: name,
            found: None,
            wanted: "a value",
        })
    }
}

/// An answer that makes no sense: another kind of server, a proxy that answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerError {
    column: &'static str,
    found: Option<String>,
    wanted: &'static str,
}

impl AnswerError {
    fn new(column: &'static str, found: &str, wanted: &'static str) -> Self {
        Self {
            column,
            found: Some(found.to_owned()),
            wanted,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            found,
            wanted,
        } = self;
        match found {
            Some(found) => write!(f, "the server answered {column} = {found:?}, not {wanted}"),
            None => write!(
                f,
                "the server's answer lacks {column}: {wanted} was expected"
            ),
        }
    }
}

impl std::error::Error for AnswerError {}

/// What a node said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its role, if servers of this kind have one of their own.
    pub(crate) role: Option<Role>,
    /// What all nodes of one cluster have in common, if it was asked for.
    pub(crate) identity: Option<String>,
    /// Whether it can be told to [wait](Dialect::wait), if that was asked.
    pub(crate) waits: Option<bool>,
    /// Which server it is, whatever address it was reached by, if that can be told. It has another one after a restart.
    pub(crate) server: Option<String>,
    /// The database, or the schema, that its connections lead to, if that was asked for; empty if there is none.
    pub(crate) database: Option<String>,
    /// Where it stands in the cluster's log.
    pub(crate) standing: LogStanding,
}

/// Where a node stands in the cluster's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogStanding {
    /// There is no log to wait for: the nodes share their storage.
    Shared,
    /// A primary's.
    Written {
        /// Which history the positions belong to.
        timeline: Timeline,
        /// How far it has written.
        written: Written,
    },
    /// A replica's.
    Replayed {
        /// Which history it follows, if that was asked for. It may follow a later one already.
        timeline: Option<Timeline>,
        /// How far it has replayed it; `None` while it has replayed nothing.
        position: Option<Position>,
    },
}

/// How far a primary has written its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Covers every acknowledged write.
    pub(crate) inserted: Position,
    /// Covers every write that was acknowledged `flush_delay` earlier, if the server keeps that bound, and travels to
    /// the replicas by itself. Never beyond `inserted`.
    pub(crate) flushed: Position,
    /// The longest that an acknowledged write stays unflushed, by the server's documentation.
    pub(crate) flush_delay: Duration,
}

/// Names one history of a cluster's data. A failover begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeline {
    /// Later histories have higher numbers.
    Numbered(u64),
    /// A history is named after the server that writes it.
    Writer(u64),
}

/// How one server's claim to be the primary stands to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rivalry {
    /// Its history began later.
    Later,
    /// Its history has been left, or it has written nothing of its own.
    Earlier,
    /// Nobody can tell.
    Undecided,
}

impl Rivalry {
    /// How a claim with the history `rival`, which stands at `written`, stands to that of the primary, which has the
    /// history `known` and was last seen at `newest`.
    ///
    /// Histories that are named after their writers have no order, so there the primary stays the primary: a rival in
    /// whose log the last word is the primary's (or the former one's, like in the primary's own) has not written, and
    /// one that is behind has been left behind. (Its numbers may still be lower because it forked off long ago; but
    /// it is not read, and nothing is written to it.)
    pub(crate) fn between(
        known: Timeline,
        newest: Option<&Position>,
        rival: Timeline,
        written: &Position,
    ) -> Self {
        match Self::by_number(known, rival) {
            Some(rivalry) => rivalry,
            None if rival == known => Self::Earlier,
            None if newest.is_some_and(|newest| newest.covers(written)) => Self::Earlier,
            None => Self::Undecided,
        }
    }

    /// The same where histories are numbered; `None` where they are not.
    pub(crate) fn by_number(known: Timeline, rival: Timeline) -> Option<Self> {
        match (known, rival) {
            (Timeline::Numbered(known), Timeline::Numbered(rival)) => {
                Some(match rival.cmp(&known) {
                    std::cmp::Ordering::Greater => Self::Later,
                    std::cmp::Ordering::Less => Self::Earlier,
                    std::cmp::Ordering::Equal => Self::Undecided,
                })
            }
            _ => None,
        }
    }
}

/// A place in a cluster's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// An offset in one log.
    Log(u64),
    /// How far each domain has come, by number: several logs, each with a sequence of its own.
    Domains(Vec<(u32, u64)>),
}

impl fmt::Display for Position {
    /// As servers write it; of a GTID only what is compared: `0-*-42`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(offset) => write!(f, "{:X}/{:X}", offset >> 32, offset & 0xFFFF_FFFF),
            Self::Domains(domains) => {
                for (index, (domain, sequence)) in domains.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(f, "{separator}{domain}-*-{sequence}")?;
                }
                Ok(())
            }
        }
    }
}

impl Position {
    /// Whether a node that has replayed up to here shows all that was written up to `other`.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Log(here), Self::Log(there)) => here >= there,
            (Self::Domains(here), Self::Domains(there)) => {
                there.iter().all(|(domain, sequence)| {
                    let mut known = here.iter();
                    known.any(|(known, reached)| known == domain && reached >= sequence)
                })
            }
            // Servers of two kinds have nothing in common.
            _ => false,
        }
    }

    /// Whether it lies further on than `other` in a log that both have.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Log(here), Self::Log(there)) => here > there,
            (Self::Domains(here), Self::Domains(there)) => here.iter().any(|(domain, reached)| {
                let mut known = there.iter();
                known.any(|(known, sequence)| known == domain && reached > sequence)
            }),
            _ => false,
        }
    }
}
