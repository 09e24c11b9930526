// Switches of the simulated driver; see faults.h.
#include "faults.h"

#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONTROL = 4096, MAX_DEVICES = 64, MAX_NAME = 64, ALIGNMENT = 512 };

static const int64_t DEFAULT_MEMORY = INT64_C(8) << 30;

// Whether a line is `key=number`; then its number.
static int parse_line(const char *line, const char *key, int64_t *value)
{
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0 || line[length] != '=')
        return 0;
    *value = strtoll(line + length + 1, NULL, 0);
    return 1;
}

static int find_in_file(const char *text, const char *key, int64_t *value)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (parse_line(line, key, value))
            return 1;
    return 0;
}

static void read_control(char text[MAX_CONTROL])
{
    const char *path = getenv("NVSIM_CONTROL");
    text[0] = 0;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    ssize_t count = read(file, text, MAX_CONTROL - 1);
    text[count < 0 ? 0 : count] = 0;
    close(file);
}

static int find_in_environment(const char *key, int64_t *value)
{
    char name[MAX_NAME + 32] = "NVSIM_";
    size_t at = strlen(name);
    for (; *key && at + 1 < sizeof name; key++)
        name[at++] = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
    name[at] = 0;
    const char *text = getenv(name);
    if (text)
        *value = strtoll(text, NULL, 0);
    return text != NULL;
}

int64_t sim_switch(const char *name, int device, int64_t otherwise)
{
    char text[MAX_CONTROL], of_device[MAX_NAME];
    int64_t value = otherwise;
    read_control(text);
    snprintf(of_device, sizeof of_device, "%s.%d", name, device);
    if (find_in_file(text, of_device, &value) || find_in_file(text, name, &value) ||
        find_in_environment(of_device, &value) || find_in_environment(name, &value))
        return value;
    return otherwise;
}

int sim_devices(void)
{
    int64_t count = sim_switch("devices", -1, 1);
    return count < 0 ? 0 : count > MAX_DEVICES ? MAX_DEVICES : (int)count;
}

int sim_lost(int device)
{
    return sim_switch("lost", device, 0) != 0;
}

void sim_trace(const char *what, int device)
{
    char line[MAX_NAME];
    const char *path = getenv("NVSIM_TRACE");
    // A pipe that nobody reads must not stop the driver.
    int file = path ? open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    int length = snprintf(line, sizeof line, "%s %d\n", what, device);
    if (write(file, line, (size_t)length) != length) {
        // Whoever reads is behind or gone, and misses a line.
    }
    close(file);
}

static pthread_mutex_t counters = PTHREAD_MUTEX_INITIALIZER;
static int64_t frames[2][MAX_DEVICES];
static int64_t memory_used[MAX_DEVICES];

static int64_t count_frame(const char *engine, int device)
{
    pthread_mutex_lock(&counters);
    int64_t count = frames[engine[0] == 'e'][device]++;
    pthread_mutex_unlock(&counters);
    return count;
}

static int64_t engine_switch(const char *engine, const char *what, int device, int64_t otherwise)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s_%s", engine, what);
    return sim_switch(name, device, otherwise);
}

int sim_frame(const char *engine, int device)
{
    if (device < 0 || device >= MAX_DEVICES)
        return 1;
    int64_t before = count_frame(engine, device);
    sim_trace(engine, device);
    int64_t delay = engine_switch(engine, "delay_us", device, 0);
    if (delay > 0)
        usleep((useconds_t)delay);
    while (before >= engine_switch(engine, "hang_after", device, INT64_MAX))
        usleep(10000);
    return before >= engine_switch(engine, "error_after", device, INT64_MAX);
}

struct block {
    uint64_t bytes;
    int device;
};

void *sim_allocate(int device, uint64_t bytes)
{
    if (device < 0 || device >= MAX_DEVICES)
        return NULL;
    int64_t most = sim_switch("memory", device, DEFAULT_MEMORY);
    pthread_mutex_lock(&counters);
    int fits = memory_used[device] + (int64_t)bytes <= most;
    if (fits)
        memory_used[device] += (int64_t)bytes;
    pthread_mutex_unlock(&counters);
    void *memory = NULL;
    if (!fits || posix_memalign(&memory, ALIGNMENT, ALIGNMENT + bytes) != 0)
        return NULL;
    memset(memory, 0, ALIGNMENT + bytes);
    *(struct block *)memory = (struct block){bytes, device};
    return (char *)memory + ALIGNMENT;
}

void sim_release(void *memory)
{
    if (!memory)
        return;
    struct block *block = (struct block *)((char *)memory - ALIGNMENT);
    pthread_mutex_lock(&counters);
    memory_used[block->device] -= (int64_t)block->bytes;
    pthread_mutex_unlock(&counters);
    free(block);
}

// What cuMemGetInfo answers; used by cuda.c alone.
void sim_memory(int device, uint64_t *unused, uint64_t *total);
void sim_memory(int device, uint64_t *unused, uint64_t *total)
{
    int64_t most = sim_switch("memory", device, DEFAULT_MEMORY);
    pthread_mutex_lock(&counters);
    int64_t used = device >= 0 && device < MAX_DEVICES ? memory_used[device] : 0;
    pthread_mutex_unlock(&counters);
    *total = (uint64_t)most;
    *unused = most > used ? (uint64_t)(most - used) : 0;
}
