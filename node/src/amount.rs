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
    let text = &*text.trim().to_ascii_lowercase();
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

/// Reads `1.5 MILL`, where that is the token's symbol, or `7wei` of its base units. A bare number is refused: it could
/// mean either.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn parse_tokens(text: &str, symbol: &str) -> anyhow::Result<U256> {
    let trimmed = text.trim().to_ascii_lowercase();
    let symbol_of_text = symbol.to_ascii_lowercase();
    let number = match trimmed.strip_suffix(&symbol_of_text) {
        Some(tokens) => Some((tokens.trim_end(), "ether")),
        None => trimmed.strip_suffix("wei").map(|units| (units.trim_end(), "wei")),
    };
    if let Some((number, scale)) = number
        && is_plain(number, scale)
        && let Ok(ParseUnits::U256(amount)) = parse_units(number, scale)
    {
        return Ok(amount);
    }
    anyhow::bail!(
        "\"{text}\" is no amount of tokens; write 1.5 {symbol}, or a whole number of base units as 7 wei"
    )
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
    format!("{} ETH ({wei} wei)", show_units(wei))
}

/// Shows base units of 18 decimals in whole units, exactly and without a name.
pub fn show_units(amount: U256) -> String {
    let units = format_ether(amount);
    units.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Shows base units of 18 decimals in whole units, cut to six places: for tables.
pub fn show_short(amount: U256) -> String {
    let units = format_ether(amount);
    let (whole, fraction) = units.split_once('.').unwrap_or((&units, ""));
    let text = format!("{whole}.{}", &fraction[..fraction.len().min(6)]);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        let wei = |text| parse(text).expect("an amount").to_string();
        assert_eq!(wei("1.5ether"), "1500000000000000000");
        assert_eq!(wei("0.2 ETH"), "200000000000000000");
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
    fn tokens_are_read_by_their_symbol_and_never_bare() {
        let units = |text| parse_tokens(text, "MILL").map(|amount| amount.to_string());
        assert_eq!(units("1.5 MILL").unwrap(), "1500000000000000000");
        assert_eq!(units("2mill").unwrap(), "2000000000000000000");
        assert_eq!(units("7 wei").unwrap(), "7");
        for text in ["1.5", "7", "1 ETH", "-1 MILL", "1.5 wei", "MILL", "", "0.0000000000000000001 MILL"] {
            let error = parse_tokens(text, "MILL").unwrap_err().to_string();
            assert!(error.contains("write 1.5 MILL"), "{text}: {error}");
        }
    }

    #[test]
    fn tables_cut_amounts_to_six_places() {
        assert_eq!(show_short(U256::from(1_234_567_899_999_999_999u64)), "1.234567");
        assert_eq!(show_short(U256::from(10).pow(U256::from(20))), "100");
        assert_eq!(show_short(U256::ONE), "0");
    }

    #[test]
    fn amounts_are_shown_with_exact_wei() {
        assert_eq!(show(U256::from(1_500_000_000_000_000_000u64)), "1.5 ETH (1500000000000000000 wei)");
        assert_eq!(show(U256::ZERO), "0 ETH (0 wei)");
    }
}
