//! A decoder's backward pass on a device, as launches and products: the same steps as on the
//! processor.

use super::Resident;
use super::learner::ResidentLearner;
use super::pass::{After, Placed};
use super::room::{Place, Size};
use crate::device::Queries;
use crate::device::cuda::kernels::{
    CandidateLogitsBackward, Dropout, GatedBackward, GroupedAttentionBackward, Indices,
    LookupBackward, LoraLinear, NORM_ROWS, NormWeight, OwnRows, RmsNormBackward, RotaryBackward,
    Spread, Uses, Visits,
};
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::device::shape::{GatedShape, NormShape};
use crate::error::Result;
use crate::model::decoder::{Batch, DecoderConfig, Learner};
use crate::model::resident::{SiteBackward, SiteRoom, clear, rounded};
use std::ops::Range;

/// What the passes of a learner compute in.
pub struct LearningRoom {
    /// One for each layer if all is kept, or else one.
    pub places: Vec<Place>,
    /// What goes into each layer, and out of the last one.
    streams: Vec<Buffer<f32>>,
    /// What is between a layer's halves, by place.
    attended: Vec<Buffer<f32>>,
    pub last_normed: Buffer<Bf16>,
    pub last_scales: Buffer<f32>,
    /// Of all tokens, and of the prompts' last ones.
    d_streams: [Buffer<f32>; 2],
    d_rounded: Buffer<Bf16>,
    d_normed: Buffer<Bf16>,
    d_mixed: Buffer<Bf16>,
    d_qkv: Buffer<Bf16>,
    alongs: Buffer<f32>,
    d_gated: Buffer<Bf16>,
    gate_up: Buffer<Bf16>,
    d_gate_up: Buffer<Bf16>,
    /// A norm's weight's gradient, by blocks.
    parts: Buffer<f32>,
    sites: SiteRoom,
}

impl LearningRoom {
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>, kept_bytes_max: usize) -> Result<Self> {
        let Size { config, tokens, .. } = size;
        let DecoderConfig { hidden, inner, heads, layers, .. } = *config;
        let [queries, qkv] = size.rows();
        let wide = |columns: usize| Buffer::<f32>::new(driver, tokens * columns);
        let narrow = |columns: usize| Buffer::<Bf16>::new(driver, tokens * columns);
        let kept = size.layer_bytes().saturating_mul(layers) <= kept_bytes_max;
        let count = if kept { layers } else { 1 };
        let places = (0..count).map(|_| Place::keeping(driver, size)).collect::<Result<_>>()?;
        Ok(Self {
            places,
            streams: (0..=layers).map(|_| wide(hidden)).collect::<Result<_>>()?,
            attended: (0..count).map(|_| wide(hidden)).collect::<Result<_>>()?,
            last_normed: narrow(hidden)?,
            last_scales: wide(1)?,
            d_streams: [wide(hidden)?, wide(hidden)?],
            d_rounded: narrow(hidden)?,
            d_normed: narrow(hidden)?,
            d_mixed: narrow(queries)?,
            d_qkv: narrow(qkv)?,
            alongs: wide(heads)?,
            d_gated: narrow(inner)?,
            gate_up: narrow(2 * inner)?,
            d_gate_up: narrow(2 * inner)?,
            parts: Buffer::new(driver, tokens.div_ceil(NORM_ROWS) * hidden)?,
            sites: SiteRoom::new(driver, tokens, size.ranks)?,
        })
    }

    /// The first rows of what goes into a layer, or out of the last one.
    pub fn stream(&self, layer: usize, rows: usize, hidden: usize) -> Result<Buffer<f32>> {
        self.streams[layer].slice(0..rows * hidden)
    }

    /// What a layer keeps, and its rows between its halves.
    pub fn place(&self, layer: usize) -> (&Place, &Buffer<f32>) {
        let at = layer % self.places.len();
        (&self.places[at], &self.attended[at])
    }
}

/// A batch on the device, and what its passes leave for each other.
pub struct Learned {
    pub placed: Placed,
    pub logits: Buffer<f32>,
    /// Who is seen by which queries: by all, and by the last ones.
    visits: [Visits; 2],
    /// Where each token's row is among the prompts' last ones.
    from_last: Indices,
    /// Which tokens, and which labels of prompts, have which trained rows.
    looked_up: Option<Uses>,
    scored: Option<Uses>,
}

impl Learned {
    /// Copies a batch. `rows` are how many embeddings, and how many rows of the logits' matrix, are
    /// trained.
    pub fn of(
        resident: &Resident,
        learner: &Learner,
        batch: &Batch,
        rows: [Option<usize>; 2],
    ) -> Result<Self> {
        let (driver, shape) = (&*resident.driver, resident.shape(batch));
        let visits = |queries| Visits::of(driver, &shape, queries);
        let visits = [visits(Queries::All)?, visits(Queries::Last)?];
        let placed = resident.place(batch, visits.each_ref().map(|all| all.paths().clone()))?;
        let (tokens, prompts, labels) = (batch.tokens(), batch.prompts(), learner.labels());
        let mut from_last = vec![None; tokens];
        for (prompt, last) in (0..).zip(&batch.lasts) {
            from_last[*last as usize] = Some(prompt);
        }
        let row = |token: &u32| learner.row(*token);
        let tokens: Vec<Option<u32>> = batch.tokens.iter().map(row).collect();
        let scored: Vec<Option<u32>> = labels.iter().map(row).collect();
        let hidden = resident.config.hidden;
        let uses = |rows: Option<usize>, tokens: &[Option<u32>]| {
            rows.map(|rows| Uses::of(driver, [rows, hidden], tokens.iter().copied())).transpose()
        };
        Ok(Self {
            placed,
            logits: Buffer::new(driver, prompts * labels.len())?,
            visits,
            from_last: Indices::of_some(driver, &from_last)?,
            looked_up: uses(rows[0], &tokens)?,
            scored: uses(rows[1], &scored.repeat(prompts))?,
        })
    }
}

/// A layer's half on its way back.
#[derive(Clone, Copy)]
struct Half<'a> {
    layer: usize,
    rows: usize,
    /// The stream's gradient.
    d_stream: &'a Buffer<f32>,
}

impl ResidentLearner {
    /// Adds to the gradient what follows from the logits' gradient.
    pub(super) fn backward(&self, with: &Learned, d_logits: &[f32]) -> Result<()> {
        let (resident, room) = (&self.resident, &self.room);
        let Placed { tokens, prompts, .. } = with.placed;
        let (hidden, layers) = (resident.config.hidden, resident.weights.layers.len());
        let [all, last] = &room.d_streams;
        let d_stream = &all.slice(0..tokens * hidden)?;
        let d_last = &last.slice(0..prompts * hidden)?;
        self.head_backward(with, d_logits, d_last)?;
        for l in (0..layers).rev() {
            let ends = l + 1 == layers;
            let after = with.placed.after(l, layers);
            if room.places.len() == 1 && !ends {
                self.forward_layer(&with.placed, l)?;
            }
            let d_rows = if ends { d_last } else { d_stream };
            let half = Half { layer: l, rows: after.count, d_stream: d_rows };
            self.forward_half_backward(half, after)?;
            self.attention_half_backward(with, half, d_stream)?;
        }
        let (Some(uses), Some(place)) = (&with.looked_up, &self.places.embeddings) else {
            return Ok(());
        };
        let d_rows = &self.parameters.gradient(place)?;
        let call = LookupBackward { scale: 1.0, uses, weights: None, x: d_stream, d_rows };
        resident.driver.launch_all(&call.launches()?)
    }

    /// From the logits to the last layer's output.
    fn head_backward(&self, with: &Learned, d_logits: &[f32], d_last: &Buffer<f32>) -> Result<()> {
        let (resident, room, prompts) = (&self.resident, &self.room, with.placed.prompts);
        let (driver, hidden) = (&*resident.driver, resident.config.hidden);
        let h = &room.last_normed.slice(0..prompts * hidden)?;
        let d_h = &room.d_normed.slice(0..prompts * hidden)?;
        let candidates = (&self.candidates, with.logits.len() / prompts);
        let forward = resident.head(&with.placed, h, candidates, &with.logits);
        let place = self.places.scored.as_ref();
        let d_own = place.map(|place| self.parameters.gradient(place)).transpose()?;
        let d_own = with.scored.as_ref().zip(d_own.as_ref());
        let d_own = d_own.map(|(uses, d_own)| OwnRows { uses, d_own });
        let d_logits = &Buffer::of(driver, d_logits)?;
        let call = CandidateLogitsBackward { forward, d_logits, d_h, d_own };
        driver.launch_all(&call.launches()?)?;
        clear(driver, d_last)?;
        let x = room.stream(resident.weights.layers.len(), prompts, hidden)?;
        let trained = self.places.last_norm.as_ref();
        let weight = &resident.weights.last_norm;
        self.norm_backward((&x, &room.last_scales), (weight, trained), d_last)
    }

    /// From a layer's output to what goes into its forward layer.
    fn forward_half_backward(&self, half: Half<'_>, after: After<'_>) -> Result<()> {
        let Half { layer: l, rows, d_stream } = half;
        let (resident, room) = (&self.resident, &self.room);
        let DecoderConfig { hidden, inner, .. } = resident.config;
        let (driver, layer) = (&*resident.driver, &resident.weights.layers[l]);
        let (place, attended) = room.place(l);
        let d_out = &rounded(&*self.resident.driver, d_stream, &self.room.d_rounded)?;
        let d_gated = &room.d_gated.slice(0..rows * inner)?;
        self.site_backward((l, 3), rows, &place.gated, d_out, d_gated)?;
        let [.., gate_up, _] = &layer.sites;
        let sums = &gate_up.left(rows, &place.sums[2])?;
        let x = &room.gate_up.slice(0..rows * 2 * inner)?;
        let call = LoraLinear { sums: gate_up.sums(rows, sums, after.chosen), out: x };
        driver.launch(&call.launch()?)?;
        let d_x = &room.d_gate_up.slice(0..rows * 2 * inner)?;
        let shape = GatedShape { rows, hidden: inner };
        driver.launch(&GatedBackward { shape, x, d_out: d_gated, d_x }.launch()?)?;
        let d_normed = &room.d_normed.slice(0..rows * hidden)?;
        self.site_backward((l, 2), rows, &place.forward_normed, d_x, d_normed)?;
        let x = attended.slice(0..rows * hidden)?;
        let trained = self.places.layers[l].norms.as_ref().map(|[_, forward]| forward);
        let weight = (&layer.forward_norm, trained);
        self.norm_backward((&x, &place.forward_scales), weight, d_stream)
    }

    /// From what goes into a layer's forward layer to what goes into the layer, in `d_stream`.
    fn attention_half_backward(
        &self,
        with: &Learned,
        half: Half<'_>,
        d_stream: &Buffer<f32>,
    ) -> Result<()> {
        let Half { layer: l, rows, d_stream: d_attended } = half;
        let (resident, room, tokens) = (&self.resident, &self.room, with.placed.tokens);
        let DecoderConfig { hidden, heads, shared, .. } = resident.config;
        let (driver, layer) = (&*resident.driver, &resident.weights.layers[l]);
        let ([queries, row], wide) = (resident.size(tokens).rows(), resident.heads.wide);
        let (place, _) = room.place(l);
        let d_out = &rounded(&*self.resident.driver, d_attended, &self.room.d_rounded)?;
        let d_mixed = &room.d_mixed.slice(0..rows * queries)?;
        self.site_backward((l, 1), rows, &place.mixed, d_out, d_mixed)?;
        let ends = l + 1 == resident.weights.layers.len();
        if ends {
            let x = Some((d_attended, &with.from_last));
            driver.launch(&Spread { columns: hidden, x, out: d_stream }.launch()?)?;
        }
        let d_qkv = &room.d_qkv.slice(0..tokens * row)?;
        let call = GroupedAttentionBackward {
            visits: &with.visits[usize::from(ends)],
            dropout: Dropout::NONE,
            scale: resident.heads.scale(),
            qkv: &place.qkv.slice(0..tokens * row)?,
            statistics: &place.statistics.slice(0..rows * heads)?,
            out: &place.mixed.slice(0..rows * queries)?,
            d_out: d_mixed,
            alongs: &room.alongs.slice(0..rows * heads)?,
            d_qkv,
        };
        driver.launch_all(&call.launches()?)?;
        let (positions, table) = (&with.placed.positions, &resident.weights.angles);
        let (all, turned) = (heads + 2 * shared, heads + shared);
        let call = RotaryBackward { heads: all, turned, width: wide, positions, table, d_qkv };
        driver.launch(&call.launch()?)?;
        let d_normed = &room.d_normed.slice(0..tokens * hidden)?;
        self.site_backward((l, 0), tokens, &place.attention_normed, d_qkv, d_normed)?;
        let x = room.stream(l, tokens, hidden)?;
        let trained = self.places.layers[l].norms.as_ref().map(|[attention, _]| attention);
        let weight = (&layer.attention_norm, trained);
        self.norm_backward((&x, &place.attention_scales), weight, d_stream)
    }

    /// d_x = the gradient of a site's rows; its weight's or its factors' is added to.
    fn site_backward(
        &self,
        (l, site): (usize, usize),
        rows: usize,
        x: &Buffer<Bf16>,
        d_out: &Buffer<Bf16>,
        d_x: &Buffer<Bf16>,
    ) -> Result<()> {
        let Self { resident, places, parameters, room, .. } = self;
        let with = &resident.weights.layers[l].sites[site];
        let trained = &places.layers[l].sites[site];
        let sums = &room.place(l).0.sums[site];
        let room = &room.sites;
        SiteBackward { parameters, room, with, trained, rows, x, sums, d_out }.run(d_x, false)
    }

    /// Adds to `d_x` what comes through a norm from `d_normed`, and to its weight's gradient.
    fn norm_backward(
        &self,
        (x, scales): (&Buffer<f32>, &Buffer<f32>),
        (weight, trained): (&Buffer<f32>, Option<&Range<usize>>),
        d_x: &Buffer<f32>,
    ) -> Result<()> {
        let (driver, room, hidden) = (&*self.resident.driver, &self.room, weight.len());
        let shape = NormShape { rows: x.len() / hidden, hidden };
        let parts = &room.parts.slice(0..shape.rows.div_ceil(NORM_ROWS) * hidden)?;
        let d_weight = trained.map(|place| self.parameters.gradient(place)).transpose()?;
        let d_weight = d_weight.as_ref().map(|d_weight| NormWeight { parts, d_weight });
        let statistics = &scales.slice(0..shape.rows)?;
        let d_out = &room.d_normed.slice(0..x.len())?;
        let call = RmsNormBackward { shape, x, statistics, weight, d_out, d_x, d_weight };
        driver.launch_all(&call.launches()?)
    }
}
