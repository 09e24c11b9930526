// FFmpeg's scale_cuda kernels, told by their names, as plain loops.
#ifndef FRAMEMILL_SIM_SCALE_H
#define FRAMEMILL_SIM_SCALE_H

#include <stddef.h>
#include <stdint.h>

// A plane that a kernel reads: what cuTexObjectCreate was told.
struct sim_texture {
    const uint8_t *data;
    size_t width, height, pitch;
    int bytes;    // of one sample: 1 or 2
    int channels; // samples of one pixel
};

// Which kernel a name stands for.
struct sim_kernel {
    int taps;     // 1 nearest, 2 bilinear, 4 bicubic
    int in_depth, out_depth;
    int in_planar, out_planar; // chroma in two planes, not interleaved in one
    int chroma;
};

// Reads a name such as Subsample_Bicubic_nv12_yuv420p_uv. Zero when no kernel here has it.
int sim_kernel_of(const char *name, struct sim_kernel *kernel);

// Does what the kernel does with the arguments that FFmpeg passes to it.
void sim_scale(const struct sim_kernel *kernel, void **arguments);

#endif
