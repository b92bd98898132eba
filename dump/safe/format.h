// Numbers and text into a caller's buffer, where snprintf may not be called.
//
// Context: any. What does not fit is dropped; the result is always NUL-terminated.

#ifndef MINICORE_DUMP_SAFE_FORMAT_H_
#define MINICORE_DUMP_SAFE_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace minicore::safe {

// strlen without libc: an IFUNC that was never called enters the dynamic linker.
inline size_t Length(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') {
    ++length;
    asm("" : "+r"(length));  // or gcc 12 sees what the loop is, and calls strlen
  }
  return length;
}

inline bool Equal(const char* a, const char* b) {
  while (*a != '\0' && *a == *b) ++a, ++b;
  return *a == *b;
}

inline bool StartsWith(const char* text, const char* prefix) {
  while (*prefix != '\0' && *text == *prefix) ++text, ++prefix;
  return *prefix == '\0';
}

class Text {
 public:
  Text(char* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {
    if (capacity_ != 0) buffer_[0] = '\0';
  }

  Text& Char(char c) {
    if (length_ + 1 < capacity_) {
      buffer_[length_++] = c;
      buffer_[length_] = '\0';
    } else {
      truncated_ = true;
    }
    return *this;
  }
  Text& String(const char* text) {
    for (; *text != '\0'; ++text) Char(*text);
    return *this;
  }
  Text& Decimal(uint64_t value) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (count > 0) Char(digits[--count]);
    return *this;
  }
  Text& Hex(uint64_t value) {
    String("0x");
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) Char("0123456789abcdef"[(value >> shift) & 15]);
    return *this;
  }

  const char* data() const { return buffer_; }
  size_t length() const { return length_; }
  bool truncated() const { return truncated_; }

 private:
  char* buffer_;
  size_t capacity_;
  size_t length_ = 0;
  bool truncated_ = false;
};

}  // namespace minicore::safe

#endif  // MINICORE_DUMP_SAFE_FORMAT_H_
