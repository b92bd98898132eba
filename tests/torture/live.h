// minicore_dump() and its kin, however minicore came into the process.

#ifndef MINICORE_TESTS_TORTURE_LIVE_H_
#define MINICORE_TESTS_TORTURE_LIVE_H_

namespace torture {

// minicore_dump() and minicore_dump_fd(); -ENOSYS where there is no minicore.
int DumpTo(const char* path);
int DumpToDescriptor(int fd);

// minicore_thread_init(); nothing where there is no minicore.
void InitThread();

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_LIVE_H_
