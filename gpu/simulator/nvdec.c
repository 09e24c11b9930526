// libnvcuvid.so.1 of the simulator: NVDEC's decoder interface, with libavcodec's own H.264 and HEVC decoders doing the work.
//
// NVDEC decodes in the order of coding and leaves the order of showing to its caller. A software decoder does neither, but it
// asks for the memory of each picture before it decodes it: that request tells which picture a call has decoded.
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>
#include <libavcodec/avcodec.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"
#include "headers.h"
#include "refused.h"

enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_CONTEXT = 201,
    MAP_FAILED = 205,
    MAX_SURFACES = 64,
    PITCH_ALIGNMENT = 256,
    MAX_SIDE = 8192,
};

struct decoder {
    int device;
    CUVIDDECODECREATEINFO info;
    AVCodecContext *software;
    AVPacket *packet;
    AVFrame *current;                 // the picture that the last call decoded
    uint8_t *surfaces[MAX_SURFACES];  // decoded pictures, in device memory
    unsigned long mapped;
    size_t pitch;
};

static int samples(const struct decoder *of) { return of->info.OutputFormat == cudaVideoSurfaceFormat_P016 ? 2 : 1; }

static size_t surface_bytes(const struct decoder *of)
{
    return of->pitch * of->info.ulTargetHeight * 3 / 2 + of->pitch;
}

static const char *decoder_name(cudaVideoCodec codec)
{
    return codec == cudaVideoCodec_H264 ? "h264" : codec == cudaVideoCodec_HEVC ? "hevc" : NULL;
}

static int is_supported(cudaVideoCodec codec, cudaVideoChromaFormat chroma, unsigned depth_minus_8)
{
    if (!decoder_name(codec) || chroma != cudaVideoChromaFormat_420)
        return 0;
    return depth_minus_8 == 0 || (depth_minus_8 == 2 && codec == cudaVideoCodec_HEVC);
}

CUresult CUDAAPI cuvidGetDecoderCaps(CUVIDDECODECAPS *caps)
{
    if (sim_lost(sim_current_device()))
        return CUDA_ERROR_UNKNOWN;
    caps->bIsSupported = (unsigned char)is_supported(caps->eCodecType, caps->eChromaFormat, caps->nBitDepthMinus8);
    caps->nMinWidth = caps->nMinHeight = 48;
    caps->nMaxWidth = caps->nMaxHeight = MAX_SIDE;
    caps->nMaxMBCount = MAX_SIDE * MAX_SIDE / 256;
    caps->nOutputFormatMask = 1 << cudaVideoSurfaceFormat_NV12 | 1 << cudaVideoSurfaceFormat_P016;
    return CUDA_SUCCESS;
}

static int keep_memory(AVCodecContext *software, AVFrame *frame, int flags)
{
    struct decoder *decoder = software->opaque;
    int status = avcodec_default_get_buffer2(software, frame, flags);
    // H.264 invents pictures that are missing before the one it decodes, HEVC after it.
    int first = !decoder->current->buf[0];
    if (status >= 0 && (first || decoder->info.CodecType == cudaVideoCodec_H264)) {
        av_frame_unref(decoder->current);
        status = av_frame_ref(decoder->current, frame);
    }
    return status;
}

static int open_software(struct decoder *decoder)
{
    const AVCodec *codec = avcodec_find_decoder_by_name(decoder_name(decoder->info.CodecType));
    decoder->software = codec ? avcodec_alloc_context3(codec) : NULL;
    decoder->packet = av_packet_alloc();
    decoder->current = av_frame_alloc();
    if (!decoder->software || !decoder->packet || !decoder->current)
        return 0;
    decoder->software->opaque = decoder;
    decoder->software->get_buffer2 = keep_memory;
    decoder->software->thread_count = 1;
    decoder->software->thread_type = FF_THREAD_SLICE;
    decoder->software->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
    return avcodec_open2(decoder->software, codec, NULL) == 0;
}

CUresult CUDAAPI cuvidDestroyDecoder(CUvideodecoder handle)
{
    struct decoder *decoder = handle;
    for (int i = 0; i < MAX_SURFACES; i++)
        sim_release(decoder->surfaces[i]);
    avcodec_free_context(&decoder->software);
    av_packet_free(&decoder->packet);
    av_frame_free(&decoder->current);
    free(decoder);
    return CUDA_SUCCESS;
}

static int allocate_surfaces(struct decoder *decoder)
{
    for (unsigned i = 0; i < decoder->info.ulNumDecodeSurfaces; i++)
        if (!(decoder->surfaces[i] = sim_allocate(decoder->device, surface_bytes(decoder))))
            return 0;
    return 1;
}

CUresult CUDAAPI cuvidCreateDecoder(CUvideodecoder *handle, CUVIDDECODECREATEINFO *info)
{
    int device = sim_current_device();
    if (device < 0)
        return (CUresult)NO_CONTEXT;
    if (sim_lost(device))
        return CUDA_ERROR_UNKNOWN;
    if (!is_supported(info->CodecType, info->ChromaFormat, (unsigned)info->bitDepthMinus8))
        return (CUresult)NOT_SUPPORTED;
    if (info->ulNumDecodeSurfaces > MAX_SURFACES)
        return (CUresult)INVALID_VALUE;
    struct decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return (CUresult)OUT_OF_MEMORY;
    decoder->device = device;
    decoder->info = *info;
    decoder->pitch = (info->ulTargetWidth * samples(decoder) + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;
    if (!open_software(decoder) || !allocate_surfaces(decoder)) {
        cuvidDestroyDecoder(decoder);
        return (CUresult)OUT_OF_MEMORY;
    }
    *handle = decoder;
    return CUDA_SUCCESS;
}

// Copies a plane of the software decoder into one component of a surface; 10 bit go to the high bits of 16.
static void store_plane(uint8_t *to, size_t pitch, const AVFrame *from, int plane, size_t width, size_t height, int step, int at)
{
    int deep = from->format == AV_PIX_FMT_YUV420P10;
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = from->data[plane] + y * from->linesize[plane];
        for (size_t x = 0; x < width; x++) {
            if (deep)
                ((uint16_t *)(to + y * pitch))[x * step + at] = (uint16_t)(((const uint16_t *)row)[x] << 6);
            else
                to[y * pitch + x * step + at] = row[x];
        }
    }
}

static void store_picture(const struct decoder *decoder, const AVFrame *from, uint8_t *surface)
{
    size_t width = decoder->info.ulTargetWidth, height = decoder->info.ulTargetHeight;
    width = (size_t)from->width < width ? (size_t)from->width : width;
    height = (size_t)from->height < height ? (size_t)from->height : height;
    uint8_t *chroma = surface + decoder->pitch * decoder->info.ulTargetHeight;
    store_plane(surface, decoder->pitch, from, 0, width, height, 1, 0);
    store_plane(chroma, decoder->pitch, from, 1, width / 2, height / 2, 2, 0);
    store_plane(chroma, decoder->pitch, from, 2, width / 2, height / 2, 2, 1);
}

static CUresult fill_packet(struct decoder *decoder, const CUVIDPICPARAMS *picture)
{
    uint8_t headers[SIM_MAX_HEADERS];
    size_t size = decoder->info.CodecType == cudaVideoCodec_H264 ? sim_h264_headers(picture, headers)
                                                                 : sim_hevc_headers(picture, headers);
    if (size == 0)
        return (CUresult)NOT_SUPPORTED;
    av_packet_unref(decoder->packet);
    if (av_new_packet(decoder->packet, (int)(size + picture->nBitstreamDataLen)) < 0)
        return (CUresult)OUT_OF_MEMORY;
    memcpy(decoder->packet->data, headers, size);
    memcpy(decoder->packet->data + size, picture->pBitstreamData, picture->nBitstreamDataLen);
    return CUDA_SUCCESS;
}

// Damage is no error of this call, on the hardware neither: what can be shown is shown.
static void decode(struct decoder *decoder, int second_field)
{
    AVFrame *shown = av_frame_alloc();
    if (!second_field)
        av_frame_unref(decoder->current);
    avcodec_send_packet(decoder->software, decoder->packet);
    while (shown && avcodec_receive_frame(decoder->software, shown) == 0)
        av_frame_unref(shown);
    av_frame_free(&shown);
}

CUresult CUDAAPI cuvidDecodePicture(CUvideodecoder handle, CUVIDPICPARAMS *picture)
{
    struct decoder *decoder = handle;
    if (sim_lost(decoder->device) || sim_frame("decode", decoder->device))
        return CUDA_ERROR_UNKNOWN;
    if (picture->CurrPicIdx < 0 || (unsigned)picture->CurrPicIdx >= decoder->info.ulNumDecodeSurfaces)
        return (CUresult)INVALID_VALUE;
    // A picture of the parser's is decoded already.
    if (picture->nNumSlices == 0) {
        store_picture(decoder, (const AVFrame *)picture->pBitstreamData, decoder->surfaces[picture->CurrPicIdx]);
        return CUDA_SUCCESS;
    }
    CUresult status = fill_packet(decoder, picture);
    if (status != CUDA_SUCCESS)
        return status;
    decode(decoder, picture->second_field);
    if (decoder->current->buf[0])
        store_picture(decoder, decoder->current, decoder->surfaces[picture->CurrPicIdx]);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidGetDecodeStatus(CUvideodecoder handle, int picture, CUVIDGETDECODESTATUS *status)
{
    (void)handle, (void)picture;
    status->decodeStatus = cuvidDecodeStatus_Success;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidReconfigureDecoder(CUvideodecoder handle, CUVIDRECONFIGUREDECODERINFO *info)
{
    (void)handle, (void)info;
    return (CUresult)NOT_SUPPORTED;
}

// A mapped picture is a copy, as the output surfaces of the hardware are; there are as many as were asked for.
CUresult CUDAAPI cuvidMapVideoFrame64(CUvideodecoder handle, int picture, unsigned long long *at, unsigned *pitch,
                                      CUVIDPROCPARAMS *params)
{
    struct decoder *decoder = handle;
    (void)params;
    if (sim_lost(decoder->device))
        return CUDA_ERROR_UNKNOWN;
    if (picture < 0 || (unsigned)picture >= decoder->info.ulNumDecodeSurfaces)
        return (CUresult)INVALID_VALUE;
    if (decoder->mapped >= decoder->info.ulNumOutputSurfaces)
        return (CUresult)MAP_FAILED;
    void *copy = sim_allocate(decoder->device, surface_bytes(decoder));
    if (!copy)
        return (CUresult)OUT_OF_MEMORY;
    memcpy(copy, decoder->surfaces[picture], surface_bytes(decoder));
    __atomic_add_fetch(&decoder->mapped, 1, __ATOMIC_RELAXED);
    *at = (unsigned long long)copy;
    *pitch = (unsigned)decoder->pitch;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidUnmapVideoFrame64(CUvideodecoder handle, unsigned long long at)
{
    struct decoder *decoder = handle;
    sim_release((void *)at);
    __atomic_sub_fetch(&decoder->mapped, 1, __ATOMIC_RELAXED);
    return CUDA_SUCCESS;
}

// FFmpeg takes a lock of the driver where several threads share a context.
CUresult CUDAAPI cuvidCtxLockCreate(CUvideoctxlock *lock, CUcontext context)
{
    (void)context;
    pthread_mutex_t *made = malloc(sizeof *made);
    if (!made || pthread_mutex_init(made, NULL) != 0)
        return (CUresult)OUT_OF_MEMORY;
    *lock = (CUvideoctxlock)made;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidCtxLockDestroy(CUvideoctxlock lock)
{
    free(lock);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidCtxLock(CUvideoctxlock lock, unsigned flags)
{
    (void)flags;
    pthread_mutex_lock((pthread_mutex_t *)lock);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidCtxUnlock(CUvideoctxlock lock, unsigned flags)
{
    (void)flags;
    pthread_mutex_unlock((pthread_mutex_t *)lock);
    return CUDA_SUCCESS;
}

// The driver's reader of files is not here; its parser is in parser.c.
REFUSED(cuvidMapVideoFrame)
REFUSED(cuvidUnmapVideoFrame)
REFUSED(cuvidCreateVideoSource)
REFUSED(cuvidCreateVideoSourceW)
REFUSED(cuvidDestroyVideoSource)
REFUSED(cuvidSetVideoSourceState)
REFUSED(cuvidGetVideoSourceState)
REFUSED(cuvidGetSourceVideoFormat)
REFUSED(cuvidGetSourceAudioFormat)
