// Memory with every tag, and copies of secrets in every place that a program
// leaves them in. The contents come from seeds (heap.h); they are stated
// nowhere.

#include <stdlib.h>
#include <string.h>

#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/heap.h"
#include "tests/e2e/registers.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"

namespace victim {
namespace {

constexpr uint64_t kUnmapped = 0x00000badadd50000;

// In .data, not in .bss: something that is not zero.
char g_secret_range[128] = {1};
char g_plain_range[128] = {1};
char g_copy[64] = {1};
HiddenPointer g_kept;
HiddenPointer g_labelled;
RegisterPattern g_pattern;

void* Allocate(size_t size) {
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}

// States that `size` bytes made from `seed` must be in the core, or must not.
void Expect(const char* name, uint64_t seed, size_t size, const char* what) {
  WriteFact("fact", "", std::string(what) + "." + name,
            "[" + std::to_string(seed) + ", " + std::to_string(size) + "]");
}
void ExpectAbsent(const char* name, uint64_t seed, size_t size) {
  Expect(name, seed, size, "absent");
}
void ExpectPresent(const char* name, uint64_t seed, size_t size) {
  Expect(name, seed, size, "present");
}

__attribute__((noinline)) void FreeASecret(uint64_t seed) {
  void* memory = Allocate(200);
  FillWith(seed, memory, 200);
  Tag(memory, "secret");
  free(memory);
  // The next of this size reuses the memory; it is kept, and must not bring it
  // back.
  static void* next = Allocate(200);
  Keep(next);
}

// What memcpy leaves below the stack pointer and in vector registers.
__attribute__((noinline)) void CopyThroughTheStack(const char* secret) {
  char buffers[8][256];
  for (auto& buffer : buffers) {
    memcpy(buffer, secret, sizeof(buffers[0]));
    Keep(buffer);
  }
}

// Secrets in registers, as memcpy and string functions leave them: 32 bytes in
// a vector register, 8 in a general one. The other registers hold what
// everybody may see.
__attribute__((noinline)) void HoldRegisters(const char* secret) {
  MakeRegisterPattern(9, kUnmapped, &g_pattern);
  RegisterFacts("crash", g_pattern);
  memcpy(&g_pattern.general[1], secret + 16, 8);
  memcpy(g_pattern.vectors[3], secret + 64, 32);
  memcpy(g_pattern.vectors[15], secret + 96, 32);
  TagRange(&g_pattern.general[1], 8, "secret");
  TagRange(g_pattern.vectors[3], 32, "secret");
  TagRange(g_pattern.vectors[15], 32, "secret");
}

__attribute__((noinline)) void MakeKept() {
  char* kept = static_cast<char*>(Allocate(3000));
  FillWith(61, kept, 3000);
  char* target = static_cast<char*>(Allocate(400));
  FillWith(62, target, 400);
  memcpy(kept + 1504, &target, sizeof(target));
  Tag(kept, "keep");
  g_kept = HiddenPointer(kept);
  void* labelled = Allocate(500);
  FillWith(63, labelled, 500);
  Tag(labelled, "session");
  g_labelled = HiddenPointer(labelled);
}

}  // namespace

// Every kind of secret, each in reach of this frame.
__attribute__((noinline)) void HoldSecrets() {
  char* plain = static_cast<char*>(Allocate(256));
  FillWith(1, plain, 256);
  ExpectPresent("plain", 1, 256);

  char* allocation = static_cast<char*>(Allocate(256));
  FillWith(2, allocation, 256);
  Tag(allocation, "secret");
  ExpectAbsent("allocation", 2, 256);

  char* tagged_inside = static_cast<char*>(Allocate(5000));
  FillWith(3, tagged_inside, 5000);
  Tag(tagged_inside + 4321, "secret");
  ExpectAbsent("tagged_by_interior_pointer", 3, 5000);

  char* moved = static_cast<char*>(Allocate(64));
  FillWith(4, moved, 64);
  Tag(moved, "secret");
  void* wall = Allocate(64);
  moved = static_cast<char*>(realloc(moved, 20000));
  FillWith(4, moved, 20000);
  ExpectAbsent("moved_by_realloc", 4, 20000);

  char* shrunk = static_cast<char*>(Allocate(40000));
  FillWith(5, shrunk, 40000);
  Tag(shrunk, "secret");
  shrunk = static_cast<char*>(realloc(shrunk, 300));
  ExpectAbsent("shrunk_by_realloc", 5, 40000);

  FillWith(6, g_secret_range, sizeof(g_secret_range));
  TagRange(g_secret_range, sizeof(g_secret_range), "secret");
  ExpectAbsent("range_in_data", 6, sizeof(g_secret_range));
  FillWith(7, g_plain_range, sizeof(g_plain_range));
  ExpectPresent("plain_data", 7, sizeof(g_plain_range));

  // 101 bytes that begin and end nowhere near a word.
  char* with_field = static_cast<char*>(Allocate(512));
  FillWith(8, with_field, 512);
  FillWith(9, with_field + 203, 101);
  TagRange(with_field + 203, 101, "secret");
  ExpectAbsent("range_inside_an_allocation", 9, 101);
  ExpectPresent("before_the_range", 8, 200);

  char on_stack[96];
  FillWith(10, on_stack, sizeof(on_stack));
  TagRange(on_stack, sizeof(on_stack), "secret");
  ExpectAbsent("range_on_the_stack", 10, sizeof(on_stack));

  char* in_extent = static_cast<char*>(AllocateTagged(700, "secret"));
  FillWith(11, in_extent, 700);
  ExpectAbsent("tagged_extent", 11, 700);
  char* big_extent = static_cast<char*>(AllocateTagged(100000, "secret"));
  FillWith(12, big_extent, 100000);
  big_extent = static_cast<char*>(realloc(big_extent, 300000));
  ExpectAbsent("tagged_extent_after_realloc", 12, 100000);

  std::string text(90, '.');
  FillWith(13, text.data(), text.size());
  Tag(text.data(), "secret");
  ExpectAbsent("string", 13, 90);

  FreeASecret(14);
  ExpectAbsent("freed", 14, 200);

  char* untagged = static_cast<char*>(Allocate(300));
  FillWith(15, untagged, 300);
  Tag(untagged, "secret");
  Untag(untagged);
  ExpectPresent("untagged", 15, 300);

  // Copies that nobody tagged.
  char copy_on_stack[64];
  memcpy(copy_on_stack, allocation, sizeof(copy_on_stack));
  char* copy_on_heap = static_cast<char*>(Allocate(1000));
  memset(copy_on_heap, '-', 1000);
  memcpy(copy_on_heap + 333, allocation, 256);
  memcpy(g_copy, allocation, sizeof(g_copy));

  // The first 256 bytes of a cache at most; and it is not scanned.
  char* behind_cache = static_cast<char*>(Allocate(600));
  FillWith(52, behind_cache, 600);
  char* cache = static_cast<char*>(Allocate(200000));
  FillWith(51, cache, 200000);
  memcpy(cache + 64, &behind_cache, sizeof(behind_cache));
  Tag(cache, "cache");
  WriteFact("fact", "", "cache", "[51, 200000]");
  ExpectAbsent("pointed_to_from_a_cache", 52, 600);
  behind_cache = nullptr;

  MakeKept();
  ExpectPresent("kept", 61, 1504);
  ExpectPresent("pointed_to_from_a_kept", 62, 400);
  ExpectAbsent("label_in_reach_of_nothing", 63, 500);

  HoldRegisters(allocation);
  ScrubStack();
  CopyThroughTheStack(allocation);
  LoadRegistersAndFault(&g_pattern);

  Keep(plain), Keep(allocation), Keep(tagged_inside), Keep(moved), Keep(wall);
  Keep(shrunk), Keep(with_field), Keep(on_stack), Keep(in_extent);
  Keep(big_extent), Keep(text), Keep(untagged), Keep(copy_on_stack);
  Keep(copy_on_heap), Keep(cache), Keep(behind_cache);
}

void Secrets(bool in_worker) {
  if (in_worker) {
    pthread_join(StartThread("crasher", HoldSecrets), nullptr);
  } else {
    NameThisThread("crasher");
    HoldSecrets();
  }
}

}  // namespace victim
