// Word-level sanitising: of memory, only the words that can be no secret are kept.
//
// A word is harmless if it is a pointer into memory that is mapped, or a small integer.
// That is what backtraces are made of: return addresses, saved frame pointers, the lists
// of modules and threads. The names of modules stay too, the headers and tables by which
// debuggers find them, and of each thread its number and whether it ends, which share their
// words with other fields.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SANITIZER_H_
#define MINICORE_DUMP_HANDLER_SANITIZER_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/safe/arena.h"

namespace minicore {

class Sanitizer {
 public:
  // `wanted`: the option asks for it; else only an uncertain redactor does.
  void Reserve(safe::Arena& arena, const MemoryMap& map, bool wanted);
  bool wanted() const { return wanted_; }

  // Leaves `range` alone.
  void Exempt(AddressRange range);
  // No Exempt() after it.
  void Sort();

  bool Harmless(uint64_t word) const;

  // Whether something is mapped at `address` that may not be read.
  bool IsProtected(Address address) const;

  // Overwrites the other words of data[0, size), the bytes of [begin, begin + size), with
  // the marker.
  void Sanitize(Address begin, uint8_t* data, size_t size, AddressRange report,
                Place place, Outcome& outcome) const;

 private:
  bool Exempted(Address address) const;

  const MemoryMap* map_ = nullptr;
  safe::FixedVector<AddressRange> exempt_;
  bool wanted_ = false;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SANITIZER_H_
