//! What a list can have more or less of, how much of it a list has, and lists that have more.
//!
//! Lists are those of a walk: orders over the same few candidates, as positions in their row.

use crate::stage::rerank::{Facts, FairSwap, fair_swap};
use crate::stage::rerank::{best, chosen_first, normalised};
use crate::types::{ArmList, Attribute, Candidates, Control, ItemId};

/// The share of what an earlier item with the same label leaves of a label's gain.
const FADING: f64 = 0.5;

/// What a list can have more or less of.
#[derive(Clone, Debug, PartialEq)]
pub enum Aspect {
    /// Relevance: what the list that the walk began with has first.
    Relevance,
    /// Many labels of an attribute rather than one many times: its index in the catalogue.
    Spread(usize),
    /// The same places for the items that meet a control and for the others whose value is known.
    Balance(Control),
    /// Great numbers of an attribute first.
    High(usize),
    /// Small numbers of an attribute first.
    Low(usize),
    /// What few took.
    Novelty,
}

/// What the aspects of a walk's lists are looked at with.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Whose candidates.
    pub row: &'a Candidates,
    /// Their attributes.
    pub facts: &'a Facts,
    /// The list that the walk began with.
    pub incoming: &'a ArmList,
    /// The places that count.
    pub depth: usize,
}

/// Tells how much of an aspect lists have. What is the same for all lists is computed once.
pub enum Gauge<'a> {
    /// Discounted values.
    Graded {
        /// Of each candidate by its position.
        values: Vec<f32>,
        /// The places that count.
        depth: usize,
        /// What the best order has.
        ideal: f64,
    },
    /// Fading gains of an attribute's labels.
    Spread {
        /// Where the labels are.
        view: View<'a>,
        /// The attribute.
        attribute: usize,
        /// What the greedy order has.
        ideal: f64,
    },
    /// 1 − the gap between two groups.
    Balance(View<'a>, FairSwap),
}

impl View<'_> {
    fn item(&self, at: u32) -> ItemId {
        self.row.items[at as usize]
    }

    /// By position the values of the walk's candidates, given in the order of the incoming list.
    fn by_position(&self, values: &[f32]) -> Vec<f32> {
        let mut placed = vec![0.0; self.row.items.len()];
        for (at, value) in self.incoming.order.iter().zip(values) {
            placed[*at as usize] = *value;
        }
        placed
    }

    fn balance(&self, group: &Control, gap_max: f32) -> FairSwap {
        FairSwap { group: group.clone(), top: self.incoming.order.len(), gap_max }
    }
}

impl Aspect {
    /// What tells how much of it lists have.
    pub fn gauge<'a>(&self, view: View<'a>) -> Gauge<'a> {
        match self {
            Aspect::Spread(attribute) => {
                let greedy = spread(&view, *attribute, view.incoming, 1.0);
                let ideal = gains(&view, *attribute, &greedy.order);
                Gauge::Spread { view, attribute: *attribute, ideal }
            }
            Aspect::Balance(group) => Gauge::Balance(view, view.balance(group, 0.0)),
            _ => {
                let values = view.by_position(&self.values(&view));
                let mut best: Vec<f32> =
                    view.incoming.order.iter().map(|at| values[*at as usize]).collect();
                best.sort_by(|a, b| b.total_cmp(a));
                let ideal = discounted(best.into_iter().map(f64::from), view.depth);
                Gauge::Graded { values, depth: view.depth, ideal }
            }
        }
    }

    /// The list with more of it: `share` 1 for as much as there can be, and near 0 for little
    /// change. The list that comes in has its own scores, which do not rise.
    pub fn improve(&self, view: &View<'_>, list: &ArmList, share: f32) -> ArmList {
        match self {
            Aspect::Spread(attribute) => spread(view, *attribute, list, share),
            // The whole of a gap is 1, but what lists have is nearer to a tenth.
            Aspect::Balance(group) => {
                let step = view.balance(group, (1.0 - share) / 10.0);
                fair_swap(&step, view.row, list.clone(), view.facts)
            }
            _ => graded(list, &view.by_position(&self.values(view)), share),
        }
    }

    /// What each item is worth, 0 to 1, in the order of the incoming list.
    fn values(&self, view: &View<'_>) -> Vec<f32> {
        let numbers = |number: &dyn Fn(ItemId) -> f32| {
            let of = |at: &u32| number(view.item(*at));
            ranks(&view.incoming.order.iter().map(of).collect::<Vec<f32>>())
        };
        let attributes = &view.facts.catalogue.attributes;
        let taken = &view.facts.catalogue.popularity;
        match self {
            Aspect::Relevance => normalised(&view.incoming.scores),
            Aspect::High(attribute) => numbers(&|item| attributes[*attribute].number(item)),
            Aspect::Low(attribute) => numbers(&|item| -attributes[*attribute].number(item)),
            Aspect::Novelty => {
                numbers(&|item| taken.get(item as usize).map_or(f32::NAN, |n| -(*n as f32)))
            }
            Aspect::Spread(_) | Aspect::Balance(_) => vec![0.0; view.incoming.order.len()],
        }
    }
}

impl Gauge<'_> {
    /// How much of the aspect an order has, 0 to 1; 1 where no order has any.
    pub fn measure(&self, order: &[u32]) -> f64 {
        let (sum, ideal) = match self {
            Gauge::Graded { values, depth, ideal } => {
                let values = order.iter().map(|at| f64::from(values[*at as usize]));
                (discounted(values, *depth), *ideal)
            }
            Gauge::Spread { view, attribute, ideal } => (gains(view, *attribute, order), *ideal),
            Gauge::Balance(view, step) => {
                return 1.0 - f64::from(step.gap(view.row, order, view.facts));
            }
        };
        if ideal > 0.0 { (sum / ideal).min(1.0) } else { 1.0 }
    }
}

/// The discounted fading gains of an order.
fn gains(view: &View<'_>, attribute: usize, order: &[u32]) -> f64 {
    let mut shown = Shown::new(view, attribute);
    discounted(order.iter().map(|at| shown.take(view.item(*at))), view.depth)
}

/// Σ value(j) / log2(j + 2) over the first places, j from 0.
fn discounted(values: impl Iterator<Item = f64>, depth: usize) -> f64 {
    let terms = values.take(depth).enumerate();
    terms.map(|(place, value)| value / (place as f64 + 2.0).log2()).sum()
}

/// The mean rank of each number among all, 0 for the smallest to 1 for the greatest; 0 for those
/// that are unknown.
fn ranks(numbers: &[f32]) -> Vec<f32> {
    let mut known: Vec<f32> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
    known.sort_by(f32::total_cmp);
    let most = known.len().saturating_sub(1).max(1) as f32;
    let rank = |x: &f32| {
        if x.is_nan() {
            return 0.0;
        }
        let (below, to) = (known.partition_point(|y| y < x), known.partition_point(|y| y <= x));
        if known.len() == 1 { 1.0 } else { (below + to - 1) as f32 / 2.0 / most }
    };
    numbers.iter().map(rank).collect()
}

/// Orders by share · value + (1 − share) · the list's own scores, mapped to [0, 1]. Equal ones stay
/// as they were.
fn graded(list: &ArmList, values: &[f32], share: f32) -> ArmList {
    let own = normalised(&list.scores);
    let mixed = list.order.iter().zip(own);
    let mut places: Vec<(u32, f32)> =
        mixed.map(|(at, own)| (*at, share * values[*at as usize] + (1.0 - share) * own)).collect();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (order, scores) = places.into_iter().unzip();
    ArmList { order, scores }
}

/// How often each label of an attribute was shown.
struct Shown<'a> {
    attribute: &'a Attribute,
    counts: Vec<(u32, i32)>,
}

impl<'a> Shown<'a> {
    fn new(view: &View<'a>, attribute: usize) -> Shown<'a> {
        Shown { attribute: &view.facts.catalogue.attributes[attribute], counts: Vec::new() }
    }

    /// Σ over the item's labels of FADING^(how often it was shown).
    fn gain(&self, item: ItemId) -> f64 {
        let shown = |code: &u32| self.counts.iter().find(|(c, _)| c == code).map_or(0, |(_, n)| *n);
        self.attribute.codes(item).iter().map(|code| FADING.powi(shown(code))).sum()
    }

    /// Shows an item. Gives what it gained.
    fn take(&mut self, item: ItemId) -> f64 {
        let gain = self.gain(item);
        for code in self.attribute.codes(item) {
            match self.counts.iter_mut().find(|(c, _)| c == code) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((*code, 1)),
            }
        }
        gain
    }
}

/// Fills the first places greedily by share · gain + (1 − share) · the list's own scores, mapped to
/// [0, 1], the gain as a share of the greatest that any item can have. Ties go to the earlier one.
fn spread(view: &View<'_>, attribute: usize, list: &ArmList, share: f32) -> ArmList {
    let own = normalised(&list.scores);
    let mut shown = Shown::new(view, attribute);
    let item = |place: usize| view.item(list.order[place]);
    let gains = (0..list.order.len()).map(|place| shown.gain(item(place)));
    let most = gains.fold(1.0, f64::max);
    let mut left: Vec<usize> = (0..list.order.len()).collect();
    let (mut chosen, mut last) = (Vec::new(), f32::INFINITY);
    while chosen.len() < view.depth {
        let value = |place: &usize| {
            share * (shown.gain(item(*place)) / most) as f32 + (1.0 - share) * own[*place]
        };
        let Some((at, value)) = best(left.iter().map(value).enumerate()) else { break };
        let place = left.remove(at);
        shown.take(item(place));
        last = last.min(value);
        chosen.push((place, last));
    }
    chosen_first(list, &own, &chosen)
}
