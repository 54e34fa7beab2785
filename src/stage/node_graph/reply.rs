//! What a model's text says at a node: an order over numbered candidates, and the next node.
//!
//! Two forms are read: `{"ranking":[3,1,2],"next":"stop"}`, and `[3, 1, 2]; stop`, with whatever
//! words around them. Nothing of a text is believed: numbers that stand for no candidate or stand
//! there twice are left out, candidates that are missing follow as they were (see
//! [`State`](super::State)), and a next node that there is not is none.
//!
//! Source: the classes of answers are RankLLM's (Pradeep et al. 2023), the second form is
//! LLM4Rerank's.

use crate::types::ReplyClass;
use serde_json::Value;

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Places of candidates from 0, each at most once, best first.
    pub order: Vec<u32>,
    /// The next node's name.
    pub next: Option<String>,
    /// How the text was.
    pub class: ReplyClass,
}

/// What a text says about so many candidates; `nodes` are the names that a next node may have. Of
/// 0 candidates only the next node is asked.
pub fn read(text: &str, candidates: usize, nodes: &[&str]) -> Reply {
    let (numbers, next) = object(text).or_else(|| brackets(text)).unwrap_or_default();
    let next = next.or_else(|| last_word(text));
    let next = next.map(|name| plain(&name)).filter(|name| nodes.contains(&name.as_str()));
    let mut there = vec![false; candidates];
    let (mut order, mut repeats) = (Vec::new(), false);
    for number in &numbers {
        let at = number.checked_sub(1).filter(|at| (*at as usize) < candidates);
        match at {
            Some(at) if !there[at as usize] => {
                there[at as usize] = true;
                order.push(at as u32);
            }
            _ => repeats = true,
        }
    }
    let class = match () {
        () if next.is_none() || order.is_empty() && candidates > 0 => ReplyClass::WrongFormat,
        () if candidates == 0 => ReplyClass::Ok,
        () if repeats => ReplyClass::Repetition,
        () if order.len() < candidates => ReplyClass::Missing,
        () => ReplyClass::Ok,
    };
    Reply { order, next, class }
}

type Parts = (Vec<u64>, Option<String>);

/// Places where a JSON object may begin that are tried.
const STARTS_MAX: usize = 32;

/// The first JSON object that goes on to the last brace, if it names a ranking or a next node.
fn object(text: &str) -> Option<Parts> {
    let end = text.rfind('}')?;
    let starts = text[..end].match_indices('{').take(STARTS_MAX);
    let object = |(start, _)| serde_json::from_str::<Value>(&text[start..=end]).ok();
    let object = starts.filter_map(object).next()?;
    let next = object.get("next").and_then(Value::as_str).map(str::to_owned);
    let ranking = object.get("ranking").and_then(Value::as_array);
    if next.is_none() && ranking.is_none() {
        return None;
    }
    // A number may be written as a text.
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    let numbers = ranking.into_iter().flatten().map(|value| number(value).unwrap_or(0));
    Some((numbers.collect(), next))
}

/// The last list in brackets, and what follows the last semicolon after it.
fn brackets(text: &str) -> Option<Parts> {
    let start = text.rfind('[')?;
    let end = start + text[start..].find(']').unwrap_or(text.len() - start);
    let digits = text[start..end].split(|c: char| !c.is_ascii_digit());
    let numbers = digits.filter(|word| !word.is_empty()).map(|word| word.parse().unwrap_or(0));
    let next = text[end..].rsplit_once(';').map(|(_, name)| name.to_owned());
    Some((numbers.collect(), next))
}

/// The last word of the text.
fn last_word(text: &str) -> Option<String> {
    text.split_whitespace().next_back().map(str::to_owned)
}

/// A node's name without what models put around it.
fn plain(name: &str) -> String {
    let marks = |c: char| c.is_whitespace() || "_,.;:\"'`*{}[]()!".contains(c);
    name.trim_matches(marks).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 3] = ["accuracy", "diversity", "stop"];

    fn said(text: &str) -> (Vec<u32>, Option<String>, ReplyClass) {
        let Reply { order, next, class } = read(text, 3, &NODES);
        (order, next, class)
    }

    #[test]
    fn both_forms_are_read_whatever_is_around_them() {
        for text in [
            r#"{"ranking":[3,1,2],"next":"stop"}"#,
            "Sure!\n```json\n{\"next\": \"Stop\", \"ranking\": [\"3\", 1, 2]}\n```",
            "[3, 1, 2]; stop",
            "The list is [3] > … no: [ 3,1 ,2 ]; _Stop_.",
        ] {
            let stop = Some("stop".to_owned());
            assert_eq!(said(text), (vec![2, 0, 1], stop, ReplyClass::Ok), "{text}");
        }
        let back = Reply { order: vec![], next: Some("diversity".into()), class: ReplyClass::Ok };
        assert_eq!(read("Diversity.", 0, &NODES), back);
        assert_eq!(read("{\"next\":\"diversity\"}", 0, &NODES), back);
    }

    #[test]
    fn what_is_wrong_is_told_and_what_can_be_used_is_kept() {
        let stop = || Some("stop".to_owned());
        for (text, order, next, class) in [
            ("", vec![], None, ReplyClass::WrongFormat),
            ("I cannot do that.", vec![], None, ReplyClass::WrongFormat),
            ("[1, 2, 3]", vec![0, 1, 2], None, ReplyClass::WrongFormat),
            ("[1, 2, 3]; somewhere", vec![0, 1, 2], None, ReplyClass::WrongFormat),
            ("[2, 2, 1, 3]; stop", vec![1, 0, 2], stop(), ReplyClass::Repetition),
            ("[9, 2, 1, 3]; stop", vec![1, 0, 2], stop(), ReplyClass::Repetition),
            ("[0, 2, 1, 3]; stop", vec![1, 0, 2], stop(), ReplyClass::Repetition),
            ("[2]; stop", vec![1], stop(), ReplyClass::Missing),
            ("[2, 1", vec![1, 0], None, ReplyClass::WrongFormat),
            ("[18446744073709551617, 1]; stop", vec![0], stop(), ReplyClass::Repetition),
            (r#"{"ranking":"none","next":"stop"}"#, vec![], stop(), ReplyClass::WrongFormat),
            (r#"{"ranking":[null,{}],"next":"stop"}"#, vec![], stop(), ReplyClass::WrongFormat),
            ("]][[}{;;; stop", vec![], stop(), ReplyClass::WrongFormat),
        ] {
            assert_eq!(said(text), (order, next, class), "{text}");
        }
    }
}
