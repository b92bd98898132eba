// Arbitrary text as MINICORE_OPTIONS: every option is taken or told of, nothing
// is written behind the storage, and what is taken makes a policy or a
// sentence.

#include <cstdlib>
#include <cstring>
#include <memory>

#include "dump/config.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_target.h"

namespace minicore {
namespace {

int g_reports = 0;

void CheckSentence(const OptionError& error) {
  ++g_reports;
  Promise(error.text[0] != '\0');
  Promise(memchr(error.text, '\0', sizeof(error.text)) != nullptr);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {
      "path=/var/crash/core.%e.%p:max_bytes=64M:env=allow:PATH,LANG:verbose=1:"
      "tag.cache=keep:tag.session=elide:signals=SEGV,ABRT:deadline=2s:text=all:"
      "dump_signal=USR2:argv=elide:segments=1000:fd=-1:preopen=0",
      "path=a\\:b=c:hops=many::=:x=:tag.=cut:fd=99999999999999999999:deadline="
      "1h",
      "path=/a: tag.my session =elide:tag.x=Elide:tag.x=cut:tag.y: verbose =1:\\\\:",
  };
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto storage = std::make_unique<char[]>(kMaxOptionText);
  const auto rules = std::make_unique<TagRules>();
  const auto policy = std::make_unique<Policy>();
  minicore_config config = minicore_default_config();
  g_reports = 0;
  const int bad = ParseOptions(text.c_str(), storage.get(), &config,
                               rules.get(), &CheckSentence);
  Promise(bad == g_reports);
  Promise(rules->count <= kMaxTagRules);
  OptionError error{};
  if (!MakePolicy(config, policy.get(), rules.get(), &error)) {
    CheckSentence(error);
    return 0;
  }
  Promise(memchr(policy->path, '\0', sizeof(policy->path)) != nullptr);
  Promise(policy->segments >= 64 && policy->segments <= kMaxSegments);
  // The list of names ends with an empty one, within its room.
  Promise(policy->env_allowed[kMaxNameList - 1] == '\0' &&
          policy->env_allowed[kMaxNameList - 2] == '\0');
  return 0;
}
