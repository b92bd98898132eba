#include <cstring>
#include <nlohmann/json.hpp>

#include "alloc/index_format.h"
#include "tools/info.h"
#include "tools/text.h"

namespace minicore {
namespace {

using nlohmann::json;

json Frames(const Backtrace& backtrace) {
  json frames = json::array();
  for (size_t i = 0; i < backtrace.frames.size(); ++i) {
    const Frame& frame = backtrace.frames[i];
    json row = {{"address", Hex(frame.address)},
                {"inlined", frame.inlined},
                {"signal_handler", frame.is_signal_handler},
                {"text", JsonSafe(FrameSentence(frame, i))}};
    if (!frame.function.empty()) {
      row["function"] = JsonSafe(frame.function);
      if (!frame.inlined) row["offset"] = frame.offset;
    }
    if (!frame.module.empty()) row["module"] = JsonSafe(frame.module);
    if (!frame.file.empty()) {
      row["file"] = JsonSafe(frame.file);
      row["line"] = frame.line;
    }
    frames.push_back(row);
  }
  return frames;
}

// Addresses as text: a JSON number above 2^53 is not safe with every reader.
json Threads(const CoreInfo& info) {
  json threads = json::array();
  for (const CoreThread& thread : info.process.threads) {
    json registers;
    uint64_t words[kRegisters];
    std::memcpy(words, &thread.registers, sizeof(words));
    for (unsigned i = 0; i < kRegisters; ++i) {
      registers[RegisterName(i)] = Hex(words[i]);
    }
    json row = {{"tid", thread.tid},
                {"signal", thread.signal},
                {"registers", registers},
                {"place", JsonSafe(PlaceOf(info, thread.registers.rip))}};
    for (const ThreadRow& note : info.notes.threads.rows) {
      if (note.tid != thread.tid) continue;
      row["name"] =
          JsonSafe({note.name, strnlen(note.name, sizeof(note.name))});
      row["source"] = SourceOf(info, note.source);
    }
    for (const Backtrace& backtrace : info.backtraces) {
      if (backtrace.tid != thread.tid) continue;
      row["frames"] = Frames(backtrace);
      if (!backtrace.end.empty()) row["frames_end"] = JsonSafe(backtrace.end);
    }
    threads.push_back(row);
  }
  return threads;
}

json Totals(const std::vector<Total>& totals) {
  json rows = json::object();
  for (const Total& total : totals) {
    rows[JsonSafe(total.name)] = {{"count", total.count}, {"bytes", total.bytes}};
  }
  return rows;
}

json Tags(const CoreInfo& info) {
  json rows = json::object();
  for (const TagRow& row : info.notes.tags.rows) {
    rows[JsonSafe(TagKey(info, row))] = {
        {"disposition", DispositionName(row.disposition)},
        {"kept", row.kept},
        {"cut", row.cut},
        {"elided", row.elided},
        {"bytes_in", row.bytes_in},
        {"bytes_out", row.bytes_out}};
  }
  return rows;
}

json Anchors(const CoreInfo& info) {
  static constexpr const char* kStates[] = {"unknown", "live", "freed"};
  json rows = json::array();
  for (const AnchorRow& row : info.notes.anchors.rows) {
    const bool is_register = row.source == AnchorSource::kRegister;
    rows.push_back(
        {{"of", is_register ? RegisterName(row.number) : "fault_address"},
         {"value", Hex(row.value)},
         {"state", row.state < 3 ? kStates[row.state] : "unknown"},
         {"begin", Hex(row.begin)},
         {"size", row.size},
         {"tag", JsonSafe(info.notes.TagName(row.tag))},
         {"text", JsonSafe(AnchorSentence(info, row))}});
  }
  return rows;
}

json Segments(const CoreInfo& info) {
  json rows = json::array();
  for (const SegmentRow& row : info.notes.segments.rows) {
    rows.push_back({{"begin", Hex(row.begin)},
                    {"end", Hex(row.end)},
                    {"kind", KindName(row.kind)},
                    {"tid", row.tid},
                    {"filler", row.filler}});
  }
  return rows;
}

json Holes(const CoreInfo& info) {
  json rows = json::array();
  for (const HoleRow& row : info.notes.holes.rows) {
    rows.push_back({{"begin", Hex(row.begin)},
                    {"end", Hex(row.end)},
                    {"reason", ReasonName(row.reason)},
                    {"tag", JsonSafe(info.notes.TagName(row.tag))},
                    {"count", row.count}});
  }
  return rows;
}

// A value that is a whole number becomes one, and a count with its bytes an object.
json ReportValue(const std::string& value) {
  const bool number = !value.empty() && value.size() <= 15 &&
                      value.find_first_not_of("0123456789") == std::string::npos;
  Total total;
  if (ReadTotal(value, &total)) return {{"count", total.count}, {"bytes", total.bytes}};
  if (number) return std::stoull(value);
  return JsonSafe(value);
}

// "holes.canary" stands in the object "holes", and what there can be more than one of in a
// list.
json Report(const CoreInfo& info) {
  json rows = json::object();
  for (const auto& [key, value] : info.notes.report) {
    const size_t dot = key.find('.');
    if (key == "points_to") {
      json& list = rows[key];
      if (list.is_null() || list.is_array()) list.push_back(JsonSafe(value));
    } else if (dot == std::string::npos) {
      rows[JsonSafe(key)] = ReportValue(value);
    } else {
      json& group = rows[JsonSafe(key.substr(0, dot))];
      // A damaged report may have the name for something else.
      if (!group.is_object()) group = json::object();
      group[JsonSafe(key.substr(dot + 1))] = ReportValue(value);
    }
  }
  return rows;
}

json Signal(const SignalInfo& signal) {
  const bool known = signal.present && signal.number != 0;
  json row = {{"number", signal.number},
              {"name", known ? SignalName(signal.number) : ""},
              {"code", signal.code}};
  if (HasFaultAddress(signal)) row["address"] = Hex(signal.address);
  return row;
}

}  // namespace

json InfoJson(const CoreInfo& info) {
  json modules = json::array();
  for (const ModuleInfo& module : info.modules) {
    modules.push_back({{"path", JsonSafe(module.path)},
                       {"begin", Hex(module.begin)},
                       {"end", Hex(module.end)},
                       {"build_id", module.build_id}});
  }
  json faults = json::array();
  for (const std::string& fault : info.faults)
    faults.push_back(JsonSafe(fault));
  json remarks = json::array();
  for (const std::string& remark : info.remarks)
    remarks.push_back(JsonSafe(remark));
  return {{"core", JsonSafe(info.path)},
          {"file_bytes", info.file_bytes},
          {"minicore", info.notes.any()},
          {"live", info.live},
          {"crash", JsonSafe(CrashSentence(info))},
          {"stack_overflow", info.stack_overflow},
          {"signal", Signal(info.process.signal)},
          {"pid", info.process.pid},
          {"program", JsonSafe(info.process.program)},
          {"arguments", JsonSafe(info.process.arguments)},
          {"threads", Threads(info)},
          {"anchors", Anchors(info)},
          {"modules", modules},
          {"segments", Segments(info)},
          {"bytes_by_kind", Totals(info.bytes_by_kind)},
          {"tags", Tags(info)},
          {"holes_by_reason", Totals(info.holes_by_reason)},
          {"holes", Holes(info)},
          {"report", Report(info)},
          {"remarks", remarks},
          {"faults", faults}};
}

}  // namespace minicore
