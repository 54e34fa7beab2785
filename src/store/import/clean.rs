//! What Amazon's crawlers left in texts: tags, entities, scripts; and numbers as shops write them.

/// Descriptions are cut to this many bytes, at a character.
const TEXT_BYTES_MAX: usize = 4096;

/// A text without tags and entities, with single spaces; `None` where nothing is left, or what is
/// left is a script.
pub(super) fn text(raw: &str) -> Option<String> {
    let plain = entities(&without_tags(raw));
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut text = words.join(" ");
    if text.is_empty() || text.contains("getTime()") || text.starts_with(".a-box") {
        return None;
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    Some(text)
}

/// `<` starts a tag before a letter, `/` or `!`; elsewhere it is a less-than sign.
fn without_tags(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let is_tag =
            tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        match tag.find('>').filter(|_| is_tag) {
            Some(end) => {
                out.push(' ');
                rest = &tag[end + 1..];
            }
            None => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entities(text: &str) -> String {
    // The ampersand last, so that what it makes is not read again.
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

/// A price: `$1,299.00`, or the lower end of `$10.00 - $20.00`. The pages' style sheets, which
/// stand in its place in the raw data, have no dollar sign in front, and are no price.
pub(super) fn price(text: &str) -> Option<f64> {
    let amount = text.trim().strip_prefix('$')?;
    let end = amount.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c)));
    amount[..end.unwrap_or(amount.len())].replace(',', "").parse().ok()
}

/// A rank and what it is a rank in: `>#1,234 in Toys & Games (See Top 100 in …)`.
pub(super) fn rank(text: &str) -> Option<(f64, Option<String>)> {
    let text = text.trim().trim_start_matches(['>', '#']);
    let (number, rest) = text.split_once(" in ").map_or((text, None), |(n, r)| (n, Some(r)));
    let rank = number.trim().replace(',', "").parse::<u64>().ok()?;
    let within = rest.map(|rest| rest.split(['(', '>']).next().unwrap_or_default());
    Some((rank as f64, within.and_then(self::text)))
}

#[cfg(test)]
mod tests {
    use super::{price, rank, text};

    #[test]
    fn texts_lose_their_markup() {
        let raw = "<b>Salt &amp;\n Pepper</b> 3 < 4 &amp;lt;";
        assert_eq!(text(raw).as_deref(), Some("Salt & Pepper 3 < 4 &lt;"));
        assert_eq!(text("<br/> "), None);
        assert_eq!(text("var aPageStart = (new Date()).getTime();"), None);
        assert_eq!(text("a <b").as_deref(), Some("a <b"));
    }

    #[test]
    fn prices_and_ranks_are_read_and_junk_is_not() {
        assert_eq!(price("$1,299.00"), Some(1299.0));
        assert_eq!(price("$10.00 - $20.00"), Some(10.0));
        assert_eq!(price(".a-box-inner{margin:0 0 10px}"), None);
        assert_eq!(price("$"), None);
        let toys = Some("Toys & Games".to_owned());
        assert_eq!(rank(">#1,234 in Toys &amp; Games (See Top 100)"), Some((1234.0, toys)));
        assert_eq!(rank("17"), Some((17.0, None)));
        assert_eq!(rank("soon in Books"), None);
    }
}
