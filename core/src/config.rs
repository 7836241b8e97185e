//! What can be wrong with a configuration, said so that it can be put right.

use std::error::Error;
use std::fmt;

use crate::causes::Causes;

/// A configuration that cannot be used: which field, what it held, and what would be right.
///
/// No password ever appears in it.
#[derive(Debug)]
pub struct ConfigError {
    kind: ConfigErrorKind,
    field: String,
    problem: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// No primary was given, or more than one.
    Primary,
    /// A name is empty, or two nodes have it.
    Name,
    /// No node has that name.
    UnknownNode,
    /// There are more nodes than a router holds.
    TooManyNodes,
    /// No replica may ever be chosen: all weights are zero.
    Weights,
    /// A database URL that cannot be understood.
    Url,
    /// A database of another kind than the router's.
    WrongDatabase,
    /// A pool that exists already and cannot be used: it is closed, or of a kind that cannot be watched.
    Pool,
    /// A list that must not be empty is.
    EmptyList,
    /// A function that gives passwords, where none can be used.
    Credentials,
    /// A text that is no function's name.
    Function,
    /// A key that is too short to sign with.
    Key,
    /// A number or a time out of its range.
    OutOfRange,
    /// The node given as the primary is a replica, by its own account.
    NotThePrimary,
    /// A node belongs to another cluster than the primary.
    OtherCluster,
    /// A node leads to another database of the cluster than the primary.
    OtherDatabase,
    /// The primary cannot be reached.
    Unreachable,
    /// It could not be found out which nodes there are.
    Discovery,
    /// A drain was called off.
    NotDrained,
    /// There is no Tokio runtime.
    Runtime,
}

impl ConfigError {
    /// An error in `field`; `problem` says what it held and what would be right.
    #[must_use]
    pub fn new(
        kind: ConfigErrorKind,
        field: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            problem: problem.into(),
            source: None,
        }
    }

    pub(crate) fn no_primary() -> Self {
        let problem = "no primary was given; name the server that takes the writes";
        Self::new(ConfigErrorKind::Primary, "primary", problem)
    }

    /// The same error with what it came from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with what it came from, if that is known.
    #[cfg(feature = "builder")]
    pub(crate) fn with_optional_source(
        mut self,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        self.source = source;
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }

    /// The field that is wrong, such as `replica-2.url`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)?;
        match &self.source {
            // Applications often print nothing but this, and the cause is what is to be mended.
            Some(source) => write!(f, " (cause: {})", Causes(&**source)),
            None => Ok(()),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
