// Arbitrary bytes as a core: whatever `minicore info`, `minicore verify` and
// `minicore unpack` read of them, they end, and end orderly.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tests/support/core_builder.h"
#include "tools/core_reader.h"
#include "tools/info.h"
#include "tools/process_notes.h"
#include "tools/unpack.h"
#include "tools/verify.h"

namespace minicore {

std::vector<std::string> FuzzSeeds() {
  CoreBuilder without_own_notes = SmallCore();
  without_own_notes.own_notes.clear();
  return {SmallCore().Build(), without_own_notes.Build()};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string error;
  const auto core = minicore::CoreReader::FromBytes(
      {reinterpret_cast<const char*>(data), size}, &error);
  if (core == nullptr) {
    if (error.empty()) __builtin_trap();  // a refusal has a reason
    return 0;
  }
  minicore::VerifyCore(*core);
  minicore::Faults faults;
  minicore::RebuildImages(*core, minicore::DecodeProcessNotes(*core, &faults), "");
  const minicore::CoreInfo info = minicore::CollectInfo(*core, "core");
  if (minicore::InfoText(info).empty()) __builtin_trap();
  // dump() throws on what is not UTF-8; parse() on what is not JSON.
  const std::string json = minicore::InfoJson(info).dump();
  if (!nlohmann::json::parse(json).is_object()) __builtin_trap();
  return 0;
}
