//! Machines behind home routers, made of network namespaces:
//!
//!     seller ─ NAT ─┐
//!                    ├─ internet ─ relay
//!     buyer ── NAT ─┘
//!
//! The routers masquerade and drop what nobody inside has asked for. Needs root, `ip` and `nft`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The relay's address in the internet.
pub(crate) const RELAY: &str = "10.77.0.1";
/// The address under which the internet sees the seller.
pub(crate) const SELLER_NAT: &str = "10.77.0.2";

/// Longest wait for a machine to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole little internet; taken down when dropped.
pub(crate) struct Internet {
    tag: String,
}

/// A program on one of the machines; killed when dropped.
pub(crate) struct Machine {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Internet {
    /// Builds it, or says why nothing like it can be built here. Where it can, what goes wrong is a failed test.
    pub(crate) fn new() -> Result<Self, String> {
        let internet = Self { tag: format!("fm{}", std::process::id() % 100_000) };
        internet.probe()?;
        internet.build().unwrap();
        Ok(internet)
    }

    /// Tries what needs more than a plain user on any kernel has.
    fn probe(&self) -> Result<(), String> {
        run(&format!("ip netns add {}", self.name("probe")))?;
        let rules = "table ip nat {\nchain out { type nat hook postrouting priority 100; masquerade; }\n}";
        let tried = self
            .inside_with("probe", "nft -f -", rules)
            .and_then(|()| self.inside("probe", "sysctl -qw net.ipv4.ip_forward=1"))
            .and_then(|()| self.inside("probe", "ip link add one type veth peer name other"));
        run(&format!("ip netns delete {}", self.name("probe")))?;
        tried
    }

    fn build(&self) -> Result<(), String> {
        for place in ["net", "relay", "nata", "natb", "seller", "buyer"] {
            run(&format!("ip netns add {}", self.name(place)))?;
            self.inside(place, "ip link set lo up")?;
        }
        self.inside("net", "ip link add bridge type bridge")?;
        self.inside("net", "ip link set bridge up")?;
        self.uplink("relay", RELAY)?;
        self.uplink("nata", SELLER_NAT)?;
        self.uplink("natb", "10.77.0.3")?;
        self.home("nata", "seller", "10.1.0")?;
        self.home("natb", "buyer", "10.2.0")
    }

    /// Connects a machine to the internet at `address`.
    fn uplink(&self, place: &str, address: &str) -> Result<(), String> {
        let (net, port) = (self.name("net"), format!("to-{place}"));
        self.inside(
            "net",
            &format!("ip link add {port} type veth peer name wan netns {}", self.name(place)),
        )?;
        run(&format!("ip netns exec {net} ip link set {port} master bridge up"))?;
        self.inside(place, &format!("ip addr add {address}/24 dev wan"))?;
        self.inside(place, "ip link set wan up")
    }

    /// Puts `host` behind the router `nat`.
    fn home(&self, nat: &str, host: &str, network: &str) -> Result<(), String> {
        self.inside(nat, &format!("ip link add home type veth peer name wan netns {}", self.name(host)))?;
        self.inside(nat, &format!("ip addr add {network}.1/24 dev home"))?;
        self.inside(nat, "ip link set home up")?;
        self.inside(host, &format!("ip addr add {network}.2/24 dev wan"))?;
        self.inside(host, "ip link set wan up")?;
        self.inside(host, &format!("ip route add default via {network}.1"))?;
        self.inside(nat, "sysctl -qw net.ipv4.ip_forward=1")?;
        let rules = "table ip router {
            chain out {
                type nat hook postrouting priority 100;
                oifname wan masquerade;
            }
            chain in {
                type filter hook input priority 0;
                iifname wan ct state established,related accept;
                iifname wan drop;
            }
            chain through {
                type filter hook forward priority 0;
                iifname home accept;
                ct state established,related accept;
                drop;
            }
        }";
        self.inside_with(nat, "nft -f -", rules)
    }

    /// Lets nothing pass between the two homes: what they say to each other has to go through the relay.
    pub(crate) fn separate(&self) -> Result<(), String> {
        let rules = "table ip wall {\nchain through { type filter hook forward priority -10; ip daddr 10.77.0.3 drop; }\n}";
        self.inside_with("nata", "nft -f -", rules)
    }

    pub(crate) fn join(&self) -> Result<(), String> {
        self.inside("nata", "nft delete table ip wall")
    }

    /// Runs this test binary's `test` on a machine with variables that tell it what to be.
    pub(crate) fn start(&self, place: &str, test: &str, variables: &[(&str, &str)]) -> Machine {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(place)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(said) = line.strip_prefix('@') {
                    // The test may be over.
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        Machine { child, said }
    }

    fn name(&self, place: &str) -> String {
        format!("{}-{place}", self.tag)
    }

    fn inside(&self, place: &str, command: &str) -> Result<(), String> {
        run(&format!("ip netns exec {} {command}", self.name(place)))
    }

    fn inside_with(&self, place: &str, command: &str, input: &str) -> Result<(), String> {
        run_with(&format!("ip netns exec {} {command}", self.name(place)), input)
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for place in ["seller", "buyer", "nata", "natb", "relay", "net"] {
            let _ = run(&format!("ip netns delete {}", self.name(place)));
        }
    }
}

impl Machine {
    /// The next thing that it says under `name`.
    pub(crate) fn says(&self, name: &str) -> String {
        loop {
            let said = self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing heard of {name}"));
            if let Some(value) = said.strip_prefix(name) {
                return value.trim().to_owned();
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &str) -> Result<(), String> {
    run_with(command, "")
}

fn run_with(command: &str, input: &str) -> Result<(), String> {
    use std::io::Write;
    let failed = |error: std::io::Error| format!("{command}: {error}");
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
