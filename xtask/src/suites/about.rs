//! What each suite is, in a line, for `test --list`.

/// Empty for a suite that does not exist.
pub(super) fn about(name: &str) -> &'static str {
    match name {
        "rust-format" => "every Rust file as rustfmt writes it",
        "rust-clippy" => "no warning of clippy, with and without the features of core",
        "rust-doc" => "the Rust documentation builds without a warning",
        "rust-deny" => "licences and sources of all dependencies",
        "rust-test" => "the tests of core, command line, examples and tools",
        "models" => "the threads of core in every order, at random",
        "fuzz" => "inputs that cover ever more of core and of the C interface, a few seconds each",
        "generated" => "what is generated is what its sources say",
        "layers" => "no room of the tree enters one it may not",
        "hygiene" => "no machine's path, registry host, binary or large file; package metadata and cited tests",
        "c-test" => "the tests of C and C++",
        "c-sanitizer" => "the same with address and undefined-behaviour sanitizers",
        "c-valgrind" => "the same under valgrind",
        "c-format" => "every C and C++ file as clang-format writes it",
        "python-lint" => "ruff, and every Python file as it writes it",
        "python-types" => "mypy over the package, its tests and agents",
        "python-test" => "the tests of Python",
        "python-parallel" => "those of them that may, in four threads each",
        "node-lint" => "eslint and the TypeScript compiler",
        "node-test" => "the tests of Node, once for each way of waiting",
        "go-format" => "every Go file as gofmt writes it",
        "go-vet" => "go vet over every module",
        "go-test" => "the tests of Go",
        "go-race" => "the same with the race detector and every check of cgo",
        "oracle" => "a second implementation of the protocol, in Python, against the binary",
        "matrix" => "the demo: every language talks to every language, with some files",
        "conformance" => "every language gets from every other what is promised",
        "faults" => "what happens to the others when a process is killed, stopped, starved or hostile",
        "soak" => "all languages at once, with faults, and every message accounted for",
        "check" => "`hostlane check` against a peer in every language",
        "rust-asan" => "core's tests with the address sanitizer (--full)",
        "rust-tsan" => "core's tests with the thread sanitizer (--full)",
        "arm64" => "core's tests for arm64, emulated (--full)",
        "musl" => "core's tests linked with musl (--full)",
        "wine" => "core's tests for Windows, under Wine (--full)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_suite_is_explained() {
        for suite in super::super::list::all(true) {
            assert_ne!(super::about(suite.name), "", "{}", suite.name);
        }
    }
}
