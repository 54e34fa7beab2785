//! Decades as people call them.

const DECADES: [(&str, f32); 8] = [
    ("twenties", 1920.0),
    ("thirties", 1930.0),
    ("forties", 1940.0),
    ("fifties", 1950.0),
    ("sixties", 1960.0),
    ("seventies", 1970.0),
    ("eighties", 1980.0),
    ("nineties", 1990.0),
];

/// The first year of a decade: `1990s`, `90s`, `nineties`.
pub fn decade(word: &str) -> Option<f32> {
    let named = |(name, _): &&(&str, f32)| super::words::phrase(name) == word;
    if let Some((_, year)) = DECADES.iter().find(named) {
        return Some(*year);
    }
    let digits = word.strip_suffix('s')?;
    let number: u16 = digits.parse().ok()?;
    match digits.len() {
        2 if number.is_multiple_of(10) && number >= 20 => Some(f32::from(1900 + number)),
        4 if number.is_multiple_of(10) => Some(f32::from(number)),
        _ => None,
    }
}

/// How a decade is called: in digits, or by a name where there is one and it is asked for.
pub fn decade_name(year: u32, by_name: bool) -> String {
    let named = DECADES.iter().find(|(_, first)| *first == year as f32);
    match (by_name, named) {
        (true, Some((name, _))) => (*name).to_owned(),
        (false, Some(_)) if year >= 1950 => format!("{}s", year - 1900),
        _ => format!("{year}s"),
    }
}
