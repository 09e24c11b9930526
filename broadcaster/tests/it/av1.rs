//! Ladders of two codecs, bought and published in two containers.

use framemill_broadcaster::{PlaylistMode, StreamConfig};
use framemill_network::{Codec, FrameRate, Ladder, LadderEntry};

use crate::ffplay;
use crate::playlists::{probe, read, serve};
use crate::support::{Act, Peer, Rig, ladder, stream_config};

#[tokio::test(flavor = "multi_thread")]
async fn av1_is_bought_beside_h264_and_plays() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let mut entries = ladder().entries()[..1].to_vec();
    entries.push(LadderEntry::from_height(144, FrameRate::SOURCE, 150_000, Codec::Av1));
    let config = StreamConfig {
        ladder: Ladder::new(entries).unwrap(),
        playlist: PlaylistMode::Live { segments: 2 },
        ..stream_config("cam")
    };
    let (summary, _) = rig.run(config, 3).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (3, 0));
    let address = serve(&rig).await;
    let vod = read(&format!("http://{address}/cam/vod.m3u8")).await;
    let files = |variant: usize| -> Vec<&str> {
        vod[variant].segments.iter().map(|segment| segment.uri.as_str()).collect()
    };
    assert_eq!((files(0), files(1)), (vec!["0.ts", "1.ts", "2.ts"], vec!["0.m4s", "1.m4s", "2.m4s"]));
    let url = format!("http://{address}/cam/144p-av1/vod.m3u8");
    let streams = probe(&url, "stream=codec_name,nb_read_packets").await;
    assert!(streams.contains(&"av1,75".to_owned()), "{streams:?}");
    assert_eq!(ffplay::shown(&url, None).await, 75);
    // One maker of the same settings needs one section.
    assert_eq!(rig.read("cam/144p-av1/vod.m3u8").matches("#EXT-X-MAP").count(), 1);
}
