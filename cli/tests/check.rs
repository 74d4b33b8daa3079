//! `check` itself: what it tells, how it ends, and that its documentation is of these cases. Whether it finds faults is
//! tested with planted ones, in tests/oracle/test_check.py.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Done, LIMIT, Place, Server, binary, run, wait};
use serde_json::Value;

fn lines(done: &Done) -> Vec<Value> {
    done.text().lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn verdicts(done: &Done, case: &str) -> (String, String) {
    let line = lines(done).into_iter().find(|line| line["case"] == case).unwrap_or_else(|| panic!("{case} was played"));
    (line["behaviour"].as_str().unwrap().into(), line["closing"].as_str().unwrap().into())
}

#[test]
fn the_table_in_the_documentation_is_of_these_cases() {
    let page = include_str!("../../docs/check.md");
    let (_, table) = page.split_once("## The cases\n").expect("the page has the table");
    let table: String = table.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
    let listed = run(&["--format", "raw", "check", "--list"]).expect(0);
    assert!(table == listed.text(), "write it anew with: hostlane check --list --format raw");
}

#[test]
fn a_server_is_checked() {
    let place = Place::new();
    let address = place.address("a");
    let server = Server::start(&["echo", &address]);
    let junit = place.address("junit.xml");
    let some = ["--case", "calls/", "--case", "handshake/token", "--junit", &junit];
    let done = run(&[&["check", &server.address][..], &some].concat()).expect(0);
    assert_eq!(verdicts(&done, "calls/nominal"), ("PASS".into(), "PASS".into()));
    assert_eq!(verdicts(&done, "handshake/token-wrong"), ("N/A".into(), "N/A".into()));
    assert!(lines(&done).iter().all(|line| line["role"] == "server" && line["demands"].is_string()), "{done:?}");
    let xml = fs::read_to_string(junit).unwrap();
    assert!(xml.contains("name=\"calls/nominal\"") && xml.contains("failures=\"0\""), "{xml}");
    assert!(xml.contains("<skipped message=\"N/A N/A no --token-file\"/>"), "{xml}");

    let done = run(&["--format", "table", "check", &address, "--case", "calls/nominal", "--level", "1"]).expect(0);
    assert!(done.text().ends_with("behaviour: 1 PASS\nclosing:   1 PASS\n"), "{done:?}");
}

#[test]
fn what_cannot_be_had_here_is_no_fault_of_the_other_side() {
    let place = Place::new();
    let used = place.address("used");
    fs::write(&used, "").unwrap();
    for (words, code, name) in [
        (["check", "--listen", &used], 3, "address_in_use"),
        (["check", "--level=1", &place.address("nobody")], 1, "not_found"),
        (["check", "--jobs=0", &used], 64, "--jobs"),
    ] {
        let done = run(&words).expect(code);
        assert!(done.text().is_empty() && done.stderr.contains(name), "{done:?}");
    }
}

#[test]
fn a_server_with_a_secret_is_checked() {
    let place = Place::new();
    let file = place.address("secret");
    fs::write(&file, "only the two of us").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let tcp = Server::start(&["echo", "tcp:127.0.0.1:0", "--secret-file", &file]);
    let done =
        run(&["check", &tcp.address, "--secret-file", &file, "--case", "ready/proof", "--case", "calls/nominal"]);
    assert_eq!(verdicts(&done.expect(0), "ready/proof-reflected"), ("PASS".into(), "PASS".into()));

    let address = place.address("a");
    let _stock = Server::start(&["echo", &address, "--token-file", &file]);
    let done = run(&["check", &address, "--token-file", &file, "--case", "handshake/token", "--case", "framing/empty"]);
    assert_eq!(verdicts(&done.expect(0), "handshake/token-wrong"), ("PASS".into(), "PASS".into()));
}

#[test]
fn a_client_is_checked() {
    let place = Place::new();
    let address = place.address("c");
    let client = [binary().to_str().unwrap(), "--format", "raw", "request", "{address}", "--data", "{payload}"];
    let check = ["check", "--listen", &address, "--case", "replies/nominal", "--case", "frames/type-1", "--"];
    let done = run(&[&check[..], &client].concat()).expect(0);
    assert_eq!(verdicts(&done, "replies/nominal"), ("PASS".into(), "PASS".into()));
    assert_eq!(verdicts(&done, "frames/type-1"), ("PASS".into(), "PASS".into()));
    assert!(fs::read_dir(place.path("")).unwrap().next().is_none(), "its sockets are gone");
}

#[test]
fn a_client_may_come_by_itself() {
    let place = Place::new();
    let mut check = Command::new(binary());
    check.args(["check", "--listen", &place.address("c"), "--case", "replies/nominal"]);
    let mut check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(check.stderr.take().unwrap()).read_line(&mut told).unwrap();
    let (address, payload) =
        told.split_once(" awaits a client at ").unwrap().1.split_once(" that calls with ").unwrap();
    run(&["request", address, "--data", payload.trim_end()]).expect(0);
    assert_eq!(wait(&mut check, LIMIT).unwrap().code(), Some(0));
    let mut line = String::new();
    check.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    assert!(line.contains(r#""behaviour":"PASS","closing":"PASS""#), "{line}");
}

#[test]
fn it_fails_with_65_and_says_why() {
    let place = Place::new();
    let junit = place.address("junit.xml");
    let address = place.address("c");
    let check = ["check", "--listen", &address, "--case", "replies/nominal", "--slow", "0.1", "--junit", &junit];
    let done = run(&[&check[..], &["--", "sh", "-c", "echo nobody home >&2; exit 3"]].concat()).expect(65);
    let line = &lines(&done)[0];
    assert_eq!(line["behaviour"], "TIMEOUT");
    assert!(line["detail"].as_str().unwrap().contains("ended with 3: nobody home"), "{line}");
    assert!(fs::read_to_string(junit).unwrap().contains("failures=\"1\""));
}

#[test]
fn it_cannot_be_started_in_vain() {
    let place = Place::new();
    run(&["check", &place.address("nobody")]).expect(1);
    run(&["check", "inproc:x"]).expect(64);
    run(&["check"]).expect(64);
    run(&["check", "--list", "--case", "no-such-group/"]).expect(64);
    run(&["check", "--slow", "0", &place.address("nobody")]).expect(64);
}
