#include "tools/verify_secrets.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tools/core_reader.h"
#include "tools/minicore_notes.h"
#include "tools/open_core.h"
#include "tools/secret_search.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr size_t kMostSentences = 100;
constexpr size_t kMostPatternBytes = size_t{64} << 20;
constexpr size_t kPiece = size_t{1} << 20;

int Refuse(const std::string& path, const std::string& why) {
  Complain(Named(path) + " " + why + ".");
  return kFailed;
}

// All of a file, or of standard input for "-". Returns: why not; "" if it is all.
std::string ReadWhole(const std::string& path, std::string* bytes) {
  const bool is_input = path == "-";
  const int fd = is_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("cannot be opened: ") + std::strerror(errno);
  std::string why;
  std::string piece(kPiece, '\0');
  for (;;) {
    const ssize_t got = read(fd, &piece[0], piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) why = std::string("cannot be read: ") + std::strerror(errno);
    if (got <= 0) break;
    bytes->append(piece, 0, static_cast<size_t>(got));
    if (bytes->size() > kMostPatternBytes) {
      why = "has more than " + ByteText(kMostPatternBytes) + " of patterns";
      break;
    }
  }
  if (!is_input) close(fd);
  return why;
}

// The file, piece by piece, but for its holes. False if it can't be read.
bool ReadThrough(const CoreReader& core, SecretScan* scan) {
  std::string piece;
  for (uint64_t at = 0; at < core.file_bytes();) {
    const uint64_t data = core.NextData(at);
    scan->AddZeros(data - at);
    at = data;
    piece.resize(std::min<uint64_t>(kPiece, core.file_bytes() - at));
    if (!core.ReadFile(at, &piece[0], piece.size())) return false;
    scan->Add(piece);
    at += piece.size();
  }
  scan->Finish();
  return true;
}

std::optional<uint64_t> AddressOf(const CoreReader& core, uint64_t offset) {
  for (const CoreSegment& load : core.loads()) {
    const uint64_t behind = offset - load.offset;
    if (behind < load.file_bytes) return load.address + behind;
  }
  return std::nullopt;
}

std::string Sentence(const SecretFinding& finding, std::optional<uint64_t> address) {
  const bool whole = finding.size >= finding.of;
  return "The pattern of line " + std::to_string(finding.line) + " occurs " +
         (whole ? "" : "in part, ") + finding.form + ": " +
         (whole ? "" : std::to_string(finding.size) + " of its ") +
         Count(whole ? finding.size : finding.of, "byte") + " at offset " +
         std::to_string(finding.offset) + (address ? ", address " + Hex(*address) : "") + ".";
}

}  // namespace

int VerifySecrets(const std::string& path, const std::string& patterns_path,
                  bool as_json) {
  if (path == "-" && patterns_path == "-") {
    Complain("Standard input cannot have both the patterns and the core.");
    return kFailed;
  }
  std::string text;
  std::string error = ReadWhole(patterns_path, &text);
  if (!error.empty()) return Refuse(patterns_path, error);
  std::vector<SecretPattern> patterns;
  if (!ReadPatterns(text, &patterns, &error)) {
    Complain(error);
    return kFailed;
  }
  // What is no core has not been searched as one, and must not pass for clean.
  int status = 0;
  const auto core = OpenCore(path, &status);
  if (core == nullptr) return kFailed;
  if (core->loads().empty()) return Refuse(path, "has no memory in it");
  const SecretSearch search(patterns);
  SecretScan scan(search);
  if (!ReadThrough(*core, &scan)) return Refuse(path, "cannot be read to its end");
  std::vector<std::string> ignored;
  const std::string cut_off = WhatIsCutOff(*core, DecodeMinicoreNotes(*core, &ignored));
  const auto& findings = scan.findings();
  const bool clean = findings.empty();
  if (as_json) {
    auto json_findings = nlohmann::json::array();
    for (const SecretFinding& finding : findings) {
      nlohmann::json json = {{"line", finding.line},
                             {"form", finding.form},
                             {"offset", finding.offset},
                             {"bytes", finding.size},
                             {"of", finding.of}};
      const auto address = AddressOf(*core, finding.offset);
      if (address) json["address"] = Hex(*address);
      json_findings.push_back(json);
    }
    auto remarks = nlohmann::json::array();
    if (!cut_off.empty()) remarks.push_back(cut_off);
    const nlohmann::json json = {{"core", JsonSafe(path)},
                                 {"patterns", patterns.size()},
                                 {"clean", clean},
                                 {"findings", json_findings},
                                 {"more_findings", scan.more()},
                                 {"remarks", remarks}};
    std::cout << json.dump(2) << "\n";
    return clean ? 0 : kNotAsAsked;
  }
  const size_t shown = std::min(findings.size(), kMostSentences);
  for (size_t i = 0; i < shown; ++i) {
    std::cout << Sentence(findings[i], AddressOf(*core, findings[i].offset)) << "\n";
  }
  const uint64_t more = findings.size() - shown + scan.more();
  if (more > 0) std::cout << "And " << more << " more.\n";
  if (!cut_off.empty()) std::cout << "Remark: " << cut_off << "\n";
  if (clean) {
    std::cout << Named(path) << " holds none of "
              << Count(patterns.size(), "pattern") << ".\n";
  }
  return clean ? 0 : kNotAsAsked;
}

}  // namespace minicore
