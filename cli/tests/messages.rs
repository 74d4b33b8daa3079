//! Messages through the real binary: every serving and sending command, every output format.

mod common;

use std::fs;

use common::{Done, Place, Server, run, run_with_input};

fn echo(place: &Place) -> (Server, String) {
    let address = place.address("echo");
    (Server::start(&["echo", &address]), address)
}

#[test]
fn request_gets_its_payload_back() {
    let place = Place::new();
    let (_server, address) = echo(&place);
    let reply = run(&["request", &address, "--data", "hello"]).expect(0).json();
    assert_eq!(reply["text"], "hello");
    assert_eq!(reply["channel"], 1);
    assert_eq!(reply["channel_name"], "COMMAND");
    assert_eq!(reply["size"], 5);
}

#[test]
fn every_payload_source_arrives_unchanged() {
    let place = Place::new();
    let (_server, address) = echo(&place);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let file = place.address("bytes");
    fs::write(&file, &bytes).unwrap();

    let raw = |done: Done| done.expect(0).stdout;
    let get = |source: &[&str], input: &[u8]| {
        raw(run_with_input(&[&["--format", "raw", "request", &address], source].concat(), input))
    };
    assert_eq!(get(&["--file", &file], b""), bytes);
    assert_eq!(get(&["-"], &bytes), bytes);
    assert_eq!(get(&["-"], b""), b"");
    assert_eq!(get(&["a text"], b"ignored"), b"a text");
    assert_eq!(get(&["--", "--data"], b""), b"--data");
    assert_eq!(get(&["--data", ""], b""), b"");
    assert_eq!(get(&["--data", "- \u{e4}"], b""), "- \u{e4}".as_bytes());
    // As written, not as parsed and printed again.
    assert_eq!(get(&["--json", "{ \"b\": 1.0, \"a\": 2 }"], b""), b"{ \"b\": 1.0, \"a\": 2 }");
}

#[test]
fn formats_show_the_same_message() {
    let place = Place::new();
    let (_server, address) = echo(&place);
    let ask = |format: &str| run(&["--format", format, "request", &address, "--data", "a\tb\u{1b}[31m"]).expect(0);

    let json = ask("json").json();
    assert_eq!(json["text"], "a\tb\u{1b}[31m");
    let pretty = ask("pretty");
    assert!(pretty.text().lines().count() > 5, "{}", pretty.text());
    let value: serde_json::Value = serde_json::from_str(pretty.text()).unwrap();
    assert_eq!(value["text"], json["text"]);
    let table = ask("table");
    assert_eq!(table.text().lines().count(), 1);
    // Nothing a peer sends reaches the terminal as a control sequence.
    assert!(table.text().contains(r"a\tb\u{1b}[31m"), "{}", table.text());
    assert_eq!(ask("raw").stdout, b"a\tb\x1b[31m");
}

#[test]
fn json_lines_are_the_default_off_a_terminal() {
    let place = Place::new();
    let (_server, address) = echo(&place);
    run(&["request", &address, "--data", "x"]).expect(0).json();
    run(&["send", &address, "--data", "x"]).expect(0).json();
    run(&["info", &address]).expect(0).json();
    run(&["version"]).expect(0).json();
    run(&["envinfo"]).expect(0).json();
    run(&["doctor"]).expect(0).json();
}

#[test]
fn listen_prints_what_is_sent() {
    let place = Place::new();
    let address = place.address("listen");
    let mut server = Server::start(&["listen", &address, "--count", "4"]);
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(1);
    let sent = run(&["send", &address, "--json", "{\"a\":1}"]).expect(0).json();
    assert_eq!(sent["sent"], true);
    let message = server.out.json();
    assert_eq!(message["channel"], 2);
    assert_eq!(message["channel_name"], "DATA");
    assert_eq!(message["size"], 7);
    assert_eq!(message["text"], "{\"a\":1}");
    assert!(message["peer_id"].as_str().unwrap().starts_with("peer-"), "{message}");
    assert_eq!(message["credentials"]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(message["credentials"]["gid"], rustix::process::getegid().as_raw());
    assert!(message["credentials"]["pid"].as_i64().unwrap() > 0);
    let at = humantime::parse_rfc3339(message["timestamp"].as_str().unwrap()).unwrap();
    assert!(at > before && at < std::time::SystemTime::now());

    run_with_input(&["send", &address, "-c", "telemetry", "-"], &[0xff, 0, 1]).expect(0);
    let message = server.out.json();
    assert_eq!((&message["channel"], &message["base64"]), (&3.into(), &"/wAB".into()));
    assert!(message.get("text").is_none());

    run(&["send", &address, "-c", "1", "--data", ""]).expect(0);
    let message = server.out.json();
    assert_eq!((&message["channel"], &message["text"]), (&1.into(), &"".into()));

    run(&["send", &address, "-c", "ERROR", "--data", "last"]).expect(0);
    assert_eq!(server.out.json()["text"], "last");
    assert_eq!(server.ended(common::LIMIT), 0);
    assert!(!place.path("listen").exists(), "the socket is gone");
}

#[test]
fn listen_raw_writes_payload_bytes_and_nothing_else() {
    let place = Place::new();
    let address = place.address("raw");
    let bytes: Vec<u8> = (0..=255).collect();
    let listening = address.clone();
    let reader = std::thread::spawn(move || {
        run(&["--log-level", "error", "--format", "raw", "listen", &listening, "--count", "2"])
    });
    // It is asked to say nothing, so the socket itself tells when it listens.
    let end = std::time::Instant::now() + common::LIMIT;
    while run_with_input(&["send", &address, "-"], &bytes).code != Some(0) {
        assert!(std::time::Instant::now() < end, "the listener never came up");
    }
    run_with_input(&["send", &address, "-"], b"x").expect(0);
    let done = reader.join().unwrap().expect(0);
    assert_eq!(done.stdout, [&bytes[..], b"x"].concat());
    assert_eq!(done.stderr, "");
}

#[test]
fn user_channels_are_served_when_named() {
    let place = Place::new();
    let address = place.address("user");
    let server = Server::start(&["listen", &address, "--channel", "300", "--channel", "data"]);
    run(&["send", &address, "-c", "300", "--data", "mine"]).expect(0);
    let message = server.out.json();
    assert_eq!((&message["channel"], &message["channel_name"]), (&300.into(), &serde_json::Value::Null));
    run(&["send", &address, "-c", "2", "--data", "also"]).expect(0);
    assert_eq!(server.out.json()["channel"], 2);
    // Neither the channel nor ERROR is served: no common channel.
    run(&["send", &address, "-c", "301", "--data", "x"]).expect(3);

    let address = place.address("user-echo");
    let _echo = Server::start(&["echo", &address, "-c", "300", "-c", "4"]);
    let answer = run(&["send", &address, "-c", "300", "--data", "mine", "--wait"]).expect(0).json();
    assert_eq!((&answer["channel"], &answer["text"]), (&300.into(), &"mine".into()));
    let info = run(&["info", &address, "-c", "300"]).expect(0).json();
    assert_eq!(info["channels"].as_array().unwrap().len(), 1, "{info}");
    assert_eq!((&info["channels"][0]["id"], &info["channels"][0]["name"]), (&300.into(), &serde_json::Value::Null));
    // ERROR is agreed, the channel is not.
    run(&["send", &address, "-c", "301", "--data", "x"]).expect(64);
}

#[test]
fn send_waits_for_the_first_answer() {
    let place = Place::new();
    let (_server, address) = echo(&place);
    for channel in ["1", "2", "3", "4"] {
        let answer = run(&["send", &address, "-c", channel, "--data", "ping", "--wait"]).expect(0).json();
        assert_eq!(answer["channel"].to_string(), channel);
        assert_eq!(answer["text"], "ping");
    }
    assert_eq!(run(&["--format", "raw", "send", &address, "--data", "quiet"]).expect(0).stdout, b"");
    assert_eq!(run(&["--format", "raw", "send", &address, "--data", "loud", "--wait"]).expect(0).stdout, b"loud");
}

#[test]
fn secret_files_open_the_door() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let secret = |name: &str, text: &str| {
        let path = place.address(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (secret("right", "open sesame\n"), secret("wrong", "open barley\n"));
    let address = place.address("guarded");
    let server = Server::start(&["listen", &address, "--secret-file", &right]);
    run(&["send", &address, "--data", "in", "--secret-file", &right]).expect(0);
    assert_eq!(server.out.json()["text"], "in");
    let token = place.address("token");
    let stock = Server::start(&["listen", &token, "--token-file", &right]);
    run(&["send", &token, "--data", "sent", "--token-file", &right]).expect(0);
    assert_eq!(stock.out.json()["text"], "sent");
    run(&["send", &token, "--data", "out", "--token-file", &wrong]).expect(50);
    for arguments in
        [&["send", &address, "--data", "out"][..], &["send", &address, "--data", "out", "--secret-file", &wrong]]
    {
        let done = run(arguments).expect(50);
        assert!(done.stderr.contains("authentication_failed"), "{}", done.stderr);
        assert!(!done.stderr.contains("open"), "no secret in a message: {}", done.stderr);
    }
    assert!(server.log.containing("refused").contains("authentication_failed"));
}

#[test]
fn abstract_sockets_are_served_to_the_users_named() {
    let me = rustix::process::geteuid().as_raw().to_string();
    let address = format!("unix:@hostlane-cli-{}", std::process::id());
    let _server = Server::start(&["echo", &address, "--allow-uid", &me]);
    let reply = run(&["request", &address, "--data", "x", "--allow-uid", &me]).expect(0).json();
    assert_eq!(reply["text"], "x");
    // Neither side has to do with anybody else.
    run(&["request", &address, "--data", "x", "--allow-uid", "54321"]).expect(50);
    let address = format!("{address}-b");
    let _server = Server::start(&["echo", &address, "--allow-uid", "54321"]);
    run(&["request", &address, "--data", "x", "--allow-uid", &me]).expect(50);
}
