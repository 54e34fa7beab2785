//! Tokens as text, as the `decoder` of `tokenizer.json` says; a byte at a time, since a character
//! may be spread over several tokens.
//!
//! The `tokenizers` library spells whole sequences; here text comes as its tokens do. What is not
//! implemented is refused by name.

use serde_json::Value;

/// What is done to a token's name, step by step.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Each character stands for a byte.
    ByteLevel,
    /// `<0x0A>` is that byte.
    ByteFallback,
    /// Every one of a text becomes another.
    Replace(String, String),
    /// So many of a character go from the beginning: of the text, or of each token.
    Strip(char, usize, bool),
}

/// How tokens are spelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Spelling {
    steps: Vec<Step>,
    /// What is between two tokens.
    between: &'static str,
}

impl Spelling {
    /// Reads `tokenizer.json`.
    ///
    /// Errors: what of its decoder is not implemented.
    pub fn of(json: &Value) -> Result<Self, String> {
        let mut spelling = Self { steps: Vec::new(), between: "" };
        let decoder = &json["decoder"];
        if decoder.is_null() {
            spelling.between = " ";
            return Ok(spelling);
        }
        let mut fused = false;
        let several = decoder["decoders"].as_array().filter(|_| decoder["type"] == "Sequence");
        for part in several.map_or(std::slice::from_ref(decoder), Vec::as_slice) {
            spelling.add(part, &mut fused).ok_or_else(|| {
                format!("decoder: {part}: not implemented: expected that of a Llama or Qwen2")
            })?;
        }
        Ok(spelling)
    }

    fn add(&mut self, part: &Value, fused: &mut bool) -> Option<()> {
        let word = |key: &str| part[key].as_str().map(str::to_owned);
        match part["type"].as_str()? {
            "ByteLevel" => self.steps.push(Step::ByteLevel),
            "ByteFallback" => self.steps.push(Step::ByteFallback),
            "Fuse" => *fused = true,
            "Replace" => {
                let pattern = part["pattern"]["String"].as_str().filter(|text| !text.is_empty())?;
                self.steps.push(Step::Replace(pattern.to_owned(), word("content")?));
            }
            "Strip" if part["stop"].as_u64() == Some(0) => {
                let count = usize::try_from(part["start"].as_u64()?).ok()?;
                self.steps.push(Step::Strip(word("content")?.chars().next()?, count, *fused));
            }
            "Metaspace" => {
                self.steps.push(Step::Replace(word("replacement")?, " ".into()));
                if part["prepend_scheme"] != "never" && part["add_prefix_space"] != false {
                    self.steps.push(Step::Strip(' ', 1, true));
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The bytes of a token; `begun` tells whether others come before it.
    fn bytes(&self, name: &str, begun: bool) -> Vec<u8> {
        let mut text = name.to_owned();
        for step in &self.steps {
            match step {
                Step::ByteLevel => {
                    // The library does so too with what was not made of bytes.
                    let bytes: Option<Vec<u8>> = text.chars().map(byte_of).collect();
                    return bytes.unwrap_or_else(|| text.into_bytes());
                }
                Step::ByteFallback => {
                    if let Some(byte) = fallback(&text) {
                        return vec![byte];
                    }
                }
                Step::Replace(from, to) => text = text.replace(from, to),
                Step::Strip(character, count, whole) if !(*whole && begun) => {
                    let gone = text.chars().take(*count).take_while(|c| c == character).count();
                    text.drain(..gone * character.len_utf8());
                }
                Step::Strip(..) => {}
            }
        }
        let between = if begun { self.between } else { "" };
        [between.as_bytes(), text.as_bytes()].concat()
    }
}

/// Text on its way: what has come of it is whole characters.
#[derive(Clone, Debug)]
pub struct Speller {
    spelling: Spelling,
    begun: bool,
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Speller {
    /// Nothing yet.
    pub(super) fn new(spelling: Spelling) -> Self {
        Self { spelling, begun: false, rest: Vec::new() }
    }

    /// The text that is there once a token of this name is.
    pub(super) fn push(&mut self, name: &str) -> String {
        self.rest.extend(self.spelling.bytes(name, self.begun));
        self.begun = true;
        let mut text = String::new();
        loop {
            let (valid, wrong) = match std::str::from_utf8(&self.rest) {
                Ok(whole) => (whole.len(), None),
                Err(error) => (error.valid_up_to(), error.error_len()),
            };
            text += &String::from_utf8_lossy(&self.rest[..valid]);
            self.rest.drain(..valid + wrong.unwrap_or(0));
            if wrong.is_none() {
                return text;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// What is left at the end: a character of which only the beginning came.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

fn fallback(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The byte that a character stands for: those that can be seen stand for themselves, and the
/// others follow from U+0100 on, in their order.
///
/// Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019), §2.2, and
/// the code released with it.
fn byte_of(character: char) -> Option<u8> {
    let seen = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..);
    let place = u32::from(character);
    match place.checked_sub(256) {
        None => u8::try_from(place).ok().filter(seen),
        Some(place) => (0..=u8::MAX).filter(|byte| !seen(byte)).nth(place as usize),
    }
}
