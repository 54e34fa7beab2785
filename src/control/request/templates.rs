//! How people put it: the wordings of requests. Of each list every third is kept from training.
//!
//! `{p}` and `{q}` are things ("kettles", "garden things"), `{n}` a number, `{a}` an attribute's
//! name, `{things}` what the shop sells, `{d}` a decade, `{y}` a year, `{t}` a title, `{c}` a
//! change, `{s}` a saying of the job's own.

use super::draws::Draws;

/// One of the wordings for training, or one of those that are kept from it.
pub fn wording(list: &[&'static str], held_out: bool, draws: &mut Draws) -> &'static str {
    let kept: Vec<&str> = picked(list, held_out).copied().collect();
    draws.of(&kept).copied().unwrap_or_default()
}

/// The elements of a list that are for training, or those that are kept from it.
pub fn picked<T>(list: &[T], held_out: bool) -> impl Iterator<Item = &T> {
    list.iter().enumerate().filter(move |(at, _)| (at % 3 == 2) == held_out).map(|(_, one)| one)
}

pub const ATTRIBUTE: [&str; 9] = [
    "show me {p}",
    "I would like some {p}",
    "looking for {p}",
    "{p}, please",
    "can you find {p} for me?",
    "do you have any {p}?",
    "recommend some {p}",
    "I could do with {p}",
    "what {p} are there?",
];

pub const MONEY_AT_MOST: [&str; 9] = [
    "under {n} dollars",
    "nothing over {n} dollars",
    "I want to spend at most {n} dollars",
    "for less than ${n}",
    "no more than {n} dollars",
    "my budget is ${n}",
    "below {n} dollars",
    "something up to ${n}",
    "{n} dollars or less",
];

pub const MONEY_AT_LEAST: [&str; 6] = [
    "over {n} dollars",
    "something that costs at least ${n}",
    "nothing under {n} dollars",
    "for more than {n} dollars",
    "above ${n}",
    "{n} dollars and up",
];

pub const CHEAP: [&str; 6] = [
    "something cheap",
    "inexpensive {things}",
    "I am on a tight budget",
    "a bargain",
    "cheap {things}, please",
    "something that does not cost much",
];

pub const DEAR: [&str; 6] = [
    "something expensive",
    "money is no object",
    "the finest, whatever it costs",
    "premium {things}",
    "a luxury",
    "something high end",
];

pub const NUMBER_AT_MOST: [&str; 6] = [
    "{a} at most {n}",
    "with a {a} under {n}",
    "a {a} of {n} or less",
    "a {a} below {n}",
    "{a} up to {n}",
    "a {a} no more than {n}",
];

pub const NUMBER_AT_LEAST: [&str; 6] = [
    "{a} at least {n}",
    "with a {a} over {n}",
    "a {a} of {n} or more",
    "a {a} above {n}",
    "{a} more than {n}",
    "a {a} no less than {n}",
];

pub const DECADE: [&str; 6] = [
    "{things} from the {d}",
    "something from the {d}",
    "take me back to the {d}",
    "{d} {things}",
    "made in the {d}",
    "what came out in the {d}?",
];

pub const BEFORE: [&str; 6] = [
    "from before {y}",
    "{things} made before {y}",
    "prior to {y}",
    "older than {y}",
    "something that came out before {y}",
    "earlier than {y}, please",
];

pub const AFTER: [&str; 6] = [
    "made after {y}",
    "{things} that came out after {y}",
    "later than {y}",
    "only after {y}",
    "newer than {y}",
    "more recent than {y}",
];

pub const SINCE: [&str; 6] = [
    "since {y}",
    "from {y} on",
    "{y} or newer",
    "{things} since {y}",
    "from {y} onwards",
    "{y} and later",
];

pub const NEW: [&str; 6] = [
    "something new",
    "the latest {things}",
    "what has just come out?",
    "new {things}",
    "recent {things}",
    "the newest that you have",
];

pub const OLD: [&str; 6] = [
    "something old",
    "old {things}",
    "vintage {things}",
    "an old classic",
    "the oldest that you have",
    "{things} of long ago",
];

pub const EXCLUSION: [&str; 9] = [
    "anything but {p}",
    "no {p}",
    "everything except {p}",
    "I do not want {p}",
    "please leave out {p}",
    "I am tired of {p}",
    "no more {p}, thank you",
    "without {p}",
    "spare me the {p}",
];

pub const EXCLUSION_TWO: [&str; 6] = [
    "neither {p} nor {q}",
    "no {p} or {q}",
    "without {p} and {q}",
    "anything but {p} or {q}",
    "I do not want {p} or {q}",
    "leave out both {p} and {q}",
];

pub const POPULAR: [&str; 9] = [
    "something popular",
    "what everybody likes",
    "the bestsellers",
    "well known {things}",
    "what most people take",
    "crowd pleasers",
    "popular {things}",
    "the favourites of many",
    "what is everybody talking about?",
];

pub const OBSCURE: [&str; 6] = [
    "hidden gems",
    "something that few people know",
    "off the beaten track",
    "little known {things}",
    "obscure {things}",
    "something under the radar",
];

pub const IS_NOT: [&str; 6] = [
    "{p} but not {q}",
    "{p} without {q}",
    "{p}, except {q}",
    "{p} but no {q}",
    "some {p}, just not {q}",
    "{p} other than {q}",
];

pub const IS_IS: [&str; 6] = [
    "{p} that are also {q}",
    "{p} and at the same time {q}",
    "both {q} and {p}",
    "{p} with {q}",
    "{p} that count as {q}",
    "a mix of {q} and {p}",
];

pub const IS_OF: [&str; 6] = [
    "{p} {q}",
    "show me {p} {q}",
    "looking for {p} {q}",
    "{p} {q}, please",
    "I would like some {p} {q}",
    "do you have {p} {q}?",
];

pub const EITHER: [&str; 6] = [
    "{p} or {q}",
    "either {p} or {q}",
    "{p} or {q}, whichever is better",
    "show me {p} or {q}",
    "some {p} or {q}",
    "could it be {p} or {q}?",
];

pub const IS_AT_MOST: [&str; 6] = [
    "{p} under {n} dollars",
    "{p} for less than ${n}",
    "{p}, {n} dollars or less",
    "{p} at most {n} dollars",
    "{p} up to ${n}",
    "{p} that cost no more than {n} dollars",
];

pub const IS_DECADE: [&str; 6] = [
    "{p} from the {d}",
    "{d} {p}",
    "{p}, as in the {d}",
    "show me {p} from the {d}",
    "{p} made in the {d}",
    "the best {p} of the {d}",
];

pub const IS_NEW: [&str; 6] = [
    "new {p}",
    "the latest {p}",
    "{p} that have just come out",
    "recent {p}",
    "{p}, but new",
    "the newest {p}",
];

pub const LIKE: [&str; 6] = [
    "like {t} but {c}",
    "something like {t}, but {c}",
    "similar to {t} but {c}",
    "more like {t}, only {c}",
    "I enjoyed {t}: the same kind, only {c}",
    "in the vein of {t}, but {c}",
];

pub const CHEAPER: [&str; 3] = ["cheaper", "less expensive", "easier on the purse"];
pub const NEWER: [&str; 3] = ["newer", "more recent", "of a later date"];
pub const OLDER: [&str; 3] = ["older", "from an earlier time", "of an earlier date"];
pub const BETTER_KNOWN: [&str; 3] = ["better known", "more popular", "with more of a following"];
pub const LESS_KNOWN: [&str; 3] = ["less well known", "more obscure", "known to fewer people"];
pub const BUT_NOT: [&str; 3] = ["not {q}", "without {q}", "no {q}"];

pub const MOOD: [&str; 6] = [
    "I am in the mood for {s}",
    "{s}",
    "give me {s} tonight",
    "I feel like {s}",
    "we fancy {s}",
    "how about {s}?",
];

pub const AUDIENCE: [&str; 6] = [
    "something {s}",
    "{s}",
    "what is good {s}?",
    "I am looking for something {s}",
    "a few ideas {s}",
    "what would you choose {s}?",
];

pub const ASPIRATION: [&str; 6] = [
    "I want {s}",
    "I would like {s}",
    "my resolution is {s}",
    "I am trying {s}",
    "this year I mean {s}",
    "what do I need {s}?",
];
