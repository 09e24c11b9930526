use std::path::PathBuf;

use alloy_primitives::B256;
use framemill_network::{BlobRequest, Network, NetworkError, ProtocolError, WireCode, WireError};
use tempfile::TempDir;

use crate::support::*;

/// Longer than several chunks.
const BYTES: usize = 300_001;

/// A node that serves one file under its hash, and the same file under the hash of zeros.
struct Shelf {
    network: Network,
    sha256: B256,
    _folder: TempDir,
}

impl Shelf {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let sha256 = sha256(&bytes());
        std::fs::write(&file, bytes()).unwrap();
        let network = node().await;
        let named = move |hash: B256| -> Option<PathBuf> {
            (hash == sha256 || hash == B256::ZERO).then(|| file.clone())
        };
        tokio::spawn(network.serve_blobs(4).unwrap().serve_files(named));
        Self { network, sha256, _folder: folder }
    }

    async fn fetch(&self, sha256: B256, max_bytes: u64) -> Result<bytes::Bytes, NetworkError> {
        let client = client_of(&self.network).await;
        client.request_blob(self.network.peer_id(), &BlobRequest { sha256, max_bytes }, LONG).await
    }
}

fn bytes() -> Vec<u8> {
    (0..BYTES).map(|index| (index * 7 % 251) as u8).collect()
}

#[tokio::test]
async fn a_file_is_fetched_by_its_hash() {
    let shelf = Shelf::open().await;
    assert_eq!(shelf.fetch(shelf.sha256, BYTES as u64).await.unwrap(), bytes());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said_to_be_unknown() {
    let shelf = Shelf::open().await;
    let error = shelf.fetch(B256::repeat_byte(7), u64::MAX).await.unwrap_err();
    assert_eq!(error.wire_code(), Some(WireCode::UnknownBlob));
}

#[tokio::test]
async fn a_file_that_is_longer_than_wanted_is_not_sent() {
    let shelf = Shelf::open().await;
    let error = shelf.fetch(shelf.sha256, BYTES as u64 - 1).await.unwrap_err();
    assert_eq!(error.wire_code(), Some(WireCode::TooLarge));
}

#[tokio::test]
async fn other_bytes_than_were_asked_for_are_refused() {
    let shelf = Shelf::open().await;
    let error = shelf.fetch(B256::ZERO, u64::MAX).await.unwrap_err();
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::BlobHash)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_refused() {
    let server = node().await;
    let mut blobs = server.serve_blobs(4).unwrap();
    let client = client_of(&server).await;
    let asked = BlobRequest { sha256: sha256(&bytes()), max_bytes: u64::MAX };
    let serving = async {
        blobs.next().await.unwrap().send(100, &bytes()[..]).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(client.request_blob(server.peer_id(), &asked, LONG), serving);
    assert!(matches!(fetched, Err(NetworkError::Protocol(ProtocolError::BlobHash))), "{fetched:?}");
}

#[tokio::test]
async fn a_request_that_is_refused_says_why_and_one_that_is_dropped_says_busy() {
    let server = node().await;
    let mut blobs = server.serve_blobs(4).unwrap();
    let client = client_of(&server).await;
    let asked = BlobRequest { sha256: B256::ZERO, max_bytes: 1 };
    let refusal = WireError::new(WireCode::Unauthorized, "not for you");
    let serving = async {
        blobs.next().await.unwrap().refuse(refusal.clone());
        drop(blobs.next().await.unwrap());
    };
    let asking = async {
        let refused = client.request_blob(server.peer_id(), &asked, LONG).await;
        (refused, client.request_blob(server.peer_id(), &asked, LONG).await)
    };
    let ((refused, dropped), ()) = tokio::join!(asking, serving);
    assert!(matches!(refused, Err(NetworkError::Refused(error)) if error == refusal));
    assert_eq!(dropped.unwrap_err().wire_code(), Some(WireCode::Busy));
}
