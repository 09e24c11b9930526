// The driver's bit stream parser, which FFmpeg's h264_cuvid and hevc_cuvid use in place of FFmpeg's own. It decodes with libavcodec
// at once and hands each picture to cuvidDecodePicture as one without slices whose bit stream is the decoded frame, in the order of
// showing: callers see the same calls, later.
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_SUPPORTED = 801 };

struct parser {
    CUVIDPARSERPARAMS params;
    AVCodecContext *software; // opened with the first data: FFmpeg opens codecs under a lock that it holds now
    AVPacket *packet;
    AVFrame *frame;
    int width, height; // of the sequence that was announced
    unsigned next;     // surface
};

static const char *codec_name(cudaVideoCodec codec)
{
    return codec == cudaVideoCodec_H264 ? "h264" : codec == cudaVideoCodec_HEVC ? "hevc" : NULL;
}

CUresult CUDAAPI cuvidCreateVideoParser(CUvideoparser *handle, CUVIDPARSERPARAMS *params)
{
    if (!codec_name(params->CodecType))
        return (CUresult)NOT_SUPPORTED;
    struct parser *parser = calloc(1, sizeof *parser);
    if (!parser)
        return (CUresult)OUT_OF_MEMORY;
    parser->params = *params;
    *handle = parser;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuvidDestroyVideoParser(CUvideoparser handle)
{
    struct parser *parser = handle;
    avcodec_free_context(&parser->software);
    av_packet_free(&parser->packet);
    av_frame_free(&parser->frame);
    free(parser);
    return CUDA_SUCCESS;
}

static int open_software(struct parser *parser)
{
    if (parser->software)
        return 1;
    const AVCodec *codec = avcodec_find_decoder_by_name(codec_name(parser->params.CodecType));
    parser->software = codec ? avcodec_alloc_context3(codec) : NULL;
    parser->packet = av_packet_alloc();
    parser->frame = av_frame_alloc();
    if (!parser->software || !parser->packet || !parser->frame)
        return 0;
    parser->software->thread_count = 1;
    return avcodec_open2(parser->software, codec, NULL) == 0;
}

static int announce(struct parser *parser, const AVFrame *frame)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    CUVIDEOFORMAT sequence = {
        .codec = parser->params.CodecType,
        .progressive_sequence = !frame->interlaced_frame,
        .bit_depth_luma_minus8 = (unsigned char)(format->comp[0].depth - 8),
        .bit_depth_chroma_minus8 = (unsigned char)(format->comp[0].depth - 8),
        .coded_width = (unsigned)frame->width,
        .coded_height = (unsigned)frame->height,
        .display_area = {0, 0, frame->width, frame->height},
        .chroma_format = cudaVideoChromaFormat_420,
        .display_aspect_ratio = {frame->width, frame->height},
    };
    sequence.video_signal_description.color_primaries = (unsigned char)frame->color_primaries;
    sequence.video_signal_description.transfer_characteristics = (unsigned char)frame->color_trc;
    sequence.video_signal_description.matrix_coefficients = (unsigned char)frame->colorspace;
    parser->width = frame->width;
    parser->height = frame->height;
    return parser->params.pfnSequenceCallback(parser->params.pUserData, &sequence);
}

static int show(struct parser *parser, AVFrame *frame)
{
    if ((frame->width != parser->width || frame->height != parser->height) && !announce(parser, frame))
        return 0;
    int surface = (int)(parser->next++ % parser->params.ulMaxNumDecodeSurfaces);
    CUVIDPICPARAMS picture = {
        .CurrPicIdx = surface,
        .pBitstreamData = (const unsigned char *)frame,
        .intra_pic_flag = frame->pict_type == AV_PICTURE_TYPE_I,
    };
    CUVIDPARSERDISPINFO shown = {
        .picture_index = surface,
        .progressive_frame = !frame->interlaced_frame,
        .top_field_first = frame->top_field_first,
        .timestamp = frame->pts,
    };
    return parser->params.pfnDecodePicture(parser->params.pUserData, &picture) &&
           parser->params.pfnDisplayPicture(parser->params.pUserData, &shown);
}

CUresult CUDAAPI cuvidParseVideoData(CUvideoparser handle, CUVIDSOURCEDATAPACKET *data)
{
    struct parser *parser = handle;
    // Headers from outside come again in the stream.
    if (!(data->flags & (CUVID_PKT_TIMESTAMP | CUVID_PKT_ENDOFSTREAM)))
        return CUDA_SUCCESS;
    if (!open_software(parser))
        return (CUresult)OUT_OF_MEMORY;
    if (data->payload_size > 0) {
        if (av_new_packet(parser->packet, (int)data->payload_size) < 0)
            return (CUresult)OUT_OF_MEMORY;
        memcpy(parser->packet->data, data->payload, data->payload_size);
        parser->packet->pts = data->timestamp;
    }
    avcodec_send_packet(parser->software, data->payload_size > 0 ? parser->packet : NULL);
    av_packet_unref(parser->packet);
    int well = 1;
    while (well && avcodec_receive_frame(parser->software, parser->frame) == 0) {
        well = show(parser, parser->frame);
        av_frame_unref(parser->frame);
    }
    return well ? CUDA_SUCCESS : (CUresult)INVALID_VALUE;
}
