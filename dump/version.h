// The version, once.

#ifndef MINICORE_DUMP_VERSION_H_
#define MINICORE_DUMP_VERSION_H_

namespace minicore {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace minicore

#endif  // MINICORE_DUMP_VERSION_H_
