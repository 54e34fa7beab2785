//! What models are told at a node: first what stays the same on the whole way (the person, the
//! candidates), then the lists so far, then what to do here and the Goal. What several visits begin
//! with alike can be read once.
//!
//! Titles, attributes and Goals are data of strangers: they come as quoted lines, cut, and where a
//! decoder reads them no token of its own can be spelled by them.

use super::Stand;
use crate::stage::texts::Texts;

/// Letters of an item's line.
const ITEM_CHARS_MAX: usize = 200;
/// Letters of the line about the person.
const PERSON_CHARS_MAX: usize = 1000;
/// Letters of a Goal.
const GOAL_CHARS_MAX: usize = 300;

/// A piece of what is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Our own words.
    Said(String),
    /// Somebody else's.
    Data(String),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The order, and the next node.
    Both,
    /// The order alone.
    Order,
    /// The next node alone.
    Next,
}

/// What stays the same on a whole way: the person, and candidates under names of their own.
pub fn prefix(stand: &Stand<'_>, texts: &Texts, shown: &[u32], names: &[String]) -> Vec<Piece> {
    let mut told = vec![Piece::Said("The person: ".into())];
    told.push(data(&texts.context(&stand.row.query.history), PERSON_CHARS_MAX));
    told.push(Piece::Said("\nCandidates, with the score of a first ranking:\n".into()));
    for (at, name) in shown.iter().zip(names) {
        let score = stand.row.scores[*at as usize];
        told.push(Piece::Said(format!("{name}. ")));
        told.push(data(&texts.item(stand.row.items[*at as usize]), ITEM_CHARS_MAX));
        told.push(Piece::Said(format!(" (score {score:.2})\n")));
    }
    told
}

/// What is told at a node, after the prefix. `name` is what a candidate is called by its position.
pub fn suffix(
    stand: &Stand<'_>,
    wanted: Wanted,
    name: &dyn Fn(u32) -> Option<String>,
) -> Vec<Piece> {
    let mut words = String::new();
    let nodes = &stand.graph.nodes;
    let pool = if stand.graph.pool { &stand.state.pool[..] } else { &[] };
    words +=
        if pool.is_empty() { "No lists so far.\n" } else { "Lists so far, the latest last:\n" };
    for (node, list) in pool {
        let names: Vec<String> = list.order.iter().filter_map(|at| name(*at)).collect();
        words += &format!("{}: [{}]\n", nodes[usize::from(*node)].name, names.join(", "));
    }
    let mut told = vec![Piece::Said(words), Piece::Said("The goal for the list: ".into())];
    told.push(data(&stand.state.goal, GOAL_CHARS_MAX));
    let node = &nodes[usize::from(stand.state.node)];
    let mut words = String::from("\n");
    if wanted != Wanted::Next {
        words += &format!(
            "Now rank all candidates again with {} in mind: {}. Keep the goal in mind.\n",
            node.name, node.prompt
        );
    }
    if wanted != Wanted::Order {
        words += "Then say what to look at next:\n";
        for node in nodes {
            words += &format!("- {}: {}\n", node.name, node.prompt);
        }
    }
    told.push(Piece::Said(words));
    told
}

/// A line of somebody else's words, cut.
fn data(text: &str, chars_max: usize) -> Piece {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    Piece::Data(line.chars().take(chars_max).collect())
}

/// All pieces as one text.
pub fn text(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Said(text) | Piece::Data(text) => text.clone(),
    };
    pieces.iter().map(text).collect()
}
