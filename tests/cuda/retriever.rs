//! What the retriever's network has besides norms.

use super::*;
use crate::decoder::learning::{distance, length};
use steerage::device::cuda::kernels::{
    self, Embed, GroupedAttention, GroupedAttentionBackward, Indices, Linear, LinearBackward,
    SequenceAttention, Starts, Visits,
};
use steerage::device::shape::{AttentionShape, EmbedShape, GroupedShape, LinearShape};
use steerage::device::{Activation, Backend, Cpu, Dropout, Queries};
use steerage::types::mix64;

const RATE: f32 = 0.3;

fn keys(rows: usize) -> Vec<u64> {
    (0..rows as u64).map(mix64).collect()
}

#[test]
fn items_and_positions_are_looked_up_as_on_the_processor() {
    for (tokens, hidden) in [(1, 1), (5, 50), (3, 300)] {
        let (items, positions) = (random(1, 4 * hidden), random(2, 6 * hidden));
        let chosen: Vec<u32> = (0..tokens as u32).map(|t| t * 3 % 4).collect();
        let places: Vec<u32> = (0..tokens as u32).map(|t| t % 6).collect();
        let keys = keys(tokens);
        let found = under_all_orders(|device| {
            let out = Buffer::new(device, tokens * hidden)?;
            let call = Embed {
                hidden,
                items: &Indices::of(device, &chosen)?,
                positions: &Indices::of(device, &places)?,
                item_table: &Buffer::of(device, &items)?,
                position_table: &Buffer::of(device, &positions)?,
                kinds: None,
                scale: (hidden as f32).sqrt(),
                dropout: kernels::Dropout {
                    rate: RATE,
                    site: 7 << 40,
                    keys: Some(&Buffer::of(device, &keys)?),
                },
                out: &out,
            };
            launch(device, call.launch())?;
            Ok(bits_of_f32(&out.read(device)?))
        });
        let Some(found) = found else { return };
        let mut expected = vec![0.0; tokens * hidden];
        Cpu.embed(steerage::device::Embed {
            shape: EmbedShape { tokens, hidden, items: 4, positions: 6 },
            items: &chosen,
            positions: &places,
            item_table: &items,
            position_table: &positions,
            dropout: Dropout { rate: RATE, site: 7 << 40, keys: &keys },
            out: &mut expected,
        });
        for (found, expected) in f32_of_bits(&found).iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0));
            assert_eq!(*found == 0.0, *expected == 0.0);
        }
    }
}

#[test]
fn a_text_encoders_token_is_the_sum_of_three_rows() {
    let (tokens, hidden) = (7, 264);
    let tables = [4, 6, 2].map(|rows| random(rows as u64, rows * hidden));
    let rows: [Vec<u32>; 3] = [4, 6, 2].map(|rows| (0..tokens).map(|t| t * 5 % rows).collect());
    let found = under_all_orders(|device| {
        let out = Buffer::new(device, tokens as usize * hidden)?;
        let indices = |at: usize| Indices::of(device, &rows[at]);
        let table = |at: usize| Buffer::of(device, &tables[at]);
        let call = Embed {
            hidden,
            items: &indices(0)?,
            positions: &indices(1)?,
            item_table: &table(0)?,
            position_table: &table(1)?,
            kinds: Some((&indices(2)?, &table(2)?)),
            scale: 1.0,
            dropout: kernels::Dropout::NONE,
            out: &out,
        };
        launch(device, call.launch())?;
        let (few, kinds) = (table(2)?.slice(0..hidden)?, indices(2)?);
        let refused = Embed { kinds: Some((&kinds, &few)), ..call }.launch().unwrap_err();
        assert_eq!(refused.to_string(), "embed: kinds: row 1 of a table that has 1");
        Ok(bits_of_f32(&out.read(device)?))
    });
    let Some(found) = found else { return };
    for (t, found) in f32_of_bits(&found).chunks_exact(hidden).enumerate() {
        let row = |at: usize| &tables[at][rows[at][t] as usize * hidden..];
        let sums = row(1).iter().zip(row(0)).zip(row(2)).map(|((p, i), k)| p + i + k);
        assert!(found.iter().copied().eq(sums.take(hidden)));
    }
}

/// A matrix that leaves rows as they are, and a bias.
fn identity(width: usize, bias: &[f32]) -> Vec<f32> {
    let mut affine = vec![0.0; width * width];
    (0..width).for_each(|i| affine[i * (width + 1)] = 1.0);
    affine.extend(bias);
    affine
}

#[test]
fn what_follows_a_product_and_its_gradient_are_the_processors() {
    for (rows, width, activation) in [(1, 3, Activation::Identity), (4, 270, Activation::Relu)] {
        let [sums, residual, d_out] = [3, 4, 5].map(|seed| random(seed, rows * width));
        let (bias, keys) = (random(6, width), keys(rows));
        let relu = activation == Activation::Relu;
        let shape = LinearShape { rows, inputs: width, outputs: width };
        let dropout = Dropout { rate: RATE, site: 9, keys: &keys };
        let affine = identity(width, &bias);
        let forward = |residual: &[f32]| {
            let mut out = vec![0.0; rows * width];
            Cpu.linear(steerage::device::Linear {
                shape,
                x: &sums,
                affine: &affine,
                activation,
                dropout,
                residual,
                out: &mut out,
            });
            out
        };
        let active = forward(&[]);
        let found = under_all_orders(|device| {
            let keys = Buffer::of(device, &keys)?;
            let dropout = kernels::Dropout { rate: RATE, site: 9, keys: Some(&keys) };
            let (out, d_sums) =
                (Buffer::new(device, sums.len())?, Buffer::new(device, sums.len())?);
            let rounded = Buffer::new(device, sums.len())?;
            let call = Linear {
                size: [rows, width],
                sums: &Buffer::of(device, &sums)?,
                bias: Some(&Buffer::of(device, &bias)?),
                activation,
                dropout,
                residual: Some(&Buffer::of(device, &residual)?),
                out: &out,
            };
            launch(device, call.launch())?;
            let active = Buffer::of(device, &active)?;
            let call = LinearBackward {
                size: [rows, width],
                d_out: &Buffer::of(device, &d_out)?,
                active: relu.then_some(&active),
                dropout,
                d_sums: &d_sums,
                rounded: &rounded,
            };
            launch(device, call.launch())?;
            let mut bits = bits_of_f32(&out.read(device)?);
            bits.extend(bits_of_f32(&d_sums.read(device)?));
            bits.extend(bits_of_bf16(&rounded.read(device)?));
            Ok(bits)
        });
        let Some(found) = found else { return };
        let (numbers, rounded_d) = found.split_at(2 * sums.len());
        let (mut d_x, mut d_affine) = (vec![0.0; sums.len()], vec![0.0; affine.len()]);
        Cpu.linear_backward(steerage::device::LinearBackward {
            shape,
            x: &sums,
            affine: &affine,
            activation,
            dropout,
            out: &active,
            d_out: &d_out,
            d_x: &mut d_x,
            d_affine: &mut d_affine,
        });
        let (out, d_sums) = numbers.split_at(sums.len());
        for (found, expected) in [(out, forward(&residual)), (d_sums, d_x)] {
            for (found, expected) in f32_of_bits(found).iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-6);
            }
        }
        assert_eq!(bf16_of_bits(rounded_d), rounded(&f32_of_bits(d_sums)));
    }
}

/// Forward and gradient, where weights are dropped; of bf16 numbers, as f32.
fn attend(device: &Device, shape: &GroupedShape<'_>, keys: &[u64]) -> Result<Vec<u32>> {
    let [qkv, d_out] = [(61, shape.row()), (62, shape.queries())]
        .map(|(seed, row)| Buffer::of(device, &random_bf16(seed, shape.tokens() * row)).unwrap());
    let visits = Visits::of(device, shape, Queries::All)?;
    let (paths, scale) = (visits.paths(), 1.0 / (shape.width as f32).sqrt());
    let keys = Buffer::of(device, keys)?;
    let dropout = kernels::Dropout { rate: RATE, site: 5 << 33, keys: Some(&keys) };
    let (out, d_qkv) = (Buffer::new(device, d_out.len())?, Buffer::new(device, qkv.len())?);
    let rows = shape.tokens() * shape.heads;
    let [statistics, alongs] = [Buffer::new(device, rows)?, Buffer::new(device, rows)?];
    let (qkv, kept, statistics) = (&qkv, None, &statistics);
    let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: &out };
    launch(device, call.launch())?;
    let call = GroupedAttentionBackward {
        visits: &visits,
        scale,
        qkv,
        dropout,
        statistics,
        out: &out,
        d_out: &d_out,
        alongs: &alongs,
        d_qkv: &d_qkv,
    };
    call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
    let mut bits = bits_of_bf16(&out.read(device)?);
    bits.extend(bits_of_bf16(&d_qkv.read(device)?));
    Ok(bits)
}

#[test]
fn attention_in_f32_is_the_processors() {
    for (heads, width, lengths) in [(3, 64, &[1, 33, 0, 70][..]), (1, 128, &[5, 64])] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = AttentionShape { offsets: &offsets, heads, width };
        let numbers = shape.tokens() * heads * width;
        let qkv = random(63, 3 * numbers);
        let found = under_all_orders(|device| {
            let out = Buffer::new(device, numbers)?;
            let call = SequenceAttention {
                size: [heads, width],
                scale: 1.0 / (width as f32).sqrt(),
                starts: &Starts::of(device, &offsets)?,
                qkv: &Buffer::of(device, &qkv)?,
                out: &out,
            };
            launch(device, call.launch())?;
            let refused = SequenceAttention { size: [2 * heads, 32], ..call }.launch();
            assert!(refused.unwrap_err().to_string().contains("heads of 64 or 128, found 32"));
            Ok(bits_of_f32(&out.read(device)?))
        });
        let Some(found) = found else { return };
        let (mut out, mut probabilities) = (vec![0.0; numbers], vec![0.0; shape.pairs()]);
        Cpu.attention(steerage::device::Attention {
            shape,
            qkv: &qkv,
            dropout: Dropout::NONE,
            probabilities: &mut probabilities,
            out: &mut out,
        });
        let off = distance(&f32_of_bits(&found), &out) / length(&out);
        assert!(off < 1e-6, "{off}");
    }
}

#[test]
fn attention_drops_what_the_processor_drops() {
    for (heads, width, lengths) in [(3, 64, &[70, 1, 129, 64][..]), (2, 128, &[5, 66])] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = GroupedShape { offsets: &offsets, parents: &[], heads, shared: heads, width };
        let (tokens, hidden, keys) = (shape.tokens(), shape.queries(), keys(shape.tokens()));
        let case = |device: &Device| attend(device, &shape, &keys);
        let found = if width == 64 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let shape = AttentionShape { offsets: &offsets, heads, width };
        let [qkv, d_out] = [(61, 3 * hidden), (62, hidden)]
            .map(|(seed, row)| f32s(&random_bf16(seed, tokens * row)));
        let (mut out, mut d_qkv) = (vec![0.0; tokens * hidden], vec![0.0; qkv.len()]);
        let mut probabilities = vec![0.0; shape.pairs()];
        Cpu.attention(steerage::device::Attention {
            shape,
            qkv: &qkv,
            dropout: Dropout { rate: RATE, site: 5 << 33, keys: &keys },
            probabilities: &mut probabilities,
            out: &mut out,
        });
        Cpu.attention_backward(steerage::device::AttentionBackward {
            shape,
            qkv: &qkv,
            dropout_rate: RATE,
            probabilities: &probabilities,
            out: &out,
            d_out: &d_out,
            d_qkv: &mut d_qkv,
        });
        let found = bf16_of_bits(&found);
        for (what, found, expected) in
            [("out", &found[..out.len()], &out), ("gradient", &found[out.len()..], &d_qkv)]
        {
            let off = distance(found, expected) / length(expected);
            println!("{what}: {off}");
            assert!(off < 0.005, "{what}: {off}");
        }
    }
}
