//! The crate `gbdt`, fed XGBoost's dump.

use gbdt::decision_tree::{Data, DataVec, VALUE_TYPE_UNKNOWN};
use gbdt::gradient_boost::GBDT;
use infer::math;

use super::{Blocks, Engine, widened};
use crate::bench::trees::forest::Forest;

/// A model for each output: the crate's own way with classes takes their probabilities' sum in f32, which XGBoost takes in f64. So the
/// softmax is ours; the trees are walked as often either way.
pub struct Gbdt {
    outputs: Vec<GBDT>,
    softmax: bool,
    blocks: Vec<DataVec>,
    answers: Vec<f32>,
}

impl Gbdt {
    pub fn load(forest: &Forest) -> anyhow::Result<Self> {
        let output = |output| {
            // For this objective, predictions are the sums themselves.
            GBDT::from_xgboost_reader(forest.dump(output).as_bytes(), "reg:linear")
                .map_err(|error| anyhow::anyhow!("gbdt does not take the model: {error}"))
        };
        let outputs = (0..forest.base.len()).map(output).collect::<Result<_, _>>()?;
        Ok(Self { outputs, softmax: forest.softmax, blocks: Vec::new(), answers: Vec::new() })
    }
}

impl Engine for Gbdt {
    fn name(&self) -> &'static str {
        "gbdt"
    }

    /// The crate wants each row in a vector of its own, and the lowest f32 where a value is missing.
    fn prepare(&mut self, blocks: Blocks<'_>) -> anyhow::Result<()> {
        let known = |value: &f32| if value.is_nan() { VALUE_TYPE_UNKNOWN } else { *value };
        let row = |row: &[f32]| Data::new_test_data(row.iter().map(known).collect(), None);
        let features = blocks.rows.features;
        self.blocks = blocks.all().map(|values| values.chunks_exact(features).map(row).collect()).collect();
        Ok(())
    }

    fn predict(&mut self, _: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        let outputs = self.outputs.len();
        if let [output] = self.outputs.as_slice() {
            self.answers = output.predict(&self.blocks[block]);
            return Ok(());
        }
        self.answers.resize(self.blocks[block].len() * outputs, 0.0);
        for (at, output) in self.outputs.iter().enumerate() {
            let sums = output.predict(&self.blocks[block]);
            self.answers.iter_mut().skip(at).step_by(outputs).zip(sums).for_each(|(answer, sum)| *answer = sum);
        }
        if self.softmax {
            self.answers.chunks_exact_mut(outputs).for_each(math::softmax);
        }
        Ok(())
    }

    fn answers(&self) -> Vec<f64> {
        widened(&self.answers)
    }
}
