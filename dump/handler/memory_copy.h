// The core of a live dump, in memory: made while the threads stand still, written to the
// file when they run again.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_MEMORY_COPY_H_
#define MINICORE_DUMP_HANDLER_MEMORY_COPY_H_

#include <errno.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/safe/syscalls.h"

namespace minicore {

class MemoryCopy {
 public:
  // Maps and touches room for a core of the ordinary size, so that no page fault
  // lengthens the pause: the budget, and as much for stacks, data and notes.
  void Prepare(ByteCount budget) {
    constexpr ByteCount kMost = 64 * 1024 * 1024;
    Map(budget < kMost / 2 ? 2 * budget : kMost, MAP_POPULATE);
  }

  // Makes room for `bytes`.
  // Returns: 0 or -ENOMEM.
  int Reserve(ByteCount bytes) {
    if (bytes > capacity_) {
      Release();
      Map(bytes, 0);
    }
    return bytes > capacity_ ? -ENOMEM : 0;
  }

  // Returns: 0, or -ENOSPC if it does not fit.
  int Append(const void* data, size_t size) {
    if (size > capacity_ - size_) return -ENOSPC;
    __builtin_memcpy(data_ + size_, data, size);
    size_ += size;
    return 0;
  }

  // Overwrites. Returns: 0, or -EINVAL beyond what was appended.
  int WriteAt(uint64_t offset, const void* data, size_t size) {
    if (offset > size_ || size > size_ - offset) return -EINVAL;
    __builtin_memcpy(data_ + offset, data, size);
    return 0;
  }

  void Release() {
    if (data_ != nullptr) {
      safe::Syscall(SYS_munmap, safe::Word(data_), static_cast<long>(capacity_));
    }
    data_ = nullptr;
    capacity_ = size_ = 0;
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void Map(ByteCount bytes, int flags) {
    const long memory = safe::Syscall(SYS_mmap, 0, static_cast<long>(bytes),
                                      PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (memory < 0 && memory > -4096) return;
    data_ = reinterpret_cast<uint8_t*>(memory);
    capacity_ = bytes;
    safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes), MADV_DONTDUMP);
  }

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_MEMORY_COPY_H_
