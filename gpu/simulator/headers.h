// Parameter sets that a software decoder needs, made from what FFmpeg hands to NVDEC in their place.
#ifndef FRAMEMILL_SIM_HEADERS_H
#define FRAMEMILL_SIM_HEADERS_H

#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_MAX_HEADERS = 4096 };

// Writes the parameter sets of a picture in Annex B form. Zero when they cannot be made from the parameters.
size_t sim_h264_headers(const CUVIDPICPARAMS *picture, uint8_t out[SIM_MAX_HEADERS]);
size_t sim_hevc_headers(const CUVIDPICPARAMS *picture, uint8_t out[SIM_MAX_HEADERS]);

#endif
