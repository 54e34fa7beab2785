//! What a retriever learns from: losses over all items and over a few, and the gradients of rows.

use super::*;
use steerage::device::cuda::kernels::{
    CrossEntropy, Indices, LookupBackward, SampledLoss, SampledLossRule, Uses,
};
use steerage::device::shape::LossShape;
use steerage::device::{Backend, Cpu, SampledRule};
use steerage::types::mix64;

#[test]
fn a_loss_is_its_formula_and_its_gradient_sums_to_nothing() {
    for (rows, items, wide) in [(1, 1, 1), (3, 37, 40), (2, 1000, 1000)] {
        let scores: Vec<f32> = random(8, rows * wide).iter().map(|x| 20.0 * x).collect();
        let targets: Vec<u32> = (0..rows).map(|r| (r * 31 % items) as u32).collect();
        let case = |device: &Device| {
            let (losses, d_scores) =
                (Buffer::new(device, rows)?, Buffer::new(device, rows * wide)?);
            let call = CrossEntropy {
                items,
                wide,
                scale: 0.5,
                scores: &Buffer::of(device, &scores)?,
                targets: &Indices::of(device, &targets)?,
                losses: &losses,
                d_scores: &d_scores,
            };
            launch(device, call.launch())?;
            let mut bits = bits_of_f32(&losses.read(device)?);
            bits.extend(bits_of_bf16(&d_scores.read(device)?));
            Ok(bits)
        };
        let found = if items == 1000 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let (losses, d_scores) = found.split_at(rows);
        let (losses, d_scores) = (f32_of_bits(losses), bf16_of_bits(d_scores));
        for (r, scores) in scores.chunks(wide).enumerate() {
            let scores = &scores[..items];
            let target = targets[r] as usize;
            let weights: Vec<f64> = scores.iter().map(|s| f64::from(*s).exp()).collect();
            let total: f64 = weights.iter().sum();
            let loss = total.ln() - f64::from(scores[target]);
            assert!((f64::from(losses[r]) - loss).abs() <= 1e-5 * loss.max(1.0));
            for (v, weight) in weights.iter().enumerate() {
                let exact = 0.5 * (weight / total - f64::from(u8::from(v == target)));
                let found = f64::from(d_scores[r * wide + v]);
                assert!((found - exact).abs() <= exact.abs() / 200.0 + 1e-6);
            }
            assert!(d_scores[r * wide + items..(r + 1) * wide].iter().all(|d| *d == 0.0));
        }
    }
}

/// Losses and gradients by rows and by the table, as the processor has them.
fn expected(
    [rows, items, hidden]: [usize; 3],
    rule: SampledRule<'_>,
    candidates: &[u32],
) -> (f64, Vec<f32>, Vec<f32>) {
    let (x, table) = (random(71, rows * hidden), random(72, items * hidden));
    let (mut d_x, mut d_table) = (vec![0.0; x.len()], vec![0.0; table.len()]);
    let shape = LossShape { rows, hidden, items, candidates: candidates.len() / rows };
    let (x, table) = (&x, &table);
    let (scale, d_x_mut, d_table_mut) = (0.25, &mut d_x[..], &mut d_table[..]);
    let loss = Cpu.sampled_loss(steerage::device::SampledLoss {
        shape,
        rule,
        x,
        table,
        candidates,
        scale,
        d_x: d_x_mut,
        d_table: d_table_mut,
    });
    (loss, d_x, d_table)
}

#[test]
fn a_loss_over_a_few_items_and_its_gradients_are_the_processors() {
    for (rows, items, hidden, each) in [(3, 9, 50, 2), (5, 40, 264, 7), (2, 500, 64, 300)] {
        let candidates: Vec<u32> =
            (0..(rows * each) as u64).map(|at| (mix64(at) % items as u64) as u32).collect();
        let log_q: Vec<f32> = random(73, items).iter().map(|x| x - 1.0).collect();
        for binary in [false, true] {
            let case = |device: &Device| {
                let (x, table) = (random(71, rows * hidden), random(72, items * hidden));
                let log_q = Buffer::of(device, &log_q)?;
                let (x, losses) = (Buffer::of(device, &x)?, Buffer::new(device, rows)?);
                let d_scores = Buffer::new(device, candidates.len())?;
                let d_x = Buffer::new(device, x.len())?;
                let call = SampledLoss {
                    size: [rows, items, hidden],
                    rule: match binary {
                        true => SampledLossRule::Binary(0.75),
                        false => SampledLossRule::Softmax(&log_q),
                    },
                    scale: 0.25,
                    x: &x,
                    table: &Buffer::of(device, &table)?,
                    candidates: &Indices::of(device, &candidates)?,
                    losses: &losses,
                    d_scores: &d_scores,
                    d_x: &d_x,
                };
                launch(device, call.launch())?;
                let used = candidates.iter().copied().map(Some);
                let uses = &Uses::of(device, [items, hidden], used)?;
                let d_rows = &Buffer::of(device, &vec![0.0; items * hidden])?;
                let (scale, weights) = (1.0, Some(&d_scores));
                let call = LookupBackward { scale, uses, weights, x: &x, d_rows };
                call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
                let mut bits = bits_of_f32(&losses.read(device)?);
                bits.extend(bits_of_f32(&d_x.read(device)?));
                bits.extend(bits_of_f32(&d_rows.read(device)?));
                Ok(bits)
            };
            let found = if each == 300 { with_every_wait(case) } else { under_all_orders(case) };
            let Some(found) = found else { return };
            let rule = match binary {
                true => SampledRule::Binary { beta: 0.75 },
                false => SampledRule::Softmax { log_q: &log_q },
            };
            let (loss, d_x, d_table) = expected([rows, items, hidden], rule, &candidates);
            let found = f32_of_bits(&found);
            let (losses, gradients) = found.split_at(rows);
            let sum: f64 = losses.iter().map(|loss| f64::from(*loss)).sum();
            assert!((sum - loss).abs() <= 1e-5 * loss, "{sum} {loss}");
            for (found, expected) in gradients.iter().zip(d_x.iter().chain(&d_table)) {
                assert!((found - expected).abs() <= 1e-5 * expected.abs().max(0.1));
            }
        }
    }
}

#[test]
fn trained_rows_get_the_gradients_of_their_uses() {
    // One of the rows has more uses than a piece, and one has none.
    let some = [Some(1), None, Some(0), Some(1), None, Some(1)];
    let many: Vec<Option<u32>> = (0..300).map(|use_| (use_ % 7 != 3).then_some(use_ % 2)).collect();
    for (hidden, used, each) in [(1, &some[..], 1), (300, &some, 2), (40, &many, 1), (40, &many, 3)]
    {
        let tokens = used.len() / each;
        let (x, before) = (random_bf16(9, tokens * hidden), random(10, 3 * hidden));
        let weights = random(11, used.len());
        for weighted in [false, true] {
            let found = under_all_orders(|device| {
                let uses = &Uses::of(device, [3, hidden], used.iter().copied())?;
                let (wide, narrow) = (Buffer::of(device, &f32s(&x))?, Buffer::of(device, &x)?);
                let weights = Buffer::of(device, &weights)?;
                let (scale, weights) = (0.5, weighted.then_some(&weights));
                let d_rows = [Buffer::of(device, &before)?, Buffer::of(device, &before)?];
                let [first, second] = &d_rows;
                let call = LookupBackward { scale, uses, weights, x: &wide, d_rows: first };
                let mut launches = call.launches()?;
                let call = LookupBackward { scale, uses, weights, x: &narrow, d_rows: second };
                launches.extend(call.launches()?);
                launches.iter().try_for_each(|launch| device.launch(launch))?;
                let [first, second] = d_rows.map(|rows| bits_of_f32(&rows.read(device).unwrap()));
                assert_eq!(first, second);
                Ok(first)
            });
            let Some(found) = found else { return };
            let mut expected: Vec<f64> = before.iter().map(|x| f64::from(*x)).collect();
            for (at, row) in used.iter().enumerate().filter_map(|(at, row)| Some((at, (*row)?))) {
                let by = if weighted { 0.5 * f64::from(weights[at]) } else { 0.5 };
                let x = &x[at / each * hidden..][..hidden];
                let sums = &mut expected[row as usize * hidden..][..hidden];
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += by * f64::from(x.f32()));
            }
            for (found, expected) in f32_of_bits(&found).iter().zip(&expected) {
                let apart = (f64::from(*found) - expected).abs();
                assert!(apart <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
            }
        }
    }
    // Of a table that is much longer than the uses are many.
    let found = once(|device| {
        let uses = &Uses::of(device, [4000, 8], some.iter().map(|row| row.map(|row| row * 999)))?;
        let x = &Buffer::of(device, &random(12, some.len() * 8))?;
        let d_rows = &Buffer::of(device, &vec![0.0; 4000 * 8])?;
        let call = LookupBackward { scale: 1.0, uses, weights: None, x, d_rows };
        device.launch_all(&call.launches()?)?;
        d_rows.read(device)
    });
    let Some(found) = found else { return };
    let x = random(12, some.len() * 8);
    let last = |i: usize| x[i] + x[3 * 8 + i] + x[5 * 8 + i];
    assert!((0..8).all(|i| found[i] == x[2 * 8 + i] && found[999 * 8 + i] == last(i)));
    assert!(found[8..999 * 8].iter().all(|x| *x == 0.0));
    once(|device| {
        let said = Uses::of(device, [1, 8], [Some(1)].into_iter()).unwrap_err().to_string();
        assert!(said.contains("row 1 of a table that has 1"), "{said}");
        Ok(())
    });
}
