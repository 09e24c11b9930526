// libnvidia-encode.so.1 of the simulator: sessions, buffers and calls of NVENC, with libx264 and libx265 doing the work. It has no
// delay and no B-frames, so each picture that goes in is ready to be taken out.
#include <ffnvcodec/nvEncodeAPI.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

enum { MAX_DEVICES = 64, PITCH_ALIGNMENT = 64, MAX_SIDE = 8192 };

// A buffer of the interface: an input that is registered or made here, or an output.
struct buffer {
    uint8_t *data;
    uint32_t height, pitch;
    NV_ENC_BUFFER_FORMAT format;
    AVPacket *packet; // of an output that was encoded into
    uint64_t timestamp;
};

struct session {
    int device;
    int open; // whether it was initialised
    NV_ENC_INITIALIZE_PARAMS settings;
    NV_ENC_CONFIG config;
    AVCodecContext *encoder; // opened at the first picture: FFmpeg holds its lock on opening codecs while it opens ours
    AVFrame *frame;
    int64_t pictures;
    char error[96];
};

static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t sessions_open[MAX_DEVICES];

static NVENCSTATUS failed(struct session *session, NVENCSTATUS status, const char *why)
{
    snprintf(session->error, sizeof session->error, "simulator: %s", why);
    return status;
}

static int same(GUID a, GUID b) { return memcmp(&a, &b, sizeof a) == 0; }

static int is_lost(const struct session *session) { return sim_lost(session->device); }

// Takes a session on a device where its cap allows.
static int take_session(int device)
{
    pthread_mutex_lock(&sessions_lock);
    int64_t most = sim_switch("sessions", device, INT64_MAX);
    int taken = sessions_open[device] < most;
    sessions_open[device] += taken;
    pthread_mutex_unlock(&sessions_lock);
    return taken;
}

static void give_back_session(int device)
{
    pthread_mutex_lock(&sessions_lock);
    sessions_open[device]--;
    pthread_mutex_unlock(&sessions_lock);
}

static NVENCSTATUS open_session(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *params, void **encoder)
{
    int device = params->deviceType == NV_ENC_DEVICE_TYPE_CUDA ? sim_context_device(params->device) : -1;
    if (device < 0 || device >= MAX_DEVICES)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (sim_lost(device))
        return NV_ENC_ERR_DEVICE_NOT_EXIST;
    // Older drivers say one, newer ones the other, when a card has as many sessions as it may.
    if (!take_session(device))
        return sim_switch("session_key", device, 0) ? NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY : NV_ENC_ERR_OUT_OF_MEMORY;
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        give_back_session(device);
        return NV_ENC_ERR_OUT_OF_MEMORY;
    }
    session->device = device;
    *encoder = session;
    sim_trace("open", device);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS guid_count(void *encoder, uint32_t *count)
{
    if (is_lost(encoder))
        return NV_ENC_ERR_DEVICE_NOT_EXIST;
    *count = 2;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS guids(void *encoder, GUID *all, uint32_t room, uint32_t *count)
{
    (void)encoder;
    if (room < 2)
        return NV_ENC_ERR_INVALID_PARAM;
    all[0] = NV_ENC_CODEC_H264_GUID;
    all[1] = NV_ENC_CODEC_HEVC_GUID;
    *count = 2;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS caps(void *encoder, GUID codec, NV_ENC_CAPS_PARAM *asked, int *value)
{
    (void)encoder;
    switch ((int)asked->capsToQuery) {
    case NV_ENC_CAPS_WIDTH_MAX:
    case NV_ENC_CAPS_HEIGHT_MAX:
        *value = same(codec, NV_ENC_CODEC_H264_GUID) ? 4096 : MAX_SIDE;
        break;
    case NV_ENC_CAPS_SUPPORT_10BIT_ENCODE:
        *value = same(codec, NV_ENC_CODEC_HEVC_GUID);
        break;
    case NV_ENC_CAPS_SUPPORT_CABAC:
    case NV_ENC_CAPS_SUPPORT_MULTIPLE_REF_FRAMES:
    case NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE:
        *value = 1;
        break;
    default: // no B-frames, no lookahead, nothing else
        *value = 0;
    }
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_config_ex(void *encoder, GUID codec, GUID preset, NV_ENC_TUNING_INFO tuning,
                                    NV_ENC_PRESET_CONFIG *config)
{
    (void)encoder, (void)codec, (void)preset, (void)tuning;
    config->presetCfg.gopLength = NVENC_INFINITE_GOPLENGTH;
    config->presetCfg.frameIntervalP = 1;
    config->presetCfg.rcParams.rateControlMode = NV_ENC_PARAMS_RC_VBR;
    config->presetCfg.rcParams.averageBitRate = 2000000;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_config(void *encoder, GUID codec, GUID preset, NV_ENC_PRESET_CONFIG *config)
{
    return preset_config_ex(encoder, codec, preset, NV_ENC_TUNING_INFO_UNDEFINED, config);
}

static NVENCSTATUS initialize(void *encoder, NV_ENC_INITIALIZE_PARAMS *params)
{
    struct session *session = encoder;
    if (is_lost(session))
        return failed(session, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    if (!params->encodeConfig || params->encodeWidth == 0 || params->encodeHeight == 0)
        return failed(session, NV_ENC_ERR_INVALID_PARAM, "no size or no configuration");
    // The smallest pictures that the cards take.
    if (params->encodeWidth < 145 && same(params->encodeGUID, NV_ENC_CODEC_H264_GUID) && params->encodeHeight < 49)
        return failed(session, NV_ENC_ERR_INVALID_PARAM, "the picture is too small");
    if (params->encodeConfig->frameIntervalP > 1)
        return failed(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "there are no B-frames here");
    session->settings = *params;
    session->config = *params->encodeConfig;
    session->open = 1;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS set_streams(void *encoder, NV_ENC_CUSTREAM_PTR in, NV_ENC_CUSTREAM_PTR out)
{
    (void)encoder, (void)in, (void)out;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS create_input(void *encoder, NV_ENC_CREATE_INPUT_BUFFER *params)
{
    struct session *session = encoder;
    int wide = params->bufferFmt == NV_ENC_BUFFER_FORMAT_YUV420_10BIT ? 2 : 1;
    uint32_t pitch = (params->width * wide + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer)
        *buffer = (struct buffer){
            .data = sim_allocate(session->device, (uint64_t)pitch * params->height * 3 / 2 + pitch),
            .height = params->height,
            .pitch = pitch,
            .format = params->bufferFmt,
        };
    if (!buffer || !buffer->data) {
        free(buffer);
        return failed(session, NV_ENC_ERR_OUT_OF_MEMORY, "no device memory for an input buffer");
    }
    params->inputBuffer = buffer;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_input(void *encoder, NV_ENC_INPUT_PTR input)
{
    (void)encoder;
    struct buffer *buffer = input;
    sim_release(buffer->data);
    free(buffer);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS lock_input(void *encoder, NV_ENC_LOCK_INPUT_BUFFER *params)
{
    (void)encoder;
    struct buffer *buffer = params->inputBuffer;
    params->bufferDataPtr = buffer->data;
    params->pitch = buffer->pitch;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock_input(void *encoder, NV_ENC_INPUT_PTR input)
{
    (void)encoder, (void)input;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS create_output(void *encoder, NV_ENC_CREATE_BITSTREAM_BUFFER *params)
{
    if (is_lost(encoder))
        return failed(encoder, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    params->bitstreamBuffer = calloc(1, sizeof(struct buffer));
    return params->bitstreamBuffer ? NV_ENC_SUCCESS : NV_ENC_ERR_OUT_OF_MEMORY;
}

static NVENCSTATUS destroy_output(void *encoder, NV_ENC_OUTPUT_PTR output)
{
    (void)encoder;
    struct buffer *buffer = output;
    av_packet_free(&buffer->packet);
    free(buffer);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS register_resource(void *encoder, NV_ENC_REGISTER_RESOURCE *params)
{
    struct session *session = encoder;
    if (is_lost(session))
        return failed(session, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    if (params->resourceType != NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR)
        return failed(session, NV_ENC_ERR_UNIMPLEMENTED, "only device pointers can be registered");
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    *buffer = (struct buffer){
        .data = params->resourceToRegister,
        .height = params->height,
        .pitch = params->pitch,
        .format = params->bufferFormat,
    };
    params->registeredResource = buffer;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unregister_resource(void *encoder, NV_ENC_REGISTERED_PTR resource)
{
    (void)encoder;
    free(resource);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS map_input(void *encoder, NV_ENC_MAP_INPUT_RESOURCE *params)
{
    (void)encoder;
    struct buffer *buffer = params->registeredResource;
    params->mappedResource = buffer;
    params->mappedBufferFmt = buffer->format;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unmap_input(void *encoder, NV_ENC_INPUT_PTR input)
{
    (void)encoder, (void)input;
    return NV_ENC_SUCCESS;
}

static const char *profile_of(const struct session *session)
{
    GUID profile = session->config.profileGUID;
    if (same(profile, NV_ENC_H264_PROFILE_BASELINE_GUID))
        return "baseline";
    if (same(profile, NV_ENC_H264_PROFILE_MAIN_GUID))
        return "main";
    return "high";
}

static void set_h264(AVCodecContext *encoder, const struct session *session)
{
    const NV_ENC_CONFIG_H264_VUI_PARAMETERS *vui = &session->config.encodeCodecConfig.h264Config.h264VUIParameters;
    encoder->color_range = vui->videoFullRangeFlag ? AVCOL_RANGE_JPEG : AVCOL_RANGE_UNSPECIFIED;
    if (vui->colourDescriptionPresentFlag) {
        encoder->color_primaries = vui->colourPrimaries;
        encoder->color_trc = vui->transferCharacteristics;
        encoder->colorspace = vui->colourMatrix;
    }
    av_opt_set(encoder->priv_data, "preset", "superfast", 0);
    av_opt_set(encoder->priv_data, "tune", "zerolatency", 0);
    av_opt_set(encoder->priv_data, "profile", profile_of(session), 0);
    av_opt_set(encoder->priv_data, "x264-params", "scenecut=0:open-gop=0", 0);
}

static void set_hevc(AVCodecContext *encoder)
{
    av_opt_set(encoder->priv_data, "preset", "ultrafast", 0);
    av_opt_set(encoder->priv_data, "tune", "zerolatency", 0);
    av_opt_set(encoder->priv_data, "x265-params",
               "log-level=none:bframes=0:rc-lookahead=0:frame-threads=1:pools=none:scenecut=0:open-gop=0", 0);
}

// The sample's shape from the picture's.
static AVRational sample_aspect(const NV_ENC_INITIALIZE_PARAMS *of)
{
    AVRational shape = {1, 1};
    if (of->darWidth && of->darHeight)
        av_reduce(&shape.num, &shape.den, (int64_t)of->darWidth * of->encodeHeight, (int64_t)of->darHeight * of->encodeWidth,
                  1024 * 1024);
    return shape;
}

static int is_deep(NV_ENC_BUFFER_FORMAT format) { return format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT; }

static AVCodecContext *open_encoder(struct session *session, NV_ENC_BUFFER_FORMAT format)
{
    const NV_ENC_INITIALIZE_PARAMS *of = &session->settings;
    int h264 = same(of->encodeGUID, NV_ENC_CODEC_H264_GUID);
    const AVCodec *codec = avcodec_find_encoder_by_name(h264 ? "libx264" : "libx265");
    AVCodecContext *encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!encoder)
        return NULL;
    const NV_ENC_RC_PARAMS *rate = &session->config.rcParams;
    encoder->width = (int)of->encodeWidth;
    encoder->height = (int)of->encodeHeight;
    encoder->pix_fmt = is_deep(format) ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
    encoder->framerate = (AVRational){(int)of->frameRateNum, (int)of->frameRateDen};
    encoder->time_base = av_inv_q(encoder->framerate);
    encoder->sample_aspect_ratio = sample_aspect(of);
    encoder->thread_count = 1;
    encoder->max_b_frames = 0;
    encoder->gop_size = session->config.gopLength > INT32_MAX ? INT32_MAX : (int)session->config.gopLength;
    encoder->bit_rate = rate->averageBitRate;
    encoder->rc_max_rate = rate->maxBitRate ? rate->maxBitRate : rate->averageBitRate;
    encoder->rc_buffer_size = (int)(rate->vbvBufferSize ? rate->vbvBufferSize : rate->averageBitRate);
    if (h264)
        set_h264(encoder, session);
    else
        set_hevc(encoder);
    av_opt_set_int(encoder->priv_data, "forced-idr", 1, 0);
    if (avcodec_open2(encoder, codec, NULL) < 0)
        avcodec_free_context(&encoder);
    return encoder;
}

static int ensure_encoder(struct session *session, NV_ENC_BUFFER_FORMAT format)
{
    if (session->encoder)
        return 1;
    session->encoder = open_encoder(session, format);
    session->frame = session->encoder ? av_frame_alloc() : NULL;
    if (!session->frame)
        return 0;
    session->frame->format = session->encoder->pix_fmt;
    session->frame->width = session->encoder->width;
    session->frame->height = session->encoder->height;
    return av_frame_get_buffer(session->frame, 0) == 0;
}

static void copy_rows(uint8_t *to, int to_pitch, const uint8_t *from, size_t pitch, size_t bytes, size_t rows)
{
    for (size_t y = 0; y < rows; y++)
        memcpy(to + y * to_pitch, from + y * pitch, bytes);
}

// Samples of one component out of a plane that holds `step` of them side by side.
static void copy_samples(AVFrame *to, int plane, const struct buffer *from, size_t offset, int step, int at, int halved)
{
    size_t width = (size_t)(to->width + halved) >> halved, height = (size_t)(to->height + halved) >> halved;
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = from->data + offset + y * from->pitch;
        uint8_t *out = to->data[plane] + y * to->linesize[plane];
        for (size_t x = 0; x < width; x++) {
            if (is_deep(from->format))
                ((uint16_t *)out)[x] = ((const uint16_t *)row)[x * step + at] >> 6;
            else
                out[x] = row[x * step + at];
        }
    }
}

static NVENCSTATUS read_picture(struct session *session, const struct buffer *input)
{
    AVFrame *to = session->frame;
    size_t luma = (size_t)input->pitch * input->height;
    if (av_frame_make_writable(to) < 0)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    copy_samples(to, 0, input, 0, 1, 0, 0);
    if (input->format != NV_ENC_BUFFER_FORMAT_YV12_PL) {
        copy_samples(to, 1, input, luma, 2, 0, 1);
        copy_samples(to, 2, input, luma, 2, 1, 1);
        return NV_ENC_SUCCESS;
    }
    size_t half = input->pitch / 2, width = (size_t)(to->width + 1) / 2, height = (size_t)(to->height + 1) / 2;
    copy_rows(to->data[2], to->linesize[2], input->data + luma, half, width, height);
    copy_rows(to->data[1], to->linesize[1], input->data + luma + half * (input->height / 2), half, width, height);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS encode_frame(struct session *session, const NV_ENC_PIC_PARAMS *params)
{
    struct buffer *output = params->outputBitstream;
    int forced = (params->encodePicFlags & (NV_ENC_PIC_FLAG_FORCEIDR | NV_ENC_PIC_FLAG_FORCEINTRA)) != 0;
    session->frame->pict_type = forced ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    session->frame->pts = session->pictures++;
    av_packet_free(&output->packet);
    output->packet = av_packet_alloc();
    output->timestamp = params->inputTimeStamp;
    if (!output->packet || avcodec_send_frame(session->encoder, session->frame) < 0 ||
        avcodec_receive_packet(session->encoder, output->packet) < 0)
        return failed(session, NV_ENC_ERR_GENERIC, "the software encoder failed");
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS encode(void *encoder, NV_ENC_PIC_PARAMS *params)
{
    struct session *session = encoder;
    if (is_lost(session))
        return failed(session, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    if (!session->open)
        return failed(session, NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not initialised");
    if (params->encodePicFlags & NV_ENC_PIC_FLAG_EOS)
        return NV_ENC_SUCCESS; // nothing is held back
    const struct buffer *input = params->inputBuffer;
    if (input->format != NV_ENC_BUFFER_FORMAT_NV12_PL && input->format != NV_ENC_BUFFER_FORMAT_YV12_PL &&
        input->format != NV_ENC_BUFFER_FORMAT_YUV420_10BIT)
        return failed(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "only 4:2:0 can be encoded here");
    if (sim_frame("encode", session->device))
        return failed(session, NV_ENC_ERR_GENERIC, "told to fail");
    if (!ensure_encoder(session, input->format))
        return failed(session, NV_ENC_ERR_GENERIC, "no software encoder takes these settings");
    NVENCSTATUS status = read_picture(session, input);
    return status == NV_ENC_SUCCESS ? encode_frame(session, params) : status;
}

static NVENCSTATUS lock_output(void *encoder, NV_ENC_LOCK_BITSTREAM *params)
{
    struct buffer *output = params->outputBitstream;
    if (is_lost(encoder))
        return failed(encoder, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    if (!output->packet)
        return failed(encoder, NV_ENC_ERR_INVALID_CALL, "nothing was encoded into this buffer");
    params->bitstreamBufferPtr = output->packet->data;
    params->bitstreamSizeInBytes = (uint32_t)output->packet->size;
    params->outputTimeStamp = output->timestamp;
    params->pictureType = output->packet->flags & AV_PKT_FLAG_KEY ? NV_ENC_PIC_TYPE_IDR : NV_ENC_PIC_TYPE_P;
    params->pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
    params->frameAvgQP = 1;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock_output(void *encoder, NV_ENC_OUTPUT_PTR output)
{
    (void)encoder;
    av_packet_free(&((struct buffer *)output)->packet);
    return NV_ENC_SUCCESS;
}

// FFmpeg asks for another bit rate or shape so; the software encoder is opened anew with it.
static NVENCSTATUS reconfigure(void *encoder, NV_ENC_RECONFIGURE_PARAMS *params)
{
    struct session *session = encoder;
    NV_ENC_CONFIG config = session->config;
    if (params->reInitEncodeParams.encodeConfig)
        config = *params->reInitEncodeParams.encodeConfig;
    session->settings = params->reInitEncodeParams;
    session->config = config;
    avcodec_free_context(&session->encoder);
    av_frame_free(&session->frame);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy(void *encoder)
{
    struct session *session = encoder;
    avcodec_free_context(&session->encoder);
    av_frame_free(&session->frame);
    give_back_session(session->device);
    sim_trace("close", session->device);
    free(session);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS sequence_params(void *encoder, NV_ENC_SEQUENCE_PARAM_PAYLOAD *payload)
{
    (void)payload;
    return failed(encoder, NV_ENC_ERR_UNIMPLEMENTED, "headers come with each IDR picture only");
}

static const char *last_error(void *encoder) { return ((struct session *)encoder)->error; }

NVENCSTATUS NVENCAPI NvEncodeAPIGetMaxSupportedVersion(uint32_t *version)
{
    *version = (uint32_t)sim_switch("nvenc", -1, 0xc2);
    return NV_ENC_SUCCESS;
}

NVENCSTATUS NVENCAPI NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *list)
{
    if (list->version != NV_ENCODE_API_FUNCTION_LIST_VER)
        return NV_ENC_ERR_INVALID_VERSION;
    list->nvEncOpenEncodeSessionEx = open_session;
    list->nvEncGetEncodeGUIDCount = guid_count;
    list->nvEncGetEncodeGUIDs = guids;
    list->nvEncGetEncodeCaps = caps;
    list->nvEncGetEncodePresetConfig = preset_config;
    list->nvEncGetEncodePresetConfigEx = preset_config_ex;
    list->nvEncInitializeEncoder = initialize;
    list->nvEncSetIOCudaStreams = set_streams;
    list->nvEncCreateInputBuffer = create_input;
    list->nvEncDestroyInputBuffer = destroy_input;
    list->nvEncLockInputBuffer = lock_input;
    list->nvEncUnlockInputBuffer = unlock_input;
    list->nvEncCreateBitstreamBuffer = create_output;
    list->nvEncDestroyBitstreamBuffer = destroy_output;
    list->nvEncRegisterResource = register_resource;
    list->nvEncUnregisterResource = unregister_resource;
    list->nvEncMapInputResource = map_input;
    list->nvEncUnmapInputResource = unmap_input;
    list->nvEncEncodePicture = encode;
    list->nvEncLockBitstream = lock_output;
    list->nvEncUnlockBitstream = unlock_output;
    list->nvEncReconfigureEncoder = reconfigure;
    list->nvEncDestroyEncoder = destroy;
    list->nvEncGetSequenceParams = sequence_params;
    list->nvEncGetLastErrorString = last_error;
    return NV_ENC_SUCCESS;
}
