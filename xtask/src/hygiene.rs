//! `check-hygiene`: nothing in the tree that belongs to one machine, to a registry or to a build, and no name that is none.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::r#gen::version;
use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// Folders that exist on one machine only. Written in halves, or this file would find itself.
const MACHINE_PATHS: [(&str, &str); 5] =
    [("/ro", "ot/"), ("/ho", "me/"), ("/wo", "rk/"), ("/Us", "ers/"), ("C:\\Us", "ers\\")];

/// Hosts that packages come from; a lock file that names one binds everybody to it.
const REGISTRY_HOSTS: [(&str, &str); 10] = [
    ("registry.np", "mjs.org"),
    ("registry.ya", "rnpkg.com"),
    ("files.python", "hosted.org"),
    ("py", "pi.org"),
    ("static.cra", "tes.io"),
    ("index.cra", "tes.io"),
    ("proxy.go", "lang.org"),
    ("sum.go", "lang.org"),
    ("deb.deb", "ian.org"),
    ("repo1.ma", "ven.org"),
];

/// More than any source file here needs.
const LARGEST: u64 = 1 << 20;

/// They name tests as `file::name`.
const CASES: [&str; 2] = ["docs/edge-cases.md", "docs/faults.md"];

/// Checks every file that is tracked or would be.
pub(crate) fn check(workspace: &Workspace) -> Result<bool> {
    let mut paths = Vec::new();
    let mut hosts = Vec::new();
    let mut binaries = Vec::new();
    let mut large = Vec::new();
    for file in workspace.files()? {
        let bytes = fs::read(workspace.path(&file)).with_context(|| file.clone())?;
        if bytes.len() as u64 > LARGEST {
            large.push(format!("{file}: {} bytes", bytes.len()));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => {
                paths.extend(findings(&file, text, &MACHINE_PATHS));
                hosts.extend(findings(&file, text, &REGISTRY_HOSTS));
            }
            _ => binaries.push(file),
        }
    }
    let mut verdict = Verdict::default();
    verdict.add("no path of one machine", paths);
    verdict.add("no registry host", hosts);
    verdict.add("no binary file", binaries);
    verdict.add("no file over 1 MiB", large);
    verdict.add("package metadata", metadata_findings(workspace)?);
    verdict.add("names of each language", crate::names::findings(workspace)?);
    for page in CASES {
        let missing = missing_tests(&workspace.read(page)?, |file| workspace.read(file).ok());
        verdict.add(format!("every test that {page} names"), missing);
    }
    Ok(verdict.print())
}

fn findings(file: &str, text: &str, words: &[(&str, &str)]) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|(head, tail)| format!("{head}{tail}")).collect();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| stands_alone(line, word)) {
            findings.push(format!("{file}:{}: {word}", number + 1));
        }
    }
    findings
}

/// Whether `word` stands in `line` at the start of a path or a host name, not inside a longer one.
fn stands_alone(line: &str, word: &str) -> bool {
    let mut from = 0;
    while let Some(at) = line[from..].find(word).map(|at| from + at) {
        let before = line[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '$' | '}' | ')')) {
            return true;
        }
        from = at + word.len();
    }
    false
}

/// The tests that `page` names and that are not in their files.
fn missing_tests(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let named = page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::"));
    named
        .filter(|(file, name)| {
            let text = read(file).unwrap_or_default();
            // As Rust, C, Python, Node and Go write the name of a test.
            let forms = ["fn {}(", "TEST({})", "def {}(", "test('{}'", "func {}("];
            !forms.iter().any(|form| text.contains(&form.replace("{}", name)))
        })
        .map(|(file, name)| format!("{file}: no test is called {name}"))
        .collect()
}

/// What is wrong with what the packages say of themselves.
fn metadata_findings(workspace: &Workspace) -> Result<Vec<String>> {
    let output =
        workspace.command("cargo").args(["metadata", "--format-version=1", "--no-deps", "--locked"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let version = version::of(workspace)?;
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no package")? {
        findings.extend(package_findings(package, &version));
    }
    let npm: Value = serde_json::from_str(&workspace.read("package.json")?)?;
    findings.extend(package_findings(&npm, &version));
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !workspace.path(licence).is_file() {
            findings.push(format!("{licence} is missing"));
        }
    }
    Ok(findings)
}

fn package_findings(package: &Value, version: &str) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or("?");
    let mut findings = Vec::new();
    for (key, wanted) in [("license", "MIT OR Apache-2.0"), ("version", version)] {
        if package[key] != wanted {
            findings.push(format!("{name}: {key} is {}, not {wanted}", package[key]));
        }
    }
    let description = package["description"].as_str().unwrap_or_default();
    if description.len() < 20 {
        findings.push(format!("{name}: the description says nothing: {description:?}"));
    }
    if package["repository"].is_null() {
        findings.push(format!("{name}: no repository"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_machine_path_and_registry_host_is_found_with_its_line() {
        for (words, around) in [(&MACHINE_PATHS[..], ["cd ", "x"]), (&REGISTRY_HOSTS[..], ["https://", "/x"])] {
            for (head, tail) in words {
                let text = format!("fine\n{}{head}{tail}{}\n", around[0], around[1]);
                assert_eq!(findings("f", &text, words), [format!("f:2: {head}{tail}")]);
            }
        }
    }

    #[test]
    fn a_test_that_is_gone_is_missed() {
        let page = "| `a.rs::here`, `a.rs::gone`, `code`, `c_test.go::TestIt` and `b.mjs::by its title` |";
        let read = |file: &str| match file {
            "a.rs" => Some("fn here() {}".to_owned()),
            "c_test.go" => Some("func TestIt(t *testing.T) {}".to_owned()),
            _ => Some("test('by its title', async".to_owned()),
        };
        assert_eq!(missing_tests(page, read), ["a.rs: no test is called gone"]);
    }

    #[test]
    fn a_path_below_a_variable_is_nobodys_machine() {
        let text = ["$HOME", "/wo", "rk/x and /srv", "/ho", "me/x"].concat();
        assert_eq!(findings("f", &text, &MACHINE_PATHS), [""; 0]);
    }

    #[test]
    fn wrong_metadata_is_found() {
        let fine = json!({"name": "a", "version": "1.0.0", "license": "MIT OR Apache-2.0",
            "description": "Says what the package is for", "repository": "x"});
        assert_eq!(package_findings(&fine, "1.0.0"), [""; 0]);
        for key in ["version", "license", "description", "repository"] {
            let mut broken = fine.clone();
            broken[key] = Value::Null;
            assert_eq!(package_findings(&broken, "1.0.0").len(), 1, "{key}");
        }
    }
}
