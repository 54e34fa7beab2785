//! Requests in people's own words: written out of a catalogue with the meaning they have in it, and
//! read again by rules.
//!
//! What is written is the training and test material of a request encoder: ten categories, each in
//! several wordings of which some are kept from training, over labels, bounds and titles of the
//! catalogue and the sayings of the job. What is read by rules is the baseline that an encoder has
//! to beat, and what turns words into filters.

mod cues;
mod decades;
mod draws;
mod feed;
mod phrases;
mod popularity;
mod stock;
mod understand;
mod wordings;
mod words;
mod write;

pub use popularity::{POPULARITY, with_popularity};
pub use words::spoken_title;

use super::postings::Postings;
use super::resolve::resolve;
use crate::error::{Error, Result};
use crate::types::{Asked, Attribute, Catalogue, Category, Control, ItemId, Relation, Request};
use cues::{Cue, cues};
use phrases::Phrases;
use std::sync::Arc;
use stock::{ITEMS_MIN, Name, Numbers, Shelf, names};

/// Items like a title are those with all of its labels, if there are so many.
const ALIKE_MIN: usize = 4 * ITEMS_MIN;

/// What the job says about requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestSettings {
    /// What an item is called: `film`. `thing` where empty.
    pub noun: String,
    /// Attributes whose labels are asked for; those without numbers if none are named.
    pub attributes: Vec<String>,
    /// Attributes whose numbers are bounded; prices if none are named, or else all but years, ranks
    /// and popularity.
    pub numbers: Vec<String>,
    /// The attribute that holds years; the one that looks like it if none is named.
    pub period: Option<String>,
    /// The attribute that makes items alike; a genre or a category if none is named.
    pub alike: Option<String>,
    /// What the job's own sayings mean.
    pub meanings: Vec<Meaning>,
}

/// A mood, an audience or an aspiration, in the ways that people say it.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// Which of the three.
    pub category: Category,
    /// Ways to say it; every third is kept from training where there are three.
    pub says: Vec<String>,
    /// What it means.
    pub asked: Asked,
}

/// A [`Meaning`] in this catalogue.
struct Saying {
    category: Category,
    says: Vec<String>,
    controls: Vec<Control>,
}

/// Everything that has a name.
struct Reading {
    names: Phrases<Name>,
    cues: Phrases<Cue>,
    sayings: Phrases<Vec<Control>>,
    /// Attributes with numbers.
    numeric: Phrases<usize>,
    /// Attributes.
    attributes: Phrases<usize>,
    titles: Phrases<ItemId>,
}

/// Writes and reads requests over one catalogue. Pure: what is written follows from the arguments.
pub struct Requests {
    catalogue: Arc<Catalogue>,
    postings: Postings,
    noun: String,
    shelves: Vec<Shelf>,
    numbers: Vec<Numbers>,
    period: Option<Numbers>,
    popularity: Option<Numbers>,
    alike: Option<usize>,
    sayings: Vec<Saying>,
    reading: Reading,
}

impl Requests {
    /// Over a catalogue, which has its popularity ([`with_popularity`]) if that is to be asked for.
    ///
    /// Errors: an attribute that is not there or has no numbers; a saying without a meaning here.
    pub fn new(catalogue: Arc<Catalogue>, settings: RequestSettings) -> Result<Requests> {
        let find = |name: &String| {
            let known = || catalogue.attributes.iter().map(|a| a.name.as_str()).collect::<Vec<_>>();
            catalogue.attribute(name).ok_or_else(|| {
                let known = known().join(", ");
                Error::Input(format!("requests: expected an attribute of {known}, found {name:?}"))
            })
        };
        let all = |names: &[String]| names.iter().map(find).collect::<Result<Vec<usize>>>();
        let roles = Roles::guess(&catalogue);
        let or = |named: Vec<usize>, guessed| if named.is_empty() { guessed } else { named };
        let attributes = or(all(&settings.attributes)?, roles.attributes);
        let numbers = or(all(&settings.numbers)?, roles.numbers);
        let period = settings.period.as_ref().map(find).transpose()?.or(roles.period);
        let alike = settings.alike.as_ref().map(find).transpose()?;
        let alike = alike.or(roles.alike.or(attributes.first().copied()));
        for &at in numbers.iter().chain(&period) {
            if catalogue.attributes[at].numbers.is_empty() {
                let name = &catalogue.attributes[at].name;
                return Err(Error::Input(format!(
                    "requests: expected {name:?} to have numbers: give it `edges` or `quantiles`"
                )));
            }
        }
        let numbers_of = |at: usize| Numbers::new(at, &catalogue.attributes[at]);
        let sayings = sayings(&catalogue, settings.meanings)?;
        let reading = Reading::new(&catalogue, &attributes, &sayings);
        let postings = Postings::new(Arc::clone(&catalogue));
        let taken = |label: &str| {
            let Reading { cues, sayings, numeric, .. } = &reading;
            let cue = cues.get(label).is_some() || numeric.get(label).is_some();
            cue || sayings.get(label).is_some()
        };
        let shelf = |at: &usize| Shelf::new(&postings, *at, &reading.names, taken);
        let shelves = attributes.iter().map(shelf).filter(|shelf| !shelf.is_empty()).collect();
        Ok(Requests {
            noun: if settings.noun.is_empty() { "thing".to_owned() } else { settings.noun },
            shelves,
            numbers: numbers.into_iter().map(numbers_of).collect(),
            period: period.map(numbers_of),
            popularity: catalogue.attribute(POPULARITY).map(numbers_of),
            alike,
            sayings,
            reading,
            postings,
            catalogue,
        })
    }

    /// The catalogue that meanings are about.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The items that meet a meaning, ascending.
    pub fn meeting(&self, meaning: &[Control]) -> Vec<ItemId> {
        self.postings.meeting(meaning)
    }

    /// The items that have a label, ascending.
    pub fn labelled(&self, attribute: u16, code: u32) -> &[ItemId] {
        self.postings.labelled(attribute, code)
    }

    /// What the words of a request mean here; empty where the rules find nothing in them.
    pub fn understand(&self, text: &str) -> Vec<Control> {
        understand::understand(self, text)
    }

    /// The categories that this catalogue and the job's sayings have something for: those of which
    /// one of a few dozen draws gives a request.
    pub fn supported(&self) -> Vec<Category> {
        let step = (self.catalogue.len() / 32).max(1);
        let histories = (0..self.catalogue.len()).step_by(step).map(|item| vec![item as ItemId]);
        let histories: Vec<Vec<ItemId>> = histories.collect();
        let some = |category: &Category| {
            let mut draws = (0..).zip(&histories);
            draws.any(|(draw, history)| self.write(*category, draw, history, false).is_some())
        };
        Category::ALL.into_iter().filter(some).collect()
    }

    /// A request of a category, in wordings for training or in those that are kept from it: the
    /// same for the same arguments. None where the draw finds nothing worth asking for.
    pub fn write(
        &self,
        category: Category,
        draw: u64,
        history: &[ItemId],
        held_out: bool,
    ) -> Option<Request> {
        write::write(self, category, draw, history, held_out)
    }

    fn period(&self) -> Option<&Numbers> {
        self.period.as_ref()
    }

    /// The first number that is a price.
    fn money(&self) -> Option<&Numbers> {
        let name = |n: &&Numbers| is_money(&self.catalogue.attributes[usize::from(n.attribute)]);
        self.numbers.iter().find(name)
    }

    /// What a word such as `cheap` or `popular` means here: the lowest quarter, the highest fifth.
    fn level(&self, cue: Cue) -> Option<Control> {
        let (numbers, relation, share) = match cue {
            Cue::Cheap => (self.money()?, Relation::AtMost, 0.25),
            Cue::Dear => (self.money()?, Relation::AtLeast, 0.75),
            Cue::Old => (self.period()?, Relation::AtMost, 0.2),
            Cue::New => (self.period()?, Relation::AtLeast, 0.8),
            Cue::Popular => (self.popularity.as_ref()?, Relation::AtLeast, 0.8),
            Cue::Obscure => (self.popularity.as_ref()?, Relation::AtMost, 0.3),
            _ => return None,
        };
        Some(numbers.bounded(relation, numbers.quantile(share)?))
    }

    /// How something should differ from an item; none where the item's number is not known.
    fn changed(&self, cue: Cue, item: ItemId) -> Option<Control> {
        let (numbers, relation) = match cue {
            Cue::Cheaper => (self.money()?, Relation::AtMost),
            Cue::Newer => (self.period()?, Relation::AtLeast),
            Cue::Older => (self.period()?, Relation::AtMost),
            Cue::BetterKnown => (self.popularity.as_ref()?, Relation::AtLeast),
            Cue::LessKnown => (self.popularity.as_ref()?, Relation::AtMost),
            _ => return None,
        };
        let number = self.catalogue.attributes[usize::from(numbers.attribute)].number(item);
        // The least step that people see: a hundredth, or one where there are no decimals.
        let step = if cue == Cue::Cheaper || number.fract() != 0.0 { 100.0 } else { 1.0 };
        let steps = (f64::from(number) * step).round();
        let steps = if relation == Relation::AtMost { steps - 1.0 } else { steps + 1.0 };
        number.is_finite().then(|| numbers.bounded(relation, (steps / step) as f32))
    }

    /// What is like an item: what has all of its labels, or any where few have all.
    fn alike(&self, item: ItemId) -> Vec<Control> {
        let Some(at) = self.alike else { return Vec::new() };
        let codes = self.catalogue.attributes[at].codes(item);
        let is = |codes: &[u32]| {
            Name { attribute: at as u16, codes: codes.to_vec() }.control(Relation::Is)
        };
        let all: Vec<Control> = codes.chunks(1).take(3).map(is).collect();
        match codes {
            [] => Vec::new(),
            _ if all.len() > 1 && self.postings.meeting(&all).len() < ALIKE_MIN => vec![is(codes)],
            _ => all,
        }
    }
}

impl Reading {
    fn new(catalogue: &Catalogue, attributes: &[usize], sayings: &[Saying]) -> Reading {
        let mut reading = Reading {
            names: names(catalogue, attributes),
            cues: cues(),
            sayings: Phrases::default(),
            numeric: Phrases::default(),
            attributes: Phrases::default(),
            titles: Phrases::default(),
        };
        for saying in sayings {
            saying.says.iter().for_each(|s| reading.sayings.add(s, saying.controls.clone()));
        }
        for (at, attribute) in catalogue.attributes.iter().enumerate() {
            let name = write::name_of(attribute);
            reading.attributes.add(&name, at);
            if !attribute.numbers.is_empty() {
                reading.numeric.add(&name, at);
            }
        }
        for (item, title) in (0..).zip(&catalogue.titles) {
            reading.titles.add(&spoken_title(title), item);
        }
        reading
    }
}

/// What the job's sayings mean in this catalogue.
fn sayings(catalogue: &Catalogue, meanings: Vec<Meaning>) -> Result<Vec<Saying>> {
    let saying = |Meaning { category, says, asked }| {
        let (controls, problems) = resolve(catalogue, std::slice::from_ref(&asked));
        match problems.first().filter(|_| controls.is_empty()) {
            None => Ok(Saying { category, says, controls }),
            Some(problem) => {
                let said = says.first().cloned().unwrap_or_default();
                Err(Error::Input(format!(
                    "requests.meaning: {said:?} means nothing here: {problem}"
                )))
            }
        }
    };
    meanings.into_iter().map(saying).collect()
}

/// Which attribute is for what, where the job does not say it.
struct Roles {
    attributes: Vec<usize>,
    numbers: Vec<usize>,
    period: Option<usize>,
    alike: Option<usize>,
}

impl Roles {
    fn guess(catalogue: &Catalogue) -> Roles {
        let all = || catalogue.attributes.iter().enumerate();
        let named = |name: &str, parts: &[&str]| {
            let name = name.to_lowercase();
            parts.iter().any(|part| name.contains(part))
        };
        let numeric = || all().filter(|(_, a)| !a.numbers.is_empty());
        let plain: Vec<usize> =
            all().filter(|(_, a)| a.numbers.is_empty()).map(|(i, _)| i).collect();
        let years = |a: &Attribute| named(&a.name, &["year", "released", "release", "date"]);
        let period = numeric().find(|(_, a)| years(a)).map(|(at, _)| at);
        let money: Vec<usize> = numeric().filter(|(_, a)| is_money(a)).map(|(at, _)| at).collect();
        let other = |(at, a): &(usize, &Attribute)| {
            Some(*at) != period && !named(&a.name, &["rank", POPULARITY])
        };
        let rest = || numeric().filter(other).map(|(at, _)| at).collect();
        let kind = |at: &&usize| named(&catalogue.attributes[**at].name, &["genre", "categor"]);
        let alike = plain.iter().find(kind).copied();
        let numbers = if money.is_empty() { rest() } else { money };
        Roles { attributes: plain, numbers, period, alike }
    }
}

/// Whether an attribute is about money, by its name.
fn is_money(attribute: &Attribute) -> bool {
    let name = attribute.name.to_lowercase();
    ["price", "cost"].iter().any(|part| name.contains(part))
}
