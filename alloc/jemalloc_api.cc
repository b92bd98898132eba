// jemalloc's own interface under its public names, so that a program written
// for jemalloc keeps working and does not talk to a second, empty jemalloc
// (Debian's redis-server imports mallctl and malloc_usable_size). Contracts:
// jemalloc(3) of 5.3.0.
//
// The variables malloc_conf and malloc_message keep their names in the archive
// (redefine.syms) and are exported from there: a program defines or sets them.

#include "alloc/mallctl.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/realloc.h"

extern "C" {

// What nobody may change: the huge page allocator and sbrk() would place heap
// outside the region, and without `retain` jemalloc would unmap parts of it.
// Read by jemalloc after MALLOC_CONF (src/jemalloc.c, malloc_conf_init).
const char* je_malloc_conf_2_conf_harder = "hpa:false,dss:disabled,retain:true";

MINICORE_EXPORT void* mallocx(size_t size, int flags) noexcept {
  size = minicore::AtLeastGranule(size);
  void* pointer = je_mallocx(size, flags);
  if (pointer == nullptr) return nullptr;
  return minicore::RecordUsable(pointer, je_nallocx(size, flags));
}

MINICORE_EXPORT void* rallocx(void* pointer, size_t size, int flags) noexcept {
  return minicore::Reallocate(pointer, size, flags, "rallocx");
}

MINICORE_EXPORT size_t xallocx(void* pointer, size_t size, size_t extra,
                               int flags) noexcept {
  return minicore::ResizeInPlace(pointer, size, extra, flags);
}

MINICORE_EXPORT size_t sallocx(const void* pointer, int flags) noexcept {
  return je_sallocx(pointer, flags);
}

MINICORE_EXPORT void dallocx(void* pointer, int flags) noexcept {
  const uint64_t offset = minicore::OffsetOf(minicore::g_index_state, pointer);
  if (minicore::NeedsLook(offset)) return minicore::ReleaseSlow(pointer, flags);
  minicore::Retire(minicore::g_index_state, offset);
  je_dallocx(pointer, flags);
}

// The size is not used: below a granule it would name a class that we never ask
// for, and freeing by a known size was measured to be slower than by jemalloc's
// own look-up.
MINICORE_EXPORT void sdallocx(void* pointer, size_t, int flags) noexcept {
  dallocx(pointer, flags);
}

MINICORE_EXPORT size_t nallocx(size_t size, int flags) noexcept {
  return je_nallocx(minicore::AtLeastGranule(size), flags);
}

MINICORE_EXPORT int mallctl(const char* name, void* old_value, size_t* old_size,
                            void* new_value, size_t new_size) noexcept {
  return minicore::Mallctl(name, {old_value, old_size, new_value, new_size});
}

MINICORE_EXPORT int mallctlnametomib(const char* name, size_t* mib,
                                     size_t* mib_length) noexcept {
  return je_mallctlnametomib(name, mib, mib_length);
}

MINICORE_EXPORT int mallctlbymib(const size_t* mib, size_t mib_length,
                                 void* old_value, size_t* old_size,
                                 void* new_value, size_t new_size) noexcept {
  return minicore::MallctlByMib(mib, mib_length,
                                {old_value, old_size, new_value, new_size});
}

MINICORE_EXPORT void malloc_stats_print(void (*write)(void*, const char*),
                                        void* context,
                                        const char* options) noexcept {
  je_malloc_stats_print(write, context, options);
}

}  // extern "C"
