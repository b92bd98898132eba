#include <errno.h>

int Planted() { return errno; }
