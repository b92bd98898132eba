#include "dump/thread_layout.h"

#include <dlfcn.h>

namespace minicore {
namespace {

constexpr uint32_t kMostBytes = 65536;

// glibc, nptl_db/db_info.c: DESC() of a field is its size in bits, how many
// there are, and its offset.
struct FieldDescriptor {
  uint32_t bits;
  uint32_t count;
  uint32_t offset;
};

// The offset of a field of so many bits, if `name` describes such a field.
bool Field(const char* name, uint32_t bits, uint32_t* offset) {
  const auto* field =
      static_cast<const FieldDescriptor*>(dlsym(RTLD_DEFAULT, name));
  if (field == nullptr || field->bits != bits || field->count != 1 ||
      field->offset > kMostBytes) {
    return false;
  }
  *offset = field->offset;
  return true;
}

bool AddressField(const char* name, uint32_t* offset) {
  return Field(name, 64, offset);
}

}  // namespace

ThreadLayout LearnThreadLayout() {
  ThreadLayout layout = {
      kDefaultPthreadBytes, kDefaultDtvOffset, 0, 0, false, 0, 0, 0};
  const auto* size = static_cast<const uint32_t*>(
      dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread"));
  uint32_t dtv;
  if (size != nullptr && *size > 0 && *size < kMostBytes &&
      AddressField("_thread_db_pthread_dtvp", &dtv) && dtv < *size) {
    layout.pthread_bytes = *size;
    layout.dtv_offset = dtv;
    layout.known = true;
  }
  (void)Field("_thread_db_pthread_tid", 32, &layout.tid_offset);
  (void)Field("_thread_db_pthread_cancelhandling", 32, &layout.cancel_offset);
  const auto global =
      reinterpret_cast<Address>(dlsym(RTLD_DEFAULT, "_rtld_global"));
  uint32_t list;
  uint32_t next;
  if (global != 0 &&
      AddressField("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list", &list) &&
      AddressField("_thread_db_dtv_slotinfo_list_next", &next)) {
    layout.slot_list = global + list;
    layout.slot_next_offset = next;
  }
  (void)AddressField("_thread_db_link_map_l_tls_offset",
                     &layout.tls_offset_offset);
  return layout;
}

}  // namespace minicore
