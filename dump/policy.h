// What the options ask for, checked and turned into plain data: written by config.cc in
// ordinary context, read by the handler.

#ifndef MINICORE_DUMP_POLICY_H_
#define MINICORE_DUMP_POLICY_H_

#include <cstdint>

#include "alloc/address.h"

namespace minicore {

inline constexpr unsigned kMaxPathPattern = 1024;
inline constexpr unsigned kMaxNameList = 1024;
// The tables of the search take 40 bytes for each of these.
inline constexpr ByteCount kMaxSecretBytes = 8 * 1024 * 1024;
// Each pointer costs a look-up for every block of its window.
inline constexpr ByteCount kMaxWindowBytes = 1024 * 1024;
inline constexpr uint64_t kMaxSegments = 65534;  // PN_XNUM - 1: see docs/FORMAT.md

enum class TextPolicy : uint8_t { kNone, kProgramCounter, kAll };

struct Policy {
  char path[kMaxPathPattern];
  int fd;  // -1: path
  bool preopen;
  ByteCount max_bytes;
  ByteCount root_bytes;
  ByteCount object_bytes;
  ByteCount window_bytes;  // at most kMaxWindowBytes
  uint64_t hops;  // 0: no limit
  bool tagged_pointers;
  ByteCount stack_bytes;
  ByteCount static_bytes;
  uint64_t segments;
  TextPolicy text;
  bool elide_argv;
  ByteCount secret_bytes;
  bool lock_secrets;
  bool sanitize_words;
  char env_allowed[kMaxNameList];  // names, each followed by '\0'; ends with an empty one
  uint64_t freeze_us;
  uint64_t deadline_us;
  uint64_t signals;  // bit (number - 1)
  int dump_signal;   // 0: none
  int verbose;
  bool check_free;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_POLICY_H_
