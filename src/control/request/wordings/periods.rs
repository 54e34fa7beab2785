//! Wordings about when things were made.

use super::Wordings;

pub const DECADE: Wordings = Wordings {
    said: &[
        "made in the {d}",
        "I grew up in the {d}",
        "I miss the {d}",
        "the {d} were my time",
        "it should be from the {d}",
        "it came out in the {d}",
        "back in the {d} they made the best {things}",
        "a trip to the {d}",
        "I am in love with the {d}",
        "which {things} are from the {d}?",
    ],
    named: &[
        "{things} from the {d}",
        "something from the {d}",
        "{d} {things}",
        "{things} of the {d}",
        "the best of the {d}",
        "{things} that were made in the {d}",
    ],
    kept: &["take me back to the {d}", "what came out in the {d}?"],
};

pub const BEFORE: Wordings = Wordings {
    said: &[
        "from before {y}",
        "made before {y}",
        "older than {y}",
        "it has to be from before {y}",
        "only what was made before {y}",
        "it must have come out before {y}",
        "before {y} they knew how to make {things}",
        "I take anything, so long as it is older than {y}",
    ],
    named: &[
        "{things} from before {y}",
        "{things} made before {y}",
        "something older than {y}",
        "something that came out before {y}",
        "something earlier, from before {y}",
        "{things} that were there before {y}",
    ],
    kept: &["prior to {y}", "earlier than {y}, please"],
};

pub const AFTER: Wordings = Wordings {
    said: &[
        "made after {y}",
        "only after {y}",
        "newer than {y}",
        "it has to be newer than {y}",
        "it must have come out after {y}",
        "only what was made after {y}",
        "I take anything, so long as it came out after {y}",
        "{things} got better after {y}",
    ],
    named: &[
        "{things} made after {y}",
        "{things} that came out after {y}",
        "something newer than {y}",
        "{things} from after {y}",
        "something later, from after {y}",
        "something that was made after {y}",
    ],
    kept: &["later than {y}", "more recent than {y}"],
};

pub const SINCE: Wordings = Wordings {
    said: &[
        "since {y}",
        "from {y} on",
        "from {y} onwards",
        "made in {y} or later",
        "it should be made since {y}",
        "nothing from before {y}",
        "nothing made before {y}",
        "nothing older than {y}",
    ],
    named: &[
        "{things} since {y}",
        "{things} from {y} on",
        "everything since {y}",
        "{things} made since {y}",
        "{things} from {y} onwards",
        "something from {y} or later",
    ],
    kept: &["{y} or newer", "{y} and later"],
};

pub const NEW: Wordings = Wordings {
    said: &[
        "what is new?",
        "anything new?",
        "I want to keep up: the latest {things}",
        "only what is brand new will do",
        "what are the latest {things}?",
        "fresh arrivals",
        "what came out lately?",
    ],
    named: &[
        "something new",
        "the latest {things}",
        "new {things}",
        "recent {things}",
        "brand new {things}",
        "the newest {things}",
        "{things} that have just been released",
        "the latest that there is",
    ],
    kept: &["what has just come out?", "the newest that you have"],
};

pub const OLD: Wordings = Wordings {
    said: &[
        "the older the better",
        "they made better {things} in the old days",
        "nothing modern",
        "I prefer the classics",
        "what is the oldest of all?",
        "I miss the old times",
    ],
    named: &[
        "something old",
        "old {things}",
        "an old classic",
        "the oldest that you have",
        "classic {things}",
        "old fashioned {things}",
        "something from the old days",
        "{things} from way back",
    ],
    kept: &["vintage {things}", "{things} of long ago"],
};

pub const IS_DECADE: Wordings = Wordings {
    said: &[
        "what {p} came out in the {d}?",
        "which {p} are from the {d}?",
        "in the {d} they made good {p}",
        "I remember {p} from the {d}",
        "I could do with {p} from the {d}",
    ],
    named: &[
        "{p} from the {d}",
        "{d} {p}",
        "some {d} {p}",
        "{p} made in the {d}",
        "{p} of the {d}",
        "{p}, but from the {d}",
        "{p} that came out in the {d}",
        "great {p} from the {d}",
    ],
    kept: &["{p}, as in the {d}", "the best {p} of the {d}"],
};

pub const IS_NEW: Wordings = Wordings {
    said: &[
        "what is new in {p}?",
        "what are the latest {p}?",
        "which {p} are new?",
        "I could do with new {p}",
        "I want to keep up with {p}: the latest",
        "{p}, and only brand new ones",
    ],
    named: &[
        "new {p}",
        "the latest {p}",
        "recent {p}",
        "{p}, but new",
        "brand new {p}",
        "some new {p}",
        "{p} that are new",
        "{p} that came out lately",
    ],
    kept: &["{p} that have just come out", "the newest {p}"],
};
