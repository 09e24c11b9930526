// The arithmetic of FFmpeg's scale_cuda (nearest, bilinear, bicubic) for 4:2:0 pictures of 8 and 10 bit. Other kernels of that
// module are not here: asking for one fails as it would on a driver whose module lacks it.
#include "scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int depth_of(const char *format)
{
    if (strcmp(format, "nv12") == 0 || strcmp(format, "yuv420p") == 0)
        return 8;
    return strcmp(format, "p010le") == 0 ? 10 : 0;
}

static int taps_of(const char *algorithm)
{
    if (strcmp(algorithm, "Nearest") == 0)
        return 1;
    if (strcmp(algorithm, "Bilinear") == 0)
        return 2;
    return strcmp(algorithm, "Bicubic") == 0 ? 4 : 0;
}

int sim_kernel_of(const char *name, struct sim_kernel *kernel)
{
    char copy[64], *rest = NULL;
    if (strlen(name) >= sizeof copy)
        return 0;
    strcpy(copy, name);
    const char *prefix = strtok_r(copy, "_", &rest), *algorithm = strtok_r(NULL, "_", &rest);
    const char *in = strtok_r(NULL, "_", &rest), *out = strtok_r(NULL, "_", &rest);
    const char *suffix = strtok_r(NULL, "_", &rest);
    if (!prefix || strcmp(prefix, "Subsample") != 0 || !out)
        return 0;
    *kernel = (struct sim_kernel){
        .taps = taps_of(algorithm),
        .in_depth = depth_of(in),
        .out_depth = depth_of(out),
        .in_planar = strcmp(in, "yuv420p") == 0,
        .out_planar = strcmp(out, "yuv420p") == 0,
        .chroma = suffix != NULL,
    };
    return kernel->taps && kernel->in_depth && kernel->out_depth;
}

static long clamp(long at, size_t size)
{
    return at < 0 ? 0 : at >= (long)size ? (long)size - 1 : at;
}

static float texel(const struct sim_texture *from, long x, long y, int channel)
{
    const uint8_t *row = from->data + clamp(y, from->height) * from->pitch;
    size_t at = (size_t)clamp(x, from->width) * from->channels + channel;
    return from->bytes == 1 ? row[at] : ((const uint16_t *)row)[at];
}

// Where the taps of one output sample lie in one direction, and what they weigh.
struct taps {
    long first;
    float weights[4];
};

// Weights of the cubic with A = 0, which is what FFmpeg takes unless told otherwise.
static void bicubic(struct taps *taps, float at)
{
    float before = floorf(at - 0.5f), x = at - 0.5f - before;
    taps->first = (long)before - 1;
    taps->weights[0] = 0;
    taps->weights[1] = (2 * x - 3) * x * x + 1;
    taps->weights[2] = (2 * (1 - x) - 3) * (1 - x) * (1 - x) + 1;
    taps->weights[3] = 1 - taps->weights[0] - taps->weights[1] - taps->weights[2];
}

// Two bilinear reads at a distance that follows the scale, each rounded to 1/256 as texture units do, become four taps.
static void bilinear(struct taps *taps, float at, float scale)
{
    float weight = fminf(fmaxf(0.5f * (scale - 1.0f), 0.0f), 1.0f), distance = weight / (0.5f + weight);
    *taps = (struct taps){.first = (long)floorf(at - distance - 0.5f)};
    for (int side = -1; side <= 1; side += 2) {
        float place = at + side * distance - 0.5f, before = floorf(place);
        float part = roundf((place - before) * 256.0f) / 256.0f;
        long index = (long)before - taps->first;
        taps->weights[index < 3 ? index : 3] += 0.5f * (1 - part);
        taps->weights[index < 2 ? index + 1 : 3] += 0.5f * part;
    }
}

static struct taps *taps_along(const struct sim_kernel *kernel, int from, int to)
{
    struct taps *all = calloc((size_t)to, sizeof *all);
    float scale = (float)from / (float)to;
    for (int i = 0; all && i < to; i++) {
        float at = ((float)i + 0.5f) * scale;
        if (kernel->taps == 4)
            bicubic(&all[i], at);
        else if (kernel->taps == 2)
            bilinear(&all[i], at, scale);
        else
            all[i] = (struct taps){.first = (long)floorf(at), .weights = {1}};
    }
    return all;
}

static float sample(const struct sim_texture *from, const struct taps *across, const struct taps *down, int channel)
{
    float sum = 0;
    for (int y = 0; y < 4; y++) {
        if (down->weights[y] == 0)
            continue;
        float row = 0;
        for (int x = 0; x < 4; x++)
            if (across->weights[x] != 0)
                row += across->weights[x] * texel(from, across->first + x, down->first + y, channel);
        sum += down->weights[y] * row;
    }
    return sum;
}

// 10 bit lie in the high bits of 16, as in every surface of the driver.
static void store(const struct sim_kernel *kernel, uint8_t *row, size_t at, float value)
{
    if (kernel->in_depth == 8 && kernel->out_depth == 8)
        row[at] = (uint8_t)fminf(fmaxf(value + 0.5f, 0), 255);
    else if (kernel->out_depth == 8)
        row[at] = (uint8_t)((unsigned)fminf(value + 0.5f, 65535) >> 8);
    else if (kernel->in_depth == 8)
        ((uint16_t *)row)[at] = (uint16_t)(((unsigned)fminf(value + 0.5f, 255) * 257u) & 0xffc0u);
    else
        ((uint16_t *)row)[at] = (uint16_t)((unsigned)fminf(value + 0.5f, 65535) & 0xffc0u);
}

void sim_scale(const struct sim_kernel *kernel, void **arguments)
{
    const struct sim_texture *textures[3];
    uint8_t *planes[3];
    for (int i = 0; i < 3; i++) {
        textures[i] = *(const struct sim_texture **)arguments[i];
        planes[i] = *(uint8_t **)arguments[4 + i];
    }
    int width = *(int *)arguments[8], height = *(int *)arguments[9], pitch = *(int *)arguments[10];
    int from_width = *(int *)arguments[11], from_height = *(int *)arguments[12];
    struct taps *across = taps_along(kernel, from_width, width), *down = taps_along(kernel, from_height, height);
    int components = kernel->chroma ? 2 : 1;
    for (int c = 0; across && down && c < components; c++) {
        const struct sim_texture *from = textures[kernel->chroma + (kernel->in_planar ? c : 0)];
        int step = kernel->chroma && !kernel->out_planar ? 2 : 1, channel = kernel->in_planar ? 0 : c;
        uint8_t *to = planes[kernel->chroma + (kernel->out_planar ? c : 0)];
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                store(kernel, to + (size_t)y * pitch, (size_t)x * step + (step == 2 ? c : 0),
                      sample(from, &across[x], &down[y], channel));
    }
    free(across);
    free(down);
}
