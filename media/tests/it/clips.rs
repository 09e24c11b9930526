//! Every real clip.

use framemill_media::{DecoderConfig, MediaError, VideoReader, probe, segment_info};

use crate::common::{clip, limits, segments, synthetic};

#[test]
fn smoke() {
    let data = synthetic(|_| {});
    println!("{:#?}", probe(&data, &limits()));
    println!("{:?}", segment_info(&data, &limits()));
    for name in [
        "kitchen-1080p60-2s.mp4",
        "desk-360p-aac.flv",
        "dark-720p-422.ts",
        "car-720p-segment-1.ts",
        "car-720p-segment-2.ts",
        "bad-missing-dts.ts",
        "bad-duplicate-audio-dts.ts",
        "bad-zero-frame.ts",
    ] {
        let data = clip(name).unwrap();
        println!("== {name} {:?}", probe(&data, &limits()));
        match segments(data.clone()) {
            Ok(list) => {
                for s in list {
                    let back = segment_info(&s.data, &limits()).unwrap();
                    println!(
                        "{} start {} dur {} frames {} key {} audio {:?} fps {}",
                        s.sequence,
                        s.start_pts,
                        s.duration,
                        s.frames(),
                        s.info.video.as_ref().unwrap().starts_with_key,
                        s.info.audio,
                        s.info.video.as_ref().unwrap().frame_rate
                    );
                    if back != s.info {
                        println!(
                            "   DIFF {:?} {:?}",
                            back.audio,
                            back.video.as_ref().map(|v| (
                                v.pts.len(),
                                &v.pts[..4.min(v.pts.len())],
                                v.duration,
                                v.bytes,
                                v.frame_rate,
                                v.starts_with_key
                            ))
                        );
                        println!(
                            "        {:?} {:?}",
                            s.info.audio,
                            s.info.video.as_ref().map(|v| (
                                v.pts.len(),
                                &v.pts[..4.min(v.pts.len())],
                                v.duration,
                                v.bytes,
                                v.frame_rate
                            ))
                        );
                    }
                }
            }
            Err(error) => println!("{error:?}"),
        }
        match VideoReader::open(data, &DecoderConfig::default(), &limits()) {
            Ok(mut reader) => {
                let frames: Vec<_> = reader.by_ref().collect::<Result<_, MediaError>>().unwrap();
                println!(
                    "decoded {} errors {} nopts {} first {:?} rising {}",
                    frames.len(),
                    reader.errors(),
                    frames.iter().filter(|f| f.pts().is_none()).count(),
                    frames[0],
                    frames.windows(2).all(|w| w[0].pts() < w[1].pts())
                );
            }
            Err(error) => println!("{error:?}"),
        }
    }
}
