//! The rules between crates.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// Every crate of the workspace and the crates of the workspace it may depend on.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("hostlane", &[]),
    ("hostlane-bridge", &["hostlane"]),
    ("hostlane-c", &["hostlane-bridge"]),
    ("hostlane-python", &["hostlane-bridge"]),
    ("hostlane-node", &["hostlane-bridge"]),
    ("hostlane-cli", &["hostlane"]),
    ("hostlane-agent", &["hostlane"]),
    ("hostlane-conformance-agent", &["hostlane"]),
    ("hostlane-examples", &["hostlane"]),
    ("xtask", &[]),
];

/// What people ship: none of it carries an async runtime or an HTTP client by default.
const PRODUCTS: [&str; 6] =
    ["hostlane", "hostlane-bridge", "hostlane-c", "hostlane-python", "hostlane-node", "hostlane-cli"];

const BANNED: [&str; 26] = [
    "actix-rt",
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-std",
    "attohttpc",
    "compio",
    "curl",
    "embassy-executor",
    "glommio",
    "h2",
    "hyper",
    "isahc",
    "minreq",
    "mio",
    "monoio",
    "native-tls",
    "polling",
    "reqwest",
    "smol",
    "surf",
    "tiny_http",
    "tokio",
    "tokio-uring",
    "ureq",
    "wasm-bindgen-futures",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Set for a crate of this checkout.
    path: Option<String>,
}

/// Checks the edges between the crates of the workspace, and what they bring from outside.
pub(super) fn check(workspace: &Workspace, verdict: &mut Verdict) -> Result<()> {
    let text = cargo(workspace, &["metadata", "--format-version=1", "--no-deps", "--locked"])?;
    verdict.add("crates use only the layer below", edge_findings(&edges(&text)?));
    for product in PRODUCTS {
        let tree = cargo(
            workspace,
            &["tree", "--locked", "--package", product, "--edges=normal", "--prefix=none", "--format={p}"],
        )?;
        verdict.add(format!("no async runtime and no HTTP client in {product}"), banned_findings(product, &tree));
    }
    Ok(())
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    let output = workspace.command("cargo").args(arguments).output().context("starting cargo")?;
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The crates of the workspace, each with the crates of the workspace it names, dev and build dependencies included.
fn edges(metadata: &str) -> Result<Edges> {
    let metadata: Metadata = serde_json::from_str(metadata)?;
    let members = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    Ok(members
        .map(|package| {
            let local = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
            (package.name.clone(), local.map(|dependency| dependency.name.clone()).collect())
        })
        .collect())
}

fn edge_findings(edges: &Edges) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, uses) in edges {
        let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| known == name) else {
            findings.push(format!("{name} has no rule: say in xtask/src/layers/crates.rs what it may use"));
            continue;
        };
        for used in uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            findings.push(format!("{name} must not depend on {used}"));
        }
    }
    for (name, _) in MAY_USE.iter().filter(|(name, _)| !edges.contains_key(*name)) {
        findings.push(format!("{name} has a rule and is no crate of the workspace"));
    }
    findings
}

fn banned_findings(product: &str, tree: &str) -> Vec<String> {
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if !names.contains(product) {
        return vec![format!("cargo tree does not show {product} itself")];
    }
    let banned = BANNED.iter().filter(|name| names.contains(*name));
    banned.map(|name| format!("{product} brings in {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Edges {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        MAY_USE.iter().map(|(name, uses)| ((*name).to_owned(), owned(uses))).collect()
    }

    #[test]
    fn the_layers_as_decided_pass() {
        assert_eq!(edge_findings(&fine()), [""; 0]);
    }

    #[test]
    fn every_forbidden_edge_is_found() {
        for (name, allowed) in MAY_USE {
            for (other, _) in MAY_USE.iter().filter(|(other, _)| !allowed.contains(other)) {
                let mut edges = fine();
                edges.get_mut(name).unwrap().insert((*other).to_owned());
                assert_eq!(edge_findings(&edges), [format!("{name} must not depend on {other}")]);
            }
        }
    }

    #[test]
    fn a_crate_without_a_rule_and_a_rule_without_a_crate_are_found() {
        let mut edges = fine();
        edges.insert("newcomer".into(), BTreeSet::new());
        edges.remove("hostlane-cli");
        let findings = edge_findings(&edges);
        assert_eq!(findings.len(), 2);
        assert!(findings[0].contains("newcomer") && findings[1].contains("hostlane-cli"));
    }

    #[test]
    fn dev_dependencies_inside_the_checkout_count() {
        let metadata = r#"{"workspace_members": ["a"], "packages": [{"id": "a", "name": "xtask", "dependencies": [
            {"name": "hostlane", "kind": "dev", "path": "core"}, {"name": "serde", "kind": null, "path": null}]}]}"#;
        let edges = edges(metadata).unwrap();
        assert_eq!(edges["xtask"], BTreeSet::from(["hostlane".to_owned()]));
    }

    #[test]
    fn a_banned_crate_is_found_at_any_depth() {
        let tree = "hostlane v0.1.0\nbytes v1.12.1\ntokio v1.54.1 (*)\n";
        assert_eq!(banned_findings("hostlane", tree), ["hostlane brings in tokio"]);
        assert_eq!(banned_findings("hostlane", "hostlane v0.1.0\ntokio-free v1.0.0\n"), [""; 0]);
        assert_eq!(banned_findings("hostlane", "").len(), 1);
    }
}
