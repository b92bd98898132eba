thread_local int g_thread_local = 0;

int Planted() { return ++g_thread_local; }
