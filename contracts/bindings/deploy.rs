//! Puts the contracts on a chain and remembers where they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{Address, Bytes, U256, aliases::U48, keccak256},
    sol_types::{SolCall, SolConstructor},
};
use serde::{Deserialize, Serialize};

use crate::{
    ChainConfig, ChainError, CourtParams, PrivateKeySigner,
    abi::{
        BondingManager, BondingState, BondingVotes, Controller, Court, CourtState, FramemillGovernor,
        FramemillToken, Minter, Proxy, RoundsManager, ServiceRegistry, TicketBroker, Treasury, extension,
        records,
    },
    rpc::Rpc,
    tx::{self, Account, Draft},
};

/// Later steps cannot be estimated before earlier ones are mined; the largest contract needs 5.5 million.
const CREATE_GAS: u64 = 7_000_000;
/// The dearest step of the wiring is the first round.
const CALL_GAS: u64 = 500_000;
/// First inflation per round, and its step toward the target bonding rate, in parts per million of the supply.
const INFLATION_PPM: u32 = 250;
const INFLATION_CHANGE_PPM: u32 = 1;

/// What the contracts are set up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployParams {
    /// Blocks per round.
    pub round_length: u64,
    /// Share of a round at its end in which orchestrators cannot change their terms, in parts per million.
    pub round_lock_ppm: u32,
    /// Rounds between unbonding and withdrawing stake. Too few for the longest dispute of a receipt under `court` are refused.
    pub unbonding_rounds: u64,
    /// Orchestrators that can be active at once.
    pub active_set_size: u64,
    /// Rounds between a sender's unlock and its withdrawal.
    pub sender_unlock_rounds: u64,
    /// Rounds after its own in which a ticket can be redeemed.
    pub ticket_validity_rounds: u64,
    /// Share of every reward that goes to the treasury, in parts per million; at most 250,000.
    pub treasury_share_ppm: u32,
    /// Balance of the treasury, in base units of the token, at which it takes no share any more.
    pub treasury_ceiling: U256,
    /// Rounds between a proposal and the round whose stake votes on it; at least 1.
    pub voting_delay_rounds: u64,
    /// Rounds of voting; with the delay at most 30.
    pub voting_period_rounds: u32,
    /// Votes (base units of stake) that a proposer needs.
    pub proposal_threshold: U256,
    /// Share of the active stake that must vote for a proposal or abstain, in percent.
    pub quorum_percent: u32,
    /// Seconds between a decision and its execution.
    pub timelock_seconds: u64,
    /// Whether the treasury's timelock is offered the ownership of all contracts; the first decision takes it.
    pub hand_over: bool,
    /// Tokens (base units) made for the deploying account, to be handed to stakers.
    pub initial_supply: U256,
    /// What the court goes by.
    pub court: CourtParams,
}

impl Default for DeployParams {
    fn default() -> Self {
        Self {
            round_length: 5760,
            round_lock_ppm: 100_000,
            unbonding_rounds: 7,
            active_set_size: 100,
            sender_unlock_rounds: 40,
            ticket_validity_rounds: 2,
            treasury_share_ppm: 100_000,
            treasury_ceiling: tokens(500_000),
            voting_delay_rounds: 1,
            voting_period_rounds: 10,
            proposal_threshold: tokens(100),
            quorum_percent: 33,
            timelock_seconds: 172_800,
            hand_over: false,
            initial_supply: tokens(10_000_000),
            court: CourtParams::default(),
        }
    }
}

impl DeployParams {
    /// A chain on one machine: rounds of 50 blocks, no lock period, no treasury share, the rest as in production.
    pub fn devnet() -> Self {
        Self {
            round_length: 50,
            round_lock_ppm: 0,
            treasury_share_ppm: 0,
            court: CourtParams::devnet(),
            ..Self::default()
        }
    }
}

fn tokens(count: u64) -> U256 {
    U256::from(count) * U256::from(10u64).pow(U256::from(18))
}

/// Where the contracts are. One JSON file, written by [`deploy`]'s caller with [`Deployment::save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Chain the contracts are on.
    pub chain_id: u64,
    /// Block from which their events are to be read.
    pub block: u64,
    /// Registry, owner and pause.
    pub controller: Address,
    /// The staking token.
    pub token: Address,
    /// Rounds.
    pub rounds_manager: Address,
    /// Stake and active set.
    pub bonding_manager: Address,
    /// Rewards and the staked tokens.
    pub minter: Address,
    /// Deposits, reserves and tickets in ETH.
    pub ticket_broker: Address,
    /// Service addresses and signing keys.
    pub service_registry: Address,
    /// Stake as votes.
    pub bonding_votes: Address,
    /// Proposals and ballots.
    pub governor: Address,
    /// Timelock of decisions, and what they can spend.
    pub treasury: Address,
    /// Disputes.
    pub court: Address,
}

impl Deployment {
    /// Every contract with its name.
    pub fn contracts(&self) -> [(&'static str, Address); 11] {
        [
            ("Controller", self.controller),
            ("FramemillToken", self.token),
            ("RoundsManager", self.rounds_manager),
            ("BondingManager", self.bonding_manager),
            ("Minter", self.minter),
            ("TicketBroker", self.ticket_broker),
            ("ServiceRegistry", self.service_registry),
            ("BondingVotes", self.bonding_votes),
            ("FramemillGovernor", self.governor),
            ("Treasury", self.treasury),
            ("Court", self.court),
        ]
    }

    /// Reads a deployment file.
    pub fn load(path: &Path) -> Result<Self, ChainError> {
        let text = fs::read_to_string(path).map_err(|e| file_error(path, e))?;
        serde_json::from_str(&text).map_err(|e| file_error(path, e))
    }

    /// Writes a deployment file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ChainError> {
        let text = serde_json::to_string_pretty(self).expect("a deployment is plain data");
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        fs::write(&part, text + "\n").map_err(|e| file_error(&part, e))?;
        fs::rename(&part, path).map_err(|e| file_error(path, e))
    }

    /// Whether its contracts stand on the chain that the endpoint is.
    async fn stands(&self, rpc: &Rpc) -> Result<bool, ChainError> {
        Ok(rpc.chain_id().await? == self.chain_id && rpc.has_code(self.controller).await?)
    }
}

fn file_error(path: &Path, reason: impl ToString) -> ChainError {
    ChainError::DeploymentFile { path: path.display().to_string(), reason: reason.to_string() }
}

/// Takes the deployment that `file` names if its contracts still stand on this chain; else deploys
/// and writes the file.
pub async fn deploy_once(
    config: &ChainConfig,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
    file: &Path,
) -> Result<Deployment, ChainError> {
    if file.exists() {
        let deployment = Deployment::load(file)?;
        if deployment.stands(&Rpc::new(config.clone())?).await? {
            return Ok(deployment);
        }
    }
    let deployment = deploy(config, deployer, params).await?;
    deployment.save(file)?;
    Ok(deployment)
}

/// Deploys and connects all contracts and initializes the first round.
///
/// Waits until everything is mined. The deployer becomes the owner and holds `initial_supply`.
pub async fn deploy(
    config: &ChainConfig,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
) -> Result<Deployment, ChainError> {
    let rpc = Rpc::new(config.clone())?;
    let chain_id = rpc.chain_id().await?;
    let block = rpc.block_number().await?;
    let account = Account::new(deployer.clone(), chain_id);
    let first_nonce = rpc.pending_nonce(account.address()).await?;
    let plan = Plan::new(account.address(), first_nonce);
    let deployment = plan.deployment(chain_id, block);
    let mut sent = Vec::new();
    for draft in plan.drafts(params) {
        let call = draft.call;
        sent.push((call, account.send(&rpc, draft).await?.hash));
    }
    for (call, hash) in sent {
        tx::wait(&rpc, call, hash).await?;
    }
    check_addresses(&rpc, &deployment).await?;
    tracing::info!(chain_id, controller = %deployment.controller, "deployed contracts");
    Ok(deployment)
}

async fn check_addresses(rpc: &Rpc, deployment: &Deployment) -> Result<(), ChainError> {
    for (name, address) in deployment.contracts() {
        if !rpc.has_code(address).await? {
            return Err(ChainError::BadAnswer {
                call: name,
                reason: format!(
                    "nothing stands at {address}: the deploying account sent something else meanwhile"
                ),
            });
        }
    }
    Ok(())
}

/// The contracts name each other in their code, so all addresses are worked out from the deploying
/// account's nonces before the first one is sent. The order of these is that of [`Plan::drafts`].
struct Plan {
    owner: Address,
    addresses: [Address; CREATIONS],
}

const CREATIONS: usize = 18;
const CONTROLLER: usize = 0;
const TOKEN: usize = 1;
const EXTENSION: usize = 2;
const BONDING_CODE: usize = 3;
const MINTER_CODE: usize = 4;
const ROUNDS_CODE: usize = 5;
const REGISTRY_CODE: usize = 6;
const BROKER: usize = 7;
const COURT_RECORDS: usize = 8;
const COURT_CODE: usize = 9;
const BONDING: usize = 10;
const MINTER: usize = 11;
const ROUNDS: usize = 12;
const REGISTRY: usize = 13;
const COURT: usize = 14;
const VOTES: usize = 15;
const TREASURY: usize = 16;
const GOVERNOR: usize = 17;

impl Plan {
    fn new(owner: Address, first_nonce: u64) -> Self {
        let nonce = |i: usize| first_nonce + u64::try_from(i).expect("there are few creations");
        Self { owner, addresses: std::array::from_fn(|i| owner.create(nonce(i))) }
    }

    fn deployment(&self, chain_id: u64, block: u64) -> Deployment {
        Deployment {
            chain_id,
            block,
            controller: self.addresses[CONTROLLER],
            token: self.addresses[TOKEN],
            rounds_manager: self.addresses[ROUNDS],
            bonding_manager: self.addresses[BONDING],
            minter: self.addresses[MINTER],
            ticket_broker: self.addresses[BROKER],
            service_registry: self.addresses[REGISTRY],
            bonding_votes: self.addresses[VOTES],
            governor: self.addresses[GOVERNOR],
            treasury: self.addresses[TREASURY],
            court: self.addresses[COURT],
        }
    }

    fn drafts(&self, params: &DeployParams) -> Vec<Draft> {
        let mut drafts = self.code(params);
        drafts.extend(self.court_code());
        drafts.extend(self.proxies(params));
        drafts.extend(self.governance(params));
        drafts.extend(self.wiring(params));
        drafts
    }

    fn code(&self, params: &DeployParams) -> Vec<Draft> {
        let a = &self.addresses;
        let controller_ = a[CONTROLLER];
        let siblings = BondingState::Siblings {
            token: a[TOKEN],
            minter: a[MINTER],
            roundsManager: a[ROUNDS],
            ticketBroker: a[BROKER],
        };
        let extension = extension::BondingExtension::constructorCall {
            controller_,
            siblings: extension::BondingState::Siblings {
                token: siblings.token,
                minter: siblings.minter,
                roundsManager: siblings.roundsManager,
                ticketBroker: siblings.ticketBroker,
            },
        };
        let controller = Controller::constructorCall { owner_: self.owner };
        let token = FramemillToken::constructorCall {
            controller_,
            holder: self.owner,
            supply: params.initial_supply,
        };
        let bonding = BondingManager::constructorCall { controller_, siblings, extension_: a[EXTENSION] };
        let minter = Minter::constructorCall { controller_, token_: a[TOKEN], bondingManager_: a[BONDING] };
        let rounds = RoundsManager::constructorCall {
            controller_,
            bondingManager_: a[BONDING],
            ticketBroker_: a[BROKER],
        };
        let registry = ServiceRegistry::constructorCall { controller_, roundsManager_: a[ROUNDS] };
        let broker = TicketBroker::constructorCall {
            controller_,
            bondingManager_: a[BONDING],
            roundsManager_: a[ROUNDS],
            validityRounds: U256::from(params.ticket_validity_rounds),
            unlockRounds_: U256::from(params.sender_unlock_rounds),
        };
        vec![
            create("new Controller", &Controller::BYTECODE, &controller),
            create("new FramemillToken", &FramemillToken::BYTECODE, &token),
            create("new BondingExtension", &extension::BondingExtension::BYTECODE, &extension),
            create("new BondingManager", &BondingManager::BYTECODE, &bonding),
            create("new Minter", &Minter::BYTECODE, &minter),
            create("new RoundsManager", &RoundsManager::BYTECODE, &rounds),
            create("new ServiceRegistry", &ServiceRegistry::BYTECODE, &registry),
            create("new TicketBroker", &TicketBroker::BYTECODE, &broker),
        ]
    }

    /// The court's two parts.
    fn court_code(&self) -> Vec<Draft> {
        let a = &self.addresses;
        let controller_ = a[CONTROLLER];
        let (token, bonding, rounds, registry) = (a[TOKEN], a[BONDING], a[ROUNDS], a[REGISTRY]);
        let records = records::CourtRecords::constructorCall {
            controller_,
            siblings: records::CourtState::Siblings {
                token,
                bondingManager: bonding,
                roundsManager: rounds,
                serviceRegistry: registry,
            },
        };
        let court = Court::constructorCall {
            controller_,
            siblings: CourtState::Siblings {
                token,
                bondingManager: bonding,
                roundsManager: rounds,
                serviceRegistry: registry,
            },
            records_: a[COURT_RECORDS],
        };
        vec![
            create("new CourtRecords", &records::CourtRecords::BYTECODE, &records),
            create("new Court", &Court::BYTECODE, &court),
        ]
    }

    fn proxies(&self, params: &DeployParams) -> Vec<Draft> {
        let proxy = |code: usize, initialization: Vec<u8>| {
            let call = Proxy::constructorCall {
                implementation: self.addresses[code],
                initialization: initialization.into(),
            };
            create("new Proxy", &Proxy::BYTECODE, &call)
        };
        let bonding = BondingManager::initializeCall {
            unbondingRounds: U256::from(params.unbonding_rounds),
            maxSetSize: U256::from(params.active_set_size),
        };
        let minter = Minter::initializeCall {
            inflation: U256::from(INFLATION_PPM),
            change: U256::from(INFLATION_CHANGE_PPM),
        };
        let rounds = RoundsManager::initializeCall {
            length: U256::from(params.round_length),
            lockPpm: U256::from(params.round_lock_ppm),
        };
        let registry = ServiceRegistry::initializeCall {};
        let parameters: Court::Parameters = (&params.court).into();
        let court = Court::initializeCall { parameters };
        vec![
            proxy(BONDING_CODE, bonding.abi_encode()),
            proxy(MINTER_CODE, minter.abi_encode()),
            proxy(ROUNDS_CODE, rounds.abi_encode()),
            proxy(REGISTRY_CODE, registry.abi_encode()),
            proxy(COURT_CODE, court.abi_encode()),
        ]
    }

    fn governance(&self, params: &DeployParams) -> Vec<Draft> {
        let a = &self.addresses;
        let votes = BondingVotes::constructorCall { bondingManager_: a[BONDING], roundsManager_: a[ROUNDS] };
        let treasury = Treasury::constructorCall {
            minDelay: U256::from(params.timelock_seconds),
            proposers: vec![a[GOVERNOR]],
            // Anybody may execute what has waited.
            executors: vec![Address::ZERO],
        };
        let settings = FramemillGovernor::Settings {
            votingDelay: U48::from(params.voting_delay_rounds),
            votingPeriod: params.voting_period_rounds,
            proposalThreshold: params.proposal_threshold,
            quorumPercent: U256::from(params.quorum_percent),
        };
        let governor =
            FramemillGovernor::constructorCall { votes: a[VOTES], timelock: a[TREASURY], s: settings };
        vec![
            create("new BondingVotes", &BondingVotes::BYTECODE, &votes),
            create("new Treasury", &Treasury::BYTECODE, &treasury),
            create("new FramemillGovernor", &FramemillGovernor::BYTECODE, &governor),
        ]
    }

    fn wiring(&self, params: &DeployParams) -> Vec<Draft> {
        let a = &self.addresses;
        let set = |name: &str, index: usize, managed: bool| {
            let call = Controller::setContractCall { id: keccak256(name), target: a[index], managed };
            call_draft(a[CONTROLLER], &call)
        };
        let share = U256::from(params.treasury_share_ppm);
        let mut drafts = vec![
            call_draft(a[TOKEN], &FramemillToken::setMinterCall { minter_: a[MINTER] }),
            set("FramemillToken", TOKEN, false),
            set("BondingManager", BONDING, true),
            set("Minter", MINTER, true),
            set("RoundsManager", ROUNDS, true),
            set("ServiceRegistry", REGISTRY, true),
            set("TicketBroker", BROKER, true),
            set("BondingVotes", VOTES, false),
            set("FramemillGovernor", GOVERNOR, false),
            set("Treasury", TREASURY, false),
            call_draft(a[MINTER], &Minter::setTreasuryCall { treasury_: a[TREASURY] }),
            call_draft(a[MINTER], &Minter::setTreasuryRewardCutRateCall { ppm: share }),
            call_draft(a[MINTER], &Minter::setTreasuryBalanceCeilingCall { amount: params.treasury_ceiling }),
            set("Court", COURT, true),
            call_draft(a[BONDING], &BondingManager::setCourtCall { court_: a[COURT] }),
            call_draft(a[ROUNDS], &RoundsManager::initializeRoundCall {}),
        ];
        if params.hand_over {
            drafts.push(call_draft(
                a[CONTROLLER],
                &Controller::transferOwnershipCall { newOwner: a[TREASURY] },
            ));
        }
        drafts
    }
}

fn create<C: SolConstructor>(call: &'static str, bytecode: &Bytes, arguments: &C) -> Draft {
    let input = [bytecode.as_ref(), &arguments.abi_encode()].concat();
    Draft { call, to: None, input: input.into(), value: U256::ZERO, gas: Some(CREATE_GAS) }
}

fn call_draft<C: SolCall>(to: Address, call: &C) -> Draft {
    Draft {
        call: C::SIGNATURE,
        to: Some(to),
        input: call.abi_encode().into(),
        value: U256::ZERO,
        gas: Some(CALL_GAS),
    }
}
