//! What a decoder reads for one user: instruction, history, controls, labelled candidates.
//!
//! The template is the job's. Whatever comes from files (titles, labels of attributes) is data and
//! can never become a special or control token; see [`template`]. A prompt that is too long loses
//! history, the oldest first, and then the ends of descriptions. Candidates, controls and the
//! instruction are never cut: a user for whom these do not fit is told so.
//!
//! Source: COREC (2025), §1.3 of its released code for what a prompt holds; the wording is ours.

mod chat;
mod letters;
mod methods;
mod template;

pub use chat::{Chat, Day};
pub use template::{Named, Piece, Template};

use crate::control::{Bins, relation, wanted};
use crate::error::{Error, Result};
use crate::model::tokenizer::Tokenizer;
use crate::types::{Catalogue, Control, FaultKind, ItemId};
use minijinja::value::{Enumerator, Object};
use minijinja::{Value, context};
use std::sync::{Arc, OnceLock};

/// Our own wording. `item.attributes` are those that the job makes control tokens of.
///
/// A decoder reads from left to right. A candidate's label comes before its values, so that each
/// value knows whose it is, and the wishes come last, right before the answer, which then looks for
/// them among values that know their labels. A small decoder learns this within minutes; with the
/// wishes first, or the labels after, it needs many times the steps.
pub const TEMPLATE: &str = "\
Put first what this person will want next and what meets every wish.
{% if history %}So far, the latest last:
{% for item in history %}- {{ item.title }}{% for a in item.attributes %} \
{{ a.token }} {{ a.value }}{% endfor %}
{% endfor %}{% endif %}Choices:
{% for item in candidates %}{{ item.label }}{% for a in item.attributes %} \
{{ a.token }} {{ a.value }}{% endfor %}: {{ item.title }}
{% endfor %}{% if controls %}Wishes:{% for c in controls %} \
{{ c.token }} {{ c.value }}{% if not loop.last %};{% endif %}{% endfor %}
{% endif %}Best:";

/// How prompts are made.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptSettings {
    /// The template's source.
    pub template: String,
    /// Positions in [`Catalogue::attributes`]: each has a control token.
    pub attributes: Vec<usize>,
    /// Items of the history that are shown, the latest.
    pub history_max: usize,
    /// Candidates of one prompt.
    pub candidates_max: usize,
    /// Characters of a title or of an attribute's value.
    pub text_chars_max: usize,
    /// Characters of a description, if the template shows it.
    pub description_chars_max: usize,
    /// Tokens of a prompt.
    pub tokens_max: usize,
}

/// Makes prompts.
pub struct Prompter {
    settings: PromptSettings,
    template: Template,
    tokenizer: Tokenizer,
    catalogue: Arc<Catalogue>,
    /// Of each attribute of the catalogue.
    bins: Vec<Bins>,
    /// The control tokens, by the place of their attribute in the settings.
    controls: Vec<Value>,
    control_tokens: Vec<u32>,
    labels: Vec<(String, u32)>,
    label_values: Vec<Value>,
    /// What the template sees of an item, made when it is first shown.
    items: Vec<OnceLock<Value>>,
}

/// A prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What the decoder reads.
    pub tokens: Vec<u32>,
    /// How much of what can be left out is in it.
    pub shown: Shown,
}

/// How much of what can be left out a prompt shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Items of the history, the latest.
    pub history: usize,
    /// Characters of each description, at most.
    pub description: usize,
}

impl Prompter {
    /// Reads the template, gives the tokenizer its control tokens, and finds labels.
    /// `vocabulary` is how many rows the model's embeddings have without control tokens.
    ///
    /// Errors: [`Error::Model`] for a template that cannot be used,
    /// names of attributes that are tokens already, and a vocabulary without enough labels.
    pub fn new(
        settings: PromptSettings,
        mut tokenizer: Tokenizer,
        vocabulary: usize,
        catalogue: Arc<Catalogue>,
    ) -> Result<Prompter> {
        let name = |at: &usize| format!("<{}>", catalogue.attributes[*at].name);
        let names: Vec<String> = settings.attributes.iter().map(name).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        let control_tokens = tokenizer.add_controls(&words, vocabulary)?;
        let named = |(name, token): (&String, &u32)| {
            Value::from_object(Named { token: *token, name: name.clone() })
        };
        let controls = names.iter().zip(&control_tokens).map(named).collect();
        let labels = tokenizer.labels(settings.candidates_max)?;
        let label_values = labels.iter().map(|(name, token)| named((name, token))).collect();
        let template = Template::parse(&settings.template)?;
        let items = std::iter::repeat_with(OnceLock::new).take(catalogue.len()).collect();
        Ok(Prompter {
            settings,
            template,
            tokenizer,
            bins: catalogue.attributes.iter().map(Bins::new).collect(),
            catalogue,
            controls,
            control_tokens,
            labels,
            label_values,
            items,
        })
    }

    /// How prompts are made.
    pub fn settings(&self) -> &PromptSettings {
        &self.settings
    }

    /// Which numbers the labels of each attribute of the catalogue stand for.
    pub fn bins(&self) -> &[Bins] {
        &self.bins
    }

    /// The control tokens, in the order of the settings' attributes.
    pub fn control_tokens(&self) -> &[u32] {
        &self.control_tokens
    }

    /// Rows that embeddings need for these prompts.
    pub fn vocabulary(&self) -> usize {
        let controls = self.control_tokens.iter().max().map_or(0, |last| *last as usize + 1);
        controls.max(self.tokenizer.vocabulary())
    }

    /// What each control token means before it has learned anything: the tokens of its name.
    ///
    /// Errors: those of the tokenizer.
    pub fn meanings(&self) -> Result<Vec<Vec<u32>>> {
        let name = |at: &usize| self.tokenizer.encode(&self.catalogue.attributes[*at].name);
        self.settings.attributes.iter().map(name).collect()
    }

    /// The tokens of the candidates' labels, in the order in which a prompt shows candidates.
    pub fn labels(&self) -> impl Iterator<Item = u32> {
        self.labels.iter().map(|(_, token)| *token)
    }

    /// The prompt of a user: the latest of the history that fits, and all candidates. Where they do
    /// not fit without any history, descriptions are as long as all of them can be.
    ///
    /// Errors: [`FaultKind::PromptTooLong`], or what the template or the tokenizer stumbled over.
    ///
    /// Panics: if there are more candidates than labels.
    pub fn prompt(
        &self,
        history: &[ItemId],
        controls: &[Control],
        candidates: &[ItemId],
    ) -> Result<Prompt, FaultKind> {
        assert!(candidates.len() <= self.labels.len(), "a label for each candidate");
        let with = |shown: Shown| {
            let tokens = self.tokens(&self.pieces(shown, history, controls, candidates)?)?;
            Ok::<_, Error>(Prompt { tokens, shown })
        };
        let unreadable = |error: Error| FaultKind::Unreadable {
            column: "prompt".into(),
            found: error.to_string(),
        };
        let description = self.settings.description_chars_max;
        let most = Shown { history: history.len().min(self.settings.history_max), description };
        let whole = with(most).map_err(unreadable)?;
        if self.fits(&whole) {
            return Ok(whole);
        }
        let bare = with(Shown { history: 0, description }).map_err(unreadable)?;
        if self.fits(&bare) {
            let less = |history| with(Shown { history, description });
            return self.longest(bare, most.history, less).map_err(unreadable);
        }
        let least = with(Shown::default()).map_err(unreadable)?;
        if self.fits(&least) {
            let less = |description| with(Shown { history: 0, description });
            return self.longest(least, description, less).map_err(unreadable);
        }
        let (tokens, tokens_max) = (least.tokens.len() as u64, self.settings.tokens_max as u64);
        Err(FaultKind::PromptTooLong { tokens, tokens_max })
    }

    fn fits(&self, prompt: &Prompt) -> bool {
        prompt.tokens.len() <= self.settings.tokens_max
    }

    /// Of the prompts that show this much or less of something, `best` nothing and `most` too much,
    /// the longest that fits: none that shows less has more tokens.
    fn longest(
        &self,
        mut best: Prompt,
        most: usize,
        with: impl Fn(usize) -> Result<Prompt>,
    ) -> Result<Prompt> {
        let (mut fits, mut fails) = (0, most);
        while fits + 1 < fails {
            let middle = fits.midpoint(fails);
            let found = with(middle)?;
            if self.fits(&found) {
                (fits, best) = (middle, found);
            } else {
                fails = middle;
            }
        }
        Ok(best)
    }

    /// The prompt as people read it: tokens by their names.
    ///
    /// Errors: those of the template.
    pub fn text(
        &self,
        shown: Shown,
        history: &[ItemId],
        controls: &[Control],
        candidates: &[ItemId],
    ) -> Result<String> {
        let pieces = self.pieces(shown, history, controls, candidates)?;
        let named = |token: u32| {
            let attributes = self.settings.attributes.iter();
            let control = attributes.zip(&self.control_tokens).find(|(_, t)| **t == token);
            let label = || self.labels.iter().find(|(_, t)| *t == token).map(|l| l.0.clone());
            control
                .map(|(at, _)| format!("<{}>", self.catalogue.attributes[*at].name))
                .or_else(label)
                .unwrap_or_default()
        };
        Ok(pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Said(text) | Piece::Data(text) => text,
                Piece::Token(token) => named(token),
            })
            .collect())
    }

    fn pieces(
        &self,
        shown: Shown,
        history: &[ItemId],
        controls: &[Control],
        candidates: &[ItemId],
    ) -> Result<Vec<Piece>> {
        let value = |item: &ItemId, label: Option<&Value>| {
            let (label, description) = (label.cloned(), self.description(*item, shown));
            Value::from_object(ShownItem { item: self.item(*item), label, description })
        };
        let history = &history[history.len() - shown.history..];
        let history: Vec<Value> = history.iter().map(|item| value(item, None)).collect();
        let candidates = candidates.iter().zip(&self.label_values);
        let candidates: Vec<Value> =
            candidates.map(|(item, label)| value(item, Some(label))).collect();
        let controls: Vec<Value> = controls.iter().map(|control| self.control(control)).collect();
        self.template.render(context!(history, candidates, controls))
    }

    fn tokens(&self, pieces: &[Piece]) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Said(text) => tokens.extend(self.tokenizer.encode_said(text)?),
                Piece::Data(text) => tokens.extend(self.tokenizer.encode(text)?),
                Piece::Token(token) => tokens.push(*token),
            }
        }
        Ok(tokens)
    }

    fn item(&self, item: ItemId) -> Value {
        let make = || {
            let attributes: Vec<Value> = self
                .settings
                .attributes
                .iter()
                .zip(&self.controls)
                .filter_map(|(at, token)| {
                    let attribute = &self.catalogue.attributes[*at];
                    let labels = attribute.codes(item).iter();
                    let labels: Vec<&str> =
                        labels.map(|code| attribute.labels[*code as usize].as_str()).collect();
                    let value = self.short(&labels.join(", "));
                    (!labels.is_empty()).then(|| context!(token, value, name => &attribute.name))
                })
                .collect();
            let title = self.short(&self.catalogue.titles[item as usize]);
            context!(title, attributes)
        };
        self.items[item as usize].get_or_init(make).clone()
    }

    fn control(&self, control: &Control) -> Value {
        let at = usize::from(control.attribute);
        let name = &self.catalogue.attributes[at].name;
        let place = self.settings.attributes.iter().position(|attribute| *attribute == at);
        // A wish about an attribute without a token is said in words.
        let token = place.map_or_else(|| Value::from(name), |place| self.controls[place].clone());
        let value = self.short(&wanted(&self.catalogue, control));
        let label = |code: &u32| self.short(&self.catalogue.attributes[at].labels[*code as usize]);
        let labels: Vec<String> = self.bins[at].named(control).iter().map(label).collect();
        context!(token, value, name, relation => relation(control.relation), labels)
    }

    fn description(&self, item: ItemId, shown: Shown) -> Value {
        let text = self.catalogue.descriptions.get(item as usize);
        text.map_or_else(|| Value::from(""), |text| line(text, shown.description).into())
    }

    fn short(&self, text: &str) -> String {
        line(text, self.settings.text_chars_max)
    }
}

/// One line of at most so many characters.
fn line(text: &str, chars_max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(chars_max).collect();
    line.trim_end().to_owned()
}

/// An item as a template sees it, with its label if it is a candidate.
#[derive(Debug)]
struct ShownItem {
    item: Value,
    label: Option<Value>,
    description: Value,
}

impl Object for ShownItem {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some("label") => self.label.clone(),
            Some("description") => Some(self.description.clone()),
            _ => self.item.get_item(key).ok().filter(|value| !value.is_undefined()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["label", "title", "description", "attributes"])
    }
}
