//! Playback by ffplay, without a screen and without a sound card.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Longer than any of these plays.
const PATIENCE: Duration = Duration::from_secs(300);

/// Plays what is behind an address at its own pace, to its end or until enough pictures were shown, and returns how many were.
///
/// # Panics
/// It does not end, or its log has an error, or there was no sound beside the pictures.
pub(crate) async fn shown(url: &str, enough: Option<usize>) -> usize {
    let mut ffplay = Command::new("ffplay");
    ffplay.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
    // It counts no pictures, but a filter tells of each on its way to the screen; a late one is shown all the same.
    ffplay.args(["-hide_banner", "-v", "level+info", "-autoexit", "-noframedrop", "-vf", "showinfo"]);
    ffplay.arg(url).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut player = ffplay.spawn().expect("ffplay starts");
    let mut lines = BufReader::new(player.stderr.take().expect("a pipe")).lines();
    let (mut log, mut pictures) = (String::new(), 0);
    let played = async {
        while let Some(line) = lines.next_line().await.expect("a log") {
            pictures += usize::from(line.contains("showinfo") && line.contains(" n:"));
            log.push_str(&line);
            log.push('\n');
            // A live stream has no end.
            if enough.is_some_and(|enough| pictures >= enough) {
                return player.kill().await.expect("it runs");
            }
        }
        assert!(player.wait().await.expect("it ends").success());
    };
    let ended = tokio::time::timeout(PATIENCE, played).await;
    assert!(ended.is_ok(), "{pictures} pictures, and no end: {log}");
    // It ends with success whatever it met.
    let bad = ["[error]", "[fatal]", "[panic]"].into_iter().find(|level| log.contains(level));
    assert_eq!(bad, None, "{url}: {log}");
    assert!(log.contains(" A-V:"), "sound and pictures have no common clock: {log}");
    pictures
}
