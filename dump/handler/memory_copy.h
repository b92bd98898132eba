// The memory that goes into the core of a live dump, as it was while the threads stood
// still: copied then, redacted and written when they run again.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_MEMORY_COPY_H_
#define MINICORE_DUMP_HANDLER_MEMORY_COPY_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/dump_plan.h"
#include "dump/handler/outcome.h"

namespace minicore {

// Reads memory to `to`. Pages that can't be read become markers, and holes as far as they
// lie in `report`; reading goes on behind each.
void ReadOrMark(AddressRange range, AddressRange report, uint8_t* to, Outcome& outcome);

class MemoryCopy {
 public:
  // Maps and touches room for a core of the ordinary size, so that no page fault
  // lengthens the pause: the budget, and as much for stacks, data and notes.
  void Prepare(ByteCount budget);

  // Makes room for `bytes`.
  // Returns: 0 or -ENOMEM.
  int Reserve(ByteCount bytes);

  // Copies all that the plan takes from memory to where it will stand in the file. What
  // can't be read becomes markers, and a hole.
  // Requires: Reserve(plan.file_bytes).
  void Fill(const DumpPlan& plan, Outcome& outcome);

  void Release();

  // The byte at `offset` of the file to be.
  const uint8_t* At(uint64_t offset) const { return data_ + offset; }

 private:
  void Map(ByteCount bytes, bool touch);

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_MEMORY_COPY_H_
