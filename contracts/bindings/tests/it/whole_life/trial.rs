//! Juries, with all their jurors' keys in one hand.

use framemill_contracts::Verdict;

use super::{FINDER, Life, orchestrators};
use crate::model::{Op, Stand, Who};

impl Life<'_> {
    /// Draws juries until one decides, as `verdict` says. One juror stays away, one votes the other way.
    pub(super) async fn judge(&mut self, dispute: usize, verdict: Verdict) {
        self.mirror.flush().await;
        while self.mirror.model.court.disputes[dispute].stand == Stand::Judged {
            let jurors = self.claim(dispute).await;
            self.vote(dispute, verdict, &jurors).await;
            self.mirror.plan(Op::CountVotes { who: FINDER, dispute });
            self.mirror.flush().await;
        }
        assert_eq!(self.mirror.model.court.disputes[dispute].stand, Stand::Decided, "every jury failed");
        assert_eq!(self.mirror.model.court.disputes[dispute].verdict, Some(verdict));
    }

    /// Whoever the model draws claims its seats. So does one that it does not draw, and is refused.
    async fn claim(&mut self, dispute: usize) -> Vec<Who> {
        let seed = self.mirror.draw(dispute).await;
        let mut jurors = Vec::new();
        let mut refused = 0;
        for who in orchestrators() {
            let address = self.mirror.address(who);
            let drawn = self.mirror.model.seats(dispute, who, address, seed) != 0;
            if drawn {
                jurors.push(who);
            } else if refused == 3 {
                continue;
            } else {
                refused += 1;
            }
            self.mirror.plan(Op::ClaimSeat { who, address, dispute, seed });
        }
        self.mirror.flush().await;
        jurors
    }

    async fn vote(&mut self, dispute: usize, verdict: Verdict, jurors: &[Who]) {
        let jury = self.mirror.jury(dispute).await;
        let seats = |who: &Who| self.mirror.model.court.juries[jury.place].seats[who].seats;
        let claimed: u64 = jurors.iter().map(seats).sum();
        let size = self.mirror.model.court.juries[jury.place].size;
        // With few seats everybody is needed.
        let spare = 4 * claimed > 3 * size && jurors.len() > 6;
        let other = if verdict == Verdict::Guilty { Verdict::NotGuilty } else { Verdict::Guilty };
        let votes = jurors.iter().enumerate().filter_map(|(place, who)| match place {
            0 if spare => None,
            1 if spare => Some((*who, other)),
            2 if spare => Some((*who, Verdict::Unavailable)),
            _ => Some((*who, verdict)),
        });
        let votes: Vec<_> = votes.collect();
        for (who, verdict) in &votes {
            self.mirror.plan(Op::CommitVote { who: *who, dispute, verdict: *verdict });
        }
        self.mirror.flush().await;
        self.mirror.reach(jury.commit_until).await;
        for (who, verdict) in votes {
            self.mirror.plan(Op::RevealVote { who, dispute, verdict });
        }
        self.mirror.flush().await;
        self.mirror.reach(jury.reveal_until).await;
    }

    /// Carries a verdict out once nobody can appeal it any more, and settles with every juror.
    pub(super) async fn execute(&mut self, dispute: usize) {
        self.mirror.wait_for_appeals(dispute).await;
        self.mirror.plan(Op::Execute { who: FINDER, dispute });
        let juries = self.mirror.model.court.juries.iter().enumerate();
        let seats: Vec<(usize, Who)> = juries
            .filter(|(_, jury)| jury.dispute == dispute)
            .flat_map(|(place, jury)| jury.seats.keys().map(move |who| (place, *who)))
            .collect();
        for (jury, juror) in seats {
            self.mirror.plan(Op::SettleJuror { who: FINDER, jury, juror });
        }
        self.mirror.flush().await;
    }
}
