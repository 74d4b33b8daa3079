//! `--schema`: what is invalid is reported, and the connection goes on.

mod common;

use common::{LIMIT, Place, Server, run};
use hostlane::{Channel, ConnectOptions, Peer};

const SCHEMAS: &[(&str, &str)] = &[
    ("command.schema.json", r#"{"type": "object", "required": ["op"]}"#),
    ("data.schema.json", r#"{"type": "object", "properties": {"n": {"type": "integer"}}}"#),
];

#[test]
fn echo_answers_an_invalid_message_on_error_and_goes_on() {
    let place = Place::new();
    let address = place.address("a");
    let server = Server::start(&["echo", &address, "--schema", &place.schemas(SCHEMAS)]);
    let peer = Peer::connect(&address, LIMIT).unwrap();
    peer.send(Channel::DATA, r#"{"n": "x"}"#, LIMIT).unwrap();
    let answer = peer.recv(LIMIT).unwrap();
    assert_eq!(answer.channel(), Channel::ERROR);
    let answer: serde_json::Value = serde_json::from_slice(answer.payload()).unwrap();
    assert_eq!(answer["error"]["code"], 401);
    assert_eq!(answer["error"]["name"], "schema_violation");
    assert_eq!(answer["error"]["path"], "/n");
    assert!(answer["error"]["message"].as_str().unwrap().contains("integer"), "{answer}");
    assert!(server.log.containing("warning").contains("/n"));

    peer.send(Channel::DATA, r#"{"n": 1}"#, LIMIT).unwrap();
    let echo = peer.recv(LIMIT).unwrap();
    assert_eq!((echo.channel(), &echo.payload()[..]), (Channel::DATA, &br#"{"n": 1}"#[..]));
    // A channel without a schema takes anything.
    peer.send(Channel::TELEMETRY, b"\xff", LIMIT).unwrap();
    assert_eq!(&peer.recv(LIMIT).unwrap().payload()[..], b"\xff");
}

#[test]
fn client_without_the_error_channel_gets_no_answer_and_stays() {
    let place = Place::new();
    let address = place.address("a");
    let server = Server::start(&["echo", &address, "--schema", &place.schemas(SCHEMAS)]);
    let options = ConnectOptions::new().channels(&[Channel::DATA]);
    let peer = Peer::connect_with(&address.parse().unwrap(), &options, LIMIT).unwrap();
    peer.send(Channel::DATA, "not JSON", LIMIT).unwrap();
    assert!(server.log.containing("warning").contains("not valid JSON"));
    peer.send(Channel::DATA, "{}", LIMIT).unwrap();
    assert_eq!(&peer.recv(LIMIT).unwrap().payload()[..], b"{}");
}

#[test]
fn send_and_request_report_the_refusal_at_once() {
    let place = Place::new();
    let address = place.address("a");
    let _server = Server::start(&["echo", &address, "--schema", &place.schemas(SCHEMAS)]);
    for arguments in [
        &["send", &address, "--json", "{\"n\":1.5}", "--wait", "--timeout", "9s"][..],
        &["request", &address, "--json", "{}", "--deadline", "9s", "--level", "0"],
    ] {
        let done = run(arguments).expect(60);
        assert!(done.took.as_secs() < 5, "not only after the whole time: {:?}", done.took);
        let answer = done.json();
        assert_eq!(answer["channel_name"], "ERROR");
        assert!(answer["text"].as_str().unwrap().contains("schema_violation"), "{answer}");
    }
    let failed = run(&["request", &address, "--json", "{}", "--deadline", "9s"]).expect(60);
    assert_eq!((failed.json()["error"].as_str(), failed.json()["status"].as_u64()), (Some("remote_error"), Some(401)));
    assert!(failed.json()["text"].as_str().unwrap().contains("schema_violation"), "{failed:?}");
    run(&["request", &address, "--json", "{\"op\":1}"]).expect(0);
}

#[test]
fn send_and_request_check_before_they_send() {
    let place = Place::new();
    let schemas = place.schemas(SCHEMAS);
    let address = place.address("a");
    let server = Server::start(&["listen", &address]);
    for arguments in [&["send", "--json", "{\"n\":\"x\"}"][..], &["request", "--json", "[]"]] {
        let done = run(&[arguments, &[&address, "--schema", &schemas]].concat()).expect(60);
        assert!(done.stderr.contains("schema_violation"), "{}", done.stderr);
    }
    run(&["send", &address, "--json", "{\"n\":7}", "--schema", &schemas]).expect(0);
    // The first to arrive is the valid one.
    assert_eq!(server.out.json()["text"], "{\"n\":7}");
}

#[test]
fn listen_shows_an_invalid_message_with_its_violation() {
    let place = Place::new();
    let address = place.address("a");
    let schemas = place.schemas(SCHEMAS);
    let mut server = Server::start(&["listen", &address, "--schema", &schemas, "--count", "2"]);
    run(&["send", &address, "--json", "{\"n\":[]}"]).expect(0);
    let message = server.out.json();
    assert_eq!(message["text"], "{\"n\":[]}");
    assert_eq!(message["violation"]["path"], "/n");
    assert_eq!(message["violation"]["schema_path"], "/properties/n/type");
    run(&["send", &address, "--json", "{\"n\":1}"]).expect(0);
    assert!(server.out.json().get("violation").is_none());
    assert_eq!(server.ended(LIMIT), 60);
}
