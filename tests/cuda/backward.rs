//! Gradients of what is not attention, and the optimiser's step.

use super::*;
use crate::kernels::{Real, assert_close, dot, real};
use steerage::device::cuda::Form;
use steerage::device::cuda::kernels::{
    self, GatedBackward, Indices, NormWeight, RmsNormBackward, RotaryBackward, Round, Spread,
    SquareSums,
};
use steerage::device::shape::{GatedShape, NormShape};
use steerage::device::{AdamW, Backend, Cpu};

fn gated<F: Real>(x: &[F], d_out: &[F], hidden: usize) -> Vec<F> {
    let one = F::of(1.0);
    let row = |(x, d): (&[F], &[F])| {
        let open = |i: usize| one / (one + (-x[i]).exp());
        let gates = |i: usize| d[i] * x[hidden + i] * open(i) * (one + x[i] * (one - open(i)));
        let values = |i: usize| d[i] * x[i] * open(i);
        (0..hidden).map(gates).chain((0..hidden).map(values)).collect::<Vec<F>>()
    };
    x.chunks(2 * hidden).zip(d_out.chunks(hidden)).flat_map(row).collect()
}

#[test]
fn a_gates_gradient_is_its_formula() {
    for (rows, hidden) in [(1, 8), (3, 264), (2, 2056)] {
        let (x, d_out) = (random_bf16(1, 2 * rows * hidden), random_bf16(2, rows * hidden));
        let found = under_all_orders(|device| {
            let d_x = Buffer::new(device, 2 * rows * hidden)?;
            let call = GatedBackward {
                shape: GatedShape { rows, hidden },
                x: &Buffer::of(device, &x)?,
                d_out: &Buffer::of(device, &d_out)?,
                d_x: &d_x,
            };
            launch(device, call.launch())?;
            Ok(bits_of_bf16(&d_x.read(device)?))
        });
        let Some(found) = found else { return };
        let (x, d_out) = (f32s(&x), f32s(&d_out));
        let exact = gated::<f64>(&real(&x), &real(&d_out), hidden);
        let naive = rounded(&gated::<f32>(&x, &d_out, hidden));
        assert_close(&bf16_of_bits(&found), &naive, &exact);
    }
}

/// What is added to d_x, and to d_weight.
fn rms_norm<F: Real>(x: &[F], weight: &[F], d_out: &[F]) -> (Vec<F>, Vec<F>) {
    let hidden = weight.len();
    let count = F::of(hidden as f64);
    let (mut d_x, mut d_weight) = (Vec::new(), vec![F::of(0.0); hidden]);
    for (x, d) in x.chunks(hidden).zip(d_out.chunks(hidden)) {
        let inverse = F::of(1.0) / (dot(x, x) / count + F::of(f64::from(1e-5f32))).sqrt();
        let hat: Vec<F> = x.iter().map(|x| *x * inverse).collect();
        let g: Vec<F> = d.iter().zip(weight).map(|(d, w)| *d * *w).collect();
        let along = dot(&g, &hat) / count;
        d_x.extend(g.iter().zip(&hat).map(|(g, hat)| inverse * (*g - *hat * along)));
        for ((to, d), hat) in d_weight.iter_mut().zip(d).zip(&hat) {
            *to += *d * *hat;
        }
    }
    (d_x, d_weight)
}

#[test]
fn a_norms_gradient_is_its_formula() {
    for (rows, hidden) in [(1, 8), (67, 264), (3, 1032)] {
        let (x, weight) = (random(3, rows * hidden), random(4, hidden));
        let (d_out, before) = (random_bf16(5, rows * hidden), random(6, (rows + 1) * hidden));
        let statistics: Vec<f32> =
            x.chunks(hidden).map(|x| 1.0 / (dot(x, x) / hidden as f32 + 1e-5).sqrt()).collect();
        let case = |device: &Device| {
            let d_x = Buffer::of(device, &before[..rows * hidden])?;
            let d_weight = Buffer::of(device, &before[rows * hidden..])?;
            let parts = Buffer::new(device, rows.div_ceil(64) * hidden)?;
            let call = RmsNormBackward {
                shape: NormShape { rows, hidden },
                x: &Buffer::of(device, &x)?,
                statistics: &Buffer::of(device, &statistics)?,
                weight: &Buffer::of(device, &weight)?,
                d_out: &Buffer::of(device, &d_out)?,
                d_x: &d_x,
                d_weight: Some(NormWeight { parts: &parts, d_weight: &d_weight }),
            };
            call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
            let mut bits = bits_of_f32(&d_x.read(device)?);
            bits.extend(bits_of_f32(&d_weight.read(device)?));
            Ok(bits)
        };
        let found = if rows == 67 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let d_out = f32s(&d_out);
        let (d_x, d_weight) = rms_norm::<f64>(&real(&x), &real(&weight), &real(&d_out));
        let exact: Vec<f64> =
            d_x.iter().chain(&d_weight).zip(&before).map(|(x, b)| x + f64::from(*b)).collect();
        let (d_x, d_weight) = rms_norm::<f32>(&x, &weight, &d_out);
        let naive: Vec<f32> =
            d_x.iter().chain(&d_weight).zip(&before).map(|(x, b)| x + b).collect();
        assert_close(&f32_of_bits(&found), &naive, &exact);
    }
}

#[test]
fn what_was_turned_is_turned_back() {
    let (heads, turned, rows) = (5, 3, 4);
    for width in [16, 48, 128] {
        let d = random_bf16(7, rows * heads * width);
        let angles: Vec<f32> = random(8, 6 * width / 2).iter().map(|x| 3.0 * x).collect();
        let table: Vec<f32> = angles
            .chunks(width / 2)
            .flat_map(|a| a.iter().map(|a| a.cos()).chain(a.iter().map(|a| a.sin())))
            .collect();
        let positions = [5, 0, 2, 2];
        let found = under_all_orders(|device| {
            let d_qkv = Buffer::of(device, &d)?;
            let call = RotaryBackward {
                heads,
                turned,
                width,
                positions: &Indices::of(device, &positions)?,
                table: &Buffer::of(device, &table)?,
                d_qkv: &d_qkv,
            };
            launch(device, call.launch())?;
            Ok(bits_of_bf16(&d_qkv.read(device)?))
        });
        let Some(found) = found else { return };
        let (d, half) = (f32s(&d), width / 2);
        let (mut exact, mut naive) = (real::<f64>(&d), d.clone());
        for i in 0..d.len() {
            let (row, head, column) = (i / heads / width, i / width % heads, i % width);
            if head >= turned {
                continue;
            }
            let at = positions[row] as usize * width + column % half;
            let (cosine, sine) = (table[at], table[at + half]);
            let (other, sign) = if column < half { (i + half, 1.0) } else { (i - half, -1.0) };
            naive[i] = d[i] * cosine + sign * d[other] * sine;
            exact[i] = f64::from(d[i]) * f64::from(cosine)
                + f64::from(sign) * f64::from(d[other]) * f64::from(sine);
        }
        assert_close(&bf16_of_bits(&found), &rounded(&naive), &exact);
    }
}

#[test]
fn a_step_is_the_processors() {
    let length = 301;
    let [gradient, w, m] = [11, 12, 13].map(|seed| random(seed, length));
    let v: Vec<f32> = random(14, length).iter().map(|x| x * x).collect();
    for step in [1, 70] {
        let (rate, betas, decay, scale) = (0.01, (0.9, 0.98), 0.1, 0.5);
        let found = under_all_orders(|device| {
            let state = [&w, &m, &v].map(|x| Buffer::of(device, x).unwrap());
            let rounded = Buffer::new(device, length)?;
            let call = kernels::AdamW {
                step,
                rate,
                betas,
                decay,
                scale,
                gradient: &Buffer::of(device, &gradient)?,
                state: state.each_ref(),
                rounded: Some(&rounded),
            };
            launch(device, call.launch())?;
            let mut bits = Vec::new();
            for buffer in &state {
                bits.extend(bits_of_f32(&buffer.read(device)?));
            }
            bits.extend(bits_of_bf16(&rounded.read(device)?));
            Ok(bits)
        });
        let Some(found) = found else { return };
        let mut state = [w.clone(), m.clone(), v.clone()];
        let [to_w, to_m, to_v] = &mut state;
        let state_mut = (&mut to_w[..], &mut to_m[..], &mut to_v[..]);
        Cpu.adam_w(AdamW {
            step,
            rate,
            betas,
            decay,
            scale,
            gradient: &gradient,
            state: state_mut,
        });
        let (numbers, rounded_weights) = found.split_at(3 * length);
        for (found, expected) in f32_of_bits(numbers).iter().zip(state.iter().flatten()) {
            assert!((found - expected).abs() <= 4.0 * f32::EPSILON * expected.abs().max(0.1));
        }
        assert_eq!(bf16_of_bits(rounded_weights), rounded(&f32_of_bits(&numbers[..length])));
    }
}

#[test]
fn a_product_of_f32_rounds_nothing() {
    let [rows, outputs, inputs] = [3, 5, 40];
    let (a, b) = (random(24, rows * inputs), random(25, outputs * inputs));
    let found = once(|device| {
        let (x, weight) = (Buffer::of(device, &a)?, Buffer::of(device, &b)?);
        let c = Buffer::<f32>::new(device, rows * outputs)?;
        device.product(&Product::new([rows, outputs, inputs], &x, &weight, &c)?)?;
        let narrow = Buffer::<Bf16>::new(device, c.len())?;
        let said = Product::new([rows, outputs, inputs], &x, &weight, &narrow).unwrap_err();
        assert_eq!(said.to_string(), "product: what comes of f32 is f32");
        c.read(device)
    });
    let Some(found) = found else { return };
    for (at, found) in found.iter().enumerate() {
        let [row, output] = [at / outputs, at % outputs];
        let (a, b) = (&a[row * inputs..][..inputs], &b[output * inputs..][..inputs]);
        let exact: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((f64::from(*found) - exact).abs() < 1e-5, "{found} {exact}");
    }
}

#[test]
fn a_product_takes_operands_as_they_lie() {
    let [rows, outputs, inputs] = [3, 5, 4];
    for form in 0..8 {
        let form = Form {
            a_turned: form & 1 == 1,
            b_turned: form & 2 == 2,
            apart: [7, 9, 6],
            scale: 0.5,
            add: form & 4 == 4,
        };
        let (a, b, before) = (random_bf16(21, 7 * 7), random_bf16(22, 9 * 9), random(23, 6 * 3));
        let found = once(|device| {
            let [a, b] = [&a, &b].map(|x| Buffer::of(device, x).unwrap());
            let c = Buffer::of(device, &before)?;
            device.product(&Product::of([rows, outputs, inputs], &a, &b, &c, form)?)?;
            let too_long = Product::of([rows, 20, inputs], &a, &b, &c, form);
            assert!(too_long.unwrap_err().to_string().starts_with("product: "));
            c.read(device)
        });
        let Some(found) = found else { return };
        let at = |x: &[Bf16], row: usize, i: usize, apart: usize, turned: bool| {
            if turned { x[i * apart + row].f32() } else { x[row * apart + i].f32() }
        };
        let mut expected = before.clone();
        for (r, o) in (0..rows).flat_map(|r| (0..outputs).map(move |o| (r, o))) {
            let products = (0..inputs)
                .map(|i| at(&a, r, i, 7, form.a_turned) * at(&b, o, i, 9, form.b_turned));
            let sum = 0.5 * products.sum::<f32>();
            expected[r * 6 + o] = if form.add { before[r * 6 + o] + sum } else { sum };
        }
        let apart = found.iter().zip(&expected).map(|(x, y)| (x - y).abs());
        assert!(apart.fold(0.0, f32::max) <= 1e-6);
    }
}

#[test]
fn numbers_are_rounded_spread_and_squared() {
    let (rows, columns) = (300, 24);
    let x = random(31, rows * columns);
    let from: Vec<Option<u32>> =
        (0..rows as u32).map(|row| (row % 3 > 0).then_some((row * 7 + 5) % rows as u32)).collect();
    let found = with_every_wait(|device| {
        let x = Buffer::of(device, &x)?;
        let (rounded, out) = (Buffer::new(device, x.len())?, Buffer::new(device, x.len())?);
        let zeros = Buffer::new(device, x.len())?;
        let parts = Buffer::new(device, SquareSums::parts_of(x.len()))?;
        launch(device, Round { x: &x, rounded: &rounded }.launch())?;
        let rows = Some((&x, &Indices::of_some(device, &from)?));
        launch(device, Spread { columns, x: rows, out: &out }.launch())?;
        launch(device, Spread { columns, x: None, out: &zeros }.launch())?;
        launch(device, SquareSums { x: &x, parts: &parts }.launch())?;
        let in_place = Spread { columns, x: rows, out: &x };
        assert!(in_place.launch().unwrap_err().to_string().contains("another place"));
        assert!(Spread { columns: 12, x: None, out: &out }.launch().is_err());
        let mut bits = bits_of_bf16(&rounded.read(device)?);
        for buffer in [&out, &zeros, &parts] {
            bits.extend(bits_of_f32(&buffer.read(device)?));
        }
        Ok(bits)
    });
    let Some(found) = found else { return };
    let (first, after) = found.split_at(x.len());
    assert_eq!(bf16_of_bits(first), rounded(&x));
    let (out, after) = after.split_at(x.len());
    for (row, from) in f32_of_bits(out).chunks(columns).zip(&from) {
        let place = from.map(|from| from as usize * columns);
        assert_eq!(row, place.map_or(&[0.0; 24][..], |place| &x[place..place + columns]));
    }
    let (zeros, parts) = after.split_at(x.len());
    assert!(zeros.iter().all(|bits| *bits == 0));
    let squares = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    for (part, x) in f32_of_bits(parts).iter().zip(x.chunks(4096)) {
        assert!((f64::from(*part) - squares(x)).abs() < 1e-5 * squares(x));
    }
}
