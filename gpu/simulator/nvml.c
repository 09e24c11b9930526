// libnvidia-ml.so.1 of the simulator: the calls of NVIDIA's management library that this project makes, answered with the figures that
// switches give. A simulator: what it says has nothing to do with what runs.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };

enum { MAX_DEVICES = 64, PROCESSOR_SENSOR = 0 };

struct rates {
    unsigned gpu, memory;
};

struct memory {
    unsigned long long total, free, used;
};

struct process {
    unsigned pid;
    unsigned long long timestamp;
    unsigned sm, memory, encoder, decoder;
};

// A card's handle points at its place here.
static const char cards[MAX_DEVICES];

static int card_of(const void *handle)
{
    return (int)((const char *)handle - cards);
}

// Whether a call on a card fails now; -1 asks for the library. Does not return while that is switched on.
static int failed(int card)
{
    while (sim_switch("telemetry_hang", card, 0))
        usleep(10000);
    return sim_switch("telemetry_lost", card, 0) != 0;
}

// A figure; a negative one is not told.
static int figure(const void *handle, const char *name, int64_t otherwise, int64_t *value)
{
    if (failed(card_of(handle)))
        return DRIVER_NOT_LOADED;
    *value = sim_switch(name, card_of(handle), otherwise);
    return *value < 0 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlInit_v2(void)
{
    return failed(-1) ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
    return SUCCESS;
}

const char *nvmlErrorString(int status)
{
    switch (status) {
    case SUCCESS:
        return "Success";
    case NOT_SUPPORTED:
        return "Not Supported";
    case DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    default:
        return "Unknown Error";
    }
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *place, const void **handle)
{
    unsigned bus;
    if (sscanf(place, "%*x:%x:", &bus) != 1 || bus < 1 || (int)bus > sim_devices())
        return NOT_FOUND;
    if (failed((int)bus - 1))
        return DRIVER_NOT_LOADED;
    *handle = &cards[bus - 1];
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const void *handle, struct rates *rates)
{
    int64_t percent;
    int status = figure(handle, "sm", 0, &percent);
    if (status == SUCCESS)
        *rates = (struct rates){(unsigned)percent, 0};
    return status;
}

static int engine(const void *handle, const char *name, unsigned *percent, unsigned *period)
{
    int64_t value;
    int status = figure(handle, name, 0, &value);
    if (status == SUCCESS) {
        *percent = (unsigned)value;
        *period = 100000;
    }
    return status;
}

int nvmlDeviceGetEncoderUtilization(const void *handle, unsigned *percent, unsigned *period)
{
    return engine(handle, "encoder", percent, period);
}

int nvmlDeviceGetDecoderUtilization(const void *handle, unsigned *percent, unsigned *period)
{
    return engine(handle, "decoder", percent, period);
}

int nvmlDeviceGetMemoryInfo(const void *handle, struct memory *memory)
{
    int64_t percent;
    int status = figure(handle, "memory_taken", 0, &percent);
    if (status != SUCCESS)
        return status;
    unsigned long long total = (unsigned long long)sim_switch("memory", card_of(handle), INT64_C(8) << 30);
    unsigned long long used = total / 100 * (unsigned long long)percent;
    *memory = (struct memory){total, total - used, used};
    return SUCCESS;
}

int nvmlDeviceGetTemperature(const void *handle, int sensor, unsigned *degrees)
{
    int64_t value;
    if (sensor != PROCESSOR_SENSOR)
        return INVALID_ARGUMENT;
    int status = figure(handle, "temperature", 40, &value);
    if (status == SUCCESS)
        *degrees = (unsigned)value;
    return status;
}

int nvmlDeviceGetPowerUsage(const void *handle, unsigned *milliwatts)
{
    int64_t watts;
    int status = figure(handle, "power", 30, &watts);
    if (status == SUCCESS)
        *milliwatts = (unsigned)watts * 1000;
    return status;
}

int nvmlDeviceGetProcessUtilization(const void *handle, struct process *processes, unsigned *count, unsigned long long since)
{
    int64_t sm, process = sim_switch("process", card_of(handle), -1);
    struct timespec now;
    (void)since;
    int status = figure(handle, "process_sm", 0, &sm);
    if (status != SUCCESS || process < 0)
        return status == SUCCESS ? NOT_FOUND : status;
    if (*count < 1)
        return INSUFFICIENT_SIZE;
    clock_gettime(CLOCK_REALTIME, &now);
    processes[0] = (struct process){
        .pid = (unsigned)process,
        .timestamp = (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000,
        .sm = (unsigned)sm,
    };
    *count = 1;
    return SUCCESS;
}
