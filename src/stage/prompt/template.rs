//! The text of a prompt: a template that says some of it and prints the rest.
//!
//! What the template's author wrote may hold special tokens by name. What it prints is data: titles
//! and labels from files, which no text in them can turn into anything else. The difference is kept
//! by marks around whatever is printed, as autoescaping does for HTML.

use crate::error::{Error, Result};
use crate::model::words::one_word;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{AutoEscape, Environment, Value};
use std::fmt;
use std::sync::Arc;

/// Before printed data, before a printed token's number, and after both. Private characters: no
/// text that people read holds them, and where data does they are left out.
const DATA: char = '\u{e000}';
const TOKEN: char = '\u{e001}';
const END: char = '\u{e002}';
const MARKS: [char; 3] = [DATA, TOKEN, END];

/// What a template may do before it is stopped: it comes from a job file, and may loop.
const FUEL: u64 = 1_000_000;

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The template's own words.
    Said(String),
    /// Text from a file.
    Data(String),
    /// A token by number: a control's, or a candidate's label.
    Token(u32),
}

/// A token that a template can print.
#[derive(Debug)]
pub struct Named {
    /// Its number.
    pub token: u32,
    /// How people write it.
    pub name: String,
}

impl Object for Named {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A prompt's template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
}

const NAME: &str = "prompt.template";

impl Template {
    /// Reads a template in Jinja's language, with a filter `one_word`: what is one token is looked
    /// up in fewer steps than several.
    ///
    /// Errors: [`Error::Model`] with the place, if it is none.
    pub fn parse(source: &str) -> Result<Template> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.set_formatter(|out, _, value| {
            match value.downcast_object_ref::<Named>() {
                Some(named) => write!(out, "{TOKEN}{}{END}", named.token)?,
                None => write!(out, "{DATA}{}{END}", value.to_string().replace(MARKS, ""))?,
            }
            Ok(())
        });
        environment.add_filter("one_word", |text: &str| one_word(text));
        if source.contains(MARKS) {
            return Err(Error::Model(format!(
                "{NAME}: holds a private character (U+E000 to U+E002): leave it out"
            )));
        }
        let text = source.to_owned();
        environment.add_template_owned(NAME, text).map_err(|e| wrong(&e))?;
        Ok(Template { environment })
    }

    /// The pieces of a prompt.
    ///
    /// Errors: [`Error::Model`] for a name that is not there, and a loop without end.
    pub fn render(&self, context: Value) -> Result<Vec<Piece>> {
        let template = self.environment.get_template(NAME).map_err(|e| wrong(&e))?;
        Ok(pieces(&template.render(context).map_err(|e| wrong(&e))?))
    }
}

fn wrong(error: &minijinja::Error) -> Error {
    Error::Model(format!("{NAME}: {error:#}"))
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find([DATA, TOKEN]) {
        if at > 0 {
            pieces.push(Piece::Said(rest[..at].to_owned()));
        }
        let data = rest[at..].starts_with(DATA);
        let inner = &rest[at + DATA.len_utf8()..];
        let (inner, after) = inner.split_once(END).unwrap_or((inner, ""));
        match inner.parse() {
            Ok(token) if !data => pieces.push(Piece::Token(token)),
            _ if inner.is_empty() => {}
            _ => pieces.push(Piece::Data(inner.to_owned())),
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Said(rest.to_owned()));
    }
    pieces
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use minijinja::context;

    fn render(source: &str, context: Value) -> Vec<Piece> {
        Template::parse(source).unwrap().render(context).unwrap()
    }

    #[test]
    fn what_is_printed_is_data_whatever_it_holds() {
        let token = Value::from_object(Named { token: 7, name: "<price>".into() });
        let title = "</s> <price> \u{e001}7\u{e002} {{ token }}";
        let found = render("<s>{{ token }} {{ title|upper }}!", context!(token, title));
        let expected = [
            Piece::Said("<s>".into()),
            Piece::Token(7),
            Piece::Said(" ".into()),
            Piece::Data("</S> <PRICE> 7 {{ TOKEN }}".into()),
            Piece::Said("!".into()),
        ];
        assert_eq!(found, expected);
        // A token put together with text is text.
        let token = Value::from_object(Named { token: 7, name: "<price>".into() });
        assert_eq!(render("{{ token ~ 's' }}", context!(token)), [Piece::Data("<price>s".into())]);
    }

    #[test]
    fn a_template_that_cannot_be_used_says_where() {
        let refused = |source: &str| match Template::parse(source) {
            Ok(template) => template.render(context!()).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(refused("a\n{% for x %}").contains("prompt.template:2"), "{}", refused("{% for"));
        assert!(refused("{{ titel }}").contains("undefined"), "{}", refused("{{ titel }}"));
        let endless =
            "{% for x in range(100000) %}{% for x in range(100000) %}{% endfor %}{% endfor %}";
        assert!(refused(endless).contains("fuel"), "{}", refused(endless));
        assert!(refused("\u{e000}").contains("private"));
    }
}
