volatile int g_six = 6;
int g_learned = g_six * 7;

int Planted() { return g_learned; }
