//! Is a model that people bring trained, compared with itself, and read by others?

use crate::decoder::{bits, golden};
use crate::support::{Shop, assert_same, names};
use std::fs;
use std::path::PathBuf;
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::Adapter;
use steerage::model::decoder::{Decoder, DecoderConfig, DecoderFiles, Prompt, Rope};
use steerage::model::tokenizer::Tokenizer;
use steerage::model::words;
use steerage::stage::prompt::TEMPLATE;

const RERANKER: &str = r#"
kind = "train-reranker"
name = "reranker"
sequences = "run:prepare"
retriever = "run:retriever"

[base]
path = "base"

[lora]
rank = 2
alpha = 4.0

[prompt]
attributes = ["price", "category"]
history_max = 2
candidates = 4
text_chars_max = 20

[examples]
users_max = 60

[train]
epochs_max = 2

[optimizer]
learning_rate = 0.03
"#;

const ARMS: &str = r#"
[[arm]]
name = "adapter"
steps = [{ method = "token-control", reranker = "run:reranker", weight = 1.0 }]

[[arm]]
name = "zero-shot"
steps = [{ method = "token-control", reranker = "run:reranker", weight = 1.0, adapter = false }]
"#;

/// What a prompt says, and the names of the control tokens.
const WORDS: &str = "price price category or not at most least 10 25 50 100 lamp chair";

/// `tokenizer.json` with so many labels and about as many words.
fn tokenizer(labels: usize, words_max: usize) -> Vec<u8> {
    words::tokenizer(std::iter::empty(), [WORDS, TEMPLATE].into_iter(), words_max, labels).unwrap()
}

/// The demo with the job above and its two arms.
fn shop() -> Shop {
    let shop = Shop::demo();
    shop.write("reranker.toml", RERANKER);
    let job = fs::read_to_string(shop.path("demo.toml")).unwrap();
    shop.write("demo.toml", job + ARMS);
    shop
}

/// [`shop`] with a random model in Hugging Face layout, which has more rows than its tokenizer has
/// tokens, as those that people bring often do. Returns how many.
fn shop_with_a_base(tied: bool) -> (Shop, u32) {
    let shop = shop();
    let json = tokenizer(4, 1000);
    let vocabulary = Tokenizer::parse("t", &json).unwrap().vocabulary() + 7;
    let config = DecoderConfig {
        vocabulary,
        hidden: 16,
        inner: 24,
        layers: 2,
        heads: 2,
        shared: 1,
        width: 8,
        context_max: 200,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied,
        qkv_bias: true,
        output_bias: false,
    };
    for (name, bytes) in Decoder::random(config, 5).unwrap().to_files().unwrap() {
        shop.write(&format!("base/{name}"), bytes);
    }
    shop.write("base/tokenizer.json", json);
    (shop, vocabulary as u32)
}

/// The golden Qwen2 model, in bf16 and with a context of 64, with a tokenizer.
fn shop_with_golden(tokenizer: &[u8]) -> Shop {
    let shop = shop();
    for name in ["config.json", "model.safetensors"] {
        shop.write(&format!("base/{name}"), fs::read(golden("qwen2").join(name)).unwrap());
    }
    shop.write("base/tokenizer.json", tokenizer);
    shop
}

/// The folder with what was trained.
fn trained(shop: &Shop) -> PathBuf {
    shop.path(&format!("{}/parts/epoch=000000", shop.run_of("runs", "reranker")))
}

#[test]
fn an_adapter_its_base_and_the_retriever_are_arms_of_one_run() {
    let (shop, vocabulary) = shop_with_a_base(true);
    shop.run("demo.toml", &["--workers", "1"]);
    shop.run("demo.toml", &["--workers", "3", "--set", "run.root=three"]);
    assert_same(&shop.objects("three"), &shop.objects("runs"), "three workers");
    let run = shop.run_of("runs", "demo");
    let lists = shop.lists(&run);
    let report = shop.report(&run);
    let arms = report["summary"]["arms"].as_array().unwrap();
    let figures = |name: &str| {
        let arm = arms.iter().find(|arm| arm["arm"] == name);
        arm.unwrap_or_else(|| panic!("no arm {name}"))["metrics"].clone()
    };
    assert_ne!(figures("adapter"), figures("zero-shot"));
    assert_ne!(figures("zero-shot"), figures("retrieval-order"));
    let said = shop.say(&["explain", &run, "--user", &lists[0].user.to_string()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for arm in ["adapter", "zero-shot"] {
        assert!(said.out.contains(&format!("prompt of {arm}: ")), "{}", said.out);
    }
    assert_eq!(names(&trained(&shop)), ["adapter_config.json", "adapter_model.safetensors"]);
    let config = fs::read_to_string(trained(&shop).join("adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let added = serde_json::json!([vocabulary, vocabulary + 1]);
    assert_eq!(config["trainable_token_indices"], added, "after the model's last row");
    assert_eq!(config["base_model_name_or_path"], "base");
}

/// Rows of control tokens begin as the means of their names' rows, and what is written is what was
/// learned: `steerage logits` reads the base and the adapter as they lie there.
#[test]
fn what_a_run_wrote_is_read_beside_the_base_alone() {
    for tied in [true, false] {
        let (shop, vocabulary) = shop_with_a_base(tied);
        shop.run("reranker.toml", &[]);
        let (base, adapter) = (shop.path("base"), trained(&shop));
        let tokenizer = Tokenizer::open(&base).unwrap();
        let meanings = ["price", "category"].map(|name| tokenizer.encode(name).unwrap());
        let mut decoder =
            DecoderFiles::open_extended(&base, meanings.to_vec()).unwrap().load().unwrap();
        let width = decoder.config().hidden;
        let before = decoder.weights(); // which begin with the embeddings
        let adapter_read = Adapter::open(&adapter, decoder.config()).unwrap();
        let (tokens, rows) = adapter_read.rows();
        assert_eq!(tokens, [vocabulary, vocabulary + 1]);
        let row = |token: u32| &before[token as usize * width..][..width];
        for ((token, learned), meaning) in tokens.iter().zip(rows.chunks(width)).zip(&meanings) {
            assert_eq!(row(*token), row(meaning[0]), "a name of one token");
            let change = row(*token).iter().zip(learned).map(|(a, b)| (a - b).abs());
            let change = change.fold(0.0, f32::max);
            assert!(change > 0.0 && change < 0.5, "{change}");
        }
        let number = decoder.attach(&adapter_read);
        let prompt =
            Prompt { tokens: vec![3, vocabulary, 1, vocabulary + 1], adapter: Some(number) };
        let exact = decoder.logits(&Cpu, std::slice::from_ref(&prompt), decoder.head(), 1).unwrap();
        shop.write("tokens", serde_json::to_string(&prompt.tokens).unwrap());
        let adapter = adapter.display().to_string();
        let said =
            shop.say(&["logits", "--model", "base", "--adapter", &adapter, "--tokens", "tokens"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        let found: Vec<f32> = serde_json::from_str(&said.out).unwrap();
        assert_eq!(found.len(), exact.len());
        let known = if tied { exact.len() } else { vocabulary as usize };
        assert_eq!(bits(&found[..known]), bits(&exact[..known]), "tied: {tied}");
        assert!(found[known..].iter().all(|logit| *logit == 0.0), "{:?}", &found[known..]);
    }
}

/// Without `[lora]` every weight of a model in bf16 is trained, in f32; and its prompts are as long
/// as it can read, whatever the job allows.
#[test]
fn every_weight_of_a_base_is_trained_and_prompts_fit_its_context() {
    let shop = shop_with_golden(&tokenizer(2, 70));
    let template = "template = \"\"\"{% for item in history %}{% for i in range(9) %}\
                    {{ item.title }} {% endfor %}{% endfor %}{% for item in candidates %}\
                    {{ item.label }}{% for a in item.attributes %} {{ a.token }} {{ a.value }}\
                    {% endfor %}{% endfor %}\"\"\"\ncandidates = 2";
    let changes = [("[lora]\nrank = 2\nalpha = 4.0\n", ""), ("candidates = 4", template)];
    shop.change("reranker.toml", &changes);
    shop.change("reranker.toml", &[("history_max = 2", "history_max = 50")]);
    shop.run("demo.toml", &[]);
    let config = DecoderConfig::open(&trained(&shop)).unwrap();
    assert_eq!((config.vocabulary, config.context_max), (92, 64));
    let whole = Decoder::open(&trained(&shop), None).unwrap();
    assert_eq!(whole.precision(), Precision::F32);
}

#[test]
fn a_base_that_does_not_fit_the_job_is_refused_in_words() {
    let refused = |shop: &Shop| {
        let said = shop.say(&["run", "reranker.toml"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        said.last()
    };
    let shop = shop_with_golden(&tokenizer(2, 20));
    insta::assert_snapshot!(refused(&shop), @r#"
exit Some(2)
steerage: training: no example could be made of 54 moments, the first because:
the prompt has 69 tokens without any history, and 64 fit: raise
prompt.tokens_max, or show fewer candidates or shorter titles
"#);
    shop.change("reranker.toml", &[("candidates = 4", "candidates = 9")]);
    insta::assert_snapshot!(refused(&shop), @r#"
exit Some(2)
steerage: base/tokenizer.json: expected 9 labels that are single tokens, of A to
Z, a to z and AA to ZZ, found 4: rank fewer candidates, or use another model
"#);
    shop.change("reranker.toml", &[("candidates = 9", "candidates = 4")]);
    shop.write(
        "base/tokenizer.json",
        words::tokenizer(std::iter::empty(), long(), 200, 4).unwrap(),
    );
    insta::assert_snapshot!(refused(&shop), @r#"
exit Some(2)
steerage: base: tokenizer.json: expected tokens up to 89, the last row of the
model's embeddings, found 104: take the tokenizer that belongs to the model
"#);
    fs::remove_file(shop.path("base/tokenizer.json")).unwrap();
    insta::assert_snapshot!(refused(&shop), @r#"
exit Some(2)
steerage: read base/tokenizer.json: No such file or directory (os error 2)
"#);
    fs::remove_dir_all(shop.path("base")).unwrap();
    insta::assert_snapshot!(refused(&shop), @r#"
exit Some(2)
steerage: open base: No such file or directory (os error 2)
"#);
}

/// A hundred words.
fn long() -> impl Iterator<Item = &'static str> {
    let text: String = (0..100).map(|word| format!("word{word} ")).collect();
    std::iter::once(&*text.leak())
}
