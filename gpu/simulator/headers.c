// H.264 (ITU-T H.264, 7.3.2) and HEVC (ITU-T H.265, 7.3.2) parameter sets from NVDEC's picture parameters. NVDEC gets slices and
// parsed values, a software decoder wants the syntax back.
#include "headers.h"

#include <string.h>

struct bits {
    uint8_t data[SIM_MAX_HEADERS / 2];
    size_t bit;
};

static void put(struct bits *to, unsigned count, uint32_t value)
{
    while (count-- > 0 && to->bit < 8 * sizeof to->data) {
        if (value >> count & 1)
            to->data[to->bit / 8] |= (uint8_t)(0x80u >> (to->bit % 8));
        to->bit++;
    }
}

// Exp-Golomb codes, unsigned and signed.
static void ue(struct bits *to, uint32_t value)
{
    unsigned length = 0;
    while ((value + 1) >> (length + 1))
        length++;
    put(to, length, 0);
    put(to, length + 1, value + 1);
}

static void se(struct bits *to, int32_t value)
{
    ue(to, value > 0 ? 2 * (uint32_t)value - 1 : 2 * (uint32_t)-value);
}

static uint32_t get(const uint8_t *data, size_t size, size_t *bit, unsigned count)
{
    uint32_t value = 0;
    for (; count > 0; count--, (*bit)++)
        value = value << 1 | (*bit / 8 < size ? data[*bit / 8] >> (7 - *bit % 8) & 1u : 1u);
    return value;
}

static uint32_t get_ue(const uint8_t *data, size_t size, size_t *bit)
{
    unsigned zeros = 0;
    while (zeros < 31 && get(data, size, bit, 1) == 0)
        zeros++;
    return (1u << zeros) - 1 + get(data, size, bit, zeros);
}

// Appends a NAL unit: start code, header, payload with its stop bit and emulation prevention.
static size_t put_nal(uint8_t *out, size_t at, const uint8_t *header, size_t header_size, struct bits *payload)
{
    static const uint8_t START[] = {0, 0, 0, 1};
    put(payload, 1, 1);
    size_t bytes = (payload->bit + 7) / 8;
    memcpy(out + at, START, sizeof START);
    memcpy(out + at + sizeof START, header, header_size);
    at += sizeof START + header_size;
    int zeros = 0;
    for (size_t i = 0; i < bytes && at + 2 < SIM_MAX_HEADERS; i++) {
        if (zeros == 2 && payload->data[i] <= 3) {
            out[at++] = 3;
            zeros = 0;
        }
        out[at++] = payload->data[i];
        zeros = payload->data[i] == 0 ? zeros + 1 : 0;
    }
    return at;
}

// Scans of ITU-T H.264 figures 8-8 and 8-9.
static const uint8_t ZIGZAG4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};
static const uint8_t ZIGZAG8[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

static void put_list(struct bits *to, const uint8_t *weights, const uint8_t *scan, int count)
{
    int last = 8;
    put(to, 1, 1);
    for (int i = 0; i < count; i++) {
        int8_t delta = (int8_t)(weights[scan[i]] - last);
        se(to, delta);
        last = weights[scan[i]];
    }
}

static void h264_sequence(struct bits *to, const CUVIDPICPARAMS *picture)
{
    const CUVIDH264PICPARAMS *of = &picture->CodecSpecific.h264;
    put(to, 8, of->bit_depth_luma_minus8 || of->bit_depth_chroma_minus8 ? 110 : 100); // High 10 or High
    put(to, 8, 0);
    put(to, 8, 62); // level 6.2
    ue(to, 0);      // id
    ue(to, 1);      // 4:2:0
    ue(to, of->bit_depth_luma_minus8);
    ue(to, of->bit_depth_chroma_minus8);
    put(to, 1, of->qpprime_y_zero_transform_bypass_flag);
    put(to, 1, 0); // the scaling lists come with the picture's parameters
    ue(to, of->log2_max_frame_num_minus4);
    ue(to, of->pic_order_cnt_type);
    if (of->pic_order_cnt_type == 0)
        ue(to, of->log2_max_pic_order_cnt_lsb_minus4);
    ue(to, of->num_ref_frames);
    put(to, 1, 1); // gaps are told of by FFmpeg's parser, which stands before us
    ue(to, picture->PicWidthInMbs - 1);
    ue(to, picture->FrameHeightInMbs / (of->frame_mbs_only_flag ? 1 : 2) - 1);
    put(to, 1, of->frame_mbs_only_flag);
    if (!of->frame_mbs_only_flag)
        put(to, 1, of->MbaffFrameFlag);
    put(to, 1, of->direct_8x8_inference_flag);
    put(to, 1, 0); // no cropping: a surface is the coded picture
    put(to, 1, 1); // VUI: nothing but how many pictures may wait to be shown
    put(to, 8, 0);
    put(to, 1, 1);
    put(to, 1, 1);
    for (int i = 0; i < 4; i++)
        ue(to, 0);
    ue(to, of->num_ref_frames);
    ue(to, of->num_ref_frames);
}

static void h264_picture(struct bits *to, const CUVIDH264PICPARAMS *of, uint32_t id)
{
    ue(to, id);
    ue(to, 0);
    put(to, 1, of->entropy_coding_mode_flag);
    put(to, 1, of->pic_order_present_flag);
    ue(to, 0); // one slice group
    ue(to, of->num_ref_idx_l0_active_minus1);
    ue(to, of->num_ref_idx_l1_active_minus1);
    put(to, 1, of->weighted_pred_flag);
    put(to, 2, of->weighted_bipred_idc);
    se(to, of->pic_init_qp_minus26);
    se(to, 0);
    se(to, of->chroma_qp_index_offset);
    put(to, 1, of->deblocking_filter_control_present_flag);
    put(to, 1, of->constrained_intra_pred_flag);
    put(to, 1, of->redundant_pic_cnt_present_flag);
    put(to, 1, of->transform_8x8_mode_flag);
    put(to, 1, 1);
    for (int i = 0; i < 6; i++)
        put_list(to, of->WeightScale4x4[i], ZIGZAG4, 16);
    for (int i = 0; i < 2 && of->transform_8x8_mode_flag; i++)
        put_list(to, of->WeightScale8x8[i], ZIGZAG8, 64);
    se(to, of->second_chroma_qp_index_offset);
}

// Bytes of a start code at the beginning of a slice.
static size_t start_code(const uint8_t *data, size_t size)
{
    size_t zeros = 0;
    while (zeros < size && data[zeros] == 0)
        zeros++;
    return zeros >= 2 && zeros < size && data[zeros] == 1 ? zeros + 1 : 0;
}

size_t sim_h264_headers(const CUVIDPICPARAMS *picture, uint8_t out[SIM_MAX_HEADERS])
{
    const CUVIDH264PICPARAMS *of = &picture->CodecSpecific.h264;
    // The offsets of type 1 are not among the parameters.
    if (of->pic_order_cnt_type == 1)
        return 0;
    const uint8_t *slice = picture->pBitstreamData;
    size_t bit = 8 * (start_code(slice, picture->nBitstreamDataLen) + 1);
    get_ue(slice, picture->nBitstreamDataLen, &bit); // first macroblock
    get_ue(slice, picture->nBitstreamDataLen, &bit); // type
    uint32_t id = get_ue(slice, picture->nBitstreamDataLen, &bit);
    struct bits sequence = {0}, parameters = {0};
    h264_sequence(&sequence, picture);
    h264_picture(&parameters, of, id);
    size_t size = put_nal(out, 0, (const uint8_t[]){0x67}, 1, &sequence);
    return put_nal(out, size, (const uint8_t[]){0x68}, 1, &parameters);
}

static void hevc_profile(struct bits *to, const CUVIDHEVCPICPARAMS *of)
{
    unsigned profile = of->bit_depth_luma_minus8 ? 2 : 1;
    put(to, 2 + 1, 0);
    put(to, 5, profile);
    put(to, 32, 1u << (31 - profile) | 1u << (31 - 2));
    put(to, 32, 0);
    put(to, 16, 0);
    put(to, 8, 186); // level 6.2
}

static void hevc_video(struct bits *to, const CUVIDHEVCPICPARAMS *of)
{
    put(to, 4, 0);
    put(to, 2, 3);
    put(to, 6, 0);
    put(to, 3, 0);
    put(to, 1, 1);
    put(to, 16, 0xffff);
    hevc_profile(to, of);
    put(to, 1, 1);
    ue(to, 15);
    ue(to, 0);
    ue(to, 0);
    put(to, 6, 0);
    ue(to, 0);
    put(to, 1, 0);
    put(to, 1, 0);
}

// The scaling lists are sent whole, coded by differences; NVDEC gets them in the order of coding.
static void hevc_lists(struct bits *to, const CUVIDHEVCPICPARAMS *of)
{
    for (int size = 0; size < 4; size++) {
        for (int matrix = 0; matrix < (size == 3 ? 2 : 6); matrix++) {
            const uint8_t *list = size == 0   ? of->ScalingList4x4[matrix]
                                  : size == 1 ? of->ScalingList8x8[matrix]
                                  : size == 2 ? of->ScalingList16x16[matrix]
                                              : of->ScalingList32x32[matrix];
            int last = 8;
            put(to, 1, 1);
            if (size > 1) {
                last = size == 2 ? of->ScalingListDCCoeff16x16[matrix] : of->ScalingListDCCoeff32x32[matrix];
                se(to, last - 8);
            }
            for (int i = 0; i < (size == 0 ? 16 : 64); i++) {
                se(to, (int8_t)(list[i] - last));
                last = list[i];
            }
        }
    }
}

static void hevc_sequence(struct bits *to, const CUVIDHEVCPICPARAMS *of)
{
    put(to, 4, 0);
    put(to, 3, 0);
    put(to, 1, 1);
    hevc_profile(to, of);
    ue(to, 0);
    ue(to, 1); // 4:2:0
    ue(to, (uint32_t)of->pic_width_in_luma_samples);
    ue(to, (uint32_t)of->pic_height_in_luma_samples);
    put(to, 1, 0);
    ue(to, of->bit_depth_luma_minus8);
    ue(to, of->bit_depth_chroma_minus8);
    ue(to, of->log2_max_pic_order_cnt_lsb_minus4);
    put(to, 1, 1);
    ue(to, 15);
    ue(to, 0);
    ue(to, 0);
    ue(to, of->log2_min_luma_coding_block_size_minus3);
    ue(to, of->log2_diff_max_min_luma_coding_block_size);
    ue(to, of->log2_min_transform_block_size_minus2);
    ue(to, of->log2_diff_max_min_transform_block_size);
    ue(to, of->max_transform_hierarchy_depth_inter);
    ue(to, of->max_transform_hierarchy_depth_intra);
    put(to, 1, of->scaling_list_enable_flag);
    if (of->scaling_list_enable_flag) {
        put(to, 1, 1);
        hevc_lists(to, of);
    }
    put(to, 1, of->amp_enabled_flag);
    put(to, 1, of->sample_adaptive_offset_enabled_flag);
    put(to, 1, of->pcm_enabled_flag);
    if (of->pcm_enabled_flag) {
        put(to, 4, of->pcm_sample_bit_depth_luma_minus1);
        put(to, 4, of->pcm_sample_bit_depth_chroma_minus1);
        ue(to, of->log2_min_pcm_luma_coding_block_size_minus3);
        ue(to, of->log2_diff_max_min_pcm_luma_coding_block_size);
        put(to, 1, of->pcm_loop_filter_disabled_flag);
    }
    ue(to, 0); // no sets of references: streams that have some are refused
    put(to, 1, of->long_term_ref_pics_present_flag);
    if (of->long_term_ref_pics_present_flag)
        ue(to, 0);
    put(to, 1, of->sps_temporal_mvp_enabled_flag);
    put(to, 1, of->strong_intra_smoothing_enabled_flag);
    put(to, 1, 0);
    put(to, 1, 0);
}

static void hevc_tiles(struct bits *to, const CUVIDHEVCPICPARAMS *of)
{
    ue(to, of->num_tile_columns_minus1);
    ue(to, of->num_tile_rows_minus1);
    put(to, 1, of->uniform_spacing_flag);
    for (int i = 0; !of->uniform_spacing_flag && i < of->num_tile_columns_minus1; i++)
        ue(to, of->column_width_minus1[i]);
    for (int i = 0; !of->uniform_spacing_flag && i < of->num_tile_rows_minus1; i++)
        ue(to, of->row_height_minus1[i]);
    put(to, 1, of->loop_filter_across_tiles_enabled_flag);
}

static void hevc_picture(struct bits *to, const CUVIDHEVCPICPARAMS *of, uint32_t id)
{
    ue(to, id);
    ue(to, 0);
    put(to, 1, of->dependent_slice_segments_enabled_flag);
    put(to, 1, of->output_flag_present_flag);
    put(to, 3, of->num_extra_slice_header_bits);
    put(to, 1, of->sign_data_hiding_enabled_flag);
    put(to, 1, of->cabac_init_present_flag);
    ue(to, of->num_ref_idx_l0_default_active_minus1);
    ue(to, of->num_ref_idx_l1_default_active_minus1);
    se(to, of->init_qp_minus26);
    put(to, 1, of->constrained_intra_pred_flag);
    put(to, 1, of->transform_skip_enabled_flag);
    put(to, 1, of->cu_qp_delta_enabled_flag);
    if (of->cu_qp_delta_enabled_flag)
        ue(to, of->diff_cu_qp_delta_depth);
    se(to, of->pps_cb_qp_offset);
    se(to, of->pps_cr_qp_offset);
    put(to, 1, of->pps_slice_chroma_qp_offsets_present_flag);
    put(to, 1, of->weighted_pred_flag);
    put(to, 1, of->weighted_bipred_flag);
    put(to, 1, of->transquant_bypass_enabled_flag);
    put(to, 1, of->tiles_enabled_flag);
    put(to, 1, of->entropy_coding_sync_enabled_flag);
    if (of->tiles_enabled_flag)
        hevc_tiles(to, of);
    put(to, 1, of->loop_filter_across_slices_enabled_flag);
    put(to, 1, 1);
    put(to, 1, of->deblocking_filter_override_enabled_flag);
    put(to, 1, of->pps_deblocking_filter_disabled_flag);
    if (!of->pps_deblocking_filter_disabled_flag) {
        se(to, of->pps_beta_offset_div2);
        se(to, of->pps_tc_offset_div2);
    }
    put(to, 1, 0);
    put(to, 1, of->lists_modification_present_flag);
    ue(to, of->log2_parallel_merge_level_minus2);
    put(to, 1, of->slice_segment_header_extension_present_flag);
    put(to, 1, 0);
}

size_t sim_hevc_headers(const CUVIDPICPARAMS *picture, uint8_t out[SIM_MAX_HEADERS])
{
    const CUVIDHEVCPICPARAMS *of = &picture->CodecSpecific.hevc;
    // Sets of references in the sequence's parameters are not handed to NVDEC, which reads the lists instead.
    if (of->num_short_term_ref_pic_sets || of->num_long_term_ref_pics_sps)
        return 0;
    const uint8_t *slice = picture->pBitstreamData;
    size_t size = picture->nBitstreamDataLen, start = start_code(slice, size), bit = 8 * (start + 2) + 1;
    int type = start < size ? slice[start] >> 1 & 0x3f : 0;
    if (type >= 16 && type <= 23)
        bit++; // whether earlier pictures are output
    uint32_t id = get_ue(slice, size, &bit);
    struct bits video = {0}, sequence = {0}, parameters = {0};
    hevc_video(&video, of);
    hevc_sequence(&sequence, of);
    hevc_picture(&parameters, of, id);
    size_t written = put_nal(out, 0, (const uint8_t[]){0x40, 1}, 2, &video);
    written = put_nal(out, written, (const uint8_t[]){0x42, 1}, 2, &sequence);
    return put_nal(out, written, (const uint8_t[]){0x44, 1}, 2, &parameters);
}
