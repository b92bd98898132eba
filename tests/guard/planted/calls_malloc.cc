#include <stdlib.h>

void* Planted() { return malloc(100); }
