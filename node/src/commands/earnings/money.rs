//! Amounts in a currency, at a rate that is given.

use alloy::primitives::utils::{ParseUnits, parse_units};
use alloy_primitives::U256;

/// Digits behind the point that a rate may have.
const RATE_DIGITS: u8 = 6;
/// Wei of an ether.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// What an ether is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rate {
    /// In millionths of the currency's unit.
    micros: U256,
    /// Its name.
    pub(super) currency: String,
}

impl Rate {
    /// Reads `3120.50`.
    ///
    /// # Errors
    /// It is no price, or the currency is no code of letters.
    pub(super) fn parse(text: &str, currency: &str) -> anyhow::Result<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        let letters =
            (1..=8).contains(&currency.len()) && currency.bytes().all(|byte| byte.is_ascii_alphabetic());
        anyhow::ensure!(letters, "\"{currency}\" is no currency; write it like USD");
        match parse_units(text, RATE_DIGITS) {
            Ok(ParseUnits::U256(micros))
                if plain && digits <= usize::from(RATE_DIGITS) && !micros.is_zero() =>
            {
                Ok(Self { micros, currency: currency.to_ascii_uppercase() })
            }
            _ => anyhow::bail!("\"{text}\" is no price of an ether; write it like 3120.50"),
        }
    }

    /// The rate as it is used.
    pub(super) fn show(&self) -> String {
        decimal(self.micros)
    }

    /// What wei are worth, cut to millionths.
    pub(super) fn value(&self, wei: U256) -> String {
        match wei.checked_mul(self.micros) {
            Some(product) => decimal(product / U256::from(ETHER)),
            None => "beyond any amount".to_owned(),
        }
    }
}

/// Millionths with two digits behind the point at least.
fn decimal(micros: U256) -> String {
    let unit = U256::from(1_000_000);
    let (whole, rest) = (micros / unit, micros % unit);
    let rest = format!("{rest:0>6}");
    let long = rest.trim_end_matches('0').len().max(2);
    format!("{whole}.{}", &rest[..long])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wei_are_worth_what_the_rate_says() {
        let rate = Rate::parse("3120.5", "usd").expect("a rate");
        assert_eq!((rate.show(), rate.currency.as_str()), ("3120.50".to_owned(), "USD"));
        assert_eq!(rate.value(U256::from(ETHER)), "3120.50");
        assert_eq!(rate.value(U256::from(ETHER / 1_000)), "3.1205");
        assert_eq!(rate.value(U256::from(1)), "0.00");
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in ["", "0", "-1", "1e3", "3,120", "1.2345678", "much"] {
            assert!(Rate::parse(text, "USD").is_err(), "{text}");
        }
        assert!(Rate::parse("1", "$\u{20ac}").is_err());
    }
}
