use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use framemill_network::{
    BlobRequest, Network, NetworkConfig, NetworkError, ProtocolError, WireCode, WireError,
};
use futures::AsyncReadExt;
use tempfile::TempDir;
use tokio::io::repeat;
use tokio::time::timeout;

use crate::raw::{BLOB, RawPeer, proto, read_to_end, receive, send};
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

#[tokio::test]
async fn a_peer_that_reads_more_slowly_than_is_allowed_is_not_sent_the_rest() {
    let server = node_with(|config| {
        config.limits.min_upload_rate = u64::MAX;
        config.timeouts.rate_grace = Duration::ZERO;
    })
    .await;
    let mut blobs = server.serve_blobs(4).unwrap();
    let client = client_of(&server).await;
    let asked = BlobRequest { sha256: B256::ZERO, max_bytes: u64::MAX };
    let serving = async { blobs.next().await.unwrap().send(64 << 20, repeat(1)).await };
    let (fetched, sent) = tokio::join!(client.request_blob(server.peer_id(), &asked, LONG), serving);
    assert!(matches!(sent, Err(NetworkError::Protocol(ProtocolError::TooSlow { .. }))), "{sent:?}");
    assert!(fetched.is_err());
}

/// Streams that ask for the file, are told its length and read no further.
async fn ask_and_read_nothing(peer: &RawPeer, server: &Network, streams: usize) -> Vec<libp2p::Stream> {
    let request = proto::BlobRequest { sha256: B256::ZERO.to_vec().into(), max_bytes: u64::MAX };
    let mut held = Vec::new();
    for _ in 0..streams {
        let mut stream = peer.open(server, BLOB).await;
        send(&mut stream, &request).await;
        let told: proto::BlobFrame = receive(&mut stream).await;
        assert!(matches!(told.frame, Some(proto::blob_frame::Frame::Bytes(_))), "{told:?}");
        held.push(stream);
    }
    held
}

/// A node that serves a file of a gibibyte, whatever is asked for, over TCP, where what nobody reads is soon held back.
async fn endless(change: impl FnOnce(&mut NetworkConfig)) -> (Network, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endless");
    std::fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    let server = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        // Tests ask again and again until a place is free.
        config.limits.request_burst = 100_000;
        config.limits.requests_per_second = 100_000;
        change(config);
    })
    .await;
    tokio::spawn(server.serve_blobs(64).unwrap().serve_files(move |_| Some(file.clone())));
    answer_quotes(&server);
    (server, folder)
}

/// Whether a peer that asks for one more file is sent it; if so, its stream is ended again.
async fn gets_one_more(peer: &RawPeer, server: &Network) -> bool {
    let request = proto::BlobRequest { sha256: B256::ZERO.to_vec().into(), max_bytes: u64::MAX };
    let mut stream = peer.open(server, BLOB).await;
    send(&mut stream, &request).await;
    match receive::<proto::BlobFrame>(&mut stream).await.frame {
        Some(proto::blob_frame::Frame::Bytes(_)) => true,
        Some(proto::blob_frame::Frame::Error(error)) => {
            assert_eq!(error.code, WireCode::Busy.number());
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_is_sent_four_files_at_a_time_and_no_more() {
    let (server, _folder) = endless(|config| config.timeouts.message = LONG).await;
    let (greedy, modest) = (RawPeer::start(Some(&server)).await, RawPeer::start(Some(&server)).await);
    let mut held = ask_and_read_nothing(&greedy, &server, 4).await;
    assert!(!gets_one_more(&greedy, &server).await);
    assert!(gets_one_more(&modest, &server).await);
    an_honest_peer_is_served(&server).await;
    held.pop();
    timeout(LONG, async { while !gets_one_more(&greedy, &server).await {} }).await.expect("a place was left");
}

#[tokio::test]
async fn who_takes_nothing_of_a_file_loses_its_place_within_the_time_of_a_message() {
    const MESSAGE: Duration = Duration::from_secs(1);
    let (server, _folder) = endless(|config| {
        config.timeouts.message = MESSAGE;
        config.timeouts.rate_grace = LONG;
    })
    .await;
    let peer = RawPeer::start(Some(&server)).await;
    let began = Instant::now();
    let mut held = ask_and_read_nothing(&peer, &server, 4).await;
    let cut = async { while !gets_one_more(&peer, &server).await {} };
    let both = async { tokio::join!(cut, an_honest_peer_is_served(&server)) };
    timeout(LONG, both).await.expect("one of the four is given up");
    assert!(began.elapsed() >= MESSAGE);
    // What was on its way is all that there is of it.
    let got = timeout(LONG, read_to_end(&mut held[0])).await.expect("the stream has ended").len();
    assert!(got <= 512 * 1024, "{got} bytes");
}

#[tokio::test]
async fn who_takes_a_file_more_slowly_than_is_allowed_is_cut_off() {
    let server = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.timeouts.message = LONG;
        config.timeouts.rate_grace = Duration::from_millis(500);
        config.limits.min_upload_rate = 1_000_000;
    })
    .await;
    answer_quotes(&server);
    let mut blobs = server.serve_blobs(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut stream = peer.open(&server, BLOB).await;
    let request = proto::BlobRequest { sha256: B256::ZERO.to_vec().into(), max_bytes: u64::MAX };
    send(&mut stream, &request).await;
    let sipping = async {
        let mut sip = vec![0; 2_000];
        while let Ok(1..) = stream.read(&mut sip).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let sending = async { blobs.next().await.unwrap().send(64 << 20, repeat(1)).await };
    let both = async { tokio::join!(sending, an_honest_peer_is_served(&server)).0 };
    tokio::select! {
        sent = timeout(LONG, both) => match sent.expect("it is given up") {
            Err(NetworkError::Protocol(ProtocolError::TooSlow { bytes, .. })) => {
                assert!(bytes <= 2 << 20, "{bytes} bytes");
            }
            other => panic!("{other:?}"),
        },
        () = sipping => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn a_juror_is_served_while_strangers_hold_every_place() {
    const STRANGERS: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let (wanted, endless) = (folder.path().join("wanted"), folder.path().join("endless"));
    std::fs::write(&wanted, bytes()).unwrap();
    std::fs::File::create(&endless).unwrap().set_len(1 << 30).unwrap();
    // Over TCP, where what nobody reads is soon held back.
    let server = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.timeouts.message = LONG;
    })
    .await;
    let juror = client_of(&server).await;
    let file = sha256(&bytes());
    let find = move |hash: B256| Some(if hash == file { wanted.clone() } else { endless.clone() });
    let vouched = juror.peer_id();
    let blobs = server.serve_blobs(64).unwrap().preferring(move |peer| *peer == vouched);
    tokio::spawn(blobs.serve_files(find));
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let peer = RawPeer::start(Some(&server)).await;
        let held = ask_and_read_nothing(&peer, &server, 4).await;
        strangers.push((peer, held));
    }
    let asked = BlobRequest { sha256: file, max_bytes: BYTES as u64 };
    let late = client_of(&server).await;
    let refused = late.request_blob(server.peer_id(), &asked, LONG).await.unwrap_err();
    assert_eq!(refused.wire_code(), Some(WireCode::Busy), "{refused:?}");
    assert_eq!(juror.request_blob(server.peer_id(), &asked, LONG).await.unwrap(), bytes());
}
