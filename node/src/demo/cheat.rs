//! The demo's cheat: an engine that delivers perfect renditions of the wrong picture.

use std::sync::Arc;

use bytes::Bytes;
use framemill_media::{
    Demuxer, Encoder, EncoderConfig, Frame, MediaError, MediaLimits, Muxer, OutputFormat, Packet, VideoTrack,
    segment_info,
};
use framemill_transcoder::{
    Capabilities, Card, Engine, Job, RenditionSink, Renditions, Room, TranscodeError,
};
use futures::StreamExt as _;
use tokio::runtime::Handle;

/// How far the false picture moves from one frame to the next, in pixels.
const DRIFT: usize = 5;
/// A gradient needs few bits; what matters is that nothing in the container gives it away.
const BITRATE: u64 = 1_500_000;

/// Works honestly up to a segment, then swaps every picture while container, timestamps and sound stay true.
#[derive(Debug)]
pub struct CheatingEngine {
    honest: Arc<dyn Engine>,
    from: u64,
}

impl CheatingEngine {
    /// Cheats from segment `from` on.
    pub fn new(honest: Arc<dyn Engine>, from: u64) -> Self {
        Self { honest, from }
    }
}

impl Engine for CheatingEngine {
    fn name(&self) -> &'static str {
        self.honest.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.honest.capabilities()
    }

    fn room(&self) -> Room {
        self.honest.room()
    }

    fn card(&self) -> Option<Card> {
        self.honest.card()
    }

    fn is_up(&self) -> bool {
        self.honest.is_up()
    }

    fn transcode(&self, job: Job) -> Renditions {
        if job.sequence < self.from {
            return self.honest.transcode(job);
        }
        let (sink, renditions, _) = Renditions::channel(self.name(), job.deadline);
        let honest = self.honest.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let outcome = deliver_false(&honest, job, &sink, &runtime);
            sink.finish(outcome);
        });
        renditions
    }
}

fn deliver_false(
    honest: &Arc<dyn Engine>,
    job: Job,
    sink: &RenditionSink,
    runtime: &Handle,
) -> Result<(), TranscodeError> {
    let source = false_source(&job.source).map_err(TranscodeError::Engine)?;
    let mut renditions = {
        let _context = runtime.enter();
        honest.transcode(Job { source, ..job })
    };
    while let Some(event) = runtime.block_on(renditions.next()) {
        sink.send(event?)?;
    }
    Ok(())
}

/// The same segment with a drifting gradient for its picture.
fn false_source(source: &Bytes) -> Result<Bytes, MediaError> {
    let limits = MediaLimits::segment();
    let info = segment_info(source, &limits)?;
    let track = info.require_video()?;
    let mut demuxer = Demuxer::from_bytes(source.clone(), &limits)?;
    let mut config = EncoderConfig::h264(track.width & !1, track.height & !1, BITRATE, track.frame_rate);
    // Other tags would give it away.
    config.color = demuxer.probe().video.as_ref().map(|video| video.color).unwrap_or_default();
    let mut encoder = Encoder::new(&config)?;
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    let picture = builder.add_stream(encoder.parameters())?;
    let sounds = demuxer.probe().audio.iter().map(|audio| audio.stream).collect::<Vec<_>>();
    let mut outputs = Vec::with_capacity(sounds.len());
    for index in sounds {
        if let Some(parameters) = demuxer.parameters(index) {
            outputs.push((index, builder.add_stream(&parameters)?));
        }
    }
    let mut muxer = builder.start()?;
    for packet in gradient(&mut encoder, &config, track, &limits)? {
        muxer.write(picture, &packet)?;
    }
    while let Some(packet) = demuxer.next_packet()? {
        if let Some((_, output)) = outputs.iter().find(|(index, _)| *index == packet.stream()) {
            muxer.write(*output, &packet)?;
        }
    }
    muxer.finish()
}

fn gradient(
    encoder: &mut Encoder,
    config: &EncoderConfig,
    track: &VideoTrack,
    limits: &MediaLimits,
) -> Result<Vec<Packet>, MediaError> {
    let (width, height) = (config.width as usize, config.height as usize);
    let chroma = vec![128; width / 2 * (height / 2)];
    let mut packets = Vec::with_capacity(track.pts.len());
    for (number, pts) in track.pts.iter().enumerate() {
        // The low byte alone counts: the gradient repeats every 256 pixels.
        let luma: Vec<u8> =
            (0..width * height).map(|i| (i % width + i / width + number * DRIFT) as u8).collect();
        let frame =
            Frame::from_yuv420p(config.width, config.height, [&luma, &chroma, &chroma], *pts, limits)?;
        encoder.send(&frame)?;
        while let Some(packet) = encoder.receive()? {
            packets.push(packet);
        }
    }
    encoder.flush()?;
    while let Some(packet) = encoder.receive()? {
        packets.push(packet);
    }
    Ok(packets)
}
