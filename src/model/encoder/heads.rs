//! The two towers' own weights, and how alike they find a request and an item.
//!
//! ```text
//! f = unit(request.weight · pooled(request) + request.bias), g of an item likewise
//! logit = scale · ⟨f, g⟩ + bias
//! ```

use crate::device::shape::LinearShape;
use crate::device::{Backend, LoraLinear, Matrix, Precision, WeightBackward};
use crate::error::{Error, Result};
use crate::model::weights::{self, TensorSpec};
use crate::types::{mix64, normal};

/// The scale that training begins with: cosines of untrained encoders lie close together.
const SCALE: f32 = 10.0;
/// Shorter rows are divided by this.
const LENGTH_MIN: f32 = 1e-12;

/// Which tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// f.
    Request,
    /// g.
    Item,
}

/// Two linear heads, scale and bias, as one vector of parameters.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Width of what comes out, and of what goes in.
    shape: [usize; 2],
    /// In the order of [`Heads::tensors`]; of the scale its logarithm, which keeps it positive.
    values: Vec<f32>,
    packed: [Matrix; 2],
}

/// What a head leaves for its backward pass.
#[derive(Default)]
pub struct Projected {
    /// (rows, width), of length 1.
    pub units: Vec<f32>,
    /// (rows): 1 / length before.
    inverses: Vec<f32>,
}

impl Heads {
    /// Names and shapes of the parameters.
    pub fn tensors([width, hidden]: [usize; 2]) -> Vec<TensorSpec> {
        let tensor = |name: &str, shape: &[usize]| TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
        };
        vec![
            tensor("request.weight", &[width, hidden]),
            tensor("request.bias", &[width]),
            tensor("item.weight", &[width, hidden]),
            tensor("item.bias", &[width]),
            tensor("logit.log_scale", &[1]),
            tensor("logit.bias", &[1]),
        ]
    }

    /// Heads that leave rows as they are, or else turn them at random, both alike: so that the
    /// untrained encoder compares texts as its base does.
    pub fn new([width, hidden]: [usize; 2], seed: u64) -> Self {
        let mut head = vec![0.0; width * hidden + width];
        for (row, to) in head[..width * hidden].chunks_exact_mut(hidden).enumerate() {
            if width == hidden {
                to[row] = 1.0;
                continue;
            }
            let key = mix64(mix64(seed) ^ row as u64);
            for (i, x) in (0..).zip(to) {
                *x = (normal(mix64(key ^ i)) / (width as f64).sqrt()) as f32;
            }
        }
        let values = [&head[..], &head, &[SCALE.ln(), 0.0]].concat();
        Self::of([width, hidden], values)
    }

    /// Heads of these parameters.
    ///
    /// Panics: if they are not as many as [`Heads::tensors`] say.
    pub fn of(shape: [usize; 2], values: Vec<f32>) -> Self {
        let half = shape[0] * shape[1] + shape[0];
        assert_eq!(values.len(), 2 * half + 2);
        let packed = [0, half].map(|start| pack(shape, &values[start..]));
        Self { shape, values, packed }
    }

    /// Reads `heads.safetensors`. `what` names the file in messages.
    ///
    /// Errors: see [`weights::read`]; [`Error::Model`] for NaN or infinity.
    pub fn read(what: &str, bytes: &[u8], shape: [usize; 2]) -> Result<Self> {
        let values = weights::read(what, bytes, &Self::tensors(shape))?;
        match values.iter().all(|x| x.is_finite()) {
            true => Ok(Self::of(shape, values)),
            false => Err(Error::Model(format!("{what}: holds NaN or infinity: it is damaged"))),
        }
    }

    /// Width of what comes out, and of what goes in.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The parameters.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// scale · cosine + bias.
    pub fn logit(&self, cosine: f32) -> f32 {
        let (scale, bias) = self.scale_and_bias();
        scale.mul_add(cosine, bias)
    }

    /// Scale and bias.
    pub fn scale_and_bias(&self) -> (f32, f32) {
        let end = self.values.len();
        (self.values[end - 2].exp(), self.values[end - 1])
    }

    /// A tower's weight and bias.
    fn head(&self, tower: Tower) -> (&Matrix, &[f32]) {
        let [width, hidden] = self.shape;
        let half = width * hidden + width;
        let at = tower as usize;
        (&self.packed[at], &self.values[at * half + width * hidden..(at + 1) * half])
    }

    /// A tower's rows from pooled ones, (rows, hidden).
    pub fn project(&self, device: &dyn Backend, tower: Tower, pooled: &[f32], to: &mut Projected) {
        let ([width, hidden], (weight, bias)) = (self.shape, self.head(tower));
        let rows = pooled.len() / hidden;
        to.units.resize(rows * width, 0.0);
        product(device, pooled, weight, bias, &mut to.units);
        to.inverses.clear();
        for row in to.units.chunks_exact_mut(width) {
            let inverse = 1.0 / dot(row, row).sqrt().max(LENGTH_MIN);
            row.iter_mut().for_each(|x| *x *= inverse);
            to.inverses.push(inverse);
        }
    }

    /// The gradient of [`Heads::project`]: turns `d_units` into the gradient before the
    /// normalisation, adds that of the head to `gradient`, laid out like the parameters, and
    /// writes that of the pooled rows, unless there is no place for it.
    ///
    /// With u = y / |y|: d_y = (d_u − u ⟨u, d_u⟩) / |y|.
    pub fn project_backward(
        &self,
        device: &dyn Backend,
        (tower, pooled, from): (Tower, &[f32], &Projected),
        d_units: &mut [f32],
        gradient: &mut [f32],
        d_pooled: &mut [f32],
    ) {
        let [width, hidden] = self.shape;
        let rows = d_units.len() / width;
        let units = from.units.chunks_exact(width).zip(&from.inverses);
        for (d_row, (unit, inverse)) in d_units.chunks_exact_mut(width).zip(units) {
            let along = dot(unit, d_row);
            for (d, u) in d_row.iter_mut().zip(unit) {
                *d = (*d - u * along) * inverse;
            }
        }
        let half = width * hidden + width;
        let part = &mut gradient[tower as usize * half..][..half];
        let (d_weight, d_bias) = part.split_at_mut(width * hidden);
        let shape = LinearShape { rows, inputs: hidden, outputs: width };
        let (x, d_out_row) = (pooled, width);
        device.weight_backward(WeightBackward {
            shape,
            x,
            d_out: d_units,
            d_out_row,
            d_weight,
            d_bias,
        });
        if !d_pooled.is_empty() {
            let transposed = self.head(tower).0.transposed();
            product(device, d_units, &transposed, &[], d_pooled);
        }
    }
}

fn pack([width, hidden]: [usize; 2], rows: &[f32]) -> Matrix {
    let fill = |row: usize, to: &mut [f32]| {
        to.copy_from_slice(&rows[row * hidden..][..hidden]);
        Ok::<(), std::convert::Infallible>(())
    };
    match Matrix::pack(Precision::F32, [width, hidden], fill) {
        Ok(matrix) => matrix,
        Err(never) => match never {},
    }
}

fn product(device: &dyn Backend, x: &[f32], weight: &Matrix, bias: &[f32], out: &mut [f32]) {
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    device.lora_linear(LoraLinear {
        shape: LinearShape { rows: x.len() / inputs, inputs, outputs },
        x,
        weight,
        bias,
        adapters: &[],
        chosen: &[],
        residual: &[],
        out,
    });
}

/// Σ x · y in their order.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).fold(0.0, |sum, (x, y)| x.mul_add(*y, sum))
}
