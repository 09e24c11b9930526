//! Prepares a market on a development chain: contracts, funded keys, staked orchestrators, one configuration per role.

use std::{
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, B256, U256};
use anyhow::Context as _;
use framemill_contracts::{
    ChainClient, ChainConfig, DeployParams, Deployment, DevChain, Registration, deploy,
};
use framemill_network::{Identity, ServiceAddress};
use rand_08::{Rng as _, rngs::OsRng};
use toml::{Table, Value};

use crate::{config, keystore};

/// One ether, in wei.
pub const ETHER: u64 = 1_000_000_000_000_000_000;
/// How often a free port is looked for before giving up.
const PORT_TRIES: usize = 32;
/// Ports above those of well-known services and below those that Linux gives to sockets that ask for any.
const PORTS: std::ops::Range<u16> = 16_000..32_000;

/// What to prepare.
#[derive(Debug, Clone)]
pub struct Plan {
    /// JSON-RPC address of the chain.
    pub rpc: String,
    /// Folder for everything that is written.
    pub dir: PathBuf,
    /// Pays for everything and owns the contracts.
    pub deployer: PrivateKeySigner,
    /// How many orchestrators to stake.
    pub orchestrators: usize,
    /// The broadcaster's ticket deposit, in wei.
    pub deposit: U256,
    /// The broadcaster's reserve, in wei.
    pub reserve: U256,
    /// Settings that every configuration gets, beside those that the market needs.
    pub settings: Vec<(&'static str, String)>,
}

/// One account of the market, with a folder of its own.
#[derive(Debug, Clone)]
pub struct Member {
    /// `orchestrator-1` and so on.
    pub name: String,
    /// Its account.
    pub address: Address,
    /// Its key.
    pub key: PrivateKeySigner,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
}

/// An orchestrator with the transcoder that works for it.
#[derive(Debug, Clone)]
pub struct Seller {
    /// The orchestrator.
    pub orchestrator: Member,
    /// Where the orchestrator serves health and metrics.
    pub http: String,
    /// The transcoder's configuration file.
    pub transcoder_config: PathBuf,
    /// Where the transcoder serves health and metrics.
    pub transcoder_http: String,
}

/// A market that is ready for its processes to start.
#[derive(Debug, Clone)]
pub struct Market {
    /// Where the contracts are.
    pub deployment: Deployment,
    /// Active orchestrators.
    pub sellers: Vec<Seller>,
    /// The funded broadcaster.
    pub broadcaster: Member,
}

/// Deploys, funds, stakes and writes. Each orchestrator is active when this returns.
///
/// # Errors
/// The chain does not answer, the deployer has no funds, or the folder holds a market already.
pub async fn prepare(plan: &Plan) -> anyhow::Result<Market> {
    let deployment_file = plan.dir.join("deployment.json");
    anyhow::ensure!(
        !deployment_file.exists(),
        "{} exists: there is a market in this folder already; name another with --dir",
        deployment_file.display()
    );
    std::fs::create_dir_all(&plan.dir).with_context(|| format!("cannot make {}", plan.dir.display()))?;
    let chain = ChainConfig { rpc_url: plan.rpc.clone(), ..ChainConfig::default() };
    let deployment = deploy(&chain, &plan.deployer, &DeployParams::devnet()).await.with_context(|| {
        format!("cannot deploy the contracts to {}; is a development chain running there?", plan.rpc)
    })?;
    let deployer = ChainClient::connect(chain.clone(), deployment, Some(plan.deployer.clone())).await?;
    let workshop = Workshop { plan, chain, deployment, deployment_file: deployment_file.clone(), deployer };

    let mut sellers = Vec::with_capacity(plan.orchestrators);
    for number in 1..=plan.orchestrators {
        sellers.push(workshop.seller(number).await?);
    }
    let broadcaster = workshop.broadcaster().await?;
    workshop.begin_next_round().await?;
    deployment.save(&deployment_file)?;
    Ok(Market { deployment, sellers, broadcaster })
}

struct Workshop<'a> {
    plan: &'a Plan,
    chain: ChainConfig,
    deployment: Deployment,
    deployment_file: PathBuf,
    deployer: ChainClient,
}

impl Workshop<'_> {
    async fn seller(&self, number: usize) -> anyhow::Result<Seller> {
        let (mut orchestrator, client) = self.member(&format!("orchestrator-{number}")).await?;
        let ports = [free_port()?, free_port()?];
        let listen =
            [format!("/ip4/127.0.0.1/udp/{}/quic-v1", ports[0]), format!("/ip4/127.0.0.1/tcp/{}", ports[1])];
        let identity = Identity::load_or_create(&orchestrator.data.join("identity"))?;
        let addresses = listen.iter().map(|address| address.parse()).collect::<Result<Vec<_>, _>>()?;
        let service = ServiceAddress::new(identity.peer_id(), addresses)?.to_string();
        let stake = U256::from(1000 + number) * U256::from(ETHER);
        self.deployer.transfer_tokens(orchestrator.address, stake).await?;
        let registration = Registration {
            stake,
            reward_cut_ppm: 100_000,
            fee_share_ppm: 50_000,
            service_uri: service.clone(),
            signing_key: Address::ZERO,
            redeemer: Address::ZERO,
        };
        client.register_orchestrator(&registration).await?;
        let http = format!("127.0.0.1:{}", free_port()?);
        let token = orchestrator.data.join("transcoder.token");
        keystore::read_or_make_secret(&token)?;
        orchestrator.config = self.write_member_config(
            &orchestrator,
            vec![
                ("network.listen", listen.join(",")),
                ("http.listen", http.clone()),
                ("orchestrator.token_file", text(&token)),
            ],
        )?;
        let transcoder_http = format!("127.0.0.1:{}", free_port()?);
        let name = format!("transcoder-{number}");
        let quic = service.split(',').next().expect("a service address lists at least one").to_owned();
        let transcoder_config = self.write_config(
            &name,
            vec![
                ("data_dir", text(&self.plan.dir.join(&name))),
                ("transcoder.orchestrator", quic),
                ("transcoder.token_file", text(&token)),
                ("transcoder.name", name.clone()),
                ("http.listen", transcoder_http.clone()),
            ],
        )?;
        Ok(Seller { orchestrator, http, transcoder_config, transcoder_http })
    }

    async fn broadcaster(&self) -> anyhow::Result<Member> {
        let (mut broadcaster, client) = self.member("broadcaster").await?;
        client.fund_deposit_and_reserve(self.plan.deposit, self.plan.reserve).await?;
        let folder = |name: &str| text(&self.plan.dir.join(name));
        let own = vec![("broadcaster.output", folder("hls")), ("broadcaster.bundles", folder("evidence"))];
        broadcaster.config = self.write_member_config(&broadcaster, own)?;
        Ok(broadcaster)
    }

    /// A funded account with its keystore.
    async fn member(&self, name: &str) -> anyhow::Result<(Member, ChainClient)> {
        let data = self.plan.dir.join(name);
        std::fs::create_dir_all(&data)?;
        let key = PrivateKeySigner::random();
        let password = B256::random().to_string();
        keystore::write_private(&data.join("password"), password.as_bytes())?;
        keystore::store_at(&data.join("keystore.json"), key.to_bytes(), &password)?;
        let gas_money = self.plan.deposit + self.plan.reserve + U256::from(10) * U256::from(ETHER);
        self.deployer.transfer_wei(key.address(), gas_money).await?;
        let client = ChainClient::connect(self.chain.clone(), self.deployment, Some(key.clone())).await?;
        let member =
            Member { name: name.to_owned(), address: key.address(), key, config: PathBuf::new(), data };
        Ok((member, client))
    }

    fn write_member_config(
        &self,
        member: &Member,
        own: Vec<(&'static str, String)>,
    ) -> anyhow::Result<PathBuf> {
        let mut settings = vec![
            ("data_dir", text(&member.data)),
            ("wallet.password_file", text(&member.data.join("password"))),
            ("chain.rpc", self.plan.rpc.clone()),
            ("chain.deployment", text(&self.deployment_file)),
        ];
        settings.extend(own);
        self.write_config(&member.name, settings)
    }

    fn write_config(&self, name: &str, mut settings: Vec<(&'static str, String)>) -> anyhow::Result<PathBuf> {
        settings.extend(self.plan.settings.iter().cloned());
        let path = self.plan.dir.join(format!("{name}.toml"));
        std::fs::write(&path, to_toml(&settings)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A stake counts from the round after it was bonded.
    async fn begin_next_round(&self) -> anyhow::Result<()> {
        let round = self.deployer.round_info().await?;
        let height = self.deployer.block_number().await?;
        let next = round.start_block + round.length;
        DevChain::connect(&self.plan.rpc)?.mine(next.saturating_sub(height)).await?;
        self.deployer.initialize_round().await?;
        Ok(())
    }
}

/// Settings as a TOML file, through the same checks that read it.
fn to_toml(settings: &[(&'static str, String)]) -> anyhow::Result<String> {
    let mut table = Table::new();
    for (path, text) in settings {
        let value = config::read(path, text)?;
        match path.split_once('.') {
            None => drop(table.insert((*path).to_owned(), value)),
            Some((section, key)) => {
                let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                inner.as_table_mut().expect("sections hold keys").insert(key.to_owned(), value);
            }
        }
    }
    Ok(toml::to_string(&table)?)
}

fn text(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// A port that was free a moment ago for TCP and for UDP, of those that no system gives to sockets that ask for any: what listens
/// there comes a while later.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    for _ in 0..PORT_TRIES {
        let port = OsRng.gen_range(PORTS);
        let listener = TcpListener::bind(("127.0.0.1", port));
        if listener.is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free for both TCP and UDP on the loopback interface")
}
