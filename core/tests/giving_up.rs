//! What is lost when an operation of a context is given up, or its completion is thrown away: nothing.

mod common;

use common::{Place, SOON};
use hostlane::{
    Address, CallOptions, Channel, Code, Completion, ConnectOptions, Context, Level, Listener, Outcome, Peer, Progress,
    Result, Started,
};

/// Two peers in one context, each the other's other side.
struct Both {
    context: Context,
    client: Peer,
    server: Peer,
    listener: Listener,
    _place: Place,
}

impl Both {
    fn new(level: Level) -> Both {
        let (context, place) = (Context::new().unwrap(), Place::new());
        let address: Address = place.address("a.sock").parse().unwrap();
        let listener = Listener::bind_with(&address, &Default::default()).unwrap();
        let accept = context.accept(&listener, None).unwrap();
        let connect = context.connect(&address, &ConnectOptions::new().level(level), None).unwrap();
        let (Started::Pending(accept), Started::Pending(_)) = (accept, connect) else { panic!() };
        let (mut client, mut server) = (None, None);
        while client.is_none() || server.is_none() {
            let completion = context.next(SOON).unwrap();
            assert_eq!(completion.op == accept, matches!(completion.result, Ok(Outcome::Accepted(_))));
            match completion.result.unwrap() {
                Outcome::Accepted(peer) => server = Some(peer),
                Outcome::Connected(peer) => client = Some(peer),
                other => panic!("{other:?}"),
            }
        }
        Both { context, client: client.unwrap(), server: server.unwrap(), listener, _place: place }
    }

    fn finish(&self, started: Result<Started>) -> Result<Outcome> {
        let op = match started? {
            Started::Done(outcome) => return Ok(outcome),
            Started::Pending(op) => op,
        };
        loop {
            let Completion { op: other, result } = self.context.next(SOON).unwrap();
            if op == other {
                return result;
            }
        }
    }

    /// Moves bytes until there is nothing left to do, and throws every completion away.
    fn waste(&self) {
        while self.context.process(8, &mut Vec::new()).unwrap() == Progress::More {}
    }
}

fn pending(started: Result<Started>) -> u64 {
    match started.unwrap() {
        Started::Pending(op) => op,
        other => panic!("{other:?}"),
    }
}

fn payload(outcome: Result<Outcome>) -> Vec<u8> {
    match outcome.unwrap() {
        Outcome::Message(message) => message.payload().to_vec(),
        Outcome::Item(item) => item.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receive_that_waits_takes_nothing() {
    for level in [Level::Zero, Level::One] {
        let both = Both::new(level);
        let Both { context, client, server, .. } = &both;
        for _ in 0..3 {
            pending(context.poll_recv(server, None, None));
        }
        for n in 0..3u8 {
            both.finish(context.send(client, Channel::DATA, &[n], None)).unwrap();
        }
        while both.server.stats().unwrap().receive_queue.messages < 3 {
            both.waste();
        }
        for n in 0..3u8 {
            assert_eq!(payload(both.finish(context.poll_recv(server, None, None))), [n]);
        }
    }
}

#[test]
fn who_waits_for_one_channel_is_told_of_no_other() {
    for level in [Level::Zero, Level::One] {
        let both = Both::new(level);
        let Both { context, client, server, .. } = &both;
        let errors = pending(context.poll_recv(server, Some(Channel::ERROR), None));
        let any = pending(context.poll_recv(server, None, None));
        both.finish(context.send(client, Channel::DATA, b"data", None)).unwrap();
        assert!(matches!(both.finish(Ok(Started::Pending(any))), Ok(Outcome::Readable)));
        let data = pending(context.poll_recv(server, Some(Channel::COMMAND), None));
        both.finish(context.send(client, Channel::ERROR, b"error", None)).unwrap();
        assert!(matches!(both.finish(Ok(Started::Pending(errors))), Ok(Outcome::Readable)));
        context.cancel(data);
        assert_eq!(both.finish(Ok(Started::Pending(data))).unwrap_err().code(), Code::Cancelled);
        assert_eq!(payload(context.poll_recv(server, Some(Channel::ERROR), None).map(done)), b"error");
        assert_eq!(payload(context.poll_recv(server, Some(Channel::DATA), None).map(done)), b"data");
        let last = context.poll_recv(server, None, None);
        client.close();
        assert_eq!(both.finish(last).unwrap_err().code(), Code::PeerClosed);
        assert_eq!(context.poll_recv(server, None, None).unwrap_err().code(), Code::PeerClosed);
    }
}

fn done(started: Started) -> Outcome {
    match started {
        Started::Done(outcome) => outcome,
        Started::Pending(op) => panic!("{op} is pending"),
    }
}

#[test]
fn an_accept_that_waits_takes_nobody() {
    let both = Both::new(Level::Auto);
    let context = &both.context;
    let told = pending(context.poll_accept(&both.listener, None));
    let connect = context.connect(both.listener.address(), &ConnectOptions::new(), None);
    let Outcome::Connected(client) = both.finish(connect).unwrap() else { panic!() };
    // Whether it was told before or is now, its completion is thrown away.
    context.cancel(told);
    both.waste();
    let Ok(Outcome::Accepted(server)) = both.finish(context.poll_accept(&both.listener, None)) else { panic!() };
    both.finish(context.send(&server, Channel::DATA, b"welcome", None)).unwrap();
    let message = loop {
        match both.finish(context.poll_recv(&client, None, None)).unwrap() {
            Outcome::Message(message) => break message,
            Outcome::Readable => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(message.payload(), "welcome");
    let waiting = context.poll_accept(&both.listener, None);
    both.listener.close();
    assert_eq!(both.finish(waiting).unwrap_err().code(), Code::Closed);
}

#[test]
fn a_stream_reader_that_waits_takes_nothing() {
    let both = Both::new(Level::One);
    let Both { context, client, server, .. } = &both;
    let calling = client.open_stream(b"", CallOptions::new()).unwrap();
    let Outcome::Message(request) = both.finish(context.recv(server, None, None)).unwrap() else { panic!() };
    let serving = request.stream().unwrap();
    let mut told = (0..3).map(|_| pending(context.poll_stream_recv(&calling, None))).collect::<Vec<_>>();
    for n in 0..3u8 {
        both.finish(context.stream_send(&serving, &[n], None)).unwrap();
    }
    while !told.is_empty() {
        let completion = context.next(SOON).unwrap();
        told.retain(|op| *op != completion.op);
    }
    for n in 0..3u8 {
        // One that is still on its way is told of first.
        let item = std::iter::repeat_with(|| both.finish(context.poll_stream_recv(&calling, None)));
        let mut items = item.skip_while(|outcome| matches!(outcome, Ok(Outcome::Readable)));
        assert_eq!(payload(items.next().unwrap()), [n]);
    }
    let told = context.poll_stream_recv(&serving, None);
    both.finish(context.stream_finish(&calling, None)).unwrap();
    assert!(matches!(both.finish(told), Ok(Outcome::Readable)));
    assert!(matches!(context.poll_stream_recv(&serving, None).map(done), Ok(Outcome::StreamEnd(None))));
    let told = context.poll_stream_recv(&calling, None);
    both.finish(context.reply(&request, b"the end", None)).unwrap();
    assert!(matches!(both.finish(told), Ok(Outcome::Readable)));
    let Ok(Outcome::StreamEnd(Some(end))) = context.poll_stream_recv(&calling, None).map(done) else { panic!() };
    assert_eq!(end, "the end");
    assert_eq!(context.poll_stream_recv(&calling, None).unwrap_err().code(), Code::CallEnded);
}

#[test]
fn a_reply_nobody_waits_for_still_reaches_its_caller() {
    let both = Both::new(Level::One);
    let Both { context, client, server, .. } = &both;
    let call = pending(context.request(client, b"?", None));
    let Outcome::Message(request) = both.finish(context.recv(server, None, None)).unwrap() else { panic!() };
    // More than the kernel takes while the other side does not read, so that the reply has to wait.
    pending(context.send(server, Channel::DATA, vec![0; 4 << 20], None));
    let reply = pending(context.reply(&request, b"!", None));
    context.cancel(reply);
    drop(request);
    let Outcome::Reply(answer) = both.finish(Ok(Started::Pending(call))).unwrap() else { panic!() };
    assert_eq!(answer.payload(), "!");
}
