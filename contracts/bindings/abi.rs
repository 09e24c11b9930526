//! Bindings made from the committed ABI files, and the table of every contract's errors.

use std::{collections::HashMap, sync::LazyLock};

use alloy::{
    dyn_abi::{DynSolType, DynSolValue},
    json_abi::Error as AbiError,
    primitives::{Bytes, Selector},
    sol_types::{Panic, Revert as RevertString, SolError},
};

use crate::error::Revert;

#[allow(missing_docs, clippy::all, reason = "generated from the ABI, whose documentation is the interfaces'")]
mod generated {
    use alloy::sol;

    sol!(
        #[sol(abi)]
        BondingManager,
        "abi/BondingManager.json"
    );
    sol!(
        #[sol(abi)]
        BondingVotes,
        "abi/BondingVotes.json"
    );
    sol!(
        #[sol(abi)]
        Controller,
        "abi/Controller.json"
    );
    sol!(
        #[sol(abi)]
        Court,
        "abi/Court.json"
    );
    sol!(
        #[sol(abi)]
        FramemillGovernor,
        "abi/FramemillGovernor.json"
    );
    sol!(
        #[sol(abi)]
        FramemillToken,
        "abi/FramemillToken.json"
    );
    sol!(
        #[sol(abi)]
        Minter,
        "abi/Minter.json"
    );
    sol!(
        #[sol(abi)]
        Proxy,
        "abi/Proxy.json"
    );
    sol!(
        #[sol(abi)]
        RoundsManager,
        "abi/RoundsManager.json"
    );
    sol!(
        #[sol(abi)]
        ServiceRegistry,
        "abi/ServiceRegistry.json"
    );
    sol!(
        #[sol(abi)]
        TicketBroker,
        "abi/TicketBroker.json"
    );
    sol!(
        #[sol(abi)]
        Treasury,
        "abi/Treasury.json"
    );
}

/// Its own module: it states the same structs as the contract that it is part of.
#[allow(missing_docs, clippy::all, reason = "generated from the ABI, whose documentation is the interfaces'")]
pub(crate) mod extension {
    use alloy::sol;

    sol!(
        #[sol(abi)]
        BondingExtension,
        "abi/BondingExtension.json"
    );
}

/// As [`extension`], for the court.
#[allow(missing_docs, clippy::all, reason = "generated from the ABI, whose documentation is the interfaces'")]
pub(crate) mod records {
    use alloy::sol;

    sol!(
        #[sol(abi)]
        CourtRecords,
        "abi/CourtRecords.json"
    );
}

pub(crate) use generated::{
    BondingManager, BondingState, BondingVotes, Controller, Court, CourtState, FramemillGovernor,
    FramemillToken, IBondingTypes, ITicketBroker, Minter, Proxy, RoundsManager, ServiceRegistry,
    TicketBroker, Treasury,
};

/// Contracts name an error at most this large; a longer answer is cut before it is shown.
const MAX_SHOWN_BYTES: usize = 128;

static ERRORS: LazyLock<HashMap<Selector, AbiError>> = LazyLock::new(|| {
    [
        BondingManager::abi::errors(),
        BondingVotes::abi::errors(),
        Controller::abi::errors(),
        Court::abi::errors(),
        FramemillGovernor::abi::errors(),
        FramemillToken::abi::errors(),
        Minter::abi::errors(),
        Proxy::abi::errors(),
        RoundsManager::abi::errors(),
        ServiceRegistry::abi::errors(),
        TicketBroker::abi::errors(),
        Treasury::abi::errors(),
    ]
    .into_iter()
    .flat_map(|errors| errors.into_values().flatten())
    .map(|error| (error.selector(), error))
    .collect()
});

/// Names what a contract answered when it reverted.
pub(crate) fn decode_revert(data: &[u8]) -> Revert {
    if let Ok(text) = RevertString::abi_decode(data) {
        return Revert { name: "Error".to_owned(), args: vec![text.reason] };
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return Revert { name: "Panic".to_owned(), args: vec![panic.code.to_string()] };
    }
    decode_custom(data).unwrap_or_else(|| unknown(data))
}

fn decode_custom(data: &[u8]) -> Option<Revert> {
    let (selector, body) = data.split_first_chunk::<4>()?;
    let error = ERRORS.get(selector)?;
    let types = error.inputs.iter().map(|input| DynSolType::parse(&input.ty)).collect::<Result<Vec<_>, _>>();
    let decoded = DynSolType::Tuple(types.ok()?).abi_decode_params(body).ok()?;
    let values = decoded.as_tuple()?;
    Some(Revert { name: error.name.clone(), args: values.iter().map(show).collect() })
}

fn show(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Address(address) => address.to_string(),
        DynSolValue::Uint(number, _) => number.to_string(),
        DynSolValue::Bool(flag) => flag.to_string(),
        DynSolValue::String(text) => text.clone(),
        DynSolValue::FixedBytes(word, size) => Bytes::copy_from_slice(&word[..*size]).to_string(),
        other => format!("{other:?}"),
    }
}

fn unknown(data: &[u8]) -> Revert {
    let shown = &data[..data.len().min(MAX_SHOWN_BYTES)];
    Revert { name: "unknown".to_owned(), args: vec![Bytes::copy_from_slice(shown).to_string()] }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, U256};

    use super::*;

    #[test]
    fn names_a_custom_error_with_its_arguments() {
        let data = BondingManager::BadAmount { amount: U256::from(7), available: U256::from(3) }.abi_encode();
        assert_eq!(decode_revert(&data).to_string(), "BadAmount(7, 3)");
    }

    #[test]
    fn names_an_error_that_carries_an_address() {
        let data = ServiceRegistry::Unauthorized { caller: Address::ZERO }.abi_encode();
        assert_eq!(decode_revert(&data).args, [Address::ZERO.to_string()]);
    }

    #[test]
    fn shows_unknown_data_as_it_is() {
        assert_eq!(decode_revert(&[1, 2, 3]).to_string(), "unknown(0x010203)");
    }

    #[test]
    fn survives_a_known_selector_with_a_cut_body() {
        let data = BondingManager::BadAmount { amount: U256::from(7), available: U256::from(3) }.abi_encode();
        assert_eq!(decode_revert(&data[..20]).name, "unknown");
    }
}
