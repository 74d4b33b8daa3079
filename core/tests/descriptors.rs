//! Descriptors that go with messages: they arrive with theirs, work on the other side, and none is left over.
#![cfg(unix)]

mod common;

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use common::bytes::{CLOSE, CREDIT, MESSAGE, RESPONSE, Raw1, WHOLE};
use common::events::Events;
use common::{Place, Process, SOON, child_role, pair_with, until};
use hostlane::{
    Batch, CallOptions, Channel, Code, ConnectOptions, Level, ListenOptions, Listener, Outcome, Peer, Secret, Sent,
    Wait, limits,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// FIRST, LAST, EXT and FDS.
const WITH_FDS: u8 = WHOLE | 0x04 | 0x20;

/// Not a test by itself: a process that writes into every pipe it is sent, and sends back one of its own.
#[test]
fn child() {
    let Some((_, address)) = child_role() else { return };
    let options = ListenOptions::new().fds(true);
    let listener = Listener::bind_with(&address.parse().unwrap(), &options).unwrap();
    let peer = listener.accept(Wait::forever()).unwrap();
    while let Ok(message) = peer.recv(Wait::forever()) {
        for fd in message.take_fds() {
            write!(File::from(fd), "from {}: ", std::process::id()).unwrap();
        }
        if message.is_request() {
            // An answer carries none, so what goes back is a message of its own.
            let (read, write) = rustix::pipe::pipe().unwrap();
            File::from(write).write_all(message.payload()).unwrap();
            peer.send_with(b"back", CallOptions::new().fds(vec![read]), SOON).unwrap();
            message.reply(b"done", SOON).unwrap();
        }
    }
}

fn both() -> (ConnectOptions, ListenOptions) {
    (ConnectOptions::new().fds(true), ListenOptions::new().fds(true))
}

fn pair() -> (Peer, Peer) {
    let (connect, listen) = both();
    pair_with(&Place::new(), &connect, &listen)
}

/// A pipe: the end to keep, and the one to give away.
fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

fn with(fds: Vec<OwnedFd>) -> CallOptions {
    CallOptions::new().fds(fds)
}

/// All that was written to a pipe until its last writer closed it.
fn rest(mut pipe: File) -> String {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        let _ = send.send(text);
    });
    receive.recv_timeout(SOON).expect("somebody still holds the other end")
}

fn write(fd: OwnedFd, text: &str) {
    File::from(fd).write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_pipe_passes_with_a_message_and_with_a_request_in_both_directions() {
    let (client, server) = pair();
    assert_eq!(client.info().unwrap().features, ["fds"]);
    assert_eq!(server.info().unwrap().features, ["fds"]);
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (kept, given) = pipe();
        from.send_with(b"one way", with(vec![given]).trace("t"), SOON).unwrap();
        let message = to.recv(SOON).unwrap();
        assert_eq!((&message.payload()[..], &message.trace().unwrap()[..]), (&b"one way"[..], &b"t"[..]));
        let [fd] = message.take_fds().try_into().unwrap();
        assert!(message.take_fds().is_empty(), "taken once");
        write(fd, "hello");
        assert_eq!(rest(kept), "hello");

        let (kept, given) = pipe();
        let call = from.start_with(b"a request", with(vec![given])).unwrap();
        let request = to.recv(SOON).unwrap();
        assert!(request.is_request());
        let [fd] = request.take_fds().try_into().unwrap();
        write(fd, "asked");
        request.reply(b"!", SOON).unwrap();
        call.wait(SOON).unwrap();
        assert_eq!(rest(kept), "asked");

        let (kept, given) = pipe();
        let stream = from.open_stream(b"a stream", with(vec![given])).unwrap();
        let request = to.recv(SOON).unwrap();
        let [fd] = request.take_fds().try_into().unwrap();
        write(fd, "streamed");
        assert_eq!(rest(kept), "streamed");
        drop(stream);
    }
}

#[test]
fn a_pipe_passes_to_another_process_and_back() {
    let place = Place::new();
    let process = Process::start("pipes", &place.address("a.sock"));
    until("the child serves", || place.path("a.sock").exists());
    let options = ConnectOptions::new().fds(true);
    let peer = Peer::connect_with(&place.address("a.sock").parse().unwrap(), &options, SOON).unwrap();
    let name = format!("from {}: ", process.0.id());
    let (kept, given) = pipe();
    peer.send_with(b"", with(vec![given]), SOON).unwrap();
    assert_eq!(rest(kept), name);
    // As many as may go with one.
    let (kept, given): (Vec<_>, Vec<_>) = (0..limits::MAX_FDS).map(|_| pipe()).unzip();
    let call = peer.start_with(b"through a pipe of the child", with(given)).unwrap();
    let back = peer.recv(SOON).unwrap();
    let [fd] = back.take_fds().try_into().unwrap();
    assert_eq!(rest(fd.into()), "through a pipe of the child");
    assert_eq!(call.wait(SOON).unwrap().payload(), "done");
    for pipe in kept {
        assert_eq!(rest(pipe), name);
    }
}

#[test]
fn every_descriptor_arrives_with_its_own_message() {
    let (client, server) = pair();
    const MESSAGES: u32 = 300;
    let (kept, mut given): (Vec<File>, Vec<Option<OwnedFd>>) =
        (0..MESSAGES).map(|_| pipe()).map(|(kept, given)| (kept, Some(given))).unzip();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Small ones that share a write, large ones that come in pieces, and others without any, corked and not.
            for (n, fd) in (0u32..).zip(&mut given) {
                let cork = (n % 7 == 0).then(|| client.cork());
                let mut payload = vec![1; if n % 10 == 3 { 700_000 } else { 4 + n as usize % 90 }];
                payload[..4].copy_from_slice(&n.to_le_bytes());
                client.send(Channel::DATA, b"none", SOON).unwrap();
                client.send_with(payload, with(vec![fd.take().unwrap()]), SOON).unwrap();
                client.send(Channel::DATA, b"none", SOON).unwrap();
                drop(cork);
            }
        });
        let mut next = 0u32;
        while next < MESSAGES {
            let message = server.recv(SOON).unwrap();
            let fds = message.take_fds();
            if message.payload() == "none" {
                assert!(fds.is_empty());
                continue;
            }
            assert_eq!(message.payload()[..4], next.to_le_bytes());
            let [fd] = fds.try_into().unwrap();
            write(fd, &next.to_string());
            next += 1;
        }
    });
    for (n, pipe) in kept.into_iter().enumerate() {
        assert_eq!(rest(pipe), n.to_string());
    }
}

#[test]
fn what_nobody_takes_is_closed() {
    let (client, server) = pair();
    let send = |client: &Peer| {
        let (kept, given) = pipe();
        client.send_with(b"", with(vec![given]), SOON).unwrap();
        kept
    };
    // With the last clone of the message.
    let kept = send(&client);
    let message = server.recv(SOON).unwrap();
    let clone = message.clone();
    drop(message);
    write(clone.take_fds().remove(0), "still there");
    assert_eq!(rest(kept), "still there");
    let kept = send(&client);
    drop(server.recv(SOON).unwrap());
    assert_eq!(rest(kept), "");
    // A batch is bytes alone.
    let kept = send(&client);
    let mut batch = Batch::new();
    server.recv_batch(&mut batch, 10, SOON).unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!(rest(kept), "");
    // Of a call that was given up before anybody took it.
    let (kept, given) = pipe();
    drop(client.start_with(b"", with(vec![given])).unwrap());
    let _ = server.recv(Duration::from_millis(20)).map(drop);
    assert_eq!(rest(kept), "");
    // Queued, with either end closed.
    let kept = [send(&client), send(&client)];
    until("they arrived", || {
        let _ = server.recv_on(Channel::COMMAND, Wait::none());
        server.stats().unwrap().receive_queue.messages == 2
    });
    drop(server);
    kept.into_iter().for_each(|kept| assert_eq!(rest(kept), ""));
}

#[test]
fn what_does_not_leave_is_closed() {
    let (client, server) = pair();
    server.attach().unwrap();
    // Without credit, and withdrawn at its deadline.
    while client.send(Channel::DATA, vec![0; 100_000], Duration::from_millis(200)).is_ok() {}
    let (kept, given) = pipe();
    let error = client.send_with(b"", with(vec![given]), Duration::from_millis(20)).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));
    assert_eq!(rest(kept), "");
    // On a connection that has ended, and in a message that is refused.
    let (kept, given) = pipe();
    let error = client.send_with(vec![0; limits::MAX_MESSAGE + 1], with(vec![given]), SOON).unwrap_err();
    assert_eq!(error.code(), Code::PayloadTooLarge);
    assert_eq!(rest(kept), "");
    client.close();
    let (kept, given) = pipe();
    assert_eq!(client.send_with(b"", with(vec![given]), SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(rest(kept), "");
}

#[test]
fn too_many_are_refused_before_anything_is_sent() {
    let (client, server) = pair();
    let (kept, given): (Vec<_>, Vec<_>) = (0..=limits::MAX_FDS).map(|_| pipe()).unzip();
    let error = client.send_with(b"too many", with(given), SOON).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::InvalidArgument, Sent::No));
    kept.into_iter().for_each(|kept| assert_eq!(rest(kept), ""));
    client.send(Channel::DATA, b"fine", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "fine");
}

#[test]
fn a_connection_that_did_not_agree_carries_none() {
    let secret = || Secret::new("s").unwrap();
    let (on, off) = (both(), (ConnectOptions::new(), ListenOptions::new()));
    let refused = |client: &Peer, server: &Peer, name: &str| {
        assert!(client.info().unwrap().features.is_empty(), "{name}");
        for peer in [client, server] {
            let (kept, given) = pipe();
            let error = peer.send_with(b"", with(vec![given]), SOON).unwrap_err();
            assert_eq!((error.code(), error.sent()), (Code::Unsupported, Sent::No), "{name}");
            assert_eq!(rest(kept), "");
        }
        client.send(Channel::DATA, b"fine", SOON).unwrap();
        assert_eq!(server.recv(SOON).unwrap().payload(), "fine", "{name}");
    };
    let (client, server) = pair_with(&Place::new(), &on.0, &off.1);
    refused(&client, &server, "the connector alone");
    let (client, server) = pair_with(&Place::new(), &off.0, &on.1);
    refused(&client, &server, "the acceptor alone");
    let (client, server) = pair_with(&Place::new(), &on.0.clone().level(Level::Zero), &on.1);
    refused(&client, &server, "level 0");
    // A carrier without any.
    let address = "tcp:127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind_with(&address, &on.1.clone().secret(secret())).unwrap();
    let (client, server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let options = on.0.clone().secret(secret());
        (Peer::connect_with(listener.address(), &options, SOON).unwrap(), server.join().unwrap())
    });
    refused(&client, &server, "tcp");
}

/// As many descriptors as a message may have, all of one file.
fn copies(of: &OwnedFd) -> Vec<OwnedFd> {
    (0..limits::MAX_FDS).map(|_| of.try_clone().unwrap()).collect()
}

/// What a message is charged that has as many and nothing else.
const FULL: usize = limits::MESSAGE_OVERHEAD + limits::MAX_FDS * limits::DESCRIPTOR_OVERHEAD;

#[test]
#[cfg(target_os = "linux")]
fn a_channel_that_nobody_reads_keeps_few_descriptors() {
    if !common::alone("a_channel_that_nobody_reads_keeps_few_descriptors") {
        return;
    }
    let (client, server) = pair();
    server.attach().unwrap();
    let (_kept, given) = pipe();
    for (channel, window) in [(Channel::COMMAND, limits::WINDOW), (Channel::DATA, limits::WINDOW_DATA)] {
        let full = || with(copies(&given)).channel(channel);
        let before = common::descriptors();
        let most = (window as usize).div_ceil(limits::DESCRIPTOR_OVERHEAD) + limits::MAX_FDS;
        let mut sent = 0;
        let error = loop {
            match client.send_with(b"", full(), SOON / 20) {
                Ok(()) => sent += 1,
                // Begun, where the other side is slow to read; it leaves all the same.
                Err(error) if error.sent() == Sent::Maybe => sent += 1,
                Err(error) => break error,
            }
            // Those of a message that is on its way are here and there.
            assert!(common::descriptors() <= before + most + limits::MAX_FDS, "after {sent} messages on {channel}");
        };
        assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));
        assert_eq!(sent, (window as usize).div_ceil(FULL));
        let queued = || server.stats().unwrap().channels.iter().find(|c| c.channel == channel).copied().unwrap();
        until("all have arrived", || queued().queued == sent);
        assert_eq!(queued().queued_bytes, sent * FULL);
        assert_eq!(common::descriptors(), before + sent * limits::MAX_FDS);
        // Taken, they make room for as many, and nothing is left of them.
        let take = || assert_eq!(server.recv_on(channel, SOON).unwrap().take_fds().len(), limits::MAX_FDS);
        (0..sent).for_each(|_| take());
        until("all are closed", || common::descriptors() == before);
        (0..sent).for_each(|_| client.send_with(b"", full(), SOON).unwrap());
        (0..sent).for_each(|_| take());
        assert_eq!(queued().queued_bytes, 0);
        until("all are closed", || common::descriptors() == before);
    }
}

#[test]
fn a_sender_is_charged_for_the_descriptors_of_messages_and_requests() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.path("raw.sock")).unwrap();
    let address = place.address("raw.sock").parse().unwrap();
    // Two of them may begin in it.
    let window = format!(r#""window":{}"#, FULL + 1);
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::accept(&listener, r#""fds""#, &window));
        let client = Peer::connect_with(&address, &ConnectOptions::new().fds(true), SOON).unwrap();
        let mut raw = raw.join().unwrap();
        let (_kept, given) = pipe();
        for channel in [Channel::DATA, Channel::COMMAND] {
            let begins = || {
                let (full, soon) = (with(copies(&given)).channel(channel), Duration::from_millis(50));
                // Nobody answers the requests.
                let result = match channel {
                    Channel::DATA => client.send_with(b"", full, soon),
                    _ => client.request_with(b"", full, soon).map(drop),
                };
                result.map_or_else(
                    |error| {
                        assert_eq!(error.code(), Code::Timeout, "{channel}");
                        error.sent() != Sent::No
                    },
                    |()| true,
                )
            };
            let mut allow = |total: usize| raw.send(CREDIT, 0, channel.number(), 0, &(total as u64).to_le_bytes());
            assert_eq!([begins(), begins(), begins()], [true, true, false], "{channel}");
            allow(2 * FULL);
            assert!(!begins(), "{channel}");
            allow(2 * FULL + 1);
            assert_eq!([begins(), begins()], [true, false], "{channel}");
        }
    });
}

/// Writes `bytes` to the raw side's socket with descriptors.
fn write_with(raw: &Raw1, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    let sent = rustix::net::sendmsg(&raw.0, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}

/// A message on DATA that announces `count` descriptors.
fn announcing(count: u8) -> Vec<u8> {
    let mut payload = vec![5, 0, 5, 0, 1, 0, count];
    payload.extend(b"text");
    Raw1::encode(MESSAGE, WITH_FDS, 2, 0, &payload)
}

/// How a server that agreed on `features` judges what `act` sends with given ends of pipes, all of which have to be closed.
fn verdict(fds: bool, pipes: usize, act: impl Fn(&mut Raw1, &[BorrowedFd<'_>])) -> Code {
    let place = Place::new();
    let address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new().fds(true)).unwrap();
    let (mut raw, server) = std::thread::scope(|scope| {
        let features = if fds { r#""fds""# } else { "" };
        let raw = scope.spawn(|| Raw1::connect(&place.address("a.sock"), features, ""));
        let server = listener.accept(SOON).unwrap();
        (raw.join().unwrap(), server)
    });
    let (kept, given): (Vec<_>, Vec<_>) = (0..pipes).map(|_| pipe()).unzip();
    let borrowed: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
    act(&mut raw, &borrowed);
    drop(borrowed);
    drop(given);
    let code = loop {
        match server.recv(SOON) {
            Ok(message) => drop(message.take_fds()),
            Err(error) => break error.code(),
        }
    };
    // The reason is told, where it still can be.
    if let Some(close) = std::iter::from_fn(|| raw.frame()).find(|frame| frame.kind == CLOSE) {
        assert_eq!(close.payload[..4], code.number().to_le_bytes());
    }
    kept.into_iter().for_each(|kept| assert_eq!(rest(kept), ""));
    code
}

#[test]
fn descriptors_that_are_not_as_announced_end_the_connection_and_are_all_closed() {
    let plain = || Raw1::encode(MESSAGE, WHOLE, 2, 0, b"text");
    // Good to begin with, so that the others fail for their fault alone.
    let good = verdict(true, 2, |raw, fds| {
        write_with(raw, &announcing(2), fds);
        raw.send(CLOSE, 0, 0, 0, &Code::Closed.number().to_le_bytes());
    });
    assert_eq!(good, Code::PeerClosed);
    for (name, fds, pipes, bytes) in [
        ("unannounced", true, 1, plain()),
        ("more than announced", true, 3, announcing(2)),
        ("fewer than announced", true, 1, announcing(2)),
        ("none where some were announced", true, 0, announcing(1)),
        ("more than a message may have", true, 5, announcing(5)),
        ("announced as none", true, 1, announcing(0)),
        ("the flag alone", true, 1, Raw1::encode(MESSAGE, WHOLE | 0x20, 2, 0, b"text")),
        ("the extension alone", true, 1, Raw1::encode(MESSAGE, WHOLE | 0x04, 2, 0, &announcing(1)[16..])),
        ("announced in a connection that agreed on none", false, 0, announcing(1)),
        ("sent in a connection that agreed on none", false, 1, announcing(1)),
    ] {
        let code = verdict(fds, pipes, |raw, fds| match fds {
            [] => raw.0.write_all(&bytes).unwrap(),
            fds => write_with(raw, &bytes, fds),
        });
        // More than fit are cut by the kernel, which is a fault of the carrier.
        assert!(matches!(code, Code::ProtocolError | Code::Io), "{name}: {code:?}");
        assert!(code == Code::ProtocolError || pipes > limits::MAX_FDS, "{name}: {code:?}");
    }
    // What comes uninvited is let in by nobody, and what it came with is as good as without.
    let uninvited = verdict(false, 1, |raw, fds| {
        write_with(raw, &plain(), fds);
        raw.send(CLOSE, 0, 0, 0, &Code::Closed.number().to_le_bytes());
    });
    assert_eq!(uninvited, Code::PeerClosed);
}

#[test]
fn descriptors_in_the_middle_of_a_frame_are_not_gathered() {
    let large = |len: u32| {
        let mut header = Raw1::encode(MESSAGE, WHOLE, 2, 0, b"");
        header[..4].copy_from_slice(&len.to_le_bytes());
        header
    };
    let nop = |_: usize| vec![0u8; 16];
    for (name, begin, piece) in [
        ("ignored frames, a byte out of step", vec![0; 17], &nop as &dyn Fn(usize) -> Vec<u8>),
        ("a small frame that does not end", large(16_000), &|n| vec![0; n + 1]),
        ("a large frame that does not end", large(4 << 20), &|n| vec![0; n + 1]),
        ("a large frame, as its first bytes are there", [large(4 << 20), vec![0; 20_000]].concat(), &|_| vec![0]),
    ] {
        // Not one more than a message may have is kept, although nothing says yet that they are too many.
        let code = verdict(true, limits::MAX_FDS + 1, |raw, fds| {
            raw.0.write_all(&begin).unwrap();
            for (n, fd) in fds.iter().enumerate() {
                write_with(raw, &piece(n), &[*fd]);
            }
        });
        assert_eq!(code, Code::ProtocolError, "{name}");
    }
}

#[test]
fn an_answer_with_descriptors_is_a_fault() {
    // Nobody could take them out of it.
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.path("raw.sock")).unwrap();
    let address = place.address("raw.sock").parse().unwrap();
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::accept(&listener, r#""fds""#, ""));
        let client = Peer::connect_with(&address, &ConnectOptions::new().fds(true), SOON).unwrap();
        let mut raw = raw.join().unwrap();
        let call = client.start(b"?").unwrap();
        let request = raw.next(0x11);
        let (kept, given) = pipe();
        let payload = [&[5, 0, 5, 0, 1, 0, 1][..], b"!"].concat();
        write_with(&raw, &Raw1::encode(RESPONSE, WITH_FDS, 1, request.id, &payload), &[given.as_fd()]);
        drop(given);
        assert_eq!(call.wait(SOON).unwrap_err().code(), Code::ProtocolError);
        assert_eq!(rest(kept), "");
    });
}

#[test]
fn a_context_passes_descriptors_too() {
    let (mut events, place) = (Events::new(), Place::new());
    let (connect, listen) = both();
    let (client, server) = events.pair_with(&place, &connect, &listen);
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (kept, given) = pipe();
        let sent = events.context.send_with(from, vec![3; 400_000], with(vec![given]), None);
        let sent = events.start(sent);
        let message = events.recv(to).unwrap();
        let [fd] = message.take_fds().try_into().unwrap();
        write(fd, "by a loop");
        assert!(matches!(events.wait(sent).unwrap(), Outcome::Sent));
        assert_eq!(rest(kept), "by a loop");
        let (kept, given) = pipe();
        let call = events.context.request_with(from, b"?", with(vec![given]), None);
        let call = events.start(call);
        let request = events.recv(to).unwrap();
        let [fd] = request.take_fds().try_into().unwrap();
        write(fd, "asked");
        assert_eq!(rest(kept), "asked");
        let reply = events.context.reply(&request, b"!", None);
        events.finish(reply).unwrap();
        assert!(matches!(events.wait(call).unwrap(), Outcome::Reply(_)));
        let (kept, given): (Vec<_>, Vec<_>) = (0..5).map(|_| pipe()).unzip();
        let error = events.context.send_with(from, b"", with(given), None).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        kept.into_iter().for_each(|kept| assert_eq!(rest(kept), ""));
    }
}
