//! One batch of an attribute's column: numbers, numbers within texts, labels, or lists of labels.

use super::column::{Flaw, Numbers, Texts, is_number};
use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// A batch's values, as the job wants them read.
pub(super) enum Values {
    Numbers(Numbers),
    /// Texts with a number in them.
    Parsed(Texts),
    Labels(Texts),
    Lists(ListArray, Texts),
}

impl Values {
    pub fn of(raw: &ArrayRef, numeric: bool) -> Result<Values, ArrowError> {
        Ok(match (raw.data_type(), numeric) {
            (kind, true) if is_number(kind) => Values::Numbers(Numbers::of(raw)?),
            (_, true) => Values::Parsed(Texts::of(raw)?),
            (DataType::List(_), false) => {
                let lists = raw.as_list::<i32>().clone();
                let texts = Texts::of(lists.values())?;
                Values::Lists(lists, texts)
            }
            (_, false) => Values::Labels(Texts::of(raw)?),
        })
    }
}

/// A row's number; NaN where it is unknown.
pub(super) fn number(values: &Values, row: usize, flawed: &mut impl FnMut(Flaw)) -> f64 {
    let cell = match values {
        Values::Numbers(numbers) => numbers.get(row),
        Values::Parsed(texts) => texts.get(row).and_then(|text| match text.trim() {
            "" => Err(Flaw::Null),
            text => first_number(text).ok_or_else(|| Flaw::unreadable(text)),
        }),
        Values::Labels(_) | Values::Lists(..) => Err(Flaw::Null),
    };
    match cell {
        // What only f64 can hold would be infinite in the catalogue.
        Ok(value) if (value as f32).is_finite() => return value,
        Ok(_) => flawed(Flaw::NotFinite),
        Err(Flaw::Null) => {}
        Err(flaw) => flawed(flaw),
    }
    f64::NAN
}

/// Hands a row's labels to `push`.
pub(super) fn labels(
    values: &Values,
    row: usize,
    separator: Option<&str>,
    flawed: &mut impl FnMut(Flaw),
    push: &mut impl FnMut(&str),
) {
    let (texts, cells) = match values {
        Values::Labels(texts) => (texts, row..row + 1),
        Values::Lists(lists, texts) if lists.is_valid(row) => {
            let offsets = lists.value_offsets();
            (texts, offsets[row] as usize..offsets[row + 1] as usize)
        }
        _ => return,
    };
    for cell in cells {
        match (texts.get(cell), separator.filter(|s| !s.is_empty())) {
            (Ok(text), Some(separator)) => {
                text.split(separator).map(str::trim).filter(|l| !l.is_empty()).for_each(&mut *push);
            }
            (Ok(text), None) => {
                Some(text.trim()).filter(|l| !l.is_empty()).into_iter().for_each(&mut *push)
            }
            (Err(Flaw::Null), _) => {}
            (Err(flaw), _) => flawed(flaw),
        }
    }
}

/// The first number of a text, with thousands separated by commas and a decimal point; `None` where
/// there is no digit. A text that is a number as a whole may have an exponent.
fn first_number(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let start = (0..bytes.len()).find(|&at| digit(at))?;
    let point = start > 0 && bytes[start - 1] == b'.';
    let sign = start - usize::from(point);
    // A minus is a sign at the start or after a space or currency; elsewhere it joins words.
    let negative = sign > 0
        && bytes[sign - 1] == b'-'
        && (sign == 1 || !bytes[sign - 2].is_ascii_alphanumeric());
    let mut number = String::from(if negative { "-" } else { "" });
    number.push_str(if point { "0." } else { "" });
    let (mut at, mut decimals) = (start, point);
    loop {
        match bytes.get(at) {
            Some(c) if c.is_ascii_digit() => number.push(char::from(*c)),
            Some(b'.') if !decimals && digit(at + 1) => {
                decimals = true;
                number.push('.');
            }
            Some(b',') if !decimals && (1..=3).all(|i| digit(at + i)) && !digit(at + 4) => {}
            _ => return number.parse().ok(),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::first_number;

    #[test]
    fn the_first_number_is_read_as_people_write_it() {
        for (text, expected) in [
            ("$1,299.00", Some(1299.0)),
            ("#1,234 in Toys & Games (2 more)", Some(1234.0)),
            ("$10.00 - $20.00", Some(10.0)),
            ("1,234,567", Some(1_234_567.0)),
            ("1,23", Some(1.0)),
            ("1,2345", Some(1.0)),
            ("-5", Some(-5.0)),
            ("USD -5.50.", Some(-5.5)),
            ("A-5", Some(5.0)),
            ("$.99", Some(0.99)),
            ("1.5e3", Some(1500.0)),
            ("free", None),
            ("", None),
            ("٣", None),
        ] {
            assert_eq!(first_number(text), expected, "{text}");
        }
    }
}
