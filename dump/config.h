// Options: from text and from minicore_config to a Policy.
//
// Context: ordinary, unless said otherwise.

#ifndef MINICORE_DUMP_CONFIG_H_
#define MINICORE_DUMP_CONFIG_H_

#include <cstddef>

#include "alloc/index_format.h"
#include "dump/policy.h"
#include "minicore/minicore.h"

namespace minicore {

inline constexpr size_t kMaxOptionText = 8192;

// One rule of `tag.NAME=...`.
struct TagRule {
  char name[kMaxTagName + 1];
  Disposition disposition;
};
// As many as there can be names: a tag of which a rule is lost has none either, and is
// elided.
inline constexpr unsigned kMaxTagRules = kMaxTags;

struct TagRules {
  TagRule rules[kMaxTagRules];
  unsigned count;
};

// What is wrong with an option, as one sentence.
struct OptionError {
  char text[256];
};

// Reads `key=value:key=value` into the fields of `config`. A ':' that no "key=" follows
// belongs to the value before it ("env=allow:PATH,LANG"), as does one behind a
// backslash. Bad options are told to `report` one by one; their fields stay as they were,
// and a tag whose rule cannot be read is elided. Of text that has no room in `storage` only
// the rules are read.
// String fields point into `storage`, which the caller keeps as long as `config`.
//
// Returns: how many were bad.
int ParseOptions(const char* text, char storage[kMaxOptionText],
                 minicore_config* config, TagRules* rules,
                 void (*report)(const OptionError& error));

// Whether each '%' stands before one of the letters of ExpandPath()
// (dump/handler/core_file.cc); another one would vanish in silence there.
//
// Context: any.
bool IsPathPattern(const char* pattern);

// Copies the fields of `caller`, a program's that may be of another version, as
// minicore.h says, to `config`.
//
// Returns: false if its size makes no sense, or a field is set that we do not have.
bool TakeFields(const minicore_config* caller, minicore_config* config);

// Checks every field and fills `policy`.
//
// Requires: config.size is ours.
// Returns: false, with `error` filled, if a field has no valid value.
bool MakePolicy(const minicore_config& config, Policy* policy, TagRules* rules,
                OptionError* error);

}  // namespace minicore

#endif  // MINICORE_DUMP_CONFIG_H_
