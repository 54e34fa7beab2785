//! The page, the Markdown, the JSON and the screen.

use super::sample;
use proptest::prelude::*;
use std::collections::BTreeMap;
use steerage::metric::{ArmSummary, Estimate, SliceSummary, Summary};
use steerage::report::{
    ArmCosine, ArmCost, ArmTime, Expectation, FaultGroup, Report, StageTime, Sweep, SweepPoint,
    SweptArm, Timings, TrainingPoint, Upstream, from_json, metric_rows, render_html, render_json,
    render_markdown, summary_text, warnings,
};
use steerage::types::{Cost, StageName};

pub fn golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../golden",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn the_markdown_and_the_screen_are_as_agreed() {
    golden("report_rerank_md", &render_markdown(&sample::rerank()));
    golden("report_rerank_screen", &summary_text(&sample::rerank()));
    golden("report_training_screen", &summary_text(&sample::training()));
}

/// Writes the samples where a browser can be pointed at them.
#[test]
#[ignore = "for looking at: REPORT_DIR=/tmp cargo test -- --ignored samples_for_a_browser"]
fn samples_for_a_browser() {
    let folder = std::path::PathBuf::from(std::env::var("REPORT_DIR").unwrap());
    let samples = [
        ("rerank", sample::rerank()),
        ("sweep", sample::swept()),
        ("training", sample::training()),
    ];
    for (name, report) in samples {
        std::fs::write(folder.join(format!("{name}.html")), render_html(&report).unwrap()).unwrap();
    }
    let odd = hostile();
    std::fs::write(folder.join("hostile.html"), render_html(&odd).unwrap()).unwrap();
}

#[test]
fn equal_reports_have_equal_bytes_and_timings_are_in_no_json() {
    let (one, mut two) = (sample::rerank(), sample::rerank());
    assert!(render_html(&one).unwrap() == render_html(&two).unwrap());
    assert!(render_markdown(&one) == render_markdown(&two));
    two.timings = None;
    assert!(render_json(&one) == render_json(&two));
    assert!(render_html(&one).unwrap() != render_html(&two).unwrap(), "timings are shown");
    assert!(from_json(&render_json(&one)).unwrap() == two, "read back, bit for bit");
    let swept = Report { timings: None, ..sample::swept() };
    assert!(from_json(&render_json(&swept)).unwrap() == swept, "points and all");
    assert!(from_json("{}").unwrap_err().to_string().contains("report.json: expected"));
}

const HOSTILE: &str =
    "<script src=\"https://evil.example/x.js\">'|`\u{1b}[2J\u{202e}</script>\n# x";

/// Every text of a report is somebody else's.
fn hostile() -> Report {
    let text = || HOSTILE.to_owned();
    let e = Estimate { mean: 0.5, low: 0.4, high: 0.6, users: 3 };
    let metrics = BTreeMap::from([("ndcg@10".into(), e), ("cp@3".into(), e), (text(), e)]);
    let slice =
        SliceSummary { dimension: text(), label: text(), users: 3, metrics: metrics.clone() };
    let arm = |name: String| ArmSummary {
        arm: name,
        metrics: metrics.clone(),
        versus_baseline: metrics.clone(),
        slices: vec![slice.clone()],
    };
    let arms = vec![arm("b".into()), arm(text())];
    let summary = Summary { baseline: "b".into(), replicates: 9, arms };
    let stage =
        StageTime { stage: text(), rows: 1, seconds: 1.0, rows_per_second: 1.0, share: 1.0 };
    Report {
        title: text(),
        job: text(),
        kind: text(),
        run: text(),
        code: text(),
        spec: text(),
        commands: vec![text()],
        published: Some(text()),
        summary: summary.clone(),
        costs: vec![ArmCost { arm: text(), cost: Cost { prompts: 1, tokens: 9 } }],
        cosines: vec![ArmCosine { arm: text(), cosine: 0.5 }],
        sweep: Some(Sweep {
            arms: vec![SweptArm { name: text(), family: text(), weight: Some(1.0) }],
            points: vec![SweepPoint::new(9, Some(1), None, summary)],
        }),
        faults: vec![FaultGroup {
            stage: StageName::Read,
            reason: text(),
            count: 1,
            keys: vec![text()],
        }],
        expectations: vec![Expectation {
            metric: text(),
            arm: text(),
            expected: 1.0,
            tolerance: 0.1,
            found: None,
            met: false,
        }],
        upstream: vec![Upstream { job: text(), run: text(), result: text() }],
        warnings: vec![text()],
        timings: Some(Timings {
            seconds: 1.0,
            workers: 1,
            machine: text(),
            stages: vec![stage],
            retrieval: Some(1.0),
            arms: vec![ArmTime { arm: text(), methods: 1.0, models: None, reused: None }],
        }),
        ..Report::default()
    }
}

#[test]
fn hostile_names_stay_text() {
    let html = render_html(&hostile()).unwrap();
    assert!(html.contains("&lt;script"), "the name is shown");
    assert!(!html.contains("<script"));
    assert!(!html.contains("src=\""));
    assert!(!html.contains('\u{202e}'), "a name turned the line around it");
    let markdown = render_markdown(&hostile());
    // Code is text as it stands: in spans (whose marks are longer than any inside) and indented.
    let outside = markdown
        .lines()
        .filter(|l| !l.starts_with("    "))
        .flat_map(|l| l.split("``").step_by(2).map(str::to_owned).collect::<Vec<_>>());
    assert!(!outside.collect::<String>().contains("<script"), "{markdown}");
    for text in [markdown, summary_text(&hostile())] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("# x")), "a name broke its line: {text}");
    }
}

#[test]
fn the_page_fetches_nothing() {
    for report in [sample::rerank(), sample::swept(), sample::training(), hostile()] {
        let html = render_html(&report).unwrap();
        for outside in ["http://", "https://", "url(", "@import", "<link", "<script", "<img"] {
            assert!(!html.contains(outside), "{outside} in the page of {}", report.job);
        }
    }
}

/// The tags of `html` open and close like brackets.
fn assert_balanced(html: &str) {
    let void = ["!doctype", "meta", "line", "circle ", "rect", "polyline", "br"];
    let mut open: Vec<&str> = Vec::new();
    let body = html.split_once("</style>").unwrap().1;
    for tag in body.split('<').skip(1) {
        let tag = tag.split_once('>').expect("every < closes").0;
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !void.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

fn page_body(report: &Report) -> String {
    let html = render_html(report).unwrap();
    html.replacen("</style>\n</head>", "</style>", 1).replacen("</body>\n</html>", "</body>", 1)
}

#[test]
fn elements_are_balanced_and_drawings_are_named() {
    for report in
        [sample::rerank(), sample::swept(), sample::training(), hostile(), Report::default()]
    {
        let page = page_body(&report);
        assert_balanced(page.trim_end().trim_end_matches("</html>"));
        let drawings = page.matches("<svg role=\"img\"").count();
        assert_eq!(page.matches("<desc>").count(), drawings);
        assert!(!page.contains("NaN") && !page.contains("inf\""), "a coordinate is not a number");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever people call things, the page stays a page and the screen a screen.
    #[test]
    fn any_names_make_a_page([arm, metric, title] in any::<[String; 3]>()) {
        let e = Estimate { mean: 0.5, low: 0.4, high: 0.6, users: 3 };
        let mut report = single(&metric, e);
        (report.title, report.summary.arms[0].arm) = (title, arm);
        let page = page_body(&report);
        assert_balanced(page.trim_end().trim_end_matches("</html>"));
        prop_assert!(render_markdown(&report).lines().all(|line| !line.contains('\r')));
        prop_assert!(summary_text(&report).lines().all(|line| line.chars().count() <= 100));
        prop_assert!(from_json(&render_json(&report)).unwrap() == report);
    }
}

fn single(metric: &str, estimate: Estimate) -> Report {
    let metrics = BTreeMap::from([(metric.to_owned(), estimate)]);
    let slice = SliceSummary { metrics: metrics.clone(), ..SliceSummary::default() };
    let arm = ArmSummary { arm: "a".into(), metrics, slices: vec![slice], ..ArmSummary::default() };
    let summary = Summary { baseline: "a".into(), replicates: 0, arms: vec![arm] };
    Report { summary, ..Report::default() }
}

#[test]
fn nothing_one_thing_and_not_a_number_are_reports_too() {
    let nan = Estimate { mean: f64::NAN, low: f64::NAN, high: f64::NAN, users: 0 };
    let huge = Estimate { mean: f64::INFINITY, low: f64::MIN, high: f64::MAX, users: u64::MAX };
    let mut diverged = sample::training();
    diverged.training.push(TrainingPoint {
        epoch: 33,
        loss: Some(f64::NAN),
        validation_ndcg: None,
    });
    let mut reports = vec![Report::default(), diverged];
    for metric in ["ndcg@10", "cp@3", "unheard-of", "", "@", "oracle-", "oracle-x@3"] {
        let one = Estimate { mean: 1.0, low: 1.0, high: 1.0, users: 1 };
        reports.extend([one, nan, huge].map(|e| single(metric, e)));
    }
    for report in &reports {
        let page = page_body(report);
        assert!(!page.contains("NaN"), "{page}");
        assert!(!render_markdown(report).contains("NaN"));
        assert!(summary_text(report).lines().count() <= 24);
        let json = render_json(report);
        assert!(render_json(&from_json(&json).unwrap()) == json);
        assert!(metric_rows(report).len() <= 2);
    }
}

#[test]
fn the_screen_is_one_screen() {
    let mut crowded = sample::rerank();
    let arm = crowded.summary.arms[1].clone();
    crowded.summary.arms.extend(vec![arm; 30]);
    crowded.faults.extend(crowded.faults.clone());
    for report in [sample::rerank(), sample::training(), hostile(), crowded] {
        let text = summary_text(&report);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    }
}

#[test]
fn rows_say_what_the_summary_says() {
    let report = sample::rerank();
    let rows = metric_rows(&report);
    let arms = &report.summary.arms;
    let whole: usize = arms.iter().map(|a| a.metrics.len()).sum();
    let parts: usize = arms.iter().flat_map(|a| &a.slices).map(|s| s.metrics.len()).sum();
    assert_eq!(rows.len(), whole + parts);
    let of = |arm: &str| {
        rows.iter().find(|r| r.arm == arm && r.metric == "cp@3" && r.slice_dimension.is_empty())
    };
    assert_eq!(of("retrieval-order").unwrap().difference, None);
    let filtered = of("hard-filter").unwrap();
    assert_eq!(filtered.difference, Some(filtered.mean - of("retrieval-order").unwrap().mean));
}

#[test]
fn warnings_follow_from_the_figures() {
    let has = |report: &Report, text: &str| warnings(report).iter().any(|w| w.contains(text));
    let mut report = sample::rerank();
    assert!(has(&report, "Oracle controls") && has(&report, "above 0.613"));
    assert!(has(&report, "1 of 3 expectations") && has(&report, "12 faults (0.20 % of rows)"));
    let nothing = Estimate { mean: 0.0, low: -0.1, high: 0.1, users: 9 };
    report.summary.arms[4].versus_baseline.insert("ndcg@10".into(), nothing);
    assert!(has(&report, "cannot tell them apart"));
    report.summary.replicates = 0;
    assert!(has(&report, "No bootstrap replicates"));
    assert_eq!(warnings(&Report::default()), Vec::<String>::new());
}

#[test]
fn a_sweep_is_drawn_and_tabled_by_its_points() {
    let report = sample::swept();
    let html = render_html(&report).unwrap();
    let section = html.split_once("<h2>Sweep</h2>").unwrap().1;
    let section = section.split_once("</section>").unwrap().0;
    assert!(section.contains("18 points, 12 arms each"));
    for k in ["K = 10", "K = 20", "K = 50"] {
        assert_eq!(section.matches(&format!("<h3>{k}</h3>")).count(), 1);
    }
    assert_eq!(section.matches("<svg").count(), 18 + 2, "a drawing a point, and by agreement");
    assert_eq!(section.matches("<polyline").count(), 36, "a line a family with weights");
    assert_eq!(section.matches("<table").count(), 18);
    assert!(section.contains("token-control w=0.75: CP@3 "), "each dot says what it is");
    assert_eq!(section.matches("CP@5 ").count(), 18);

    let markdown = render_markdown(&report);
    let section = markdown.split_once("## Sweep").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains("θ = "));
    assert_eq!(rows.count(), 18 * 12);
    let heads = "| point | arm | NDCG@10 ↑ | HR@10 ↑ | CP@1 ↑ | CP@3 ↑ | CP@5 ↑ | CD ↓ |";
    assert_eq!(section.matches(heads).count(), 3, "{section}");
    assert!(!render_markdown(&sample::rerank()).contains("Sweep"));

    let rows = metric_rows(&report);
    let point = |row: &&steerage::report::MetricRow| {
        row.slice_dimension == "sweep" && row.slice_label == "k=20 controls=3 theta=2"
    };
    let found: Vec<_> = rows.iter().filter(point).filter(|row| row.metric == "cp@3").collect();
    assert_eq!(found.len(), 12);
    assert!(found[0].difference.is_none() && found[1].difference.is_some());
}

#[test]
fn failures_are_told_in_words_with_what_to_do() {
    let markdown = render_markdown(&sample::swept());
    let section = markdown.split_once("## Diagnosis\n").unwrap().1.split_once("\n## ").unwrap().0;
    golden("report_diagnosis_md", section);
    let html = render_html(&sample::swept()).unwrap();
    assert!(html.contains("Ground truth against the controls"));

    let mut sound = sample::swept();
    for point in &mut sound.sweep.as_mut().unwrap().points {
        point.learned.clear();
        for arm in &mut point.summary.arms {
            arm.slices.clear();
            arm.metrics.retain(|name, _| !name.contains("ceiling-cp") && !name.contains("unmet"));
            arm.metrics.remove("empty-pool");
        }
    }
    assert!(!render_markdown(&sound).contains("## Diagnosis"));
    assert!(
        render_html(&sound).unwrap().contains("No failure signature: none of empty-pool above")
    );

    let mut without = sample::rerank();
    assert!(!render_markdown(&without).contains("## Diagnosis"));
    for arm in &mut without.summary.arms {
        arm.metrics.get_mut("empty-pool").unwrap().mean = 0.4;
    }
    assert!(render_markdown(&without).contains("Empty pools: for 40.0 % of users"));
}

#[test]
fn costs_are_told_for_a_thousand_users() {
    let cost = |prompts, tokens| Cost { prompts, tokens };
    let named = |arm: &str, cost| ArmCost { arm: arm.into(), cost };
    let time =
        |arm: &str, models| ArmTime { arm: arm.into(), methods: 0.001, models, reused: None };
    let mut report = sample::swept();
    assert!(!render_markdown(&report).contains("## Cost"), "no model, no cost");
    report.facts.users = 500;
    report.costs =
        vec![named("retrieval-order", cost(0, 0)), named("token-control", cost(1_000, 250_000))];
    for point in &mut report.sweep.as_mut().unwrap().points {
        let tokens = 10 * point.k + point.controls.unwrap();
        point.costs = vec![
            named("token-control w=0.5", cost(500, 500 * tokens)),
            named("token-control w=1", cost(500, 500 * tokens)),
        ];
    }
    let timings = report.timings.as_mut().unwrap();
    timings.retrieval = Some(0.004);
    timings.arms = vec![time("retrieval-order", None), time("token-control", Some(0.000_05))];
    let markdown = render_markdown(&report);
    let section = markdown.split_once("## Cost\n").unwrap().1.split_once("\n## ").unwrap().0;
    golden("report_cost_md", section);
    let page = render_html(&report).unwrap();
    let section = page.split_once("<h2>Cost</h2>").unwrap().1.split_once("</section>").unwrap().0;
    assert_eq!(section.matches("<tr><th scope=\"row\">").count(), 3 + 3 * 3);
    assert!(render_json(&report).contains("\"tokens\": 250000"));

    report.timings = None;
    let markdown = render_markdown(&report);
    assert!(markdown.contains("| token-control | 2\u{202f}000 | 500\u{202f}000 | – | – | – |"));
    assert!(markdown.contains("How long it took is not known here"));
    let back = from_json(&render_json(&report)).unwrap();
    assert_eq!(back, report);
}

#[test]
fn saturation_is_control_by_how_many_controls() {
    let mut report = sample::swept();
    let cosine = |arm: &str, cosine| ArmCosine { arm: arm.into(), cosine };
    report.cosines = vec![cosine("token-control", 0.8125)];
    let of = |report: &Report| {
        let markdown = render_markdown(report);
        let found = markdown.split_once("## Saturation\n")?.1.split_once("\n## ")?.0.to_owned();
        Some(found)
    };
    golden("report_saturation_md", &of(&report).unwrap());
    let page = render_html(&report).unwrap();
    let section = page.split_once("<h2>Saturation</h2>").unwrap().1;
    let section = section.split_once("</section>").unwrap().0;
    assert_eq!(section.matches("<tr><th scope=\"row\">").count(), 3 * 3 * 4);
    assert_eq!(from_json(&render_json(&report)).unwrap().cosines, report.cosines);

    // Without a sweep over controls the cosines alone, and nothing without these.
    report.sweep = None;
    let alone = of(&report).unwrap();
    assert!(alone.contains("| token-control | 0.8125 |"), "{alone}");
    report.cosines.clear();
    assert_eq!(of(&report), None);
}
