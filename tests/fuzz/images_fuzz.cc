// Arbitrary memory as an ELF image and as the lists of the dynamic linker: what
// is read of it stays within bounds, and the reading ends. The memory stands at
// a fixed address, so that an input can hold pointers into itself.

#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "dump/handler/images.h"
#include "dump/handler/link_maps.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/fault_handler.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

// Where no sanitizer has its shadow.
constexpr Address kBase = 0x2000'0000'0000;
constexpr size_t kBytes = 16 * kPageSize;

// Followed by nothing: what runs over the end faults.
uint8_t* Memory() {
  static uint8_t* const memory = [] {
    InstallFaultHandler();
    void* mapped =
        mmap(reinterpret_cast<void*>(kBase), kBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (mapped == MAP_FAILED) abort();
    return static_cast<uint8_t*>(mapped);
  }();
  return memory;
}

void ReadAsImage(TestArena& arena) {
  Image image;
  if (ReadImage(kBase, &image)) {
    Promise(image.data_ranges <= kMaxDataRanges);
    Promise(image.extent.end >= image.extent.begin);
  }
  // Files of 4 pages each, side by side.
  MemoryMap map;
  map.Reserve(arena);
  for (Address at = kBase; at < kBase + kBytes; at += 4 * kPageSize) {
    char line[128];
    const int length =
        snprintf(line, sizeof(line), "%lx-%lx rw-p 00000000 08:01 7 /f\n", at,
                 at + 4 * kPageSize);
    map.Parse(line, static_cast<size_t>(length));
  }
  Images images;
  FindImages(map, arena, images);
  for (const Image& found : images) {
    Promise(found.data_ranges <= kMaxDataRanges);
    for (unsigned i = 0; i < found.data_ranges; ++i) {
      Promise(map.Find(found.data[i].begin) != nullptr);
    }
    const Image* same = FindImage(images, found.base);
    Promise(same != nullptr && same->base == found.base);
  }
}

void ReadAsLinkMaps(FuzzInput& input, TestArena& arena) {
  const uint64_t auxv[] = {AT_PHDR,  kBase + input.Below(kBytes),
                           AT_PHNUM, input.Take<uint8_t>(),
                           AT_NULL,  0};
  safe::FixedVector<Address> addresses;
  addresses.Reserve(arena, 2 * kMaxLinkMaps);
  FindLinkMaps(auxv, 6, addresses);
  Promise(addresses.size() <= 2 * kMaxLinkMaps + 1);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  FuzzSeed seed;
  constexpr Address kBody = kBase;
  seed.Put<uint32_t>(sizeof(Elf64_Ehdr)).Put<uint8_t>(4);
  Elf64_Ehdr header{};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_type = ET_DYN;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 4;
  seed.PutBytes(&header, sizeof(header));
  Elf64_Phdr segments[4]{};
  segments[0].p_type = PT_PHDR;
  segments[0].p_vaddr = sizeof(header);
  segments[1].p_type = PT_LOAD;
  segments[1].p_memsz = 0x1000;
  segments[2].p_type = PT_LOAD;
  segments[2].p_flags = PF_R | PF_W;
  segments[2].p_vaddr = 0x1000;
  segments[2].p_memsz = 0x2000;
  segments[3].p_type = PT_DYNAMIC;
  segments[3].p_vaddr = sizeof(header) + sizeof(segments);
  segments[3].p_memsz = 2 * sizeof(Elf64_Dyn);
  seed.PutBytes(segments, sizeof(segments));
  Elf64_Dyn dynamic[2]{};
  dynamic[0].d_tag = DT_DEBUG;
  const Address debug_at = kBody + segments[3].p_vaddr + sizeof(dynamic);
  dynamic[0].d_un.d_ptr = debug_at;
  seed.PutBytes(dynamic, sizeof(dynamic));
  r_debug debug{};
  debug.r_map = reinterpret_cast<link_map*>(debug_at + sizeof(debug));
  seed.PutBytes(&debug, sizeof(debug));
  link_map modules[2]{};
  modules[0].l_next =
      reinterpret_cast<link_map*>(debug_at + sizeof(debug) + sizeof(link_map));
  seed.PutBytes(modules, sizeof(modules));
  return {seed.bytes()};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  static TestArena arena;
  arena.Renew();
  FuzzInput input(data, size);
  FuzzInput numbers = input;
  input.Take<uint32_t>();
  input.Take<uint8_t>();
  const size_t used = input.TakeBytes(Memory(), kBytes);
  memset(Memory() + used, 0, kBytes - used);
  ReadAsImage(arena);
  ReadAsLinkMaps(numbers, arena);
  return 0;
}
