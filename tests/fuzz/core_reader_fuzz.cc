// Arbitrary bytes as a core: whatever `minicore info`, `minicore verify` and
// `minicore unpack` read of them, they end, and end orderly. What elfutils makes of the
// images in them may end in any way, in a process of its own.

#include <sys/auxv.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tests/support/core_builder.h"
#include "tools/core_reader.h"
#include "tools/info.h"
#include "tools/process_notes.h"
#include "tools/rebuild_image.h"
#include "tools/verify.h"

namespace minicore {
namespace {

// A whole image that no file has, with frame information and symbols: the kernel's vdso.
CoreBuilder CoreWithAnImage() {
  CoreBuilder core = SmallCore();
  BuiltSegment& image = core.At("image");
  const auto* const vdso = reinterpret_cast<const char*>(getauxval(AT_SYSINFO_EHDR));
  if (vdso == nullptr) return core;
  Elf64_Ehdr header;
  memcpy(&header, vdso, sizeof(header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr load;
    memcpy(&load, vdso + header.e_phoff + i * sizeof(load), sizeof(load));
    if (load.p_type == PT_LOAD) image.bytes.assign(vdso, (load.p_filesz + 15) / 16 * 16);
  }
  image.memory_bytes = image.bytes.size();
  image.flags = PF_R | PF_X;
  return core;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  CoreBuilder without_own_notes = SmallCore();
  without_own_notes.own_notes.clear();
  return {SmallCore().Build(), without_own_notes.Build(), CoreWithAnImage().Build()};
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
  minicore::CoreInfo info = minicore::CollectInfo(*core, "core");
  // A process each: too much for all inputs.
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (std::hash<std::string_view>()(input) % 8 == 0) {
    minicore::AddBacktraces(*core, {/*all_threads=*/true, "", 60}, &info);
  }
  if (minicore::InfoText(info).empty()) __builtin_trap();
  // dump() throws on what is not UTF-8; parse() on what is not JSON.
  const std::string json = minicore::InfoJson(info).dump();
  if (!nlohmann::json::parse(json).is_object()) __builtin_trap();
  return 0;
}
