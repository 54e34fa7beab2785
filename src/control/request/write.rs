//! A request of each category: what it means first, then in which words.

use super::Requests;
use super::cues::Cue;
use super::decades::decade_name;
use super::draws::Draws;
use super::stock::{Name, Numbers, Shelf, worth};
use super::wordings::{self as t, Wordings, picked};
use super::words::{plural, rounded, spoken_number, spoken_title};
use crate::types::{Attribute, Category, Control, ItemId, Relation, Request, mix64};

/// Draws until a meaning is worth asking for.
const TRIES: usize = 12;
/// The latest items that somebody likens things to.
const LATEST: usize = 20;
/// Attributes whose labels are makers: things are from them.
const MAKERS: [&str; 8] =
    ["brand", "maker", "author", "artist", "director", "publisher", "studio", "manufacturer"];

/// See [`Requests::write`].
pub fn write(
    requests: &Requests,
    category: Category,
    draw: u64,
    history: &[ItemId],
    held_out: bool,
) -> Option<Request> {
    let seed = mix64(draw ^ mix64(category as u64 * 2 + u64::from(held_out)));
    let mut writer = Writer { requests, history, held_out, draws: Draws::new(seed) };
    let items = requests.catalogue.len();
    (0..TRIES).find_map(|_| {
        let (text, meaning) = writer.once(category)?;
        let count = requests.meeting(&meaning).len();
        let good = !meaning.is_empty() && worth(&meaning, count, items);
        good.then_some(Request {
            text,
            category: Some(category),
            held_out,
            meaning,
            ..Request::default()
        })
    })
}

/// An attribute's name as people say it.
pub fn name_of(attribute: &Attribute) -> String {
    attribute.name.replace(['_', '-'], " ").to_lowercase()
}

type Written = Option<(String, Vec<Control>)>;

struct Writer<'a> {
    requests: &'a Requests,
    history: &'a [ItemId],
    held_out: bool,
    draws: Draws,
}

impl Writer<'_> {
    /// One draw; what it means may be too little or too much.
    fn once(&mut self, category: Category) -> Written {
        match category {
            Category::Attribute => self.attribute(),
            Category::Bound => self.bound(),
            Category::Exclusion => self.exclusion(),
            Category::Period => self.period(),
            Category::Quality => self.quality(),
            Category::Composition => self.composition(),
            Category::Similarity => self.similarity(),
            Category::Mood => self.saying(category, &t::MOOD),
            Category::Audience => self.saying(category, &t::AUDIENCE),
            Category::Aspiration => self.saying(category, &t::ASPIRATION),
        }
    }

    /// A wording with its places filled.
    fn say(&mut self, list: &Wordings, places: &[(&str, &str)]) -> String {
        let text = list.sentence(self.held_out, &mut self.draws);
        let things = plural(&self.requests.noun);
        let fill = |text: String, (place, with): &(&str, &str)| text.replace(place, with);
        places.iter().fold(text.replace("{things}", &things), fill)
    }

    fn label(&mut self) -> Option<Name> {
        let shelf = self.draws.of(&self.requests.shelves)?;
        shelf.draw(&mut self.draws).cloned()
    }

    fn attribute(&mut self) -> Written {
        let name = self.label()?;
        let things = self.things(&name);
        Some((self.say(&t::ATTRIBUTE, &[("{p}", &things)]), vec![name.control(Relation::Is)]))
    }

    fn exclusion(&mut self) -> Written {
        let name = self.label()?;
        let bare = self.bare(&name);
        let shelf = self.requests.shelves.iter().find(|s| s.attribute == name.attribute)?;
        let other = shelf.draw(&mut self.draws).filter(|other| **other != name).cloned();
        let Some(other) = other.filter(|_| self.draws.share() < 0.3) else {
            let text = self.say(&t::EXCLUSION, &[("{p}", &bare)]);
            return Some((text, vec![name.control(Relation::Not)]));
        };
        let text = self.say(&t::EXCLUSION_TWO, &[("{p}", &bare), ("{q}", &self.bare(&other))]);
        Some((text, vec![both(&name, &other).control(Relation::Not)]))
    }

    fn bound(&mut self) -> Written {
        let numbers = self.draws.of(&self.requests.numbers)?;
        let at_most = self.draws.share() < 0.7;
        let relation = if at_most { Relation::AtMost } else { Relation::AtLeast };
        let attribute = &self.requests.catalogue.attributes[usize::from(numbers.attribute)];
        let money = super::is_money(attribute);
        if money && self.draws.share() < 0.2 {
            let (cue, list) = if at_most { (Cue::Cheap, &t::CHEAP) } else { (Cue::Dear, &t::DEAR) };
            return Some((self.say(list, &[]), vec![self.requests.level(cue)?]));
        }
        let (said, bound) = self.round(numbers)?;
        let places = [("{n}", said.as_str()), ("{a}", &name_of(attribute))];
        let text = match (money, at_most) {
            (true, true) => self.say(&t::MONEY_AT_MOST, &places),
            (true, false) => self.say(&t::MONEY_AT_LEAST, &places),
            (false, true) => self.say(&t::NUMBER_AT_MOST, &places),
            (false, false) => self.say(&t::NUMBER_AT_LEAST, &places),
        };
        Some((text, vec![numbers.bounded(relation, bound)]))
    }

    /// A round number within the middle of those that items have, as it is said and as it is read.
    fn round(&mut self, numbers: &Numbers) -> Option<(String, f32)> {
        let number = numbers.quantile(0.1 + 0.8 * self.draws.share())?;
        let said = spoken_number(rounded(f64::from(number)));
        let bound = said.parse().ok()?;
        Some((said, bound))
    }

    /// A decade that some items are of: its first year.
    fn decade(&mut self, period: &Numbers) -> Option<u32> {
        let year = period.quantile(self.draws.share())?;
        (1000.0..3000.0).contains(&year).then_some(year as u32 / 10 * 10)
    }

    fn period(&mut self) -> Written {
        let period = self.requests.period()?;
        let (first, last) = period.range()?;
        match self.draws.below(5) {
            0 => Some((self.say(&t::NEW, &[]), vec![self.requests.level(Cue::New)?])),
            1 => Some((self.say(&t::OLD, &[]), vec![self.requests.level(Cue::Old)?])),
            2 if last - first >= 10.0 => {
                let decade = self.decade(period)?;
                let name = decade_name(decade, self.held_out);
                Some((self.say(&t::DECADE, &[("{d}", &name)]), within(period, decade)))
            }
            _ => {
                let year = period.quantile(0.1 + 0.8 * self.draws.share())?.round();
                let said = spoken_number(f64::from(year));
                let places = [("{y}", said.as_str())];
                Some(match self.draws.below(3) {
                    0 => {
                        let control = period.bounded(Relation::AtMost, year - 1.0);
                        (self.say(&t::BEFORE, &places), vec![control])
                    }
                    1 => {
                        let control = period.bounded(Relation::AtLeast, year + 1.0);
                        (self.say(&t::AFTER, &places), vec![control])
                    }
                    _ => {
                        let control = period.bounded(Relation::AtLeast, year);
                        (self.say(&t::SINCE, &places), vec![control])
                    }
                })
            }
        }
    }

    fn quality(&mut self) -> Written {
        let popular = self.draws.share() < 0.5;
        let cue = if popular { Cue::Popular } else { Cue::Obscure };
        let text = if popular { self.say(&t::POPULAR, &[]) } else { self.say(&t::OBSCURE, &[]) };
        Some((text, vec![self.requests.level(cue)?]))
    }

    fn saying(&mut self, category: Category, list: &Wordings) -> Written {
        let requests = self.requests;
        let of_category = requests.sayings.iter().filter(|saying| saying.category == category);
        let sayings: Vec<_> = of_category.collect();
        let saying = self.draws.of(&sayings)?;
        let held_out = self.held_out && saying.says.len() >= 3;
        let says: Vec<&String> = match saying.says.len() {
            0..3 => saying.says.iter().collect(),
            _ => picked(&saying.says, held_out).collect(),
        };
        let said = self.draws.of(&says)?;
        Some((self.say(list, &[("{s}", said)]), saying.controls.clone()))
    }

    fn composition(&mut self) -> Written {
        let name = self.label()?;
        let things = self.things(&name);
        let is = name.control(Relation::Is);
        match self.draws.below(5) {
            0 => {
                let other = self.label().filter(|other| *other != name)?;
                let places = [("{p}", things.as_str()), ("{q}", &self.bare(&other))];
                Some((self.say(&t::IS_NOT, &places), vec![is, other.control(Relation::Not)]))
            }
            1 => {
                let other = self.label().filter(|other| *other != name)?;
                let both = vec![is, other.control(Relation::Is)];
                if self.maker(&other) {
                    let from = self.from(&other);
                    let places = [("{p}", things.as_str()), ("{q}", &from)];
                    return Some((self.say(&t::IS_OF, &places), both));
                }
                let places = [("{p}", things.as_str()), ("{q}", &self.bare(&other))];
                Some((self.say(&t::IS_IS, &places), both))
            }
            2 => {
                let shelf = self.requests.shelves.iter().find(|s| s.attribute == name.attribute)?;
                let other = Shelf::draw(shelf, &mut self.draws).filter(|o| **o != name)?.clone();
                let either = both(&name, &other).control(Relation::Is);
                let places = [("{p}", things.as_str()), ("{q}", &self.things(&other))];
                Some((self.say(&t::EITHER, &places), vec![either]))
            }
            3 => {
                let money = self.requests.money()?;
                let (said, bound) = self.round(money)?;
                let places = [("{p}", things.as_str()), ("{n}", &said)];
                let text = self.say(&t::IS_AT_MOST, &places);
                Some((text, vec![is, money.bounded(Relation::AtMost, bound)]))
            }
            _ => {
                let period = self.requests.period()?;
                if self.draws.share() < 0.5 {
                    let text = self.say(&t::IS_NEW, &[("{p}", &things)]);
                    return Some((text, vec![is, self.requests.level(Cue::New)?]));
                }
                let decade = self.decade(period)?;
                let name = decade_name(decade, self.held_out);
                let text = self.say(&t::IS_DECADE, &[("{p}", &things), ("{d}", &name)]);
                let years = within(period, decade);
                Some((text, [vec![is], years].concat()))
            }
        }
    }

    fn similarity(&mut self) -> Written {
        let latest = &self.history[self.history.len().saturating_sub(LATEST)..];
        let item = *self.draws.of(latest)?;
        let requests = self.requests;
        let title = spoken_title(&requests.catalogue.titles[item as usize]);
        let alone = requests.reading.titles.get(&title) == Some(&item);
        let mut meaning = requests.alike(item);
        if !alone || meaning.is_empty() {
            return None;
        }
        let held_out = self.held_out;
        let changes: [(Cue, &Wordings); 5] = [
            (Cue::Cheaper, &t::CHEAPER),
            (Cue::Newer, &t::NEWER),
            (Cue::Older, &t::OLDER),
            (Cue::BetterKnown, &t::BETTER_KNOWN),
            (Cue::LessKnown, &t::LESS_KNOWN),
        ];
        let changes: Vec<_> = changes
            .into_iter()
            .filter_map(|(cue, list)| Some((requests.changed(cue, item)?, list)))
            .collect();
        let which = self.draws.below(changes.len() + 1);
        let change = match changes.get(which) {
            Some((control, list)) => {
                meaning.push(control.clone());
                list.words(held_out, &mut self.draws)
            }
            None => {
                let name = self.label()?;
                let attribute = &requests.catalogue.attributes[usize::from(name.attribute)];
                if attribute.codes(item).iter().any(|code| name.codes.contains(code)) {
                    return None;
                }
                meaning.push(name.control(Relation::Not));
                t::BUT_NOT.words(held_out, &mut self.draws).replace("{q}", &self.bare(&name))
            }
        };
        Some((self.say(&t::LIKE, &[("{t}", &title), ("{c}", &change)]), meaning))
    }

    fn maker(&self, name: &Name) -> bool {
        let attribute = &self.requests.catalogue.attributes[usize::from(name.attribute)];
        let called = attribute.name.to_lowercase();
        MAKERS.iter().any(|maker| called.contains(maker))
    }

    /// The label's own words: makers as they write themselves, other names small.
    fn bare(&self, name: &Name) -> String {
        let attribute = &self.requests.catalogue.attributes[usize::from(name.attribute)];
        let label = name.codes.first().map_or("", |code| attribute.labels[*code as usize].as_str());
        let shouted = !label.chars().any(char::is_lowercase);
        if self.maker(name) && !shouted { label.to_owned() } else { label.to_lowercase() }
    }

    fn from(&self, name: &Name) -> String {
        let attribute = &self.requests.catalogue.attributes[usize::from(name.attribute)];
        let by = if attribute.name.to_lowercase().contains("brand") { "from" } else { "by" };
        format!("{by} {}", self.bare(name))
    }

    /// Things that have the label: `kettles`, `garden things`, `things from Aldwick`.
    fn things(&self, name: &Name) -> String {
        let (bare, things) = (self.bare(name), plural(&self.requests.noun));
        if self.maker(name) {
            return format!("{things} {}", self.from(name));
        }
        let many = bare.ends_with('s') && !bare.ends_with("ss") && !bare.ends_with("'s");
        if many { bare } else { format!("{bare} {things}") }
    }
}

/// Two labels of an attribute as one.
fn both(name: &Name, other: &Name) -> Name {
    let mut codes = [name.codes.as_slice(), &other.codes].concat();
    codes.sort_unstable();
    codes.dedup();
    Name { attribute: name.attribute, codes }
}

/// The ten years from a year on.
fn within(period: &Numbers, first: u32) -> Vec<Control> {
    let first = first as f32;
    vec![period.bounded(Relation::AtLeast, first), period.bounded(Relation::AtMost, first + 9.0)]
}
