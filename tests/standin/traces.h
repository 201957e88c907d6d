#ifndef STANDIN_TRACES_H
#define STANDIN_TRACES_H

enum { MAX_BOARDS = 64 };

/* Integral of a board's power from monotonic time 0, as its sensors see it, in joules. */
double energy_j(int index, double at_s);

#endif
