//! Probabilistic micropayments: tickets, sender, recipient, ledger and redeemer, with no knowledge of video or of any chain client.
