//! The rule on `unsafe`: only where the operating system, shared memory or another language is met.

use super::Source;

/// Where `unsafe` may be written.
const EDGES: [&str; 5] = ["core/src/os/", "ffi/", "python/", "node/", "fuzz/targets/calls_of_c.rs"];

/// Every use of `unsafe` elsewhere.
pub(super) fn unsafe_findings(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let rust = sources.iter().filter(|source| source.path.ends_with(".rs"));
    for source in rust.filter(|source| !EDGES.iter().any(|edge| source.path.starts_with(edge))) {
        for (number, line) in code(&source.text).lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "unsafe") {
                findings.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    findings
}

/// A Rust source with the insides of comments and string literals blanked; lines stay where they are.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = literal(rest, out.chars().next_back());
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        out.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[skipped..];
    }
    out
}

/// The length of the comment or string literal that `text` starts with; 0 if it starts with neither.
fn literal(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with('r') && !in_word {
        let hashes = text[1..].chars().take_while(|c| *c == '#').count();
        if text[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            return text[start..].find(&close).map_or(text.len(), |at| start + at + close.len());
        }
    }
    if text.starts_with('"') {
        return escaped(text, '"');
    }
    // A quote opens a character only if one stands closed behind it; otherwise it is a lifetime.
    if text.starts_with("'\\") || text.starts_with('\'') && text.chars().nth(2) == Some('\'') {
        return escaped(text, '\'');
    }
    0
}

/// The length of a literal that ends at the next `close` that is not escaped.
fn escaped(text: &str, close: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == close {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        unsafe_findings(&[Source { path: path.into(), text: text.into() }])
    }

    #[test]
    fn unsafe_is_found_outside_the_edges_only() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(findings("core/src/proto/codec.rs", text), ["core/src/proto/codec.rs:2"]);
        assert_eq!(findings("cli/src/main.rs", text), ["cli/src/main.rs:2"]);
        for edge in EDGES {
            let path = if edge.ends_with('/') { format!("{edge}x.rs") } else { edge.into() };
            assert_eq!(findings(&path, text), [""; 0]);
        }
    }

    #[test]
    fn the_word_in_text_and_names_is_no_finding() {
        let text = r##"
            #![deny(unsafe_code)]
            // unsafe
            /* unsafe /* unsafe */ unsafe */
            const A: &str = "unsafe \" unsafe"; const B: &str = r#"unsafe " unsafe"#;
            fn unsafe_directory<'a>(c: char) -> bool { c == '"' || c == '\'' }
        "##;
        assert_eq!(findings("core/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn code_after_a_literal_is_seen() {
        for before in ["\"a\"", "'\"'", "'\\''", "r\"\\\"", "r#\"\"\"#", "/* x */", "&'a x"] {
            let text = format!("let x = {before}; unsafe {{}}");
            assert_eq!(findings("core/src/lib.rs", &text).len(), 1, "{text}");
        }
    }
}
