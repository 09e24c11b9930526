//! Terms of orchestrators, and the rules that the owner changes.

use super::{Model, Outcome, Who};

impl Model {
    /// What is better for delegators holds at once, what is worse when those who leave now are gone.
    pub(super) fn set_terms(&mut self, who: Who, cut: u64, share: u64) -> Outcome {
        let id = self.registered(who)?;
        if cut > 1_000_000 || share > 1_000_000 {
            return Err("OutOfBounds");
        }
        let later = self.height_round + self.rules.unbonding_rounds + 1;
        let pool = &mut self.pools[id];
        if pool.ready {
            pool.reward_cut = pool.reward_cut.min(cut);
            pool.fee_share = pool.fee_share.max(share);
            let all = (pool.reward_cut, pool.fee_share) == (cut, share);
            pool.next_terms = (!all).then_some((later, cut, share));
        } else {
            (pool.reward_cut, pool.fee_share, pool.ready) = (cut, share, true);
        }
        self.sync(id);
        Ok(())
    }
}
