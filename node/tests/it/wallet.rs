use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};

use super::{framemill, stderr, stdout};

fn wallet(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let password = folder.join("password");
    if !password.exists() {
        std::fs::write(&password, "correct horse\n").unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut child = framemill(&["wallet"])
        .args(arguments)
        .env("FRAMEMILL_DATA_DIR", folder)
        .env("FRAMEMILL_WALLET_PASSWORD_FILE", password)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may have ended before this is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn new_key_is_private_and_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = wallet(folder.path(), &["new"], "");
    assert!(made.status.success(), "{}", stderr(&made));
    let mode = std::fs::metadata(folder.path().join("keystore.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let address = wallet(folder.path(), &["address"], "");
    assert_eq!(stdout(&address).trim(), stdout(&made).lines().next().unwrap());
}

#[test]
fn a_key_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    assert!(wallet(folder.path(), &["new"], "").status.success());
    let before = std::fs::read(folder.path().join("keystore.json")).unwrap();
    let again = wallet(folder.path(), &["new"], "");
    assert!(!again.status.success());
    assert!(stderr(&again).contains("there is a key already"), "{}", stderr(&again));
    assert_eq!(std::fs::read(folder.path().join("keystore.json")).unwrap(), before);
}

#[test]
fn imported_key_has_its_known_address() {
    let folder = tempfile::tempdir().unwrap();
    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80\n";
    let made = wallet(folder.path(), &["import"], key);
    assert_eq!(
        stdout(&made).lines().next(),
        Some("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        "{}",
        stderr(&made)
    );
}

#[test]
fn a_bad_key_is_refused_without_repeating_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = wallet(folder.path(), &["import"], "0xsecret-but-malformed");
    assert!(!made.status.success());
    assert!(!stderr(&made).contains("secret-but-malformed"), "{}", stderr(&made));
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "x").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let made = wallet(folder.path(), &["new"], "");
    assert!(!made.status.success());
    assert!(stderr(&made).contains("chmod 600"), "{}", stderr(&made));
}

#[test]
fn a_credential_of_the_service_may_show_its_access_list_as_rights_of_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "x").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o440)).unwrap();
    let new = |credentials: &str| {
        let mut command = framemill(&["wallet", "new"]);
        command.env("FRAMEMILL_DATA_DIR", folder.path()).env("FRAMEMILL_WALLET_PASSWORD_FILE", &password);
        command.env("CREDENTIALS_DIRECTORY", credentials).output().unwrap()
    };
    let elsewhere = new("/run/credentials/other.service");
    assert!(stderr(&elsewhere).contains("chmod 600"), "{}", stderr(&elsewhere));
    let own = new(&folder.path().display().to_string());
    assert!(own.status.success(), "{}", stderr(&own));
}

#[test]
fn balance_without_a_chain_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    assert!(wallet(folder.path(), &["new"], "").status.success());
    let balance = wallet(folder.path(), &["balance"], "");
    assert!(!balance.status.success());
    assert!(stderr(&balance).contains("chain.rpc"), "{}", stderr(&balance));
}
