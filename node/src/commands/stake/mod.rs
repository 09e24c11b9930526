//! `framemill stake`: what stakers see and do.

mod act;
pub(crate) mod estimate;
pub(crate) mod list;
pub(crate) mod show;

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::ChainClient;

use crate::{amount, cli::StakeCommand, config::Config, transact};

/// Runs the command.
pub(crate) async fn run(config: &Config, command: &StakeCommand) -> anyhow::Result<()> {
    match command {
        StakeCommand::List(args) => list::run(config, *args).await,
        StakeCommand::Show(args) => show::run(config, args).await,
        StakeCommand::Estimate(args) => estimate::run(config, args).await,
        other => act::run(config, other).await,
    }
}

/// How amounts of one token are read and shown.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) symbol: String,
}

impl Token {
    pub(crate) async fn of(client: &ChainClient) -> anyhow::Result<Self> {
        Ok(Self { symbol: client.token_symbol().await? })
    }

    pub(crate) fn parse(&self, text: &str) -> anyhow::Result<U256> {
        amount::parse_tokens(text, &self.symbol)
    }

    /// With the exact base units.
    pub(crate) fn show(&self, amount: U256) -> String {
        format!("{} {} ({amount} wei)", amount::show_units(amount), self.symbol)
    }

    /// Cut to six places, for tables.
    pub(crate) fn short(&self, amount: U256) -> String {
        format!("{} {}", amount::show_short(amount), self.symbol)
    }
}

/// Reads an address.
pub(crate) fn address(text: &str) -> anyhow::Result<Address> {
    text.parse().with_context(|| format!("\"{text}\" is no address; write 0x and 40 hex digits"))
}

/// Shows parts per million as a percentage.
pub(crate) fn percent(ppm: u32) -> String {
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    let text = format!("{whole}.{rest:04}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Reads a percentage with up to four places as parts per million.
fn parse_percent(text: &str) -> anyhow::Result<u32> {
    let wrong = || format!("\"{text}\" is no percentage from 0% to 100% with up to four places");
    let number = text.trim().trim_end_matches('%').trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    anyhow::ensure!(digits(whole) && digits(fraction) && fraction.len() <= 4 && whole.len() <= 3, wrong());
    let whole: u32 = whole.parse().with_context(wrong)?;
    let fraction: u32 = format!("{fraction:0<4}").parse().with_context(wrong)?;
    let ppm = whole * 10_000 + fraction;
    anyhow::ensure!(ppm <= 1_000_000, wrong());
    Ok(ppm)
}

/// When rounds begin, in words.
#[derive(Debug)]
pub(crate) struct Calendar {
    /// The round that runs.
    pub(crate) current: u64,
    /// Blocks of the current round that are left.
    pub(crate) left: u64,
    /// Blocks of a round.
    pub(crate) length: u64,
    /// Milliseconds between blocks; none on a chain that just began.
    pub(crate) block_ms: Option<u64>,
}

impl Calendar {
    pub(crate) async fn of(client: &ChainClient) -> anyhow::Result<Self> {
        let (round, height) = (client.round_info().await?, client.block_number().await?);
        let left = (round.start_block + round.length).saturating_sub(height);
        Ok(Self {
            current: round.current,
            left,
            length: round.length,
            block_ms: client.block_time_ms().await?.filter(|ms| *ms > 0),
        })
    }

    /// "round 12, in about 3 days"
    pub(crate) fn round(&self, round: u64) -> String {
        let Some(ahead) = round.checked_sub(self.current).filter(|ahead| *ahead > 0) else {
            return format!("round {round}, which has begun");
        };
        let blocks = self.left.saturating_add((ahead - 1).saturating_mul(self.length));
        match self.block_ms {
            Some(ms) => format!("round {round}, in about {}", duration(blocks.saturating_mul(ms) / 1_000)),
            None => format!("round {round}, in {blocks} blocks"),
        }
    }

    /// How long so many blocks take, in words.
    pub(crate) fn blocks(&self, blocks: u64) -> String {
        match self.block_ms {
            Some(ms) => format!("about {} ({blocks} blocks)", duration(blocks.saturating_mul(ms) / 1_000)),
            None => format!("{blocks} blocks"),
        }
    }

    pub(crate) fn current(&self) -> u64 {
        self.current
    }

    /// How many rounds there are in a year at the measured pace.
    pub(crate) fn rounds_a_year(&self) -> Option<u64> {
        const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;
        YEAR_MS.checked_div(self.block_ms?.checked_mul(self.length)?)
    }
}

/// The largest unit that says it well.
fn duration(seconds: u64) -> String {
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..120 => counted(seconds, "second"),
        120..7_200 => counted(seconds / 60, "minute"),
        7_200..172_800 => counted(seconds / 3_600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// The user's own account, opened from the keystore, or the one that was named.
async fn asked_about(config: &Config, named: Option<&str>) -> anyhow::Result<(ChainClient, Address)> {
    match named {
        Some(text) => Ok((transact::reader(config).await?, address(text)?)),
        None => {
            let client = transact::signer(config).await?;
            let me = transact::account(&client)?;
            Ok((client, me))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_shown_exactly() {
        for (text, ppm) in [("10%", 100_000), ("0", 0), ("100%", 1_000_000), ("2.5 %", 25_000), ("0.0001", 1)]
        {
            assert_eq!(parse_percent(text).unwrap(), ppm, "{text}");
        }
        assert_eq!(
            (percent(25_000), percent(1), percent(1_000_000)),
            ("2.5%".into(), "0.0001%".into(), "100%".into())
        );
        for text in ["", "%", "-1%", "101%", "100.0001", "1.00001%", "ten", "1e2", "1.%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_round_ahead_is_told_in_the_largest_unit_that_says_it_well() {
        let calendar = Calendar { current: 10, left: 50, length: 100, block_ms: Some(12_000) };
        assert_eq!(calendar.round(10), "round 10, which has begun");
        assert_eq!(calendar.round(11), "round 11, in about 10 minutes");
        assert_eq!(calendar.round(17), "round 17, in about 2 hours");
        let unknown = Calendar { block_ms: None, ..calendar };
        assert_eq!(unknown.round(12), "round 12, in 150 blocks");
    }
}
