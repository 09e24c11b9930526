//! Checks of a payment that need no ledger.
