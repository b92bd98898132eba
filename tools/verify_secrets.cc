#include "tools/verify_secrets.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tools/core_reader.h"
#include "tools/secret_search.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr int kFound = 1;
constexpr int kUsage = 2;
constexpr size_t kMostSentences = 100;

std::string CannotBeOpened() {
  return std::string("cannot be opened: ") + std::strerror(errno);
}

int Refuse(const std::string& path, const std::string& why) {
  std::cerr << Printable(path) << " " << why << ".\n";
  return kUsage;
}

}  // namespace

int VerifySecrets(const std::string& path, const std::string& patterns_path,
                  bool as_json) {
  std::vector<SecretPattern> patterns;
  std::string error;
  std::ifstream file;
  if (patterns_path != "-") file.open(patterns_path);
  std::istream& input = patterns_path == "-" ? std::cin : file;
  if (!input) return Refuse(patterns_path, CannotBeOpened());
  if (!ReadPatterns(input, &patterns, &error)) {
    std::cerr << error << "\n";
    return kUsage;
  }
  // What is no core has not been searched as one, and must not pass for clean.
  const auto core = CoreReader::Open(path, &error);
  if (core == nullptr) return Refuse(path, error);
  if (core->loads().empty()) return Refuse(path, "has no memory in it");
  std::ifstream core_file(path, std::ios::binary);
  if (!core_file) return Refuse(path, CannotBeOpened());
  const std::string bytes{std::istreambuf_iterator<char>(core_file),
                          std::istreambuf_iterator<char>()};
  if (core_file.bad()) return Refuse(path, "cannot be read");
  const auto findings = SecretSearch(patterns).FindIn(bytes);
  auto json_findings = nlohmann::json::array();
  for (size_t i = 0; i < findings.size(); ++i) {
    const SecretFinding& finding = findings[i];
    std::optional<uint64_t> address;
    for (const CoreSegment& load : core->loads()) {
      const uint64_t behind = finding.offset - load.offset;
      if (behind < load.file_bytes) address = load.address + behind;
    }
    if (as_json) {
      nlohmann::json json = {{"line", finding.line},
                             {"form", finding.form},
                             {"offset", finding.offset},
                             {"bytes", finding.size}};
      if (address) json["address"] = Hex(*address);
      json_findings.push_back(json);
    } else if (i < kMostSentences) {
      std::cout << "The pattern of line " << finding.line << " occurs "
                << finding.form << ": " << finding.size << " bytes at offset "
                << finding.offset;
      if (address)
        std::cout << ", address " << Hex(*address);
      std::cout << ".\n";
    }
  }
  const bool clean = findings.empty();
  if (as_json) {
    const nlohmann::json json = {{"core", JsonSafe(path)},
                                 {"patterns", patterns.size()},
                                 {"clean", clean},
                                 {"findings", json_findings}};
    std::cout << json.dump(2) << "\n";
    return clean ? 0 : kFound;
  }
  if (findings.size() > kMostSentences) {
    std::cout << "And " << findings.size() - kMostSentences << " more.\n";
  }
  if (clean) {
    std::cout << Printable(path) << " holds none of " << patterns.size()
              << " patterns.\n";
  }
  return clean ? 0 : kFound;
}

}  // namespace minicore
