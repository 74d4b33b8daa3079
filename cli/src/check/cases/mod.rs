//! The cases, a file for each group.

mod agreeing;
mod answer;
mod calls;
mod closing;
mod control;
mod credit;
mod drain;
mod extensions;
mod fragments;
mod frames;
mod framing;
mod handshake;
mod messages;
mod ready;
mod replies;
mod signals;
mod streams;

use super::case::{Book, Case};

/// Every case there is: level 0, then level 1.
pub(super) fn all() -> Vec<Case> {
    let mut book = Book::default();
    framing::cases(&mut book);
    handshake::cases(&mut book);
    answer::cases(&mut book);
    control::cases(&mut book);
    messages::cases(&mut book);
    closing::cases(&mut book);
    agreeing::cases(&mut book);
    ready::cases(&mut book);
    frames::cases(&mut book);
    fragments::cases(&mut book);
    extensions::cases(&mut book);
    signals::cases(&mut book);
    calls::cases(&mut book);
    replies::cases(&mut book);
    streams::cases(&mut book);
    credit::cases(&mut book);
    drain::cases(&mut book);
    book.cases
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::check::case::Role;

    #[test]
    fn names_are_unique_and_every_case_says_what_it_is_about() {
        let mut names = HashSet::new();
        for case in all() {
            assert!(names.insert(case.name.clone()), "{} twice", case.name);
            assert!(case.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'/')), "{}", case.name);
            for text in [&case.sends, &case.demands] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{}: {text}", case.name);
            }
            let section: u32 = case.section.parse().expect("a section is a number");
            assert!((1..=24).contains(&section), "{}", case.name);
        }
        for role in [Role::Server, Role::Client] {
            assert!(all().iter().filter(|case| case.is_for(role)).count() >= 120, "{role:?}");
        }
    }
}
