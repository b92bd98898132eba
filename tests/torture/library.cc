// A library whose constructor crashes, or does nothing, as it was built.

#ifdef TORTURE_CRASH_IN_CONSTRUCTOR

extern "C" __attribute__((noinline)) void CrashInConstructor() {
  *static_cast<volatile int*>(nullptr) = 1;
}

__attribute__((constructor)) static void Construct() { CrashInConstructor(); }

#else

extern "C" int torture_idle() { return 1; }

#endif
