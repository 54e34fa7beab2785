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

impl Cue {
    /// Whether it says something about years alone.
    pub fn is_of_years(self) -> bool {
        matches!(self, Cue::Before | Cue::After | Cue::Since | Cue::Until)
    }
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
            "done with",
            "fed up with",
            "dislike",
            "stay away from",
            "keep me away from",
            "rather than",
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
            "all i have",
            "cannot go above",
            "at the very most",
            "limit is",
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
            "nothing less than",
            "at the very least",
        ],
    ),
    (Cue::Money, &["dollar", "euro", "buck", "pound", "cost", "spend", "budget", "price"]),
    (Cue::Before, &["before", "prior to", "older than", "earlier than"]),
    (Cue::After, &["after", "later than", "newer than", "more recent than"]),
    (
        Cue::Since,
        &[
            "since",
            "from",
            "or newer",
            "or later",
            "and later",
            "and newer",
            "nothing from before",
            "nothing made before",
            "nothing older than",
        ],
    ),
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
            "nothing expensive",
            "little money",
            "short of money",
            "save money",
            "price low",
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
            "price does not matter",
            "do not mind what it costs",
            "dearest",
            "exclusive",
        ],
    ),
    (
        Cue::New,
        &[
            "new",
            "latest",
            "just come out",
            "recent",
            "newest",
            "brand new",
            "just released",
            "lately",
            "just been released",
            "fresh arrivals",
        ],
    ),
    (
        Cue::Old,
        &[
            "old",
            "vintage",
            "oldest",
            "long ago",
            "classic",
            "old classic",
            "old fashioned",
            "older the better",
            "way back",
            "nothing modern",
        ],
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
            "everyone knows",
            "in demand",
            "sells well",
            "people crazy about",
            "the others take",
            "please everybody",
            "please the crowd",
            "talk of the town",
            "keep talking about",
            "everybody loves",
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
            "away from what everybody takes",
            "most people missed",
            "not the usual",
            "well kept secret",
            "overlooked",
            "forgotten",
        ],
    ),
    (
        Cue::Like,
        &[
            "like",
            "similar to",
            "enjoyed",
            "in the vein of",
            "loved",
            "liked",
            "reminds me of",
            "if you know",
            "the way",
            "in the way of",
            "as good as",
            "close to",
        ],
    ),
    (
        Cue::Cheaper,
        &["cheaper", "less expensive", "easier on the purse", "for less money", "at a lower price"],
    ),
    (Cue::Newer, &["newer", "more recent", "of a later date", "from a later time", "not as old"]),
    (
        Cue::Older,
        &[
            "older",
            "from an earlier time",
            "of an earlier date",
            "further back in time",
            "not as new",
        ],
    ),
    (
        Cue::BetterKnown,
        &[
            "better known",
            "more popular",
            "with more of a following",
            "more famous",
            "known to more people",
        ],
    ),
    (
        Cue::LessKnown,
        &[
            "less well known",
            "more obscure",
            "known to fewer people",
            "less known",
            "less popular",
            "less famous",
        ],
    ),
];

/// All cues by their phrases.
pub fn cues() -> Phrases<Cue> {
    let mut cues = Phrases::default();
    for (cue, phrases) in CUES {
        phrases.iter().for_each(|phrase| cues.add(phrase, cue));
    }
    cues
}
