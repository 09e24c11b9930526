//! Folders, keys and ledgers on disk.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use alloy_primitives::Address;
use framemill_network::Identity;
use probabilistic_ticket::LedgerError;

use super::report::{Finding, Report};
use crate::{
    commands::transcoder,
    config::Config,
    dashboard::Role,
    keystore,
    ledger::{Place, Side},
};

/// Below this a node stops soon: a ledger and the segments of some streams take as much in an hour.
const SPACE_LEAST: u64 = 256 << 20;
/// Below this somebody should look.
const SPACE_LITTLE: u64 = 2 << 30;

/// Looks at every folder that a role writes to.
pub(super) fn folders(config: &Config, roles: &[Role], report: &mut Report) {
    let data = config.data_dir();
    report.extend(folder("data_dir", &data));
    if let Ok(metadata) = std::fs::metadata(&data)
        && metadata.permissions().mode() & 0o077 != 0
    {
        let (found, remedy) = (format!("others may enter {}", data.display()), chmod("700", &data));
        report.add(Finding::warn("data_dir", found, remedy));
    }
    if roles.contains(&Role::Broadcaster) {
        report.extend(folder("broadcaster.output", &config.broadcaster.output));
        report.extend(config.broadcaster.bundles.iter().flat_map(|path| folder("broadcaster.bundles", path)));
    }
}

fn chmod(mode: &str, path: &Path) -> String {
    format!("chmod {mode} {}", path.display())
}

/// Whether a folder can be written to, or made, and how much room there is.
fn folder(key: &'static str, path: &Path) -> Vec<Finding> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = absolute.as_path();
    let Some(found) = path.ancestors().find(|path| path.exists()) else {
        let remedy = format!("set {key} to an absolute path");
        return vec![Finding::fail(key, format!("no part of {} is there", path.display()), remedy)];
    };
    if let Err(error) = tempfile::Builder::new().prefix(".doctor-").tempfile_in(found) {
        let remedy = format!("let the user that runs framemill write to {}, or set {key}", found.display());
        return vec![Finding::fail(
            key,
            format!("{} cannot be written to: {error}", found.display()),
            remedy,
        )];
    }
    let made = if found == path { "can be written to" } else { "is made at the start" };
    vec![Finding::ok(key, format!("{} {made}", path.display())), space(key, found)]
}

fn space(key: &'static str, path: &Path) -> Finding {
    match rustix::fs::statvfs(path) {
        Ok(of) => room(key, path, of.f_bavail.saturating_mul(of.f_frsize)),
        Err(error) => {
            let found = format!("the room on the disk of {} is not known: {error}", path.display());
            Finding::warn(key, found, "look with df")
        }
    }
}

fn room(key: &'static str, path: &Path, free: u64) -> Finding {
    let found = format!("{} MiB free at {}", free >> 20, path.display());
    let remedy = format!("free some, or set {key} to a larger disk");
    match free {
        free if free < SPACE_LEAST => Finding::fail(key, found, remedy),
        free if free < SPACE_LITTLE => Finding::warn(key, found, remedy),
        _ => Finding::ok(key, found),
    }
}

/// Looks at the secrets of a role that trades; its account, where the key can be opened without asking for a password.
pub(super) fn key(config: &Config, roles: &[Role], report: &mut Report) -> Option<Address> {
    let identity = config.data_dir().join("identity");
    if identity.exists() {
        report.add(match Identity::load_or_create(&identity) {
            Ok(identity) => Finding::ok("identity", format!("peer {}", identity.peer_id())),
            Err(error) => Finding::fail("identity", error.to_string(), chmod("600", &identity)),
        });
    }
    let token = config.path_or(&config.orchestrator.token_file, "transcoder.token");
    if roles.contains(&Role::Orchestrator) && token.exists() {
        report.add(match keystore::read_secret(&token) {
            Ok(_) => Finding::ok("transcoder token", format!("{} is private", token.display())),
            Err(error) => Finding::fail("transcoder token", error.to_string(), chmod("600", &token)),
        });
    }
    if config.chain.rpc.is_none() && !roles.contains(&Role::Orchestrator) {
        return None;
    }
    let path = config.path_or(&config.wallet.keystore, "keystore.json");
    let (finding, account) = keystore(config, &path);
    report.add(finding);
    account
}

fn keystore(config: &Config, path: &Path) -> (Finding, Option<Address>) {
    if !path.exists() {
        let found = format!("there is no key at {}", path.display());
        return (Finding::fail("key", found, "framemill wallet new, or set wallet.keystore"), None);
    }
    if let Err(error) = keystore::private(path) {
        return (Finding::fail("key", error.to_string(), chmod("600", path)), None);
    }
    let Some(password) = &config.wallet.password_file else {
        let found = format!("{} is private; its password is asked for at each start", path.display());
        return (
            Finding::warn("key", found, "set wallet.password_file where nobody sits at a terminal"),
            None,
        );
    };
    match keystore::open(config) {
        Ok(key) => (Finding::ok("key", format!("account {}", key.address())), Some(key.address())),
        Err(error) => {
            let remedy = format!(
                "chmod 600 {} where it can be read, or write the right password to it",
                password.display()
            );
            (Finding::fail("key", error.to_string(), remedy), None)
        }
    }
}

/// The secret that a transcoder proves to know, and whom it works for.
pub(super) fn work_token(config: &Config) -> Finding {
    match transcoder::offer(&config.transcoder) {
        Ok(_) => Finding::ok("transcoder token", "is private"),
        Err(error) => Finding::fail(
            "transcoder token",
            format!("{error:#}"),
            "copy the orchestrator's transcoder.token here with mode 600, and set what is named",
        ),
    }
}

/// Looks at the books of every role that pays or is paid.
pub(super) async fn ledgers(config: &Config, roles: &[Role], report: &mut Report) {
    let sides = [(Role::Orchestrator, Side::Recipient), (Role::Broadcaster, Side::Sender)];
    for (_, side) in sides.into_iter().filter(|(role, _)| roles.contains(role) && config.chain.rpc.is_some())
    {
        report.add(ledger(config, side).await);
    }
}

async fn ledger(config: &Config, side: Side) -> Finding {
    let place = match Place::of(config, side) {
        Ok(place) => place,
        Err(error) => {
            return Finding::fail("ledger", format!("{error:#}"), "mend ledger or ledger_password_file");
        }
    };
    if let Place::File(path) = &place
        && !path.exists()
    {
        return Finding::ok("ledger", format!("{place} is made at the start"));
    }
    match place.inspect().await {
        Ok(_) => Finding::ok("ledger", format!("{place} opens")),
        Err(error) => match error.downcast_ref::<LedgerError>() {
            Some(LedgerError::TooOld { .. }) => {
                Finding::ok("ledger", format!("{place} is brought up to date at the start"))
            }
            _ => Finding::fail(
                "ledger",
                format!("{error:#}"),
                "docs/ledger.md says what the books need; framemill tickets audit compares them with their log",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_disk_that_is_nearly_full_fails_and_one_with_little_room_warns() {
        let level = |free| room("data_dir", Path::new("/"), free).level;
        assert_eq!([0, SPACE_LEAST, SPACE_LITTLE].map(level), [Level::Fail, Level::Warn, Level::Ok]);
    }
}
