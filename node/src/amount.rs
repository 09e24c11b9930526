//! Amounts for people: wei with units, in and out, without floats.

use alloy::primitives::utils::{ParseUnits, format_ether, parse_units};
use alloy_primitives::U256;

/// Units an amount may end in, longest first so that `gwei` is not read as `wei`.
const UNITS: &[&str] = &["ether", "gwei", "eth", "wei"];

/// Reads `1.5ether`, `1.5 eth`, `20gwei`, `7wei` or plain wei.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn parse(text: &str) -> anyhow::Result<U256> {
    let text = text.trim();
    let unit = UNITS.iter().find(|unit| text.ends_with(**unit)).copied().unwrap_or("");
    let number = text[..text.len() - unit.len()].trim_end();
    let scale = match unit {
        "eth" => "ether",
        "" => "wei",
        unit => unit,
    };
    let plain = is_plain(number, scale);
    match parse_units(number, scale) {
        Ok(ParseUnits::U256(wei)) if plain => Ok(wei),
        _ => anyhow::bail!("\"{text}\" is not an amount; write 1.5ether, 20gwei or a whole number of wei"),
    }
}

/// Whether a number is digits with at most as many behind a point as the unit has: the library reads an empty text as zero
/// and cuts what is finer than a wei.
fn is_plain(number: &str, unit: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let places = match unit {
        "ether" => 18,
        "gwei" => 9,
        _ => 0,
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && (fraction.len() <= places || !number.contains('.'))
}

/// Shows an amount in ether with the exact wei behind it.
pub fn show(wei: U256) -> String {
    let ether = format_ether(wei);
    let short = ether.trim_end_matches('0').trim_end_matches('.');
    format!("{short} ETH ({wei} wei)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        let wei = |text| parse(text).expect("an amount").to_string();
        assert_eq!(wei("1.5ether"), "1500000000000000000");
        assert_eq!(wei("2 eth"), "2000000000000000000");
        assert_eq!(wei("20gwei"), "20000000000");
        assert_eq!(wei("7wei"), "7");
        assert_eq!(wei("12"), "12");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "ether",
            "-1",
            "1.5wei",
            "1e5",
            "one",
            "5 dollars",
            "0x10",
            "115792089237316195423570985008687907853269984665640564039458ether",
        ] {
            assert!(parse(text).is_err(), "{text} was read as {:?}", parse(text));
        }
    }

    #[test]
    fn amounts_are_shown_with_exact_wei() {
        assert_eq!(show(U256::from(1_500_000_000_000_000_000u64)), "1.5 ETH (1500000000000000000 wei)");
        assert_eq!(show(U256::ZERO), "0 ETH (0 wei)");
    }
}
