//! Does a job file mean what its author thinks, and does it say so when it does not?

mod fields;

use proptest::prelude::*;
use std::path::{Path, PathBuf};
use steerage::model::retriever::{Resident, RetrieverConfig};
use steerage::spec::{Job, Kind, load};

/// Loads a job from its text.
fn read(text: &[u8], sets: &[&str]) -> Result<Job, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    std::fs::write(&file, text).unwrap();
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    load(&file, &sets).map_err(|e| e.to_string().replace(&file.display().to_string(), "job.toml"))
}

/// What is said of a job with mistakes.
fn refusal(text: &str, sets: &[&str]) -> String {
    read(text.as_bytes(), sets).expect_err("the job has mistakes")
}

const RERANK: &str = r#"
kind = "rerank"
name = "x"
sequences = "run:prepare"
retriever = "run:retriever"

[[arm]]
name = "a"
"#;

#[test]
fn every_mistake_is_reported_at_once_with_its_path() {
    let text = r#"
        kind = "rerank"
        name = "two words"
        sequences = "prepare"
        retriever = "run:retriever"
        [retrieve]
        k = "many"
        [[arm]]
        name = "a"
        steps = [{ method = "mmr", lambda = 2.0 }]
        [metrics]
        k = [10, 5]
    "#;
    assert_eq!(
        refusal(text, &[]),
        "job.toml: 5 problems\n  \
           name: expected 1 to 80 of a-z A-Z 0-9 - _ ., found \"two words\"\n  \
           retrieve.k: invalid type: string \"many\", expected usize\n  \
           sequences: expected \"run:JOB\" for the job file JOB.toml, found \"prepare\"\n  \
           arm[0].steps[0].lambda: 2 is not between 0 and 1\n  \
           metrics.k: expected ascending cut-offs, found [10, 5]"
    );
}

#[test]
fn unknown_keys_are_named_with_what_could_have_been_meant() {
    let text = format!("retreive = 1\n{RERANK}[retrieve]\ndepth = 3\n[run]\nworker = 2\n");
    let said = refusal(&text, &[]);
    assert!(said.starts_with("job.toml: 3 problems\n"), "{said}");
    for line in [
        "  run.worker: unknown field `worker`, expected one of `root`, `workers`,",
        "  retreive: unknown field `retreive`, expected one of `sequences`, `retriever`,",
        "  retrieve.depth: unknown field `depth`, expected one of `k`, `exclude_seen`, `exclude`",
        ", `kind`, `name`, `run`, `expect`, `vars`\n",
    ] {
        assert!(said.contains(line), "expected {line:?} in\n{said}");
    }
}

#[test]
fn a_sweep_is_a_grid_that_the_job_can_fill() {
    let drawn = "[retrieve]\nk = 20\n[controls]\nfrom = \"sampled\"\n\
                 attributes = [\"price\", \"brand\"]\n";
    let swept = |sweep: &str| format!("{RERANK}{drawn}[sweep]\n{sweep}");
    let wrong = "k = [50, 10, 0]\ncontrols = []\ntheta = [1, 3]\nweight = [0.0, 1.5]";
    assert_eq!(
        refusal(&swept(wrong), &[]),
        "job.toml: 7 problems\n  \
           sweep.k: expected ascending numbers, found [50, 10, 0]\n  \
           sweep.k[2]: 0 is not between 1 and 10000\n  \
           retrieve.k: expected at least 50, the largest of sweep.k, found 20\n  \
           sweep.controls: expected ascending numbers, found []\n  \
           sweep.theta[1]: 3 is not between 1 and 2\n  \
           sweep.weight[1]: 1.5 is not between 0 and 1\n  \
           sweep.weight: no arm has a token-control or language-control step"
    );
    assert_eq!(
        refusal(&swept(""), &[]),
        "job.toml: 1 problem\n  sweep: expected k, controls, theta, weight or hops, found none"
    );
    let nobody = refusal(&format!("{RERANK}[sweep]\ntheta = [1]\n"), &[]);
    assert!(nobody.contains("controls.from: nobody asks for anything"), "{nobody}");
    let many: Vec<usize> = (1..=20).collect();
    let arms: String = (0..30).map(|a| format!("[[arm]]\nname = \"arm-{a}\"\n")).collect();
    let large = refusal(&swept(&format!("k = {many:?}\n{arms}")), &[]);
    assert!(large.contains("sweep: 20 points × 31 arms are 620, more than 512"), "{large}");
}

#[test]
fn an_encoder_learns_on_one_device_and_reads_on_several() {
    let on_two = |kind: &str| format!("name = \"x\"\nkind = \"{kind}\"\ndevice = \"cuda:0,1\"\n");
    let learns = on_two("train-encoder\"\nlabels = \"run:l");
    let said = refusal(&learns, &[]);
    assert!(said.contains("device: an encoder computes on one device, found cuda:0,1"), "{said}");
    read(learns.replace(",1", "").as_bytes(), &[]).unwrap();
    read(on_two("embed\"\nencoder = \"run:e").as_bytes(), &[]).unwrap();
}

/// Before anything is read.
#[test]
fn a_retriever_that_a_device_does_not_take_is_refused_with_all_that_is_wrong() {
    let job = "kind = \"train-retriever\"\nname = \"r\"\nsequences = \"run:p\"\n\
               [model]\nhidden = 900\nheads = 2\n";
    read(job.as_bytes(), &[]).unwrap();
    let said = read(job.as_bytes(), &["device=cuda:0"]).unwrap_err().to_string();
    assert!(said.contains("model.hidden: expected a multiple of 8, at most 512"), "{said}");
    assert!(said.contains("model.heads: expected heads of at most 128 on a device"), "{said}");
    assert!(read(job.as_bytes(), &["device=cuda:0", "model.hidden=128"]).is_ok());
    // Just what the model itself refuses.
    for (hidden, heads) in [(8, 1), (50, 1), (128, 1), (256, 1), (256, 2), (512, 4), (520, 8)] {
        let config = RetrieverConfig { items: 9, hidden, blocks: 1, heads, length_max: 9 };
        let sets = [format!("model.hidden={hidden}"), format!("model.heads={heads}")];
        let read = read(job.as_bytes(), &["device=cuda:0", &sets[0], &sets[1]]);
        assert_eq!(read.is_err(), Resident::refusal(&config).is_some(), "{hidden} {heads}");
    }
    let said = read(job.as_bytes(), &["device=cuda:0,1", "model.hidden=128"]).unwrap_err();
    assert!(said.to_string().contains("device: a retriever computes on one device"), "{said}");
}

#[test]
fn the_points_of_a_sweep_differ() {
    let text = r#"
        kind = "rerank"
        name = "x"
        sequences = "run:prepare"
        retriever = "run:retriever"
        [controls]
        from = "oracle"
        attributes = ["price", "brand", "year"]
        [[arm]]
        name = "retrieval-order"
        [[arm]]
        name = "steered"
        steps = [{ method = "token-control", reranker = "run:r", weight = 0.3 }]
        [sweep]
        controls = [1, 3]
        theta = [1, 2]
    "#;
    let rerank = |sets: &[&str]| match read(text.as_bytes(), sets).unwrap().kind {
        Kind::Rerank(spec) => spec,
        other => panic!("expected a rerank job, found {}", other.name()),
    };
    let spec = rerank(&["sweep.k=[10, 100]"]);
    let points: Vec<_> = spec.points().into_iter().map(|p| (p.k, p.controls, p.theta)).collect();
    let of = |k: usize| [(1, 1), (3, 1), (3, 2)].map(|(n, t)| (k, Some(n), Some(t)));
    assert_eq!(points, [of(10), of(100)].concat(), "one control can be met once");
    let names: Vec<_> = spec.swept_arms().into_iter().map(|swept| swept.arm.name).collect();
    assert_eq!(names, ["retrieval-order", "steered"]);

    let spec = rerank(&["sweep.weight=[0.0, 0.25, 1.0]"]);
    let swept = spec.swept_arms();
    let names: Vec<&str> = swept.iter().map(|swept| swept.arm.name.as_str()).collect();
    assert_eq!(names, ["retrieval-order", "steered w=0", "steered w=0.25", "steered w=1"]);
    assert_eq!((swept[2].family.as_str(), swept[2].weight), ("steered", Some(0.25)));
    let zero = r#"
        [[arm]]
        name = "zero-shot"
        steps = [{ method = "token-control", reranker = "run:r", weight = 0.3, adapter = false }]
        [[arm]]
        name = "another"
        steps = [{ method = "token-control", reranker = "run:r", seed = 1, adapter = false }]
        [sweep]"#;
    let paired = text.replace("        [sweep]", zero);
    let paired = read(paired.as_bytes(), &["sweep.weight=[0.0, 1.0]"]).unwrap();
    let Kind::Rerank(paired) = paired.kind else { panic!("a rerank job") };
    assert_eq!(paired.adapter_pairs(), [(2, 4)], "weight by weight, and only its like");
    let said =
        refusal(&text.replace("retrieval-order", "steered w=0.25"), &["sweep.weight=[0.25]"]);
    assert!(said.contains("sweep.weight: \"steered w=0.25\" is there twice"), "{said}");
}

/// A job that says nothing of it is the job that it was.
#[test]
fn a_precision_makes_another_job() {
    let arm = |more: &str| {
        format!(
            "kind = \"rerank\"\nname = \"r\"\nsequences = \"run:p\"\nretriever = \"run:t\"\n\
             [[arm]]\nname = \"a\"\n\
             steps = [{{ method = \"token-control\", reranker = \"run:r\", weight = 1.0{more} }}]\n\
             [[guide]]\nname = \"g\"\n[guide.decoder]\npath = \"p\"\n"
        )
    };
    let written = |text: &str| match read(text.as_bytes(), &[]).unwrap().kind {
        Kind::Rerank(spec) => serde_json::to_string(&spec).unwrap(),
        other => panic!("expected a rerank job, found {}", other.name()),
    };
    let plain = written(&arm(""));
    assert!(!plain.contains("precision"), "{plain}");
    assert!(written(&arm(", precision = \"fp8\"")).contains("\"precision\":\"fp8\""));
    let guide = format!("{}precision = \"fp8\"\n", arm(""));
    assert!(written(&guide).contains("\"precision\":\"fp8\""));
    let said = refusal(&arm(", precision = \"int8\""), &[]);
    assert!(said.contains("int8"), "{said}");
    let encoder = "kind = \"train-encoder\"\nname = \"e\"\nlabels = \"run:l\"\n\
                   [base]\nprecision = \"fp8\"\n";
    let said = refusal(encoder, &[]);
    let expected = "base.precision: expected \"f32\" or \"bf16\", found \"fp8\"";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn an_arm_that_cannot_be_read_does_not_hide_the_next() {
    let text = r#"
        kind = "rerank"
        name = "x"
        sequences = "run:prepare"
        retriever = "run:retriever"
        [[arm]]
        name = "a"
        steps = [{ method = "guess" }]
        [[arm]]
        name = "b"
        steps = [{ method = "dpp", theta = 50.5 }]
    "#;
    let said = refusal(text, &[]);
    assert!(said.contains("unknown variant `guess`, expected one of `retrieval-order`"), "{said}");
    assert!(said.contains("theta: 50.5 is not between 0 and 50"), "{said}");
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_place() {
    let said = refusal("kind = \"rerank\nname = 3", &[]);
    assert!(said.contains("line 1, column 15"), "{said}");
    assert_eq!(
        refusal("name = \"x\"", &[]),
        "job.toml: 1 problem\n  \
           kind: expected \"prepare\", \"train-retriever\", \"train-reranker\", \"label\", \"train-encoder\", \"embed\", \"rerank\" or \"reachability\", found \"\""
    );
}

#[test]
fn set_overrides_what_the_file_says() {
    let job = read(RERANK.as_bytes(), &["retrieve.k=7", "run.root=/elsewhere", "publish=a"]);
    let job = job.unwrap();
    assert_eq!(job.run.root, Path::new("/elsewhere")); // no TOML, so it is a text
    let Kind::Rerank(spec) = job.kind else { panic!("expected a rerank job") };
    assert_eq!((spec.retrieve.k, spec.publish.as_deref()), (7, Some("a")));
    assert_eq!(
        refusal(RERANK, &["run.workers=18446744073709551615", "publish=\"a", "run.root="]),
        "job.toml: 3 problems\n  \
           --set: run.workers=18446744073709551615: u64 value was too large\n  \
           --set: publish=\"a: invalid basic string, expected `\"`\n  \
           run.root: expected a folder, found nothing"
    );
    assert_eq!(
        refusal(RERANK, &["retrieve.k", "name.x=1", "retrieve.k=0"]),
        "job.toml: 3 problems\n  \
           --set: expected key=value, found \"retrieve.k\"\n  \
           --set: name.x: name is not a table\n  \
           retrieve.k: 0 is not between 1 and 10000"
    );
}

#[test]
fn variables_are_filled_in_and_missing_ones_named() {
    let text = r#"
        kind = "prepare"
        name = "x"
        [vars]
        data = "here"
        [interactions]
        paths = ["${data}/a", "${elsewhere}/b"]
        user = "u"
        item = "i"
    "#;
    let job = read(text.as_bytes(), &["vars.elsewhere=there", "vars.data=\"moved\""]).unwrap();
    let Kind::Prepare(spec) = job.kind else { panic!("expected a prepare job") };
    assert_eq!(spec.interactions.paths, ["moved/a", "there/b"]);
    let open = text.replace("${elsewhere}", "${elsewhere");
    assert_eq!(
        refusal(&open, &[]),
        "job.toml: 1 problem\n  interactions.paths[1]: expected a `}` after `${`, found \
         \"${elsewhere/b\""
    );
    assert_eq!(
        refusal(text, &[]),
        "job.toml: 1 problem\n  interactions.paths[1]: ${elsewhere} is not set: add `elsewhere` to \
         [vars] or --set vars.elsewhere=…"
    );
}

#[test]
fn where_a_job_runs_and_where_its_data_lies_are_no_part_of_what_it_is() {
    let essence = |sets: &[&str]| read(RERANK.as_bytes(), sets).unwrap().essence();
    let plain = essence(&[]);
    assert_eq!(plain, essence(&["run.workers=3", "run.root=x", "sequences=run:other/prepare"]));
    assert_ne!(plain, essence(&["retrieve.k=99"]));
}

/// Every job file that comes with the code.
fn shipped() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_job_that_comes_with_the_code_is_right_and_so_is_what_it_reads() {
    let jobs = shipped();
    assert!(jobs.len() >= 18, "found {} jobs", jobs.len());
    let mut names = std::collections::BTreeSet::new();
    for file in jobs {
        let job = load(&file, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(names.insert(job.name.clone()), "{}: its name is taken", file.display());
        for upstream in job.upstream() {
            let read = load(&upstream.file, &[]);
            let read = read.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(read.kind.name(), upstream.kind, "{}", file.display());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, &[]);
    }

    #[test]
    fn a_job_with_a_piece_replaced_never_panics(
        which in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 0usize..40,
        piece in r#"[a-z0-9\[\]{}="'.,$# \n-]{0,20}"#,
        set in r#"[a-z.]{0,12}=?[a-z0-9\[{"]{0,6}"#,
    ) {
        let files = shipped();
        let mut text = std::fs::read(which.get(&files)).unwrap();
        let from = from.index(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, piece.bytes());
        let _ = read(&text, &[&set]);
    }
}
