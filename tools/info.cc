#include "tools/info.h"

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
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

// Where the crashed thread's stack begins, above `address`; 0 if that is not known.
uint64_t StackAbove(const CoreReader& core, const CoreInfo& info, uint64_t address) {
  const uint32_t tid = info.process.threads.front().tid;
  uint64_t begin = 0;
  for (const SegmentRow& row : info.notes.segments.rows) {
    if (row.kind != SegmentKind::kStack || row.tid != tid || row.begin <= address) continue;
    if (begin == 0 || row.begin < begin) begin = row.begin;
  }
  if (info.notes.segments.present) return begin;
  const CoreSegment* const load = core.NextLoad(address);
  return load != nullptr && (load->flags & PF_W) != 0 ? load->address : 0;
}

// A push, a call, or the first touch of a new frame has left the stack: the fault is not
// below the stack pointer (but for its red zone and a word), and its address is in what is
// kept free below the stack. A large frame goes further than a guard.
bool IsStackOverflow(const CoreReader& core, const CoreInfo& info) {
  constexpr uint64_t kRedZone = 128 + sizeof(uint64_t);  // AMD64 ABI supplement, 3.2.2
  constexpr uint64_t kReach = 16u << 20;
  const SignalInfo& signal = info.process.signal;
  if (info.process.threads.empty() || !signal.present || signal.number != SIGSEGV ||
      (signal.code != SEGV_MAPERR && signal.code != SEGV_ACCERR)) {
    return false;
  }
  char byte;
  if (signal.address + kRedZone < info.process.threads.front().registers.rsp ||
      core.Read(signal.address, &byte, 1)) {
    return false;
  }
  const uint64_t begin = StackAbove(core, info, signal.address);
  return begin != 0 && begin - signal.address <= kReach;
}

constexpr char kHolesKey[] = "holes.";

const Total* FindReason(const CoreInfo& info, HoleReason reason) {
  for (const Total& total : info.holes_by_reason) {
    if (total.name == ReasonName(reason) && total.count > 0) return &total;
  }
  return nullptr;
}

// Why less is in the core than was reached, and which option asks for more.
void AddRemarks(CoreInfo* info) {
  const auto option = [info](const char* name) {
    const std::string value = info->notes.ReportValue(std::string("option.") + name);
    return std::string(name) + (value.empty() ? "" : " (" + value + ")");
  };
  const auto say = [info](std::string text) { info->remarks.push_back(std::move(text)); };
  const auto is_set = [info](const char* key) {
    return info->notes.ReportValue(key) == "1";
  };
  const std::string running = info->notes.ReportValue("threads_running");
  if (is_set("uncertain") && !running.empty()) {
    say("Something is tagged, and threads could not be stopped (" + running + "), so nearly "
        "everything to which they may have copied a secret was left out.");
  } else if (is_set("uncertain")) {
    say("Not all secrets were known, so nearly everything that may hold a copy of one was "
        "left out: raise secret_bytes.");
  }
  if (const Total* total = FindReason(*info, HoleReason::kBudget)) {
    say("The budget " + option("max_bytes") + " was spent, and more was reachable: " +
        ByteText(total->bytes) + " were met and left out, and what only they point to was "
        "never looked for.");
  }
  if (const Total* total = FindReason(*info, HoleReason::kSegmentLimit)) {
    say("The program headers, " + option("segments") + ", were used up: " +
        ByteText(total->bytes) + " that were to be kept are not in the core.");
  }
  if (const Total* total = FindReason(*info, HoleReason::kOutOfRoom)) {
    say("There was no room in the dumper's tables or on the disk for " +
        ByteText(total->bytes) + " that were to be kept.");
  }
  if (is_set("truncated")) {
    say("The file is shorter than planned: there was no room for all of it.");
  }
  if (is_set("past_deadline")) {
    say("The dump ended at its deadline, " + option("deadline_us") +
        ", and what was not yet done then is missing.");
  }
}

}  // namespace

bool HasProcess(const CoreInfo& info) {
  return !info.process.threads.empty() || info.process.pid != 0 || info.notes.any();
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

bool ReadTotal(const std::string& value, Total* total) {
  unsigned long long count = 0;
  unsigned long long bytes = 0;
  int end = 0;
  if (value.empty() || !std::isdigit(static_cast<unsigned char>(value[0])) ||
      std::sscanf(value.c_str(), "%19llu %19llu%n", &count, &bytes, &end) != 2 ||
      static_cast<size_t>(end) != value.size()) {
    return false;
  }
  total->count = count;
  total->bytes = bytes;
  return true;
}

std::string SourceOf(const CoreInfo& info, ThreadSource source) {
  if (info.live && source == ThreadSource::kCrashed) return "dumper";
  return SourceName(source);
}

std::string TagKey(const CoreInfo& info, const TagRow& row) {
  return row.id == kNoTag ? "(untagged)" : info.notes.TagName(row.id);
}

CoreInfo CollectInfo(const CoreReader& core, const std::string& path) {
  CoreInfo info;
  info.path = path;
  info.file_bytes = core.file_bytes();
  info.faults = core.faults();
  info.process = DecodeProcessNotes(core, &info.faults);
  info.notes = DecodeMinicoreNotes(core, &info.faults);
  info.origin = OriginOf(core);
  info.live = info.notes.ReportValue("signal") == "0";
  info.stack_overflow = IsStackOverflow(core, info);
  info.modules = FindModules(core, info.process.files);
  std::map<std::string, Total> kinds;
  for (const SegmentRow& row : info.notes.segments.rows) {
    Total& total = kinds[KindName(row.kind)];
    total.count += 1;
    const uint64_t size = SizeOf(row.begin, row.end);
    const uint64_t filler = std::min(row.filler, size);
    total.bytes += size - filler;
    if (filler == 0) continue;
    kinds["filler"].count += 1;
    kinds["filler"].bytes += filler;
  }
  info.bytes_by_kind = Sorted(std::move(kinds));
  std::map<std::string, Total> reasons;
  for (const HoleRow& row : info.notes.holes.rows) {
    Total& total = reasons[ReasonName(row.reason)];
    total.count += row.count;
    total.bytes += SizeOf(row.begin, row.end);
  }
  for (const auto& [key, value] : info.notes.report) {
    Total total;
    if (key.rfind(kHolesKey, 0) == 0 && ReadTotal(value, &total)) {
      reasons[key.substr(sizeof(kHolesKey) - 1)] = total;
    }
  }
  info.holes_by_reason = Sorted(std::move(reasons));
  const std::string cut_off = WhatIsCutOff(core, info.notes);
  if (!cut_off.empty()) info.remarks.push_back(cut_off);
  AddRemarks(&info);
  return info;
}

void AddBacktraces(const CoreReader& core, const BacktraceOptions& options, CoreInfo* info) {
  Backtraces found = CollectBacktraces(core, info->process, info->modules, options);
  info->backtraces = std::move(found.threads);
  for (std::string& remark : found.remarks) info->remarks.push_back(std::move(remark));
}

std::string CrashSentence(const CoreInfo& info) {
  const SignalInfo& signal = info.process.signal;
  std::string sentence = "The process";
  if (!info.process.threads.empty()) {
    sentence = "Thread " + std::to_string(info.process.threads.front().tid);
  }
  if (info.live) {
    return "Live dump, asked for by " +
           (info.process.threads.empty()
                ? std::string("the process")
                : "thread " + std::to_string(info.process.threads.front().tid)) +
           ": nothing had crashed";
  }
  if (!signal.present) return sentence + ": the signal is not recorded";
  sentence += " got " + SignalName(signal.number);
  if (HasFaultAddress(signal)) sentence += " at " + Hex(signal.address);
  if (info.stack_overflow) return sentence + ": stack overflow";
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
      is_register ? RegisterName(anchor.number) : std::string("the fault address");
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
