//! What a decoder reads for one user: instruction, history, controls, labelled candidates.
//!
//! The template is the job's. Whatever comes from files (titles, labels of attributes) is data and
//! can never become a special or control token; see [`template`]. A prompt that is too long loses
//! history, the oldest first. Candidates, controls and the instruction are never cut: a user for
//! whom these do not fit is told so.
//!
//! Source: COREC (2025), §1.3 of its released code for what a prompt holds; the wording is ours.

mod template;

pub use template::{Named, Piece, Template};

use crate::control::wanted;
use crate::error::Result;
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
    /// Tokens of a prompt.
    pub tokens_max: usize,
}

/// Makes prompts.
pub struct Prompter {
    settings: PromptSettings,
    template: Template,
    tokenizer: Tokenizer,
    catalogue: Arc<Catalogue>,
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
    /// Items of the history that are in it.
    pub history: usize,
}

impl Prompter {
    /// Reads the template, gives the tokenizer its control tokens, and finds labels.
    /// `vocabulary` is how many rows the model's embeddings have without control tokens.
    ///
    /// Errors: [`Error::Model`](crate::error::Error::Model) for a template that cannot be used,
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

    /// The prompt of a user: the latest of the history that fits, and all candidates.
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
        let with = |shown: usize| {
            let latest = &history[history.len() - shown..];
            let tokens = self.tokens(&self.pieces(latest, controls, candidates)?)?;
            Ok::<_, crate::error::Error>(Prompt { tokens, history: shown })
        };
        let unreadable = |error: crate::error::Error| FaultKind::Unreadable {
            column: "prompt".into(),
            found: error.to_string(),
        };
        let most = history.len().min(self.settings.history_max);
        let whole = with(most).map_err(unreadable)?;
        if whole.tokens.len() <= self.settings.tokens_max {
            return Ok(whole);
        }
        // The longest history that fits: no shorter one has more tokens.
        let mut best = with(0).map_err(unreadable)?;
        if best.tokens.len() > self.settings.tokens_max {
            let (tokens, tokens_max) = (best.tokens.len() as u64, self.settings.tokens_max as u64);
            return Err(FaultKind::PromptTooLong { tokens, tokens_max });
        }
        let (mut fits, mut fails) = (0, most);
        while fits + 1 < fails {
            let middle = fits.midpoint(fails);
            let found = with(middle).map_err(unreadable)?;
            if found.tokens.len() <= self.settings.tokens_max {
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
        history: &[ItemId],
        controls: &[Control],
        candidates: &[ItemId],
    ) -> Result<String> {
        let pieces = self.pieces(history, controls, candidates)?;
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
        history: &[ItemId],
        controls: &[Control],
        candidates: &[ItemId],
    ) -> Result<Vec<Piece>> {
        let history: Vec<Value> = history.iter().map(|item| self.item(*item)).collect();
        let candidates: Vec<Value> = candidates
            .iter()
            .zip(&self.label_values)
            .map(|(item, label)| {
                let (item, label) = (self.item(*item), label.clone());
                Value::from_object(Candidate { item, label })
            })
            .collect();
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
        context!(token, value => self.short(&wanted(&self.catalogue, control)), name)
    }

    /// One line of at most so many characters.
    fn short(&self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(self.settings.text_chars_max).collect()
    }
}

/// An item with its label.
#[derive(Debug)]
struct Candidate {
    item: Value,
    label: Value,
}

impl Object for Candidate {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some("label") => Some(self.label.clone()),
            _ => self.item.get_item(key).ok().filter(|value| !value.is_undefined()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["label", "title", "attributes"])
    }
}
