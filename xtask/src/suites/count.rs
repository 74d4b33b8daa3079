//! How many tests a runner ran, read from what it prints.

use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Whose output it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    /// A check that is one test: the exit code decides.
    Exit,
    /// No test: it only has to succeed before the next step can run.
    Build,
    Cargo,
    Ctest,
    Pytest,
    Node,
    Go,
    /// A closing line `N passed, N failed`.
    Plain,
}

impl Counter {
    /// Counts the tests of a run that ended with `success` after printing `output`.
    ///
    /// A run that failed without naming a failed test counts as one failure, and so does one that ran no test.
    pub(crate) fn count(self, output: &str, success: bool) -> Counts {
        let mut counts = match self {
            Counter::Build => {
                return Counts { failed: usize::from(!success), ..Counts::default() };
            }
            Counter::Exit => Counts { passed: usize::from(success), ..Counts::default() },
            Counter::Cargo => cargo(output),
            Counter::Ctest => ctest(output),
            Counter::Pytest => last_summary(output, " in "),
            Counter::Node => node(output),
            Counter::Go => go(output),
            Counter::Plain => last_summary(output, " passed, "),
        };
        let none = counts.passed + counts.failed + counts.skipped == 0;
        if counts.failed == 0 && (!success || none) {
            counts.failed = 1;
        }
        counts
    }
}

/// The number before `word` in a list such as `3 passed, 1 failed in 0.4s`.
fn before(line: &str, word: &str) -> usize {
    let words: Vec<&str> = line.split([' ', ',', ';', '=', '.']).filter(|word| !word.is_empty()).collect();
    words.windows(2).filter(|pair| pair[1] == word).find_map(|pair| pair[0].parse().ok()).unwrap_or(0)
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; …`, once per test binary.
fn cargo(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        counts +=
            Counts { passed: before(line, "passed"), failed: before(line, "failed"), skipped: before(line, "ignored") };
    }
    counts
}

/// ` 1/12 Test  #1: echo ......   Passed    0.01 sec`, once per test.
fn ctest(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        let Some((place, rest)) = line.trim_start().split_once(" Test ") else {
            continue;
        };
        let numbers = place
            .split_once('/')
            .is_some_and(|(at, of)| at.trim().parse::<usize>().is_ok() && of.trim().parse::<usize>().is_ok());
        if !numbers || !rest.contains(" sec") {
            continue;
        }
        if rest.contains("***Skipped") {
            counts.skipped += 1;
        } else if rest.contains(" Passed ") {
            counts.passed += 1;
        } else {
            counts.failed += 1;
        }
    }
    counts
}

/// The last line that has `mark` and counts: pytest's and our own closing line.
fn last_summary(output: &str, mark: &str) -> Counts {
    let words = ["passed", "failed", "errors", "error", "skipped"];
    let line = output.lines().rev().find(|line| line.contains(mark) && words.iter().any(|word| before(line, word) > 0));
    line.map(|line| Counts {
        passed: before(line, "passed") + before(line, "xfailed"),
        failed: before(line, "failed") + before(line, "errors") + before(line, "error") + before(line, "xpassed"),
        skipped: before(line, "skipped"),
    })
    .unwrap_or_default()
}

/// `# pass 12` of TAP or `ℹ pass 12` of the spec reporter, once per run.
fn node(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        let Some(line) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) else {
            continue;
        };
        let Some((word, number)) = line.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.trim().parse::<usize>() else {
            continue;
        };
        match word {
            "pass" => counts.passed += number,
            "fail" | "cancelled" => counts.failed += number,
            "skipped" | "todo" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

/// `--- PASS: TestEcho (0.01s)` of `go test -v`, once per top-level test.
fn go(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        if line.starts_with("--- PASS: ") {
            counts.passed += 1;
        } else if line.starts_with("--- FAIL: ") {
            counts.failed += 1;
        } else if line.starts_with("--- SKIP: ") {
            counts.skipped += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn a_check_is_one_test() {
        assert_eq!(Counter::Exit.count("anything", true), counts(1, 0, 0));
        assert_eq!(Counter::Exit.count("anything", false), counts(0, 1, 0));
    }

    #[test]
    fn a_build_step_is_a_test_only_when_it_fails() {
        assert_eq!(Counter::Build.count("", true), counts(0, 0, 0));
        assert_eq!(Counter::Build.count("", false), counts(0, 1, 0));
    }

    #[test]
    fn cargo_test_sums_its_binaries() {
        let output = "\
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
        assert_eq!(Counter::Cargo.count(output, false), counts(5, 4, 1));
    }

    #[test]
    fn ctest_is_counted_line_by_line() {
        let output = "\
Test project somewhere
    Start 1: echo
1/5 Test #1: echo .............................   Passed    0.01 sec
    Start 2: no
2/5 Test #2: no ...............................***Failed    0.02 sec
3/5 Test #3: slow .............................***Timeout   1.00 sec
4/5 Test #4: other ............................***Skipped   0.00 sec
 5/5 Test  #5: gone ............................***Not Run   0.00 sec

40% tests passed, 3 tests failed out of 5
";
        assert_eq!(Counter::Ctest.count(output, false), counts(1, 3, 1));
    }

    #[test]
    fn pytest_is_read_from_its_last_line() {
        for (line, expected) in [
            ("==== 12 passed in 1.20s ====", counts(12, 0, 0)),
            ("3 passed, 1 skipped in 0.10s", counts(3, 0, 1)),
            ("= 1 failed, 2 passed, 1 xfailed, 2 errors, 1 warning in 61.00s (0:01:01) =", counts(3, 3, 0)),
            ("=== 1 passed, 1 error in 2s ===", counts(1, 1, 0)),
        ] {
            let output = format!("collected 4 items\nsomething 5 passed before\n{line}\n");
            assert_eq!(Counter::Pytest.count(&output, expected.failed == 0), expected, "{line}");
        }
    }

    #[test]
    fn node_is_read_in_both_reporters() {
        for sign in ["#", "ℹ"] {
            let output = format!(
                "{sign} tests 9\n{sign} suites 0\n{sign} pass 5\n{sign} fail 1\n{sign} cancelled 1\n{sign} skipped 1\n{sign} todo 1\n"
            );
            assert_eq!(Counter::Node.count(&output, false), counts(5, 2, 2));
        }
    }

    #[test]
    fn go_counts_top_level_tests() {
        let output = "\
=== RUN   TestA
    --- PASS: TestA/inner (0.00s)
--- PASS: TestA (0.01s)
--- FAIL: TestB (0.01s)
--- SKIP: TestC (0.00s)
FAIL
";
        assert_eq!(Counter::Go.count(output, false), counts(1, 1, 1));
    }

    #[test]
    fn the_plain_line_is_the_last_one() {
        let output = "1 passed, 1 failed\nok  rule\n7 passed, 0 failed\n";
        assert_eq!(Counter::Plain.count(output, true), counts(7, 0, 0));
    }

    #[test]
    fn no_test_and_an_unexplained_exit_code_are_failures() {
        for counter in [Counter::Cargo, Counter::Ctest, Counter::Pytest, Counter::Node, Counter::Go, Counter::Plain] {
            assert_eq!(counter.count("", true), counts(0, 1, 0), "{counter:?}");
            assert_eq!(counter.count("", false), counts(0, 1, 0), "{counter:?}");
        }
        let fine = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counter::Cargo.count(fine, false), counts(2, 1, 0));
        assert_eq!(Counter::Go.count("FAIL\tx [build failed]\n", false), counts(0, 1, 0));
    }
}
