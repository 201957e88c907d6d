/* A stand-in for libnvidia-ml.so.1: boards whose power is an analytic function of CLOCK_MONOTONIC.
 *
 * Every process that loads it sees the same boards at the same moment, and the energy between any two monotonic
 * times can be computed from outside (truth.py beside this file holds the same formulas). All settings come from
 * the environment; truth.py writes them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15
};
enum { MAX_BOARDS = 64, UUID_LENGTH = 41 };

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

static Board boards[MAX_BOARDS];
static int initialised = 0;
static double initialised_at_s = 0;

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
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

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int board_count(void) {
    int count = (int)number("STANDIN_BOARDS", 4);
    return count < 0 ? 0 : count > MAX_BOARDS ? MAX_BOARDS : count;
}

/* The comma-separated STANDIN_POWERS_W, else 120, 180, 240, ... W. */
static double power_w(int index) {
    const char *at = getenv("STANDIN_POWERS_W");
    int skip = index;
    while (at && *at && skip > 0) {
        at += strcspn(at, ",");
        if (*at) at++;
        skip--;
    }
    return at && *at ? atof(at) : 120.0 + 60.0 * index;
}

/* Integral of the power from monotonic time 0: constant, plus a square wave that begins each period high. */
static double energy_j(int index, double at_s) {
    double swing_w = number("STANDIN_SQUARE_W", 0), period_s = number("STANDIN_SQUARE_PERIOD_S", 0.7);
    double phase_s = fmod(at_s, period_s);
    double wave_s = phase_s < period_s / 2 ? phase_s : period_s - phase_s;
    return power_w(index) * at_s + swing_w * wave_s;
}

static double last_tick_s(void) {
    double tick_s = number("STANDIN_TICK_S", 0.1);
    return floor(now_s() / tick_s) * tick_s;
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
    return text(name, room, "NVIDIA H100 80GB HBM3");
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
    *energy_mj = (unsigned long long)floor(energy_j(board->index, last_tick_s()) * 1000);
    return SUCCESS;
}

/* Mean of the last second before the tick, as Hopper boards give it. */
int nvmlDeviceGetPowerUsage(const Board *board, unsigned int *milliwatts) {
    double tick_s = last_tick_s();
    CHECKED("power");
    *milliwatts = (unsigned int)lround((energy_j(board->index, tick_s) - energy_j(board->index, tick_s - 1)) * 1000);
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

/* Not supported unless STANDIN_MIG says 0 (off) or 1 (on). */
int nvmlDeviceGetMigMode(const Board *board, unsigned int *current, unsigned int *pending) {
    int mode = (int)number("STANDIN_MIG", -1);
    CHECKED("mig");
    if (mode < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned int)mode;
    return SUCCESS;
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
