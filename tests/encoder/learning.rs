//! Does an encoder learn what it is taught, to the same bits however the training is run?

use crate::encoder::bits;
use bytes::Bytes;
use std::collections::BTreeMap;
use steerage::device::Precision;
use steerage::error::{Error, Result};
use steerage::model::encoder::{BertConfig, Encoder, Trained, words};
use steerage::train::encoder::{EncoderLoss, EncoderSettings, Fitted, Lesson, Schedule, fit};
use steerage::train::{Observer, Progress};
use steerage::types::mix64;

const COLOURS: [&str; 4] = ["red", "blue", "green", "white"];
const THINGS: [&str; 4] = ["lamp", "chair", "table", "cup"];

pub fn items() -> Vec<String> {
    let item = |c: &&str| THINGS.map(|thing| format!("{thing}: {c}"));
    COLOURS.iter().flat_map(item).collect()
}

/// "something crimson" means red and so on: words that the items do not say.
pub fn lessons() -> Vec<Lesson> {
    let means = ["crimson", "azure", "emerald", "snowy"];
    let score = |colour: usize, item: u32| if item as usize / 4 == colour { 1.0 } else { 0.0 };
    let lesson = |at: usize| {
        let colour = at % 4;
        let items = (0..6).map(|i| (mix64((at * 7 + i) as u64) % 16) as u32);
        Lesson {
            request: format!("something {}", means[colour]),
            context: if at.is_multiple_of(3) { "liked: lamp".into() } else { String::new() },
            items: items.map(|item| (item, score(colour, item))).collect(),
        }
    };
    (0..48).map(lesson).collect()
}

pub fn encoder(seed: u64) -> Encoder {
    let (lessons, items) = (lessons(), items());
    let texts = lessons.iter().flat_map(|lesson| [&lesson.request, &lesson.context]);
    let json = words::tokenizer(texts.chain(&items).map(String::as_str), 100).unwrap();
    let config = BertConfig {
        vocabulary: 100,
        hidden: 32,
        inner: 64,
        layers: 1,
        heads: 4,
        context_max: 24,
        kinds: 2,
        epsilon: 1e-12,
    };
    Encoder::random(config, &json, Some(16), 24, seed).unwrap()
}

/// The share of lessons whose asked-for items all lie nearer than the others.
fn quality(encoder: &Encoder) -> f64 {
    let items = encoder.items(&items(), 1).unwrap();
    let lessons = lessons();
    let right = lessons.iter().filter(|lesson| {
        let pair = [(lesson.request.clone(), lesson.context.clone())];
        let f = encoder.requests(&pair, 1).unwrap();
        let near = |item: u32| -> f32 {
            items[item as usize * 16..][..16].iter().zip(&f).map(|(x, y)| x * y).sum()
        };
        let of = |score: f32| lesson.items.iter().filter(move |i| i.1 == score).map(|i| near(i.0));
        of(1.0).fold(1.0, f32::min) > of(0.0).fold(-1.0, f32::max)
    });
    right.count() as f64 / lessons.len() as f64
}

pub fn settings(trained: Trained) -> EncoderSettings {
    EncoderSettings {
        batch: 16,
        epochs_max: 12,
        rate: 2e-3,
        heads_rate: 5e-3,
        ..EncoderSettings::new(trained)
    }
}

/// Keeps checkpoints, and ends the training after a step.
#[derive(Default)]
pub struct Watch {
    pub kept: BTreeMap<u64, Vec<u8>>,
    pub stop: Option<u64>,
    pub from: Option<Vec<u8>>,
}

impl Observer for Watch {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.from.clone())
    }
    fn save(&mut self, step: u64, checkpoint: &[u8]) -> Result<()> {
        self.kept.insert(step, checkpoint.to_vec());
        match self.stop == Some(step) {
            true => Err(Error::Input("stopped".into())),
            false => Ok(()),
        }
    }
    fn progress(&mut self, _: &Progress) {}
}

fn run(settings: &EncoderSettings, watch: &mut Watch) -> Result<Fitted> {
    let mut examine = |encoder: &Encoder| Ok(Some(quality(encoder)));
    fit(settings, encoder(5), &lessons(), &items(), &mut examine, watch)
}

pub fn files(fitted: &Fitted) -> Vec<(&'static str, Vec<u8>)> {
    fitted.encoder.to_files().unwrap()
}

#[test]
fn it_learns_what_words_mean() {
    let before = quality(&encoder(5));
    for (trained, loss, negatives, rate) in [
        (Trained::Heads, EncoderLoss::Bce, 0.0, 1.0),
        (Trained::Lora { rank: 4, alpha: 8.0 }, EncoderLoss::Mse, 0.3, 1e-2),
        (Trained::Full, EncoderLoss::Bce, 0.0, 3e-3),
    ] {
        let settings = EncoderSettings {
            loss,
            negatives,
            rate,
            heads_rate: 2e-2,
            scale_rate: 5e-2,
            epochs_max: 60,
            patience: 60,
            ..settings(trained.clone())
        };
        let fitted = run(&settings, &mut Watch::default()).unwrap();
        let after = quality(&fitted.encoder);
        println!("{trained:?}: {before} to {after}; {:?}", fitted.losses);
        assert!(after > before + 0.3, "{trained:?}: {before} to {after}");
        let last = fitted.losses.len() - 1;
        assert!(fitted.losses[last] < 0.8 * fitted.losses[0], "{:?}", fitted.losses);
        let best = fitted.curve.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        assert!((after - best).abs() < 0.05, "the best weights are kept: {best} and {after}");
    }
}

#[test]
fn threads_and_stops_change_no_bit() {
    for trained in [Trained::Heads, Trained::Lora { rank: 2, alpha: 4.0 }, Trained::Full] {
        let settings = EncoderSettings {
            epochs_max: 2,
            negatives: 0.2,
            checkpoint_steps: 2,
            schedule: Schedule::Constant,
            ..settings(trained.clone())
        };
        let whole = run(&settings, &mut Watch::default()).unwrap();
        for threads in [2, 3] {
            let other =
                run(&EncoderSettings { threads, ..settings.clone() }, &mut Watch::default());
            assert_eq!(files(&other.unwrap()), files(&whole), "{trained:?}, {threads} threads");
        }
        let mut stopped = Watch { stop: Some(4), ..Watch::default() };
        assert!(run(&settings, &mut stopped).is_err());
        let mut resumed = Watch { from: Some(stopped.kept[&4].clone()), ..Watch::default() };
        let other = run(&settings, &mut resumed).unwrap();
        assert_eq!(files(&other), files(&whole), "{trained:?}, resumed");
        assert_eq!((other.losses, other.curve), (whole.losses, whole.curve));
        let changed = EncoderSettings { rate: 1e-4, ..settings };
        let mut wrong = Watch { from: Some(stopped.kept[&4].clone()), ..Watch::default() };
        let error = run(&changed, &mut wrong).err().unwrap().to_string();
        assert!(error.contains("other settings"), "{error}");
    }
}

#[test]
fn the_fitted_encoder_is_the_one_in_its_files() {
    let trained = Trained::Lora { rank: 2, alpha: 4.0 };
    let fitted =
        run(&EncoderSettings { epochs_max: 1, ..settings(trained) }, &mut Watch::default())
            .unwrap();
    let files: BTreeMap<_, _> = files(&fitted).into_iter().collect();
    let again = Encoder::from_files("files", None, &|name| Ok(files[name].clone().into())).unwrap();
    assert_eq!(
        bits(&again.items(&items(), 1).unwrap()),
        bits(&fitted.encoder.items(&items(), 1).unwrap())
    );
    assert_eq!(again.logit(0.3).to_bits(), fitted.encoder.logit(0.3).to_bits());
}

#[test]
fn a_decoder_learns() {
    let folder = crate::encoder::files::decoder_folder();
    let open = || Encoder::open(folder.path(), Some(Precision::F32), None, 16, 0).unwrap();
    let items = ["x", "toy", "story"].map(str::to_owned);
    let lesson = |(request, meant): (&str, u32)| Lesson {
        request: request.into(),
        context: String::new(),
        items: (0..3).map(|item| (item, if item == meant { 1.0 } else { 0.0 })).collect(),
    };
    let lessons = [("toy x", 2), ("story", 0), ("x x", 1)].map(lesson);
    let settings = EncoderSettings {
        heads_rate: 1e-2,
        epochs_max: 60,
        schedule: Schedule::Constant,
        ..EncoderSettings::new(Trained::Heads)
    };
    let learn = |settings: &EncoderSettings| {
        let nothing = &mut |_: &Encoder| Ok(None);
        fit(settings, open(), &lessons, &items, nothing, &mut Watch::default())
    };
    let losses = learn(&settings).unwrap().losses;
    assert!(losses[59] < 0.3 * losses[0], "{losses:?}");
    // With its weights, or a change of them, too: further in as many steps.
    for trained in [Trained::Full, Trained::Lora { rank: 4, alpha: 8.0 }] {
        let settings = EncoderSettings { trained, rate: 3e-3, ..settings.clone() };
        let fitted = learn(&settings).unwrap();
        let [first, last] = [fitted.losses[0], fitted.losses[59]];
        assert!(last < 0.1 * first && last < losses[59], "{:?}", fitted.losses);
        let files: BTreeMap<_, _> = fitted.encoder.to_files().unwrap().into_iter().collect();
        let file = |name: &str| Ok(Bytes::from(files[name].clone()));
        let again = Encoder::from_files("again", None, &file).unwrap();
        let [found, expected] = [&again, &fitted.encoder].map(|e| e.items(&items, 1).unwrap());
        assert_eq!(bits(&found), bits(&expected), "what was learned is in the weights");
    }
}

#[test]
fn each_group_has_its_own_rate() {
    let before = encoder(5).heads().values().to_vec();
    let settings =
        EncoderSettings { epochs_max: 1, heads_rate: 0.0, decay: 0.0, ..settings(Trained::Full) };
    let fitted = run(&settings, &mut Watch::default()).unwrap();
    let after = fitted.encoder.heads().values();
    let end = before.len() - 2;
    assert_eq!(bits(&after[..end]), bits(&before[..end]));
    assert_ne!(after[end..], before[end..]);
    assert_ne!(fitted.encoder.to_files().unwrap()[1], encoder(5).to_files().unwrap()[1]);
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let said = |settings: &EncoderSettings, lessons: &[Lesson]| {
        let nothing = &mut |_: &Encoder| Ok(None);
        let found = fit(settings, encoder(5), lessons, &items(), nothing, &mut Watch::default());
        found.err().unwrap().to_string()
    };
    let good = settings(Trained::Heads);
    let lesson = |item, score| [Lesson { items: vec![(item, score)], ..Lesson::default() }];
    assert!(said(&good, &[]).contains("none of 0 lessons has an item"));
    assert!(said(&good, &lesson(16, 1.0)).contains("lesson 1: item 16: expected one of 16"));
    assert!(said(&good, &lesson(1, 1.5)).contains("score 1.5: expected 0 to 1"));
    assert!(said(&good, &lesson(1, f32::NAN)).contains("score NaN"));
    let none = EncoderSettings { batch: 0, negatives: f32::NAN, ..good };
    let found = said(&none, &lessons());
    assert!(found.contains("batch = 0") && found.contains("negatives = NaN"), "{found}");
    let rank = settings(Trained::Lora { rank: 0, alpha: 1.0 });
    assert!(said(&rank, &lessons()).contains("rank of 1"));
}
