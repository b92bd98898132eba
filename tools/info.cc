#include "tools/info.h"

#include <signal.h>

#include <algorithm>
#include <map>

#include "alloc/index_format.h"
#include "tools/text.h"

namespace minicore {
namespace {

std::vector<Total> Sorted(std::map<std::string, Total> totals) {
  std::vector<Total> sorted;
  for (auto& [name, total] : totals) {
    total.name = name;
    sorted.push_back(total);
  }
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const Total& a, const Total& b) { return a.bytes > b.bytes; });
  return sorted;
}

uint64_t SizeOf(uint64_t begin, uint64_t end) {
  return end > begin ? end - begin : 0;
}

// Files that are mapped from their start and begin with an ELF header.
std::vector<ModuleInfo> FindModules(const CoreReader& core,
                                    const std::vector<FileMapping>& files) {
  std::vector<ModuleInfo> modules;
  for (const FileMapping& file : files) {
    const bool same = !modules.empty() && modules.back().path == file.path &&
                      file.file_offset != 0;
    if (same) {
      modules.back().end = std::max(modules.back().end, file.end);
      continue;
    }
    if (file.file_offset != 0) continue;
    const auto magic = core.ReadAs<uint32_t>(file.begin);
    if (magic != 0x464c457fu) continue;
    modules.push_back(
        {file.path, file.begin, file.end, BuildIdAt(core, file.begin)});
  }
  return modules;
}

bool HasFaultAddress(const SignalInfo& signal) {
  if (signal.code <= 0 || signal.code == SI_KERNEL) return false;
  switch (signal.number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
      return true;
    default:
      return false;
  }
}

}  // namespace

CoreInfo CollectInfo(const CoreReader& core, const std::string& path) {
  CoreInfo info;
  info.path = path;
  info.file_bytes = core.file_bytes();
  info.faults = core.faults();
  info.process = DecodeProcessNotes(core, &info.faults);
  info.notes = DecodeMinicoreNotes(core, &info.faults);
  info.modules = FindModules(core, info.process.files);
  std::map<std::string, Total> kinds;
  for (const SegmentRow& row : info.notes.segments.rows) {
    Total& total = kinds[KindName(row.kind)];
    total.count += 1;
    total.bytes += SizeOf(row.begin, row.end);
  }
  info.bytes_by_kind = Sorted(std::move(kinds));
  std::map<std::string, Total> reasons;
  for (const HoleRow& row : info.notes.holes.rows) {
    Total& total = reasons[ReasonName(row.reason)];
    total.count += row.count;
    total.bytes += SizeOf(row.begin, row.end);
  }
  info.holes_by_reason = Sorted(std::move(reasons));
  return info;
}

std::string CrashSentence(const CoreInfo& info) {
  const SignalInfo& signal = info.process.signal;
  std::string sentence = "The process";
  if (!info.process.threads.empty()) {
    sentence = "Thread " + std::to_string(info.process.threads.front().tid);
  }
  if (!signal.present) return sentence + ": the signal is not recorded";
  sentence += " got " + SignalName(signal.number);
  if (HasFaultAddress(signal)) sentence += " at " + Hex(signal.address);
  sentence += ": " + SignalCause(signal);
  if (signal.number == SIGSEGV && HasFaultAddress(signal) &&
      signal.address < 4096) {
    sentence += signal.address == 0
                    ? ", a null pointer"
                    : ", " + Count(signal.address, "byte") + " from null";
  }
  return sentence;
}

std::string AnchorSentence(const CoreInfo& info, const AnchorRow& anchor) {
  const bool is_register = anchor.source == AnchorSource::kRegister;
  std::string sentence =
      is_register ? RegisterName(anchor.number) : std::string("fault address");
  sentence += " = " + Hex(anchor.value) + " points ";
  const uint64_t inside = anchor.value - anchor.begin;
  if (inside != 0) sentence += Count(inside, "byte") + " into ";
  // alloc/index_view.h: 0 unknown, 1 live, 2 freed.
  const char* states[] = {"an unknown", "a live", "a freed"};
  if (inside == 0) sentence += "to ";
  sentence += std::string(anchor.state < 3 ? states[anchor.state] : "a") +
              " allocation";
  sentence += anchor.size != 0 ? " of " + Count(anchor.size, "byte")
                               : " of unknown size";
  sentence += " at " + Hex(anchor.begin);
  if (anchor.tag != kNoTag) {
    sentence +=
        ", tagged \"" + Printable(info.notes.TagName(anchor.tag)) + "\"";
  }
  return sentence;
}

std::string PlaceOf(const CoreInfo& info, uint64_t address) {
  for (const ModuleInfo& module : info.modules) {
    if (address < module.begin || address >= module.end) continue;
    const size_t slash = module.path.rfind('/');
    return module.path.substr(slash == std::string::npos ? 0 : slash + 1) +
           "+" + Hex(address - module.begin);
  }
  return "";
}

}  // namespace minicore
