//! Do the wrapped instructions move what the manual says?

use super::*;
use steerage::device::cuda::kernels::wrappers;

#[test]
fn a_product_of_the_matrix_units_is_a_product() {
    let (left, right) = (random_bf16(1, 16 * 16), random_bf16(2, 8 * 16));
    let found = under_all_orders(|device| {
        let (left, right) = (Buffer::of(device, &left)?, Buffer::of(device, &right)?);
        let out = Buffer::new(device, 16 * 8)?;
        launch(device, wrappers::multiply(&left, &right, &out))?;
        Ok(bits_of_f32(&out.read(device)?))
    });
    let Some(found) = found else { return };
    for (i, found) in f32_of_bits(&found).into_iter().enumerate() {
        let (left, right) = (&left[i / 8 * 16..][..16], &right[i % 8 * 16..][..16]);
        let exact: f64 =
            left.iter().zip(right).map(|(x, y)| f64::from(x.f32()) * f64::from(y.f32())).sum();
        assert!((f64::from(found) - exact).abs() < 1e-5);
    }
}

#[test]
fn a_lane_gets_its_part_of_a_matrix_straight_and_turned() {
    let rows = random_bf16(3, 32 * 8);
    let found = under_all_orders(|device| {
        let out = Buffer::new(device, 2 * 32 * 4)?;
        launch(device, wrappers::matrices(&Buffer::of(device, &rows)?, &out, 1))?;
        out.read(device)
    });
    let Some(found) = found else { return };
    // The last row of the last matrix was replaced by zeros.
    let at = |matrix: usize, row: usize, column: usize| match (matrix, row) {
        (3, 7) => 0,
        _ => u32::from(rows[(matrix * 8 + row) * 8 + column].0),
    };
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for matrix in 0..4 {
            let straight = at(matrix, g, 2 * t) | at(matrix, g, 2 * t + 1) << 16;
            let turned = at(matrix, 2 * t, g) | at(matrix, 2 * t + 1, g) << 16;
            assert_eq!(found[lane * 4 + matrix], straight);
            assert_eq!(found[128 + lane * 4 + matrix], turned);
        }
    }
}

/// A device reads them one after the other then; the emulated one does not go on.
#[test]
fn rows_of_a_matrix_that_share_banks_are_noticed() {
    for (apart, share) in [(1, false), (2, true), (3, false), (4, true), (5, false), (8, true)] {
        let Some(device) = Emulator::start(Order::ALL[0], None) else { return };
        let rows = Buffer::of(&device, &random_bf16(3, 32 * 8)).unwrap();
        let out = Buffer::new(&device, 2 * 32 * 4).unwrap();
        let ran = device.launch(&wrappers::matrices(&rows, &out, apart).unwrap());
        let said = ran.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.contains("of a matrix share banks"), share, "{apart}: {said}");
    }
}

#[test]
fn a_product_of_a_group_of_warps_is_a_product_straight_and_turned() {
    let (left, right) = (random_bf16(4, 64 * 64), random_bf16(5, 64 * 64));
    if once(|device| Ok(device.with_group_products(true))) != Some(true) {
        return println!("skipped: no such products");
    }
    let found = with_every_wait(|device| {
        let (left, right) = (Buffer::of(device, &left)?, Buffer::of(device, &right)?);
        let out = Buffer::new(device, 2 * 64 * 64)?;
        launch(device, wrappers::group(&left, &right, &out))?;
        Ok(bits_of_f32(&out.read(device)?))
    });
    let Some(found) = found else { return };
    for (i, found) in f32_of_bits(&found).into_iter().enumerate() {
        let (row, column, turned) = (i / 64 % 64, i % 64, i < 64 * 64);
        let of = |k: usize| right[if turned { column * 64 + k } else { k * 64 + column }].f32();
        let exact: f64 =
            (0..64).map(|k| f64::from(left[row * 64 + k].f32()) * f64::from(of(k))).sum();
        assert!((f64::from(found) - exact).abs() < 1e-4, "{row} {column} {turned}");
    }
}

#[test]
fn a_bulk_copy_brings_a_box_and_zeros_where_the_matrix_has_ended() {
    let (rows, columns, apart) = (100, 80, 88);
    let matrix = random_bf16(6, rows * apart);
    if once(|device| Ok(device.with_group_products(true))) != Some(true) {
        return println!("skipped: no such copies");
    }
    for column in [0, 8, 64] {
        let found = with_every_wait(|device| {
            let (matrix, out) = (Buffer::of(device, &matrix)?, Buffer::new(device, 3 * 64 * 64)?);
            launch(device, wrappers::bulk(&matrix, [columns, apart], column, 3, &out))?;
            Ok(bits_of_bf16(&out.read(device)?))
        });
        for (i, found) in found.into_iter().flatten().enumerate() {
            let (row, column) = (i / 64, i % 64 + column as usize);
            let there = row < rows && column < columns;
            let expected = if there { u32::from(matrix[row * apart + column].0) } else { 0 };
            assert_eq!(found, expected, "{row} {column}");
        }
    }
}
