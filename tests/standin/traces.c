/* Power over time: the functions of the package's traces.py, in C, read from STANDIN_TRACES. */
#include "traces.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 64, MAX_TRACES = 4 * MAX_BOARDS };

typedef struct Trace {
    enum { CONSTANT, CYCLE, RAMP, EXPONENTIAL, WITHIN } kind;
    double given[4];
    int steps;
    double seconds[MAX_STEPS], watts[MAX_STEPS];
    const struct Trace *inside;
} Trace;

static double energy_since_zero(const Trace *trace, double at_s);

static double clamped(double value, double low, double high) {
    return value < low ? low : value > high ? high : value;
}

static double cycle_j(const Trace *trace, double after_s) {
    double period_s = 0, turn_j = 0;
    for (int step = 0; step < trace->steps; step++) {
        period_s += trace->seconds[step];
        turn_j += trace->seconds[step] * trace->watts[step];
    }
    double left_s = fmod(after_s, period_s);
    if (left_s < 0) left_s += period_s;
    double energy_j = round((after_s - left_s) / period_s) * turn_j;
    for (int step = 0; step < trace->steps; step++) {
        energy_j += trace->watts[step] * clamped(left_s, 0, trace->seconds[step]);
        left_s -= trace->seconds[step];
    }
    return energy_j;
}

/* begin_w, end_w, begin_s, end_s */
static double ramp_j(const double *given, double at_s) {
    double inside_s = clamped(at_s - given[2], 0, given[3] - given[2]);
    double slope = (given[1] - given[0]) / (given[3] - given[2]);
    return given[0] * fmin(at_s - given[2], 0) + given[0] * inside_s + slope * inside_s * inside_s / 2
        + given[1] * fmax(at_s - given[3], 0);
}

/* begin_w, final_w, time_constant_s, begin_s */
static double exponential_j(const double *given, double at_s) {
    double after_s = fmax(at_s - given[3], 0);
    return given[0] * fmin(at_s - given[3], 0) + given[1] * after_s
        - (given[0] - given[1]) * given[2] * expm1(-after_s / given[2]);
}

/* idle_w, begin_s, end_s */
static double within_j(const Trace *trace, double at_s) {
    double until_s = clamped(at_s, trace->given[1], trace->given[2]);
    return energy_since_zero(trace->inside, until_s) - energy_since_zero(trace->inside, trace->given[1])
        + trace->given[0] * (at_s - until_s);
}

static double energy_since_zero(const Trace *trace, double at_s) {
    switch (trace->kind) {
    case CYCLE: return cycle_j(trace, at_s - trace->given[0]) - cycle_j(trace, -trace->given[0]);
    case RAMP: return ramp_j(trace->given, at_s) - ramp_j(trace->given, 0);
    case EXPONENTIAL: return exponential_j(trace->given, at_s) - exponential_j(trace->given, 0);
    case WITHIN: return within_j(trace, at_s) - within_j(trace, 0);
    default: return trace->given[0] * at_s;
    }
}

static Trace traces[MAX_TRACES];
static const Trace *trace_of[MAX_BOARDS];
static int traces_used;
static char *traces_read = NULL;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

static void malformed(const char *at) {
    fprintf(stderr, "STANDIN_TRACES: can't read \"%.40s\"; truth.py writes what can be read\n", at);
    abort();
}

static void numbers(const char **at, double *into, int count) {
    for (int index = 0; index < count; index++) {
        char *end;
        into[index] = strtod(*at, &end);
        if (end == *at) malformed(*at);
        *at = end;
    }
}

/* A word and its numbers, as in `constant 120`; `within` is followed by what lies inside, `cycle` by its steps. */
static const Trace *parse(const char **at) {
    static const struct { const char *word; int numbers; } kinds[] = {
        {"constant", 1}, {"cycle", 2}, {"ramp", 4}, {"exponential", 4}, {"within", 3}
    };
    Trace *trace = &traces[traces_used++];
    *at += strspn(*at, " ");
    size_t length = strcspn(*at, " ;");
    int kind = 0;
    while (kind < 5 && (strlen(kinds[kind].word) != length || strncmp(*at, kinds[kind].word, length) != 0)) kind++;
    if (kind == 5 || traces_used == MAX_TRACES) malformed(*at);
    *at += length;
    trace->kind = kind;
    numbers(at, trace->given, kinds[kind].numbers);
    if (kind == CYCLE) {
        trace->steps = (int)trace->given[1];
        if (trace->steps < 1 || trace->steps > MAX_STEPS) malformed(*at);
        for (int step = 0; step < trace->steps; step++) {
            numbers(at, &trace->seconds[step], 1);
            numbers(at, &trace->watts[step], 1);
        }
    }
    if (kind == WITHIN) trace->inside = parse(at);
    return trace;
}

/* One trace per board, separated by semicolons; without any, or beyond them, 120, 180, 240, ... W. */
static void read_traces(const char *text) {
    const char *at = text;
    traces_used = 0;
    for (int index = 0; index < MAX_BOARDS; index++) {
        at += strspn(at, " ;");
        if (*at) {
            trace_of[index] = parse(&at);
        } else {
            Trace *plain = &traces[traces_used++];
            plain->kind = CONSTANT;
            plain->given[0] = 120.0 + 60.0 * index;
            trace_of[index] = plain;
        }
    }
}

double energy_j(int index, double at_s) {
    const char *text = getenv("STANDIN_TRACES"), *gain = getenv("STANDIN_GAIN");
    if (!text) text = "";
    pthread_mutex_lock(&reading);
    if (!traces_read || strcmp(traces_read, text) != 0) {
        free(traces_read);
        traces_read = strdup(text);
        read_traces(text);
    }
    /* Within the lock, because another thread may be told of other traces meanwhile. */
    double drawn_j = energy_since_zero(trace_of[index], at_s);
    pthread_mutex_unlock(&reading);
    return (gain && *gain ? atof(gain) : 1) * drawn_j;
}
