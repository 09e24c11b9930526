// Entries that FFmpeg's loader wants to exist and that nothing calls: they refuse. A simulator: it proves the control path, not
// speed or picture quality.
#ifndef FRAMEMILL_SIM_REFUSED_H
#define FRAMEMILL_SIM_REFUSED_H

#include <ffnvcodec/dynlink_cuda.h>

// CUDA_ERROR_NOT_SUPPORTED, which the header of the interface leaves out.
enum { NOT_SUPPORTED = 801 };

#define REFUSED(name) \
    CUresult name(void) { return (CUresult)NOT_SUPPORTED; }

#endif
