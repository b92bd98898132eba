// The ELF images in memory: the program, its libraries, what else was mapped from a
// file that starts with an ELF header.
//
// Context: handler. Headers are read through guarded copies and never trusted.

#ifndef MINICORE_DUMP_HANDLER_IMAGES_H_
#define MINICORE_DUMP_HANDLER_IMAGES_H_

#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/memory_map.h"
#include "dump/safe/arena.h"

namespace minicore {

inline constexpr size_t kMaxImages = 4096;
inline constexpr unsigned kMaxProgramHeaders = 64;
inline constexpr unsigned kMaxDataRanges = 8;
inline constexpr unsigned kMaxFormatRanges = 8;

struct Image {
  Address base = 0;  // of the ELF header
  uint64_t bias = 0;  // added to the addresses in its program headers
  AddressRange extent;  // of all its PT_LOADs, whole pages
  AddressRange data[kMaxDataRanges];  // writable PT_LOADs, whole pages, RELRO included
  unsigned data_ranges = 0;
  // What of the first page is the format's, and no data: the headers, and the notes, in which
  // the build id is.
  AddressRange format[kMaxFormatRanges];
  unsigned format_ranges = 0;
  AddressRange dynamic;  // PT_DYNAMIC
  ByteCount tls_bytes = 0;  // PT_TLS with its alignment
};

using Images = safe::FixedVector<Image>;

// Finds them in the map. Sorted by address.
void FindImages(const MemoryMap& map, safe::Arena& arena, Images& images);

// The image whose extent holds `address`; null if none does.
const Image* FindImage(const Images& images, Address address);

// Reads the ELF header and program headers at `base`.
// Returns: false if there is no ELF image for this machine.
bool ReadImage(Address base, Image* image);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_IMAGES_H_
