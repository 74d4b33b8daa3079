//! An error as plain values, the same in every language.

use hostlane::Error;

/// What crosses a language boundary of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flat {
    /// The number of `errors.toml`: the contract.
    pub number: i32,
    /// Its name, in snake_case.
    pub name: &'static str,
    /// The explanation for people.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether what was sent may have arrived: `"no"` or `"maybe"`.
    pub sent: &'static str,
}

impl From<&Error> for Flat {
    fn from(error: &Error) -> Flat {
        Flat {
            number: error.code().number(),
            name: error.code().name(),
            message: error.message().to_owned(),
            retryable: error.retryable(),
            sent: error.sent().name(),
        }
    }
}
