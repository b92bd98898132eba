#include "alloc/mallctl.h"

#include <cstring>
#include <iterator>

#include "alloc/index_view.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

enum class Effect { kNone, kReset, kDestroy, kBatch };

struct Request {
  Effect effect = Effect::kNone;
  size_t arena = 0;
};

constexpr char kBatchAlloc[] = "experimental.batch_alloc";

// A name in jemalloc's own form; looked up once and used often.
struct Mib {
  explicit Mib(const char* name) {
    known = je_mallctlnametomib(name, numbers, &length) == 0;
  }
  size_t numbers[4];
  size_t length = std::size(numbers);
  bool known;
};

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

// How many threads are bound to it, now.
unsigned ThreadsOf(size_t arena) {
  uint64_t epoch = 1;
  je_mallctl("epoch", nullptr, nullptr, &epoch, sizeof(epoch));
  Mib mib("stats.arenas.0.nthreads");
  mib.numbers[2] = arena;
  unsigned threads = 0;
  size_t size = sizeof(threads);
  if (!mib.known || je_mallctlbymib(mib.numbers, mib.length, &threads, &size,
                                    nullptr, 0) != 0) {
    return 0;  // there is no such arena, and nothing in it
  }
  return threads;
}

// Whether jemalloc will do it: what it refuses must leave no trace here, and once
// it has done it, the memory may be somebody else's (5.3.0, src/ctl.c,
// arena_i_reset_destroy_helper() and arena_i_destroy_ctl()).
bool WillEnd(const Request& request, const MallctlArguments& arguments) {
  return arguments.old_value == nullptr && arguments.old_size == nullptr &&
         arguments.new_value == nullptr && arguments.new_size == 0 &&
         IsOfTheProgram(request.arena) &&
         (request.effect == Effect::kReset || ThreadsOf(request.arena) == 0);
}

bool RetireOne(void*, const Allocation& allocation) {
  auto* pointer = reinterpret_cast<void*>(allocation.begin);
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

// The first allocation that lives and starts in `range`; 0 if there is none.
Address FirstLive(AddressRange range) {
  Address first = 0;
  ForEachLive(
      g_index_state, range,
      [](void* to, const Allocation& allocation) {
        *static_cast<Address*>(to) = allocation.begin;
        return false;
      },
      &first);
  return first;
}

// A page is of one extent, and an extent of one arena: one allocation of each
// page tells.
void RetireAll(size_t arena) {
  const Mib lookup("arenas.lookup");
  AddressRange rest = {g_index_state.region,
                       g_index_state.region + g_index_state.committed.load()};
  while (const Address first = FirstLive(rest)) {
    const Address page_end = AlignDown(first, kPageSize) + kPageSize;
    void* pointer = reinterpret_cast<void*>(first);
    unsigned found = 0;
    size_t size = sizeof(found);
    if (je_mallctlbymib(lookup.numbers, lookup.length, &found, &size, &pointer,
                        sizeof(pointer)) == 0 &&
        found == arena) {
      ForEachLive(g_index_state, {first, page_end}, RetireOne, nullptr);
    }
    rest.begin = page_end;
  }
}

// batch_alloc_packet_t of jemalloc 5.3.0.
struct Batch {
  void** pointers;
  size_t count;
  size_t size;
  int flags;
};

template <typename Call>
int MakeBatch(MallctlArguments arguments, Call call) {
  if (arguments.new_value == nullptr || arguments.new_size != sizeof(Batch)) {
    return call(arguments);  // and is refused
  }
  Batch batch;
  std::memcpy(&batch, arguments.new_value, sizeof(batch));
  batch.size = AtLeastGranule(batch.size);
  arguments.new_value = &batch;
  const int result = call(arguments);
  if (result != 0) return result;
  size_t filled;
  std::memcpy(&filled, arguments.old_value, sizeof(filled));
  const size_t usable = je_nallocx(batch.size, batch.flags);
  for (size_t i = 0; i < filled; ++i) RecordUsable(batch.pointers[i], usable);
  return 0;
}

template <typename Call>
int Tell(const Request& request, const MallctlArguments& arguments, Call call) {
  switch (request.effect) {
    case Effect::kNone:
      break;
    case Effect::kReset:
    case Effect::kDestroy:
      if (WillEnd(request, arguments)) RetireAll(request.arena);
      break;
    case Effect::kBatch:
      return MakeBatch(arguments, call);
  }
  return call(arguments);
}

Request ParseName(const char* name) {
  constexpr char kArena[] = "arena.";
  if (std::strcmp(name, kBatchAlloc) == 0) return {Effect::kBatch};
  if (std::strncmp(name, kArena, sizeof(kArena) - 1) != 0) return {};
  const char* digit = name + sizeof(kArena) - 1;
  size_t arena = 0;
  while (*digit >= '0' && *digit <= '9' && arena < 10000) {
    arena = arena * 10 + static_cast<size_t>(*digit++ - '0');
  }
  if (std::strcmp(digit, ".reset") == 0) return {Effect::kReset, arena};
  if (std::strcmp(digit, ".destroy") == 0) return {Effect::kDestroy, arena};
  return {};
}

Request ParseMib(const size_t* numbers, size_t length) {
  const auto is = [&](const char* name, size_t any) {
    const Mib mib(name);
    if (!mib.known || mib.length != length) return false;
    for (size_t i = 0; i < length; ++i) {
      if (i != any && mib.numbers[i] != numbers[i]) return false;
    }
    return true;
  };
  if (length == 3 && is("arena.0.reset", 1))
    return {Effect::kReset, numbers[1]};
  if (length == 3 && is("arena.0.destroy", 1)) {
    return {Effect::kDestroy, numbers[1]};
  }
  if (length == 2 && is(kBatchAlloc, length)) return {Effect::kBatch};
  return {};
}

}  // namespace

int Mallctl(const char* name, const MallctlArguments& arguments) {
  return Tell(ParseName(name), arguments, [name](const MallctlArguments& a) {
    return je_mallctl(name, a.old_value, a.old_size, a.new_value, a.new_size);
  });
}

int MallctlByMib(const size_t* mib, size_t mib_length,
                 const MallctlArguments& arguments) {
  return Tell(ParseMib(mib, mib_length), arguments,
              [mib, mib_length](const MallctlArguments& a) {
                return je_mallctlbymib(mib, mib_length, a.old_value, a.old_size,
                                       a.new_value, a.new_size);
              });
}

}  // namespace minicore
