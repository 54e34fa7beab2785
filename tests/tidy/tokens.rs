//! Rust as words and signs: as much of a lexer as the rules need.

/// A word or a sign of the code, and its line from 1. Comments are left out; a literal is `""`.
pub type Token<'a> = (usize, &'a str);

/// The line of the brace that closes what is opened next, or of the `;` that comes before any.
pub fn end_of(tokens: &[Token], start: usize) -> usize {
    let (mut braces, mut round) = (0, 0);
    for &(line, text) in &tokens[start..] {
        match text {
            "{" => braces += 1,
            "}" => braces -= 1,
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            _ => {}
        }
        if braces == 0 && round == 0 && matches!(text, "}" | ";") {
            return line;
        }
    }
    tokens.last().map_or(0, |token| token.0)
}

/// Leaves out what is `#[cfg(test)]`: the limits on words are for code that ships.
pub fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let marked = tokens.len() >= at + mark.len()
            && tokens[at..].iter().zip(mark).all(|(token, mark)| token.1 == mark);
        if !marked {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let end = end_of(tokens, at + mark.len());
        while at < tokens.len() && tokens[at].0 <= end {
            at += 1;
        }
    }
    kept
}

/// Splits Rust into words and signs.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut found, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (size, token) = match first {
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            _ if rest.starts_with("/*") => (block_comment(rest), None),
            '"' => (quoted(rest), Some("\"\"")),
            '\'' => match lifetime_or_char(rest) {
                0 => (1, None),
                size => (size, Some("\"\"")),
            },
            'r' | 'b' | 'c' if raw_string(rest).is_some() => {
                (raw_string(rest).unwrap_or(1), Some("\"\""))
            }
            _ if word > 0 => (word, Some(&rest[..word])),
            _ if first.is_whitespace() => (first.len_utf8(), None),
            _ => (first.len_utf8(), Some(&rest[..first.len_utf8()])),
        };
        found.extend(token.map(|token| (line, token)));
        line += rest[..size].matches('\n').count();
        rest = &rest[size..];
    }
    found
}

/// The size of a comment that may hold others.
fn block_comment(text: &str) -> usize {
    let (mut level, mut at) = (0, 0);
    loop {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (level, at) = (level + 1, at + 2),
            Some(b"*/") => (level, at) = (level - 1, at + 2),
            Some(_) => at += 1,
            None => return text.len(),
        }
        if level == 0 {
            return at;
        }
    }
}

/// The size of a literal between two equal quotes.
fn quoted(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut at = 1;
    while at < text.len() && text.as_bytes()[at] != quote {
        at += if text.as_bytes()[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// The size of a character; 0 for a lifetime's quote.
fn lifetime_or_char(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text),
        _ => 0,
    }
}

/// The size of `r"…"`, `r#"…"#` and their byte forms.
fn raw_string(text: &str) -> Option<usize> {
    let inner = text.trim_start_matches(['b', 'c']);
    let inner = inner.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let prefix = text.len() - body.len();
    Some(prefix + body.find(&end).map_or(body.len(), |at| at + end.len()))
}
