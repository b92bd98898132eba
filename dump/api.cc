// The public functions that concern the dump; those for memory are in alloc/.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "dump/alt_stack.h"
#include "dump/config.h"
#include "dump/core_target.h"
#include "dump/handler/entry.h"
#include "dump/handler/live_dump.h"
#include "dump/install.h"
#include "dump/safe/format.h"
#include "dump/signal_mask.h"
#include "dump/version.h"
#include "minicore/minicore.h"

namespace minicore {
namespace {

void ReportOption(const OptionError& error) {
  dprintf(2, "minicore: %s\n", error.text);
}

// Returns: whether both make a policy; if not, it is told why.
bool MakeAndCheck(const minicore_config& config, Policy* policy, TagRules* rules) {
  OptionError error;
  if (MakePolicy(config, policy, rules, &error) && CheckTarget(*policy, &error)) {
    return true;
  }
  ReportOption(error);
  return false;
}

int InstallConfig(const minicore_config* given) {
  Policy policy;
  TagRules rules = {};
  char storage[kMaxOptionText];
  minicore_config config = minicore_default_config();
  if (given != nullptr) {
    if (!TakeFields(given, &config)) {
      ReportOption({"the program's minicore_config is of another version, or was not set"});
      return -EINVAL;
    }
    if (!MakeAndCheck(config, &policy, &rules)) return -EINVAL;
    // Its rules for tags are read; those of the environment come behind them, and win.
    config.tags = nullptr;
  }
  // A program that runs with more rights than its user must not obey him in this.
  const char* text = getauxval(AT_SECURE) != 0 ? nullptr : getenv("MINICORE_OPTIONS");
  if (text != nullptr) {
    const minicore_config before = config;
    ParseOptions(text, storage, &config, &rules, &ReportOption);
    TagRules ignored = {};
    // A bad option costs itself and none of the others.
    if (!MakeAndCheck(config, &policy, &ignored)) {
      config.path = before.path;
      config.fd = before.fd;
    }
  }
  OptionError error;
  if (!MakePolicy(config, &policy, &rules, &error)) return -EINVAL;
  return Install(policy, rules);
}

}  // namespace
}  // namespace minicore

extern "C" {

int minicore_install(const minicore_config* given) {
  using namespace minicore;
  const int saved_errno = errno;
  const int result = InstallConfig(given);
  errno = saved_errno;
  return result;
}

int minicore_dump(const char* path) {
  using namespace minicore;
  if (g_runtime.dump_stack_end == nullptr) return -ENODEV;
  if (path != nullptr && safe::Length(path) >= kMaxPathPattern) return -ENAMETOOLONG;
  if (path != nullptr && !IsPathPattern(path)) return -EINVAL;
  return DumpLive(path, -1);
}

int minicore_dump_fd(int fd) {
  using namespace minicore;
  if (g_runtime.dump_stack_end == nullptr) return -ENODEV;
  if (fd < 0) return -EBADF;
  return DumpLive(nullptr, fd);
}

int minicore_thread_init(void) {
  using namespace minicore;
  if (g_runtime.dump_stack_end == nullptr) return -ENODEV;
  const int saved_errno = errno;
  const bool has_stack = EnsureAltStack();
  AdoptMask();
  errno = saved_errno;
  return has_stack ? 0 : -ENOMEM;
}

const char* minicore_version(void) { return minicore::kVersion; }

}  // extern "C"
