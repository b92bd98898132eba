#include "tools/text.h"

#include <cinttypes>
#include <cstdio>
#include <iostream>

namespace minicore {
namespace {

void AppendEscaped(unsigned char byte, std::string* out) {
  char escaped[8];
  std::snprintf(escaped, sizeof(escaped), "\\x%02x", byte);
  *out += escaped;
}

}  // namespace

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%" PRIx64, value);
  return text;
}

std::string HexRange(uint64_t begin, uint64_t end) {
  return "[" + Hex(begin) + ", " + Hex(end) + ")";
}

std::string ByteText(uint64_t bytes) {
  if (bytes < 10000) return Count(bytes, "byte");
  const char* unit = "kB";
  double value = static_cast<double>(bytes) / 1e3;
  for (const char* next : {"MB", "GB", "TB"}) {
    if (value < 1000) break;
    value /= 1e3;
    unit = next;
  }
  char text[40];
  std::snprintf(text, sizeof(text), value < 10 ? "%.2f %s" : "%.1f %s", value,
                unit);
  return text;
}

std::string Count(uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) +
         (count == 1 ? "" : "s");
}

std::string Printable(std::string_view text) {
  std::string out;
  for (unsigned char byte : text) {
    if (byte < 0x20 || byte >= 0x7f) {
      AppendEscaped(byte, &out);
    } else {
      out += static_cast<char>(byte);
    }
  }
  return out;
}

std::string Named(std::string_view path) {
  return path.empty() ? "\"\"" : Printable(path);
}

std::string JsonSafe(std::string_view text) {
  std::string out;
  for (unsigned char byte : text) {
    if (byte >= 0x7f) {
      AppendEscaped(byte, &out);
    } else {
      out += static_cast<char>(byte);  // the JSON writer escapes controls
    }
  }
  return out;
}

void Complain(std::string_view sentence) {
  std::cerr << "minicore: " << sentence << "\n";
}

}  // namespace minicore
