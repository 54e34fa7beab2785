//! Texts as words that can be compared: lower case, without apostrophes, plurals folded.

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is compared.
    pub text: String,
    /// Whether a sentence, or a part of one, begins with it.
    pub begins: bool,
}

/// The words of a text. A number keeps its decimal point and loses what parts its thousands.
pub fn words(text: &str) -> Vec<Word> {
    let letters: Vec<char> = text.chars().filter(|c| !matches!(c, '\'' | '’')).collect();
    let (mut words, mut word, mut begins) = (Vec::new(), String::new(), true);
    for (at, &letter) in letters.iter().enumerate() {
        let digit =
            |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(char::is_ascii_digit);
        let within = digit(at.checked_sub(1)) && digit(Some(at + 1));
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        } else if within && letter == '.' {
            word.push('.');
        } else if !(within && letter == ',') {
            if !word.is_empty() {
                words.push(Word { text: folded(&std::mem::take(&mut word)), begins });
                begins = false;
            }
            begins |= ",;:.?!".contains(letter);
        }
    }
    if !word.is_empty() {
        words.push(Word { text: folded(&word), begins });
    }
    words
}

/// A phrase as one text that can be looked up.
pub fn phrase(text: &str) -> String {
    let words: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
    words.join(" ")
}

/// A word without its plural's ending; both `movie` and `movies` come to `movy`.
fn folded(word: &str) -> String {
    if word.starts_with(|c: char| c.is_ascii_digit()) || word.chars().count() < 4 {
        return word.to_owned();
    }
    let stem = |ending: &str| word.strip_suffix(ending);
    if let Some(stem) = stem("ies").or(stem("ie")) {
        return format!("{stem}y");
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if stem(ending).is_some() {
            return word[..word.len() - 2].to_owned();
        }
    }
    match stem("s") {
        Some(stem) if !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// The plural of a noun, for most nouns.
pub fn plural(noun: &str) -> String {
    let vowel_before_y = noun.len() > 1 && "aeiou".contains(&noun[noun.len() - 2..noun.len() - 1]);
    match noun {
        _ if !noun.is_ascii() || noun.is_empty() => noun.to_owned(),
        _ if noun.ends_with('y') && !vowel_before_y => format!("{}ies", &noun[..noun.len() - 1]),
        _ if ["s", "x", "ch", "sh"].iter().any(|e| noun.ends_with(e)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A title as people say it: `Matrix, The (1999)` is The Matrix.
pub fn spoken_title(title: &str) -> String {
    let mut title = title.trim();
    if let Some((before, after)) = title.rsplit_once('(') {
        let year = after.strip_suffix(')');
        if year.is_some_and(|y| y.len() == 4 && y.bytes().all(|b| b.is_ascii_digit())) {
            title = before.trim();
        }
    }
    for article in ["The", "A", "An"] {
        if let Some(rest) = title.strip_suffix(article).and_then(|r| r.strip_suffix(", ")) {
            return format!("{article} {rest}");
        }
    }
    title.to_owned()
}

/// A number as people write it: without decimals, or with two.
pub fn spoken_number(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

/// A round number near this one: two figures at most, the second 0 or 5.
pub fn rounded(number: f64) -> f64 {
    if number <= 0.0 {
        return number.round();
    }
    let step = 10f64.powf(number.log10().floor()) / 2.0;
    let rounded = (number / step).round() * step;
    (rounded * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_and_possessives_come_to_the_same_word() {
        for pair in [("movies", "movie"), ("Children's", "children"), ("kettles", "Kettle")] {
            assert_eq!(phrase(pair.0), phrase(pair.1), "{pair:?}");
        }
        assert_eq!(phrase("Glasses"), phrase("glass"));
        assert_eq!(phrase("Comedies"), phrase("comedy"));
        assert_eq!(phrase("the 90s, for $1,250.50!"), "the 90s for 1250.50");
        let begins: Vec<bool> = words("a, b c. d").iter().map(|word| word.begins).collect();
        assert_eq!(begins, [true, true, false, true]);
    }

    #[test]
    fn titles_and_numbers_are_said_as_people_say_them() {
        assert_eq!(spoken_title("Matrix, The (1999)"), "The Matrix");
        assert_eq!(spoken_title("Blade Runner (1982)"), "Blade Runner");
        assert_eq!(spoken_title("Airport (not the film)"), "Airport (not the film)");
        assert_eq!([37.0, 3.7, 0.37, 137.0].map(rounded), [35.0, 3.5, 0.35, 150.0]);
        assert_eq!([20.0, 3.5].map(spoken_number), ["20", "3.50"]);
        assert_eq!(
            ["film", "comedy", "toy", "box"].map(plural),
            ["films", "comedies", "toys", "boxes"]
        );
    }
}
