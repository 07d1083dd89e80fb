//! Which way a forest predicts batches: chosen when it is built, by the machine's instructions and the trees' shape.

use super::blend::{Costs, Plan, Predict};
use super::lanes::{Portable, Work};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::{Blend, Forest, PredictError, Scalar};

/// A way to predict batches. All answer the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every row walks every tree.
    Walk,
    /// Trees are blended, in integers of 64 bits.
    Portable,
    /// Trees are blended, 32 rows a vector.
    Avx2,
    /// Trees are blended, 64 rows a vector.
    Avx512,
}

impl Layout {
    /// Those that this machine has the instructions for, the best one last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let all = [Self::Walk, Self::Portable, Self::Avx2, Self::Avx512];
        all.into_iter().filter(|layout| layout.is_available()).collect()
    }

    /// The best that this machine has the instructions for.
    #[must_use]
    pub fn best() -> Self {
        [Self::Avx512, Self::Avx2].into_iter().find(|layout| layout.is_available()).unwrap_or(Self::Portable)
    }

    fn is_available(self) -> bool {
        match self {
            Self::Walk | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// As measured on Zen 5: how many splits, asked of all rows of a group, take as long as one step of a walk for a row.
    fn costs(self) -> Costs {
        match self {
            Self::Walk => Costs { walk: 0 },
            Self::Portable => Costs { walk: 5 },
            Self::Avx2 => Costs { walk: 100 },
            Self::Avx512 => Costs { walk: 110 },
        }
    }
}

impl<X: Scalar, V: Scalar> Forest<X, V> {
    /// The same forest, predicting batches in this way; by walking if the machine lacks the instructions, or if walking suits
    /// the trees better.
    #[must_use]
    pub fn laid_out(self, layout: Layout) -> Self {
        self.laid_out_within(layout, usize::MAX)
    }

    pub(super) fn laid_out_within(mut self, layout: Layout, max_bytes: usize) -> Self {
        self.layout = layout;
        self.blend = None;
        let plan = Plan {
            columns: &self.columns,
            trees: &self.trees,
            nodes: &self.nodes,
            leaves: &self.leaves,
            outputs: self.outputs(),
            costs: layout.costs(),
            // Beside what the forest itself takes.
            max_bytes: max_bytes.saturating_sub(self.memory_bytes()),
        };
        self.blend = if layout.is_available() { plan.lay_out().map(Box::new) } else { None };
        if self.blend.is_none() {
            self.layout = Layout::Walk;
        }
        self
    }

    /// How batches are predicted.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Adds the leaves that each row reaches to `out`, which has the base scores.
    pub(super) fn blend(
        &self,
        blend: &Blend<X, V>,
        rows: &[X],
        out: &mut [V],
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        let (leaves, features, outputs) = (&self.leaves, self.features, self.outputs());
        let work = Predict { blend, leaves, rows, features, out, outputs, cancel };
        match self.layout {
            #[cfg(target_arch = "x86_64")]
            Layout::Avx512 if let Some(lanes) = Avx512::detect() => lanes.run(work),
            #[cfg(target_arch = "x86_64")]
            Layout::Avx2 if let Some(lanes) = Avx2::detect() => lanes.run(work),
            _ => work.run(Portable),
        }
    }
}
