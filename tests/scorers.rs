//! What does token control make of lists at the edges: none, one, equals, damaged weights?

use crate::rerankers::prompter;
use std::sync::Arc;
use steerage::device::Precision;
use steerage::model::decoder::{Decoder, DecoderConfig, Resident, Rope, SharedDriver};
use steerage::stage::reader::Reader;
use steerage::stage::rerank::retrieval_order;
use steerage::stage::token_control::{Memo, Scorer, TokenControl};
use steerage::stage::{Outcomes, Setback};
use steerage::types::{ArmList, Candidates, Cost, StageName};

/// Three items have labels. Every weight of the decoder is `weight`.
fn step(weight: f32, tokens_max: usize) -> TokenControl {
    step_with(&|_| weight, tokens_max, &[])
}

/// The n-th weight of a row of a tensor is `weight(n)`, a little of it for each tensor and row.
pub fn step_with(
    weight: &dyn Fn(usize) -> f32,
    tokens_max: usize,
    devices: &[SharedDriver],
) -> TokenControl {
    let prompter = prompter(tokens_max);
    let config = DecoderConfig {
        vocabulary: prompter.vocabulary(),
        hidden: 8,
        inner: 8,
        layers: 1,
        heads: 2,
        shared: 1,
        width: 4,
        context_max: 500,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied: true,
        qkv_bias: false,
        output_bias: false,
    };
    let fill = |name: &str, row: usize, to: &mut [f32]| {
        let first = name.len() * 31 + row * 7;
        to.iter_mut().enumerate().for_each(|(i, to)| *to = weight(first + i));
        Ok(())
    };
    let decoder = Decoder::fill(config, Precision::F32, &fill).unwrap();
    let labels: Vec<u32> = prompter.labels().collect();
    let resident = devices.iter().map(|device| Resident::of(device.clone(), &decoder, 160));
    let resident: Vec<Resident> = resident.collect::<Result<_, _>>().unwrap();
    let reader = match resident.is_empty() {
        true => Reader::here(decoder, &labels).unwrap(),
        false => Reader::there(resident, &labels),
    };
    let scorer = Arc::new(Scorer { prompter, reader, adapter: None, meter: Arc::default() });
    TokenControl { scorer, weight: 0.5, permutations: 2, seed: 1 }
}

pub fn row(scores: &[f32]) -> Candidates {
    let items = (0..scores.len() as u32).collect();
    Candidates { items, scores: scores.into(), met: vec![0; scores.len()], ..Default::default() }
}

/// The lists of some rows, and what was said of them.
pub fn apply(step: &TokenControl, rows: &[Candidates]) -> (Vec<ArmList>, Vec<Setback>) {
    let mut out = Outcomes::<()>::new(StageName::Rerank);
    let lists = rows.iter().map(retrieval_order).collect();
    let mut costs = vec![Cost::default(); rows.len()];
    let lists = step.apply(rows, lists, &mut costs, &mut Memo::default(), &mut out);
    (lists, out.into_parts().1)
}

#[test]
fn no_candidate_one_and_equal_ones_stay_as_they_came() {
    let rows = [row(&[]), row(&[4.0]), row(&[2.0, 2.0]), row(&[3.0, 3.0, 3.0])];
    for weight in [0.0, 0.01] {
        let (lists, said) = apply(&step(weight, 500), &rows);
        assert!(said.is_empty(), "{said:?}");
        for (list, row) in lists.iter().zip(&rows) {
            let order: Vec<u32> = (0..row.items.len() as u32).collect();
            assert_eq!(list.order, order, "{weight}");
            assert!(list.scores.iter().all(|score| *score == 0.0), "{weight}: {list:?}");
        }
    }
}

#[test]
fn what_cannot_be_scored_keeps_its_list_and_is_said() {
    let rows = [row(&[2.0, 1.0])];
    let (lists, said) = apply(&step(0.01, 16), &rows);
    assert_eq!(lists, [retrieval_order(&rows[0])]);
    let [Setback::Fault(fault)] = &said[..] else { panic!("{said:?}") };
    insta::assert_snapshot!(fault.kind, @r#"the prompt has 41 tokens without any history, and 16 fit: raise prompt.tokens_max, or show fewer candidates or shorter titles"#);
    let (lists, said) = apply(&step(f32::NAN, 500), &rows);
    assert_eq!(lists, [retrieval_order(&rows[0])]);
    let [Setback::Failed(why)] = &said[..] else { panic!("{said:?}") };
    insta::assert_snapshot!(why, @r#"prompt 1: its logits hold NaN or infinity: the weights or the adapter are damaged"#);
}
