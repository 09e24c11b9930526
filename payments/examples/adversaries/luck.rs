//! How much an honest orchestrator's income hangs on luck, at the face values that its recipient picks.
//!
//! Terms come from the library's own recipient. Draws are simulated by their gaps: with how many losers before it a winner
//! comes. All of it is integers and one seed, so that every machine writes the same table.

use std::sync::Arc;

use alloy_primitives::U256;
use probabilistic_ticket::memory::{ManualClock, MemoryBroker};
use probabilistic_ticket::{
    PPM, Recipient, RecipientConfig, SenderFunds, SqliteLedger, TicketParams, Wei, WinProb,
};
use tempfile::TempDir;

use crate::market::{PRICE, domain, key, session};

/// Tickets of one stream in an hour, a day and a month: one for each segment of two seconds.
const PERIODS: [(&str, u64); 3] = [("hour", 1_800), ("day", 43_200), ("month", 1_296_000)];
/// Gas prices in wei, and the largest share of a face value that gas may be.
const OFFERS: [(u64, u64); 6] = [
    (10_000_000, 10_000),
    (100_000_000, 10_000),
    (1_000_000_000, 10_000),
    (10_000_000_000, 10_000),
    (1_000_000_000, 50_000),
    (1_000_000_000, 200_000),
];
/// Lives of one stream over each period.
const LIVES: usize = 1_000;
/// One life in so many earns less than what the table says.
const UNLUCKY: usize = 20;

/// One stream over one period on the terms of one gas price. Incomes are relative to what is expected, in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Wei per gas.
    gas_price: u64,
    gas_share_ppm: u64,
    /// What a winner pays, in prices of a segment; the inverse of the chance to win.
    face_value: u64,
    period: &'static str,
    /// Expected winners, in thousandths.
    pub(crate) expected: u64,
    /// Standard deviation of the income.
    pub(crate) deviation: u64,
    /// All but one life in [`UNLUCKY`] earn at least this.
    pub(crate) unlucky: u64,
    /// Lives in a thousand that earn nothing.
    pub(crate) nothing: u64,
}

pub(crate) async fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut dice = Dice(1);
    for (gas_price, gas_share_ppm) in OFFERS {
        let params = picked(gas_price, gas_share_ppm).await;
        for (period, tickets) in PERIODS {
            rows.push(live((gas_price, gas_share_ppm), &params, (period, tickets), &mut dice));
        }
    }
    rows
}

/// The parameters that a recipient hands out at this gas price.
async fn picked(gas_price: u64, gas_share_ppm: u64) -> TicketParams {
    let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder can be made");
    let (account, sender) = (key("honest orchestrator").address(), key("broadcaster").address());
    let chain = Arc::new(MemoryBroker::new(domain(), account));
    chain.set_gas_price(Wei::from(gas_price));
    chain.fund(sender, SenderFunds { deposit: Wei::from(u64::MAX), ..SenderFunds::default() });
    let ledger = Arc::new(SqliteLedger::open(folder.path().join("books.db")).await.expect("a ledger"));
    let config = RecipientConfig {
        ticket_value: Wei::from(PRICE),
        gas_share_ppm,
        ..RecipientConfig::new(account, domain())
    };
    let recipient = Recipient::open(config, ledger, chain, Arc::new(ManualClock::new(0))).await;
    recipient.expect("the books open").open_session(sender, session(0)).await.expect("a funded sender")
}

fn live(
    (gas_price, gas_share_ppm): (u64, u64),
    params: &TicketParams,
    (period, tickets): (&'static str, u64),
    dice: &mut Dice,
) -> Row {
    let face_value = params.face_value.div_ceil(params.ticket_value()).expect("a small quotient");
    let gaps = Gaps::new(params.win_prob);
    let mut wins: Vec<_> = (0..LIVES).map(|_| gaps.wins_among(tickets, dice)).collect();
    wins.sort_unstable();
    // In winners times face value, so that nothing is rounded before the end: what is expected is the number of tickets.
    let squares = wins.iter().map(|wins| u128::from((wins * face_value).abs_diff(tickets)).pow(2));
    let variance = squares.sum::<u128>() / LIVES as u128;
    let thousandths = |value: u64| value * 1_000 / tickets;
    Row {
        gas_price,
        gas_share_ppm,
        face_value,
        period,
        expected: tickets * 1_000 / face_value,
        deviation: thousandths(u64::try_from(variance.isqrt()).expect("below the largest income")),
        unlucky: thousandths(wins[LIVES / UNLUCKY] * face_value),
        nothing: wins.iter().filter(|wins| **wins == 0).count() as u64 * 1_000 / LIVES as u64,
    }
}

/// Gaps between winners, drawn from the distribution that independent draws make.
struct Gaps {
    /// The chance that 1, 2, 4, … tickets in a row all lose, as numerators over 2⁶⁴.
    all_lose: Vec<u64>,
}

impl Gaps {
    fn new(win_prob: WinProb) -> Self {
        let wins: u64 = (win_prob.0 >> 192_usize).saturating_to::<U256>().saturating_to();
        let mut all_lose = vec![u64::MAX - wins];
        while let Some(last) = all_lose.last().copied().filter(|last| *last > 0) {
            all_lose.push(product(last, last));
        }
        Self { all_lose }
    }

    /// Tickets that lose before the next that wins.
    fn next(&self, dice: &mut Dice) -> u64 {
        let drawn = dice.throw();
        let (mut gap, mut chance) = (0, u64::MAX);
        for (power, all_lose) in self.all_lose.iter().enumerate().rev() {
            let further = product(chance, *all_lose);
            if further > drawn {
                (gap, chance) = (gap + (1 << power), further);
            }
        }
        gap
    }

    fn wins_among(&self, tickets: u64, dice: &mut Dice) -> u64 {
        let (mut wins, mut at) = (0, self.next(dice));
        while at < tickets {
            wins += 1;
            at += 1 + self.next(dice);
        }
        wins
    }
}

/// The product of two chances over 2⁶⁴.
fn product(one: u64, other: u64) -> u64 {
    ((u128::from(one) * u128::from(other)) >> 64) as u64
}

/// Even numbers from one seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(crate) fn markdown(rows: &[Row]) -> String {
    let config = RecipientConfig::new(key("honest orchestrator").address(), domain());
    let mut text = format!(
        "One stream, one ticket for each segment of two seconds, redemption at {} gas, {LIVES} simulated lives of each row. Incomes are in percent of what is expected.\n\n\
         | gas price in gwei | gas is at most, of a face value | a winner pays, in segments; one ticket in so many wins | over | winners expected | standard deviation of the income | 19 lives of 20 earn at least | lives that earn nothing |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        config.redemption_gas,
    );
    for row in rows {
        let Row { face_value, period, .. } = row;
        text += &format!(
            "| {} | {} % | {face_value} | {period} | {} | {} % | {} % | {} % |\n",
            decimal(row.gas_price / 10_000_000, 100),
            decimal(row.gas_share_ppm * 10 / (PPM / 100), 10),
            decimal(row.expected, 1_000),
            decimal(row.deviation, 10),
            decimal(row.unlucky, 10),
            decimal(row.nothing, 10),
        );
    }
    text
}

/// `value` over a power of ten, without zeros that say nothing.
fn decimal(value: u64, over: u64) -> String {
    let digits = over.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / over, value % over);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn incomes_vary_as_independent_draws_do_and_the_page_shows_it() {
        let rows = rows().await;
        for row in &rows {
            // The deviation of a sum of rare independent winners is the root of how many are expected. It is measured the
            // better the more lives and winners there are: this is three times what it may be off by chance.
            let theory = (1_000_000_000 / row.expected).isqrt();
            let winners = row.expected * LIVES as u64 / 1_000;
            let most = theory / 14 + theory * 3 / (2 * winners.isqrt());
            assert!(row.deviation.abs_diff(theory) <= most, "theory says {theory}: {row:?}");
        }
        for offer in rows.chunks(PERIODS.len()) {
            assert!(offer.is_sorted_by(|short, long| short.deviation > long.deviation), "{offer:?}");
        }
        let shown = crate::luck_part().read().unwrap();
        assert_eq!(shown, markdown(&rows), "run the example adversaries");
    }

    #[test]
    fn gaps_come_as_often_as_draws_make_them() {
        const DRAWN: u64 = 200_000;
        let (gaps, mut dice) = (Gaps::new(WinProb(U256::MAX / U256::from(4))), Dice(7));
        let mut counts = [0_u64; 4];
        for _ in 0..DRAWN {
            if let Some(count) = counts.get_mut(gaps.next(&mut dice) as usize) {
                *count += 1;
            }
        }
        // A quarter wins at once, a quarter of the rest next, and so on.
        for (count, wanted) in counts.into_iter().zip([50_000, 37_500, 28_125, 21_093]) {
            assert!(count.abs_diff(wanted) < 1_000, "{counts:?}");
        }
    }

    #[test]
    fn a_ticket_that_wins_for_sure_leaves_no_gap() {
        let gaps = Gaps::new(WinProb::MAX);
        assert_eq!(gaps.wins_among(1_000, &mut Dice(1)), 1_000);
    }
}
