//! Text that somebody else wrote, made safe for a terminal or a Markdown file.

/// One line without control characters: escape sequences and marks that reorder a line would let a
/// title rewrite the screen around it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect()
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// [`clean`], cut to a number of characters with an ellipsis.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    let clean = clean(text);
    if clean.chars().count() <= chars_max {
        return clean;
    }
    clean.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// Padded on the right, or cut.
pub(super) fn left(text: &str, width: usize) -> String {
    format!("{:<width$}", cut(text, width))
}

/// Padded on the left, or cut.
pub(super) fn right(text: &str, width: usize) -> String {
    format!("{:>width$}", cut(text, width))
}

/// Lines folded at spaces to a width.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in clean(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, width)),
        }
    }
    lines
}

/// [`clean`] with everything escaped that Markdown or the HTML inside it would read as markup.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Text as it is between code marks: longer marks than any inside.
pub(super) fn code(text: &str) -> String {
    let clean = clean(text).replace('|', "\\|");
    let longest = clean.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!("{fence}{pad}{clean}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(clean("a\u{1b}[2Jb\u{202e}c\nd"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(left("ab", 4), "ab  ");
    }

    #[test]
    fn markdown_is_text() {
        assert_eq!(markdown("a|b <i>*x*"), "a\\|b &lt;i&gt;\\*x\\*");
        assert_eq!(code("a`b"), "`` a`b ``");
    }

    #[test]
    fn lines_are_folded_at_spaces() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("aaaaaaa b", 5), ["aaaa…", "b"]);
    }
}
