//! The run as JUnit XML, which CI services read.

use std::fmt::Write as _;

use super::outcome::{Outcome, Run, escaped};

/// One test suite per cell, one test case per case.
pub(super) fn of(run: &Run) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"conformance\">\n");
    for cell in &run.cells {
        let name = format!("{} to {} over {}", cell.client.name(), cell.server.name(), cell.transport);
        let skipped = ["apart", "lacking", "known"].map(|word| cell.count(word)).iter().sum::<usize>();
        let (tests, failed) = (cell.outcomes.len(), cell.count("failed"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            xml,
            "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">"
        );
        for (case, (outcome, took)) in run.cases.iter().zip(&cell.outcomes) {
            let (label, seconds) = (escaped(&case.name), took.as_secs_f64());
            let _ = write!(xml, "<testcase classname=\"{name}\" name=\"{label}\" time=\"{seconds:.3}\">");
            let why = escaped(outcome.why());
            let _ = match outcome {
                Outcome::Passed => Ok(()),
                Outcome::Failed(_) => write!(xml, "<failure message=\"{why}\"/>"),
                Outcome::Known(_) | Outcome::Apart(_) | Outcome::Lacking(_) => {
                    write!(xml, "<skipped message=\"{why}\"/>")
                }
            };
            xml.push_str("</testcase>\n");
        }
        xml.push_str("</testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}
