//! The votes of this account, on disk before anything of them is sent: without its salt a vote cannot be revealed.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use framemill_contracts::{Verdict, write_whole};
use serde::{Deserialize, Serialize};

use crate::error::OrchestratorError;

/// Votes that are kept, newest juries first: far more than juries that an account sits in at a time.
const MAX_VOTES: usize = 1_024;

/// A vote with what hides it until it is revealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vote {
    /// The jury.
    pub(super) jury: u64,
    /// What is judged: a jury's number may come to mean another case when blocks are taken back.
    pub(super) case: B256,
    /// The vote.
    pub(super) verdict: Verdict,
    /// What hides it.
    pub(super) salt: B256,
    /// Why, for people.
    pub(super) reason: String,
}

/// The file's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    chain_id: u64,
    juror: Address,
    votes: Vec<Vote>,
}

/// All votes of one account, and the file that holds them.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    page: Page,
}

impl Book {
    /// Reads the file; a missing one holds no votes.
    ///
    /// # Errors
    /// It cannot be read, is malformed, or is of another account or chain.
    pub(super) fn open(path: &Path, chain_id: u64, juror: Address) -> Result<Self, OrchestratorError> {
        let error = |reason: String| OrchestratorError::Votes { path: path.to_owned(), reason };
        let page = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|malformed| error(malformed.to_string()))?,
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
                Page { chain_id, juror, votes: Vec::new() }
            }
            Err(unreadable) => return Err(error(unreadable.to_string())),
        };
        if (page.chain_id, page.juror) != (chain_id, juror) {
            return Err(error(format!("it is of account {} on chain {}", page.juror, page.chain_id)));
        }
        Ok(Self { path: path.to_owned(), page })
    }

    /// The vote in a jury about a case.
    pub(super) fn vote(&self, jury: u64, case: B256) -> Option<&Vote> {
        self.page.votes.iter().find(|vote| (vote.jury, vote.case) == (jury, case))
    }

    /// Whether there is a vote in this jury.
    pub(super) fn knows(&self, jury: u64) -> bool {
        self.page.votes.iter().any(|vote| vote.jury == jury)
    }

    /// Adds a vote, which is on disk when this returns. One that is there stays: it may be committed to.
    ///
    /// # Errors
    /// It cannot be written; then nothing was added.
    pub(super) fn add(&mut self, vote: Vote) -> Result<(), OrchestratorError> {
        if self.vote(vote.jury, vote.case).is_some() {
            return Ok(());
        }
        let mut page = self.page.clone();
        page.votes.push(vote);
        page.votes.sort_by_key(|vote| vote.jury);
        let surplus = page.votes.len().saturating_sub(MAX_VOTES);
        page.votes.drain(..surplus);
        let text = serde_json::to_vec(&page).expect("votes are plain data");
        write_whole(&self.path, &text).map_err(|error| OrchestratorError::Votes {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        self.page = page;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Address = Address::repeat_byte(1);

    fn vote(jury: u64, verdict: Verdict) -> Vote {
        Vote {
            jury,
            case: B256::repeat_byte(2),
            verdict,
            salt: B256::repeat_byte(jury as u8),
            reason: String::new(),
        }
    }

    #[test]
    fn a_vote_is_there_after_a_restart_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("votes.json");
        let mut book = Book::open(&path, 1, ME).unwrap();
        book.add(vote(7, Verdict::Guilty)).unwrap();
        book.add(Vote { salt: B256::ZERO, ..vote(7, Verdict::NotGuilty) }).unwrap();
        let again = Book::open(&path, 1, ME).unwrap();
        assert_eq!(again.vote(7, B256::repeat_byte(2)), Some(&vote(7, Verdict::Guilty)));
        assert!(again.knows(7) && !again.knows(8));
    }

    #[test]
    fn a_jury_that_came_to_judge_another_case_has_no_vote_yet() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(&folder.path().join("votes.json"), 1, ME).unwrap();
        book.add(vote(7, Verdict::Guilty)).unwrap();
        assert_eq!(book.vote(7, B256::repeat_byte(3)), None);
        book.add(Vote { case: B256::repeat_byte(3), ..vote(7, Verdict::NotGuilty) }).unwrap();
        assert_eq!(book.vote(7, B256::repeat_byte(2)).map(|vote| vote.verdict), Some(Verdict::Guilty));
    }

    #[test]
    fn the_votes_of_another_account_or_chain_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("votes.json");
        Book::open(&path, 1, ME).unwrap().add(vote(1, Verdict::Guilty)).unwrap();
        assert!(Book::open(&path, 2, ME).is_err());
        assert!(Book::open(&path, 1, Address::ZERO).is_err());
        std::fs::write(&path, "{").unwrap();
        assert!(Book::open(&path, 1, ME).is_err());
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(&folder.path().join("votes.json"), 1, ME).unwrap();
        book.page.votes = (0..MAX_VOTES as u64).map(|jury| vote(jury, Verdict::Guilty)).collect();
        book.add(vote(5_000, Verdict::Guilty)).unwrap();
        assert_eq!(book.page.votes.len(), MAX_VOTES);
        assert!(book.knows(5_000) && !book.knows(0));
    }
}
