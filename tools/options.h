// The options of dump/options.def as the command line knows them: checked here,
// so that a typing error is told before the program starts; applied by the
// library.

#ifndef MINICORE_TOOLS_OPTIONS_H_
#define MINICORE_TOOLS_OPTIONS_H_

#include <string>
#include <string_view>
#include <vector>

namespace minicore {

// Returns "" if `option` is a well-formed "key=value" with a known key, else a
// sentence.
std::string CheckOption(std::string_view option);

// `options` in the form of MINICORE_OPTIONS: joined by ':', after `existing` if
// that is not empty, so that they win over it. A ':' or '\' inside an option is
// escaped with a
// '\' before it.
std::string JoinOptions(std::string_view existing,
                        const std::vector<std::string>& options);

// Whether one of the options joined in `options` sets `key`.
bool SetsKey(std::string_view options, std::string_view key);

// The table for `minicore help options`.
std::string OptionsHelp();

}  // namespace minicore

#endif  // MINICORE_TOOLS_OPTIONS_H_
