//! Wordings around the sayings of the job's own.

use super::Wordings;

pub const MOOD: Wordings = Wordings {
    said: &[
        "I am in the mood for {s}",
        "I feel like {s}",
        "we fancy {s}",
        "{s} is what I need",
        "tonight calls for {s}",
        "I long for {s}",
        "could you find {s} for us?",
        "it should be {s}",
        "we are up for {s}",
        "it is an evening for {s}",
        "{s} would do me good",
        "I have been dreaming of {s}",
    ],
    named: &["{s}", "{things} for when I want {s}"],
    kept: &["give me {s} tonight", "how about {s}?", "a day made for {s}"],
};

pub const AUDIENCE: Wordings = Wordings {
    said: &[
        "{s}",
        "I am looking for something {s}",
        "this one is {s}",
        "it is {s}",
        "we are choosing {s}",
        "it should be right {s}",
        "what would be good {s}?",
        "what should I take {s}?",
        "I need advice, it is {s}",
    ],
    named: &[
        "something {s}",
        "a few ideas {s}",
        "the right thing {s}",
        "{things} {s}",
        "anything {s}",
        "something nice {s}",
        "something suitable {s}",
    ],
    kept: &["what is good {s}?", "what would you choose {s}?", "which would be right {s}?"],
};

pub const ASPIRATION: Wordings = Wordings {
    said: &[
        "I want {s}",
        "I would like {s}",
        "I am trying {s}",
        "this year I mean {s}",
        "I have decided {s}",
        "my plan is {s}",
        "I hope {s}",
        "it is time {s}",
        "I have always wanted {s}",
        "my dream is {s}",
        "I promised myself {s}",
        "where do I start if I want {s}?",
        "I have made up my mind {s}",
    ],
    named: &["something {s}", "{things} {s}", "something that helps me {s}"],
    kept: &["my resolution is {s}", "what do I need {s}?", "help me {s}"],
};
