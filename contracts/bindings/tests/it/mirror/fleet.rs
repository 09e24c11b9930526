//! Many accounts on one chain, their transactions many to a block, and the gas that they paid.

use std::collections::HashMap;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    providers::{ProviderBuilder, RootProvider},
    rpc::{
        client::BatchRequest,
        types::{Block, TransactionReceipt, TransactionRequest},
    },
    sol_types::SolCall,
};
use framemill_contracts::{
    Action, ChainClient, DeployParams, DevChain, PreparedTx, PrivateKeySigner, Redemption,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::Protocol;
use crate::{
    model::Who,
    stage::{Stage, UNIT, config},
};

/// Room for the largest batch of transactions in one block.
const BLOCK_GAS: u64 = 1_000_000_000_000;
/// The dearest action: both pools touched in cold slots, two places in a set of a hundred found without a hint.
pub(super) const ACTION_GAS: u64 = 1_500_000;
/// Requests in one HTTP body.
const BATCH: usize = 100;
/// Accounts that sign at the same time.
const SIGNERS: usize = 16;
/// Ether of each account, more than all its gas costs.
const ETHER: u64 = 1_000;

/// What one account sends.
pub(super) enum Sending {
    Action(Action),
    Redemptions(Vec<Redemption>),
}

/// Gas that was paid, read from every block.
#[derive(Default)]
pub(super) struct Books {
    /// The last block that was read.
    height: u64,
    /// Wei that each account paid for gas.
    pub(super) paid: HashMap<Address, U256>,
    /// Wei that went to the maker of the blocks.
    pub(super) tips: U256,
    /// Wei of the base fee.
    pub(super) burnt: U256,
}

/// Accounts with keys, tokens and ether.
pub(crate) struct Fleet {
    pub(super) stage: Stage,
    pub(super) dev: DevChain,
    pub(super) keys: Vec<PrivateKeySigner>,
    pub(super) addresses: Vec<Address>,
    clients: Vec<ChainClient>,
    provider: RootProvider,
    pub(super) books: Books,
    /// Wei that the accounts had when the books were opened.
    pub(super) wei: Vec<U256>,
    /// Who makes the blocks, and the wei that it had then.
    pub(super) maker: (Address, U256),
    snapshot: Option<U256>,
}

impl Fleet {
    /// Deploys, and gives each of `count` accounts `tokens` base units with an approval for stake and court. The first
    /// account is the owner.
    pub(crate) async fn gather(params: DeployParams, count: usize, tokens: U256) -> Self {
        let stage = Stage::set_with(params).await;
        let own = |i: usize| PrivateKeySigner::from_bytes(&keccak256(format!("account {i}"))).unwrap();
        let keys: Vec<_> =
            std::iter::once(stage.anvil.keys()[0].clone()).chain((1..count).map(own)).collect();
        let addresses = keys.iter().map(PrivateKeySigner::address).collect();
        let provider = ProviderBuilder::default().connect_http(stage.anvil.endpoint().parse().unwrap());
        let dev = stage.anvil.dev_chain();
        let clients = Vec::new();
        let (books, wei, maker) = (Books::default(), Vec::new(), Default::default());
        let mut fleet =
            Self { stage, dev, keys, addresses, clients, provider, books, wei, maker, snapshot: None };
        fleet.open().await;
        fleet.fund(tokens).await;
        fleet.open().await;
        fleet
    }

    /// New clients, which know of no nonce, and new books.
    async fn open(&mut self) {
        let first =
            ChainClient::connect(config(&self.stage.anvil), self.stage.deployment, None).await.unwrap();
        self.clients = self.keys.iter().map(|key| first.for_account(key.clone())).collect();
        self.books = Books { height: self.height().await, ..Books::default() };
        self.wei = self.wei_of(&self.addresses).await;
        let maker = self.block(self.books.height).await.header.beneficiary;
        self.maker = (maker, self.wei_of(&[maker]).await[0]);
    }

    async fn fund(&mut self, tokens: U256) {
        self.dev.set_block_gas_limit(BLOCK_GAS).await.unwrap();
        let ether = U256::from(ETHER) * U256::from(UNIT);
        let gifts = self.addresses[1..].iter().map(|account| self.dev.set_balance(*account, ether));
        stream::iter(gifts).buffered(SIGNERS).try_collect::<Vec<_>>().await.unwrap();
        let deployment = self.stage.deployment;
        let mut sendings = Vec::new();
        for (who, to) in self.addresses.clone().into_iter().enumerate() {
            if who != 0 {
                sendings.push((0, Sending::Action(Action::SendTokens { to, amount: tokens })));
            }
            for spender in [deployment.bonding_manager, deployment.court] {
                let approve = Protocol::approveCall { spender, value: U256::MAX };
                sendings.push((who, call(deployment.token, &approve)));
            }
        }
        let mined = self.send_all(sendings).await;
        assert!(mined.iter().all(|(_, success)| *success), "everybody has tokens");
    }

    pub(super) fn client(&self, who: Who) -> &ChainClient {
        &self.clients[who]
    }

    /// Remembers the chain as it is now, for [`Self::start_over`].
    pub(crate) async fn remember(&mut self) {
        self.snapshot = Some(self.dev.snapshot().await.unwrap());
    }

    pub(crate) async fn start_over(&mut self) {
        let snapshot = self.snapshot.take().expect("the chain was remembered");
        self.dev.back_to(snapshot).await.unwrap();
        self.remember().await;
        self.open().await;
    }

    /// Signs, sends and mines all of these in this order, and says of each whether it succeeded.
    pub(super) async fn send_all(&mut self, sendings: Vec<(Who, Sending)>) -> Vec<(B256, bool)> {
        self.read_blocks().await;
        self.dev.set_automine(false).await.unwrap();
        let prepared = self.prepare_all(&sendings).await;
        for ((who, _), tx) in sendings.iter().zip(&prepared) {
            self.clients[*who].submit(tx).await.unwrap();
        }
        self.dev.mine(1).await.unwrap();
        self.dev.set_automine(true).await.unwrap();
        let mined = self.read_blocks().await;
        let order: Vec<B256> = mined.iter().map(|(hash, _)| *hash).collect();
        let sent: Vec<B256> = prepared.iter().map(|tx| tx.hash).collect();
        assert_eq!(order.len(), sent.len(), "all that was sent is mined");
        let strayed = (0..sent.len()).find(|place| order[*place] != sent[*place]);
        assert_eq!(strayed, None, "the block holds what was sent, in its order");
        mined
    }

    /// An account's transactions are signed one after the other, those of several accounts at once.
    async fn prepare_all(&self, sendings: &[(Who, Sending)]) -> Vec<PreparedTx> {
        let mut by_account: HashMap<Who, Vec<usize>> = HashMap::new();
        for (place, (who, _)) in sendings.iter().enumerate() {
            by_account.entry(*who).or_default().push(place);
        }
        let signed = by_account.into_iter().map(|(who, places)| async move {
            let mut signed = Vec::new();
            for place in places {
                signed.push((place, prepare(&self.clients[who], &sendings[place].1).await));
            }
            signed
        });
        let signed: Vec<_> = stream::iter(signed).buffer_unordered(SIGNERS).collect().await;
        let mut signed: Vec<_> = signed.into_iter().flatten().collect();
        signed.sort_by_key(|(place, _)| *place);
        signed.into_iter().map(|(_, tx)| tx).collect()
    }

    /// Books the gas of all new blocks. Returns their transactions in order, and whether each succeeded.
    pub(super) async fn read_blocks(&mut self) -> Vec<(B256, bool)> {
        let heights: Vec<u64> = (self.books.height + 1..=self.height().await).collect();
        let params = heights.iter().map(|height| json!([U64::from(*height), false])).collect();
        let blocks: Vec<Block> = self.ask_all("eth_getBlockByNumber", params).await;
        let mut mined = Vec::new();
        for block in blocks.into_iter().filter(|block| !block.transactions.is_empty()) {
            let height = json!([U64::from(block.header.number)]);
            let receipts: Vec<Vec<TransactionReceipt>> =
                self.ask_all("eth_getBlockReceipts", vec![height]).await;
            for receipt in receipts.into_iter().flatten() {
                self.books.enter(&block, &receipt);
                mined.push((receipt.transaction_hash, receipt.status()));
            }
        }
        self.books.height = heights.last().copied().unwrap_or(self.books.height);
        mined
    }

    pub(super) async fn height(&self) -> u64 {
        self.stage.owner.block_number().await.unwrap()
    }

    pub(super) async fn block(&self, height: u64) -> Block {
        let params = vec![json!([U64::from(height), false])];
        self.ask_all("eth_getBlockByNumber", params).await.pop().expect("one answer to one question")
    }

    pub(super) async fn wei_of(&self, accounts: &[Address]) -> Vec<U256> {
        let params = accounts.iter().map(|account| json!([account, "latest"])).collect();
        self.ask_all("eth_getBalance", params).await
    }

    /// Calls one function with many arguments, on the newest state.
    pub(super) async fn views<C: SolCall>(&self, to: Address, calls: &[C]) -> Vec<C::Return> {
        let params = calls.iter().map(|call| {
            let tx = TransactionRequest::default().to(to).input(call.abi_encode().into());
            json!([tx, "latest"])
        });
        let answers: Vec<Bytes> = self.ask_all("eth_call", params.collect()).await;
        answers.iter().map(|answer| C::abi_decode_returns(answer).unwrap()).collect()
    }

    pub(super) async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        self.views(to, &[call]).await.pop().unwrap()
    }

    async fn ask_all<T>(&self, method: &'static str, params: Vec<Value>) -> Vec<T>
    where
        T: DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static,
    {
        let mut found = Vec::with_capacity(params.len());
        for part in params.chunks(BATCH) {
            let mut batch = BatchRequest::new(alloy::providers::Provider::client(&self.provider));
            let asked: Vec<_> =
                part.iter().map(|params| batch.add_call::<_, T>(method, params).unwrap()).collect();
            batch.send().await.unwrap();
            for answer in asked {
                found.push(answer.await.unwrap());
            }
        }
        found
    }
}

impl Books {
    fn enter(&mut self, block: &Block, receipt: &TransactionReceipt) {
        let gas = U256::from(receipt.gas_used);
        let base = U256::from(block.header.base_fee_per_gas.unwrap_or_default()) * gas;
        let paid = U256::from(receipt.effective_gas_price) * gas;
        *self.paid.entry(receipt.from).or_default() += paid;
        self.tips += paid - base;
        self.burnt += base;
    }
}

/// A call of a contract.
pub(super) fn call<C: SolCall>(to: Address, call: &C) -> Sending {
    Sending::Action(Action::Call { name: C::SIGNATURE, to, data: call.abi_encode().into() })
}

async fn prepare(client: &ChainClient, sending: &Sending) -> PreparedTx {
    match sending {
        Sending::Action(action) => client.prepare(action, ACTION_GAS).await.unwrap(),
        Sending::Redemptions(redemptions) => client.prepare_redemption(redemptions).await.unwrap(),
    }
}
