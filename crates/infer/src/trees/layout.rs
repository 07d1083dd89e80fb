//! Which way a forest predicts batches: chosen when it is built, by the machine's instructions and the trees' shape.

use std::sync::OnceLock;

use super::blend::{Costs, Plan, Predict};
use super::lanes::{Portable, Work};
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::{Blend, FEW_ROWS, Forest, Lazy, PredictError, Scalar};

/// A way to predict batches. All answer the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every row walks every tree.
    Walk,
    /// Trees are blended, in integers of 64 bits.
    Portable,
    /// Trees are blended, 128 rows a vector.
    Neon,
    /// Trees are blended, 256 rows a vector.
    Avx2,
    /// Trees are blended, 512 rows a vector.
    Avx512,
}

impl Layout {
    /// Those that this machine has the instructions for, the best one last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let all = [Self::Walk, Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];
        all.into_iter().filter(|layout| layout.is_available()).collect()
    }

    /// The best that this machine has the instructions for.
    #[must_use]
    pub fn best() -> Self {
        [Self::Avx512, Self::Avx2, Self::Neon]
            .into_iter()
            .find(|layout| layout.is_available())
            .unwrap_or(Self::Portable)
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
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::detect().is_some(),
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon => false,
        }
    }

    /// How many splits, asked of all rows of a group, take as long as one step of a walk for each of them: as measured on Zen 5. Neon's is
    /// that of the vectors of 128 bits there.
    fn costs(self) -> Costs {
        match self {
            Self::Walk => Costs { walk: 0 },
            Self::Portable | Self::Neon => Costs { walk: 150 },
            Self::Avx2 => Costs { walk: 400 },
            Self::Avx512 => Costs { walk: 1000 },
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
        (self.layout, self.blend_bytes, self.blend) = (layout, 0, Lazy(OnceLock::new()));
        let left = max_bytes.saturating_sub(self.memory_bytes());
        match self.plan().bytes().filter(|(own, more)| layout.is_available() && own.saturating_add(*more) <= left) {
            Some((own, _)) => self.blend_bytes = own,
            None => self.layout = Layout::Walk,
        }
        self
    }

    fn plan(&self) -> Plan<'_, X, V> {
        Plan {
            columns: &self.columns,
            trees: &self.trees,
            nodes: &self.nodes,
            leaves: &self.leaves,
            outputs: self.outputs(),
            costs: self.layout.costs(),
        }
    }

    /// How batches are predicted.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if self.blend_for(usize::MAX).is_some() { self.layout } else { Layout::Walk }
    }

    /// The blend, if so many rows are better blended than walked.
    pub(super) fn blend_for(&self, rows: usize) -> Option<&Blend<X, V>> {
        if rows <= FEW_ROWS || self.layout == Layout::Walk {
            return None;
        }
        self.blend.0.get_or_init(|| self.plan().lay_out().map(Box::new)).as_deref()
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
            #[cfg(target_arch = "aarch64")]
            Layout::Neon if let Some(lanes) = Neon::detect() => lanes.run(work),
            _ => work.run(Portable),
        }
    }
}
