//! Snippets in Markdown: the code between `<!-- snippet: PATH -->` and the end of the fence below it is what stands
//! between the README-begin and README-end lines of PATH, a program that the tests run.

use anyhow::{Context, Result, bail, ensure};

const MARKER: &str = "<!-- snippet: ";

/// Whether a Markdown text holds a snippet.
pub(super) fn present(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(MARKER))
}

/// `text` with every snippet cut anew; `read` gives the text of a file of the checkout.
pub(super) fn filled(text: &str, read: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out += line;
        out.push('\n');
        let Some(path) = line.strip_prefix(MARKER) else {
            continue;
        };
        let path = path.strip_suffix(" -->").with_context(|| format!("unfinished: {line}"))?;
        let fence = lines.next().unwrap_or_default();
        ensure!(fence.starts_with("```"), "{path}: the line after the snippet mark has to open a fence");
        out += fence;
        out.push('\n');
        out += &cut(&read(path)?).with_context(|| path.to_owned())?;
        loop {
            match lines.next() {
                Some("```") => break,
                Some(_) => {}
                None => bail!("{path}: the fence is never closed"),
            }
        }
        out += "```\n";
    }
    Ok(out)
}

/// The lines between the marks, moved to the left margin.
fn cut(source: &str) -> Result<String> {
    let lines: Vec<&str> = source.lines().collect();
    let begin = lines.iter().position(|line| line.contains("README-begin")).context("no README-begin")?;
    let end = lines.iter().position(|line| line.contains("README-end")).context("no README-end")?;
    ensure!(begin + 1 < end, "nothing between README-begin and README-end");
    let mut lines = &lines[begin + 1..end];
    while let [first, rest @ ..] = lines
        && first.trim().is_empty()
    {
        lines = rest;
    }
    while let [rest @ .., last] = lines
        && last.trim().is_empty()
    {
        lines = rest;
    }
    let margin = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .context("only empty lines between the marks")?;
    Ok(lines.iter().map(|line| line.get(margin..).unwrap_or_default().to_owned() + "\n").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "use x;\nfn main() {\n    // README-begin\n\n    let a = 1;\n\n    if a {\n        b();\n    }\n\n    // README-end\n}\n";
    const CUT: &str = "let a = 1;\n\nif a {\n    b();\n}\n";

    #[test]
    fn a_snippet_is_cut_to_the_margin_and_nothing_else_changes() {
        let page = "# Title\n<!-- snippet: a.rs -->\n```rust\nold\nlines\n```\nafter\n```sh\nkept\n```\n";
        assert!(present(page));
        let filled = filled(page, |path| {
            assert_eq!(path, "a.rs");
            Ok(SOURCE.into())
        })
        .unwrap();
        assert_eq!(filled, format!("# Title\n<!-- snippet: a.rs -->\n```rust\n{CUT}```\nafter\n```sh\nkept\n```\n"));
        assert_eq!(super::filled(&filled, |_| Ok(SOURCE.into())).unwrap(), filled);
    }

    #[test]
    fn what_cannot_be_cut_is_an_error() {
        let page = "<!-- snippet: a.rs -->\n```\n```\n";
        for source in ["", "README-begin\n", "README-begin\nREADME-end\n", "README-begin\n\nREADME-end\n"] {
            assert!(filled(page, |_| Ok(source.into())).is_err(), "{source:?}");
        }
        for page in ["<!-- snippet: a.rs\n```\n```\n", "<!-- snippet: a -->\ntext\n", "<!-- snippet: a -->\n```\n"] {
            assert!(filled(page, |_| Ok(SOURCE.into())).is_err(), "{page:?}");
        }
    }
}
