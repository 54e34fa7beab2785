//! Wordings about what items are: labels, and how well known they are.

use super::Wordings;

pub const ATTRIBUTE: Wordings = Wordings {
    said: &[
        "can you find {p} for me?",
        "I could do with {p}",
        "{p} would be nice",
        "I love {p}",
        "my favourites are {p}",
        "it has to be {p}",
        "bring on the {p}",
        "time for some {p}",
        "let me see your {p}",
        "I have a weakness for {p}",
        "{p} are what I am here for",
        "which {p} would you choose?",
        "today I am having {p}",
    ],
    named: &["{p}", "some {p}", "a few {p}", "good {p}", "more {p}", "nothing but {p}"],
    kept: &["looking for {p}", "do you have any {p}?", "what {p} are there?"],
};

pub const EXCLUSION: Wordings = Wordings {
    said: &[
        "no {p}",
        "no more {p}",
        "without {p}",
        "I do not want {p}",
        "I do not want to see any {p}",
        "leave out {p}",
        "not {p} again",
        "I am sick of {p}",
        "I have had enough of {p}",
        "I am fed up with {p}",
        "I am done with {p}",
        "I cannot stand {p}",
        "I hate {p}",
        "I dislike {p}",
        "stay away from {p}",
        "keep me away from {p}",
        "skip the {p}",
        "avoid {p}",
        "never {p}",
        "I am not interested in {p}",
        "I would rather not have {p}",
        "surprise me, but not with {p}",
        "I take whatever you have, except for {p}",
        "all is fine, apart from {p}",
    ],
    named: &[
        "anything but {p}",
        "something other than {p}",
        "{things} that are not {p}",
        "{things} without any {p}",
        "{things}, but no {p}",
        "a list with no {p} on it",
    ],
    kept: &["everything except {p}", "I am tired of {p}", "spare me the {p}"],
};

pub const EXCLUSION_TWO: Wordings = Wordings {
    said: &[
        "neither {p} nor {q}",
        "no {p} or {q}",
        "no {p} and no {q}",
        "no more {p}, no more {q}",
        "I do not want {p} or {q}",
        "not {p} and not {q}",
        "skip the {p} and the {q}",
        "I am sick of {p} and {q}",
        "I am fed up with {p} and {q}",
        "I hate both {p} and {q}",
        "avoid {p} and {q}",
        "keep me away from {p} and {q}",
        "I have had enough of {p} and of {q}",
    ],
    named: &[
        "anything but {p} or {q}",
        "something other than {p} and {q}",
        "{things} that are neither {p} nor {q}",
    ],
    kept: &["without {p} and {q}", "leave out both {p} and {q}"],
};

pub const POPULAR: Wordings = Wordings {
    said: &[
        "what everybody likes",
        "what most people take",
        "the favourites of many",
        "what everyone knows",
        "what is in demand?",
        "what sells well?",
        "what are people crazy about?",
        "I want what the others take",
        "it should please everybody",
        "the talk of the town",
        "people keep talking about it",
        "a safe choice that everybody loves",
    ],
    named: &[
        "something popular",
        "popular {things}",
        "well known {things}",
        "famous {things}",
        "the most popular {things}",
        "the best known {things}",
        "{things} that sell well",
        "something that everyone knows",
        "something to please the crowd",
    ],
    kept: &["the bestsellers", "crowd pleasers", "what is everybody talking about?"],
};

pub const OBSCURE: Wordings = Wordings {
    said: &[
        "hidden gems",
        "what do few people know?",
        "surprise me with something nobody knows",
        "I want to discover something unknown",
        "what have most people missed?",
        "not the usual things",
        "far away from what everybody takes",
    ],
    named: &[
        "hidden gems",
        "something that few people know",
        "little known {things}",
        "obscure {things}",
        "lesser known {things}",
        "unknown {things}",
        "{things} that nobody knows",
        "a well kept secret",
        "{things} that were overlooked",
        "forgotten {things}",
    ],
    kept: &["off the beaten track", "something under the radar"],
};

pub const IS_NOT: Wordings = Wordings {
    said: &[
        "I would like {p}, but please no {q}",
        "I love {p} but cannot stand {q}",
        "I want {p}, only not {q}",
        "{p} are fine, but avoid {q}",
        "I could do with {p}, but not {q}",
        "{p} for me, but leave out {q}",
    ],
    named: &[
        "{p} but not {q}",
        "{p} without {q}",
        "{p} but no {q}",
        "some {p}, just not {q}",
        "{p} that are not {q}",
        "{p} with no {q} among them",
        "{p}, apart from {q}",
        "{p} rather than {q}",
        "{p} minus {q}",
    ],
    kept: &["{p}, except {q}", "{p} other than {q}"],
};

pub const IS_IS: Wordings = Wordings {
    said: &[
        "I want {p}, and they must be {q} too",
        "what is both {p} and {q} at once?",
        "I love {p}, and I love {q}: at the same time",
        "which {p} are {q} too?",
        "I could do with {p} that are {q}",
    ],
    named: &[
        "{p} that are also {q}",
        "{p} and at the same time {q}",
        "{p} with {q}",
        "{p} that count as {q}",
        "{p} which are {q} as well",
        "{p} and {q} in one",
        "a mixture of {p} and {q}",
        "{p} crossed with {q}",
        "{p} with a touch of {q}",
        "{p} together with {q}",
    ],
    kept: &["both {q} and {p}", "a mix of {q} and {p}"],
};

pub const IS_OF: Wordings = Wordings {
    said: &[
        "can you find {p} {q} for me?",
        "I could do with {p} {q}",
        "my {p} have to be {q}",
        "{p}, and they should be {q}",
        "which {p} are {q}?",
        "I love {p} {q}",
        "{p} would be nice, {q}",
    ],
    named: &[
        "{p} {q}",
        "some {p} {q}",
        "a few {p} {q}",
        "good {p} {q}",
        "all {p} {q}",
        "{p}, but only {q}",
    ],
    kept: &["looking for {p} {q}", "do you have {p} {q}?"],
};

pub const EITHER: Wordings = Wordings {
    said: &[
        "it can be {p} or {q}",
        "I could do with {p} or {q}",
        "{p} or {q} will both do",
        "whether {p} or {q} is all the same to me",
        "can you find {p} or {q} for me?",
        "whichever you have: {p} or {q}",
    ],
    named: &[
        "{p} or {q}",
        "either {p} or {q}",
        "some {p} or {q}",
        "{p} or else {q}",
        "{p} or perhaps {q}",
        "{p} or {q}, one of the two",
        "a few {p} or {q}",
    ],
    kept: &["{p} or {q}, whichever is better", "could it be {p} or {q}?"],
};

pub const LIKE: Wordings = Wordings {
    said: &[
        "like {t} but {c}",
        "more like {t}, only {c}",
        "I enjoyed {t}: the same kind, only {c}",
        "I liked {t}, now something {c}",
        "I loved {t}, and want the same again but {c}",
        "do you know anything like {t}, but {c}?",
        "if you know {t}: the same, but {c}",
        "the way {t} is, but {c}",
    ],
    named: &[
        "something like {t}, but {c}",
        "another one like {t}, but {c}",
        "more in the way of {t}, but {c}",
        "something that reminds me of {t}, but {c}",
        "something as good as {t}, but {c}",
        "something close to {t}, but {c}",
        "{things} like {t}, but {c}",
    ],
    kept: &[
        "similar to {t} but {c}",
        "in the vein of {t}, but {c}",
        "I liked {t}: more of that, but {c}",
    ],
};

pub const CHEAPER: Wordings = Wordings {
    said: &["cheaper", "less expensive", "for less money", "at a lower price"],
    named: &[],
    kept: &["easier on the purse"],
};

pub const NEWER: Wordings = Wordings {
    said: &["newer", "more recent", "from a later time", "not as old"],
    named: &[],
    kept: &["of a later date"],
};

pub const OLDER: Wordings = Wordings {
    said: &["older", "from an earlier time", "further back in time", "not as new"],
    named: &[],
    kept: &["of an earlier date"],
};

pub const BETTER_KNOWN: Wordings = Wordings {
    said: &["better known", "more popular", "more famous", "known to more people"],
    named: &[],
    kept: &["with more of a following"],
};

pub const LESS_KNOWN: Wordings = Wordings {
    said: &["less well known", "more obscure", "less popular", "less famous"],
    named: &[],
    kept: &["known to fewer people"],
};

pub const BUT_NOT: Wordings = Wordings {
    said: &["not {q}", "without {q}", "with no {q} in it", "leave out {q}"],
    named: &[],
    kept: &["no {q}"],
};
