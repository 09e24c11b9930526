//! Connections of real publishers, recorded (`tests/rtmp`), said again to the server.

use std::path::Path;
use std::time::Duration;

use framemill_media::{MediaLimits, segment_info};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::rtmp::{Ingest, PATIENCE};
use crate::support::{Act, Peer};

/// Version, random bytes, and the answer to the publisher's.
const SERVER_HELLO: usize = 1 + 2 * 1536;

/// What a publisher waits for before it goes on.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Hello,
    /// So many results of commands.
    Results(usize),
    /// That it may begin.
    Status,
}

impl Answer {
    fn is_in(self, heard: &[u8]) -> bool {
        let Some(messages) = heard.get(SERVER_HELLO..) else { return false };
        let count = |word: &[u8]| messages.windows(word.len()).filter(|bytes| *bytes == word).count();
        match self {
            Self::Hello => true,
            Self::Results(wanted) => count(b"_result") >= wanted,
            Self::Status => count(b"NetStream.Publish.Start") > 0,
        }
    }
}

struct Recording {
    name: &'static str,
    /// How many bytes the publisher has said before it waits for hello, the results of `connect` and `createStream`, and the status.
    turns: [usize; 4],
    /// Pictures that it sent.
    pictures: usize,
}

const RECORDINGS: [Recording; 7] = [
    Recording { name: "obs-29", turns: [1537, 3290, 3399, 3444], pictures: 21 },
    Recording { name: "ffmpeg-5.1", turns: [1537, 3225, 3334, 3379], pictures: 12 },
    Recording { name: "rtmpsink-1.22", turns: [1537, 3175, 3284, 3329], pictures: 12 },
    Recording { name: "rtmp2sink-1.22", turns: [1537, 3202, 3327, 3372], pictures: 12 },
    Recording { name: "librtmp-late", turns: [1537, 3220, 3329, 3374], pictures: 12 },
    Recording { name: "ffmpeg-7.0-hevc", turns: [1537, 3262, 3371, 3416], pictures: 12 },
    Recording { name: "ffmpeg-7.0-av1", turns: [1537, 3262, 3371, 3416], pictures: 12 },
];

/// How a publisher's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it did.
    InTurns,
    /// As it did, each byte in a segment of TCP of its own as far as the kernel lets us.
    ByteByByte,
    /// Without waiting for anything.
    AtOnce,
}

impl Recording {
    fn bytes(&self) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rtmp");
        std::fs::read(folder.join(format!("{}.rtmp", self.name))).unwrap()
    }

    /// Says it to the server. A publisher leaves when it has said all.
    async fn say(&self, ingest: &Ingest, way: Way) {
        let bytes = self.bytes();
        let mut socket = TcpStream::connect(ingest.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut heard = Vec::new();
        let mut said = 0;
        let answers = [Answer::Hello, Answer::Results(1), Answer::Results(2), Answer::Status];
        if way != Way::AtOnce {
            for (turn, answer) in self.turns.into_iter().zip(answers) {
                send(&mut socket, &bytes[said..turn], way).await;
                said = turn;
                while !answer.is_in(&heard) {
                    let read = timeout(PATIENCE, socket.read_buf(&mut heard)).await;
                    let count = read.unwrap_or_else(|_| panic!("{}: no {answer:?}", self.name)).unwrap();
                    assert_ne!(count, 0, "{} is sent away before {answer:?}", self.name);
                }
            }
        }
        send(&mut socket, &bytes[said..], way).await;
        socket.shutdown().await.unwrap();
        let ends = timeout(PATIENCE, socket.read_to_end(&mut heard)).await;
        ends.expect("the server hangs up").expect("in order");
    }

    /// Has it bought and published under its key, and every picture with it.
    async fn plays(&self, way: Way) {
        let peer = Peer::start(Act::Honest).await;
        let ingest = Ingest::with(&peer, None, |config| {
            config.stream.ladder = "72:100k".parse().unwrap();
        })
        .await;
        let events = ingest.rig.broadcaster.events();
        let (summary, ()) = tokio::join!(ingest.ended(events), self.say(&ingest, way));
        assert_eq!((summary.stream.as_str(), summary.totals.lost), ("cam", 0), "{}: {summary:?}", self.name);
        let pictures = pictures(&ingest.rig.folder.path().join("cam/72p"));
        assert_eq!(pictures, self.pictures, "{} {way:?}", self.name);
    }
}

async fn send(socket: &mut TcpStream, bytes: &[u8], way: Way) {
    let step = if way == Way::ByteByByte { 1 } else { bytes.len().max(1) };
    for piece in bytes.chunks(step) {
        socket.write_all(piece).await.unwrap();
        // The server's turn.
        tokio::task::yield_now().await;
    }
}

/// Pictures in the segments of a folder.
fn pictures(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|extension| extension == "ts"));
    let counts = segments.map(|path| {
        let segment = std::fs::read(path).unwrap().into();
        segment_info(&segment, &MediaLimits::segment()).unwrap().video.unwrap().frames()
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_publishers_said_is_bought_and_published() {
    for recording in &RECORDINGS {
        recording.plays(Way::InTurns).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_may_send_byte_by_byte_or_wait_for_nothing() {
    for recording in &RECORDINGS[..2] {
        recording.plays(Way::ByteByByte).await;
        recording.plays(Way::AtOnce).await;
    }
}

/// Says all but the last command, in which a stream is ended a second time, and looks whether it may say that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_ends_its_stream_is_not_hung_up_on_amid_its_farewell() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::with(&peer, None, |config| config.stream.ladder = "72:100k".parse().unwrap()).await;
    let recording = &RECORDINGS[3];
    let bytes = recording.bytes();
    let word = b"deleteStream";
    let last = bytes.windows(word.len()).rposition(|found| found == word).unwrap();
    // The word is in the middle of its message.
    let (most, rest) = bytes.split_at(last);
    let mut socket = TcpStream::connect(ingest.address).await.unwrap();
    socket.write_all(most).await.unwrap();
    let mut heard = Vec::new();
    let hears = async { while socket.read_buf(&mut heard).await.unwrap() > 0 {} };
    assert!(timeout(Duration::from_millis(500), hears).await.is_err(), "hung up on");
    socket.write_all(rest).await.unwrap();
    socket.shutdown().await.unwrap();
    timeout(PATIENCE, socket.read_to_end(&mut heard)).await.expect("the server hangs up").expect("in order");
}

/// Connects FFmpeg as a player, which checks the server's digest and signature before it says what it wants.
#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_checks_digests_gets_past_the_handshake() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&peer, None).await;
    let url = format!("rtmp://{}/live/cam", ingest.address);
    let probe = Command::new("ffprobe").args(["-v", "debug", &url]).output();
    let output = timeout(PATIENCE, probe).await.expect("it is sent away").unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    // Of a server whose version is zero it would check nothing.
    for words in ["Server version 3.5.1.1", "Sending play command"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
}
