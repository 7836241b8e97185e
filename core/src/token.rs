//! What a session must see, in a form that travels: a cookie, a header, a message in a queue.

mod error;
#[cfg(feature = "signed")]
mod keys;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::dialect::{Position, Timeline};

pub use error::{TokenError, TokenErrorKind};
#[cfg(feature = "signed")]
pub use keys::TokenKeys;

/// What a session must see because of what it wrote (or read), for another process that has a router over the
/// same cluster.
///
/// A token is a hint and no promise: one that is forged, garbled, foreign, from the future, or from before a
/// failover costs at most the freshness of *now*. It never causes a stale read, an error, or more than one
/// round of questions.
///
/// # As text
///
/// [`Display`](fmt::Display) and [`FromStr`] are its form for cookies, headers and messages: letters, digits, `-` and
/// `_`, under 80 characters for PostgreSQL. Every token has one text. A text that cannot be read (another release
/// wrote it, or somebody cut it off) still came from a session that may have written, so it must not become "no token":
///
/// ```
/// use dbrouter::Token;
///
/// # let message = "";
/// let token: Token = message.parse().unwrap_or(Token::UNPLACED);
/// assert_eq!(token, Token::UNPLACED);
/// ```
///
/// The text holds a checksum, so what was garbled by accident is not taken for another place. Who forges one harms his
/// own reads only: they need the freshness of now at most, and none at least, as without a token. Where that
/// matters, `TokenKeys` (feature `signed`) sign tokens.
///
/// # Job queues
///
/// A job that follows from a request must see what the request wrote. Its message takes the token along:
///
/// * **When**: after the commit, as the last thing before the message is sent. A token covers what was acknowledged
///   before it was taken. `None` means that nothing was written; then the message needs none.
/// * **Where**: in the message, as text, beside what the job is about. It is no secret, and its text stays readable for
///   later releases, or else becomes [`UNPLACED`](Self::UNPLACED).
/// * **There**: `db.session_from(&token)` begins the job's session. A job with several parents adds the others' by
///   `session.observe(&token)`; their order does not matter.
/// * **Later**: it does not expire. Once the replicas have replayed the place, which is mostly before the job begins, it
///   costs nothing; a retry uses it again. Only a failover makes it cost the freshness of now.
/// * **From job to job**: what the job itself writes is in its own session's token. Who wants a chain of jobs to see all
///   that came before it passes on [`token_with_reads`](crate::Terms::token_with_reads).
///
/// A queue *in the database* needs none of that, if its jobs are committed with what they are about: to take a job
/// is to write (`update jobs set taken = …`), and a session that has written sees all that was committed before.
///
/// ```
/// use dbrouter::{Backend, Terms, Token};
///
/// struct Message {
///     order: i64,
///     sees: Option<String>,
/// }
///
/// async fn send<B: Backend>(session: &Terms<B>, order: i64) -> Message {
///     let sees = session.token().await.map(|token| token.to_string());
///     Message { order, sees }
/// }
///
/// fn receive<B: Backend>(db: &Terms<B>, message: &Message) -> Terms<B> {
///     match &message.sees {
///         Some(text) => db.session_from(&text.parse().unwrap_or(Token::UNPLACED)),
///         None => db.session(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub(crate) place: Option<Place>,
    /// Seconds since 1970 by the clock of the machine that issued it. Nothing is decided by it.
    pub(crate) issued: u64,
}

/// A place in one cluster's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A hash of the cluster's identity.
    pub(crate) cluster: u64,
    pub(crate) timeline: Timeline,
    pub(crate) position: Position,
}

impl Token {
    /// A token that says of no place where it is: whoever gets it needs the freshness of now.
    pub const UNPLACED: Self = Self {
        place: None,
        issued: 0,
    };
    /// When it was issued, by the clock of the machine that issued it, for people to read. `None` for a token of
    /// which nothing is known.
    #[must_use]
    pub fn issued(&self) -> Option<SystemTime> {
        let since = Duration::from_secs(self.issued);
        (self.issued > 0).then_some(())?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    /// Whether both say the same of a place: what the one's bearer needs, the other's does. (Two without a place say
    /// "now", each in its time.)
    #[cfg(feature = "tower")]
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.place.is_some() && self.place == other.place
    }
}

/// Its text. A place in more than 16 replication domains has no room in one: such a token's text says of no place,
/// which costs its reader the freshness of now.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::write(self))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads a token that was not signed.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        text::read(text)
    }
}
