//! Errors with what caused them, in one text.

use std::error::Error;
use std::fmt;

/// An error and its causes, one after the other, without those that the text before has named already. Drivers and pools
/// often say no more than that something failed, and leave the reason to the cause.
#[derive(Clone, Copy)]
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let cause = error.to_string();
            if !said.contains(&cause) {
                write!(f, ": {cause}")?;
                said = cause;
            }
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Self>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn every_cause_is_named_once() {
        let refused = || Some(Box::new(Failure("refused", None)));
        let cases = [
            (Failure("refused", None), "refused"),
            (
                Failure("no connection", refused()),
                "no connection: refused",
            ),
            (
                Failure("connecting: refused", refused()),
                "connecting: refused",
            ),
            (
                Failure(
                    "no pool",
                    Some(Box::new(Failure("no connection", refused()))),
                ),
                "no pool: no connection: refused",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(Causes(&error).to_string(), expected);
        }
    }
}
