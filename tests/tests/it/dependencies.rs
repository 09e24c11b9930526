//! What npm's registry says of the lock files: nothing, a fault, or that it does not tell.

use anyhow::Context as _;
use framemill_tests::workspace;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
};

/// Of a package that the dashboard alone has, as the registry tells it.
const FAULT: &str = r#"{"viem":[{"id":1,"url":"https://advisories.example/1","title":"it leaks keys","severity":"low",
"vulnerable_versions":"*","cwe":[],"cvss":{"score":0,"vectorString":null}}]}"#;

/// Whether it ended well, and what it printed, with a registry that answers questions about faults with `status` and `body`.
async fn with_registry(status: &'static str, body: &'static str) -> anyhow::Result<(bool, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let registry = format!("http://{}", listener.local_addr()?);
    let serve = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, status, body));
        }
    });
    let script = workspace().join("scripts/dependencies");
    let output = Command::new(script).arg("packages").env("npm_config_registry", registry).output().await?;
    serve.abort();
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

/// One request: a question about faults is a POST, all else is not found.
async fn answer(stream: TcpStream, status: &str, body: &str) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    while !request.ends_with("\r\n\r\n") {
        let at = request.len();
        anyhow::ensure!(stream.read_line(&mut request).await? > 0, "the request has no end");
        let header = request[at..].to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().context("a length")?;
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    let (status, body) = if request.starts_with("POST") { (status, body) } else { ("404 Not Found", "") };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream.write_all(body.as_bytes()).await?)
}

#[tokio::test]
async fn a_fault_of_a_package_fails_and_a_registry_that_does_not_tell_is_skipped() -> anyhow::Result<()> {
    let (ok, told) = with_registry("200 OK", "{}").await?;
    assert!(ok, "{told}");
    for folder in ["./contracts", "./node/dashboard", "./tools"] {
        assert!(told.contains(&format!("{folder}: advisories ok\n")), "{told}");
    }

    let (ok, told) = with_registry("200 OK", FAULT).await?;
    assert!(
        !ok && told.contains("./node/dashboard: advisories FAILED") && told.contains("it leaks keys"),
        "{told}"
    );
    assert!(told.contains("./contracts: advisories ok"), "the others are looked at all the same: {told}");

    let (ok, told) = with_registry("405 Method Not Allowed", "").await?;
    assert!(ok && told.matches("advisories skipped").count() == 3, "{told}");
    assert!(told.contains("405 Method Not Allowed") && !told.contains("127.0.0.1"), "{told}");
    Ok(())
}
