//! Why it could not be found out which nodes there are.

use std::error::Error;
use std::fmt;

/// Why it could not be found out which nodes there are. The nodes stay as they are.
#[derive(Debug)]
pub struct DiscoverError {
    kind: DiscoverErrorKind,
    problem: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`DiscoverError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiscoverErrorKind {
    /// The answer was that there are no nodes. That is never believed.
    Empty,
    /// There was no answer.
    Unanswered,
    /// The answer makes no sense.
    Answer,
    /// The one who was asked may not say.
    Privilege,
    /// There is no such thing to ask here.
    Unsupported,
}

impl DiscoverError {
    /// An error of that kind; `problem` says what is wrong and what would be right.
    #[must_use]
    pub fn new(kind: DiscoverErrorKind, problem: impl Into<String>) -> Self {
        Self {
            kind,
            problem: problem.into(),
            source: None,
        }
    }

    /// There are no nodes, says whoever was asked.
    #[must_use]
    pub fn empty(problem: impl Into<String>) -> Self {
        Self::new(DiscoverErrorKind::Empty, problem)
    }

    /// The same error with what it came from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it came from, as the source of another error.
    pub(super) fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.source
    }

    /// The error with what it came from, for where only a text is kept.
    pub(super) fn in_full(&self) -> String {
        match &self.source {
            Some(source) => format!("{self}: {}", in_full(&**source)),
            None => self.to_string(),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> DiscoverErrorKind {
        self.kind
    }
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl Error for DiscoverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error with what it came from. Some print that themselves.
pub(super) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
