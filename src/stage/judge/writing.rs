//! Requests written by a model behind a server, for a person and of given categories.

use super::Spent;
use super::asking::Asking;
use super::form::{Form, entries};
use super::wording::{beginning, object};
use crate::error::Result;
use crate::remote::{Message, Role};
use crate::types::Category;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Letters of a request, at most: it is a sentence, and no story.
const LETTERS_MAX: usize = 300;

const EXAMPLE: &str = "{\"requests\":[{\"id\":1,\"text\":\"…\"}]}";

/// The form of an answer about so many kinds.
fn form(kinds: usize) -> Form {
    Form {
        example: EXAMPLE,
        holds: "one entry for every kind",
        schema: entries("requests", kinds, &[("text", json!({ "type": "string" }))]),
    }
}

/// Writes requests.
pub struct Writer {
    /// The server, and what may be spent.
    pub asking: Arc<Asking>,
    /// What an item is called, in the singular.
    pub noun: String,
}

impl Writer {
    /// A request of each category, in their order, or what is wrong with the answer.
    ///
    /// Errors: whatever must stop the job.
    pub fn write(
        &self,
        context: &str,
        categories: &[Category],
    ) -> Result<(Result<Vec<String>, String>, Spent)> {
        let messages = prompt(&self.noun, context, categories);
        let form = form(categories.len());
        self.asking.answer(&messages, &form, &|answer| texts(answer, categories.len()))
    }
}

fn prompt(noun: &str, context: &str, categories: &[Category]) -> Vec<Message> {
    let task = format!(
        "You write what people say when they ask for a recommendation: one short sentence each, in \
         their own words, as different from each other as people are, in English. An item is \
         called a {noun}. You are told about a person and of which kind each request is. Answer \
         with JSON alone, one entry for every kind, in this form: {EXAMPLE}"
    );
    let mut asked = format!("The person: {context}\nKinds:\n");
    for (number, category) in (1..).zip(categories) {
        asked += &format!("{number}. {}\n", kind(*category));
    }
    vec![
        Message { role: Role::System, content: task },
        Message { role: Role::User, content: asked },
    ]
}

/// What a category is about, for somebody who writes.
fn kind(category: Category) -> &'static str {
    match category {
        Category::Attribute => "for something of one kind, maker or genre",
        Category::Bound => "with a bound on the price or on another number",
        Category::Mood => "for a mood or an atmosphere",
        Category::Similarity => {
            "for something like a thing the person knows, but different in a way"
        }
        Category::Exclusion => "for anything but something",
        Category::Period => "for a period of time, or for what is new",
        Category::Audience => "for somebody else, or for an occasion",
        Category::Quality => "for what is popular, well liked, or known to few",
        Category::Composition => "for one thing and another, or one and not another",
        Category::Aspiration => "about what the person would like to become or to do",
    }
}

#[derive(Deserialize)]
struct Answer {
    requests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: u64,
    text: String,
}

/// The texts of an answer, one for each of so many kinds.
fn texts(answer: &str, count: usize) -> Result<Vec<String>, String> {
    let wrong = |why: String| format!("{why}; it begins {:?}", beginning(answer));
    let parsed: Answer = serde_json::from_str(object(answer)?).map_err(|e| wrong(e.to_string()))?;
    let mut found = vec![String::new(); count];
    for Entry { id, text } in parsed.requests {
        let Some(place) = found.get_mut((id as usize).wrapping_sub(1)) else {
            return Err(wrong(format!("expected ids 1 to {count}, found {id}")));
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        *place = words.join(" ");
        if place.is_empty() || place.chars().count() > LETTERS_MAX {
            let why = format!("request {id}: expected 1 to {LETTERS_MAX} letters");
            return Err(wrong(why));
        }
    }
    match found.iter().position(String::is_empty) {
        None => Ok(found),
        Some(at) => {
            Err(wrong(format!("expected a request of each kind, found none of {}", at + 1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_each_kind_is_wanted() {
        let answer = r#"{"requests":[{"id":2,"text":" no\nhorror "},{"id":1,"text":"a comedy"}]}"#;
        assert_eq!(texts(answer, 2), Ok(vec!["a comedy".to_owned(), "no horror".to_owned()]));
        for (answer, why) in [
            (answer, "found none of 3"),
            (r#"{"requests":[{"id":4,"text":"a"}]}"#, "expected ids 1 to 3, found 4"),
            (r#"{"requests":[{"id":1,"text":" "}]}"#, "expected 1 to 300 letters"),
            ("no", "expected a JSON object"),
        ] {
            let refused = texts(answer, 3).expect_err("it is wrong");
            assert!(refused.contains(why), "{answer}: {refused}");
        }
        let prompt = prompt("film", "latest: Heat", &Category::ALL);
        assert!(prompt[1].content.contains("10. about what"), "{}", prompt[1].content);
    }
}
