//! A small, safe wrapper over FFmpeg: probe, demux, decode, scale, encode, mux and segment media that lies in memory.
//!
//! Everything works on [`bytes::Bytes`] or on a pushed stream of bytes; nothing touches the disk.
//!
//! * **Time.** Every timestamp and duration is a [`Ticks`]: 90 kHz, unwrapped (MPEG-TS wraps at 33 bits, this crate
//!   does not). Timestamps of the source are passed through exactly; see [`time`] for comparing across a wrap.
//! * **Bounds.** Every entry point takes [`MediaLimits`]: input bytes, pixels, frames, duration, streams, a wall-clock
//!   deadline and a [`CancelFlag`]. Media comes from strangers; whatever it claims is checked before it is allocated.
//! * **Threads.** All types are `Send`; a [`Frame`] is a reference-counted picture that clones for free, so one decoder
//!   can feed scalers and encoders that live on other threads. Calls block: run them off the async executor.
//! * **Errors.** One [`MediaError`]; bad media is always an error, never a panic, a hang or a line on standard error.
//!
//! ```no_run
//! use framemill_media::{MediaLimits, Segmenter, SegmenterConfig};
//!
//! # fn main() -> Result<(), framemill_media::MediaError> {
//! let file = std::fs::File::open("clip.mp4").expect("the clip exists");
//! let segmenter = Segmenter::open(file, SegmenterConfig::default(), &MediaLimits::default())?;
//! for segment in segmenter {
//!     let segment = segment?;
//!     println!("{} starts at {} and has {} frames", segment.sequence, segment.start_pts, segment.frames());
//! }
//! # Ok(())
//! # }
//! ```

mod adts;
mod annexb;
mod audio;
mod av1;
mod avio;
mod budget;
mod claims;
mod claims_stream;
mod clip;
mod codec;
mod color;
mod context;
mod convert;
mod cut;
mod decode;
mod demux;
mod describe;
mod encode;
mod error;
mod frame;
mod gpu;
mod head;
mod input;
mod inspect;
mod limits;
mod mux;
mod packet;
mod picture;
mod probe;
mod repair;
mod scale;
mod segment;
mod sniff;
mod sys;
pub mod time;
mod turn;
mod watch;

pub use avio::{PushHandle, PushReader, push_source};
pub use clip::{ClipAudio, ClipSpec, Pattern, generate_clip};
pub use codec::{AudioCodec, Container, H264Profile, OutputFormat, PixelFormat, VideoCodec};
pub use color::ColorInfo;
pub use decode::{Decoder, DecoderConfig, VideoReader};
pub use demux::Demuxer;
pub use encode::{Encoder, EncoderConfig, Vbv};
pub use error::{Limit, MediaError};
pub use frame::{Frame, Picture, Plane};
pub use gpu::{GpuDevice, GpuFrame, GpuScaler};
pub use inspect::{AudioTrack, SegmentInfo, VideoTrack, segment_info};
pub use limits::{CancelFlag, MediaLimits};
pub use mux::{Muxer, MuxerBuilder};
pub use packet::{Packet, StreamParameters};
pub use probe::{AudioInfo, Probe, VideoInfo, probe};
pub use repair::repair_timestamps;
pub use scale::{ScaleFilter, Scaler, ScalerConfig};
pub use segment::{Segmenter, SegmenterConfig, SourceSegment};
pub use sys::use_plain_instructions;
pub use time::{Rational, TICKS_PER_SECOND, Ticks};
pub use watch::{FinishedRows, PictureId, Watcher};
