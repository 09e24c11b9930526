//! Pictures that stay on a GPU: NVDEC decodes them there, scaling reads and writes them there, NVENC encodes them there.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ffmpeg_next::ffi::{
    self, AVBufferRef, AVCodecContext, AVFilterContext, AVFilterGraph, AVFrame, AVHWDeviceType,
    AVHWFramesContext, AVPixelFormat,
};
use ffmpeg_next::frame::Video;

use crate::color::ColorInfo;
use crate::error::MediaError;
use crate::frame::{Picture, reference, sealed::Wrap};
use crate::limits::MediaLimits;
use crate::packet::TICK_BASE;
use crate::sys;
use crate::time::Ticks;
use crate::turn::Turner;

/// Decoded pictures that may wait between the decoder and the scalers, beyond those that the codec itself refers to.
const WAITING_PICTURES: i32 = 8;

/// A reference to something of FFmpeg's that is counted.
struct Shared(NonNull<AVBufferRef>);

// SAFETY: the count is atomic, and what is referred to here (devices and pools of frames) may be used from any thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// One more reference.
    fn reference(&self) -> Result<*mut AVBufferRef, MediaError> {
        // SAFETY: the reference is alive as long as `self`.
        let copy = unsafe { ffi::av_buffer_ref(self.0.as_ptr()) };
        if copy.is_null() {
            Err(sys::failure("reference a device", ffi::AVERROR(ffi::ENOMEM)))
        } else {
            Ok(copy)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: the reference is ours and not used after this.
        unsafe { ffi::av_buffer_unref(&raw mut raw) };
    }
}

/// A CUDA device that FFmpeg has opened. Clones share it.
#[derive(Clone)]
pub struct GpuDevice {
    context: Arc<Shared>,
    ordinal: u32,
}

impl fmt::Debug for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuDevice").field("ordinal", &self.ordinal).finish()
    }
}

impl GpuDevice {
    /// Opens the device of this index, with the context that everything else in this process shares on it.
    ///
    /// # Errors
    ///
    /// [`MediaError::Device`] with the reason why there is none.
    pub fn open(ordinal: u32) -> Result<Self, MediaError> {
        /// `AV_CUDA_USE_PRIMARY_CONTEXT` of `libavutil/hwcontext_cuda.h`.
        const PRIMARY_CONTEXT: i32 = 1;
        sys::init();
        sys::complaints();
        let name = CString::new(ordinal.to_string()).expect("digits have no zero byte");
        let mut raw: *mut AVBufferRef = ptr::null_mut();
        // SAFETY: writes a new reference to a local; the name is NUL-terminated and lives for the call.
        let status = unsafe {
            ffi::av_hwdevice_ctx_create(
                &raw mut raw,
                AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA,
                name.as_ptr(),
                ptr::null_mut(),
                PRIMARY_CONTEXT,
            )
        };
        match NonNull::new(raw) {
            Some(context) if status >= 0 => Ok(Self { context: Arc::new(Shared(context)), ordinal }),
            _ => Err(sys::device_failure("open the device", status)),
        }
    }

    /// Index of the device.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// A picture on the device with nothing drawn on it, for trying an encoder: YUV 4:2:0, 8 bit.
    ///
    /// # Errors
    ///
    /// [`MediaError::Device`] when the device has no room for it.
    pub fn blank(&self, width: u32, height: u32, pts: Ticks) -> Result<GpuFrame, MediaError> {
        let frames = self.frames(width, height)?;
        let mut video = Video::empty();
        // SAFETY: the pointer is used for the next call only.
        let raw = unsafe { video.as_mut_ptr() };
        // SAFETY: the pool is initialised, the frame empty and ours.
        let status = unsafe { ffi::av_hwframe_get_buffer(frames.0.as_ptr(), raw, 0) };
        if status < 0 {
            return Err(sys::device_failure("allocate a picture", status));
        }
        GpuFrame::wrap(video, Some(pts)).ok_or(MediaError::NoFrames)
    }

    /// A pool of pictures on the device.
    fn frames(&self, width: u32, height: u32) -> Result<Shared, MediaError> {
        // SAFETY: the device is alive as long as `self`.
        let raw = unsafe { ffi::av_hwframe_ctx_alloc(self.context.0.as_ptr()) };
        let frames =
            Shared(NonNull::new(raw).ok_or_else(|| sys::failure("make a pool", ffi::AVERROR(ffi::ENOMEM)))?);
        // SAFETY: a fresh pool is ours alone.
        let buffer = unsafe { frames.0.as_ref() };
        // SAFETY: the buffer of a pool holds this structure.
        let settings = unsafe { &mut *buffer.data.cast::<AVHWFramesContext>() };
        settings.format = AVPixelFormat::AV_PIX_FMT_CUDA;
        settings.sw_format = AVPixelFormat::AV_PIX_FMT_NV12;
        settings.width = i32::try_from(width).unwrap_or(0);
        settings.height = i32::try_from(height).unwrap_or(0);
        // SAFETY: the settings are made.
        let status = unsafe { ffi::av_hwframe_ctx_init(frames.0.as_ptr()) };
        if status < 0 { Err(sys::device_failure("make a pool", status)) } else { Ok(frames) }
    }

    /// Makes a decoder that is not open yet run on the device.
    pub(crate) fn attach(&self, context: &mut AVCodecContext) -> Result<(), MediaError> {
        sys::complaints();
        context.hw_device_ctx = self.context.reference()?;
        context.get_format = Some(only_cuda);
        context.extra_hw_frames = WAITING_PICTURES;
        Ok(())
    }

    /// Whether a decoder's failure may be its device's: everything but damage to a stream that the device decodes.
    pub(crate) fn is_to_blame(context: &AVCodecContext, status: i32) -> bool {
        let on_device = !context.hw_device_ctx.is_null();
        on_device && (status != ffi::AVERROR_INVALIDDATA || context.pix_fmt != AVPixelFormat::AV_PIX_FMT_CUDA)
    }
}

/// Takes the device's format or none: decoding on the CPU behind the caller's back would be slow and fill its memory.
unsafe extern "C" fn only_cuda(_: *mut AVCodecContext, mut offered: *const AVPixelFormat) -> AVPixelFormat {
    loop {
        // SAFETY: FFmpeg's list ends with AV_PIX_FMT_NONE, beyond which this does not go.
        let format = unsafe { *offered };
        if matches!(format, AVPixelFormat::AV_PIX_FMT_CUDA | AVPixelFormat::AV_PIX_FMT_NONE) {
            return format;
        }
        // SAFETY: not the end of the list yet.
        offered = unsafe { offered.add(1) };
    }
}

/// A picture in a GPU's memory. Reference-counted; clones share the pixels and may go to other threads.
#[derive(Clone)]
pub struct GpuFrame {
    inner: Arc<Video>,
    pts: Option<Ticks>,
}

impl GpuFrame {
    fn raw(&self) -> &AVFrame {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.inner.as_ptr() };
        // SAFETY: `Video` holds an allocated AVFrame until it is dropped; nothing writes to it while it is shared.
        unsafe { &*pointer }
    }

    /// How the pixels lie on the device.
    fn layout(&self) -> AVPixelFormat {
        // SAFETY: every picture on a device belongs to a pool; `wrap` has checked it.
        let pool = unsafe { &*self.raw().hw_frames_ctx };
        // SAFETY: the buffer of a pool holds this structure.
        unsafe { &*pool.data.cast::<AVHWFramesContext>() }.sw_format
    }

    /// A reference to the pool that the picture comes from.
    fn pool(&self) -> Result<*mut AVBufferRef, MediaError> {
        // SAFETY: the pool is alive as long as the picture.
        let pool = unsafe { ffi::av_buffer_ref(self.raw().hw_frames_ctx) };
        if pool.is_null() {
            Err(sys::failure("reference a pool", ffi::AVERROR(ffi::ENOMEM)))
        } else {
            Ok(pool)
        }
    }

    /// Makes an encoder that is not open yet take pictures like this one.
    pub(crate) fn attach(&self, context: &mut AVCodecContext) -> Result<(), MediaError> {
        context.pix_fmt = AVPixelFormat::AV_PIX_FMT_CUDA;
        context.hw_frames_ctx = self.pool()?;
        Ok(())
    }
}

impl Wrap for GpuFrame {
    /// Pictures whose left or upper edge is cut off are refused: on a device FFmpeg does not move the picture's corner.
    fn wrap(video: Video, pts: Option<Ticks>) -> Option<Self> {
        let frame = Self { inner: Arc::new(video), pts };
        let raw = frame.raw();
        let here = raw.format == AVPixelFormat::AV_PIX_FMT_CUDA as i32 && !raw.hw_frames_ctx.is_null();
        (here && raw.crop_left == 0 && raw.crop_top == 0).then_some(frame)
    }

    fn at(mut self, pts: Ticks) -> Self {
        self.pts = Some(pts);
        self
    }

    /// Nothing here turns pictures on a device.
    fn upright(self, _: &mut Turner) -> Result<Self, MediaError> {
        Err(sys::device_failure("turn a picture", ffmpeg_next::ffi::AVERROR_PATCHWELCOME))
    }

    fn reference(&self) -> Result<Video, MediaError> {
        reference(self.raw(), self.pts)
    }

    fn is_encodable(&self) -> bool {
        self.layout() == AVPixelFormat::AV_PIX_FMT_NV12
    }
}

impl Picture for GpuFrame {
    fn width(&self) -> u32 {
        self.inner.width()
    }

    fn height(&self) -> u32 {
        self.inner.height()
    }

    fn pts(&self) -> Option<Ticks> {
        self.pts
    }

    fn is_corrupt(&self) -> bool {
        self.inner.is_corrupt() || self.inner.has_decode_errors()
    }

    fn color(&self) -> ColorInfo {
        ColorInfo::of_frame(self.raw())
    }
}

impl fmt::Debug for GpuFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = (self.width(), self.height());
        f.debug_struct("GpuFrame").field("size", &size).field("pts", &self.pts).finish()
    }
}

/// Turns pictures on a GPU into pictures of another size there, by FFmpeg's `scale_cuda`: YUV 4:2:0, 8 bit.
pub struct GpuScaler {
    size: (u32, u32),
    limits: MediaLimits,
    graph: Option<Graph>,
}

impl GpuScaler {
    /// A scaler; the source's size and layout are taken from each picture.
    ///
    /// # Errors
    ///
    /// [`MediaError::LimitExceeded`] for a size beyond the limits.
    pub fn new(width: u32, height: u32, limits: &MediaLimits) -> Result<Self, MediaError> {
        sys::init();
        limits.check_frame_size(width, height)?;
        Ok(Self { size: (width, height), limits: limits.clone(), graph: None })
    }

    /// Works under other limits from now on.
    pub fn set_limits(&mut self, limits: &MediaLimits) {
        self.limits = limits.clone();
    }

    /// The picture in the wanted size. Its time and colour tags are kept. Always a copy: the decoder gets its own memory back.
    ///
    /// # Errors
    ///
    /// The deadline; [`MediaError::Device`] when the device fails.
    pub fn scale(&mut self, frame: &GpuFrame) -> Result<GpuFrame, MediaError> {
        self.limits.check_time()?;
        let source = Source { size: (frame.width(), frame.height()), layout: frame.layout() };
        let graph = match self.graph.take() {
            Some(graph) if graph.source == source => graph,
            _ => Graph::new(source, frame, self.size)?,
        };
        let scaled = graph.run(frame);
        self.graph = Some(graph);
        scaled
    }
}

/// What a graph depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Source {
    size: (u32, u32),
    layout: AVPixelFormat,
}

/// A graph of FFmpeg's filters: pictures in, scaled, and out.
struct Graph {
    graph: NonNull<AVFilterGraph>,
    entry: *mut AVFilterContext,
    exit: *mut AVFilterContext,
    source: Source,
}

// SAFETY: the graph is owned and used by one thread at a time; it has no threads of its own.
unsafe impl Send for Graph {}

impl Graph {
    fn new(source: Source, like: &GpuFrame, (width, height): (u32, u32)) -> Result<Self, MediaError> {
        sys::complaints();
        // SAFETY: allocates; null when memory is short.
        let raw = unsafe { ffi::avfilter_graph_alloc() };
        let graph =
            NonNull::new(raw).ok_or_else(|| sys::failure("make a filter", ffi::AVERROR(ffi::ENOMEM)))?;
        let mut made = Self { graph, entry: ptr::null_mut(), exit: ptr::null_mut(), source };
        // SAFETY: the graph is ours.
        unsafe { made.graph.as_mut() }.nb_threads = 1;
        made.entry = made.open_entry(like)?;
        // Bilinear reads as many pixels as a halved picture needs, and no rung is far below the one that it is scaled from.
        let options = format!("w={width}:h={height}:format=nv12:interp_algo=bilinear:passthrough=0");
        let scale = made.add(c"scale_cuda", &options)?;
        made.exit = made.add(c"buffersink", "")?;
        made.link(made.entry, scale)?;
        made.link(scale, made.exit)?;
        // SAFETY: all filters are in the graph and linked.
        let status = unsafe { ffi::avfilter_graph_config(made.graph.as_ptr(), ptr::null_mut()) };
        made.check("set up scaling", status)?;
        Ok(made)
    }

    fn check(&self, operation: &'static str, status: i32) -> Result<(), MediaError> {
        if status < 0 { Err(sys::device_failure(operation, status)) } else { Ok(()) }
    }

    fn find(name: &CStr) -> Result<*const ffi::AVFilter, MediaError> {
        // SAFETY: takes a NUL-terminated name and returns a static filter or null.
        let filter = unsafe { ffi::avfilter_get_by_name(name.as_ptr()) };
        if filter.is_null() {
            let reason = format!("this ffmpeg has no filter {}", name.to_string_lossy());
            return Err(MediaError::Device { operation: "scale", reason });
        }
        Ok(filter)
    }

    /// Adds a filter with these options.
    fn add(&self, name: &CStr, options: &str) -> Result<*mut AVFilterContext, MediaError> {
        let filter = Self::find(name)?;
        let options = CString::new(options).expect("options have no zero byte");
        let mut context: *mut AVFilterContext = ptr::null_mut();
        // SAFETY: the graph is ours; the strings are NUL-terminated and copied.
        let status = unsafe {
            ffi::avfilter_graph_create_filter(
                &raw mut context,
                filter,
                name.as_ptr(),
                options.as_ptr(),
                ptr::null_mut(),
                self.graph.as_ptr(),
            )
        };
        self.check("set up scaling", status)?;
        Ok(context)
    }

    /// Adds the filter that takes pictures like this one.
    fn open_entry(&self, like: &GpuFrame) -> Result<*mut AVFilterContext, MediaError> {
        let filter = Self::find(c"buffer")?;
        // SAFETY: the graph is ours; null when memory is short.
        let entry = unsafe { ffi::avfilter_graph_alloc_filter(self.graph.as_ptr(), filter, c"in".as_ptr()) };
        // SAFETY: allocates; null when memory is short.
        let settings = unsafe { ffi::av_buffersrc_parameters_alloc() };
        if entry.is_null() || settings.is_null() {
            // SAFETY: ours or null; the graph owns the filter.
            unsafe { ffi::av_free(settings.cast()) };
            return Err(sys::failure("make a filter", ffi::AVERROR(ffi::ENOMEM)));
        }
        let raw = like.raw();
        // SAFETY: allocated above and ours.
        let fields = unsafe { &mut *settings };
        fields.format = raw.format;
        fields.width = raw.width;
        fields.height = raw.height;
        fields.time_base = TICK_BASE;
        fields.hw_frames_ctx = raw.hw_frames_ctx;
        // SAFETY: the filter is not initialised yet; it takes references of its own.
        let set = unsafe { ffi::av_buffersrc_parameters_set(entry, settings) };
        // SAFETY: allocated above and not used after this.
        unsafe { ffi::av_free(settings.cast()) };
        self.check("set up scaling", set)?;
        // SAFETY: the filter is in the graph and not initialised yet.
        let status = unsafe { ffi::avfilter_init_str(entry, ptr::null()) };
        self.check("set up scaling", status)?;
        Ok(entry)
    }

    fn link(&self, from: *mut AVFilterContext, to: *mut AVFilterContext) -> Result<(), MediaError> {
        // SAFETY: both are in the graph and have one output and one input.
        let status = unsafe { ffi::avfilter_link(from, 0, to, 0) };
        self.check("set up scaling", status)
    }

    fn run(&self, frame: &GpuFrame) -> Result<GpuFrame, MediaError> {
        let mut source = frame.reference()?;
        // SAFETY: the pointer is used for the next call only.
        let raw = unsafe { source.as_mut_ptr() };
        // SAFETY: the filter takes the picture over and leaves an empty one, which is ours.
        let status = unsafe { ffi::av_buffersrc_add_frame_flags(self.entry, raw, 0) };
        self.check("scale a picture", status)?;
        let mut scaled = Video::empty();
        // SAFETY: the pointer is used for the next call only.
        let raw = unsafe { scaled.as_mut_ptr() };
        // SAFETY: the graph is set up; the frame is empty and ours.
        let status = unsafe { ffi::av_buffersink_get_frame(self.exit, raw) };
        self.check("scale a picture", status)?;
        GpuFrame::wrap(scaled, frame.pts).ok_or_else(|| MediaError::Device {
            operation: "scale a picture",
            reason: "the result left the device".to_owned(),
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let mut graph = self.graph.as_ptr();
        // SAFETY: the graph is ours and not used after this; it frees its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut graph) };
    }
}
