//! A door in front of an endpoint, which counts what passes and can be shut.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Longest request of these tests.
const MAX_REQUEST: usize = 1 << 20;

#[derive(Default)]
struct Seen {
    requests: usize,
    methods: HashMap<String, usize>,
}

pub(crate) struct Proxy {
    url: String,
    shut: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    pub(crate) async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shut, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (door, book) = (shut.clone(), seen.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), door.clone(), book.clone()));
            }
        });
        Self { url, shut, seen }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Cuts every connection at its next request.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// HTTP requests that came.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests
    }

    /// How often a JSON-RPC method was asked for.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().methods.get(method).copied().unwrap_or_default()
    }

    /// Waits until a method has been asked for.
    pub(crate) async fn seen(&self, method: &str) {
        while self.count(method) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// One request after the other: body by its length, over to the endpoint, its answer back.
async fn pass(
    mut client: TcpStream,
    target: String,
    shut: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
) -> Option<()> {
    let mut server = TcpStream::connect(&target).await.ok()?;
    loop {
        let request = message(&mut client).await?;
        if shut.load(Ordering::SeqCst) {
            return None;
        }
        note(&request, &seen);
        server.write_all(&request).await.ok()?;
        let answer = message(&mut server).await?;
        client.write_all(&answer).await.ok()?;
    }
}

fn note(request: &[u8], seen: &Mutex<Seen>) {
    let text = String::from_utf8_lossy(request);
    let mut seen = seen.lock().unwrap();
    seen.requests += 1;
    for part in text.split("\"method\":\"").skip(1) {
        let method = part.split('"').next().unwrap_or_default();
        *seen.methods.entry(method.to_owned()).or_default() += 1;
    }
}

/// A whole HTTP message with a `content-length`.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(length) = whole(&bytes)
            && bytes.len() >= length
        {
            return Some(bytes);
        }
        match stream.read(&mut part).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&part[..read]),
        }
        assert!(bytes.len() <= MAX_REQUEST);
    }
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let line = text.lines().find_map(|line| line.strip_prefix("content-length:").map(str::to_owned));
    Some(head + line.map_or(0, |length| length.trim().parse::<usize>().unwrap()))
}
