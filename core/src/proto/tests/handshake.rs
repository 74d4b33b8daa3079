//! The handshake between two machines: what it settles, and how it is refused.

use super::hand::{acceptor, ask, level_1, pair_of};
use super::{Pair, SECOND, config, connector, drain_bytes, give};
use crate::error::{Code, Error};
use crate::limits;
use crate::proto::Secret;
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Role};
use crate::proto::frame::Header;
use crate::proto::offer::Level;

#[test]
fn what_the_handshake_settled_is_known_on_both_sides() {
    let of = |role, max_message: usize, max_calls: usize, keepalive| {
        let mut config = level_1(role);
        (config.max_message, config.own.limits.max_message) = (max_message, max_message);
        (config.own.limits.max_calls, config.own.limits.keepalive) = (max_calls, keepalive);
        config.own.instance = if max_calls == 5 { "a" } else { "b" }.repeat(32);
        config
    };
    let client = of(connector(), 5000, 5, Some(SECOND));
    let pair = pair_of(client, of(acceptor(), 3000, 7, None));
    let (there, here) = (pair.client.agreed(), pair.server.agreed());
    assert_eq!((there.level, here.level, there.max_message, here.max_message), (1, 1, 3000, 3000));
    assert_eq!((there.max_calls, here.max_calls), (7, 5));
    assert_eq!((there.peer_keepalive, here.peer_keepalive), (None, Some(SECOND)));
    assert_eq!((there.instance.clone(), here.instance.clone()), (Some("b".repeat(32)), Some("a".repeat(32))));
    assert_eq!((there.channels.as_slice(), &there.peer_id[..]), (&Channel::DEFAULT[..], "peer-1"));
    let zero = Pair::new();
    assert_eq!((zero.client.agreed().level, zero.client.agreed().max_calls), (0, 1));
    assert_eq!(zero.server.agreed().max_message, limits::MAX_MESSAGE);
}

#[test]
fn the_first_frame_is_a_handshake_on_channel_0() {
    for role in [connector(), acceptor()] {
        let mut early = Conn::new(config(role), std::time::Instant::now());
        let header = Header { len: 2, channel: Channel::DATA }.encode();
        let now = early.now();
        give(&mut early, &[&header[..], b"{}"].concat(), now);
        let error = early.end_error().unwrap();
        assert!(error.code() == Code::BadHandshake && error.message().contains("channel 2"), "{error}");
    }
}

#[test]
fn a_refusal_of_the_drivers_is_told() {
    for level in [Level::Zero, Level::Auto] {
        let of = |role| {
            let mut config = config(role);
            config.own.level = level;
            config
        };
        let mut pair = Pair::apart(of(connector()), of(acceptor()));
        pair.server.refuse(Error::new(Code::PermissionDenied, "another user"));
        pair.exchange();
        let error = pair.client.end_error().unwrap();
        assert!(error.code() == Code::PermissionDenied && error.message().contains("another user"), "{error}");
    }
    let mut client = Conn::new(config(connector()), std::time::Instant::now());
    drain_bytes(&mut client);
    client.refuse(Error::new(Code::PermissionDenied, "another user"));
    assert!(!client.wants_write(), "a client does not refuse with words");
}

#[test]
fn levels_meet_at_the_highest_common_one() {
    for (client, server, level) in [
        (Level::Auto, Level::Auto, Some(1)),
        (Level::Zero, Level::Auto, Some(0)),
        (Level::Auto, Level::Zero, Some(0)),
        (Level::One, Level::Zero, None),
        (Level::Zero, Level::One, None),
    ] {
        let (mut c, mut s) = (config(connector()), config(acceptor()));
        (c.own.level, s.own.level) = (client, server);
        let pair = pair_of(c, s);
        match level {
            Some(level) => {
                assert!(pair.client.is_open() && pair.server.is_open());
                assert_eq!((pair.client.agreed().level, pair.server.agreed().level), (level, level));
            }
            None => assert_eq!(pair.client.end_error().unwrap().code(), Code::VersionMismatch),
        }
    }
}

#[test]
fn a_secret_is_proved_by_both_sides_or_the_connection_refused() {
    let with = |role: Role, secret: Option<&str>, nonce: &str| {
        let mut config = level_1(role);
        config.secret = secret.map(|s| Secret::new(s).unwrap());
        config.own.nonce = secret.map(|_| nonce.repeat(32));
        config
    };
    let mut pair = pair_of(with(connector(), Some("k"), "a"), with(acceptor(), Some("k"), "b"));
    assert!(pair.client.is_open() && pair.server.is_open());
    ask(&mut pair, 1, "x", None);
    for (client, server) in [(Some("k"), Some("other")), (Some("k"), None), (None, Some("k"))] {
        let pair = pair_of(with(connector(), client, "a"), with(acceptor(), server, "b"));
        let codes = [pair.client.end_error().map(Error::code), pair.server.end_error().map(Error::code)];
        assert_eq!(codes, [Some(Code::AuthenticationFailed); 2], "{client:?} {server:?}");
    }
}

#[test]
fn no_ping_is_sent_before_ready() {
    let mut client = level_1(connector());
    client.secret = Some(Secret::new("k").unwrap());
    client.own.nonce = Some("a".repeat(32));
    client.own.limits.keepalive = Some(SECOND);
    let mut server = level_1(acceptor());
    server.secret = Some(Secret::new("k").unwrap());
    server.own.nonce = Some("b".repeat(32));
    let mut pair = Pair::apart(client, server);
    let now = pair.now;
    let request = drain_bytes(&mut pair.client);
    give(&mut pair.server, &request, now);
    let response = drain_bytes(&mut pair.server);
    give(&mut pair.client, &response, now);
    pair.client.handle_timeout(now + 2 * SECOND);
    pair.exchange();
    assert!(pair.client.is_open() && pair.server.is_open());
}
