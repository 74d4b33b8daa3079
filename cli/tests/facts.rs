//! `info`, `doctor`, `envinfo`, `version`: what they say is true, in every format.

mod common;

use common::{Place, Server, run};

#[test]
fn info_tells_who_serves() {
    let place = Place::new();
    let address = place.address("a");
    let server = Server::start(&["echo", &address]);
    let info = run(&["info", &address]).expect(0).json();
    assert!(info["peer_id"].as_str().unwrap().starts_with("peer-"), "{info}");
    assert_eq!(info["level"], 1);
    assert_eq!(info["features"], serde_json::json!([]));
    let channels: Vec<_> = info["channels"].as_array().unwrap().iter().map(|c| c["id"].as_u64().unwrap()).collect();
    assert_eq!(channels, [1, 2, 3, 4]);
    assert_eq!(info["channels"][1]["name"], "DATA");
    assert_eq!(info["credentials"]["pid"], server.child.id());
    assert_eq!(info["credentials"]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(info["carrier"], "unix");
    assert_eq!((info["max_message"].as_u64(), info["max_calls"].as_u64()), (Some(16 << 20), Some(1024)));
    assert_eq!(info["keepalive_ms"], serde_json::Value::Null);
    assert!(info["channels"][1]["credit"].as_u64().unwrap() >= 64 * 1024, "{info}");
    assert_eq!((&info["stats"]["calls"], &info["stats"]["late"]), (&0.into(), &0.into()));
    let ping = info["ping_us"].as_f64().unwrap();
    assert!(ping > 0.0 && ping < 1e6, "{ping}");

    let table = run(&["--format", "table", "info", &address]).expect(0);
    for part in ["peer id", "level", "channels", "2 DATA", "credentials", "carrier", "keepalive", "max calls", "ping"] {
        assert!(table.text().contains(part), "{}", table.text());
    }
    let pretty = run(&["--format", "pretty", "info", &address]).expect(0);
    serde_json::from_str::<serde_json::Value>(pretty.text()).unwrap();
    let raw = run(&["--format", "raw", "info", &address]).expect(0);
    assert!(raw.text().trim_end().strip_prefix("peer-").unwrap().parse::<u64>().is_ok(), "{}", raw.text());
}

#[test]
fn doctor_leaves_nothing_behind() {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let place = Place::new();
    let (runtime, temporary) = (place.path("run"), place.path("tmp"));
    for directory in [&runtime, &temporary] {
        std::fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
    }
    let mut command = std::process::Command::new(common::binary());
    command.arg("doctor").env("XDG_RUNTIME_DIR", &runtime).env("TMPDIR", &temporary);
    common::finish(&mut command, b"").expect(0);
    let left = |directory: &std::path::Path| {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let lanes = runtime.join("hostlane");
    assert_eq!(left(&runtime), std::slice::from_ref(&lanes));
    assert_eq!(std::fs::metadata(&lanes).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(left(&lanes).is_empty(), "{:?}", left(&lanes));
    assert!(left(&temporary).is_empty(), "{:?}", left(&temporary));
}

#[test]
fn doctor_passes_here() {
    let findings = run(&["doctor"]).expect(0).json();
    assert_eq!(findings["overall"], "pass", "{findings}");
    let checks = findings["checks"].as_array().unwrap();
    let detail = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(check["status"], "pass", "{check}");
        check["detail"].as_str().unwrap().to_owned()
    };
    for transport in ["path socket", "per-user name", "abstract socket", "tcp", "inproc", "standard streams of a child"]
    {
        assert!(detail(transport).contains("there and back on level 1"), "{}", detail(transport));
    }
    assert!(detail("path socket, level 0").contains("there and back on level 0"));
    assert!(detail("stream").contains("64 items"));
    assert!(detail("cancelled call").contains("told"));
    assert!(detail("socket permissions").contains("mode 0600"));
    assert!(detail("runtime directory").contains("mode 0700"));
    let table = run(&["--format", "table", "doctor"]).expect(0);
    assert_eq!(table.text().lines().count(), checks.len() + 1, "{}", table.text());
    assert_eq!(run(&["--format", "raw", "doctor"]).expect(0).text(), "pass\n");
}

#[test]
fn version_and_envinfo_tell_the_truth() {
    let version = run(&["version"]).expect(0).json();
    assert_eq!(version, serde_json::json!({"name": "hostlane", "version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(run(&["--format", "raw", "version"]).expect(0).text().trim_end(), env!("CARGO_PKG_VERSION"));
    let table = run(&["--format", "table", "version"]).expect(0);
    assert_eq!(table.text(), concat!("hostlane ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(run(&["--version"]).expect(0).text(), table.text());

    let extended = run(&["version", "--extended"]).expect(0).json();
    assert_eq!(extended["debug_assertions"], cfg!(debug_assertions));
    assert!(extended["target"].as_str().unwrap().starts_with(std::env::consts::ARCH), "{extended}");
    assert!(extended["rustc"].as_str().unwrap().starts_with("rustc "), "{extended}");
    assert_eq!(extended["levels"], serde_json::json!([0, 1]));

    let facts = run(&["envinfo"]).expect(0).json();
    assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(facts["build"]["rustc"], extended["rustc"]);
    assert_eq!(facts["platform"]["os"], std::env::consts::OS);
    assert_eq!(facts["platform"]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(facts["limits"]["message_bytes"], hostlane::limits::MAX_MESSAGE);
    for format in ["table", "raw"] {
        let text = run(&["--format", format, "envinfo"]).expect(0);
        assert!(text.text().contains("runtime directory"), "{}", text.text());
    }
}

#[test]
fn log_lines_follow_level_and_format() {
    let place = Place::new();
    let missing = place.address("missing");
    let text = run(&["request", &missing, "--data", "x"]).expect(1);
    assert!(text.stderr.starts_with("hostlane: not_found: "), "{}", text.stderr);
    let json = run(&["--log-format", "json", "request", &missing, "--data", "x"]).expect(1);
    let entry: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(entry["level"], "error");
    assert!(entry["message"].as_str().unwrap().starts_with("not_found: "), "{entry}");
    humantime::parse_rfc3339(entry["timestamp"].as_str().unwrap()).unwrap();

    // At the default level a server that has nothing to complain about says nothing.
    let address = place.address("quiet");
    let server = Server::start(&["echo", &address]);
    run(&["request", &address, "--data", "x"]).expect(0);
    server.log.containing("connected");
    let doctor = run(&["doctor"]).expect(0);
    assert_eq!(doctor.stderr, "");
}
