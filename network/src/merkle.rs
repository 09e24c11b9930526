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
    MerkleTree::new(leaves.to_vec()).branch(index)
}

/// A tree with all its levels, for who opens it node by node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleTree {
    /// The leaves first, the root alone last.
    levels: Vec<Vec<B256>>,
}

impl MerkleTree {
    /// The tree over these leaf hashes.
    pub fn new(leaves: Vec<B256>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(next_level(level));
        }
        Self { levels }
    }

    /// The root, zero when there is no leaf.
    pub fn root(&self) -> B256 {
        self.node(self.levels.len() - 1, 0).unwrap_or_default()
    }

    /// The leaves in order.
    pub fn leaves(&self) -> &[B256] {
        &self.levels[0]
    }

    /// A node by its height above the leaves and its place in that level.
    pub fn node(&self, level: usize, index: usize) -> Option<B256> {
        self.levels.get(level)?.get(index).copied()
    }

    /// The siblings from a leaf up to the root, `None` when there is no such leaf.
    pub fn branch(&self, index: usize) -> Option<Vec<B256>> {
        self.levels[0].get(index)?;
        let siblings = self.levels.iter().enumerate().filter_map(|(height, level)| {
            let position = index >> height;
            level.get(position ^ 1).copied()
        });
        Some(siblings.collect())
    }
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

/// Hash of an inner node.
pub fn node_hash(left: B256, right: B256) -> B256 {
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
        fn a_tree_has_the_root_of_its_leaves_and_every_node_the_hash_of_its_children(count in 0_usize..40) {
            let tree = MerkleTree::new(leaves(count));
            prop_assert_eq!(tree.root(), root(&leaves(count)));
            for (height, level) in tree.levels.iter().enumerate().skip(1) {
                for (index, &node) in level.iter().enumerate() {
                    let left = tree.node(height - 1, 2 * index).unwrap();
                    let joined = tree.node(height - 1, 2 * index + 1).map_or(left, |right| node_hash(left, right));
                    prop_assert_eq!(node, joined);
                }
            }
        }

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
