#include "tests/e2e/facts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace victim {
namespace {

int g_facts_fd = -1;

}  // namespace

void OpenFacts(const char* path) {
  g_facts_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (g_facts_fd < 0) {
    perror(path);
    exit(2);
  }
}

void WriteFact(const char* kind, const char* function, const std::string& name,
               const std::string& json) {
  const std::string line = std::string("{\"kind\": \"") + kind +
                           "\", \"thread\": " + std::to_string(gettid()) +
                           ", \"function\": \"" + function +
                           "\", \"name\": " + ToJson(name) +
                           ", \"value\": " + json + "}\n";
  if (write(g_facts_fd, line.data(), line.size()) !=
      static_cast<ssize_t>(line.size())) {
    perror("facts");
    exit(2);
  }
}

// Bytes above 0x7e become the code points of Latin-1: the reader decodes memory
// so.
std::string ToJson(const std::string& text) {
  std::string json = "\"";
  for (const char character : text) {
    const unsigned byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\') {
      char escape[8];
      snprintf(escape, sizeof(escape), "\\u%04x", byte);
      json += escape;
    } else {
      json += character;
    }
  }
  return json + "\"";
}

std::string ToJson(const char* text) {
  return text ? ToJson(std::string(text)) : "null";
}

// Seventeen digits give the same double back.
std::string ToJson(double number) {
  char text[32];
  snprintf(text, sizeof(text), "%.17g", number);
  return text;
}

}  // namespace victim
