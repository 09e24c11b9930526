//! The active set: who is in the next round, highest stake first.

use alloy::primitives::U256;

use super::PoolId;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Set {
    members: Vec<(PoolId, U256)>,
}

impl Set {
    pub(crate) fn contains(&self, id: PoolId) -> bool {
        self.members.iter().any(|member| member.0 == id)
    }

    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn last(&self) -> Option<(PoolId, U256)> {
        self.members.last().copied()
    }

    pub(crate) fn total(&self) -> U256 {
        self.members.iter().map(|member| member.1).sum()
    }

    pub(crate) fn order(&self) -> impl Iterator<Item = PoolId> {
        self.members.iter().map(|member| member.0)
    }

    /// Behind all that have as much.
    pub(crate) fn insert(&mut self, id: PoolId, stake: U256) {
        let place = self.members.iter().take_while(|member| member.1 >= stake).count();
        self.members.insert(place, (id, stake));
    }

    pub(crate) fn remove(&mut self, id: PoolId) {
        self.members.retain(|member| member.0 != id);
    }

    /// Who still fits between its neighbours stays where it is.
    pub(crate) fn update(&mut self, id: PoolId, stake: U256) {
        let Some(place) = self.members.iter().position(|member| member.0 == id) else { return };
        let above = place.checked_sub(1).map(|above| self.members[above].1);
        let below = self.members.get(place + 1).map(|below| below.1);
        if above.is_none_or(|above| above >= stake) && below.is_none_or(|below| below <= stake) {
            self.members[place].1 = stake;
            return;
        }
        self.remove(id);
        self.insert(id, stake);
    }
}
