#include "tools/verify_secrets.h"

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

}  // namespace

int VerifySecrets(const std::string& path, const std::string& patterns_path,
                  bool as_json) {
  std::vector<SecretPattern> patterns;
  std::string error;
  std::ifstream file;
  if (patterns_path != "-") file.open(patterns_path);
  std::istream& input = patterns_path == "-" ? std::cin : file;
  if (!input) {
    std::cerr << Printable(patterns_path) << " cannot be opened.\n";
    return kUsage;
  }
  if (!ReadPatterns(input, &patterns, &error)) {
    std::cerr << error << "\n";
    return kUsage;
  }
  std::ifstream core_file(path, std::ios::binary);
  if (!core_file) {
    std::cerr << Printable(path) << " cannot be opened.\n";
    return kUsage;
  }
  const std::string bytes{std::istreambuf_iterator<char>(core_file),
                          std::istreambuf_iterator<char>()};
  if (core_file.bad()) {
    std::cerr << Printable(path) << " cannot be read.\n";
    return kUsage;
  }
  const auto findings = SecretSearch(patterns).FindIn(bytes);
  // Where in memory; of a file that is no core, only where in the file.
  const auto core = CoreReader::Open(path, &error);
  std::vector<CoreSegment> loads;
  if (core != nullptr) loads = core->loads();
  auto json_findings = nlohmann::json::array();
  for (size_t i = 0; i < findings.size(); ++i) {
    const SecretFinding& finding = findings[i];
    std::optional<uint64_t> address;
    for (const CoreSegment& load : loads) {
      const uint64_t behind = finding.offset - load.offset;
      if (behind < load.file_bytes) address = load.address + behind;
    }
    if (as_json) {
      nlohmann::json json = {{"line", finding.line},
                             {"form", finding.form},
                             {"offset", finding.offset},
                             {"bytes", finding.size}};
      if (address) json["address"] = *address;
      json_findings.push_back(json);
    } else if (i < kMostSentences) {
      std::cout << "The pattern of line " << finding.line << " occurs "
                << finding.form << ": " << finding.size << " bytes at offset "
                << finding.offset;
      if (address)
        std::cout << ", address 0x" << std::hex << *address << std::dec;
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
