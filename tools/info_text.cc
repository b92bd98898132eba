#include <cstdio>
#include <cstring>

#include "alloc/index_format.h"
#include "tools/info.h"
#include "tools/text.h"

namespace minicore {
namespace {

void Line(std::string* out, const std::string& text) {
  *out += "  " + text + "\n";
}

std::string Padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string ThreadName(const CoreInfo& info, uint32_t tid, std::string* source) {
  for (const ThreadRow& row : info.notes.threads.rows) {
    if (row.tid != tid) continue;
    *source = SourceOf(info, row.source);
    return Printable({row.name, strnlen(row.name, sizeof(row.name))});
  }
  return "";
}

void Threads(const CoreInfo& info, std::string* out) {
  const auto& threads = info.process.threads;
  *out += "\nThreads: " + std::to_string(threads.size()) + "\n";
  constexpr size_t kShown = 64;
  for (size_t i = 0; i < threads.size() && i < kShown; ++i) {
    const user_regs_struct& registers = threads[i].registers;
    std::string source;
    const std::string name = ThreadName(info, threads[i].tid, &source);
    const std::string place = Printable(PlaceOf(info, registers.rip));
    Line(out, Padded(std::to_string(threads[i].tid), 8) + Padded(name, 16) +
                  Padded(source, 8) + " pc " +
                  (place.empty() ? Hex(registers.rip) : place) + "  sp " +
                  Hex(registers.rsp));
  }
  if (threads.size() > kShown) {
    Line(out, "and " + std::to_string(threads.size() - kShown) + " more");
  }
}

// A function that calls itself, from the same place.
bool IsRepetition(const Frame& frame, const Frame& next) {
  return !frame.is_signal_handler && frame.address == next.address &&
         frame.inlined == next.inlined && frame.function == next.function;
}
constexpr size_t kToldEach = 4;  // up to so many

void Calls(const CoreInfo& info, std::string* out) {
  for (const Backtrace& backtrace : info.backtraces) {
    std::string source;
    const std::string name = ThreadName(info, backtrace.tid, &source);
    *out += "\nBacktrace of thread " + std::to_string(backtrace.tid) +
            (name.empty() ? "" : " (" + name + ")") + "\n";
    const auto& frames = backtrace.frames;
    for (size_t i = 0; i < frames.size(); ++i) {
      Line(out, FrameSentence(frames[i], i));
      size_t same = i + 1;
      while (same < frames.size() && IsRepetition(frames[i], frames[same])) ++same;
      if (same - i < kToldEach) continue;
      Line(out, "and " + std::to_string(same - i - 1) + " more like it");
      i = same - 1;
    }
    if (!backtrace.end.empty()) Line(out, "(it ends here: " + Printable(backtrace.end) + ")");
  }
}

void Totals(const char* title, const std::vector<Total>& totals,
            const char* noun, std::string* out) {
  if (totals.empty()) return;
  *out += std::string("\n") + title + "\n";
  for (const Total& total : totals) {
    Line(out, Padded(Printable(total.name), 16) + Padded(ByteText(total.bytes), 12) +
                  Count(total.count, noun));
  }
}

void Tags(const CoreInfo& info, std::string* out) {
  if (info.notes.tags.rows.empty()) return;
  *out += "\nAllocations by tag\n";
  for (const TagRow& row : info.notes.tags.rows) {
    Line(out, Padded(Printable(TagKey(info, row)), 16) +
                  Padded(DispositionName(row.disposition), 8) +
                  std::to_string(row.kept) + " kept, " +
                  std::to_string(row.cut) + " cut, " +
                  std::to_string(row.elided) + " elided; " +
                  ByteText(row.bytes_in) + " in the core, " +
                  ByteText(row.bytes_out) + " left out");
  }
}

void Dropped(const CoreInfo& info, std::string* out) {
  const auto say = [out](const char* what, uint32_t dropped) {
    if (dropped == 0) return;
    Line(out, std::string("(") + std::to_string(dropped) + " more " + what +
                  " for which the note had no room)");
  };
  say("threads", info.notes.threads.dropped);
  say("segments", info.notes.segments.dropped);
  say("holes", info.notes.holes.dropped);
  say("tags", info.notes.tags.dropped);
  say("anchors", info.notes.anchors.dropped);
}

}  // namespace

std::string InfoText(const CoreInfo& info) {
  std::string out = CrashSentence(info) + ".\n";
  Line(&out,
       "core     " + Printable(info.path) + ", " + ByteText(info.file_bytes));
  Line(&out, "program  " + Printable(info.process.program) + " (process " +
                 std::to_string(info.process.pid) +
                 "): " + Printable(info.process.arguments));
  if (!info.process.threads.empty()) {
    const uint64_t pc = info.process.threads.front().registers.rip;
    const std::string place = PlaceOf(info, pc);
    Line(&out, "at       " + Hex(pc) +
                   (place.empty() ? "" : " = " + Printable(place)));
  }
  if (info.origin == Origin::kOther) {
    out += "\nThere are no MINICORE notes: another program wrote this core.\n";
  } else if (!info.notes.any()) {
    out += "\nThere are no MINICORE notes: the file is damaged or cut short.\n";
  }
  if (!info.remarks.empty()) out += "\n";
  for (const std::string& remark : info.remarks) {
    out += Printable(remark) + "\n";
  }
  Calls(info, &out);
  if (!info.notes.anchors.rows.empty()) {
    out += info.live ? "\nWhat the dumping thread's registers point to\n"
                     : "\nWhat the crashed thread's registers point to\n";
    for (const AnchorRow& anchor : info.notes.anchors.rows) {
      Line(&out, AnchorSentence(info, anchor));
    }
  }
  Threads(info, &out);
  out += "\nModules: " + std::to_string(info.modules.size()) + "\n";
  for (const ModuleInfo& module : info.modules) {
    Line(&out, Padded(Hex(module.begin), 16) + Padded(module.build_id, 42) +
                   Printable(module.path));
  }
  Totals("Bytes by kind", info.bytes_by_kind, "range", &out);
  Tags(info, &out);
  Totals("Left out, by reason", info.holes_by_reason, "hole", &out);
  Dropped(info, &out);
  if (!info.notes.report.empty()) out += "\nReport\n";
  for (const auto& [key, value] : info.notes.report) {
    if (key == "points_to") continue;  // the anchors, told above
    Line(&out, Padded(Printable(key), 20) + " " + Printable(value));
  }
  for (const std::string& fault : info.faults) out += "\nFault: " + fault;
  if (!info.faults.empty()) out += "\n";
  return out;
}

}  // namespace minicore
