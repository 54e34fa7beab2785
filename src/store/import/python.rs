//! Python literals, one a line: the 2014 Amazon files are dicts with single quotes, not JSON.

use serde_json::{Map, Number, Value};

/// Nested deeper, a line is junk: and the parser calls itself.
const DEPTH_MAX: usize = 32;

/// Parses a dict, list, tuple, string, number, `True`, `False` or `None`.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.expected("the end of the line"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> String {
        match self.peek() {
            Some(c) => format!("expected {what} at byte {}, found {c:?}", self.at + 1),
            None => format!("expected {what} at byte {}, found the end", self.at + 1),
        }
    }

    /// Skips spaces, and the character if it is next.
    fn eat(&mut self, c: char) -> bool {
        self.space();
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        self.space();
        match self.peek() {
            Some('{') => self.dict(depth),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('\'' | '"') => self.string().map(Value::String),
            Some('u') if self.rest()[1..].starts_with(['\'', '"']) => {
                self.at += 1;
                self.string().map(Value::String)
            }
            _ => self.word(),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        self.next();
        let mut map = Map::new();
        while !self.eat('}') {
            let Value::String(key) = self.value(depth + 1)? else {
                return Err(self.expected("a string as key before this"));
            };
            if !self.eat(':') {
                return Err(self.expected("':'"));
            }
            map.insert(key, self.value(depth + 1)?);
            if !self.eat(',') && self.peek() != Some('}') {
                return Err(self.expected("',' or '}'"));
            }
        }
        Ok(Value::Object(map))
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Value, String> {
        self.next();
        let mut values = Vec::new();
        while !self.eat(end) {
            values.push(self.value(depth + 1)?);
            if !self.eat(',') && self.peek() != Some(end) {
                return Err(self.expected("',' or the end of the list"));
            }
        }
        Ok(Value::Array(values))
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(self.expected("the end of a string")),
                Some('\\') => self.escape(&mut out)?,
                c if c == quote => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let (plain, digits) = match self.next() {
            Some('n') => ('\n', 0),
            Some('t') => ('\t', 0),
            Some('r') => ('\r', 0),
            Some(c @ ('\\' | '\'' | '"')) => (c, 0),
            Some('x') => (' ', 2),
            Some('u') => (' ', 4),
            Some('U') => (' ', 8),
            // Python keeps a backslash that escapes nothing.
            Some(c) => {
                out.push('\\');
                (c, 0)
            }
            None => return Err(self.expected("the end of a string")),
        };
        if digits == 0 {
            out.push(plain);
            return Ok(());
        }
        let code = self.rest().get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let code = code.ok_or_else(|| self.expected("hexadecimal digits"))?;
        self.at += digits;
        // Half of a surrogate pair is no character by itself.
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn word(&mut self) -> Result<Value, String> {
        let end = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let word = &self.rest()[..end.unwrap_or(self.rest().len())];
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" | "nan" => Value::Null,
            _ => {
                let number = match word.parse::<i64>() {
                    Ok(whole) => Some(Number::from(whole)),
                    Err(_) => word.parse().ok().and_then(Number::from_f64),
                };
                Value::Number(number.ok_or_else(|| self.expected("a value"))?)
            }
        };
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use serde_json::json;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        let text = r#"{'a': "it's", u'b': ['x\'y', (1, -2.5e3,)], 'c': None, 'd': True, 'e': {},
            'f': '\u00e9\xe9\q'}"#;
        let expected = json!({
            "a": "it's", "b": ["x'y", [1, -2500.0]], "c": null, "d": true, "e": {}, "f": "éé\\q"
        });
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_is_no_literal_is_said_with_its_place() {
        for (text, expected) in [
            ("{'a' 1}", "expected ':' at byte 6, found '1'"),
            ("{'a': 1", "expected ',' or '}' at byte 8, found the end"),
            ("'é", "expected the end of a string at byte 4, found the end"),
            ("{1: 2}", "expected a string as key before this at byte 3, found ':'"),
            ("é", "expected a value at byte 1, found 'é'"),
            ("1 2", "expected the end of the line at byte 3, found '2'"),
            ("'\\x4", "expected hexadecimal digits at byte 4, found '4'"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err_and(|e| e.contains("nested deeper")));
    }
}
