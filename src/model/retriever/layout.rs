//! Where each tensor lies among a retriever's parameters.

use super::RetrieverConfig;
use crate::model::weights::TensorSpec;
use std::ops::Range;

/// A weight and its bias lie next to each other, and so one range names both.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
    end: usize,
    /// (items, hidden).
    pub items: Range<usize>,
    /// (length_max, hidden): the last item has the last position.
    pub positions: Range<usize>,
    pub blocks: Vec<BlockLayout>,
    pub last_norm: Range<usize>,
}

#[derive(Clone, Debug)]
pub struct BlockLayout {
    pub attention_norm: Range<usize>,
    /// Queries, keys and values: (3 · hidden, hidden).
    pub projection: Range<usize>,
    pub output: Range<usize>,
    pub forward_norm: Range<usize>,
    pub first: Range<usize>,
    pub second: Range<usize>,
}

impl BlockLayout {
    /// Weight and bias of a product: 0 for that of queries, keys and values, 1 for the output, 2
    /// and 3 for the forward ones.
    pub fn weight_and_bias(&self, site: usize, hidden: usize) -> [Range<usize>; 2] {
        let all = [&self.projection, &self.output, &self.first, &self.second][site];
        let bias = all.end - all.len() / (hidden + 1);
        [all.start..bias, bias..all.end]
    }
}

impl Layout {
    pub fn of(config: &RetrieverConfig) -> Self {
        let d = config.hidden;
        let mut layout = Self::default();
        layout.items = layout.tensor("item_emb.weight".into(), &[config.items, d]);
        layout.positions = layout.tensor("pos_emb.weight".into(), &[config.length_max, d]);
        for b in 0..config.blocks {
            let attention = format!("attention_layers.{b}");
            let block = BlockLayout {
                attention_norm: layout.affine(&format!("attention_layernorms.{b}."), &[d]),
                projection: layout.affine(&format!("{attention}.in_proj_"), &[3 * d, d]),
                output: layout.affine(&format!("{attention}.out_proj."), &[d, d]),
                forward_norm: layout.affine(&format!("forward_layernorms.{b}."), &[d]),
                first: layout.affine(&format!("forward_layers.{b}.conv1."), &[d, d]),
                second: layout.affine(&format!("forward_layers.{b}.conv2."), &[d, d]),
            };
            layout.blocks.push(block);
        }
        layout.last_norm = layout.affine("last_layernorm.", &[d]);
        layout
    }

    /// In the order of the parameters.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.end
    }

    /// The tensor that a parameter belongs to.
    pub fn name_at(&self, parameter: usize) -> &str {
        let mut end = 0;
        let found = self.tensors.iter().find(|tensor| {
            end += tensor.len();
            parameter < end
        });
        found.map_or("", |tensor| &tensor.name)
    }

    fn affine(&mut self, prefix: &str, shape: &[usize]) -> Range<usize> {
        let weight = self.tensor(format!("{prefix}weight"), shape);
        let bias = self.tensor(format!("{prefix}bias"), &shape[..1]);
        weight.start..bias.end
    }

    fn tensor(&mut self, name: String, shape: &[usize]) -> Range<usize> {
        let tensor = TensorSpec { name, shape: shape.to_vec() };
        let start = self.end;
        self.end += tensor.len();
        self.tensors.push(tensor);
        start..self.end
    }
}
