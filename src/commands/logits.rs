//! `steerage logits`: the last-position logits of lines of tokens, so that anybody can compare them
//! with anything.

use super::devices;
use crate::device::{Cpu, Precision};
use crate::error::{Error, Result};
use crate::model::decoder::{Decoder, DecoderFiles, Prompt, Resident};
use crate::spec::DeviceSpec;
use std::io::Write;
use std::path::PathBuf;

/// Lines that are scored before they are written.
const LINES: usize = 64;
/// Tokens that a device computes together.
const TOKENS: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct LogitsRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// An adapter's folder.
    pub adapter: Option<PathBuf>,
    /// One prompt a line: a JSON array of token numbers, or numbers with blanks between them.
    pub tokens: PathBuf,
    /// In what weights are kept; as in the file, f32 or else bf16, when left out.
    pub precision: Option<Precision>,
    /// On what they are computed; a device keeps them in bf16.
    pub device: DeviceSpec,
    /// Threads that share the prompts.
    pub threads: usize,
}

/// Where a decoder computes.
enum Place {
    Cpu(Box<Decoder>),
    Device(Box<Resident>),
}

/// Writes the logits (lines, vocabulary): as an `.npy` file of f32, or one JSON array a line.
///
/// Errors: [`Error::Input`] for a line that cannot be scored, [`Error::Model`] for a model or an
/// adapter that cannot be loaded, [`Error::Io`] for a file that cannot be read or written.
pub fn logits(request: &LogitsRequest, npy: bool, to: &mut dyn Write) -> Result<()> {
    let model = &request.model;
    let (files, adapter) = DecoderFiles::open_adapted(model, request.adapter.as_deref())?;
    let files = files.kept_in(request.precision);
    let prompts = prompts(request, &files, adapter)?;
    let vocabulary = files.config().vocabulary;
    let driver = devices::open(&request.device, "--device")?.into_iter().next(); // one does
    let place = match driver {
        None => Place::Cpu(Box::new(files.load()?)),
        Some(driver) => {
            Place::Device(Box::new(Resident::read(driver, &files, batch_tokens(&prompts))?))
        }
    };
    let mut write = |bytes: &[u8]| to.write_all(bytes).map_err(Error::io("write", "the logits"));
    if npy {
        write(&npy_header(prompts.len(), vocabulary))?;
    }
    let tokens: Vec<u32> = (0..vocabulary as u32).collect();
    for some in prompts.chunks(LINES) {
        let all = match &place {
            Place::Cpu(decoder) => decoder.logits(&Cpu, some, decoder.head(), request.threads)?,
            Place::Device(resident) => resident.logits(some, &tokens)?,
        };
        for row in all.chunks(vocabulary) {
            let bytes = match npy {
                true => row.iter().flat_map(|x| x.to_le_bytes()).collect(),
                false => {
                    let text =
                        serde_json::to_string(row).map_err(|e| Error::Model(e.to_string()))?;
                    (text + "\n").into_bytes()
                }
            };
            write(&bytes)?;
        }
    }
    to.flush().map_err(Error::io("write", "the logits"))
}

/// Tokens of a batch: enough for the longest prompt.
fn batch_tokens(prompts: &[Prompt]) -> usize {
    prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0).max(TOKENS)
}

/// The file's prompts, checked.
fn prompts(
    request: &LogitsRequest,
    files: &DecoderFiles,
    adapter: Option<u32>,
) -> Result<Vec<Prompt>> {
    let file = &request.tokens;
    let bytes = std::fs::read(file).map_err(Error::io("read", file))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Input(format!("{}: not text in UTF-8", file.display())))?;
    let mut prompts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let prompt = parse(line).map(|tokens| Prompt { tokens, adapter });
        let refused = |why: String| Error::Input(format!("{}:{number}: {why}", file.display()));
        let prompt = prompt.map_err(refused)?;
        if let Some(why) = files.refusal(&prompt) {
            return Err(refused(why));
        }
        prompts.push(prompt);
    }
    match prompts.is_empty() {
        true => {
            Err(Error::Input(format!("{}: expected one prompt a line, found none", file.display())))
        }
        false => Ok(prompts),
    }
}

/// The tokens of a line.
fn parse(line: &str) -> Result<Vec<u32>, String> {
    let line = line.trim();
    if line.starts_with('[') {
        return serde_json::from_str(line)
            .map_err(|e| format!("expected a JSON array of token numbers: {e}"));
    }
    let number = |word: &str| {
        word.parse().map_err(|_| {
            let word: String = word.chars().take(40).collect();
            format!("{word:?}: expected token numbers, as a JSON array or with blanks between them")
        })
    };
    line.split_whitespace().map(number).collect()
}

/// The header of NumPy's format, version 1.0, padded so that the data begins at a multiple of 64.
fn npy_header(rows: usize, columns: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let magic = b"\x93NUMPY\x01\x00";
    let size = (magic.len() + 2 + text.len() + 1).next_multiple_of(64);
    let length = size - magic.len() - 2;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let length = (length as u16).to_le_bytes(); // far less than 64 KiB
    [&magic[..], &length, text.as_bytes()].concat()
}
