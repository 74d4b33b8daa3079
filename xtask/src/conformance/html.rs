//! The run as one page that needs nothing beside it.

use std::fmt::Write as _;

use super::agent::Agent;
use super::outcome::{Run, escaped};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>hostlane conformance</title>
<style>
:root { color-scheme: light dark; --passed: #2e9e5b; --failed: #d33a3a; --known: #d9a514; --apart: #9aa0a6; --lacking: #7a5ea8; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: separate; border-spacing: 3px; margin: .5rem 0 1.5rem; }
th { font-weight: 500; text-align: left; padding: 0 .5rem; }
td { min-width: 4.5rem; text-align: center; color: #fff; border-radius: 4px; padding: .3rem; }
td a { color: inherit; text-decoration: none; }
.mini td { min-width: 0; width: .9rem; height: .9rem; padding: 0; border-radius: 2px; }
.mini { border-spacing: 2px; display: inline-table; margin: .3rem 1.2rem .3rem 0; }
.passed { background: var(--passed); } .failed { background: var(--failed); }
.known { background: var(--known); } .apart { background: var(--apart); } .lacking { background: var(--lacking); }
.none { background: transparent; }
h3 { margin: 1.4rem 0 0; font-size: 1rem; } p { margin: .2rem 0; }
li { margin: .2rem 0; } small { opacity: .7; }
</style>
<h1>hostlane conformance</h1>
";

/// A coloured matrix per transport, then every case with a small one.
pub(super) fn of(run: &Run) -> String {
    let mut page = String::from(HEAD);
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<p>{} cases, {} pairs: {} passed, {} failed, {} known to fail, {} lack what they need, {} without meaning on their transport.</p>",
        run.cases.len(),
        run.cells.len(),
        run.count("passed"),
        run.count("failed"),
        run.count("known"),
        run.count("lacking"),
        run.count("apart"),
    );
    for transport in run.transports() {
        matrix(&mut page, run, transport);
    }
    failures(&mut page, run);
    page.push_str("<h2>Cases</h2>\n<p><small>Clients down, servers across, in the order of the matrix.</small></p>\n");
    for (at, case) in run.cases.iter().enumerate() {
        let (name, demand) = (escaped(&case.name), escaped(&case.demand));
        let _ = writeln!(page, "<h3>{name}</h3><p>{demand} <small>protocol.md section {}</small></p>", case.section);
        for transport in run.transports() {
            small(&mut page, run, transport, at);
        }
    }
    page
}

fn matrix(page: &mut String, run: &Run, transport: &str) {
    let _ = writeln!(page, "<h2>{transport}</h2>\n<table><tr><th>client \\ server</th>");
    for server in Agent::ALL {
        let _ = write!(page, "<th>{}</th>", server.name());
    }
    page.push_str("</tr>\n");
    for client in Agent::ALL {
        let _ = write!(page, "<tr><th>{}</th>", client.name());
        for server in Agent::ALL {
            let Some(cell) = run.cell(client, server, transport) else {
                page.push_str("<td class=\"none\"></td>");
                continue;
            };
            let word = ["failed", "known", "lacking"].into_iter().find(|word| cell.count(word) > 0).unwrap_or("passed");
            let played = cell.outcomes.len() - cell.count("apart");
            let _ = write!(page, "<td class=\"{word}\">{}/{played}</td>", cell.count("passed"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn failures(page: &mut String, run: &Run) {
    for (word, title) in [("failed", "Failures"), ("known", "Known failures")] {
        if run.count(word) == 0 {
            continue;
        }
        let _ = writeln!(page, "<h2>{title}</h2>\n<ul>");
        for cell in &run.cells {
            for (case, (outcome, _)) in run.cases.iter().zip(&cell.outcomes) {
                if outcome.word() == word {
                    let (client, server) = (cell.client.name(), cell.server.name());
                    let (name, why) = (escaped(&case.name), escaped(outcome.why()));
                    let transport = cell.transport;
                    let _ = writeln!(page, "<li><b>{name}</b> {client} → {server}, {transport}: {why}</li>");
                }
            }
        }
        page.push_str("</ul>\n");
    }
}

fn small(page: &mut String, run: &Run, transport: &str, at: usize) {
    let _ = write!(page, "<table class=\"mini\"><caption><small>{transport}</small></caption>");
    for client in Agent::ALL {
        page.push_str("<tr>");
        for server in Agent::ALL {
            let Some(cell) = run.cell(client, server, transport) else {
                page.push_str("<td class=\"none\"></td>");
                continue;
            };
            let (outcome, took) = &cell.outcomes[at];
            let ms = took.as_millis();
            let (from, to, why) = (client.name(), server.name(), escaped(outcome.why()));
            let word = outcome.word();
            let _ = write!(page, "<td class=\"{word}\" title=\"{from} → {to}: {word}, {ms} ms {why}\"></td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>\n");
}
