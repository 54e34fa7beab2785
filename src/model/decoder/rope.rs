//! Positions as angles: position · frequency[i], with frequency[i] = theta^(−2i / width).

/// How positions become angles.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// How a longer context than the one first trained on is reached; none for not at all.
    pub scaling: Option<Scaling>,
}

/// Llama 3's scaling: waves longer than `original / low` positions are made `factor` times longer,
/// those shorter than `original / high` are left, and those between are mixed.
///
/// Source: the `llama3` rope type of Hugging Face configurations, introduced with Llama 3.1.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// How many times longer.
    pub factor: f64,
    /// Waves that the original context holds fewer of than this are long.
    pub low: f64,
    /// Waves that the original context holds more of than this are short.
    pub high: f64,
    /// Positions of the original context.
    pub original: f64,
}

impl Rope {
    /// (width / 2) angles of position 1.
    fn frequencies(&self, width: usize) -> Vec<f32> {
        let scaled = |i: usize| {
            let plain = self.theta.powf(-((2 * i) as f64) / width as f64);
            let Some(Scaling { factor, low, high, original }) = self.scaling else { return plain };
            let waves = original * plain / std::f64::consts::TAU;
            let short = ((waves - low) / (high - low)).clamp(0.0, 1.0);
            plain * (short + (1.0 - short) / factor)
        };
        (0..width / 2).map(|i| scaled(i) as f32).collect()
    }

    /// Makes a table (positions, width) of cosines, then sines, at least `positions` long.
    pub fn extend(&self, width: usize, positions: usize, table: &mut Vec<f32>) {
        let known = table.len() / width;
        if known < positions {
            self.add(width, known as u32..positions as u32, table);
        }
    }

    /// A table with a row for each of some positions.
    pub fn table(&self, width: usize, positions: &[u32]) -> Vec<f32> {
        let mut table = Vec::with_capacity(positions.len() * width);
        self.add(width, positions.iter().copied(), &mut table);
        table
    }

    fn add(&self, width: usize, positions: impl Iterator<Item = u32>, table: &mut Vec<f32>) {
        let frequencies = self.frequencies(width);
        for position in positions {
            // In f32, since that is what models are trained with.
            let angles = frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
            table.extend(angles.clone().map(|angle| angle.cos() as f32));
            table.extend(angles.map(|angle| angle.sin() as f32));
        }
    }
}
