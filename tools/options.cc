#include "tools/options.h"

#include <algorithm>
#include <cctype>
#include <memory>

#include "dump/config.h"

namespace minicore {
namespace {

struct Option {
  const char* name;
  const char* value;
  const char* help;
};

constexpr Option kOptions[] = {
#define MINICORE_OPTION(name, type, value, help) {#name, value, help},
#include "minicore/options.def"
#undef MINICORE_OPTION
};

// Of the check that runs: ParseOptions reports through a plain function.
thread_local std::string* t_error;

// The library's messages follow a colon.
std::string Sentence(std::string text) {
  if (text.empty()) return text;
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

// Splits at blanks: no line but one of a single word is longer than `width`.
std::vector<std::string> Wrapped(std::string_view text, size_t width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    size_t end = text.size();
    if (end > width) {
      end = text.rfind(' ', width);
      if (end == std::string_view::npos) end = std::min(text.find(' '), text.size());
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::string CheckOption(std::string_view option) {
  if (option.empty()) return "An empty option has no value.";
  const auto storage = std::make_unique<char[]>(kMaxOptionText);
  const auto rules = std::make_unique<TagRules>();
  minicore_config config = minicore_default_config();
  std::string error;
  t_error = &error;
  const int bad = ParseOptions(JoinOptions("", {std::string(option)}).c_str(),
                               storage.get(), &config, rules.get(),
                               [](const OptionError& e) { *t_error = e.text; });
  t_error = nullptr;
  if (bad != 0) return Sentence(error);
  const auto policy = std::make_unique<Policy>();
  OptionError wrong = {};
  return MakePolicy(config, policy.get(), rules.get(), &wrong) ? ""
                                                               : Sentence(wrong.text);
}

std::string JoinOptions(std::string_view existing,
                        const std::vector<std::string>& options) {
  std::string joined(existing);
  for (const std::string& option : options) {
    if (!joined.empty()) joined += ':';
    for (char c : option) {
      if (c == ':' || c == '\\') joined += '\\';
      joined += c;
    }
  }
  return joined;
}

bool SetsKey(std::string_view options, std::string_view key) {
  const std::string wanted = std::string(key) + "=";
  bool at_start = true;
  for (size_t i = 0; i < options.size(); ++i) {
    if (at_start && options.substr(i, wanted.size()) == wanted) return true;
    at_start = options[i] == ':';
    if (options[i] == '\\') ++i;
  }
  return false;
}

std::string OptionsHelp() {
  std::string text =
      "Options of minicore: MINICORE_OPTIONS=key=value:key=value, or\n"
      "minicore run -o key=value. A ':' or '\\' inside a value is written as\n"
      "'\\:' or '\\\\' in MINICORE_OPTIONS; after -o, as it is.\n\n";
  size_t width = 0;
  for (const Option& option : kOptions) {
    width = std::max(width, std::string_view(option.name).size() +
                                std::string_view(option.value).size() + 1);
  }
  width = std::min<size_t>(width, 22);
  constexpr size_t kColumns = 80;
  const auto line = [&](std::string head, const char* help) {
    if (head.size() > width) {
      text += "  " + head + "\n";
      head.clear();
    }
    for (const std::string& part : Wrapped(help, kColumns - width - 4)) {
      text += "  " + head + std::string(width - head.size() + 2, ' ') + part + "\n";
      head.clear();
    }
  };
  for (const Option& option : kOptions) {
    line(std::string(option.name) + "=" + option.value, option.help);
  }
  line("tag.NAME=RULE",
       "what becomes of memory with the tag NAME: keep, label, cut or elide");
  return text;
}

}  // namespace minicore
