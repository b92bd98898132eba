// The first lines of jemalloc's malloc and free, inlined into ours.
//
// Most calls take a pointer from, or give it to, the calling thread's cache:
// some thirty instructions in je_malloc and je_free. Around them, our own call,
// size class and prologue were most of what the index costs (a hot pair: +31 %
// with calls, +5 % so). These functions do what those instructions do, and
// answer "no" where they would go on to something else; then the caller calls
// je_malloc or je_free as ever.
//
// That needs offsets in private structures. They are taken from the machine
// code that is linked: the build compares it, instruction by instruction, with
// jemalloc_fast_path.lst (tsd.h, cache_bin.h and rtree.h of 5.3.0 say what the
// offsets mean). Any other code, of a rebuilt package for instance, turns
// kFastPathIsKnown off, and everything still works, only slower.
//
// Context: as malloc: not from a signal handler.

#ifndef MINICORE_ALLOC_JEMALLOC_FAST_PATH_H_
#define MINICORE_ALLOC_JEMALLOC_FAST_PATH_H_

#include <jemalloc/jemalloc.h>

#include <cstddef>
#include <cstdint>

#include "alloc/index_format.h"
#include "alloc/jemalloc_layout.h"  // generated: kFastPathIsKnown

namespace minicore {

// cache_bin_t: a stack of free allocations of one class, growing downwards. The
// low 16 bits of addresses say how far it is filled.
struct JemallocCacheBin {
  void** head;
  uint64_t requests;
  uint16_t low_water;
  uint16_t full;
  uint16_t empty;
};

// What the fast paths use of tsd_t. In every state but "nominal" (no cache yet,
// a reentrant call, slow options) both thresholds are zero, and the functions
// say no.
struct JemallocThread {
  char before_leaves[0x1b0];
  // rtree_ctx_cache_elm_t: where the entries of a GiB of addresses are.
  struct Leaf {
    uint64_t key;
    const uint64_t* entries;
  } leaves[16];
  char before_counters[0x338 - 0x2b0];
  uint64_t allocated;
  uint64_t allocated_threshold;
  uint64_t deallocated;
  uint64_t deallocated_threshold;
  char before_bins[0x360 - 0x358];
  JemallocCacheBin bins[41];  // by size class, as far as these are used here
};
static_assert(sizeof(JemallocCacheBin) == 24);
static_assert(offsetof(JemallocThread, leaves) == 0x1b0);
static_assert(offsetof(JemallocThread, allocated) == 0x338);
static_assert(offsetof(JemallocThread, bins) == 0x360);

// The large classes that threads cache unless MALLOC_CONF says otherwise: 16,
// 20, 24, 28 and 32 KiB, jemalloc's numbers 36 to 40. The bins of classes that
// a thread does not cache are zeros, which are empty and full at once.
inline constexpr size_t kCachedMax = 32768;

inline unsigned CachedLargeClass(size_t size) {
  return kSmallClasses - 2 + static_cast<unsigned>((size - 1) >> kPageShift);
}
inline size_t CachedLargeSize(unsigned size_class) {
  return static_cast<size_t>(size_class - (kSmallClasses - 3)) << kPageShift;
}

extern "C" {
// True if jemalloc was told to take samples of who allocates: then each large
// allocation has a note of that, and only je_malloc and je_free keep it right.
extern bool je_opt_prof __attribute__((visibility("hidden")));
extern __thread JemallocThread je_tsd_tls
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
// Where je_malloc and je_free go on when the cache does not serve.
void* je_malloc_default(size_t size) __attribute__((visibility("hidden")));
void je_free_default(void* pointer) __attribute__((visibility("hidden")));
}

// je_malloc and je_free without trying the cache a second time.
inline void* AllocatePastCache(size_t size) {
  return kFastPathIsKnown ? je_malloc_default(size) : je_malloc(size);
}
inline void FreePastCache(void* pointer) {
  kFastPathIsKnown ? je_free_default(pointer) : je_free(pointer);
}

// The calling thread's state, by a pointer that is computed once: addresses
// relative to the thread pointer make every instruction longer.
__attribute__((always_inline)) inline JemallocThread& ThisThread() {
  JemallocThread* thread = &je_tsd_tls;
  __asm__("" : "+r"(thread));
  return *thread;
}

// An allocation of `size_class` (jemalloc's number of it, which for small ones
// is ours), whose size is `usable`, from the thread's cache, counted as
// je_malloc counts it; false if je_malloc has to be asked. (A flag, not null:
// what lies in the cache needs no test of its own.)
__attribute__((always_inline)) inline bool TakeCached(unsigned size_class,
                                                      size_t usable,
                                                      void** pointer) {
  if (!kFastPathIsKnown) return false;
  JemallocThread& thread = ThisThread();
  const uint64_t allocated = thread.allocated + usable;
  if (__builtin_expect(allocated >= thread.allocated_threshold, 0)) {
    return false;
  }
  JemallocCacheBin* bin = &thread.bins[size_class];
  __asm__("" : "+r"(bin));  // computed once: gcc 12 would do it on both sides
  void** const head = bin->head;
  const auto low_bits = static_cast<uint16_t>(reinterpret_cast<uint64_t>(head));
  if (__builtin_expect(low_bits == bin->low_water, 0)) {
    if (low_bits == bin->empty) return false;
    bin->low_water = static_cast<uint16_t>(low_bits + sizeof(void*));
  }
  *pointer = *head;
  bin->head = head + 1;
  thread.allocated = allocated;
  ++bin->requests;
  return true;
}

__attribute__((always_inline)) inline bool TakeCached(unsigned size_class,
                                                      void** pointer) {
  return TakeCached(size_class, kSmallClassSize[size_class], pointer);
}

// What jemalloc's map of pages says of an allocation: its class above 48 bits,
// bit 0 if it lies in a slab. 0 if the thread has not looked there lately.
__attribute__((always_inline)) inline uint64_t PageEntry(
    const JemallocThread& thread, const void* pointer) {
  if (!kFastPathIsKnown) return 0;
  const auto address = reinterpret_cast<uint64_t>(pointer);
  // leaves[(address >> 30) & 15], in two instructions less.
  const auto& leaf = *reinterpret_cast<const JemallocThread::Leaf*>(
      reinterpret_cast<const char*>(thread.leaves) + ((address >> 26) & 0xf0));
  static_assert(sizeof(leaf) == 16);
  if (__builtin_expect(leaf.key != (address & ~uint64_t{0x3fffffff}), 0)) {
    return 0;
  }
  return __atomic_load_n(&leaf.entries[(address >> 12) & 0x3ffff],
                         __ATOMIC_RELAXED);
}

// Puts it into the thread's cache; false if that is full, or something is due.
__attribute__((always_inline)) inline bool PutIntoBin(JemallocThread& thread,
                                                      void* pointer,
                                                      unsigned size_class,
                                                      size_t usable) {
  const uint64_t deallocated = thread.deallocated + usable;
  if (__builtin_expect(deallocated >= thread.deallocated_threshold, 0)) {
    return false;
  }
  JemallocCacheBin* bin = &thread.bins[size_class];
  __asm__("" : "+r"(bin));
  void** const head = bin->head;
  if (__builtin_expect(
          static_cast<uint16_t>(reinterpret_cast<uint64_t>(head)) == bin->full,
          0)) {
    return false;
  }
  bin->head = head - 1;
  head[-1] = pointer;
  thread.deallocated = deallocated;
  return true;
}

// Gives an allocation to the thread's cache; false if je_free has to be asked.
// `entry` is its PageEntry(), and says for the first that it lies in a slab.
__attribute__((always_inline)) inline bool PutSmall(JemallocThread& thread,
                                                    void* pointer,
                                                    uint64_t entry) {
  const unsigned size_class = static_cast<unsigned>(entry >> 48);
  return PutIntoBin(thread, pointer, size_class, kSmallClassSize[size_class]);
}

inline bool PutLarge(void* pointer, uint64_t entry) {
  const unsigned size_class = static_cast<unsigned>(entry >> 48);
  return !je_opt_prof && size_class > kSmallClasses &&
         size_class <= CachedLargeClass(kCachedMax) &&
         PutIntoBin(ThisThread(), pointer, size_class,
                    CachedLargeSize(size_class));
}

}  // namespace minicore

#endif  // MINICORE_ALLOC_JEMALLOC_FAST_PATH_H_
