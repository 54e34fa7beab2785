//! Are two orders fused as the formula says, over candidates and over a catalogue in any number of
//! shares, and are wishes about whole lists kept?

use super::controls::{attribute, catalogue};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use steerage::control::{RequestSettings, Requests};
use steerage::device::cpu::top_k::reference::score;
use steerage::stage::arms::{Arms, Memory, Method};
use steerage::stage::language::{
    Fusion, LanguageControl, PoseQuestions, Posed, Reacher, Said, Search, Speaker, fused, order,
};
use steerage::stage::rerank::{Facts, Quotas, Step, retrieval_order};
use steerage::stage::{Outcomes, Stage};
use steerage::types::{
    ArmList, Candidates, Catalogue, Control, FaultKind, ItemId, Key, Origin, Query, Quota,
    Relation, Request, StageName, mix64, normal,
};

const ITEMS: usize = 200;
const WIDTH: usize = 5;

fn draws(seed: u64, count: usize) -> Vec<f32> {
    // Few distinct values: many scores are equal.
    (0..count as u64).map(|i| (normal(mix64(seed ^ mix64(i))) * 2.0).round() as f32).collect()
}

/// A speaker whose vector of a request follows from its words.
fn speaker() -> Arc<Speaker> {
    let hear = |requests: &[(String, String)]| {
        let seed = |text: &str| text.bytes().fold(7, |seed, byte| mix64(seed ^ u64::from(byte)));
        Ok(requests.iter().flat_map(|(text, _)| draws(seed(text), WIDTH)).collect())
    };
    Arc::new(Speaker {
        number: 0,
        hear: Arc::new(hear),
        describe: Arc::new(|history| format!("{history:?}")),
        items: draws(2, ITEMS * WIDTH),
        width: WIDTH,
        meter: Arc::default(),
    })
}

fn step(weight: f32, fusion: Fusion) -> LanguageControl {
    LanguageControl { speaker: speaker(), weight, fusion }
}

fn asking(user: i64, text: Option<&str>, weight: Option<f32>) -> Query {
    let request = |text: &str| Request { text: text.into(), weight, ..Request::default() };
    Query {
        origin: Origin { shard: 0, row: user as u32 },
        user: Key::Int(user),
        history: vec![user as ItemId, 3, 150],
        request: text.map(|text| Box::new(request(text))),
        ..Query::default()
    }
}

fn user_vector(history: &[ItemId]) -> Vec<f32> {
    draws(u64::from(history[0]) + 1000, WIDTH)
}

fn row(query: Query, k: usize) -> Candidates {
    let user = user_vector(&query.history);
    let items = draws(1, ITEMS * WIDTH);
    let scores: Vec<f32> = items.chunks(WIDTH).map(|item| score(&user, item)).collect();
    let best = order(&scores.iter().map(|s| f64::from(*s)).collect::<Vec<f64>>());
    let best: Vec<ItemId> = best.into_iter().filter(|i| !query.history.contains(i)).collect();
    let items: Vec<ItemId> = best.into_iter().take(k).collect();
    let scores = items.iter().map(|item| scores[*item as usize]).collect();
    Candidates { query, items, scores, ..Candidates::default() }
}

fn applied(step: &LanguageControl, row: &Candidates) -> ArmList {
    let mut said = Said::default();
    step.speaker.listen([&row.query].into_iter(), &mut said).unwrap();
    step.apply(row, retrieval_order(row), &said)
}

#[test]
fn no_weight_keeps_the_list_and_all_of_it_is_the_requests_order() {
    for fusion in [Fusion::Ranks, Fusion::Scores, Fusion::Reciprocal] {
        let row = row(asking(5, Some("something red"), None), 60);
        let kept = applied(&step(0.0, fusion), &row);
        assert_eq!(kept.order, retrieval_order(&row).order, "{fusion:?}");
        let speaker = speaker();
        let request = (speaker.hear)(&[("something red".into(), String::new())]).unwrap();
        let answers = |item: &ItemId| {
            let at = *item as usize * WIDTH;
            score(&request, &speaker.items[at..at + WIDTH])
        };
        let mut wanted: Vec<(u32, ItemId)> = (0..).zip(row.items.iter().copied()).collect();
        wanted.sort_by(|(_, a), (_, b)| answers(b).total_cmp(&answers(a)).then(a.cmp(b)));
        let wanted: Vec<u32> = wanted.into_iter().map(|(place, _)| place).collect();
        assert_eq!(applied(&step(1.0, fusion), &row).order, wanted, "{fusion:?}");
        let own = Candidates { query: asking(5, Some("something red"), Some(1.0)), ..row.clone() };
        assert_eq!(applied(&step(0.0, fusion), &own).order, wanted, "the request's own weight");
    }
}

#[test]
fn who_says_nothing_keeps_the_list() {
    for text in [None, Some("")] {
        let row = row(asking(5, text, None), 60);
        assert_eq!(applied(&step(1.0, Fusion::Ranks), &row), retrieval_order(&row));
    }
}

fn search(steps: Vec<LanguageControl>, k: usize) -> Arc<Search> {
    let encode = |histories: &[&[ItemId]]| {
        Ok(histories.iter().flat_map(|history| user_vector(history)).collect())
    };
    Arc::new(Search {
        encode: Arc::new(encode),
        items: draws(1, ITEMS * WIDTH),
        width: WIDTH,
        steps,
        barred: vec![0, 10, 11, 199],
        excluded: HashMap::from([(Key::Int(6), vec![20, 21])]),
        exclude_seen: true,
        k,
        met: Arc::new(|_, item| item % 4),
    })
}

/// Rows and what they ask.
fn posed(search: &Arc<Search>, rows: Vec<Candidates>) -> Vec<Posed> {
    let mut out = Outcomes::new(StageName::Language);
    PoseQuestions { search: Arc::clone(search), home: 0 }.run(rows, &mut out);
    let (posed, setbacks) = out.into_parts();
    assert!(setbacks.is_empty(), "{setbacks:?}");
    posed
}

/// Rows through as many shares as there may be workers.
fn reached(search: &Arc<Search>, rows: Vec<Candidates>, shares: u64) -> Vec<Candidates> {
    let new = |share| Reacher::new(Arc::clone(search), share, shares);
    let mut reachers: Vec<Reacher> = (0..shares).map(new).collect();
    let mut out = Outcomes::new(StageName::Language);
    let questions = reachers[0].ask(posed(search, rows), &mut out);
    // The last share is the first to answer.
    for share in (0..shares as usize).rev() {
        let answers = reachers[share].answer(&questions);
        answers.into_iter().for_each(|answer| reachers[0].hear(answer, &mut out));
    }
    let (mut rows, setbacks) = out.into_parts();
    assert!(setbacks.is_empty(), "{setbacks:?}");
    rows.sort_by_key(|row| row.query.origin);
    rows
}

/// The list over the whole catalogue by sorting all of it: items, and each one's rank by the base.
fn plain(step: &LanguageControl, row: &Candidates, k: usize) -> Vec<(ItemId, f32)> {
    let excluded: BTreeSet<ItemId> = [0, 10, 11, 199]
        .into_iter()
        .chain(row.query.history.iter().copied())
        .chain((row.query.user == Key::Int(6)).then_some([20, 21]).into_iter().flatten())
        .collect();
    let items: Vec<ItemId> = (0..ITEMS as ItemId).filter(|i| !excluded.contains(i)).collect();
    let user = user_vector(&row.query.history);
    let text = row.query.request.as_ref().unwrap().text.clone();
    let request = (step.speaker.hear)(&[(text, String::new())]).unwrap();
    let rows = draws(1, ITEMS * WIDTH);
    let at = |rows: &[f32], item: ItemId| rows[item as usize * WIDTH..][..WIDTH].to_vec();
    let base: Vec<f32> = items.iter().map(|i| score(&user, &at(&rows, *i))).collect();
    let control: Vec<f32> =
        items.iter().map(|i| score(&request, &at(&step.speaker.items, *i))).collect();
    let merits = fused(&base, &control, step.fusion, step.weight(&row.query));
    let best = order(&merits).into_iter().take(k);
    best.map(|at| (items[at as usize], merits[at as usize] as f32)).collect()
}

#[test]
fn a_catalogue_in_any_number_of_shares_gives_the_lists_of_a_full_sort() {
    let steps = vec![step(0.5, Fusion::Ranks), step(0.0, Fusion::Ranks), step(0.3, Fusion::Scores)];
    let k = 30;
    let search = search(steps, k);
    let rows = |()| -> Vec<Candidates> {
        [(4, Some("blue")), (5, None), (6, Some("not red")), (7, Some(""))]
            .map(|(user, text)| row(asking(user, text, None), 20))
            .into()
    };
    let alone = reached(&search, rows(()), 1);
    for shares in [2, 3, 7, 250] {
        assert_eq!(reached(&search, rows(()), shares), alone, "{shares} shares");
    }
    for row in &alone {
        let lists = &row.reach.as_ref().unwrap().lists;
        assert_eq!(row.retrieved(), 20);
        assert_eq!(retrieval_order(row).order.len(), 20, "other arms see what was retrieved");
        if row.query.request.as_ref().is_none_or(|request| request.text.is_empty()) {
            assert!(lists.iter().all(|list| *list == retrieval_order(row)));
            continue;
        }
        for (step, list) in search.steps.iter().zip(lists) {
            let found: Vec<(ItemId, f32)> = list
                .order
                .iter()
                .map(|at| row.items[*at as usize])
                .zip(list.scores.clone())
                .collect();
            assert_eq!(found, plain(step, row, k));
        }
        let beyond = &row.reach.as_ref().unwrap().beyond;
        assert!(beyond.is_sorted(), "in the order of the base: {beyond:?}");
    }
}

#[test]
fn what_a_search_heard_is_not_heard_again() {
    let heard = Arc::new(AtomicUsize::new(0));
    let (count, first) = (Arc::clone(&heard), Arc::into_inner(speaker()).unwrap());
    let hear = Arc::clone(&first.hear);
    let counted = move |requests: &[(String, String)]| {
        count.fetch_add(requests.len(), Relaxed);
        hear(requests)
    };
    let speaker = Arc::new(Speaker { hear: Arc::new(counted), ..first });
    let step = LanguageControl { speaker, weight: 0.5, fusion: Fusion::Ranks };
    let chains = vec![vec![Method::Found(0)], vec![Method::Language(step.clone())], vec![]];
    let meters = chains.iter().map(|_| Arc::default()).collect();
    let facts = Facts { catalogue: films(), embeddings: None };
    let arms = Arms { chains, facts, meters };
    let rows = [(4, Some("blue")), (5, None)].map(|(user, text)| row(asking(user, text, None), 20));
    let reached = reached(&search(vec![step.clone()], 10), rows.to_vec(), 3);
    let mut out: Outcomes<()> = Outcomes::new(StageName::Rerank);
    let ranked = arms.rank(reached, &mut Memory::default(), &mut out);
    assert_eq!(heard.load(Relaxed), 1, "one request, two arms");
    for (row, before) in ranked.iter().zip(rows) {
        assert!(row.candidates.reach.as_ref().unwrap().heard.is_empty(), "it goes no further");
        assert_eq!(row.arms[1], applied(&step, &before), "the same list");
    }
}

#[test]
fn a_user_whose_scores_are_no_numbers_is_told() {
    let mut broken = Arc::into_inner(search(vec![step(0.5, Fusion::Ranks)], 5)).unwrap();
    broken.encode = Arc::new(|histories| Ok(vec![f32::NAN; histories.len() * WIDTH]));
    let broken = Arc::new(broken);
    let mut reacher = Reacher::new(Arc::clone(&broken), 0, 1);
    let mut out = Outcomes::new(StageName::Language);
    let row = row(asking(4, Some("blue"), None), 5);
    let questions = reacher.ask(posed(&broken, vec![row]), &mut out);
    reacher.answer(&questions).into_iter().for_each(|answer| reacher.hear(answer, &mut out));
    let (rows, setbacks) = out.into_parts();
    assert!(rows.is_empty());
    assert!(format!("{setbacks:?}").contains(&format!("{:?}", FaultKind::NonFiniteScore)));
}

/// Genres of twelve films, and whose they are.
fn films() -> Arc<Catalogue> {
    let genres: [&[u32]; 12] =
        [&[0], &[0, 1], &[1], &[0], &[0], &[2], &[0], &[2], &[1], &[0], &[2], &[0]];
    let makers: [&[u32]; 12] =
        [&[0], &[0], &[1], &[1], &[2], &[0], &[1], &[2], &[0], &[2], &[1], &[0]];
    catalogue(vec![
        attribute("genre", &["Comedy", "Drama", "Documentary"], &genres, &[]),
        attribute("brand", &["Acme", "Bolt", "Cog"], &makers, &[]),
    ])
}

fn genre(code: u32) -> Control {
    Control { attribute: 0, relation: Relation::Is, codes: vec![code], bound: 0.0 }
}

fn listed(all: Vec<Quota>, own: Vec<Quota>, depth: usize) -> Vec<u32> {
    let row = Candidates {
        query: Query {
            request: Some(Box::new(Request { quotas: own, ..Request::default() })),
            ..Query::default()
        },
        items: (0..12).collect(),
        scores: (0..12).map(|place| 1.0 - place as f32 / 12.0).collect(),
        ..Candidates::default()
    };
    let facts = Facts { catalogue: films(), embeddings: None };
    let step = Step::Quota(Quotas { all, depth });
    step.check(&facts).unwrap();
    let list = step.apply(&row, retrieval_order(&row), &facts);
    assert!(list.scores.is_sorted_by(|a, b| a >= b), "no score rises: {:?}", list.scores);
    list.order
}

#[test]
fn shares_of_a_list_are_kept_at_every_place() {
    let third = Quota::AtLeast(genre(2), 1.0 / 3.0);
    assert_eq!(listed(vec![third.clone()], vec![], 9)[..9], [0, 1, 5, 2, 3, 7, 4, 6, 10]);
    let most = Quota::AtMost(genre(0), 0.5);
    // One of two, two of four; the first may be one.
    assert_eq!(listed(vec![], vec![most.clone()], 6)[..6], [0, 2, 1, 5, 3, 7]);
    let each = Quota::Each { attribute: 1, most: 1 };
    assert_eq!(listed(vec![each.clone()], vec![], 3)[..3], [0, 2, 4], "a brand each");
    // Only three brands: from the fourth place on nothing is allowed, and the order stays.
    assert_eq!(listed(vec![each.clone()], vec![], 5)[..5], [0, 2, 4, 1, 3]);
    // What must not be there counts before what must: documentaries of brands that are left.
    assert_eq!(listed(vec![third, each], vec![], 3)[..3], [0, 2, 7]);
    assert_eq!(listed(vec![], vec![], 5), (0..12).collect::<Vec<u32>>(), "nothing is asked for");
}

proptest! {
    #[test]
    fn quotas_lose_no_item(share in 0.0f32..=1.0, most in 0u32..4, depth in 1usize..20) {
        let quotas = vec![
            Quota::AtLeast(genre(2), share),
            Quota::AtMost(genre(0), 1.0 - share),
            Quota::Each { attribute: 1, most },
        ];
        let mut found = listed(quotas, vec![], depth);
        found.sort_unstable();
        prop_assert_eq!(found, (0..12).collect::<Vec<u32>>());
    }
}

#[test]
fn wishes_about_the_list_are_told_from_wishes_about_items() {
    let requests = Requests::new(films(), RequestSettings::default()).unwrap();
    let third = Quota::AtLeast(genre(2), 1.0 / 3.0);
    let each = |most| Quota::Each { attribute: 1, most };
    let cases: [(&str, Vec<Quota>, &str); 9] = [
        ("a third documentaries, nothing twice from one brand", vec![third, each(1)], ""),
        ("Half dramas.", vec![Quota::AtLeast(genre(1), 0.5)], ""),
        (
            "at most 20% comedy and something gentle",
            vec![Quota::AtMost(genre(0), 0.2)],
            "something gentle",
        ),
        ("no more than two per brand", vec![each(2)], ""),
        ("one from each brand", vec![each(1)], ""),
        (
            "no two of the same brand; 40 percent drama",
            vec![each(1), Quota::AtLeast(genre(1), 0.4)],
            "",
        ),
        ("comedies, but no dramas", vec![], "comedies, but no dramas"),
        ("a half-forgotten brand", vec![], "a half-forgotten brand"),
        ("", vec![], ""),
    ];
    for (text, quotas, rest) in cases {
        assert_eq!(requests.feed(text), (quotas, rest.to_owned()), "{text:?}");
    }
}
