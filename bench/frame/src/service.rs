//! The server's half of the works: what to answer to a message.

use crate::Result;
use crate::message::{Kind, read_head, sum};

/// Bytes of a report: how many messages came, and the sum of their words.
pub const REPORT: usize = 16;

/// What a server sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The same bytes.
    Echo,
    /// Nothing: one-way.
    Nothing,
    /// What was counted.
    Report([u8; REPORT]),
}

/// What one connection's server remembers.
#[derive(Debug, Default)]
pub struct Service {
    count: u64,
    sum: u64,
}

impl Service {
    /// Judges one message. One-way messages have to come complete and in order.
    #[inline]
    pub fn handle(&mut self, message: &[u8]) -> Result<Answer> {
        let (kind, number) = read_head(message)?;
        if kind == Kind::OneWay as u8 {
            if number != self.count {
                return Err(format!("one-way message {number} came where {} was due", self.count).into());
            }
            self.count += 1;
            self.sum = self.sum.wrapping_add(sum(message));
            return Ok(Answer::Nothing);
        }
        if kind == Kind::Request as u8 {
            return Ok(Answer::Echo);
        }
        if kind == Kind::Finish as u8 {
            let report = report(self.count, self.sum);
            *self = Service::default();
            return Ok(Answer::Report(report));
        }
        Err(format!("a message of kind {kind}").into())
    }
}

pub(crate) fn report(count: u64, sum: u64) -> [u8; REPORT] {
    let mut report = [0; REPORT];
    report[..8].copy_from_slice(&count.to_le_bytes());
    report[8..].copy_from_slice(&sum.to_le_bytes());
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;

    #[test]
    fn a_stream_is_counted_and_a_gap_is_an_error() {
        let mut service = Service::default();
        let mut messages = Messages::new(Kind::OneWay, 64);
        let mut finish = Messages::new(Kind::Finish, 8);
        for _ in 0..3 {
            assert_eq!(service.handle(messages.next()).unwrap(), Answer::Nothing);
        }
        let expected = Answer::Report(report(3, messages.sum()));
        assert_eq!(service.handle(finish.next()).unwrap(), expected);
        messages.next();
        assert!(service.handle(messages.next()).is_err());
    }

    #[test]
    fn other_bytes_are_errors() {
        assert!(Service::default().handle(b"short").is_err());
        assert!(Service::default().handle(&[0; 64]).is_err());
        assert_eq!(Service::default().handle(Messages::new(Kind::Request, 64).next()).unwrap(), Answer::Echo);
    }
}
