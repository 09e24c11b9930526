//! How far a follower has read: the last blocks and what they held, so that a reorganisation can be undone. No I/O.

use std::{collections::VecDeque, fs, io, path::Path};

use alloy::{primitives::B256, rpc::types::Log};
use serde::{Deserialize, Serialize};

use crate::{ChainError, follow::BlockRef, journal::write_whole};

/// Blocks that can be undone: Ethereum finalizes after two epochs of 32.
pub const REORG_WINDOW: usize = 64;

/// One block that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) block: BlockRef,
    pub(super) logs: Vec<Log>,
}

/// How far a follower has read. Store it with what its events did, and a restart neither misses nor repeats one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// At most [`REORG_WINDOW`] blocks, each the parent of the next, newest last.
    blocks: VecDeque<Seen>,
}

impl Cursor {
    /// The last block read.
    pub fn tip(&self) -> Option<BlockRef> {
        self.blocks.back().map(|seen| seen.block)
    }

    /// The oldest block that can still be undone.
    pub fn oldest(&self) -> Option<BlockRef> {
        self.blocks.front().map(|seen| seen.block)
    }

    /// Reads a cursor file; `None` when there is none.
    ///
    /// # Errors
    /// [`ChainError::Journal`] when it cannot be read or is no cursor.
    pub fn load(path: &Path) -> Result<Option<Self>, ChainError> {
        let error = |reason: String| ChainError::Journal { path: path.display().to_string(), reason };
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| error(e.to_string())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(error(e.to_string())),
        }
    }

    /// Writes a cursor file, whole or not at all.
    ///
    /// # Errors
    /// [`ChainError::Journal`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ChainError> {
        let text = serde_json::to_vec(self).expect("a cursor is plain data");
        write_whole(path, &text)
            .map_err(|e| ChainError::Journal { path: path.display().to_string(), reason: e.to_string() })
    }

    /// Takes a block on top; false when it is no child of the tip.
    pub(super) fn push(&mut self, block: BlockRef, parent: B256, logs: Vec<Log>) -> bool {
        if self.tip().is_some_and(|tip| tip.hash != parent || tip.number + 1 != block.number) {
            return false;
        }
        if self.blocks.len() == REORG_WINDOW {
            self.blocks.pop_front();
        }
        self.blocks.push_back(Seen { block, logs });
        true
    }

    /// How many of the newest blocks are not among `canonical`; all of them when the chain parted below the window.
    pub(super) fn orphans(&self, canonical: &[BlockRef]) -> usize {
        self.blocks.iter().rev().take_while(|seen| !canonical.contains(&seen.block)).count()
    }

    /// Undoes the newest `count` blocks, newest first.
    pub(super) fn undo(&mut self, count: usize) -> Vec<Seen> {
        (0..count).map_while(|_| self.blocks.pop_back()).collect()
    }

    /// Forgets all blocks: the next one begins a new window.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64, branch: u8) -> B256 {
        let mut hash = B256::repeat_byte(branch);
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn block(number: u64, branch: u8) -> BlockRef {
        BlockRef { number, hash: hash(number, branch) }
    }

    fn cursor(blocks: std::ops::Range<u64>) -> Cursor {
        let mut cursor = Cursor::default();
        for number in blocks {
            assert!(cursor.push(block(number, 1), hash(number.wrapping_sub(1), 1), vec![]));
        }
        cursor
    }

    #[test]
    fn a_block_that_is_no_child_of_the_tip_is_not_taken() {
        let mut cursor = cursor(5..8);
        assert!(!cursor.push(block(8, 1), hash(7, 2), vec![]));
        assert!(!cursor.push(block(9, 1), hash(7, 1), vec![]));
        assert_eq!(cursor.tip(), Some(block(7, 1)));
    }

    #[test]
    fn the_window_keeps_its_length() {
        let cursor = cursor(0..200);
        assert_eq!(cursor.blocks.len(), REORG_WINDOW);
        assert_eq!(cursor.oldest(), Some(block(200 - REORG_WINDOW as u64, 1)));
    }

    #[test]
    fn blocks_above_the_fork_are_undone_newest_first() {
        let mut cursor = cursor(5..9);
        let canonical = [block(5, 1), block(6, 1), block(7, 2), block(8, 2)];
        assert_eq!(cursor.orphans(&canonical), 2);
        let undone: Vec<_> = cursor.undo(2).into_iter().map(|seen| seen.block).collect();
        assert_eq!(undone, [block(8, 1), block(7, 1)]);
        assert_eq!(cursor.tip(), Some(block(6, 1)));
    }

    #[test]
    fn a_chain_that_parted_below_the_window_orphans_all_of_it() {
        let cursor = cursor(5..9);
        assert_eq!(cursor.orphans(&[block(5, 2), block(6, 2)]), 4);
    }

    #[test]
    fn a_cursor_comes_back_from_its_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor.json");
        assert_eq!(Cursor::load(&path).unwrap(), None);
        cursor(5..9).save(&path).unwrap();
        assert_eq!(Cursor::load(&path).unwrap(), Some(cursor(5..9)));
        std::fs::write(&path, "{").unwrap();
        assert!(Cursor::load(&path).is_err());
    }
}
