//! What entries add up to.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, B256};

use super::codec::{Pack, packed};
use super::entry::Entry;
use crate::ledger::account::DepositState;
use crate::ledger::{LaneId, WinnerState};
use crate::units::Wei;

packed! {
    /// What has a balance.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Account {
        /// A recipient's session.
        1 => Session { session: B256 },
        /// What an instance holds of a session.
        2 => Hold { session: B256, instance: u64 },
        /// A recipient's lane.
        3 => Lane { lane: LaneId },
        /// A winning ticket.
        4 => Winner { lane: LaneId, nonce: u64 },
        /// A sender's session.
        5 => Spending { session: B256 },
        /// A sender's lane.
        6 => SpendLane { lane: LaneId },
        /// A sender's deposit.
        7 => Deposit { sender: Address },
        /// What a stream was sent in a minute. The minute comes first, so that old ones are next to each other.
        8 => Minute { minute: u64, stream: B256 },
    }
}

packed! {
    /// What an account holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Balance {
        /// Of a recipient's session: its lane, free credit, tickets credited.
        1 => Session { lane: LaneId, credit: Wei, tickets: u64 },
        /// Of a hold.
        2 => Hold { amount: Wei },
        /// Of a recipient's lane: the secret's generation, the highest nonce seen, the one up to which all are refused.
        3 => Lane { serial: u64, highest: u64, floor: u64 },
        /// Of a winner.
        4 => Winner { face_value: Wei, state: WinnerState, attempts: u64 },
        /// Of a sender's session: its parties and sums.
        5 => Spending { stream: B256, recipient: Address, sender: Address, paid: Wei, written_off: Wei, ordered: Wei, verified: Wei },
        /// Of a sender's lane: the next nonce.
        6 => SpendLane { next_nonce: u64 },
        /// Of a deposit: as last seen, when it last grew, sent since.
        7 => Deposit { seen: Wei, base: Wei, spent: Wei },
        /// Of a stream's minute.
        8 => Minute { spent: Wei },
    }
}

impl Balance {
    /// Whether an account that holds this may as well not exist.
    fn is_empty(&self) -> bool {
        match self {
            Self::Hold { amount } => amount.is_zero(),
            Self::Deposit { seen, base, spent } => seen.is_zero() && base.is_zero() && spent.is_zero(),
            Self::SpendLane { next_nonce } => *next_nonce <= 1,
            _ => false,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { session } => write!(f, "session {session}"),
            Self::Hold { session, instance } => write!(f, "hold of instance {instance} in session {session}"),
            Self::Lane { lane } => write!(f, "lane {lane}"),
            Self::Winner { lane, nonce } => write!(f, "winner {nonce} of lane {lane}"),
            Self::Spending { session } => write!(f, "spending session {session}"),
            Self::SpendLane { lane } => write!(f, "spending lane {lane}"),
            Self::Deposit { sender } => write!(f, "deposit of {sender}"),
            Self::Minute { minute, stream } => write!(f, "minute {minute} of stream {stream}"),
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { lane, credit, tickets } => {
                write!(f, "credit {credit}, tickets {tickets}, lane {}", lane.lane)
            }
            Self::Hold { amount } => write!(f, "{amount}"),
            Self::Lane { serial, highest, floor } => {
                write!(f, "serial {serial}, highest nonce {highest}, floor {floor}")
            }
            Self::Winner { face_value, state, attempts } => {
                write!(f, "face value {face_value}, {state:?}, attempts {attempts}")
            }
            Self::Spending { paid, written_off, ordered, verified, .. } => {
                write!(f, "paid {paid}, written off {written_off}, ordered {ordered}, verified {verified}")
            }
            Self::SpendLane { next_nonce } => write!(f, "next nonce {next_nonce}"),
            Self::Deposit { seen, base, spent } => write!(f, "seen {seen}, base {base}, spent {spent}"),
            Self::Minute { spent } => write!(f, "{spent}"),
        }
    }
}

/// An entry that cannot follow on what came before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log cannot continue: {entry:?} does not fit {account}")]
pub(crate) struct Fault {
    entry: Box<Entry>,
    account: Account,
}

/// Minutes that count for a stream's hour.
const HOUR: u64 = 60;

/// Balances by account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balances(pub(crate) BTreeMap<Account, Balance>);

/// Reads or makes an account and changes its fields.
macro_rules! change {
    ($self:ident, $entry:ident, $account:expr, $kind:ident { $($field:ident),* }, $first:expr, $change:expr) => {{
        let account: Account = $account;
        let fault = || Fault { entry: Box::new(*$entry), account };
        let first: Option<Balance> = $first;
        if let Some(first) = first {
            $self.0.entry(account).or_insert(first);
        }
        let Some(Balance::$kind { $($field,)* .. }) = $self.0.get_mut(&account) else { return Err(fault()) };
        let changed: Option<()> = $change;
        changed.ok_or_else(fault)?;
    }};
}

fn add(to: &mut Wei, amount: Wei) -> Option<()> {
    *to = to.checked_add(amount)?;
    Some(())
}

fn take(from: &mut Wei, amount: Wei) -> Option<()> {
    *from = from.checked_sub(amount)?;
    Some(())
}

impl Balances {
    /// Books an entry of this instance.
    pub(crate) fn apply(&mut self, instance: u64, entry: &Entry) -> Result<(), Fault> {
        match *entry {
            Entry::Opened { session, lane } => self.open(entry, session, lane),
            Entry::Paid { .. } => self.pay(instance, entry),
            Entry::Settled { .. } => self.end_hold(instance, entry),
            Entry::Released { session, instance, amount } => {
                self.move_hold(entry, session, instance, Wei::ZERO, amount)
            }
            Entry::HoldForfeited { session, instance, amount } => {
                self.end(entry, Account::Hold { session, instance }, &Balance::Hold { amount })
            }
            Entry::Closed { session, credit } => self.close(entry, session, credit),
            Entry::Turned { .. } => self.turn(entry),
            Entry::Won { lane, nonce, face_value } => {
                let won = Balance::Winner { face_value, state: WinnerState::Pending, attempts: 0 };
                self.begin(entry, Account::Winner { lane, nonce }, won)
            }
            Entry::Fate { .. } => self.decide(entry),
            Entry::SpendingOpened { session, stream, recipient, sender } => {
                let (paid, written_off, ordered, verified) = Default::default();
                let sums =
                    Balance::Spending { stream, recipient, sender, paid, written_off, ordered, verified };
                self.begin(entry, Account::Spending { session }, sums)
            }
            Entry::Reserved { .. } => self.reserve(entry),
            Entry::Recorded { .. } => self.record(entry),
            Entry::SpendingClosed { session } => {
                let account = Account::Spending { session };
                let closed = self.0.remove(&account);
                closed.map(drop).ok_or_else(|| Fault { entry: Box::new(*entry), account })
            }
        }
    }

    fn end_hold(&mut self, instance: u64, entry: &Entry) -> Result<(), Fault> {
        let Entry::Settled { session, spent, returned, beyond } = *entry else { return Ok(()) };
        self.move_hold(entry, session, instance, spent, returned)?;
        change!(self, entry, Account::Session { session }, Session { credit }, None, take(credit, beyond));
        Ok(())
    }

    /// Takes from a hold what was spent and what is credit again.
    fn move_hold(
        &mut self,
        entry: &Entry,
        session: B256,
        instance: u64,
        spent: Wei,
        returned: Wei,
    ) -> Result<(), Fault> {
        let nothing = Some(Balance::Hold { amount: Wei::ZERO });
        change!(self, entry, Account::Hold { session, instance }, Hold { amount }, nothing, {
            take(amount, spent).and_then(|()| take(amount, returned))
        });
        change!(self, entry, Account::Session { session }, Session { credit }, None, add(credit, returned));
        Ok(())
    }

    fn close(&mut self, entry: &Entry, session: B256, left: Wei) -> Result<(), Fault> {
        let account = Account::Session { session };
        change!(self, entry, account, Session { credit }, None, (*credit == left).then_some(()));
        self.0.remove(&account);
        Ok(())
    }

    fn turn(&mut self, entry: &Entry) -> Result<(), Fault> {
        let Entry::Turned { lane, serial: next, floor: above } = *entry else { return Ok(()) };
        change!(self, entry, Account::Lane { lane }, Lane { serial, floor }, None, {
            (*serial, *floor) = (next, above);
            Some(())
        });
        Ok(())
    }

    fn decide(&mut self, entry: &Entry) -> Result<(), Fault> {
        let Entry::Fate { lane, nonce, state: now, attempts: failed } = *entry else { return Ok(()) };
        change!(self, entry, Account::Winner { lane, nonce }, Winner { state, attempts }, None, {
            (*state, *attempts) = (now, failed);
            Some(())
        });
        Ok(())
    }

    fn record(&mut self, entry: &Entry) -> Result<(), Fault> {
        let Entry::Recorded { session, verified: done, dropped, written_off: lost } = *entry else {
            return Ok(());
        };
        let account = Account::Spending { session };
        change!(self, entry, account, Spending { written_off, ordered, verified }, None, {
            add(verified, done).and_then(|()| take(ordered, dropped)).and_then(|()| add(written_off, lost))
        });
        Ok(())
    }

    fn open(&mut self, entry: &Entry, session: B256, lane: LaneId) -> Result<(), Fault> {
        let unused = Balance::Lane { serial: 0, highest: 0, floor: 0 };
        self.0.entry(Account::Lane { lane }).or_insert(unused);
        let opened = Balance::Session { lane, credit: Wei::ZERO, tickets: 0 };
        self.begin(entry, Account::Session { session }, opened)
    }

    fn begin(&mut self, entry: &Entry, account: Account, first: Balance) -> Result<(), Fault> {
        match self.0.insert(account, first) {
            None => Ok(()),
            Some(_) => Err(Fault { entry: Box::new(*entry), account }),
        }
    }

    fn end(&mut self, entry: &Entry, account: Account, last: &Balance) -> Result<(), Fault> {
        match self.0.remove(&account) {
            Some(balance) if balance == *last => Ok(()),
            None if last.is_empty() => Ok(()),
            _ => Err(Fault { entry: Box::new(*entry), account }),
        }
    }

    fn pay(&mut self, instance: u64, entry: &Entry) -> Result<(), Fault> {
        let Entry::Paid { session, tickets: count, value, held, highest: top, floor: above } = *entry else {
            return Ok(());
        };
        let account = Account::Session { session };
        let Some(Balance::Session { lane, .. }) = self.0.get(&account).copied() else {
            return Err(Fault { entry: Box::new(*entry), account });
        };
        change!(self, entry, account, Session { credit, tickets }, None, {
            *tickets = tickets.saturating_add(count);
            add(credit, value).and_then(|()| take(credit, held))
        });
        let nothing = Some(Balance::Hold { amount: Wei::ZERO });
        change!(
            self,
            entry,
            Account::Hold { session, instance },
            Hold { amount },
            nothing,
            add(amount, held)
        );
        change!(self, entry, Account::Lane { lane }, Lane { highest, floor }, None, {
            (*highest, *floor) = (top, above);
            Some(())
        });
        Ok(())
    }

    fn reserve(&mut self, entry: &Entry) -> Result<(), Fault> {
        let Entry::Reserved { session, lane, first_nonce, count, value, cost, deposit, minute } = *entry
        else {
            return Ok(());
        };
        let account = Account::Spending { session };
        let Some(Balance::Spending { stream, recipient, sender, .. }) = self.0.get(&account).copied() else {
            return Err(Fault { entry: Box::new(*entry), account });
        };
        change!(self, entry, account, Spending { paid, ordered }, None, {
            add(paid, value).and_then(|()| add(ordered, cost))
        });
        let unseen = Balance::Deposit { seen: Wei::ZERO, base: Wei::ZERO, spent: Wei::ZERO };
        change!(self, entry, Account::Deposit { sender }, Deposit { seen, base, spent }, Some(unseen), {
            let mut state = DepositState { seen: *seen, base: *base, spent: *spent };
            state.observe(deposit);
            (*seen, *base, *spent) = (state.seen, state.base, state.spent);
            add(spent, value)
        });
        if count == 0 {
            return Ok(());
        }
        let lane = LaneId { sender, recipient, lane };
        let unused = Some(Balance::SpendLane { next_nonce: 1 });
        change!(self, entry, Account::SpendLane { lane }, SpendLane { next_nonce }, unused, {
            // A nonce given out twice.
            let fresh = first_nonce >= *next_nonce;
            *next_nonce = first_nonce.saturating_add(count);
            fresh.then_some(())
        });
        let nothing = Some(Balance::Minute { spent: Wei::ZERO });
        change!(
            self,
            entry,
            Account::Minute { minute, stream },
            Minute { spent },
            nothing,
            add(spent, value)
        );
        Ok(())
    }

    /// The accounts an entry needs, as far as it names them.
    pub(crate) fn needs(&self, instance: u64, entry: &Entry) -> Vec<Account> {
        match *entry {
            Entry::Opened { session, lane } => vec![Account::Session { session }, Account::Lane { lane }],
            Entry::Paid { session, .. } => {
                let lane = match self.0.get(&Account::Session { session }) {
                    Some(Balance::Session { lane, .. }) => Some(Account::Lane { lane: *lane }),
                    _ => None,
                };
                [Account::Session { session }, Account::Hold { session, instance }]
                    .into_iter()
                    .chain(lane)
                    .collect()
            }
            Entry::Settled { session, .. } => {
                vec![Account::Session { session }, Account::Hold { session, instance }]
            }
            Entry::Released { session, instance, .. } => {
                vec![Account::Session { session }, Account::Hold { session, instance }]
            }
            Entry::HoldForfeited { session, instance, .. } => vec![Account::Hold { session, instance }],
            Entry::Closed { session, .. } => vec![Account::Session { session }],
            Entry::Turned { lane, .. } => vec![Account::Lane { lane }],
            Entry::Won { lane, nonce, .. } | Entry::Fate { lane, nonce, .. } => {
                vec![Account::Winner { lane, nonce }]
            }
            Entry::SpendingOpened { session, .. }
            | Entry::Recorded { session, .. }
            | Entry::SpendingClosed { session } => vec![Account::Spending { session }],
            Entry::Reserved { session, lane, minute, .. } => self.reserving(session, lane, minute),
        }
    }

    fn reserving(&self, session: B256, lane: u64, minute: u64) -> Vec<Account> {
        let mut accounts = vec![Account::Spending { session }];
        if let Some(Balance::Spending { stream, recipient, sender, .. }) =
            self.0.get(&Account::Spending { session })
        {
            let lane = LaneId { sender: *sender, recipient: *recipient, lane };
            let minute = Account::Minute { minute, stream: *stream };
            accounts.extend([Account::SpendLane { lane }, Account::Deposit { sender: *sender }, minute]);
        }
        accounts
    }

    /// The newest minute in which something was sent.
    pub(crate) fn newest_minute(&self) -> Option<u64> {
        self.0.keys().rev().find_map(|account| match account {
            Account::Minute { minute, .. } => Some(*minute),
            _ => None,
        })
    }

    /// Without what counts for nothing: empty accounts, and minutes an hour older than `newest`.
    pub(crate) fn settle(&mut self, newest: u64) {
        self.0.retain(|account, balance| {
            let old =
                matches!(account, Account::Minute { minute, .. } if minute.saturating_add(HOUR) <= newest);
            !old && !balance.is_empty()
        });
    }

    /// Each account that is not the same in `rows`, with its balance there and here.
    pub(crate) fn differences<'b>(
        &'b self,
        rows: &'b Self,
    ) -> impl Iterator<Item = (Account, Option<Balance>, Option<Balance>)> + 'b {
        let mut accounts: Vec<_> = self.0.keys().chain(rows.0.keys()).copied().collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts.into_iter().filter_map(|account| {
            let (log, row) = (self.0.get(&account).copied(), rows.0.get(&account).copied());
            (log != row).then_some((account, log, row))
        })
    }

    /// The packed account below which minutes have left the hour that ends with `newest`.
    pub(crate) fn minutes_kept_from(newest: u64) -> Vec<u8> {
        let minute = newest.saturating_sub(HOUR).saturating_add(1);
        let mut prefix = Account::Minute { minute, stream: B256::ZERO }.packed();
        prefix.truncate(prefix.len() - B256::len_bytes());
        prefix
    }
}
