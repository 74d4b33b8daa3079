//! The rules on imports inside one language.

use super::Source;

/// One rule: which lines it looks at, in which files, and where such a line may stand.
pub(super) struct Rule {
    pub(super) name: &'static str,
    endings: &'static [&'static str],
    /// The paths the rule looks at; empty for all.
    under: &'static [&'static str],
    /// The only paths where such a line may stand.
    home: &'static [&'static str],
    offends: fn(&str) -> bool,
}

const SCRIPTS: &[&str] = &[".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];
const USERS: &[&str] = &["examples/", "tests/agents/", "tests/conformance/agents/"];

/// Every rule.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "cgo only in go/internal/capi",
        endings: &[".go"],
        under: &[],
        home: &["go/internal/capi/"],
        offends: imports_c,
    },
    Rule {
        name: "_native only in python/hostlane/_core.py",
        endings: &[".py"],
        under: &[],
        home: &["python/hostlane/_core.py"],
        offends: imports_native,
    },
    Rule {
        name: ".node only in node/src/native.ts",
        endings: SCRIPTS,
        under: &[],
        // The linter's configuration states the same rule.
        home: &["node/src/native.ts", "node/eslint.config.mjs"],
        offends: loads_addon,
    },
    Rule {
        name: "hostlane.hpp and its parts see hostlane.h and the standard library alone",
        endings: &[".hpp"],
        under: &["include/"],
        home: &[],
        offends: includes_more,
    },
    Rule {
        name: "C and C++ programs include published headers alone",
        endings: &[".c", ".cpp"],
        under: USERS,
        home: &[],
        offends: includes_private,
    },
    Rule {
        name: "Python programs use the published package alone",
        endings: &[".py"],
        under: USERS,
        home: &[],
        offends: imports_private_python,
    },
    Rule {
        name: "Node programs use the published package alone",
        endings: SCRIPTS,
        under: USERS,
        home: &[],
        offends: imports_private_node,
    },
    Rule {
        name: "Go programs use the published package alone",
        endings: &[".go"],
        under: USERS,
        home: &[],
        offends: |line| line.contains("hostlane/go/internal"),
    },
];

impl Rule {
    /// Every line that breaks the rule.
    pub(super) fn findings(&self, sources: &[Source]) -> Vec<String> {
        let mut findings = Vec::new();
        for source in sources.iter().filter(|source| self.looks_at(&source.path)) {
            for (number, line) in source.text.lines().enumerate() {
                if (self.offends)(line.trim()) {
                    findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
                }
            }
        }
        findings
    }

    fn looks_at(&self, path: &str) -> bool {
        self.endings.iter().any(|ending| path.ends_with(ending))
            && (self.under.is_empty() || self.under.iter().any(|under| path.starts_with(under)))
            && !self.home.iter().any(|home| path.starts_with(home))
    }
}

fn imports_c(line: &str) -> bool {
    let line = line.strip_prefix("import").unwrap_or(line).trim_start();
    line.starts_with("\"C\"")
}

/// The words of a line, without punctuation.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn imports_native(line: &str) -> bool {
    let import = line.starts_with("import ") || line.starts_with("from ");
    let named = words(line).any(|word| word == "_native");
    named && (import || line.contains("import_module") || line.contains("__import__"))
}

fn loads_addon(line: &str) -> bool {
    let loads = ["require", "import", "dlopen"].iter().any(|verb| words(line).any(|word| word == *verb));
    let addon = [".node'", ".node\"", ".node`"].iter().any(|end| line.contains(end));
    (loads && addon) || words(line).any(|word| word == "dlopen")
}

/// What an `#include` line names, with its brackets or quotes.
fn included(line: &str) -> Option<&str> {
    Some(line.strip_prefix('#')?.trim_start().strip_prefix("include")?.trim())
}

fn includes_more(line: &str) -> bool {
    included(line).is_some_and(|name| {
        let part = name.starts_with('"') && name.contains(".hpp\"") && !name.contains("..");
        let ours = part || name.starts_with("\"hostlane.h\"") || name.starts_with("<hostlane.h>");
        // The headers of the C++ standard library have neither a folder nor an ending.
        let standard = name.starts_with('<') && name.split('>').next().is_some_and(|name| !name.contains(['.', '/']));
        !ours && !standard
    })
}

fn includes_private(line: &str) -> bool {
    included(line).is_some_and(|name| {
        let name = name.trim_matches(['"', '<', '>']);
        name.contains("hostlane") && !matches!(name, "hostlane.h" | "hostlane.hpp")
            || ["ffi/", "core/", "include/", "../../.."].iter().any(|folder| name.contains(folder))
    })
}

fn imports_private_python(line: &str) -> bool {
    let import = line.starts_with("import ") || line.starts_with("from ");
    import && (line.contains("hostlane._") || line.contains("from hostlane import _"))
}

fn imports_private_node(line: &str) -> bool {
    let loads = ["require", "import", "from"].iter().any(|verb| words(line).any(|word| word == *verb));
    loads && ["node/dist", "node/src", "hostlane/node"].iter().any(|inside| line.contains(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, line: &str) -> Vec<&'static str> {
        let sources = [Source { path: path.into(), text: format!("first\n  {line}\n") }];
        let broken = RULES.iter().filter(|rule| {
            let findings = rule.findings(&sources);
            assert!(findings.iter().all(|finding| finding.starts_with(&format!("{path}:2: "))));
            !findings.is_empty()
        });
        broken.map(|rule| rule.name).collect()
    }

    #[test]
    fn each_rule_can_fail_and_only_that_rule_does() {
        for (rule, path, line) in [
            (0, "go/peer.go", "import \"C\""),
            (0, "examples/go/echo/main.go", "\"C\""),
            (1, "python/hostlane/aio.py", "from hostlane import _native"),
            (1, "python/hostlane/aio.py", "from . import _native"),
            (1, "python/hostlane/__init__.py", "from ._native import Peer"),
            (1, "tests/oracle/test_x.py", "x = importlib.import_module(\"hostlane._native\")"),
            (2, "node/src/peer.ts", "const addon = require('../dist/hostlane.node');"),
            (2, "node/test/a.mjs", "import addon from \"./hostlane.node\""),
            (2, "node/src/peer.ts", "process.dlopen(module, path);"),
            (3, "include/hostlane.hpp", "#include <unistd.h>"),
            (3, "include/hostlane.hpp", "#include \"other.h\""),
            (3, "include/hostlane/peer.hpp", "#include <boost/asio.hpp>"),
            (3, "include/hostlane/peer.hpp", "#include \"../../tests/x.hpp\""),
            (3, "include/hostlane.hpp", "#  include <sys/socket.h>"),
            (4, "examples/c/echo.c", "#include \"../../include/hostlane.h\""),
            (4, "tests/agents/c/agent.c", "#include <hostlane_private.h>"),
            (5, "examples/python/echo.py", "from hostlane._error import Error"),
            (5, "tests/agents/python/agent.py", "import hostlane._core"),
            (6, "tests/agents/node/agent.mjs", "import { connect } from '../../../node/dist/index.mjs';"),
            (7, "tests/agents/go/main.go", "\"github.com/hostlane/hostlane/go/internal/capi\""),
        ] {
            assert_eq!(broken(path, line), [RULES[rule].name], "{path}: {line}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, line) in [
            ("go/internal/capi/peer.go", "import \"C\""),
            ("go/peer.go", "import \"context\""),
            ("python/hostlane/_core.py", "from hostlane import _native"),
            ("python/hostlane/aio.py", "# the calls of _native are in _core"),
            ("python/hostlane/aio.py", "from hostlane import _core"),
            ("node/src/native.ts", "process.dlopen(module, path);"),
            ("node/tools/build.mjs", "copyFileSync(from, `${target}.node`);"),
            ("node/src/peer.ts", "import { connect } from './connect';"),
            ("include/hostlane.hpp", "#include <string_view>"),
            ("include/hostlane.hpp", "#include <hostlane.h>"),
            ("include/hostlane.hpp", "#include \"hostlane/peer.hpp\""),
            ("include/hostlane/peer.hpp", "#include \"result.hpp\""),
            ("node/eslint.config.mjs", "{ object: 'process', property: 'dlopen' }"),
            ("include/hostlane.hpp", "#include \"hostlane.h\" // the C interface"),
            ("examples/cpp/echo.cpp", "#include <hostlane.hpp>"),
            ("tests/agents/c/agent.c", "#include <sys/un.h>"),
            ("examples/python/echo.py", "import hostlane"),
            ("tests/agents/node/agent.mjs", "import { connect } from 'hostlane';"),
            ("tests/agents/go/main.go", "\"github.com/hostlane/hostlane/go\""),
        ] {
            assert_eq!(broken(path, line), [""; 0], "{path}: {line}");
        }
    }
}
