// A small heap for tests of the crash side: real memory, in a region of its
// own, and the index that malloc would have left of it.

#ifndef MINICORE_TESTS_SUPPORT_TEST_HEAP_H_
#define MINICORE_TESTS_SUPPORT_TEST_HEAP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "alloc/address.h"
#include "alloc/index_format.h"

namespace minicore {

class TestHeap {
 public:
  explicit TestHeap(size_t chunks = 16);
  ~TestHeap();
  TestHeap(const TestHeap&) = delete;
  TestHeap& operator=(const TestHeap&) = delete;

  // A zero-filled allocation of at least `size` bytes, in slabs like
  // jemalloc's.
  Address Allocate(ByteCount size, uint8_t tag = kNoTag);
  // Its index says freed; its memory stays as it is.
  void Free(Address begin);
  // Interns `name`.
  uint8_t Tag(const char* name);
  uint8_t Tag(const char* name, Disposition disposition);

  // The word at `at`, for writing.
  uint64_t& Word(Address at) { return *reinterpret_cast<uint64_t*>(at); }
  uint8_t* Bytes(Address at) { return reinterpret_cast<uint8_t*>(at); }

  const IndexState& index() const { return index_; }
  IndexState& index() { return index_; }
  const TagState& tags() const { return *tags_; }
  TagState& tags() { return *tags_; }
  AddressRange region() const {
    return {index_.region, index_.region + bytes_};
  }
  // Up to where allocations lie.
  ByteCount used() const { return used_; }

 private:
  struct Slab {
    ByteCount next = 0;
    ByteCount end = 0;
  };

  void* Map(ByteCount bytes);

  ByteCount bytes_;
  std::vector<std::pair<void*, ByteCount>> mappings_;
  IndexState index_ = {};
  std::unique_ptr<TagState> tags_;
  Slab slabs_[kSmallClasses + 1];
  ByteCount used_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_TEST_HEAP_H_
