#include "alloc/arena_end.h"

#include <cstring>

#include "alloc/index_view.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

template <typename T>
T Read(const char* name) {
  T value{};
  size_t size = sizeof(value);
  je_mallctl(name, &value, &size, nullptr, 0);
  return value;
}

// jemalloc refuses to end an arena that it made itself, and so must we before
// it is asked: these are the first `opt.narenas`, and one more for huge
// allocations if those have one.
bool IsOfTheProgram(size_t arena) {
  const size_t automatic = Read<unsigned>("opt.narenas");
  const size_t huge = Read<size_t>("opt.oversize_threshold") != 0 ? 1 : 0;
  return arena >= automatic + huge;
}

// The name of the arena in "arena.<number>.<what>"; false if it is not of this
// form.
bool ParseArena(const char* name, const char* what, size_t* arena) {
  constexpr char kArena[] = "arena.";
  if (std::strncmp(name, kArena, sizeof(kArena) - 1) != 0) return false;
  const char* digit = name + sizeof(kArena) - 1;
  *arena = 0;
  while (*digit >= '0' && *digit <= '9' && *arena < 10000) {
    *arena = *arena * 10 + static_cast<size_t>(*digit++ - '0');
  }
  return *digit == '.' && std::strcmp(digit + 1, what) == 0;
}

bool RetireIfOfArena(void* context, const Allocation& allocation) {
  auto* pointer = reinterpret_cast<void*>(allocation.begin);
  unsigned arena = 0;
  size_t size = sizeof(arena);
  if (je_mallctl("arenas.lookup", &arena, &size, &pointer, sizeof(pointer)) !=
          0 ||
      arena != *static_cast<const size_t*>(context)) {
    return true;
  }
  const uint64_t offset = allocation.begin - g_index_state.region;
  // In this order, see ReleaseSlow() in malloc_wrapper.cc.
  const uint8_t byte = RetireAndTell(g_index_state, offset);
  if (MustWipe(allocation.own_tag) || MustWipe(allocation.extent_tag)) {
    Wipe(pointer, allocation.size);
  }
  if (allocation.own_tag != kNoTag) {
    SetTagBytes(g_index_state, offset, byte, kNoTag);
  }
  return true;
}

void RetireAll(size_t arena) {
  if (!IsOfTheProgram(arena)) return;
  ForEachLive(g_index_state, {0, UINT64_MAX}, RetireIfOfArena, &arena);
}

bool IsMibOf(const char* name, const size_t* mib) {
  size_t known[3];
  size_t length = 3;
  return je_mallctlnametomib(name, known, &length) == 0 && length == 3 &&
         mib[0] == known[0] && mib[2] == known[2];
}

}  // namespace

void BeforeMallctl(const char* name) {
  size_t arena;
  if (ParseArena(name, "reset", &arena) ||
      ParseArena(name, "destroy", &arena)) {
    RetireAll(arena);
  }
}

void BeforeMallctl(const size_t* mib, size_t mib_length) {
  if (mib_length == 3 &&
      (IsMibOf("arena.0.reset", mib) || IsMibOf("arena.0.destroy", mib))) {
    RetireAll(mib[1]);
  }
}

}  // namespace minicore
