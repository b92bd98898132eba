// An arena as large as the dumper's, whose pages are only there when they are
// touched.

#ifndef MINICORE_TESTS_SUPPORT_TEST_ARENA_H_
#define MINICORE_TESTS_SUPPORT_TEST_ARENA_H_

#include <sys/mman.h>

#include <cstdlib>

#include "dump/safe/arena.h"

namespace minicore {

class TestArena : public safe::Arena {
 public:
  explicit TestArena(size_t bytes = 256 * 1024 * 1024) : bytes_(bytes) {
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) abort();
    Reset(memory_, bytes);
  }
  ~TestArena() { munmap(memory_, bytes_); }
  TestArena(const TestArena&) = delete;
  TestArena& operator=(const TestArena&) = delete;

  // Empty and zero-filled again.
  void Renew() {
    madvise(memory_, bytes_, MADV_DONTNEED);
    Reset(memory_, bytes_);
  }

 private:
  void* memory_;
  size_t bytes_;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_TEST_ARENA_H_
