#include "tools/options.h"

#include <cstdint>
#include <iterator>

namespace minicore {
namespace {

enum class Type { STRING, SIZE, TIME, NUMBER, FLAG, FD };

struct Option {
  const char* name;
  Type type;
  const char* value;
  const char* help;
};

constexpr Option kOptions[] = {
#define MINICORE_OPTION(name, type, value, help) \
  {#name, Type::type, value, help},
#include "minicore/options.def"
#undef MINICORE_OPTION
};

constexpr size_t kMaxTagName = 31;

// Digits, then one of `units` or nothing. No sign, no blanks, no overflow.
bool IsNumber(std::string_view value,
              std::initializer_list<const char*> units) {
  const size_t digits =
      std::min(value.find_first_not_of("0123456789"), value.size());
  if (digits == 0 || digits > 18) return false;
  const std::string_view unit = value.substr(digits);
  if (unit.empty()) return true;
  for (const char* known : units) {
    if (unit == known) return true;
  }
  return false;
}

bool IsValid(Type type, std::string_view value) {
  switch (type) {
    case Type::STRING:
      return value.find('\0') == std::string_view::npos;
    case Type::SIZE:
      return IsNumber(value, {"K", "M", "G", "k", "m", "g"});
    case Type::TIME:
      return IsNumber(value, {"ms", "s"});
    case Type::NUMBER:
      return IsNumber(value, {});
    case Type::FLAG:
      return value == "0" || value == "1";
    case Type::FD:
      return value == "-1" || IsNumber(value, {});
  }
  return false;
}

const char* Expected(Type type) {
  switch (type) {
    case Type::STRING:
      return "text";
    case Type::SIZE:
      return "a number of bytes such as 512, 64K, 8M or 1G";
    case Type::TIME:
      return "a time such as 200ms or 5s";
    case Type::NUMBER:
      return "a number";
    case Type::FLAG:
      return "0 or 1";
    case Type::FD:
      return "a file descriptor";
  }
  return "";
}

std::string Quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::string CheckTag(std::string_view name, std::string_view value) {
  if (name.empty() || name.size() > kMaxTagName) {
    return "The tag name " + Quoted(name) + " must have 1 to 31 bytes.";
  }
  for (const char* known : {"keep", "label", "cut", "elide"}) {
    if (value == known) return "";
  }
  return "The option tag." + std::string(name) +
         " must be keep, label, cut or elide, not " + Quoted(value) + ".";
}

}  // namespace

std::string CheckOption(std::string_view option) {
  const size_t equals = option.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return "The option " + Quoted(option) + " is not of the form key=value.";
  }
  const std::string_view key = option.substr(0, equals);
  const std::string_view value = option.substr(equals + 1);
  if (key.substr(0, 4) == "tag.") return CheckTag(key.substr(4), value);
  for (const Option& known : kOptions) {
    if (key != known.name) continue;
    if (IsValid(known.type, value)) return "";
    return "The option " + std::string(key) + " must be " +
           Expected(known.type) + ", not " + Quoted(value) + ".";
  }
  return "There is no option " + Quoted(key) +
         "; \"minicore help options\" lists them.";
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
  const auto line = [&](std::string head, const char* help) {
    if (head.size() > width) {
      text += "  " + head + "\n";
      head.clear();
    }
    text +=
        "  " + head + std::string(width - head.size() + 2, ' ') + help + "\n";
  };
  for (const Option& option : kOptions) {
    line(std::string(option.name) + "=" + option.value, option.help);
  }
  line("tag.NAME=keep",
       "what becomes of memory with the tag NAME: keep, label, cut or elide");
  return text;
}

}  // namespace minicore
