//! Binary Merkle tree over Keccak-256, checked by position.

use alloy_primitives::{B256, Keccak256};

/// Most siblings in a branch: a tree over 2^32 leaves, more than any index on the wire can name.
pub const MAX_BRANCH: usize = 32;

/// Leaves and inner nodes hash under different prefixes, so that no node can be passed off as a leaf (RFC 9162, section 2.1).
const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// Hash of a leaf's bytes.
pub fn leaf_hash(data: &[u8]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(data);
    hasher.finalize()
}

/// Root over leaf hashes; a node without a sibling moves up unchanged. The root of no leaves is zero.
pub fn root(leaves: &[B256]) -> B256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = next_level(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// The siblings from a leaf up to the root, `None` when there is no such leaf.
pub fn branch(leaves: &[B256], index: usize) -> Option<Vec<B256>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut level, mut position, mut siblings) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        siblings.extend(level.get(position ^ 1).copied());
        level = next_level(&level);
        position /= 2;
    }
    Some(siblings)
}

/// True when `branch` proves that `leaf` is at `index` of the `count` leaves under `root`.
pub fn verify(root: B256, leaf: B256, index: usize, count: usize, branch: &[B256]) -> bool {
    if index >= count || branch.len() > MAX_BRANCH {
        return false;
    }
    let (mut hash, mut position, mut width) = (leaf, index, count);
    let mut siblings = branch.iter();
    while width > 1 {
        if position ^ 1 < width {
            let Some(&sibling) = siblings.next() else { return false };
            hash = if position % 2 == 0 { node_hash(hash, sibling) } else { node_hash(sibling, hash) };
        }
        position /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none() && hash == root
}

fn next_level(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match *pair {
            [left, right] => node_hash(left, right),
            _ => pair[0],
        })
        .collect()
}

fn node_hash(left: B256, right: B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update([NODE_PREFIX]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<B256> {
        (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    #[test]
    fn a_node_is_not_a_leaf() {
        let pair = leaves(2);
        let joined = [pair[0].as_slice(), pair[1].as_slice()].concat();
        assert_ne!(leaf_hash(&joined), root(&pair));
    }

    #[test]
    fn the_root_of_one_leaf_is_the_leaf() {
        assert_eq!(root(&leaves(1)), leaves(1)[0]);
    }

    proptest! {
        #[test]
        fn every_branch_verifies_at_its_own_place_only(count in 1_usize..20, index in 0_usize..20, other in 0_usize..20) {
            let leaves = leaves(count);
            let top = root(&leaves);
            prop_assume!(index < count);
            let branch = branch(&leaves, index).unwrap();
            prop_assert!(verify(top, leaves[index], index, count, &branch));
            if other != index {
                prop_assert!(!verify(top, leaves[index], other, count, &branch));
            }
            prop_assert!(!verify(top, leaf_hash(b"other"), index, count, &branch));
        }

        #[test]
        fn a_branch_with_a_sibling_more_or_less_is_refused(count in 2_usize..20, index in 0_usize..20) {
            let leaves = leaves(count);
            prop_assume!(index < count);
            let mut siblings = branch(&leaves, index).unwrap();
            siblings.push(B256::ZERO);
            prop_assert!(!verify(root(&leaves), leaves[index], index, count, &siblings));
            siblings.truncate(siblings.len() - 2);
            prop_assert!(!verify(root(&leaves), leaves[index], index, count, &siblings));
        }
    }
}
