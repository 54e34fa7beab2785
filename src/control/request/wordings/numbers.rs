//! Wordings with a bound: prices, and other numbers.

use super::Wordings;

pub const MONEY_AT_MOST: Wordings = Wordings {
    said: &[
        "under {n} dollars",
        "nothing over {n} dollars",
        "for less than ${n}",
        "no more than {n} dollars",
        "below {n} dollars",
        "I have {n} dollars at most",
        "{n} dollars are all I have",
        "I cannot go above {n} dollars",
        "keep it under {n} dollars",
        "it must cost less than {n} dollars",
        "please stay below ${n}",
        "{n} dollars at the very most",
        "my limit is {n} dollars",
        "I would rather spend less than {n} dollars",
    ],
    named: &[
        "{things} under {n} dollars",
        "something for less than ${n}",
        "something up to ${n}",
        "{things} below {n} dollars",
        "something within {n} dollars",
        "{things} on a budget of ${n}",
        "something for {n} dollars or under",
    ],
    kept: &["I want to spend at most {n} dollars", "my budget is ${n}", "{n} dollars or less"],
};

pub const MONEY_AT_LEAST: Wordings = Wordings {
    said: &[
        "over {n} dollars",
        "at least {n} dollars",
        "for more than {n} dollars",
        "above ${n}",
        "it should cost more than ${n}",
        "not below {n} dollars",
        "nothing less than {n} dollars",
        "I would pay {n} dollars or more",
        "a minimum of {n} dollars",
    ],
    named: &[
        "something that costs at least ${n}",
        "{things} over {n} dollars",
        "something above ${n}",
        "{things} for more than {n} dollars",
        "{things} of {n} dollars or more",
        "something upwards of ${n}",
    ],
    kept: &["nothing under {n} dollars", "{n} dollars and up"],
};

pub const CHEAP: Wordings = Wordings {
    said: &[
        "nothing expensive",
        "it should be cheap",
        "it has to be affordable",
        "I have little money",
        "I am short of money",
        "I want to save money",
        "keep the price low",
        "what is cheap?",
    ],
    named: &[
        "something cheap",
        "inexpensive {things}",
        "a bargain",
        "cheap {things}",
        "affordable {things}",
        "something at a low price",
        "{things} for little money",
    ],
    kept: &["I am on a tight budget", "something that does not cost much"],
};

pub const DEAR: Wordings = Wordings {
    said: &[
        "money is no object",
        "the price does not matter",
        "I do not mind what it costs",
        "it may be expensive",
        "it should be a luxury",
        "treat me to something expensive",
    ],
    named: &[
        "something expensive",
        "premium {things}",
        "a luxury",
        "luxury {things}",
        "luxurious {things}",
        "expensive {things}",
        "the dearest {things}",
        "something exclusive",
        "top of the range {things}",
    ],
    kept: &["the finest, whatever it costs", "something high end"],
};

pub const NUMBER_AT_MOST: Wordings = Wordings {
    said: &[
        "{a} at most {n}",
        "with a {a} under {n}",
        "a {a} below {n}",
        "{a} up to {n}",
        "keep the {a} under {n}",
        "the {a} must be less than {n}",
        "the maximum {a} is {n}",
        "a {a} lower than {n}",
        "the {a} is to be {n} at the very most",
    ],
    named: &[
        "{things} with a {a} under {n}",
        "something with a {a} below {n}",
        "{things} with a {a} of at most {n}",
        "something of {a} {n} or under",
    ],
    kept: &["a {a} of {n} or less", "a {a} no more than {n}"],
};

pub const NUMBER_AT_LEAST: Wordings = Wordings {
    said: &[
        "{a} at least {n}",
        "with a {a} over {n}",
        "a {a} above {n}",
        "{a} more than {n}",
        "keep the {a} above {n}",
        "the {a} must be more than {n}",
        "the minimum {a} is {n}",
        "a {a} higher than {n}",
        "the {a} is to be {n} at the very least",
    ],
    named: &[
        "{things} with a {a} over {n}",
        "something with a {a} above {n}",
        "{things} with a {a} of at least {n}",
        "something of {a} {n} or over",
    ],
    kept: &["a {a} of {n} or more", "a {a} no less than {n}"],
};

pub const IS_AT_MOST: Wordings = Wordings {
    said: &[
        "I have {n} dollars at most for {p}",
        "can I get {p} for less than {n} dollars?",
        "I could do with {p} below ${n}",
        "{p} would be nice, but under {n} dollars",
        "I want {p}, and my limit is {n} dollars",
    ],
    named: &[
        "{p} under {n} dollars",
        "{p} for less than ${n}",
        "{p} at most {n} dollars",
        "{p} up to ${n}",
        "{p} below {n} dollars",
        "{p} for {n} dollars at most",
        "{p}, nothing over {n} dollars",
        "{p} within {n} dollars",
        "{p} on a budget of {n} dollars",
        "{p} that stay below ${n}",
    ],
    kept: &["{p}, {n} dollars or less", "{p} that cost no more than {n} dollars"],
};
