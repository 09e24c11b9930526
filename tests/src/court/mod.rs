//! A court on a real chain: jurors that are orchestrators with their real service, an accused whose key signs what a test wants,
//! and a challenger whose node serves evidence.

mod juror;
mod studio;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use framemill_contracts::{
    Anvil, AnvilConfig, ChainClient, ChainConfig, CourtParams, DeployParams, Deployment, Dispute,
    DisputeStatus, Fault, Jury, PrivateKeySigner, Registration, Seat, deploy,
};
use framemill_network::{Network, NetworkConfig, SigningDomain};
use framemill_orchestrator::court_receipt;
use framemill_verification::evidence::{Bundle, find_in_bundles};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub use juror::JurorNode;
pub use studio::{Bench, Made, Statement};

/// Base units of one token.
pub const UNIT: u64 = 1_000_000_000_000_000_000;
/// Tokens of each juror; equal, so that each has a seat of a first jury for sure.
pub const JUROR_STAKE: u64 = 1_000;
/// Tokens of the accused.
pub const ACCUSED_STAKE: u64 = 100;
/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at what a test waits for.
const LOOK: Duration = Duration::from_millis(50);
/// Accounts: the owner, the challenger, the accused, then the jurors.
const CHALLENGER: usize = 1;
const ACCUSED: usize = 2;
const FIRST_JUROR: usize = 3;

/// Blocks of the windows: wide enough for all disputes of a test at once, since each transaction makes a block.
fn params() -> DeployParams {
    DeployParams {
        round_length: 700,
        court: CourtParams {
            seed_delay: 2,
            claim_blocks: 80,
            commit_blocks: 80,
            reveal_blocks: 60,
            appeal_blocks: 60,
            ..CourtParams::devnet()
        },
        ..DeployParams::devnet()
    }
}

/// The court and everybody in it.
pub struct Court {
    /// The chain.
    pub anvil: Anvil,
    /// Where the contracts are.
    pub deployment: Deployment,
    /// Owns the contracts and all tokens that nobody else has.
    pub owner: ChainClient,
    /// Accuses.
    pub challenger: ChainClient,
    /// Who is accused.
    pub accused: PrivateKeySigner,
    /// Their nodes; `None` while one is down.
    pub jurors: Vec<Option<JurorNode>>,
    shelf: Shelf,
    folder: TempDir,
}

/// The challenger's node.
struct Shelf {
    _network: Network,
    bundles: PathBuf,
    withheld: Arc<Mutex<HashSet<B256>>>,
}

impl Court {
    /// Deploys, stakes, and starts `jurors` nodes; all are active when this returns.
    pub async fn open(jurors: usize) -> Self {
        let accounts = u32::try_from(FIRST_JUROR + jurors).expect("a few jurors");
        let anvil = Anvil::start(AnvilConfig { accounts, ..AnvilConfig::default() })
            .await
            .expect("anvil; run scripts/setup");
        let deployed = deploy(&chain_config(&anvil), &anvil.keys()[0], &params()).await;
        let deployment = deployed.expect("deployed contracts");
        let owner = connect(&anvil, deployment, 0).await;
        let challenger = connect(&anvil, deployment, CHALLENGER).await;
        let folder = TempDir::with_prefix("framemill-court-").expect("a folder for temporary files");
        let shelf = Shelf::open(folder.path().join("challenger")).await;
        let uri = shelf._network.service_address().expect("it listens").to_string();
        challenger.set_service(&uri, Address::ZERO).await.expect("an address in the registry");
        let tokens = U256::from(10_000) * U256::from(UNIT);
        owner.transfer_tokens(challenger.address().expect("a key"), tokens).await.expect("tokens");

        let accused = anvil.keys()[ACCUSED].clone();
        let mut court =
            Self { anvil, deployment, owner, challenger, accused, jurors: Vec::new(), shelf, folder };
        court.stake(ACCUSED, ACCUSED_STAKE, String::new()).await;
        for number in 0..jurors {
            court.jurors.push(None);
            court.start_juror(number).await;
            let uri = court.juror(number).service();
            court.stake(FIRST_JUROR + number, JUROR_STAKE, uri).await;
        }
        court.begin_next_round().await;
        court
    }

    async fn stake(&self, account: usize, tokens: u64, service_uri: String) {
        let client = connect(&self.anvil, self.deployment, account).await;
        let stake = U256::from(tokens) * U256::from(UNIT);
        self.owner.transfer_tokens(client.address().expect("a key"), stake).await.expect("tokens");
        let registration = Registration {
            stake,
            reward_cut_ppm: 0,
            fee_share_ppm: 0,
            service_uri,
            signing_key: Address::ZERO,
            redeemer: Address::ZERO,
        };
        client.register_orchestrator(&registration).await.expect("a registration");
    }

    async fn begin_next_round(&self) {
        let round = self.owner.round_info().await.expect("a round");
        let height = self.height().await;
        self.anvil.mine(round.start_block + round.length - height).await.expect("blocks");
        self.owner.initialize_round().await.expect("a new round");
    }

    /// Starts a juror's node (again), on what the one before it left on disk.
    pub async fn start_juror(&mut self, number: usize) {
        let key = self.anvil.keys()[FIRST_JUROR + number].clone();
        let folder = self.folder.path().join(format!("juror-{number}"));
        self.jurors[number] = Some(JurorNode::start(&self.anvil, self.deployment, key, folder).await);
    }

    /// Another node with a juror's key, on a disk of its own.
    pub async fn twin_of_juror(&self, number: usize) -> JurorNode {
        let key = self.anvil.keys()[FIRST_JUROR + number].clone();
        let folder = self.folder.path().join(format!("twin-{number}"));
        JurorNode::start(&self.anvil, self.deployment, key, folder).await
    }

    /// Ends a juror's node as a kill does: nothing is said or written any more.
    pub fn kill_juror(&mut self, number: usize) {
        drop(self.jurors[number].take());
    }

    /// A juror that is up.
    ///
    /// # Panics
    /// When it is not.
    pub fn juror(&self, number: usize) -> &JurorNode {
        self.jurors[number].as_ref().expect("the juror is up")
    }

    /// A juror's account.
    pub fn juror_account(&self, number: usize) -> Address {
        self.anvil.keys()[FIRST_JUROR + number].address()
    }

    /// What receipts are signed for.
    pub fn domain(&self) -> SigningDomain {
        SigningDomain { chain_id: self.deployment.chain_id, controller: self.deployment.controller }
    }

    /// Puts a bundle where the challenger's node serves it.
    pub fn publish(&self, bundle: &Bundle) {
        let id = alloy_primitives::hex::encode(bundle.id());
        bundle.write(&self.shelf.bundles.join(id)).expect("the bundle is written");
    }

    /// Makes the challenger's node deny that it has a file, or hand it out again.
    pub fn withhold(&self, sha256: B256, withheld: bool) {
        let mut all = self.shelf.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        if withheld {
            all.insert(sha256)
        } else {
            all.remove(&sha256)
        };
    }

    /// Opens a dispute about the receipts of these bundles.
    pub async fn accuse(&self, fault: Fault, bundles: &[&Bundle]) -> u64 {
        let receipts: Vec<_> =
            bundles.iter().map(|bundle| court_receipt(&bundle.manifest().case.receipt)).collect();
        let evidence: Vec<_> = bundles.iter().map(|bundle| bundle.id()).collect();
        let opened = self.challenger.open_dispute(self.accused.address(), fault, &receipts, &evidence).await;
        opened.expect("an open dispute")
    }

    /// A dispute.
    pub async fn dispute(&self, id: u64) -> Dispute {
        self.owner.dispute(id).await.expect("a chain").expect("a dispute")
    }

    /// A dispute's present jury.
    pub async fn jury(&self, id: u64) -> Jury {
        let jury = self.dispute(id).await.jury;
        self.owner.jury(jury).await.expect("a chain").expect("a jury")
    }

    /// A juror's part in a dispute's present jury.
    pub async fn seat(&self, id: u64, number: usize) -> Option<Seat> {
        let jury = self.dispute(id).await.jury;
        self.owner.seat(jury, self.juror_account(number)).await.expect("a chain")
    }

    /// What a juror committed to in a dispute's present jury, once it has.
    pub async fn commitment(&self, id: u64, number: usize) -> Option<B256> {
        self.seat(id, number).await?.commitment
    }

    /// Takes the chain past the seed block of a dispute's jury, and waits until every juror has claimed.
    pub async fn draw(&self, id: u64) {
        self.reach(self.jury(id).await.seed_block + 1).await;
        for number in 0..self.jurors.len() {
            self.until(&format!("juror {number} claimed in dispute {id}"), async || {
                self.seat(id, number).await.is_some()
            })
            .await;
        }
    }

    /// Waits until every juror has committed to a vote.
    pub async fn committed(&self, id: u64) {
        for number in 0..self.jurors.len() {
            self.until(&format!("juror {number} committed in dispute {id}"), async || {
                self.commitment(id, number).await.is_some()
            })
            .await;
        }
    }

    /// Waits until the jury's votes are these: guilty, not guilty, unavailable.
    pub async fn voted(&self, id: u64, votes: [u16; 3]) {
        self.reach(self.jury(id).await.commit_until).await;
        self.until(&format!("dispute {id} voted {votes:?}"), async || self.jury(id).await.votes == votes)
            .await;
    }

    /// Makes blocks until the jurors have moved a dispute so far.
    pub async fn moved(&self, id: u64, status: DisputeStatus) {
        self.mine_until(&format!("dispute {id} {status:?}"), async || {
            self.dispute(id).await.status == status
        })
        .await;
    }

    /// What the accused has at stake.
    pub async fn stake_of_accused(&self) -> U256 {
        let record = self.owner.orchestrator(self.accused.address()).await.expect("a chain");
        record.expect("an orchestrator").stake
    }

    /// Height of the chain.
    pub async fn height(&self) -> u64 {
        self.owner.block_number().await.expect("a chain")
    }

    /// Makes empty blocks up to a height.
    pub async fn reach(&self, height: u64) {
        let now = self.height().await;
        if height > now {
            self.anvil.mine(height - now).await.expect("blocks");
        }
    }

    /// Waits until something is so; blocks come only from transactions meanwhile.
    ///
    /// # Panics
    /// When it never is.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let look = async {
            while !holds().await {
                sleep(LOOK).await;
            }
        };
        let found = timeout(PATIENCE, look).await;
        assert!(found.is_ok(), "{what}: not so after {PATIENCE:?}");
    }

    /// As [`Court::until`], with a block for each look.
    pub async fn mine_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let mining = async || {
            let done = holds().await;
            if !done {
                self.anvil.mine(1).await.expect("a block");
            }
            done
        };
        self.until(what, mining).await;
    }
}

impl Shelf {
    async fn open(bundles: PathBuf) -> Self {
        std::fs::create_dir_all(&bundles).expect("a folder");
        let network = Network::start(NetworkConfig::loopback()).await.expect("a node on loopback");
        let withheld: Arc<Mutex<HashSet<B256>>> = Arc::default();
        let (folder, hidden) = (bundles.clone(), Arc::clone(&withheld));
        let find = move |sha256| {
            let withheld = hidden.lock().unwrap_or_else(PoisonError::into_inner).contains(&sha256);
            if withheld { None } else { find_in_bundles(&folder, sha256) }
        };
        let server = network.serve_blobs(16).expect("nobody serves files yet");
        tokio::spawn(server.serve_files(find));
        Self { _network: network, bundles, withheld }
    }
}

fn chain_config(anvil: &Anvil) -> ChainConfig {
    ChainConfig {
        rpc_url: anvil.endpoint().to_owned(),
        poll_interval: Duration::from_millis(10),
        bump_after: Duration::from_millis(500),
        ..ChainConfig::default()
    }
}

async fn connect(anvil: &Anvil, deployment: Deployment, account: usize) -> ChainClient {
    let key = anvil.keys()[account].clone();
    ChainClient::connect(chain_config(anvil), deployment, Some(key)).await.expect("a client")
}
