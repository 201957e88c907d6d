/* A stand-in for libnvidia-ml.so.1: boards whose power is an analytic function of CLOCK_MONOTONIC.
 *
 * Every process that loads it sees the same boards at the same moment, and the energy between any two monotonic
 * times can be computed from outside (truth.py beside this file holds the same formulas). All settings come from
 * the environment; truth.py writes them.
 */
#include "traces.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15
};
enum { UUID_LENGTH = 41 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
enum { HOPPER = 9, CLOCK_SM = 1, UNCORRECTED = 1, VOLATILE_ECC = 0 };

typedef struct { int index; } Board;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;
typedef struct {
    unsigned int pid;
    unsigned long long used_memory;
    unsigned int gpu_instance, compute_instance;
} ProcessInfo;

typedef struct {
    unsigned int field, scope;
    long long timestamp_us, latency_us;
    unsigned int value_type;
    int code;
    union { double real; unsigned int u32; unsigned long long u64; } value;
} FieldValue;

static Board boards[MAX_BOARDS];
static int initialised = 0;
static double initialised_at_s = 0;

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
}

static unsigned long long whole(const char *name) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : 0;
}

/* Whether `name` is one of the comma-separated words of the variable. */
static int listed(const char *variable, const char *name) {
    const char *at = getenv(variable);
    size_t length = strlen(name);
    while (at && *at) {
        size_t word = strcspn(at, ",");
        if (word == length && strncmp(at, name, length) == 0) return 1;
        at += word + (at[word] == ',');
    }
    return 0;
}

/* STANDIN_NOW_S stops the clock there. */
static double now_s(void) {
    struct timespec now;
    const char *stopped = getenv("STANDIN_NOW_S");
    if (stopped && *stopped) return atof(stopped);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int board_count(void) {
    int count = (int)number("STANDIN_BOARDS", 4);
    return count < 0 ? 0 : count > MAX_BOARDS ? MAX_BOARDS : count;
}

typedef struct { double update_s, lag_s, offset_s, window_s, jitter_s; } Sensor;

/* Those of a Hopper board. */
static const char *const COUNTER = "0.1 0 0", *const POWER = "0.1 0 0 1", *const INSTANT = "0.1 0 0 0.025";

/* "update lag offset window jitter" in seconds, the last ones 0 unless given; 0 for a reading that the board lacks, of which the variable says none. */
static int sensor(const char *name, const char *otherwise, Sensor *into) {
    const char *text = getenv(name);
    memset(into, 0, sizeof *into);
    if (!text || !*text) text = otherwise;
    return sscanf(
        text, "%lf %lf %lf %lf %lf", &into->update_s, &into->lag_s, &into->offset_s, &into->window_s,
        &into->jitter_s
    ) >= 1;
}

/* A fixed value in [-1, 1) for each update: the finaliser of SplitMix64. */
static double unevenness(double number) {
    uint64_t mixed = ((uint64_t)(int64_t)number + 1) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
    mixed ^= mixed >> 31;
    return (double)(mixed >> 11) / 4503599627370496.0 - 1;
}

/* Time of the latest update, less the lag. */
static double updated_s(const Sensor *sensor) {
    double now = now_s(), latest = floor((now - sensor->offset_s) / sensor->update_s), found_s = -INFINITY;
    if (sensor->jitter_s <= 0) {
        double since_s = fmod(now - sensor->offset_s, sensor->update_s);
        if (since_s < 0) since_s += sensor->update_s;
        return now - since_s - sensor->lag_s;
    }
    for (double number = latest - 1; number <= latest + 1; number++) {
        double due_s = sensor->offset_s + number * sensor->update_s + sensor->jitter_s * unevenness(number);
        if (due_s <= now) found_s = fmax(found_s, due_s);
    }
    return found_s - sensor->lag_s;
}

static int counter_mj(int index, unsigned long long *energy_mj) {
    Sensor counter;
    if (!sensor("STANDIN_COUNTER", COUNTER, &counter)) return NOT_SUPPORTED;
    *energy_mj = (unsigned long long)floor(energy_j(index, updated_s(&counter)) * 1000);
    return SUCCESS;
}

static int mean_mw(int index, const char *name, const char *otherwise, unsigned int *milliwatts) {
    Sensor power;
    if (!sensor(name, otherwise, &power)) return NOT_SUPPORTED;
    double end_s = updated_s(&power);
    double mean_w = (energy_j(index, end_s) - energy_j(index, end_s - power.window_s)) / power.window_s;
    *milliwatts = (unsigned int)lround(mean_w * 1000);
    return SUCCESS;
}

/* What every call on a board answers before it does anything. */
static int state(const Board *board, const char *call) {
    double lost_after_s = number("STANDIN_LOST_AFTER", -1);
    if (!initialised) return UNINITIALIZED;
    if (board < boards || board >= boards + board_count()) return INVALID_ARGUMENT;
    if (lost_after_s >= 0 && now_s() >= initialised_at_s + lost_after_s) {
        return (int)number("STANDIN_LOST_CODE", GPU_IS_LOST);
    }
    if (listed("STANDIN_WITHOUT", call)) return (int)number("STANDIN_WITHOUT_CODE", NOT_SUPPORTED);
    return SUCCESS;
}

#define CHECKED(call) do { int found = state(board, call); if (found != SUCCESS) return found; } while (0)

static int text(char *into, unsigned int room, const char *from) {
    if (strlen(from) + 1 > room) return INSUFFICIENT_SIZE;
    strcpy(into, from);
    return SUCCESS;
}

static void uuid_of(int index, char *into) {
    snprintf(into, UUID_LENGTH, "GPU-57a4d100-0000-4000-8000-%012d", index);
}

int nvmlInitWithFlags(unsigned int flags) {
    int refused = (int)number("STANDIN_INIT_CODE", SUCCESS);
    (void)flags;
    if (refused != SUCCESS) return refused;
    if (!initialised) {
        for (int index = 0; index < MAX_BOARDS; index++) boards[index].index = index;
        initialised_at_s = now_s();
    }
    initialised++;
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "Stand-in error"; }

int nvmlSystemGetDriverVersion(char *version, unsigned int room) { return text(version, room, "999.57.01"); }

int nvmlSystemGetNVMLVersion(char *version, unsigned int room) { return text(version, room, "13.999.57.01"); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return SUCCESS; }

int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!initialised) return UNINITIALIZED;
    *count = (unsigned int)board_count();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Board **board) {
    if (!initialised) return UNINITIALIZED;
    if (index >= (unsigned int)board_count()) return INVALID_ARGUMENT;
    *board = &boards[index];
    return state(*board, "handle");
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Board **board) {
    char own[UUID_LENGTH];
    if (!initialised) return UNINITIALIZED;
    for (int index = 0; index < board_count(); index++) {
        uuid_of(index, own);
        if (strcasecmp(uuid, own) == 0) { *board = &boards[index]; return state(*board, "handle"); }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(const Board *board, unsigned int *index) {
    CHECKED("index");
    *index = (unsigned int)board->index;
    return SUCCESS;
}

int nvmlDeviceGetName(const Board *board, char *name, unsigned int room) {
    CHECKED("name");
    const char *given = getenv("STANDIN_NAME");
    return text(name, room, given && *given ? given : "NVIDIA H100 80GB HBM3");
}

int nvmlDeviceGetArchitecture(const Board *board, unsigned int *architecture) {
    CHECKED("architecture");
    *architecture = (unsigned int)number("STANDIN_ARCHITECTURE", HOPPER);
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(const Board *board, int domain, unsigned int *megahertz) {
    CHECKED("clock");
    *megahertz = domain == CLOCK_SM ? (unsigned int)number("STANDIN_SM_CLOCK_MHZ", 1980) : 2619;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(const Board *board, int error, int counter, unsigned long long *count) {
    CHECKED("ecc");
    *count = error == UNCORRECTED && counter == VOLATILE_ECC ? whole("STANDIN_ECC_ERRORS") : 0;
    return SUCCESS;
}

int nvmlDeviceGetUUID(const Board *board, char *uuid, unsigned int room) {
    char own[UUID_LENGTH];
    CHECKED("uuid");
    uuid_of(board->index, own);
    return text(uuid, room, own);
}

int nvmlDeviceGetPciInfo_v3(const Board *board, PciInfo *info) {
    CHECKED("pci");
    memset(info, 0, sizeof *info);
    info->bus = 16u + (unsigned int)board->index;
    snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "0000:%02X:00.0", info->bus);
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(const Board *board, unsigned long long *energy_mj) {
    CHECKED("energy");
    return counter_mj(board->index, energy_mj);
}

int nvmlDeviceGetPowerUsage(const Board *board, unsigned int *milliwatts) {
    CHECKED("power");
    return mean_mw(board->index, "STANDIN_POWER", POWER, milliwatts);
}

/* The one-second mean, which boards have whose power usage is the same. */
static int average_mw(int index, unsigned int *milliwatts) {
    Sensor power;
    if (!sensor("STANDIN_POWER", POWER, &power) || power.window_s < 1) return NOT_SUPPORTED;
    return mean_mw(index, "STANDIN_POWER", POWER, milliwatts);
}

static int field(const Board *board, FieldValue *value) {
    unsigned int milliwatts = 0;
    int found;
    value->value_type = UNSIGNED_LONG_LONG;
    switch (value->field) {
    case 74: CHECKED("power_throttle"); value->value.u64 = whole("STANDIN_POWER_THROTTLE_NS"); return SUCCESS;
    case 75: CHECKED("thermal_throttle"); value->value.u64 = whole("STANDIN_THERMAL_THROTTLE_NS"); return SUCCESS;
    case 83: CHECKED("energy"); return counter_mj(board->index, &value->value.u64);
    case 185: case 186:
        CHECKED(value->field == 186 ? "instant" : "average");
        if (value->scope != 0) return NOT_SUPPORTED;
        found = value->field == 186 ? mean_mw(board->index, "STANDIN_INSTANT", INSTANT, &milliwatts)
            : average_mw(board->index, &milliwatts);
        value->value_type = UNSIGNED_INT;
        value->value.u32 = milliwatts;
        return found;
    default: return NOT_SUPPORTED;
    }
}

/* Each field has its own return code, as in the driver. */
int nvmlDeviceGetFieldValues(const Board *board, int count, FieldValue *values) {
    CHECKED("fields");
    for (int index = 0; index < count; index++) {
        values[index].timestamp_us = (long long)(now_s() * 1e6);
        values[index].latency_us = 0;
        values[index].code = field(board, &values[index]);
    }
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(const Board *board, unsigned int *milliwatts) {
    CHECKED("limit");
    *milliwatts = 700000;
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimit(const Board *board, unsigned int *milliwatts) {
    return nvmlDeviceGetEnforcedPowerLimit(board, milliwatts);
}

int nvmlDeviceGetTemperature(const Board *board, int sensor, unsigned int *degrees) {
    (void)sensor;
    CHECKED("temperature");
    *degrees = 40u + (unsigned int)board->index;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(const Board *board, Memory *memory) {
    CHECKED("memory");
    memory->total = 80000000000ull;
    memory->used = 1000000000ull * (unsigned long long)(board->index + 1);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(const Board *board, MemoryV2 *memory) {
    Memory plain;
    int found = nvmlDeviceGetMemoryInfo(board, &plain);
    if (found != SUCCESS) return found;
    memory->total = plain.total;
    memory->reserved = 0;
    memory->free = plain.free;
    memory->used = plain.used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const Board *board, Utilization *rates) {
    CHECKED("utilization");
    rates->gpu = 50u + (unsigned int)board->index;
    rates->memory = 10;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const Board *board, unsigned long long *reasons) {
    CHECKED("reasons");
    *reasons = (unsigned long long)number("STANDIN_REASONS", 0);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(const Board *board, unsigned long long *reasons) {
    CHECKED("event_reasons");
    return nvmlDeviceGetCurrentClocksThrottleReasons(board, reasons);
}

int nvmlDeviceGetPersistenceMode(const Board *board, int *mode) {
    CHECKED("persistence");
    *mode = 1;
    return SUCCESS;
}

/* Not supported unless STANDIN_MIG says 0 (off) or 1 (on), for each board or, the last one, for all that follow. */
int nvmlDeviceGetMigMode(const Board *board, unsigned int *current, unsigned int *pending) {
    const char *mode = getenv("STANDIN_MIG");
    CHECKED("mig");
    if (!mode || !*mode) return NOT_SUPPORTED;
    for (int index = 0; index < board->index && strchr(mode, ','); index++) mode = strchr(mode, ',') + 1;
    *current = *pending = (unsigned int)atoi(mode);
    return SUCCESS;
}

/* Only Grace Hopper has the link to a CPU that this tells of. */
int nvmlDeviceGetC2cModeInfoV(const Board *board, void *info) {
    (void)info;
    CHECKED("c2c");
    return NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(const Board *board, unsigned int *count) {
    CHECKED("mig");
    *count = 0;
    return SUCCESS;
}

/* The process ids of STANDIN_PIDS, on every board; asked for their number first, then for the list. */
int nvmlDeviceGetComputeRunningProcesses_v3(const Board *board, unsigned int *count, ProcessInfo *processes) {
    const char *at = getenv("STANDIN_PIDS");
    unsigned int room = *count, found = 0;
    CHECKED("processes");
    for (; at && *at; found++) {
        if (found < room && processes) {
            memset(&processes[found], 0, sizeof processes[found]);
            processes[found].pid = (unsigned int)strtoul(at, NULL, 10);
            processes[found].used_memory = 1000000;
        }
        at += strcspn(at, ",");
        if (*at) at++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(const Board *board, unsigned int *count, ProcessInfo *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(board, count, processes);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(const Board *board, unsigned int *count, ProcessInfo *processes) {
    (void)processes;
    CHECKED("processes");
    *count = 0;
    return SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(const Board *board, unsigned int *count, ProcessInfo *processes) {
    return nvmlDeviceGetGraphicsRunningProcesses_v3(board, count, processes);
}
