use std::time::Duration;

use bytes::Bytes;
use framemill_network::{
    JobHeader, Network, NetworkConfig, NetworkError, ProtocolError, WireCode, WireError, WorkCapacity,
    WorkEvent, WorkHello, WorkServer, WorkSession, WorkToken, WorkerEvent, WorkerLink,
};
use futures::StreamExt;
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

fn hello() -> WorkHello {
    let capacity = WorkCapacity { pixels_per_second: 1_000_000, max_sessions: 3 };
    WorkHello { name: "miner".into(), engines: vec!["software".into()], capacity }
}

fn job(source: &[u8]) -> JobHeader {
    let header = header(source);
    JobHeader {
        job: 1,
        session: header.session,
        sequence: header.sequence,
        duration_90k: header.duration_90k,
        frames: header.frames,
        source_len: header.source_len,
        source_sha256: header.source_sha256,
        ladder: header.ladder,
        deadline: LONG,
    }
}

struct Bench {
    orchestrator: Network,
    transcoder: Network,
    server: WorkServer,
    token: WorkToken,
}

/// An orchestrator, and a transcoder that listens nowhere, as behind NAT.
async fn bench() -> Bench {
    bench_with(|_| {}).await
}

/// A bench whose token a raw peer knows.
async fn raw_bench() -> Bench {
    raw_bench_with(|_| {}).await
}

async fn raw_bench_with(change: impl Fn(&mut NetworkConfig)) -> Bench {
    bench_of(WorkToken::new(RAW_TOKEN).unwrap(), change).await
}

async fn bench_with(change: impl Fn(&mut NetworkConfig)) -> Bench {
    bench_of(WorkToken::generate(), change).await
}

async fn bench_of(token: WorkToken, change: impl Fn(&mut NetworkConfig)) -> Bench {
    let orchestrator = node_with(&change).await;
    let server = orchestrator.serve_work(token.clone(), 4).unwrap();
    let transcoder = client_with(&orchestrator, &change).await;
    Bench { orchestrator, transcoder, server, token }
}

impl Bench {
    async fn connect(&mut self) -> (WorkSession, WorkerLink) {
        let connecting = self.transcoder.connect_work(self.orchestrator.peer_id(), hello(), &self.token);
        let (session, link) = tokio::join!(connecting, self.server.next());
        (session.unwrap(), link.unwrap())
    }
}

async fn next_job(session: &mut WorkSession) -> framemill_network::IncomingJob {
    match session.next().await.unwrap() {
        WorkEvent::Job(job) => job,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transcoder_introduces_itself() {
    let mut bench = bench().await;
    let (session, link) = bench.connect().await;
    assert_eq!((link.peer(), link.hello()), (bench.transcoder.peer_id(), &hello()));
    assert_eq!(session.orchestrator(), bench.orchestrator.peer_id());
}

#[tokio::test]
async fn a_job_goes_down_the_transcoders_own_connection_and_back() {
    let mut bench = bench().await;
    let (mut session, link) = bench.connect().await;
    let source = source();
    let working = async {
        let job = next_job(&mut session).await;
        let header = job.header().clone();
        let (reader, mut reply) = job.accept().await.unwrap();
        let source = reader.read_all().await.unwrap();
        for (index, entry) in (0..).zip(&header.ladder) {
            reply.chunk(index, source.clone()).await.unwrap();
            let pixels = entry.pixels_per_frame() * u64::from(header.frames);
            reply.end(index, pixels, header.frames).await.unwrap();
        }
        reply.finish().await.unwrap();
    };
    let ordering = async {
        let exchange = link.handle().open_job(job(&source)).await.unwrap();
        exchange.complete(source.clone()).await.unwrap()
    };
    let (result, ()) = tokio::join!(ordering, working);
    assert_eq!(result.renditions, [source.clone(), source]);
}

#[tokio::test]
async fn a_declined_job_says_why() {
    let mut bench = bench().await;
    let (mut session, link) = bench.connect().await;
    let working = async {
        next_job(&mut session).await.reject(WireError::new(WireCode::Unsupported, "no av1")).await;
    };
    let handle = link.handle();
    let (result, ()) = tokio::join!(handle.open_job(job(b"source")), working);
    assert_eq!(result.unwrap_err().wire_code(), Some(WireCode::Unsupported));
}

#[tokio::test]
async fn a_transcoder_without_the_token_is_turned_away() {
    let mut bench = bench().await;
    let peer = bench.orchestrator.peer_id();
    let result = bench.transcoder.connect_work(peer, hello(), &WorkToken::generate()).await;
    assert_eq!(result.unwrap_err().wire_code(), Some(WireCode::Unauthorized));
    assert!(timeout(Duration::from_millis(50), bench.server.next()).await.is_err());
}

#[tokio::test]
async fn an_orchestrator_without_the_token_gets_no_transcoder() {
    let impostor = RawPeer::start(None).await;
    let mut incoming = impostor.accept(WORK);
    let transcoder = node().await;
    transcoder.add_peer(&impostor.service_address()).unwrap();
    let lying = async {
        let mut stream = incoming.next().await.unwrap().1;
        let _: proto::WorkOpen = receive(&mut stream).await;
        let challenge = proto::Challenge { nonce: vec![1; 32].into() };
        send(&mut stream, &control(proto::control_frame::Frame::Challenge(challenge))).await;
        let proof: proto::ControlFrame = receive(&mut stream).await;
        let Some(proto::control_frame::Frame::Proof(proof)) = proof.frame else { panic!() };
        // The transcoder's own proof, sent back.
        let welcome = proto::Welcome { mac: proof.mac, keep_alive_ms: 5_000 };
        send(&mut stream, &control(proto::control_frame::Frame::Welcome(welcome))).await;
        stream
    };
    let token = WorkToken::generate();
    let (result, _stream) = tokio::join!(transcoder.connect_work(impostor.peer, hello(), &token), lying);
    assert!(matches!(result, Err(NetworkError::Unproven { .. })), "{result:?}");
}

fn control(frame: proto::control_frame::Frame) -> proto::ControlFrame {
    proto::ControlFrame { frame: Some(frame) }
}

#[tokio::test]
async fn capacity_and_drain_reach_the_orchestrator() {
    let mut bench = bench().await;
    let (session, mut link) = bench.connect().await;
    let less = WorkCapacity { pixels_per_second: 10, max_sessions: 1 };
    session.control().set_capacity(less);
    assert_eq!(link.next().await.unwrap(), WorkerEvent::Capacity(less));
    session.control().drain();
    assert_eq!(link.next().await.unwrap(), WorkerEvent::Draining);
}

#[tokio::test]
async fn an_orchestrators_drain_reaches_the_transcoder() {
    let mut bench = bench().await;
    let (mut session, link) = bench.connect().await;
    link.handle().drain();
    assert!(matches!(session.next().await.unwrap(), WorkEvent::OrchestratorDraining));
}

#[tokio::test]
async fn a_transcoder_that_leaves_ends_its_link_and_its_jobs() {
    let mut bench = bench().await;
    let (mut session, mut link) = bench.connect().await;
    let handle = link.handle();
    let source = source();
    let ordering = async {
        let exchange = handle.open_job(job(&source)).await.unwrap();
        exchange.complete(source.clone()).await
    };
    let transcoder = bench.transcoder.clone();
    let leaving = async {
        let taken = next_job(&mut session).await.accept().await.unwrap();
        transcoder.shutdown().await;
        drop(taken);
    };
    let (result, ()) = tokio::join!(ordering, leaving);
    assert!(result.is_err());
    assert!(link.next().await.is_err());
    assert!(handle.open_job(job(&source)).await.is_err());
}

#[tokio::test]
async fn an_orchestrator_that_leaves_ends_the_session() {
    let mut bench = bench().await;
    let (mut session, link) = bench.connect().await;
    drop(link);
    assert!(timeout(LONG, session.next()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_transcoder_can_connect_again_after_its_session_ended() {
    let mut bench = bench().await;
    let (session, mut link) = bench.connect().await;
    drop(session);
    assert!(link.next().await.is_err());
    let (_session, link) = bench.connect().await;
    assert_eq!(link.hello().name, "miner");
}

#[tokio::test]
async fn keep_alives_hold_an_idle_session() {
    let mut bench = bench_with(|config| config.timeouts.keep_alive = Duration::from_millis(200)).await;
    let (_session, mut link) = bench.connect().await;
    assert!(timeout(Duration::from_millis(1_500), link.next()).await.is_err(), "an idle session ended");
}

#[tokio::test]
async fn a_silent_transcoder_loses_its_session() {
    let mut bench = raw_bench_with(|config| config.timeouts.keep_alive = Duration::from_millis(100)).await;
    let silent = RawPeer::start(Some(&bench.orchestrator)).await;
    let mut stream = silent.open(&bench.orchestrator, WORK).await;
    let mut link = prove(&mut stream, &mut bench, silent.peer).await;
    let error = timeout(LONG, link.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, NetworkError::Timeout { what: "a keep-alive", .. }), "{error}");
}

/// The handshake of a raw peer that knows the token.
async fn prove(
    stream: &mut libp2p::Stream,
    bench: &mut Bench,
    peer: framemill_network::PeerId,
) -> WorkerLink {
    use hmac::{Hmac, KeyInit, Mac};
    let hello = proto::WorkHello {
        name: "raw".into(),
        engines: Vec::new(),
        capacity: Some(proto::Capacity { pixels_per_second: 1, max_sessions: 1 }),
        nonce: vec![7; 32].into(),
        keep_alive_ms: 100,
    };
    send(stream, &proto::WorkOpen { open: Some(proto::work_open::Open::Hello(hello)) }).await;
    let challenge: proto::ControlFrame = receive(stream).await;
    let Some(proto::control_frame::Frame::Challenge(challenge)) = challenge.frame else { panic!() };
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(RAW_TOKEN).unwrap();
    mac.update(b"framemill work v1\x01");
    mac.update(&[7; 32]);
    mac.update(&challenge.nonce);
    for peer in [peer, bench.orchestrator.peer_id()] {
        mac.update(&(peer.to_bytes().len() as u64).to_be_bytes());
        mac.update(&peer.to_bytes());
    }
    let proof = proto::Proof { mac: mac.finalize().into_bytes().to_vec().into() };
    send(stream, &control(proto::control_frame::Frame::Proof(proof))).await;
    bench.server.next().await.unwrap()
}

const RAW_TOKEN: &[u8] = b"a token of thirty-two bytes here";

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_session() {
    let mut bench = raw_bench().await;
    let raw = RawPeer::start(Some(&bench.orchestrator)).await;
    let mut stream = raw.open(&bench.orchestrator, WORK).await;
    let mut link = prove(&mut stream, &mut bench, raw.peer).await;
    let flood = async {
        let frame = framed(&control(proto::control_frame::Frame::KeepAlive(proto::KeepAlive {})));
        while try_send(&mut stream, &frame.repeat(50)).await {}
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        result = link.next() => result.unwrap_err(),
        () = flood => unreachable!("the flood never ends"),
    };
    assert_eq!(error.wire_code(), Some(WireCode::RateLimited));
}

#[tokio::test]
async fn a_handshake_frame_after_the_handshake_ends_the_session() {
    let mut bench = raw_bench().await;
    let raw = RawPeer::start(Some(&bench.orchestrator)).await;
    let mut stream = raw.open(&bench.orchestrator, WORK).await;
    let mut link = prove(&mut stream, &mut bench, raw.peer).await;
    let proof = proto::Proof { mac: vec![0; 32].into() };
    send(&mut stream, &control(proto::control_frame::Frame::Proof(proof))).await;
    let error = link.next().await.unwrap_err();
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::Unexpected { .. })), "{error}");
}

#[tokio::test]
async fn a_proof_of_another_connection_is_refused() {
    let bench = raw_bench().await;
    let raw = RawPeer::start(Some(&bench.orchestrator)).await;
    let mut stream = raw.open(&bench.orchestrator, WORK).await;
    let hello = proto::WorkHello {
        name: "raw".into(),
        capacity: Some(proto::Capacity::default()),
        nonce: vec![7; 32].into(),
        ..Default::default()
    };
    send(&mut stream, &proto::WorkOpen { open: Some(proto::work_open::Open::Hello(hello)) }).await;
    let _: proto::ControlFrame = receive(&mut stream).await;
    let proof = proto::Proof { mac: vec![9; 32].into() };
    send(&mut stream, &control(proto::control_frame::Frame::Proof(proof))).await;
    assert_eq!(error_code(&mut stream).await, Some(WireCode::Unauthorized.number()));
}

#[tokio::test]
async fn an_introduction_out_of_bounds_is_refused() {
    let mut bench = raw_bench().await;
    let raw = RawPeer::start(Some(&bench.orchestrator)).await;
    let fair = proto::WorkHello {
        name: "n".repeat(64),
        engines: vec!["e".repeat(64); 32],
        capacity: Some(proto::Capacity::default()),
        nonce: vec![7; 32].into(),
        keep_alive_ms: 100,
    };
    let greet = async |hello: &proto::WorkHello| {
        let mut stream = raw.open(&bench.orchestrator, WORK).await;
        let hello = proto::work_open::Open::Hello(hello.clone());
        send(&mut stream, &proto::WorkOpen { open: Some(hello) }).await;
        stream
    };
    let challenge: proto::ControlFrame = receive(&mut greet(&fair).await).await;
    assert!(matches!(challenge.frame, Some(proto::control_frame::Frame::Challenge(_))), "{challenge:?}");
    let unfair = [
        proto::WorkHello { name: "n".repeat(65), ..fair.clone() },
        proto::WorkHello { engines: vec!["e".into(); 33], ..fair.clone() },
        proto::WorkHello { engines: vec!["e".repeat(65)], ..fair.clone() },
        proto::WorkHello { nonce: vec![7; 33].into(), ..fair.clone() },
    ];
    for hello in &unfair {
        let code = error_code(&mut greet(hello).await).await;
        assert_eq!(code, Some(WireCode::BadRequest.number()), "{hello:?}");
    }
    let (_session, link) = bench.connect().await;
    assert_eq!(link.hello().name, "miner");
}

#[tokio::test]
async fn a_job_from_a_peer_without_a_session_is_refused() {
    let mut bench = bench().await;
    // A session makes the transcoder serve the protocol at all.
    let transcoder = node().await;
    transcoder.add_peer(&bench.orchestrator.service_address().unwrap()).unwrap();
    let connecting = transcoder.connect_work(bench.orchestrator.peer_id(), hello(), &bench.token);
    let (session, link) = tokio::join!(connecting, bench.server.next());
    let (mut session, _link) = (session.unwrap(), link.unwrap());
    let stranger = RawPeer::start(Some(&transcoder)).await;
    let mut stream = stranger.open(&transcoder, WORK).await;
    let segment = segment_header(b"source");
    let job = proto::JobHeader {
        job: 1,
        session: segment.session,
        sequence: 1,
        duration_90k: segment.duration_90k,
        frames: segment.frames,
        source_len: segment.source_len,
        source_sha256: segment.source_sha256,
        ladder: segment.ladder,
        deadline_ms: 1_000,
    };
    send(&mut stream, &proto::WorkOpen { open: Some(proto::work_open::Open::Job(job)) }).await;
    tokio::select! {
        code = error_code(&mut stream) => assert_eq!(code, Some(WireCode::Unauthorized.number())),
        event = session.next() => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn a_job_with_other_pixels_than_asked_for_cannot_be_sent() {
    let mut bench = bench().await;
    let (mut session, link) = bench.connect().await;
    let working = async {
        let job = next_job(&mut session).await;
        let (_reader, mut reply) = job.accept().await.unwrap();
        reply.chunk(0, Bytes::from_static(b"x")).await.unwrap();
        reply.end(0, 1, 60).await
    };
    let handle = link.handle();
    let (_exchange, result) = tokio::join!(handle.open_job(job(b"source")), working);
    assert!(matches!(result, Err(NetworkError::Unsendable { .. })), "{result:?}");
}
