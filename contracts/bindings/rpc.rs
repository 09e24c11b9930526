//! JSON-RPC with a deadline on each request, a bounded number of tries over all endpoints, and typed failures.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256},
    providers::{Provider, ProviderBuilder, RootProvider},
    rpc::{
        client::BatchRequest,
        types::{Block, Filter, Log, TransactionReceipt, TransactionRequest},
    },
    sol_types::SolCall,
    transports::{RpcError, TransportError, TransportErrorKind, http::reqwest::Url},
};
use futures::{StreamExt, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{ChainConfig, ChainError, abi::decode_revert, endpoints::Endpoints};

/// JSON-RPC code that nodes use for a reverted call.
const EXECUTION_REVERTED: i64 = 3;
/// Requests in one HTTP body: public endpoints refuse more.
pub(crate) const MAX_BATCH: usize = 100;
/// Endpoints of one client: each write goes to all of them.
const MAX_ENDPOINTS: usize = 8;
/// How nodes name state that they do not have yet: another endpoint may.
const BEHIND: [&str; 3] = ["header not found", "unknown block", "missing trie node"];

/// One endpoint and how it is named to people: without its path, which may hold a key.
#[derive(Clone)]
struct Line {
    name: String,
    /// The address as errors of the transport repeat it, with and without a user's name and password.
    spelled: [String; 2],
    provider: RootProvider,
}

/// The endpoints of one chain.
pub(crate) struct Rpc {
    config: ChainConfig,
    lines: Vec<Line>,
    health: Arc<Mutex<Endpoints>>,
    /// The chain that every endpoint must be, once it is known.
    expected: OnceLock<u64>,
    /// When all endpoints were last asked for their height.
    probed: Mutex<Option<Instant>>,
}

/// Why one try at one endpoint gave no answer.
enum Failed {
    /// Another try, or another endpoint, may answer.
    Transient(String),
    /// The endpoint answered with an error.
    Refused(ChainError),
}

impl Rpc {
    pub(crate) fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let urls: Vec<&String> = std::iter::once(&config.rpc_url).chain(&config.fallback_rpc_urls).collect();
        if urls.len() > MAX_ENDPOINTS {
            return Err(ChainError::BadArgument {
                name: "fallback_rpc_urls",
                value: format!("{} endpoints", urls.len() - 1),
                bound: format!("at most {}", MAX_ENDPOINTS - 1),
            });
        }
        let lines = urls.into_iter().map(|url| Line::new(url)).collect::<Result<Vec<_>, _>>()?;
        let health = Arc::new(Mutex::new(Endpoints::new(lines.len())));
        Ok(Self { config, lines, health, expected: OnceLock::new(), probed: Mutex::new(None) })
    }

    pub(crate) fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// Holds every endpoint to be this chain from now on; fails when the first that answers says so of none.
    pub(crate) async fn expect_chain(&self, chain: u64) -> Result<(), ChainError> {
        self.expected.set(chain).ok();
        self.chain_id().await.map(drop)
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        self.number("eth_chainId").await
    }

    /// Height of the endpoint that is read from. Now and then all endpoints are asked, and the reads leave one that is behind.
    pub(crate) async fn block_number(&self) -> Result<u64, ChainError> {
        self.probe_if_due().await;
        self.number("eth_blockNumber").await
    }

    /// The newest block, or the one at a height.
    pub(crate) async fn block(&self, height: Option<u64>) -> Result<Option<Block>, ChainError> {
        self.probe_if_due().await;
        let at = height.map_or(json!("latest"), |height| json!(U64::from(height)));
        self.request("eth_getBlockByNumber", "eth_getBlockByNumber", json!([at, false])).await
    }

    /// The blocks at these heights, in order; those that are not there are left out.
    pub(crate) async fn blocks(
        &self,
        heights: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<Block>, ChainError> {
        let params = heights.map(|height| json!([U64::from(height), false])).collect();
        let found: Vec<Option<Block>> = self.batch("eth_getBlockByNumber", params).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What each filter finds, in one request.
    pub(crate) async fn logs(&self, filters: &[Filter]) -> Result<Vec<Vec<Log>>, ChainError> {
        let params = filters.iter().map(|filter| json!([filter])).collect();
        self.batch("eth_getLogs", params).await
    }

    pub(crate) async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.request("eth_getBalance", "eth_getBalance", json!([account, "latest"])).await
    }

    pub(crate) async fn has_code(&self, account: Address) -> Result<bool, ChainError> {
        let code: Bytes = self.request("eth_getCode", "eth_getCode", json!([account, "latest"])).await?;
        Ok(!code.is_empty())
    }

    pub(crate) async fn gas_price(&self) -> Result<u128, ChainError> {
        let price: U256 = self.request("eth_gasPrice", "eth_gasPrice", json!([])).await?;
        price.try_into().map_err(|_| ChainError::BadAnswer {
            call: "eth_gasPrice",
            reason: format!("{price} is no price of gas"),
        })
    }

    pub(crate) async fn pending_nonce(&self, account: Address) -> Result<u64, ChainError> {
        let params = json!([account, "pending"]);
        let nonce: U64 = self.request("eth_getTransactionCount", "eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    /// The first nonce that no mined transaction has used.
    pub(crate) async fn mined_nonce(&self, account: Address) -> Result<u64, ChainError> {
        let params = json!([account, "latest"]);
        let nonce: U64 = self.request("eth_getTransactionCount", "eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    /// What [`Rpc::mined_nonce`] was at the end of a block.
    pub(crate) async fn mined_nonce_at(&self, account: Address, height: u64) -> Result<u64, ChainError> {
        let params = json!([account, U64::from(height)]);
        let nonce: U64 = self.request("eth_getTransactionCount", "eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.request("eth_getTransactionReceipt", "eth_getTransactionReceipt", json!([hash])).await
    }

    /// The first receipt among these transactions.
    pub(crate) async fn receipt_of_any(
        &self,
        hashes: &[B256],
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        if let [hash] = hashes {
            return self.receipt(*hash).await;
        }
        let params = hashes.iter().map(|hash| json!([hash])).collect();
        let found: Vec<Option<TransactionReceipt>> = self.batch("eth_getTransactionReceipt", params).await?;
        Ok(found.into_iter().flatten().next())
    }

    pub(crate) async fn knows_transaction(&self, hash: B256) -> Result<bool, ChainError> {
        let found: Option<Value> =
            self.request("eth_getTransactionByHash", "eth_getTransactionByHash", json!([hash])).await?;
        Ok(found.is_some())
    }

    /// Gives a transaction to every endpoint and returns when the first one has taken it. The others get it meanwhile.
    pub(crate) async fn send_raw(&self, raw: &Bytes) -> Result<B256, ChainError> {
        const METHOD: &str = "eth_sendRawTransaction";
        if self.lines.len() == 1 {
            return self.request(METHOD, METHOD, json!([raw])).await;
        }
        let lines: Vec<usize> = self.health().candidates().collect();
        let mut sends = FuturesUnordered::new();
        for index in lines {
            if self.verify(index).await.is_err() {
                continue;
            }
            let (line, params, patience) =
                (self.lines[index].clone(), json!([raw]), self.config.request_timeout);
            // A task of its own: the answer of the fastest must not cut off the rest.
            let send = tokio::spawn(async move { line.ask(METHOD, METHOD, params, patience).await });
            sends.push(async move { (index, send.await) });
        }
        let mut worst = Failed::Transient("no endpoint could be asked".to_owned());
        while let Some((index, sent)) = sends.next().await {
            match sent {
                Ok(Ok(hash)) => return Ok(hash),
                Ok(Err(Failed::Refused(error))) => worst = graver(worst, error),
                Ok(Err(Failed::Transient(reason))) => {
                    self.health().failed(index, Instant::now());
                    worst = keep_refusal(worst, reason);
                }
                Err(error) => worst = keep_refusal(worst, error.to_string()),
            }
        }
        match worst {
            Failed::Refused(error) => Err(error),
            Failed::Transient(reason) => Err(self.unreachable(1, reason)),
        }
    }

    /// Calls a view function.
    pub(crate) async fn call<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, ChainError> {
        self.call_as(None, to, call).await
    }

    /// Runs a function without sending it.
    pub(crate) async fn call_as<C: SolCall>(
        &self,
        from: Option<Address>,
        to: Address,
        call: C,
    ) -> Result<C::Return, ChainError> {
        self.call_at("latest", from, to, call).await
    }

    /// Runs a function on the state of a block: `latest`, `pending`.
    pub(crate) async fn call_at<C: SolCall>(
        &self,
        block: &str,
        from: Option<Address>,
        to: Address,
        call: C,
    ) -> Result<C::Return, ChainError> {
        let mut tx = TransactionRequest::default().to(to).input(call.abi_encode().into());
        tx.from = from;
        let answer: Bytes = self.request("eth_call", C::SIGNATURE, json!([tx, block])).await?;
        decode::<C>(&answer)
    }

    /// Calls view functions in as few requests as there are hundreds of calls, all on the state of block `height`.
    /// Decode each answer with [`decode`].
    pub(crate) async fn calls(
        &self,
        height: u64,
        calls: Vec<(Address, Vec<u8>)>,
    ) -> Result<Vec<Bytes>, ChainError> {
        let params = calls
            .into_iter()
            .map(|(to, input)| {
                let tx = TransactionRequest::default().to(to).input(Bytes::from(input).into());
                json!([tx, U64::from(height)])
            })
            .collect();
        self.batch("eth_call", params).await
    }

    pub(crate) async fn estimate_gas(
        &self,
        call: &'static str,
        tx: &TransactionRequest,
    ) -> Result<u64, ChainError> {
        let gas: U64 = self.request("eth_estimateGas", call, json!([tx])).await?;
        Ok(gas.to())
    }

    async fn number(&self, method: &'static str) -> Result<u64, ChainError> {
        let number: U64 = self.request(method, method, json!([])).await?;
        Ok(number.to())
    }

    /// Makes the same request with each of `params`, in few HTTP requests. The first error of one is the error of all.
    async fn batch<T>(&self, method: &'static str, params: Vec<Value>) -> Result<Vec<T>, ChainError>
    where
        T: DeserializeOwned + Debug + Send + Sync + Unpin + 'static,
    {
        let mut answers = Vec::with_capacity(params.len());
        for part in params.chunks(MAX_BATCH) {
            let patience = self.config.request_timeout;
            answers.extend(self.tried(|line| line.ask_many(method, part.to_vec(), patience)).await?);
        }
        Ok(answers)
    }

    /// `call` is what the caller asked for, and names the failure.
    async fn request<T>(
        &self,
        method: &'static str,
        call: &'static str,
        params: Value,
    ) -> Result<T, ChainError>
    where
        T: DeserializeOwned + Debug + Send + Sync + Unpin + 'static,
    {
        let patience = self.config.request_timeout;
        self.tried(|line| line.ask(method, call, params.clone(), patience)).await
    }

    /// Tries the endpoints in turn: at once while one is well, with a growing pause when none is.
    async fn tried<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        ask: impl Fn(Line) -> F,
    ) -> Result<T, ChainError> {
        let attempts = self.config.retries.saturating_add(1).max(self.lines.len() as u32);
        let mut pause = self.config.retry_backoff;
        let mut reason = String::new();
        for attempt in 1..=attempts {
            let index = self.pick()?;
            let outcome = match self.verify(index).await {
                Ok(()) => ask(self.lines[index].clone()).await,
                Err(failed) => Err(failed),
            };
            match outcome {
                Ok(answer) => {
                    self.health().answered(index);
                    return Ok(answer);
                }
                Err(Failed::Refused(error)) => return Err(error),
                Err(Failed::Transient(text)) => reason = text,
            }
            self.health().failed(index, Instant::now());
            if attempt < attempts && !self.health().any_well(Instant::now()) {
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
        }
        Err(self.unreachable(attempts, reason))
    }

    fn pick(&self) -> Result<usize, ChainError> {
        let mut health = self.health();
        health.pick(Instant::now()).ok_or_else(|| ChainError::WrongChain {
            expected: self.expected.get().copied().unwrap_or_default(),
            found: health.foreign_chain().unwrap_or_default(),
        })
    }

    /// Asks an endpoint that was never asked which chain it is.
    async fn verify(&self, index: usize) -> Result<(), Failed> {
        let Some(expected) = self.expected.get().copied() else { return Ok(()) };
        if self.health().is_verified(index) {
            return Ok(());
        }
        let line = self.lines[index].clone();
        let asked = line.ask("eth_chainId", "eth_chainId", json!([]), self.config.request_timeout);
        let found: U64 = asked.await?;
        let found = found.to::<u64>();
        if found == expected {
            self.health().verify(index);
            return Ok(());
        }
        self.health().exclude(index, found);
        let name = &self.lines[index].name;
        tracing::error!(
            endpoint = name,
            found,
            expected,
            "endpoint is another chain and is left out; correct chain.rpc"
        );
        match self.pick() {
            Ok(_) => Err(Failed::Transient(format!("{name} is chain {found}, not {expected}"))),
            Err(wrong) => Err(Failed::Refused(wrong)),
        }
    }

    async fn probe_if_due(&self) {
        if self.lines.len() == 1 || !self.take_probe() {
            return;
        }
        let asked = self.lines.iter().enumerate().map(|(index, line)| async move {
            self.verify(index).await.ok()?;
            let ask = line.clone().ask::<U64>(
                "eth_blockNumber",
                "eth_blockNumber",
                json!([]),
                self.config.request_timeout,
            );
            Some((index, ask.await))
        });
        for (index, answer) in futures::future::join_all(asked).await.into_iter().flatten() {
            match answer {
                Ok(height) => {
                    self.health().told_height(index, height.to());
                    self.health().answered(index);
                }
                Err(_) => self.health().failed(index, Instant::now()),
            }
        }
    }

    /// Whether it is time for a probe; the caller then makes it.
    fn take_probe(&self) -> bool {
        let now = Instant::now();
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = probed.is_none_or(|last| now.duration_since(last) >= self.config.probe_interval);
        if due {
            *probed = Some(now);
        }
        due
    }

    fn health(&self) -> MutexGuard<'_, Endpoints> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreachable(&self, attempts: u32, reason: String) -> ChainError {
        let names: Vec<_> = self.lines.iter().map(|line| line.name.as_str()).collect();
        ChainError::Unreachable { url: names.join(", "), attempts, reason }
    }
}

impl Line {
    fn new(url: &str) -> Result<Self, ChainError> {
        let parsed = url.parse::<Url>().ok();
        let scheme = parsed.as_ref().map_or("what is no address", Url::scheme);
        let Some(parsed) = parsed.as_ref().filter(|_| ["http", "https"].contains(&scheme)) else {
            return Err(ChainError::BadArgument {
                name: "rpc_url",
                value: scheme.to_owned(),
                bound: "an http or https address".to_owned(),
            });
        };
        let name = parsed.origin().ascii_serialization();
        let mut anonymous = parsed.clone();
        // Addresses that cannot have a user have none.
        let _ = anonymous.set_username("").and_then(|()| anonymous.set_password(None));
        let spelled = [parsed.to_string(), anonymous.to_string()];
        Ok(Self { name, spelled, provider: ProviderBuilder::default().connect_http(parsed.clone()) })
    }

    /// Errors of the transport repeat the whole address.
    fn failure(&self, method: &'static str, call: &'static str, error: TransportError) -> Failed {
        match is_transient(&error) {
            true => Failed::Transient(self.without_address(&error.to_string())),
            false => Failed::Refused(refused(method, call, error)),
        }
    }

    fn without_address(&self, text: &str) -> String {
        self.spelled.iter().fold(text.to_owned(), |text, spelled| text.replace(spelled, &self.name))
    }

    async fn ask<T>(
        self,
        method: &'static str,
        call: &'static str,
        params: Value,
        patience: std::time::Duration,
    ) -> Result<T, Failed>
    where
        T: DeserializeOwned + Debug + Send + Sync + Unpin + 'static,
    {
        let request = self.provider.raw_request::<Value, T>(method.into(), params);
        match timeout(patience, request).await {
            Ok(answer) => answer.map_err(|error| self.failure(method, call, error)),
            Err(_) => Err(Failed::Transient(format!("no answer to {method} within {patience:?}"))),
        }
    }

    async fn ask_many<T>(
        self,
        method: &'static str,
        params: Vec<Value>,
        patience: std::time::Duration,
    ) -> Result<Vec<T>, Failed>
    where
        T: DeserializeOwned + Debug + Send + Sync + Unpin + 'static,
    {
        let asked = async {
            let mut batch = BatchRequest::new(self.provider.client());
            let mut answers = Vec::with_capacity(params.len());
            for params in &params {
                answers.push(batch.add_call::<_, T>(method, params)?);
            }
            batch.send().await?;
            let mut found = Vec::with_capacity(answers.len());
            for answer in answers {
                found.push(answer.await?);
            }
            Ok(found)
        };
        match timeout(patience, asked).await {
            Ok(answer) => answer.map_err(|error| self.failure(method, method, error)),
            Err(_) => Err(Failed::Transient(format!("no answer to {method} within {patience:?}"))),
        }
    }
}

/// Reads what a view function answered.
pub(crate) fn decode<C: SolCall>(answer: &[u8]) -> Result<C::Return, ChainError> {
    C::abi_decode_returns_validate(answer)
        .map_err(|e| ChainError::BadAnswer { call: C::SIGNATURE, reason: e.to_string() })
}

/// A refusal says more than a silence, and "known already" more than another refusal.
fn graver(worst: Failed, error: ChainError) -> Failed {
    let known =
        |error: &ChainError| matches!(error, ChainError::Rpc { message, .. } if crate::tx::is_known(message));
    match worst {
        Failed::Refused(old) if known(&old) => Failed::Refused(old),
        _ => Failed::Refused(error),
    }
}

fn keep_refusal(worst: Failed, reason: String) -> Failed {
    match worst {
        Failed::Refused(error) => Failed::Refused(error),
        Failed::Transient(_) => Failed::Transient(reason),
    }
}

fn is_transient(error: &TransportError) -> bool {
    match error {
        RpcError::Transport(
            TransportErrorKind::Custom(_)
            | TransportErrorKind::HttpError(_)
            | TransportErrorKind::HttpErrorWithRetryAfter { .. }
            | TransportErrorKind::BackendGone
            | TransportErrorKind::MissingBatchResponse(_),
        ) => true,
        RpcError::ErrorResp(payload) => {
            let message = payload.message.to_ascii_lowercase();
            payload.is_retry_err() || BEHIND.iter().any(|behind| message.contains(behind))
        }
        _ => false,
    }
}

fn refused(method: &'static str, call: &'static str, error: TransportError) -> ChainError {
    let Some(payload) = error.as_error_resp() else {
        return ChainError::BadAnswer { call, reason: error.to_string() };
    };
    let reverted = payload.code == EXECUTION_REVERTED || payload.message.contains("revert");
    match payload.as_revert_data() {
        Some(data) => ChainError::Reverted { call, revert: decode_revert(&data) },
        None if reverted => ChainError::Reverted { call, revert: decode_revert(&[]) },
        None => ChainError::Rpc { method, code: payload.code, message: payload.message.to_string() },
    }
}
