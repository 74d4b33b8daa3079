use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::limits::{MAX_SCHEMA_FILE, MAX_SCHEMAS};

const COMMAND: &str = r#"{
    "type": "object",
    "required": ["op"],
    "properties": {"op": {"type": "string", "pattern": "^[a-z]+$"}, "n": {"type": "integer"}},
    "additionalProperties": false
}"#;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn load(files: &[(&str, &str)]) -> Result<SchemaSet> {
    SchemaSet::from_directory(directory(files).path())
}

fn refused(files: &[(&str, &str)]) -> String {
    let error = load(files).unwrap_err();
    assert_eq!(error.code(), Code::BadSchema, "{error}");
    error.to_string()
}

fn channel(number: u16) -> Channel {
    Channel::new(number).unwrap()
}

#[test]
fn validates_each_channel_against_its_own_file() {
    let set = load(&[
        ("command.schema.json", COMMAND),
        ("data.schema.json", r#"{"type": "array"}"#),
        ("channel_300.schema.json", r#"{"type": "number"}"#),
        ("README.md", "not a schema"),
        ("notes.json", "not one either"),
    ])
    .unwrap();
    let numbers: Vec<u16> = set.channels().into_iter().map(|c| c.number()).collect();
    assert_eq!(numbers, [1, 2, 300]);
    set.validate(channel(1), br#"{"op": "go", "n": 3}"#).unwrap();
    set.validate(channel(2), b"[]").unwrap();
    set.validate(channel(300), b"1.5").unwrap();
    assert!(set.validate(channel(2), b"{}").is_err());
    assert!(set.validate(channel(300), b"[]").is_err());
    // Channel 3 has no schema: anything goes, JSON or not.
    set.validate(channel(3), b"\xff\x00").unwrap();
}

#[test]
fn violation_names_both_paths_and_the_reason() {
    let set = load(&[("command.schema.json", COMMAND)]).unwrap();
    let violation = set.validate(channel(1), br#"{"op": "go", "n": "x"}"#).unwrap_err();
    assert_eq!(violation.instance_path(), "/n");
    assert_eq!(violation.schema_path(), "/properties/n/type");
    assert!(violation.text().contains("integer"), "{violation}");
    let error = Error::from(violation);
    assert_eq!(error.code(), Code::SchemaViolation);
    assert!(error.to_string().contains("/n"), "{error}");
    assert!(error.to_string().contains("/properties/n/type"), "{error}");
}

#[test]
fn payload_that_is_no_json_violates_at_the_root() {
    let set = load(&[("command.schema.json", COMMAND)]).unwrap();
    for payload in [&b""[..], b"{", b"\xff\xfe", br#"{"op": "go"} trailing"#] {
        let violation = set.validate(channel(1), payload).unwrap_err();
        assert_eq!(violation.instance_path(), "");
        assert!(violation.text().starts_with("not valid JSON"), "{violation}");
    }
}

#[test]
fn schemas_inside_combinators_are_used_as_written() {
    // With `additionalProperties: false` pushed into the branches, no object could satisfy both,
    // and the `not` would never forbid anything.
    let set = load(&[(
        "data.schema.json",
        r#"{"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                      {"properties": {"b": {"type": "integer"}}, "required": ["b"]}],
            "not": {"properties": {"secret": true}, "required": ["secret"]}}"#,
    )])
    .unwrap();
    set.validate(channel(2), br#"{"a": 1, "b": 2}"#).unwrap();
    assert!(set.validate(channel(2), br#"{"a": 1, "b": 2, "secret": 3}"#).is_err());
}

#[test]
fn draft_is_2020_12_unless_the_file_says_otherwise() {
    // `prefixItems` is unknown to draft 7, which ignores it.
    let rule = r#""prefixItems": [{"type": "integer"}]"#;
    let new = load(&[("data.schema.json", &format!("{{{rule}}}"))]).unwrap();
    assert!(new.validate(channel(2), br#"["x"]"#).is_err());
    let old = format!(r#"{{"$schema": "http://json-schema.org/draft-07/schema#", {rule}}}"#);
    load(&[("data.schema.json", &old)]).unwrap().validate(channel(2), br#"["x"]"#).unwrap();
}

#[test]
fn names_that_stand_for_no_channel_are_refused() {
    for name in [
        "control.schema.json",
        "datas.schema.json",
        ".schema.json",
        "channel_0.schema.json",
        "channel_5.schema.json",
        "channel_255.schema.json",
        "channel_0300.schema.json",
        "channel_+300.schema.json",
        "channel_65536.schema.json",
        "channel_.schema.json",
    ] {
        assert!(refused(&[(name, "{}")]).contains(name), "{name}");
    }
}

#[test]
fn two_schemas_for_one_channel_are_refused() {
    refused(&[("data.schema.json", "{}"), ("channel_2.schema.json", "{}")]);
}

#[test]
fn references_to_other_documents_are_refused() {
    for target in ["http://localhost/x.json", "https://localhost/x.json", "file:///etc/hostname"] {
        refused(&[("data.schema.json", &format!(r#"{{"$ref": "{target}"}}"#))]);
    }
    // Next to it on disk is another document just the same.
    refused(&[("data.schema.json", r#"{"$ref": "error.schema.json"}"#), ("error.schema.json", "{}")]);
    let set = load(&[("data.schema.json", r##"{"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}"##)]).unwrap();
    set.validate(channel(2), b"null").unwrap();
    assert!(set.validate(channel(2), b"1").is_err());
}

#[test]
fn patterns_that_are_costly_are_refused() {
    for pattern in ["(a{1000}){1000}", "(?=a)b", r"(a)\\1"] {
        refused(&[("data.schema.json", &format!(r#"{{"pattern": "{pattern}"}}"#))]);
    }
    // Exponential for a backtracking engine, linear here.
    let set = load(&[("data.schema.json", r#"{"pattern": "^(a+)+$"}"#)]).unwrap();
    let payload = format!("\"{}!\"", "a".repeat(100_000));
    let started = std::time::Instant::now();
    assert!(set.validate(channel(2), payload.as_bytes()).is_err());
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn files_that_are_no_schema_are_refused() {
    for text in ["", "{", "3", r#"{"type": "integr"}"#, r#"{"$schema": "urn:unknown"}"#] {
        refused(&[("data.schema.json", text)]);
    }
}

#[test]
fn limits_are_inclusive() {
    let padded = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    load(&[("data.schema.json", &padded(MAX_SCHEMA_FILE))]).unwrap();
    refused(&[("data.schema.json", &padded(MAX_SCHEMA_FILE + 1))]);

    let names: Vec<String> = (0..=256).map(|n| format!("channel_{}.schema.json", 256 + n)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "{}")).collect();
    assert_eq!(load(&files[..MAX_SCHEMAS]).unwrap().channels().len(), MAX_SCHEMAS);
    refused(&files);

    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let set = load(&[("data.schema.json", "{}")]).unwrap();
    set.validate(channel(2), nested(MAX_JSON_DEPTH).as_bytes()).unwrap();
    for levels in [MAX_JSON_DEPTH + 1, 100_000] {
        set.validate(channel(2), nested(levels).as_bytes()).unwrap_err();
    }
    let schema = |levels: usize| {
        let inner = levels - 1;
        format!("{}{{}}{}", r#"{"not":"#.repeat(inner), "}".repeat(inner))
    };
    load(&[("data.schema.json", &schema(MAX_JSON_DEPTH))]).unwrap();
    refused(&[("data.schema.json", &schema(MAX_JSON_DEPTH + 1))]);
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_refused() {
    let real = directory(&[("elsewhere.json", "{}")]);
    std::os::unix::fs::symlink("elsewhere.json", real.path().join("data.schema.json")).unwrap();
    let error = SchemaSet::from_directory(real.path()).unwrap_err();
    assert_eq!(error.code(), Code::BadSchema);
    assert!(error.to_string().contains("symbolic link"), "{error}");

    let nested = tempfile::tempdir().unwrap();
    fs::create_dir(nested.path().join("data.schema.json")).unwrap();
    assert_eq!(SchemaSet::from_directory(nested.path()).unwrap_err().code(), Code::BadSchema);

    let fifo = tempfile::tempdir().unwrap();
    let path = fifo.path().join("data.schema.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(SchemaSet::from_directory(fifo.path()).unwrap_err().code(), Code::BadSchema);
}

#[test]
fn directory_without_schemas_is_refused() {
    refused(&[("README.md", "nothing here")]);
    let missing = Path::new("/nonexistent/hostlane-schemas");
    assert_eq!(SchemaSet::from_directory(missing).unwrap_err().code(), Code::BadSchema);
}

#[test]
fn reason_is_bounded_whatever_the_payload_holds() {
    let set = load(&[("data.schema.json", r#"{"type": "integer"}"#)]).unwrap();
    let payload = format!("\"{}\"", "ä".repeat(1_000_000));
    let violation = set.validate(channel(2), payload.as_bytes()).unwrap_err();
    assert!(violation.text().len() <= MAX_TEXT + "…".len());
}

#[test]
fn the_shared_vectors_satisfy_their_schema() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let schema = fs::read_to_string(vectors.join("schema.json")).unwrap();
    let set = load(&[("data.schema.json", &schema)]).unwrap();
    let mut files = vec![vectors.join("errors.json")];
    for folder in ["framing", "level1"] {
        files.extend(fs::read_dir(vectors.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert_eq!(files.len(), 13);
    for file in files {
        let text = fs::read(&file).unwrap();
        if let Err(violation) = set.validate(Channel::DATA, &text) {
            panic!("{}: {violation}", file.display());
        }
        let broken = [&text[..text.len() - 2], b", \"more\": 1}"].concat();
        assert!(set.validate(Channel::DATA, &broken).is_err(), "{}: takes anything", file.display());
    }
}
