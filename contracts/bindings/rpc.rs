//! JSON-RPC with a deadline on each request, a bounded number of tries, and typed failures.

use std::fmt::Debug;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256},
    providers::{Provider, ProviderBuilder, RootProvider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
    transports::{RpcError, TransportError, TransportErrorKind},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{ChainConfig, ChainError, abi::decode_revert};

/// JSON-RPC code that nodes use for a reverted call.
const EXECUTION_REVERTED: i64 = 3;

/// One endpoint.
pub(crate) struct Rpc {
    config: ChainConfig,
    provider: RootProvider,
}

impl Rpc {
    pub(crate) fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let url = config.rpc_url.parse().map_err(|_| ChainError::BadArgument {
            name: "rpc_url",
            value: config.rpc_url.clone(),
            bound: "an http or https address".to_owned(),
        })?;
        Ok(Self { provider: ProviderBuilder::default().connect_http(url), config })
    }

    pub(crate) fn config(&self) -> &ChainConfig {
        &self.config
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        self.number("eth_chainId").await
    }

    pub(crate) async fn block_number(&self) -> Result<u64, ChainError> {
        self.number("eth_blockNumber").await
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

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.request("eth_getTransactionReceipt", "eth_getTransactionReceipt", json!([hash])).await
    }

    pub(crate) async fn knows_transaction(&self, hash: B256) -> Result<bool, ChainError> {
        let found: Option<Value> =
            self.request("eth_getTransactionByHash", "eth_getTransactionByHash", json!([hash])).await?;
        Ok(found.is_some())
    }

    pub(crate) async fn send_raw(&self, raw: &Bytes) -> Result<B256, ChainError> {
        self.request("eth_sendRawTransaction", "eth_sendRawTransaction", json!([raw])).await
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
        let mut tx = TransactionRequest::default().to(to).input(call.abi_encode().into());
        tx.from = from;
        let answer: Bytes = self.request("eth_call", C::SIGNATURE, json!([tx, "latest"])).await?;
        C::abi_decode_returns_validate(&answer)
            .map_err(|e| ChainError::BadAnswer { call: C::SIGNATURE, reason: e.to_string() })
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
        let attempts = self.config.retries.saturating_add(1);
        let mut backoff = self.config.retry_backoff;
        let mut reason = String::new();
        for attempt in 1..=attempts {
            let request = self.provider.raw_request::<Value, T>(method.into(), params.clone());
            match timeout(self.config.request_timeout, request).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if is_transient(&error) => reason = error.to_string(),
                Ok(Err(error)) => return Err(refused(method, call, error)),
                Err(_) => reason = format!("no answer to {method} within {:?}", self.config.request_timeout),
            }
            if attempt < attempts {
                sleep(backoff).await;
                backoff = backoff.saturating_mul(2);
            }
        }
        Err(ChainError::Unreachable { url: self.config.rpc_url.clone(), attempts, reason })
    }
}

fn is_transient(error: &TransportError) -> bool {
    matches!(
        error,
        RpcError::Transport(
            TransportErrorKind::Custom(_)
                | TransportErrorKind::HttpError(_)
                | TransportErrorKind::BackendGone
        )
    )
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
