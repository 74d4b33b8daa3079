//! The agent's output is what its runners expect, and its checks see a wrong answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use hostlane::{Channel, Listener, Message, Peer, Wait};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

/// A server in this process that treats every message in its own way.
fn serve(address: &str, answer: impl Fn(&Message) -> Vec<u8> + Copy + Send + 'static) {
    let listener = Listener::bind(address).unwrap();
    thread::spawn(move || {
        loop {
            let peer = listener.accept(Wait::forever()).unwrap();
            thread::spawn(move || treat(&peer, answer));
        }
    });
}

fn treat(peer: &Peer, answer: impl Fn(&Message) -> Vec<u8>) {
    while let Ok(message) = peer.recv(Wait::forever()) {
        message.reply(answer(&message), Duration::from_secs(5)).unwrap();
    }
}

fn echo(message: &Message) -> Vec<u8> {
    message.payload().to_vec()
}

fn place() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let address = directory.path().join("a").to_str().unwrap().to_owned();
    (directory, address)
}

fn run(arguments: &[&str], input: &str) -> (Option<i32>, Vec<u8>) {
    let mut child = Command::new(AGENT).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    (done.status.code(), done.stdout)
}

/// Splits `KIND SIZE NS\n` and SIZE bytes off the front.
fn part<'a>(output: &mut &'a [u8], kind: &str) -> &'a [u8] {
    let end = output.iter().position(|&byte| byte == b'\n').expect("a line");
    let line = std::str::from_utf8(&output[..end]).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words.len(), words[0]), (3, kind), "{line}");
    assert!(words[2].parse::<u64>().unwrap() > 0, "{line}");
    let (bytes, rest) = output[end + 1..].split_at(words[1].parse().unwrap());
    *output = rest;
    bytes
}

#[test]
fn files_come_back_whole() {
    let (directory, address) = place();
    serve(&address, echo);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let large: Vec<u8> = (0..=255).cycle().take(3 * 256 * 1024 + 17).collect();
    std::fs::write(path("large"), &large).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    let input = format!("{}\n{}\n{}\n", path("large"), path("missing"), path("empty"));
    let (code, output) = run(&["files", &address], &input);
    let mut output = &output[..];
    assert_eq!(code, Some(0));
    assert_eq!(part(&mut output, "data"), large);
    assert_eq!(part(&mut output, "call"), large);
    let end = output.iter().position(|&byte| byte == b'\n').unwrap();
    let error = std::str::from_utf8(&output[..end]).unwrap();
    assert!(error.starts_with("error io ") && error.contains("missing"), "{error}");
    output = &output[end + 1..];
    assert_eq!(part(&mut output, "data"), b"");
    assert_eq!(part(&mut output, "call"), b"");
    assert_eq!(output, b"");
}

#[test]
fn files_reports_what_came_back_not_what_was_sent() {
    let (directory, address) = place();
    serve(&address, |message| match message.channel() {
        Channel::DATA => b"other".to_vec(),
        _ => echo(message),
    });
    let path = directory.path().join("file").to_str().unwrap().to_owned();
    std::fs::write(&path, "sent").unwrap();
    let (code, output) = run(&["files", &address], &format!("{path}\n"));
    let mut output = &output[..];
    assert_eq!(code, Some(0));
    assert_eq!(part(&mut output, "data"), b"other");
    assert_eq!(part(&mut output, "call"), b"sent");
}

#[test]
fn nobody_there_is_an_error_line_for_each_file() {
    let (directory, address) = place();
    let path = directory.path().join("file").to_str().unwrap().to_owned();
    std::fs::write(&path, "x").unwrap();
    let (code, output) = run(&["files", &address], &format!("{path}\n{path}\n"));
    let text = String::from_utf8(output).unwrap();
    assert_eq!((code, text.lines().count()), (Some(0), 2), "{text}");
    assert!(text.lines().all(|line| line.starts_with("error not_found ")), "{text}");
}

#[test]
fn bench_and_stream_refuse_a_wrong_answer() {
    let (_directory, address) = place();
    serve(&address, |_| b"wrong".to_vec());
    assert_eq!(run(&["bench", &address, "64", "0.1"], "").0, Some(1));
    let (_directory, address) = place();
    serve(&address, |_| b"0".to_vec());
    assert_eq!(run(&["stream", &address, "64", "0.1"], "").0, Some(1));
}

#[test]
fn each_benchmark_runs_against_its_server() {
    let (_directory, address) = place();
    serve(&address, echo);
    expect_bench(&["bench", &address, "64", "0.1"]);
    for (server, client) in [("raw-echo", "raw-bench"), ("sink", "stream"), ("raw-sink", "raw-stream")] {
        let (_directory, address) = place();
        let _server = Server::start(server, &address);
        for size in ["1", "64", "300000"] {
            match client {
                "raw-bench" => expect_bench(&[client, &address, size, "0.1"]),
                _ => expect_stream(&[client, &address, size, "0.1"], size),
            }
        }
    }
}

fn json(arguments: &[&str]) -> Value {
    let (code, output) = run(arguments, "");
    assert_eq!(code, Some(0), "{arguments:?}");
    serde_json::from_slice(&output).unwrap()
}

fn expect_bench(arguments: &[&str]) {
    let result = json(arguments);
    let number = |name: &str| result[name].as_u64().unwrap();
    assert!(number("count") > 0 && number("median_ns") > 0, "{result}");
    assert!(number("p99_ns") >= number("median_ns"), "{result}");
}

fn expect_stream(arguments: &[&str], size: &str) {
    let result = json(arguments);
    let messages = result["messages"].as_u64().unwrap();
    assert!(messages > 0 && result["seconds"].as_f64().unwrap() >= 0.1, "{result}");
    assert_eq!(result["bytes"].as_u64().unwrap(), messages * size.parse::<u64>().unwrap());
}

/// A serving mode of the agent, killed when dropped.
struct Server(Child);

impl Server {
    fn start(mode: &str, address: &str) -> Server {
        let mut child = Command::new(AGENT).args([mode, address]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap().take(1024)).read_line(&mut line).unwrap();
        assert_eq!(line, format!("ready {address}\n"));
        Server(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
