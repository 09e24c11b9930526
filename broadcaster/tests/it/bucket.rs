//! A real server that speaks S3 (SeaweedFS), private to one test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use framemill_broadcaster::{ObjectStorage, S3Config, S3Credentials};
use reqwest::{Client, Response};
use tokio::process::{Child, Command};

pub(crate) const KEY: &str = "AKIDPUBLISHER";
pub(crate) const SECRET: &str = "a-secret-nobody-may-see";
pub(crate) const BUCKET: &str = "hls";
/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(60);
/// Its master, volume server, filer and S3, each with a second port.
const PORTS: usize = 8;

/// A server with its folder. Everybody may read its bucket `hls`; only [`KEY`] may write.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    ports: Vec<u16>,
    process: Child,
    client: Client,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identities = serde_json::json!({ "identities": [
            { "name": "publisher", "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
              "actions": ["Admin", "Read", "List", "Write"] },
            { "name": "anonymous", "actions": [format!("Read:{BUCKET}")] },
        ]});
        std::fs::write(folder.path().join("s3.json"), identities.to_string()).unwrap();
        let ports = free_ports();
        let process = spawn(folder.path(), &ports);
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        let server = Self { folder, ports, process, client };
        server.ready().await;
        server.make_bucket().await;
        server
    }

    /// A whole path of the bucket's folders and files.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{BUCKET}/{path}", self.endpoint())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn read(&self, path: &str) -> String {
        self.get(path).await.error_for_status().unwrap().text().await.unwrap()
    }

    pub(crate) fn config(&self) -> S3Config {
        S3Config { endpoint: Some(self.endpoint()), ..S3Config::new(BUCKET, S3Credentials::new(KEY, SECRET)) }
    }

    pub(crate) fn storage(&self) -> ObjectStorage {
        ObjectStorage::s3(&self.config()).unwrap()
    }

    /// Ends it without a chance to finish anything.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.folder.path(), &self.ports);
        self.ready().await;
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[PORTS - 1])
    }

    async fn ready(&self) {
        let end = Instant::now() + PATIENCE;
        let url = format!("{}/healthz", self.endpoint());
        while !self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(Instant::now() < end, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The first object that is put into a bucket makes it, where the writer may.
    async fn make_bucket(&self) {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.storage().probe().await {
            assert!(Instant::now() < end, "{error}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn program() -> PathBuf {
    let configured = std::env::var_os("FRAMEMILL_TOOLS").map(PathBuf::from);
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin");
    let found = configured.into_iter().chain([checkout]).map(|folder| folder.join("weed"));
    found.into_iter().find(|file| file.is_file()).expect("no weed: run scripts/setup s3")
}

fn spawn(folder: &std::path::Path, ports: &[u16]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
        "s3.port",
    ];
    let ports = names.iter().zip(ports).map(|(name, port)| format!("-{name}={port}"));
    Command::new(program())
        .args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-s3.config=s3.json",
            "-dir=.",
        ])
        .args([
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-volume.preStopSeconds=0",
        ])
        .args(ports)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn free_ports() -> Vec<u16> {
    let sockets: Vec<_> = (0..PORTS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect()
}
