// Which pieces become one segment, with markers between them.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_GAPS_H_
#define MINICORE_DUMP_HANDLER_GAPS_H_

#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/piece.h"

namespace minicore {

// A gap up to this costs less as markers than as another program header (56 bytes).
inline constexpr ByteCount kCheapGap = 64;
// With more program headers than 2,048 file(1) shows nothing, and gdb looks through all of
// them each time it reads memory: fewer are worth this part of what is kept.
inline constexpr uint64_t kFewSegments = 2048 - 2;
inline constexpr ByteCount kWorthOfFew = 4;
// When program headers are short, gaps up to this are filled before memory is dropped.
inline constexpr ByteCount kWidestGap = 64 * 1024;

// The permissions of addresses that ascend.
class Permissions {
 public:
  explicit Permissions(const MemoryMap& map)
      : mapping_(map.mappings().begin()), end_(map.mappings().end()) {}

  // PF_R, PF_W, PF_X.
  uint32_t At(Address address);

 private:
  const Mapping* mapping_;
  const Mapping* const end_;
};

// With how many markers between them two pieces can be of one segment: solid after solid,
// absent after anything it touches, never solid after absent. An image always begins a
// segment: elfutils finds no module for an address in one that begins in the middle of a
// segment (libdwfl/segment.c, reify_segments()).
inline constexpr ByteCount kApart = ~ByteCount{0};
ByteCount GapBetween(const Piece& before, uint32_t flags_before, const Piece& piece,
                     uint32_t flags);

// Which gaps are filled with markers: those below `width`, and so many of this width.
struct Filling {
  ByteCount width;
  uint64_t of_width;
  uint64_t segments;  // that are left then
  ByteCount bytes;    // of all that are filled, the narrowest too

  bool Takes(ByteCount gap) {
    if (gap <= kCheapGap || gap < width) return true;
    if (gap != width || of_width == 0) return false;
    --of_width;
    return true;
  }
};

// All gaps up to kCheapGap; and of the others the narrowest, so that at most `most`
// segments are left, for at most `room` bytes of markers, and few, if that costs little.
Filling FillingFor(const Pieces& pieces, const MemoryMap& map, uint64_t most,
                   ByteCount room);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_GAPS_H_
