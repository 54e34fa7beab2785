//! What a rerank job's report says of ways through graphs of nodes.

use crate::report::{Sheet, Traffic};
use crate::spec::{NodeGraphSpec, RerankSpec, StepSpec};
use crate::stage::node_graph::WalkSums;
use crate::types::{Cost, ReplyClass};

/// Ways that are shown, the most common ones.
const WAYS_MAX: usize = 8;

/// A sheet for each arm that goes ways, from the sums of its graph and what its models read.
pub fn sheets(spec: &RerankSpec, sums: &[WalkSums], costs: &[Cost]) -> Vec<Sheet> {
    let graph = |step: &StepSpec| match step {
        StepSpec::NodeGraph(graph) => Some(graph.clone()),
        _ => None,
    };
    let arms = spec.arms.iter().enumerate();
    let graphs = arms.filter_map(|(at, arm)| Some((at, arm, arm.steps.iter().find_map(graph)?)));
    let pairs = graphs.zip(sums);
    let cost = |at: usize| costs.get(at).copied().unwrap_or_default();
    pairs.map(|((at, arm, graph), sums)| sheet(spec, &arm.name, &graph, sums, cost(at))).collect()
}

fn sheet(
    spec: &RerankSpec,
    arm: &str,
    graph: &NodeGraphSpec,
    sums: &WalkSums,
    cost: Cost,
) -> Sheet {
    let metrics = &spec.metrics;
    let diversity = graph.diversity.is_some() || metrics.diversity.is_some();
    let fairness = graph.fairness.is_some() || metrics.fairness.is_some();
    let mut names = graph.node_names(diversity, fairness);
    names.push("stop".into());
    let ways = sums.ways();
    let users: u64 = ways.iter().map(|(_, count)| count).sum();
    let share = |count: u64| format!("{:.1} %", 100.0 * count as f64 / users.max(1) as f64);
    let named = |way: &[u8]| {
        let name = |node: &u8| names.get(usize::from(*node)).map_or("?", String::as_str);
        way.iter().map(name).collect::<Vec<&str>>().join(" › ")
    };
    let rows = ways.iter().take(WAYS_MAX).map(|(way, count)| {
        (named(way), vec![way.len().to_string(), count.to_string(), share(*count)])
    });
    let mut rows: Vec<(String, Vec<String>)> = rows.collect();
    let shown: u64 = ways.iter().take(WAYS_MAX).map(|(_, count)| count).sum();
    if users > shown {
        let more = ways.len() - WAYS_MAX;
        let left = users - shown;
        rows.push((
            format!("{more} other ways"),
            vec![String::new(), left.to_string(), share(left)],
        ));
    }
    Sheet {
        title: format!("Ways of {arm}"),
        note: note(graph, sums, &ways, users, cost),
        head: "way, then stop".into(),
        columns: ["visits", "users", "share"].map(str::to_owned).to_vec(),
        rows,
        caption: "Users from node to node".into(),
        traffic: Some(traffic(&names, &ways)),
        ..Sheet::default()
    }
}

/// The goal, and what the ways come to in one paragraph.
fn note(
    graph: &NodeGraphSpec,
    sums: &WalkSums,
    ways: &[(Vec<u8>, u64)],
    users: u64,
    cost: Cost,
) -> String {
    let goal = graph
        .goal
        .as_ref()
        .map_or("Each user's own Goal.".to_owned(), |goal| format!("Goal: “{goal}”."));
    let visits: u64 = ways.iter().map(|(way, count)| way.len() as u64 * count).sum();
    let each = |total: u64| total as f64 / users.max(1) as f64;
    let mut note = format!(
        "{goal} {:.2} visits a user, at most {}; the limit ended {:.1} % of the ways.",
        each(visits),
        graph.hops_max,
        100.0 * each(sums.limited)
    );
    if sums.by_models > 0 {
        note += &format!(
            " Models guided {:.1} % of the users: {:.0} tokens for each of these.",
            100.0 * each(sums.by_models),
            cost.tokens as f64 / sums.by_models as f64
        );
    }
    let answers: u64 = sums.replies.iter().sum();
    let classes = ["could not be wrong", "ok", "of the wrong format", "with repetitions"];
    let classes = classes.into_iter().chain(["with missing candidates"]);
    let told: Vec<String> = ReplyClass::ALL
        .iter()
        .zip(classes)
        .zip(sums.replies)
        .filter(|(_, count)| *count > 0)
        .map(|((_, class), count)| {
            format!("{:.1} % {class}", 100.0 * count as f64 / answers.max(1) as f64)
        })
        .collect();
    if sums.replies[0] < answers {
        note += &format!(" Answers: {}.", told.join(", "));
    }
    note
}

/// Users on each way from node to node, the end of every way included.
fn traffic(names: &[String], ways: &[(Vec<u8>, u64)]) -> Traffic {
    let mut counts = vec![vec![0u64; names.len()]; names.len()];
    let stop = names.len() - 1;
    for (way, users) in ways {
        let ends = way.iter().skip(1).map(|node| usize::from(*node)).chain([stop]);
        for (from, to) in way.iter().zip(ends) {
            if let Some(count) = counts.get_mut(usize::from(*from)).and_then(|row| row.get_mut(to))
            {
                *count += users;
            }
        }
    }
    Traffic { nodes: names.to_vec(), counts }
}
