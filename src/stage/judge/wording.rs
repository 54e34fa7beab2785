//! What a model is asked: a person, what they asked for, and some items; and what it should answer.

use super::form::{Form, entries};
use crate::remote::{Message, Role};
use serde::Deserialize;
use serde_json::json;

/// The best score of an answer.
const SCORE_MAX: f64 = 10.0;
/// Letters of an answer that a message repeats.
const SHOWN_MAX: usize = 160;

const TASK: &str = "You judge recommendations. You are told about a person, what they ask for in \
    their own words, and some numbered items. For each item say how well it answers the request, \
    from 0 (not at all, or it is what they do not want) to 10 (exactly what they asked for). Judge \
    by the request first: it counts for more than what the person took before. Answer with JSON \
    alone, one entry for every item, in this form: {\"scores\":[{\"id\":1,\"score\":7}]}";

/// The form of an answer about so many items.
pub fn form(items: usize) -> Form {
    let score = json!({ "type": "number", "minimum": 0, "maximum": SCORE_MAX });
    Form {
        example: "{\"scores\":[{\"id\":1,\"score\":7}]}",
        holds: "one entry for every item",
        schema: entries("scores", items, &[("score", score)]),
    }
}

/// The prompt for some items, numbered from 1.
pub fn prompt(context: &str, request: &str, items: &[String]) -> Vec<Message> {
    let mut asked = String::new();
    if !context.is_empty() {
        asked += &format!("The person: {context}\n");
    }
    asked += &format!("They ask: {request}\nItems:\n");
    for (number, item) in (1..).zip(items) {
        asked += &format!("{number}. {}\n", item.replace(['\n', '\r'], " "));
    }
    vec![
        Message { role: Role::System, content: TASK.to_owned() },
        Message { role: Role::User, content: asked },
    ]
}

/// The prompt after an answer that cannot be read, with the form that it should have.
pub fn again(prompt: &[Message], answer: &str, form: &Form) -> Vec<Message> {
    let Form { example, holds, .. } = form;
    let short: String = answer.chars().take(4 * SHOWN_MAX).collect();
    let mut messages = prompt.to_vec();
    messages.push(Message { role: Role::Assistant, content: short });
    messages.push(Message { role: Role::User, content: format!(
        "That cannot be read. Answer again with JSON alone, in the form {example}, with {holds}."
    ) });
    messages
}

#[derive(Deserialize)]
struct Answer {
    scores: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: u64,
    score: f64,
}

/// The scores of an answer about so many items, 0 to 1, in the order of the items.
///
/// Errors: what is wrong with it, and how it begins.
pub fn scores(answer: &str, items: usize) -> Result<Vec<f32>, String> {
    let wrong = |why: String| format!("{why}; it begins {:?}", beginning(answer));
    let parsed: Answer = serde_json::from_str(object(answer)?).map_err(|e| wrong(e.to_string()))?;
    let mut scores: Vec<Option<f32>> = vec![None; items];
    for Entry { id, score } in parsed.scores {
        let at = (id as usize).wrapping_sub(1);
        let Some(place) = scores.get_mut(at) else {
            return Err(wrong(format!("expected ids 1 to {items}, found {id}")));
        };
        if !(0.0..=SCORE_MAX).contains(&score) {
            return Err(wrong(format!("item {id}: expected a score of 0 to 10, found {score}")));
        }
        let score = (score / SCORE_MAX) as f32;
        if place.is_some_and(|other| other != score) {
            return Err(wrong(format!("item {id}: expected one score, found two")));
        }
        *place = Some(score);
    }
    let missing = scores.iter().position(Option::is_none);
    match missing {
        None => Ok(scores.into_iter().flatten().collect()),
        Some(at) => {
            Err(wrong(format!("expected a score for each item, found none for {}", at + 1)))
        }
    }
}

/// The JSON object of an answer: some models put words or a code fence around it.
///
/// Errors: there is none, and how the answer begins.
pub fn object(answer: &str) -> Result<&str, String> {
    match (answer.find('{'), answer.rfind('}')) {
        (Some(start), Some(end)) if start < end => Ok(&answer[start..=end]),
        _ => {
            let begins = beginning(answer);
            Err(format!("expected a JSON object, found none; it begins {begins:?}"))
        }
    }
}

/// How an answer begins, on one line.
pub fn beginning(answer: &str) -> String {
    let words: Vec<&str> = answer.split_whitespace().collect();
    words.join(" ").chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_is_put_around_it() {
        let plain = r#"{"scores":[{"id":2,"score":10},{"id":1,"score":2.5}]}"#;
        assert_eq!(scores(plain, 2), Ok(vec![0.25, 1.0]));
        assert_eq!(scores(&format!("Sure!\n```json\n{plain}\n```"), 2), Ok(vec![0.25, 1.0]));
    }

    #[test]
    fn an_answer_that_is_not_about_every_item_is_refused() {
        let refused = |answer: &str| scores(answer, 2).expect_err("it is wrong");
        for (answer, why) in [
            ("I would say 7.", "expected a JSON object, found none"),
            (r#"{"scores":[{"id":1,"score":7}"#, "EOF"),
            (r#"{"scores":[{"id":1,"score":7}]}"#, "found none for 2"),
            (r#"{"scores":[{"id":0,"score":7}]}"#, "expected ids 1 to 2, found 0"),
            (r#"{"scores":[{"id":3,"score":7}]}"#, "expected ids 1 to 2, found 3"),
            (r#"{"scores":[{"id":1,"score":11}]}"#, "expected a score of 0 to 10, found 11"),
            (r#"{"scores":[{"id":1,"score":"good"}]}"#, "invalid type"),
            (r#"{"scores":[{"id":1,"score":1},{"id":1,"score":2}]}"#, "found two"),
            (r#"{"marks":[1,2]}"#, "missing field `scores`"),
        ] {
            assert!(refused(answer).contains(why), "{answer}: {}", refused(answer));
        }
        let long = refused(&"word ".repeat(1000));
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_prompt_is_about_the_person_the_request_and_each_item() {
        let items = ["Heat. genre: Crime".to_owned(), "Toy\nStory".to_owned()];
        let prompt = prompt("latest: Heat", "anything but crime", &items);
        assert_eq!(
            prompt[1].content,
            "The person: latest: Heat\nThey ask: anything but crime\nItems:\n\
             1. Heat. genre: Crime\n2. Toy Story\n"
        );
        assert_eq!(again(&prompt, "seven", &form(1)).len(), 4);
    }
}
