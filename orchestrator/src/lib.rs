//! Sells transcoding: quotes a price, admits sessions, checks tickets, dispatches segments to transcoders, signs receipts and redeems winners.
