// What the simulated driver is told to do wrong. A simulator: it proves the control path, not speed or picture quality.
#ifndef FRAMEMILL_SIM_FAULTS_H
#define FRAMEMILL_SIM_FAULTS_H

#include <stdint.h>

// The value of a switch on a device: of `name.device`, else of `name`, in the control file (NVSIM_CONTROL), else in
// the environment (NVSIM_NAME); `otherwise` where nobody set it. Read anew at every call, so that a test can change
// it while a process runs.
int64_t sim_switch(const char *name, int device, int64_t otherwise);

// Devices the driver claims.
int sim_devices(void);

// Whether every call on the device fails now.
int sim_lost(int device);

// The device of the calling thread's current context; -1 without one.
int sim_current_device(void);

// The device a context was made on; -1 for what is none.
int sim_context_device(const void *context);

// Counts one more frame of an engine ("encode", "decode") on a device and does what the switches ask: waits NAME_delay_us,
// never returns from NAME_hang_after frames on while that switch stands. Nonzero when NAME_error_after frames are past.
int sim_frame(const char *engine, int device);

// Tells who reads the file or pipe that NVSIM_TRACE names what happens: a line of what and the device.
void sim_trace(const char *what, int device);

// Device memory: host memory that counts against the device's. Null when it is used up.
void *sim_allocate(int device, uint64_t bytes);
void sim_release(void *memory);

#endif
