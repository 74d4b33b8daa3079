//! The suites, in the order in which they run: what fails fast comes first.

use std::process::Command;

use anyhow::Result;

use super::{Counter, Step, Suite, portable, sanitized};
use crate::conformance;
use crate::lang::{self, Lang, Profile};
use crate::models;
use crate::workspace::Workspace;

const VALGRIND: (&str, &str) = ("valgrind", "apt-get install valgrind");
const STRACE: (&str, &str) = ("strace", "apt-get install strace");
const DENY: (&str, &str) = ("cargo-deny", "cargo install --locked cargo-deny@0.20.2");
const GIT: (&str, &str) = ("git", "apt-get install git");

/// Programs that suites need besides the toolchains, and how they are installed.
pub(crate) const TOOLS: [(&str, &str); 4] = [VALGRIND, STRACE, DENY, GIT];

/// How many files the demo sends when it runs as a test.
const SOME_FILES: &str = "--files=12";

/// Every suite.
pub(super) fn all(full: bool) -> Vec<Suite> {
    let mut suites = rust(full);
    suites.extend(tree());
    suites.extend(c());
    suites.extend(python());
    suites.extend(node());
    suites.extend(go(full));
    suites.push(Suite::of("oracle", &[Lang::Rust, Lang::Python], |workspace| {
        Ok(vec![Counter::Pytest.of(pytest(workspace, "tests/oracle"))])
    }));
    suites.push(Suite::of("matrix", &Lang::ALL, move |workspace| {
        let mut demo = xtask(workspace, "demo")?;
        demo.arg("--no-build");
        if !full {
            demo.arg(SOME_FILES);
        }
        Ok(vec![Counter::Plain.of(demo)])
    }));
    let conformance = Suite::of("conformance", &Lang::ALL, move |workspace| {
        let mut conformance = words(xtask(workspace, "conformance")?, &["--no-build"]);
        if full {
            conformance.arg("--full");
        }
        Ok(vec![Counter::Plain.of(conformance)])
    });
    suites.push(conformance.lacking(conformance::lacking));
    // A row whose tool is missing would be skipped one by one.
    let faults = Suite::of("faults", &Lang::ALL, move |workspace| {
        let mut faults = pytest(workspace, "tests/faults");
        if full {
            faults.arg("--full");
        }
        Ok(vec![Counter::Pytest.of(faults)])
    });
    suites.push(faults.with(STRACE).lacking(conformance::lacking));
    let soak = Suite::of("soak", &Lang::ALL, move |workspace| {
        let time = if full { "--minutes=5" } else { "--seconds=20" };
        let runs = ["--prove", time].map(|what| Ok(words(xtask(workspace, "soak")?, &["--no-build", what])));
        runs.into_iter().map(|run: Result<Command>| Ok(Counter::Plain.of(run?))).collect()
    });
    suites.push(soak.lacking(conformance::lacking));
    let check = Suite::of("check", &Lang::ALL, |workspace| {
        Ok(vec![Counter::Plain.of(words(xtask(workspace, "check")?, &["--no-build"]))])
    });
    suites.push(check.lacking(conformance::lacking));
    if full {
        suites.extend(sanitized::suites());
        suites.extend(portable::suites());
    }
    suites
}

impl Suite {
    /// A suite whose commands are made once what it needs is built.
    fn of(name: &'static str, needs: &[Lang], steps: impl FnOnce(&Workspace) -> Result<Vec<Step>> + 'static) -> Suite {
        Suite { name, needs: needs.to_vec(), tools: Vec::new(), lacking: None, steps: Box::new(steps) }
    }
}

impl Counter {
    /// A command whose tests are counted this way.
    pub(super) fn of(self, command: Command) -> Step {
        Step { command, counter: self, left_out: 0 }
    }
}

/// A command with its arguments.
fn words(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// This program again, as a command.
fn xtask(workspace: &Workspace, name: &str) -> Result<Command> {
    Ok(words(workspace.command(std::env::current_exe()?), &[name]))
}

fn rust(full: bool) -> Vec<Suite> {
    let check = |name, commands: &'static [&'static [&'static str]]| {
        Suite::of(name, &[], |workspace| {
            let commands = commands.iter().map(|arguments| {
                let mut command = words(workspace.command("cargo"), arguments);
                command.env("RUSTDOCFLAGS", "-Dwarnings");
                Counter::Exit.of(command)
            });
            Ok(commands.collect())
        })
    };
    vec![
        check("rust-format", &[&["fmt", "--all", "--check"]]),
        check(
            "rust-clippy",
            &[
                &["clippy", "--locked", "--workspace", "--all-targets", "--", "-Dwarnings"],
                // Alone, core is compiled without the features that other crates switch on.
                &["clippy", "--locked", "--package=hostlane", "--all-targets", "--", "-Dwarnings"],
                &["clippy", "--locked", "--package=hostlane", "--all-features", "--all-targets", "--", "-Dwarnings"],
            ],
        ),
        check(
            "rust-doc",
            &[
                &["doc", "--locked", "--no-deps", "--workspace"],
                &["doc", "--locked", "--no-deps", "--package=hostlane", "--all-features"],
            ],
        ),
        Suite::of("rust-deny", &[], |workspace| {
            let cargo = |arguments: &[&str]| words(workspace.command("cargo"), arguments);
            Ok(vec![
                // It looks at the dependencies of every platform, and a build fetches those of one.
                Counter::Build.of(cargo(&["fetch", "--locked"])),
                Counter::Exit.of(cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])),
            ])
        })
        .with(DENY),
        Suite::of("rust-test", &[Lang::Rust], move |workspace| {
            let mut test = words(workspace.command("cargo"), &["test", "--locked", "--no-fail-fast"]);
            if full {
                test.args(["--", "--include-ignored"]).env("HOSTLANE_LONG", "1");
                // Behind the worlds that are simulated always.
                test.envs([("HOSTLANE_SIMULATE_FROM", "400"), ("HOSTLANE_SIMULATE_SEEDS", "10000")]);
            }
            // What is left out by default.
            let core = ["test", "--locked", "--no-fail-fast", "--package=hostlane"];
            let mut optional = words(workspace.command("cargo"), &core);
            optional.arg("--features=tokio,tracing");
            optional.args(["--test=aio", "--test=log", "--test=subscribers", "--test=traced"]);
            let mut shown = words(workspace.command("cargo"), &core);
            shown.args(["--all-features", "--doc"]);
            Ok([test, optional, shown].map(|command| Counter::Cargo.of(command)).into())
        }),
        Suite::of("models", &[], move |workspace| {
            let runs = if full { 20_000 } else { 200 };
            Ok(vec![Counter::Cargo.of(models::command(workspace, runs))])
        }),
        Suite::of("fuzz", &[], move |workspace| {
            let time = if full { "--minutes=20" } else { "--seconds=5" };
            Ok(vec![Counter::Plain.of(words(xtask(workspace, "fuzz")?, &[time]))])
        }),
    ]
}

/// The checks on the tree as a whole.
fn tree() -> Vec<Suite> {
    let check = |name, command: &'static str| {
        Suite::of(name, &[], move |workspace| Ok(vec![Counter::Plain.of(xtask(workspace, command)?)])).with(GIT)
    };
    vec![check("generated", "check-gen"), check("layers", "check-layers"), check("hygiene", "check-hygiene")]
}

/// Without the libraries of the agents the tests that read the vectors are not built either, so nothing is.
fn c() -> Vec<Suite> {
    let needs = &[Lang::C, Lang::Cpp];
    vec![
        Suite::of("c-test", needs, |workspace| {
            Ok(vec![Counter::Ctest.of(lang::CBuild::plain(Profile::Dev).test(workspace))])
        })
        .lacking(conformance::lacking),
        Suite::of("c-sanitizer", needs, |workspace| {
            let build = lang::CBuild::sanitized();
            let commands = build.commands(workspace).into_iter();
            let mut steps: Vec<Step> = commands.map(|command| Counter::Build.of(command)).collect();
            steps.push(Counter::Ctest.of(build.test(workspace)));
            Ok(steps)
        })
        .lacking(conformance::lacking),
        Suite::of("c-valgrind", needs, |workspace| {
            Ok(vec![Counter::Ctest.of(lang::CBuild::plain(Profile::Dev).valgrind(workspace))])
        })
        .with(VALGRIND)
        .lacking(conformance::lacking),
        Suite::of("c-format", &[Lang::Python], |workspace| Ok(vec![Counter::Exit.of(lang::clang_format(workspace)?)])),
    ]
}

fn pytest(workspace: &Workspace, folder: &str) -> Command {
    words(lang::python(workspace), &["-m", "pytest", folder])
}

fn python() -> Vec<Suite> {
    let check = |name, modules: &'static [&'static [&'static str]]| {
        Suite::of(name, &[Lang::Python], |workspace| {
            let commands = modules.iter().map(|arguments| words(lang::python(workspace), arguments));
            Ok(commands.map(|command| Counter::Exit.of(command)).collect())
        })
    };
    vec![
        check("python-lint", &[&["-m", "ruff", "check"], &["-m", "ruff", "format", "--check"]]),
        Suite::of("python-types", &[Lang::Python], |workspace| {
            let mypy = |folder: Option<&str>| {
                let mut mypy = words(lang::python(workspace), &["-m", "mypy"]);
                // Programs with modules of the same names are checked one by one.
                if let Some(folder) = folder {
                    mypy.arg(folder).env("MYPYPATH", format!("{folder}:{PYTHON_AGENT}"));
                }
                Counter::Exit.of(mypy)
            };
            let agents = [PYTHON_AGENT, "tests/conformance/agents/python-aio"];
            Ok([None].into_iter().chain(agents.map(Some)).map(mypy).collect())
        }),
        Suite::of("python-test", &[Lang::Python], |workspace| {
            Ok(vec![Counter::Pytest.of(pytest(workspace, "python/tests"))])
        }),
        // Each test in four threads at once. What is not here has a connection or an address for one thread, and the one
        // that is left out serves twice on what all threads have.
        Suite::of("python-parallel", &[Lang::Python], |workspace| {
            let parallel = words(
                pytest(workspace, "python/tests/test_threads.py"),
                &[
                    "python/tests/test_errors.py",
                    "python/tests/test_misuse.py",
                    "--parallel-threads=4",
                    "--iterations=3",
                    "--deselect=python/tests/test_misuse.py::test_an_answer_that_is_none_fails_the_call",
                ],
            );
            Ok(vec![Counter::Pytest.of(parallel)])
        }),
    ]
}

fn node() -> Vec<Suite> {
    let script = |name, script: &'static str, counter: Counter| {
        Suite::of(name, &[Lang::Node], move |workspace| Ok(vec![counter.of(lang::npm(workspace, script))]))
    };
    // The test script runs every test twice, once for each way of waiting.
    vec![script("node-lint", "lint", Counter::Exit), script("node-test", "test", Counter::Node)]
}

/// Its `asked.py` serves the asyncio agent too.
const PYTHON_AGENT: &str = "tests/conformance/agents/python";

/// Has Go collect garbage at every operation.
const COLLECTING: &str = "-tags=hostlanedebug";

/// The Go modules of the checkout; the first is the one people import.
const GO_MODULES: [&str; 4] = ["go", "examples/go", "tests/agents/go", "tests/conformance/agents/go"];

fn go(full: bool) -> Vec<Suite> {
    vec![
        Suite::of("go-format", &[Lang::Go], |workspace| {
            let mut format = workspace.command("sh");
            format.args(["-c", "list=$(gofmt -l \"$@\") && echo \"$list\" && test -z \"$list\"", "sh"]);
            format.args(GO_MODULES);
            Ok(vec![Counter::Exit.of(format)])
        }),
        Suite::of("go-vet", &[Lang::Go], |workspace| {
            let vet = |(module, flags): (&str, &[&str])| {
                let vet = words(lang::go(workspace, Profile::Dev, module)?, &["vet"]);
                Ok(Counter::Exit.of(words(words(vet, flags), &["./..."])))
            };
            let plain = GO_MODULES.map(|module| (module, &[][..]));
            plain.into_iter().chain([(GO_MODULES[0], &[COLLECTING][..])]).map(vet).collect()
        }),
        Suite::of("go-test", &[Lang::Go], move |workspace| {
            // The module, and what is shown of it.
            let test = |module: &&str| {
                let arguments = ["test", "-count=1", "-v", "./..."];
                Ok(Counter::Go.of(words(lang::go(workspace, Profile::Dev, module)?, &arguments)))
            };
            let mut steps: Vec<Step> = GO_MODULES[..2].iter().map(test).collect::<Result<_>>()?;
            if full {
                let collecting = ["test", "-count=1", "-v", COLLECTING, "./..."];
                steps.push(Counter::Go.of(words(lang::go(workspace, Profile::Dev, GO_MODULES[0])?, &collecting)));
            }
            Ok(steps)
        }),
        // The detector of races, and every check of what pointers Go hands to C.
        Suite::of("go-race", &[Lang::Go], |workspace| {
            let mut test = lang::go(workspace, Profile::Dev, GO_MODULES[0])?;
            test.args(["test", "-count=1", "-v", "-race", "./..."]).env("GOEXPERIMENT", "cgocheck2");
            Ok(vec![Counter::Go.of(test)])
        }),
    ]
}
