//! One user explained: what they did, what they asked for, and how each candidate came to its
//! place.
//!
//! The caller looks everything up and hands over plain lines; this file only sets them in columns.

use super::numbers::{count, fixed};
use super::plain::{clean, cut, left, right, wrap};
use crate::types::ControlSource;
use std::fmt::Write;

/// What is known of one user in one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// The run directory's name.
    pub run: String,
    /// The user's key.
    pub user: String,
    /// How many interactions the whole history has.
    pub history_length: u64,
    /// The last of them, oldest first.
    pub history: Vec<HistoryLine>,
    /// What was asked for, as the candidates' marks count it: `genre is Drama`.
    pub controls: Vec<String>,
    /// Where the controls came from.
    pub source: ControlSource,
    /// What was asked for in the user's own words; none for who says nothing.
    pub request: Option<Said>,
    /// Why the controls cannot all be met.
    pub conflict: Option<String>,
    /// The arms, in the job's order.
    pub arms: Vec<String>,
    /// Which of them is published: an index into `arms`.
    pub published: Option<usize>,
    /// The candidates to show, in the order to show them.
    pub candidates: Vec<CandidateLine>,
    /// How many candidates there were in all.
    pub candidates_all: u64,
    /// Of each arm that begins with a model: which, and the prompt, as people read it and as
    /// tokens.
    pub prompts: Vec<(usize, String, Vec<u32>)>,
    /// Ways through graphs of nodes.
    pub ways: Vec<Way>,
    /// Faults of this user's rows: stage and reason.
    pub faults: Vec<String>,
}

/// A request, and what was made of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The words about items.
    pub text: String,
    /// What it is about, where that is known.
    pub category: Option<String>,
    /// What the rules understand of it, as controls.
    pub understood: Vec<String>,
    /// What it wants of the list as a whole.
    pub quotas: Vec<String>,
    /// What it means, where that is known: what it is judged by.
    pub meaning: Vec<String>,
    /// The user in words, as the encoder reads them.
    pub context: Option<String>,
}

/// A way through a graph of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// The arm's name.
    pub arm: String,
    /// The Goal.
    pub goal: String,
    /// What the rules understand of it: aspects and what each counts.
    pub weights: Vec<(String, f32)>,
    /// What of it is doubtful.
    pub doubts: Vec<String>,
    /// The nodes in the order of the visits, and the one that ends the way.
    pub nodes: Vec<String>,
    /// Whether the limit of visits ended it.
    pub limited: bool,
}

/// One item of the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryLine {
    /// The item's key.
    pub key: String,
    /// Its title; may be empty.
    pub title: String,
    /// Its attributes in words: `genre Drama, War`.
    pub attributes: Vec<String>,
}

/// One candidate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CandidateLine {
    /// The item's key.
    pub key: String,
    /// Its title; may be empty.
    pub title: String,
    /// Retrieval rank, from 1.
    pub rank: u32,
    /// The retriever's score.
    pub score: f32,
    /// For each control, whether the item meets it.
    pub met: Vec<bool>,
    /// Values of the item that a teacher inferred and that meet a control: the control, the value,
    /// and how sure the teacher is, 0 to 1.
    pub inferred: Vec<(usize, String, f32)>,
    /// For each arm, the place in its list, from 1; none when the arm left it out.
    pub places: Vec<Option<u32>>,
    /// Whether the user took it next (held out).
    pub target: bool,
}

const TITLE: usize = 34;
const PLACE: usize = 6;
const COLUMNS: usize = 100;
const GOAL: usize = 60;

/// The explanation for the terminal: no escape sequences, whatever the titles hold.
pub fn render_text(e: &Explanation) -> String {
    let mut out = format!("user {} · {}\n", clean(&e.user), clean(&e.run));
    history(e, &mut out);
    request(e, &mut out);
    controls(e, &mut out);
    arms(e, &mut out);
    candidates(e, &mut out);
    ways(e, &mut out);
    prompts(e, &mut out);
    if !e.faults.is_empty() {
        out.push_str("\nfaults\n");
        e.faults.iter().for_each(|fault| bullet("!", fault, &mut out));
    }
    out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn bullet(mark: &str, text: &str, out: &mut String) {
    for (at, line) in wrap(text, COLUMNS - 4).iter().enumerate() {
        let mark = if at == 0 { mark } else { " " };
        let _ = writeln!(out, "  {mark} {line}");
    }
}

/// Each way, its Goal, and what of that was understood.
fn ways(e: &Explanation, out: &mut String) {
    for way in &e.ways {
        let goal = cut(&clean(&way.goal), GOAL);
        let _ = writeln!(out, "\nways of {}: the goal is “{goal}”", clean(&way.arm));
        let weight = |(name, weight): &(String, f32)| format!("{name} {:.0} %", weight * 100.0);
        let weights: Vec<String> = way.weights.iter().map(weight).collect();
        let doubts: String = way.doubts.iter().map(|doubt| format!("; {doubt}")).collect();
        bullet("·", &format!("read as {}{doubts}", weights.join(", ")), out);
        let end = if way.limited { " (the limit of visits)" } else { "" };
        bullet("·", &format!("{}{end}", way.nodes.join(" › ")), out);
    }
}

/// The title, cut so that its key stays whole, or the key alone.
fn name(title: &str, key: &str, width: usize) -> String {
    let room = width.saturating_sub(clean(key).chars().count() + 3).max(8);
    let name = if title.is_empty() { key.into() } else { format!("{} ({key})", cut(title, room)) };
    left(&name, width)
}

fn request(e: &Explanation, out: &mut String) {
    let Some(said) = &e.request else { return };
    out.push_str("\nrequest\n");
    bullet("›", &said.text, out);
    let list = |what: &str, parts: &[String], out: &mut String| {
        if !parts.is_empty() {
            bullet(" ", &format!("{what}: {}", parts.join("; ")), out);
        }
    };
    list("about", said.category.as_slice(), out);
    list("understood", &said.understood, out);
    if said.understood.is_empty() && said.quotas.is_empty() {
        bullet(
            " ",
            "understood: nothing that is a control; the encoder reads it all the same",
            out,
        );
    }
    list("of the whole list", &said.quotas, out);
    list("means", &said.meaning, out);
    list("read beside", said.context.as_slice(), out);
}

fn history(e: &Explanation, out: &mut String) {
    let all = count(e.history_length, ",");
    let _ = writeln!(out, "\nhistory: the last {} of {all}, oldest first", e.history.len());
    for line in &e.history {
        let title = name(&line.title, &line.key, TITLE + 6);
        let room = COLUMNS - TITLE - 10;
        let _ = writeln!(out, "  {title}  {}", cut(&line.attributes.join(" · "), room));
    }
}

fn controls(e: &Explanation, out: &mut String) {
    let source = match e.source {
        ControlSource::None => "none",
        ControlSource::Job => "from the job",
        ControlSource::Table => "from the table",
        ControlSource::Sampled => "drawn from a candidate",
        ControlSource::Oracle => "oracle: read off the held-out item",
    };
    let _ = writeln!(out, "\ncontrols: {source}");
    for (at, control) in e.controls.iter().enumerate() {
        let met = e.candidates.iter().filter(|c| c.met.get(at) == Some(&true)).count();
        let of = e.candidates.len();
        bullet(
            &format!("{}", at + 1),
            &format!("{}  met by {met} of the {of} below", left(control, 40)),
            out,
        );
    }
    if let Some(conflict) = &e.conflict {
        bullet("!", &format!("conflict: {conflict}"), out);
    }
}

/// The arms by the letters that head their columns.
fn arms(e: &Explanation, out: &mut String) {
    out.push_str("\narms\n");
    for (at, arm) in e.arms.iter().enumerate() {
        let published = if e.published == Some(at) { " (published)" } else { "" };
        bullet(&letter(at), &format!("{arm}{published}"), out);
    }
}

/// Each prompt word for word, and the numbers of its tokens.
fn prompts(e: &Explanation, out: &mut String) {
    for (arm, text, tokens) in &e.prompts {
        let name = e.arms.get(*arm).map_or("", String::as_str);
        let _ = writeln!(out, "\nprompt of {}: {} tokens", clean(name), tokens.len());
        text.lines().for_each(|line| {
            let _ = writeln!(out, "  | {}", clean(line));
        });
        let numbers: Vec<String> = tokens.iter().map(u32::to_string).collect();
        wrap(&numbers.join(" "), COLUMNS - 4).iter().for_each(|line| {
            let _ = writeln!(out, "  # {line}");
        });
    }
}

/// A, B, … Z, then numbers.
fn letter(at: usize) -> String {
    match u8::try_from(at) {
        Ok(at @ 0..26) => char::from(b'A' + at).to_string(),
        _ => (at + 1).to_string(),
    }
}

fn candidates(e: &Explanation, out: &mut String) {
    let (shown, all) = (e.candidates.len(), count(e.candidates_all, ","));
    let _ = writeln!(out, "\ncandidates: {shown} of {all}; → marks what the user took next");
    let marks = e.controls.len().max(8);
    let mut head = format!("  {} {} {}", right("rank", 5), right("score", 9), left("item", TITLE));
    let _ = write!(head, "  {}", left("controls", marks));
    (0..e.arms.len()).for_each(|at| head += &right(&letter(at), PLACE));
    let _ = writeln!(out, "{head}");
    for line in &e.candidates {
        let target = if line.target { "→" } else { " " };
        let inferred = |control: usize| line.inferred.iter().any(|(of, ..)| *of == control);
        let mark = |(control, met): (usize, &bool)| match met {
            true if inferred(control) => '≈',
            true => '✓',
            false => '·',
        };
        let met: String = line.met.iter().enumerate().map(mark).collect();
        let _ = write!(
            out,
            "{target} {} {} {}  {}",
            right(&line.rank.to_string(), 5),
            right(&fixed(f64::from(line.score), 4), 9),
            name(&line.title, &line.key, TITLE),
            left(&met, marks)
        );
        for place in &line.places {
            let place = place.map_or_else(|| "–".to_owned(), |place| place.to_string());
            out.push_str(&right(&place, PLACE));
        }
        out.push('\n');
    }
    inferred(e, out);
}

/// What of the candidates' marks nobody wrote down.
fn inferred(e: &Explanation, out: &mut String) {
    for line in &e.candidates {
        for (control, value, confidence) in &line.inferred {
            let sure = fixed(f64::from(*confidence), 2);
            let told = format!(
                "control {} is met by {value} of {}, inferred with confidence {sure}",
                control + 1,
                line.key
            );
            bullet("≈", &told, out);
        }
    }
}
