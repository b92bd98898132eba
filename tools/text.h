// Small pieces of text that the tools' sentences are made of.

#ifndef MINICORE_TOOLS_TEXT_H_
#define MINICORE_TOOLS_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace minicore {

// "0x7f00": as gdb prints an address.
std::string Hex(uint64_t value);

// "[0x1000, 0x2000)".
std::string HexRange(uint64_t begin, uint64_t end);

// "0 bytes", "1 byte", "2.1 MB": for people; JSON gets the number.
std::string ByteText(uint64_t bytes);

// "1 thread", "3 threads".
std::string Count(uint64_t count, std::string_view noun);

// `text` with everything that could disturb a terminal or a line as \xNN: what
// is in a core was written by a process that nobody vouches for.
std::string Printable(std::string_view text);

// A file's name at the start of a sentence: Printable(), and "" for none.
std::string Named(std::string_view path);

// Valid UTF-8 whatever the input (bytes above 0x7f become \xNN), as JSON wants
// it.
std::string JsonSafe(std::string_view text);

// The one form of what a command has to say besides its answer: "minicore: Sentence." on
// standard error.
void Complain(std::string_view sentence);

}  // namespace minicore

#endif  // MINICORE_TOOLS_TEXT_H_
