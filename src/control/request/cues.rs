//! The words that say how a request is meant: not what is asked for, but in which way.

use super::phrases::Phrases;

/// What a phrase does to what follows it, or says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cue {
    /// What follows is not wanted.
    Not,
    /// What follows is wanted again.
    But,
    /// Either of two.
    Or,
    /// The number that follows, or that comes before, is the most.
    AtMost,
    /// The number that follows, or that comes before, is the least.
    AtLeast,
    /// The number is about money.
    Money,
    /// A year, not included.
    Before,
    /// A year, not included.
    After,
    /// A year, included.
    Since,
    /// A year, included.
    Until,
    /// A low price.
    Cheap,
    /// A high price.
    Dear,
    /// The latest.
    New,
    /// The earliest.
    Old,
    /// What most people know.
    Popular,
    /// What few people know.
    Obscure,
    /// A title follows, and how it should be different.
    Like,
    /// Cheaper than the title.
    Cheaper,
    /// Newer than the title.
    Newer,
    /// Older than the title.
    Older,
    /// Better known than the title.
    BetterKnown,
    /// Less well known than the title.
    LessKnown,
}

const CUES: [(Cue, &[&str]); 22] = [
    (
        Cue::Not,
        &[
            "not",
            "no",
            "no more",
            "without",
            "except",
            "except for",
            "anything but",
            "everything but",
            "anything except",
            "everything except",
            "other than",
            "apart from",
            "tired of",
            "sick of",
            "skip",
            "avoid",
            "leave out",
            "dont want",
            "do not want",
            "neither",
            "nor",
            "never",
            "spare me",
            "hate",
            "cannot stand",
            "enough of",
            "minus",
            "rather not",
            "keep away from",
            "isnt",
            "nothing but not",
        ],
    ),
    (Cue::But, &["but", "just", "only", "but rather", "instead", "nothing but"]),
    (Cue::Or, &["or"]),
    (
        Cue::AtMost,
        &[
            "under",
            "below",
            "less than",
            "at most",
            "up to",
            "no more than",
            "not more than",
            "not over",
            "not above",
            "nothing over",
            "nothing above",
            "cheaper than",
            "within",
            "maximum",
            "max",
            "budget is",
            "budget of",
            "or less",
            "or under",
            "or below",
            "top",
            "no higher than",
            "lower than",
            "spend more than",
            "costs more than nothing",
        ],
    ),
    (
        Cue::AtLeast,
        &[
            "over",
            "above",
            "more than",
            "at least",
            "upwards of",
            "nothing under",
            "nothing below",
            "not under",
            "not below",
            "no less than",
            "not less than",
            "and up",
            "or more",
            "or over",
            "minimum",
            "higher than",
            "and above",
            "and over",
        ],
    ),
    (Cue::Money, &["dollar", "euro", "buck", "pound", "cost", "spend", "budget", "price"]),
    (Cue::Before, &["before", "prior to", "older than", "earlier than"]),
    (Cue::After, &["after", "later than", "newer than", "more recent than"]),
    (Cue::Since, &["since", "from", "or newer", "or later", "and later", "and newer"]),
    (Cue::Until, &["until", "or older", "or earlier", "and earlier", "and older"]),
    (
        Cue::Cheap,
        &[
            "cheap",
            "inexpensive",
            "tight budget",
            "bargain",
            "does not cost much",
            "affordable",
            "low price",
            "low cost",
            "doesnt cost much",
            "not expensive",
        ],
    ),
    (
        Cue::Dear,
        &[
            "expensive",
            "money is no object",
            "whatever it costs",
            "premium",
            "luxury",
            "high end",
            "not cheap",
            "luxurious",
            "top of the range",
        ],
    ),
    (
        Cue::New,
        &["new", "latest", "just come out", "recent", "newest", "brand new", "just released"],
    ),
    (
        Cue::Old,
        &["old", "vintage", "oldest", "long ago", "classic", "old classic", "old fashioned"],
    ),
    (
        Cue::Popular,
        &[
            "popular",
            "everybody likes",
            "everyone likes",
            "bestseller",
            "best seller",
            "well known",
            "most people take",
            "crowd pleaser",
            "favourites of many",
            "everybody talking about",
            "everybody is talking about",
            "everybody knows",
            "famous",
            "most popular",
            "best known",
        ],
    ),
    (
        Cue::Obscure,
        &[
            "hidden gem",
            "few people know",
            "off the beaten track",
            "little known",
            "obscure",
            "under the radar",
            "unknown",
            "nobody knows",
            "not well known",
            "not popular",
            "lesser known",
            "least known",
        ],
    ),
    (
        Cue::Like,
        &["like", "similar to", "enjoyed", "in the vein of", "loved", "liked", "reminds me of"],
    ),
    (Cue::Cheaper, &["cheaper", "less expensive", "easier on the purse"]),
    (Cue::Newer, &["newer", "more recent", "of a later date"]),
    (Cue::Older, &["older", "from an earlier time", "of an earlier date"]),
    (Cue::BetterKnown, &["better known", "more popular", "with more of a following"]),
    (Cue::LessKnown, &["less well known", "more obscure", "known to fewer people", "less known"]),
];

/// All cues by their phrases.
pub fn cues() -> Phrases<Cue> {
    let mut cues = Phrases::default();
    for (cue, phrases) in CUES {
        phrases.iter().for_each(|phrase| cues.add(phrase, cue));
    }
    cues
}

const DECADES: [(&str, f32); 8] = [
    ("twenties", 1920.0),
    ("thirties", 1930.0),
    ("forties", 1940.0),
    ("fifties", 1950.0),
    ("sixties", 1960.0),
    ("seventies", 1970.0),
    ("eighties", 1980.0),
    ("nineties", 1990.0),
];

/// The first year of a decade: `1990s`, `90s`, `nineties`.
pub fn decade(word: &str) -> Option<f32> {
    let named = |(name, _): &&(&str, f32)| super::words::phrase(name) == word;
    if let Some((_, year)) = DECADES.iter().find(named) {
        return Some(*year);
    }
    let digits = word.strip_suffix('s')?;
    let number: u16 = digits.parse().ok()?;
    match digits.len() {
        2 if number.is_multiple_of(10) && number >= 20 => Some(f32::from(1900 + number)),
        4 if number.is_multiple_of(10) => Some(f32::from(number)),
        _ => None,
    }
}

/// How a decade is called: in digits, or by a name where there is one and it is asked for.
pub fn decade_name(year: u32, by_name: bool) -> String {
    let named = DECADES.iter().find(|(_, first)| *first == year as f32);
    match (by_name, named) {
        (true, Some((name, _))) => (*name).to_owned(),
        (false, Some(_)) if year >= 1950 => format!("{}s", year - 1900),
        _ => format!("{year}s"),
    }
}
