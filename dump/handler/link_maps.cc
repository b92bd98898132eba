#include "dump/handler/link_maps.h"

#include <elf.h>
#include <link.h>

#include "dump/handler/crash_context.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// r_debug, whose address ld.so puts into the program's DT_DEBUG. 0 in a program without
// a dynamic linker.
Address FindDebug(const uint64_t* auxv, unsigned words) {
  const Address headers = AuxvValue(auxv, words, AT_PHDR);
  const uint64_t count = AuxvValue(auxv, words, AT_PHNUM);
  uint64_t bias = 0;
  Address dynamic = 0;
  ByteCount dynamic_bytes = 0;
  for (uint64_t i = 0; i < count && i < 64; ++i) {
    Elf64_Phdr header;
    if (!safe::GuardedRead(headers + i * sizeof(header), &header)) return 0;
    if (header.p_type == PT_PHDR) bias = headers - header.p_vaddr;
    if (header.p_type == PT_DYNAMIC) {
      dynamic = header.p_vaddr;
      dynamic_bytes = header.p_memsz;
    }
  }
  if (dynamic == 0) return 0;
  for (ByteCount at = 0; at + sizeof(Elf64_Dyn) <= dynamic_bytes && at < 65536;
       at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    if (!safe::GuardedRead(bias + dynamic + at, &entry)) return 0;
    if (entry.d_tag == DT_DEBUG) return entry.d_un.d_ptr;
    if (entry.d_tag == DT_NULL) break;
  }
  return 0;
}

}  // namespace

void FindLinkMaps(const uint64_t* auxv, unsigned auxv_words,
                  safe::FixedVector<Address>& addresses) {
  const Address debug = FindDebug(auxv, auxv_words);
  r_debug list;
  if (debug == 0 || !safe::GuardedRead(debug, &list)) return;
  (void)addresses.Push(debug);
  auto node = reinterpret_cast<Address>(list.r_map);
  Address mark = 0;  // the node at the last power of two: a circle comes back to it
  for (size_t i = 0; node != 0 && node != mark && i < kMaxLinkMaps; ++i) {
    if ((i & (i - 1)) == 0) mark = node;
    link_map module;
    if (!safe::GuardedRead(node, &module)) return;
    if (!addresses.Push(node) ||
        !addresses.Push(reinterpret_cast<Address>(module.l_name))) {
      return;
    }
    node = reinterpret_cast<Address>(module.l_next);
  }
}

}  // namespace minicore
