//! Packets into a container.

use std::ffi::CStr;
use std::ptr;

use bytes::Bytes;
use ffmpeg_next::codec::packet::Mut as _;
use ffmpeg_next::ffi::{self, AVFormatContext, AVPacketSideDataType, AVRational, AVStream};
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::{Dictionary, codec};

use crate::adts::HeaderStripper;
use crate::avio::Sink;
use crate::codec::{AudioCodec, OutputFormat, VideoCodec, codec_name};
use crate::error::MediaError;
use crate::head::Head;
use crate::packet::{Packet, StreamParameters, TICK_BASE};
use crate::sys;
use crate::time::Ticks;

/// Media time by which the muxer waits for the other streams before it writes a packet, in microseconds. Sources
/// interleave more tightly than this.
const MAX_INTERLEAVE: &str = "1000000";

/// Media time of a fragment of [`MuxerBuilder::in_pieces`], in microseconds: so that a rendition arrives while it is made, and what a
/// fragment costs stays below a hundredth of it.
const PIECE: &str = "500000";

/// How the container is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Whole(OutputFormat),
    /// Fragmented MP4 of [`MuxerBuilder::in_pieces`].
    Pieces,
}

impl Layout {
    const fn format(self) -> OutputFormat {
        match self {
            Self::Whole(format) => format,
            Self::Pieces => OutputFormat::FragmentedMp4,
        }
    }
}

/// Collects the streams of an output before its first byte is written.
pub struct MuxerBuilder {
    layout: Layout,
    streams: Vec<StreamParameters>,
}

impl MuxerBuilder {
    /// Fragmented MP4 becomes `ftyp`, `moov` and then fragments of about half a second, `moof` and `mdat`, with nothing between or
    /// behind them and no edit lists. Decoding times may not be negative then: they stand in the fragments as they are. MPEG-TS stays
    /// what it is.
    #[must_use]
    pub fn in_pieces(self) -> Self {
        match self.layout {
            Layout::Whole(OutputFormat::FragmentedMp4) => Self { layout: Layout::Pieces, ..self },
            _ => self,
        }
    }

    /// Adds a stream and returns its index, which is what [`Muxer::write`] takes.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] when the container cannot carry the codec.
    pub fn add_stream(&mut self, parameters: &StreamParameters) -> Result<usize, MediaError> {
        let format = self.layout.format();
        if !can_carry(format, parameters) {
            return Err(MediaError::UnsupportedCodec {
                codec: codec_name(parameters.get().codec_id),
                used: match format {
                    OutputFormat::MpegTs => "carried in mpeg-ts",
                    OutputFormat::FragmentedMp4 => "carried in mp4",
                },
            });
        }
        self.streams.push(parameters.clone());
        Ok(self.streams.len() - 1)
    }

    /// Writes the header.
    ///
    /// # Errors
    ///
    /// [`MediaError::InvalidSetting`] without streams, or what FFmpeg has against them.
    pub fn start(self) -> Result<Muxer, MediaError> {
        if self.streams.is_empty() {
            return Err(MediaError::InvalidSetting {
                setting: "streams of an output",
                value: "0".into(),
                hint: "add at least one",
            });
        }
        Muxer::new(self.layout, &self.streams)
    }
}

/// Whether players and FFmpeg know how the codec goes into the container.
pub(crate) fn can_carry(format: OutputFormat, parameters: &StreamParameters) -> bool {
    let id = parameters.get().codec_id;
    match (format, parameters.is_video()) {
        (OutputFormat::MpegTs, true) => {
            matches!(VideoCodec::from_id(id), VideoCodec::H264 | VideoCodec::Hevc)
        }
        (OutputFormat::FragmentedMp4, true) => !matches!(VideoCodec::from_id(id), VideoCodec::Other(_)),
        (_, false) => parameters.is_audio() && !matches!(AudioCodec::from_id(id), AudioCodec::Other(_)),
    }
}

/// Writes packets into a container in memory.
///
/// Timestamps go into the container as they are (MPEG-TS: modulo 2^33); nothing is shifted, so segments that different
/// machines made from neighbours of one stream join. The turn of a picture goes into MP4 only. In MPEG-TS every packet gets a PES packet of its own, so audio
/// timestamps survive exactly as well, and the program clock equals the decoding time.
pub struct Muxer {
    output: Output,
    sink: Sink,
    /// Of fragmented MP4 in pieces.
    head: Option<Head>,
    lanes: Vec<Lane>,
}

struct Lane {
    stripper: Option<HeaderStripper>,
    time_base: AVRational,
    last_dts: Option<Ticks>,
    /// As `last_dts`, in the stream's own time base.
    last_written: Option<i64>,
    /// Whether packets wait for the next of the stream.
    waits: bool,
    held: Option<Packet>,
}

impl Muxer {
    /// Starts an output.
    pub fn builder(format: OutputFormat) -> MuxerBuilder {
        MuxerBuilder { layout: Layout::Whole(format), streams: Vec::new() }
    }

    fn new(layout: Layout, streams: &[StreamParameters]) -> Result<Self, MediaError> {
        sys::init();
        let sink = Sink::default();
        let io = StreamIo::from_write(sink.clone())
            .map_err(|error| sys::failure("allocate an output buffer", error.into()))?;
        let mut output = allocate_output(layout.format(), io)?;
        for parameters in streams {
            add_stream(&mut output, parameters)?;
        }
        output.write_header_with(header_options(layout)).map_err(|error| match error {
            ffmpeg_next::Error::Other { errno: ffi::ENOMEM } => {
                sys::failure("write a container header", error.into())
            }
            // Memory takes all bytes: it is what the streams say of themselves, and what our encoders say can be written.
            _ => MediaError::Truncated {
                reason: "the headers of a stream describe none that there can be".into(),
            },
        })?;
        let lanes = output
            .streams()
            .zip(streams)
            .map(|(stream, parameters)| Lane::new(layout, stream.time_base().into(), parameters))
            .collect::<Result<_, _>>()?;
        let head = matches!(layout, Layout::Pieces).then(Head::default);
        Ok(Self { output, sink, head, lanes })
    }

    /// Writes one packet of stream `stream`. Packets of one stream come in decoding order; streams may be interleaved
    /// loosely, the muxer sorts them.
    ///
    /// # Errors
    ///
    /// [`MediaError::Timestamps`] when times are missing, do not rise, or a packet decodes after it shows; see
    /// [`repair_timestamps`](crate::repair_timestamps). [`MediaError::Truncated`] when this packet, or one of another stream that waited
    /// for it, is damaged so that the container cannot take it.
    pub fn write(&mut self, stream: usize, packet: &Packet) -> Result<(), MediaError> {
        let lane = self.lanes.get_mut(stream).ok_or_else(|| MediaError::InvalidSetting {
            setting: "stream index",
            value: stream.to_string(),
            hint: "use an index that `add_stream` returned",
        })?;
        lane.last_dts = Some(lane.check(stream, packet)?);
        match lane.next(packet) {
            Some(packet) => self.put(stream, &packet),
            None => Ok(()),
        }
    }

    fn put(&mut self, stream: usize, packet: &Packet) -> Result<(), MediaError> {
        let Some(lane) = self.lanes.get_mut(stream) else { return Ok(()) };
        let mut raw = packet.to_ffmpeg(stream)?;
        if let Some(stripper) = &mut lane.stripper {
            stripper.strip(&mut raw)?;
        }
        // SAFETY: the packet is owned; both time bases are positive fractions.
        unsafe { ffi::av_packet_rescale_ts(raw.as_mut_ptr(), TICK_BASE, lane.time_base) };
        lane.keep_apart(&mut raw);
        raw.write_interleaved(&mut self.output).map_err(|error| refused("write a packet", error))
    }

    /// The bytes made since the last call; empty while packets wait for others to be sorted.
    pub fn drain(&mut self) -> Bytes {
        // SAFETY: the pointer is only used to read the field on the next line.
        let context = unsafe { self.output.as_mut_ptr() };
        // SAFETY: the context is open and owns its writer.
        let writer = unsafe { (*context).pb };
        // SAFETY: a writer that is ours alone.
        unsafe { ffi::avio_flush(writer) };
        let written = self.sink.take();
        match &mut self.head {
            Some(head) => head.take(written),
            None => written,
        }
    }

    /// Writes what still waits and the trailer, and returns the bytes made since the last [`Muxer::drain`].
    ///
    /// # Errors
    ///
    /// As [`Muxer::write`], of packets that waited.
    pub fn finish(mut self) -> Result<Bytes, MediaError> {
        for stream in 0..self.lanes.len() {
            if let Some(last) = self.lanes[stream].held.take() {
                self.put(stream, &last)?;
            }
        }
        self.output.write_trailer().map_err(|error| refused("finish a container", error))?;
        let rest = self.drain();
        let held = self.head.as_mut().map(Head::rest).filter(|held| !held.is_empty());
        Ok(held.unwrap_or(rest))
    }
}

impl Lane {
    fn new(layout: Layout, time_base: AVRational, parameters: &StreamParameters) -> Result<Self, MediaError> {
        let stripper = match layout.format() {
            OutputFormat::MpegTs => None,
            OutputFormat::FragmentedMp4 => HeaderStripper::for_stream(parameters)?,
        };
        let waits = matches!(layout, Layout::Pieces) && parameters.is_video();
        Ok(Self { stripper, time_base, last_dts: None, last_written: None, waits, held: None })
    }

    /// The packet that is to be written now. The last picture of a fragment has to last until the first of the next, or players see a
    /// gap; so each waits for the next.
    fn next(&mut self, packet: &Packet) -> Option<Packet> {
        if !self.waits {
            return Some(packet.clone());
        }
        let mut before = self.held.replace(packet.clone())?;
        if let (Some(from), Some(to)) = (before.dts(), packet.dts()) {
            before.set_duration(to.saturating_sub(from));
        }
        Some(before)
    }

    /// Times a tick apart may be one in the time base of a sample rate; they have to rise there too.
    fn keep_apart(&mut self, packet: &mut codec::packet::Packet) {
        let (Some(pts), Some(dts)) = (packet.pts(), packet.dts()) else { return };
        let dts = self.last_written.map_or(dts, |last| dts.max(last.saturating_add(1)));
        packet.set_dts(Some(dts));
        packet.set_pts(Some(pts.max(dts)));
        self.last_written = Some(dts);
    }

    /// The decoding time of a packet that may be written next.
    fn check(&self, stream: usize, packet: &Packet) -> Result<Ticks, MediaError> {
        let wrong = |reason: String| MediaError::Timestamps { stream, reason };
        let (Some(pts), Some(dts)) = (packet.pts(), packet.dts()) else {
            return Err(wrong("a packet has no timestamp".into()));
        };
        if dts > pts {
            return Err(wrong(format!("a packet decodes at {dts} and shows at {pts}")));
        }
        match self.last_dts {
            Some(last) if dts <= last => Err(wrong(format!("a packet decodes at {dts} after one at {last}"))),
            _ => Ok(dts),
        }
    }
}

/// The error of a packet that FFmpeg does not write. It looks into what it has to rewrite for the container: headers of AAC, NAL units. An
/// invalid argument is how it calls a duration that no packet has; times were looked at before.
fn refused(operation: &'static str, error: ffmpeg_next::Error) -> MediaError {
    match error {
        ffmpeg_next::Error::InvalidData | ffmpeg_next::Error::Other { errno: ffi::EINVAL } => {
            MediaError::Truncated { reason: "a packet is cut off or damaged".into() }
        }
        error => sys::failure(operation, error.into()),
    }
}

/// An output context without streams that writes into `io`.
fn allocate_output(format: OutputFormat, mut io: StreamIo) -> Result<Output, MediaError> {
    let name: &CStr = match format {
        OutputFormat::MpegTs => c"mpegts",
        OutputFormat::FragmentedMp4 => c"mp4",
    };
    let mut context: *mut AVFormatContext = ptr::null_mut();
    // SAFETY: writes the new context to a local; the other pointers are NUL-terminated or null.
    let status = unsafe {
        ffi::avformat_alloc_output_context2(&raw mut context, ptr::null(), name.as_ptr(), ptr::null())
    };
    sys::check("allocate an output", status)?;
    // SAFETY: a fresh context that is ours alone.
    let fresh = unsafe { &mut *context };
    fresh.pb = io.as_mut_ptr();
    fresh.flags |= ffi::AVFMT_FLAG_CUSTOM_IO | ffi::AVFMT_FLAG_BITEXACT;
    fresh.avoid_negative_ts = 0;
    // The lead of decoding over the program clock: none, so that the clock of a segment follows from its packets alone.
    fresh.max_delay = 0;
    // SAFETY: the context writes through `io`, which the wrapper now keeps alive and frees after it.
    Ok(unsafe { Output::wrap_with_custom_io(context, io) })
}

fn add_stream(output: &mut Output, parameters: &StreamParameters) -> Result<(), MediaError> {
    // SAFETY: the pointer is used for the next call only.
    let context = unsafe { output.as_mut_ptr() };
    // SAFETY: the context is ours and its header not written yet.
    let stream = unsafe { ffi::avformat_new_stream(context, ptr::null()) };
    // SAFETY: null or a stream that lives as long as the context.
    let stream =
        unsafe { stream.as_mut() }.ok_or_else(|| sys::failure("add a stream", ffi::AVERROR(ffi::ENOMEM)))?;
    stream.time_base = TICK_BASE;
    // SAFETY: both are initialised; the destination belongs to the new stream.
    let status = unsafe { ffi::avcodec_parameters_copy(stream.codecpar, parameters.get()) };
    sys::check("copy stream parameters", status)?;
    // SAFETY: the parameters belong to the new stream.
    let copied = unsafe { &mut *stream.codecpar };
    // The tag of the source's container means nothing in this one.
    copied.codec_tag = 0;
    turn(stream, parameters.rotation())
}

/// Says by how many degrees clockwise a player turns the picture. MPEG-TS has no place for it.
fn turn(stream: &mut AVStream, rotation: u16) -> Result<(), MediaError> {
    if rotation == 0 {
        return Ok(());
    }
    const MATRIX_BYTES: usize = 9 * size_of::<i32>();
    // SAFETY: the stream is ours and its header not written yet.
    let matrix = unsafe {
        ffi::av_stream_new_side_data(stream, AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX, MATRIX_BYTES)
    };
    if matrix.is_null() {
        return Err(sys::failure("turn a stream", ffi::AVERROR(ffi::ENOMEM)));
    }
    // SAFETY: FFmpeg's allocation holds the nine integers of a matrix and is aligned for them.
    unsafe { ffi::av_display_rotation_set(matrix.cast(), f64::from(rotation)) };
    Ok(())
}

fn header_options(layout: Layout) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("max_interleave_delta", MAX_INTERLEAVE);
    match layout {
        Layout::Whole(OutputFormat::MpegTs) => {
            options.set("mpegts_copyts", "1");
            options.set("pes_payload_size", "0");
        }
        Layout::Whole(OutputFormat::FragmentedMp4) => {
            // A discontinuous first fragment carries its time in ticks; an edit list would round it to milliseconds.
            options.set("movflags", "+frag_keyframe+empty_moov+delay_moov+default_base_moof+frag_discont");
        }
        Layout::Pieces => {
            options.set("movflags", "+empty_moov+delay_moov+default_base_moof+frag_discont+skip_trailer");
            options.set("use_editlist", "0");
            options.set("frag_duration", PIECE);
        }
    }
    options
}
