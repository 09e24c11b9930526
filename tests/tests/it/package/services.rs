//! A market on a chain outside whose roles are the package's services, configured with what a development market brings along.

use std::{path::PathBuf, time::Duration};

use alloy_primitives::U256;
use framemill::devnet::{self, ETHER, Plan};
use framemill_contracts::{Anvil, AnvilConfig};
use framemill_tests::{MarketPlan, free_address};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::root::Root;

/// A role that is not ready by then will not be.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// Where a service finds the market's contracts.
const DEPLOYMENT: &str = "/etc/framemill/deployment.json";

/// A role, as the package and as a development market know it.
#[derive(Debug)]
pub(super) struct Role {
    /// What the unit and its configuration are called after.
    pub(super) name: &'static str,
    /// Its data folder.
    pub(super) state: &'static str,
    /// Its folder and configuration in the development market.
    member: &'static str,
    /// Its secret there.
    secret: &'static str,
    /// What the secret is called in `/etc/credstore`, after the unit.
    credential: &'static str,
}

pub(super) const ORCHESTRATOR: Role = Role {
    name: "orchestrator",
    state: "/var/lib/framemill/orchestrator",
    member: "orchestrator-1",
    secret: "orchestrator-1/password",
    credential: "wallet-password",
};
pub(super) const TRANSCODER: Role = Role {
    name: "transcoder",
    state: "/var/lib/framemill-transcoder",
    member: "transcoder-1",
    secret: "orchestrator-1/transcoder.token",
    credential: "token",
};
pub(super) const BROADCASTER: Role = Role {
    name: "broadcaster",
    state: "/var/lib/framemill/broadcaster",
    member: "broadcaster",
    secret: "broadcaster/password",
    credential: "wallet-password",
};

impl Role {
    pub(super) fn unit(&self) -> String {
        format!("framemill-{}.service", self.name)
    }

    /// The configuration file of its service.
    pub(super) fn config(&self) -> String {
        format!("/etc/framemill/{}.toml", self.name)
    }

    /// Its secret, for root alone.
    pub(super) fn credential(&self) -> String {
        format!("/etc/credstore/framemill-{}.{}", self.name, self.credential)
    }

    /// Properties of its unit, one a line.
    pub(super) fn show(&self, root: &Root, properties: &str) -> String {
        root.run(&["systemctl", "show", "--value", "--property", properties, &self.unit()]).trim().to_owned()
    }
}

/// The chain, and what the accounts of a market bring along.
pub(super) struct Outside {
    _anvil: Anvil,
    market: devnet::Market,
    folder: TempDir,
    /// Host and port of the broadcaster's ingest and playlists.
    pub(super) ingest: String,
    broadcaster_http: String,
}

impl Outside {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let (ingest, broadcaster_http) = (free_address()?, free_address()?);
        let mut settings = MarketPlan::default().settings;
        settings.retain(|(key, _)| *key != "broadcaster.ingest");
        settings.push(("broadcaster.ingest", ingest.clone()));
        settings.push(("broadcaster.ladder", "180:300k".to_owned()));
        let market = devnet::prepare(&Plan {
            rpc: anvil.endpoint().to_owned(),
            dir: folder.path().to_owned(),
            deployer: anvil.keys().first().expect("anvil has accounts").clone(),
            orchestrators: 1,
            deposit: U256::from(50) * U256::from(ETHER),
            reserve: U256::from(5) * U256::from(ETHER),
            settings,
        })
        .await?;
        Ok(Self { _anvil: anvil, market, folder, ingest, broadcaster_http })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Gives a service its configuration, its account and its secret.
    pub(super) fn configure(&self, root: &Root, role: &Role) {
        root.put(self.read("deployment.json").as_bytes(), DEPLOYMENT, "root", "644");
        root.put(self.config(role).as_bytes(), &role.config(), "root", "644");
        root.put(self.read(role.secret).as_bytes(), &role.credential(), "root", "600");
        let own = ["identity", "keystore.json", "transcoder.token"];
        for name in own.map(|name| format!("{}/{name}", role.member)) {
            let Ok(bytes) = std::fs::read(self.path(&name)) else { continue };
            let folder = ["install", "--directory", "--owner=framemill", "--group=framemill", "--mode=700"];
            root.run(&[&folder[..], &[role.state]].concat());
            let file = name.split_once('/').expect("in a folder").1;
            root.put(&bytes, &format!("{}/{file}", role.state), "framemill", "600");
        }
    }

    /// The development market's configuration of a role, with the places of a service; secrets come as credentials.
    fn config(&self, role: &Role) -> String {
        let mut text = self.read(&format!("{}.toml", role.member));
        let places = [
            (role.member, role.state.to_owned()),
            ("deployment.json", DEPLOYMENT.to_owned()),
            ("hls", format!("{}/hls", role.state)),
            ("evidence", format!("{}/evidence", role.state)),
        ];
        for (here, there) in places {
            text = text.replace(&format!("{:?}", self.path(here)), &format!("{there:?}"));
        }
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("password_file") && !line.contains("token_file"))
            .collect();
        let listen = format!("[http]\nlisten = {:?}\n", self.broadcaster_http);
        if role.name == BROADCASTER.name {
            lines.push(&listen);
        }
        lines.join("\n")
    }

    /// Waits until a service can work.
    pub(super) async fn ready(&self, root: &Root, role: &Role) {
        let seller = &self.market.sellers[0];
        let http = match role.name {
            "orchestrator" => &seller.http,
            "transcoder" => &seller.transcoder_http,
            _ => &self.broadcaster_http,
        };
        let end = Instant::now() + START_LIMIT;
        loop {
            let answer = reqwest::get(format!("http://{http}/readyz")).await;
            if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            assert!(Instant::now() < end, "{answer:?}: {}", journal(root, role));
            sleep(LOOK).await;
        }
        let alive = reqwest::get(format!("http://{http}/healthz")).await.unwrap();
        assert_eq!(alive.text().await.unwrap(), "ok\n");
    }
}

/// The last that a service has logged.
pub(super) fn journal(root: &Root, role: &Role) -> String {
    root.run(&["journalctl", "--no-pager", "--lines=40", "--unit", &role.unit()])
}
