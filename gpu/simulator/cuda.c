// libcuda.so.1 of the simulator: the part of the CUDA driver interface that FFmpeg 5 to 8 and this project call. Device memory
// is host memory, a launch runs at once on the calling thread, and the kernels are those that scale.c knows by name.
#include <ffnvcodec/dynlink_cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"
#include "refused.h"
#include "scale.h"

// The driver's own numbers; the header names only some.
enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    NOT_FOUND = 500,
};

enum { MAX_STACK = 64, TEXTURE_ALIGNMENT = 512 };

// Every call on a device that is lost fails so, for good.
#define FAIL_IF_LOST(device)            \
    do {                                \
        if (sim_lost(device))           \
            return CUDA_ERROR_UNKNOWN;  \
    } while (0)
#define FAIL_IF_CURRENT_LOST() FAIL_IF_LOST(sim_current_device())

void sim_memory(int device, uint64_t *unused, uint64_t *total);

struct CUctx_st {
    uint32_t magic;
    int device;
};

static const uint32_t CONTEXT = 0x63747831;
static _Thread_local CUcontext stack[MAX_STACK];
static _Thread_local int depth;
static struct CUctx_st primaries[MAX_STACK];

int sim_context_device(const void *context)
{
    const struct CUctx_st *known = context;
    return known && known->magic == CONTEXT ? known->device : -1;
}

int sim_current_device(void)
{
    return depth > 0 ? sim_context_device(stack[depth - 1]) : -1;
}

static int known_device(CUdevice device)
{
    return device >= 0 && device < sim_devices();
}

CUresult cuInit(unsigned flags)
{
    (void)flags;
    return sim_devices() > 0 ? CUDA_SUCCESS : (CUresult)NO_DEVICE;
}

CUresult cuDriverGetVersion(int *version)
{
    *version = (int)sim_switch("driver", -1, 12020);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    *count = sim_devices();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    if (!known_device(ordinal))
        return (CUresult)INVALID_DEVICE;
    FAIL_IF_LOST(ordinal);
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    FAIL_IF_LOST(device);
    switch ((int)attribute) {
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
        *value = TEXTURE_ALIGNMENT;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = (int)sim_switch("compute", device, 86) / 10;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = (int)sim_switch("compute", device, 86) % 10;
        break;
    default:
        *value = 1;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    FAIL_IF_LOST(device);
    snprintf(name, (size_t)length, "Framemill simulator %d (no hardware)", device);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    memset(uuid, 0, sizeof *uuid);
    uuid->bytes[15] = (char)device;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *place, int length, CUdevice device)
{
    FAIL_IF_LOST(device);
    snprintf(place, (size_t)length, "0000:%02x:00.0", device + 1);
    return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    FAIL_IF_LOST(device);
    *major = (int)sim_switch("compute", device, 86) / 10;
    *minor = (int)sim_switch("compute", device, 86) % 10;
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    uint64_t unused, total;
    FAIL_IF_LOST(device);
    sim_memory(device, &unused, &total);
    *bytes = total;
    return CUDA_SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t *unused, size_t *total)
{
    uint64_t free_bytes, all;
    FAIL_IF_CURRENT_LOST();
    sim_memory(sim_current_device(), &free_bytes, &all);
    *unused = free_bytes;
    *total = all;
    return CUDA_SUCCESS;
}

static CUresult push(CUcontext context)
{
    if (depth == MAX_STACK)
        return (CUresult)INVALID_CONTEXT;
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
    (void)flags;
    if (!known_device(device))
        return (CUresult)INVALID_DEVICE;
    FAIL_IF_LOST(device);
    *context = malloc(sizeof **context);
    if (!*context)
        return (CUresult)OUT_OF_MEMORY;
    **context = (struct CUctx_st){CONTEXT, device};
    return push(*context);
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
    if (sim_context_device(context) < 0)
        return (CUresult)INVALID_CONTEXT;
    context->magic = 0;
    free(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    int device = sim_context_device(context);
    if (device < 0)
        return (CUresult)INVALID_CONTEXT;
    FAIL_IF_LOST(device);
    return push(context);
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    if (depth == 0)
        return (CUresult)INVALID_CONTEXT;
    depth--;
    if (context)
        *context = stack[depth];
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
    if (depth == 0)
        return push(context);
    stack[depth - 1] = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = depth > 0 ? stack[depth - 1] : NULL;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    *device = sim_current_device();
    return *device < 0 ? (CUresult)INVALID_CONTEXT : CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    (void)limit, (void)value;
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
    FAIL_IF_CURRENT_LOST();
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    if (!known_device(device))
        return (CUresult)INVALID_DEVICE;
    FAIL_IF_LOST(device);
    primaries[device] = (struct CUctx_st){CONTEXT, device};
    *context = &primaries[device];
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    return known_device(device) ? CUDA_SUCCESS : (CUresult)INVALID_DEVICE;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags)
{
    (void)flags;
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    *flags = CU_CTX_SCHED_BLOCKING_SYNC;
    *active = 0;
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuDevicePrimaryCtxReset(CUdevice device)
{
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuMemAlloc_v2(CUdeviceptr *memory, size_t bytes)
{
    FAIL_IF_CURRENT_LOST();
    *memory = (CUdeviceptr)sim_allocate(sim_current_device(), bytes);
    return *memory ? CUDA_SUCCESS : (CUresult)OUT_OF_MEMORY;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *memory, size_t *pitch, size_t width, size_t height, unsigned element)
{
    (void)element;
    *pitch = (width + TEXTURE_ALIGNMENT - 1) / TEXTURE_ALIGNMENT * TEXTURE_ALIGNMENT;
    return cuMemAlloc_v2(memory, *pitch * height);
}

CUresult cuMemAllocManaged(CUdeviceptr *memory, size_t bytes, unsigned flags)
{
    (void)flags;
    return cuMemAlloc_v2(memory, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr memory)
{
    sim_release((void *)memory);
    return CUDA_SUCCESS;
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream)
{
    (void)stream;
    FAIL_IF_CURRENT_LOST();
    memset((void *)to, value, bytes);
    return CUDA_SUCCESS;
}

static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    FAIL_IF_CURRENT_LOST();
    memmove((void *)to, (const void *)from, bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy(to, from, bytes); }
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) { return copy(to, (CUdeviceptr)from, bytes); }
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) { return copy((CUdeviceptr)to, from, bytes); }
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy(to, from, bytes); }

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(to, from, bytes);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(to, (CUdeviceptr)from, bytes);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy((CUdeviceptr)to, from, bytes);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(to, from, bytes);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *what)
{
    FAIL_IF_CURRENT_LOST();
    if (what->srcMemoryType == CU_MEMORYTYPE_ARRAY || what->dstMemoryType == CU_MEMORYTYPE_ARRAY)
        return (CUresult)NOT_SUPPORTED;
    const char *from = what->srcMemoryType == CU_MEMORYTYPE_HOST ? what->srcHost : (const char *)what->srcDevice;
    char *to = what->dstMemoryType == CU_MEMORYTYPE_HOST ? what->dstHost : (char *)what->dstDevice;
    from += what->srcY * what->srcPitch + what->srcXInBytes;
    to += what->dstY * what->dstPitch + what->dstXInBytes;
    for (size_t row = 0; row < what->Height; row++)
        memcpy(to + row * what->dstPitch, from + row * what->srcPitch, what->WidthInBytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *what, CUstream stream)
{
    (void)stream;
    return cuMemcpy2D_v2(what);
}

static const struct {
    int number;
    const char *name, *text;
} ERRORS[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static int find_error(CUresult error)
{
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].number == (int)error)
            return (int)i;
    return -1;
}

CUresult cuGetErrorName(CUresult error, const char **name)
{
    int at = find_error(error);
    *name = at < 0 ? NULL : ERRORS[at].name;
    return at < 0 ? (CUresult)INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    int at = find_error(error);
    *text = at < 0 ? NULL : ERRORS[at].text;
    return at < 0 ? (CUresult)INVALID_VALUE : CUDA_SUCCESS;
}

// Work is done when a call returns, so a stream or an event is a name and nothing more.
CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    (void)flags;
    FAIL_IF_CURRENT_LOST();
    *stream = malloc(1);
    return *stream ? CUDA_SUCCESS : (CUresult)OUT_OF_MEMORY;
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
    free(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream)
{
    (void)stream;
    FAIL_IF_CURRENT_LOST();
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) { return cuStreamQuery(stream); }

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback *call, void *data, unsigned flags)
{
    (void)flags;
    call(stream, CUDA_SUCCESS, data);
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) { return cuStreamCreate((CUstream *)event, flags); }
CUresult cuEventDestroy_v2(CUevent event) { return cuStreamDestroy_v2((CUstream)event); }
CUresult cuEventSynchronize(CUevent event) { return cuStreamQuery((CUstream)event); }
CUresult cuEventQuery(CUevent event) { return cuStreamQuery((CUstream)event); }

CUresult cuEventRecord(CUevent event, CUstream stream)
{
    (void)event;
    return cuStreamQuery(stream);
}

// PTX cannot be run here; of a module only the text is kept, to tell which kernels it has.
CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    FAIL_IF_CURRENT_LOST();
    if (!strstr(image, ".entry Subsample_"))
        return (CUresult)NO_BINARY_FOR_GPU;
    *module = (CUmodule)strdup(image);
    return *module ? CUDA_SUCCESS : (CUresult)OUT_OF_MEMORY;
}

CUresult cuModuleUnload(CUmodule module)
{
    free(module);
    return CUDA_SUCCESS;
}

// Functions live as long as the process: a few hundred bytes for each scaler that is ever made would add up in a long one, so
// they are kept by name.
enum { MAX_FUNCTIONS = 64 };
struct CUfunc_st {
    char name[64];
    struct sim_kernel kernel;
};
static struct CUfunc_st functions[MAX_FUNCTIONS];
static pthread_mutex_t functions_lock = PTHREAD_MUTEX_INITIALIZER;

static struct CUfunc_st *find_function(const char *name, const struct sim_kernel *kernel)
{
    for (struct CUfunc_st *at = functions; at < functions + MAX_FUNCTIONS; at++) {
        if (strcmp(at->name, name) == 0)
            return at;
        if (at->name[0] == 0) {
            snprintf(at->name, sizeof at->name, "%s", name);
            at->kernel = *kernel;
            return at;
        }
    }
    return NULL;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    char entry[96];
    struct sim_kernel kernel;
    FAIL_IF_CURRENT_LOST();
    snprintf(entry, sizeof entry, ".entry %s(", name);
    if (!strstr((const char *)module, entry) || !sim_kernel_of(name, &kernel))
        return (CUresult)NOT_FOUND;
    pthread_mutex_lock(&functions_lock);
    *function = find_function(name, &kernel);
    pthread_mutex_unlock(&functions_lock);
    return *function ? CUDA_SUCCESS : (CUresult)NOT_FOUND;
}

CUresult cuModuleGetGlobal(CUdeviceptr *at, size_t *bytes, CUmodule module, const char *name)
{
    (void)at, (void)bytes, (void)module, (void)name;
    return (CUresult)NOT_FOUND;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **arguments, void **extra)
{
    (void)grid_x, (void)grid_y, (void)grid_z, (void)block_x, (void)block_y, (void)block_z;
    (void)shared, (void)stream, (void)extra;
    FAIL_IF_CURRENT_LOST();
    sim_scale(&function->kernel, arguments);
    return CUDA_SUCCESS;
}

CUresult cuTexObjectCreate(CUtexObject *texture, const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *how,
                           const CUDA_RESOURCE_VIEW_DESC *view)
{
    (void)how, (void)view;
    FAIL_IF_CURRENT_LOST();
    if (resource->resType != CU_RESOURCE_TYPE_PITCH2D)
        return (CUresult)NOT_SUPPORTED;
    // A pitch that texture units cannot read is refused by the driver too.
    if (resource->res.pitch2D.pitchInBytes % 32 != 0)
        return (CUresult)INVALID_VALUE;
    struct sim_texture *made = malloc(sizeof *made);
    if (!made)
        return (CUresult)OUT_OF_MEMORY;
    *made = (struct sim_texture){
        .data = (const uint8_t *)resource->res.pitch2D.devPtr,
        .width = resource->res.pitch2D.width,
        .height = resource->res.pitch2D.height,
        .pitch = resource->res.pitch2D.pitchInBytes,
        .bytes = resource->res.pitch2D.format == CU_AD_FORMAT_UNSIGNED_INT8 ? 1 : 2,
        .channels = (int)resource->res.pitch2D.numChannels,
    };
    *texture = (CUtexObject)made;
    return CUDA_SUCCESS;
}

CUresult cuTexObjectDestroy(CUtexObject texture)
{
    free((void *)texture);
    return CUDA_SUCCESS;
}

// FFmpeg's loader wants these to exist, and nothing here calls them.
REFUSED(cuLinkCreate)
REFUSED(cuLinkAddData)
REFUSED(cuLinkComplete)
REFUSED(cuLinkDestroy)
REFUSED(cuGLGetDevices_v2)
REFUSED(cuGraphicsGLRegisterImage)
REFUSED(cuGraphicsUnregisterResource)
REFUSED(cuGraphicsMapResources)
REFUSED(cuGraphicsUnmapResources)
REFUSED(cuGraphicsSubResourceGetMappedArray)
REFUSED(cuGraphicsResourceGetMappedPointer_v2)
REFUSED(cuArray3DCreate_v2)
REFUSED(cuArrayDestroy)
