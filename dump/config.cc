#include "dump/config.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

namespace minicore {
namespace {

bool Fail(OptionError* error, const char* key, const char* value, const char* wanted) {
  snprintf(error->text, sizeof(error->text), "option %s=%.80s: %s", key, value, wanted);
  return false;
}

bool Fail(OptionError* error, const char* key, uint64_t value, const char* wanted) {
  char text[24];
  snprintf(text, sizeof(text), "%llu", static_cast<unsigned long long>(value));
  return Fail(error, key, text, wanted);
}

bool ParseNumber(const char* text, const char** end, uint64_t* value) {
  *value = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9'; ++at) {
    const auto digit = static_cast<uint64_t>(*at - '0');
    if (*value > (UINT64_MAX - digit) / 10) return false;
    *value = *value * 10 + digit;
  }
  *end = at;
  return at != text;
}

// The types of options.def. Each reads a value as a user writes it.

bool ReadSTRING(const char* text, const char** value) {
  *value = text;
  return true;
}
constexpr char kWantedSTRING[] = "text is wanted";

bool ReadNUMBER(const char* text, uint64_t* value) {
  const char* end;
  return ParseNumber(text, &end, value) && *end == '\0';
}
constexpr char kWantedNUMBER[] = "a number is wanted, such as 8";

bool ReadFLAG(const char* text, uint64_t* value) {
  return ReadNUMBER(text, value) && *value <= 1;
}
constexpr char kWantedFLAG[] = "0 or 1 is wanted";

bool ReadFD(const char* text, int64_t* value) {
  if (strcmp(text, "-1") == 0) {
    *value = -1;
    return true;
  }
  uint64_t number;
  if (!ReadNUMBER(text, &number) || number > INT32_MAX) return false;
  *value = static_cast<int64_t>(number);
  return true;
}
constexpr char kWantedFD[] = "a file descriptor is wanted, such as 3";

bool ReadSIZE(const char* text, uint64_t* value) {
  const char* end;
  if (!ParseNumber(text, &end, value)) return false;
  unsigned shift = 0;
  switch (*end) {
    case 'k': case 'K': shift = 10; break;
    case 'm': case 'M': shift = 20; break;
    case 'g': case 'G': shift = 30; break;
    case '\0': return true;
    default: return false;
  }
  if (end[1] != '\0' || *value > UINT64_MAX >> shift) return false;
  *value <<= shift;
  return true;
}
constexpr char kWantedSIZE[] = "a size is wanted, such as 64K, 8M or 1G";

bool ReadTIME(const char* text, uint64_t* value) {
  const char* end;
  if (!ParseNumber(text, &end, value)) return false;
  if (strcmp(end, "ms") == 0 || *end == '\0') return true;
  if (strcmp(end, "s") != 0 || *value > UINT64_MAX / 1000) return false;
  *value *= 1000;
  return true;
}
constexpr char kWantedTIME[] = "a time is wanted, such as 200ms or 5s";

bool ReadDisposition(const char* text, Disposition* value) {
  if (strcmp(text, "keep") == 0) {
    *value = Disposition::kKeepAlways;
  } else if (strcmp(text, "label") == 0) {
    *value = Disposition::kKeep;
  } else if (strcmp(text, "cut") == 0) {
    *value = Disposition::kCut;
  } else if (strcmp(text, "elide") == 0) {
    *value = Disposition::kElide;
  } else {
    return false;
  }
  return true;
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

const char* SkipBlanks(const char* text) {
  while (IsBlank(*text)) ++text;
  return text;
}

// Of two rules for one name the last counts.
bool AddTagRule(const char* name, const char* value, TagRules* rules,
                OptionError* error) {
  TagRule rule = {};
  char key[kMaxTagName + 16];
  snprintf(key, sizeof(key), "tag.%s", name);
  name = SkipBlanks(name);
  size_t length = strlen(name);
  while (length != 0 && IsBlank(name[length - 1])) --length;
  if (length == 0 || length > kMaxTagName) {
    return Fail(error, key, value, "a tag has 1 to 31 bytes");
  }
  if (!ReadDisposition(value, &rule.disposition)) {
    return Fail(error, key, value, "keep, label, cut or elide is wanted");
  }
  memcpy(rule.name, name, length);
  unsigned at = 0;
  while (at < rules->count && strcmp(rules->rules[at].name, rule.name) != 0) ++at;
  if (at == kMaxTagRules) {
    return Fail(error, key, value, "there are rules for 250 tags already");
  }
  rules->rules[at] = rule;
  if (at == rules->count) ++rules->count;
  return true;
}

// Whether the option at `text` is a rule for a tag. Blanks around its key are none of it.
bool IsRule(const char* text) { return strncmp(SkipBlanks(text), "tag.", 4) == 0; }
const char* NameOfRule(const char* text) { return SkipBlanks(text) + 4; }

// For the tag that a rule names which can't be read, one that loses no secret.
void ElideInstead(const char* name, TagRules* rules, OptionError* error) {
  OptionError ignored;
  if (!AddTagRule(name, "elide", rules, &ignored)) return;
  const size_t used = strlen(error->text);
  snprintf(error->text + used, sizeof(error->text) - used, ", or it is elided");
}

bool SetOption(const char* key, const char* value, minicore_config* config,
               TagRules* rules, OptionError* error) {
  if (IsRule(key)) return AddTagRule(NameOfRule(key), value, rules, error);
#define MINICORE_OPTION(name, type, fallback, help)                      \
  if (strcmp(key, #name) == 0) {                                         \
    decltype(config->name) parsed;                                       \
    if (!Read##type(value, &parsed)) {                                   \
      return Fail(error, key, value, kWanted##type);                     \
    }                                                                    \
    config->name = parsed;                                               \
    return true;                                                         \
  }
#include "minicore/options.def"
#undef MINICORE_OPTION
  snprintf(error->text, sizeof(error->text),
           "there is no option '%.40s' (minicore help options lists them)", key);
  return false;
}

// Whether an option starts at `text`: letters, digits, '_', '.', then '='; or a rule for a
// tag of any name.
bool StartsOption(const char* text) {
  if (IsRule(text)) return text[strcspn(text, "=:")] == '=';
  const char* at = text;
  while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
         (*at >= '0' && *at <= '9') || *at == '_' || *at == '.' || *at == '-') {
    ++at;
  }
  return at != text && *at == '=';
}

// How long the option at `text` is: the ':' behind it is the last, or one that another
// option follows.
size_t OptionLength(const char* text) {
  const char* at = text;
  for (; *at != '\0'; ++at) {
    if (*at == ':' && (at[1] == '\0' || StartsOption(at + 1))) break;
    if (*at == '\\' && (at[1] == ':' || at[1] == '\\')) ++at;
  }
  return static_cast<size_t>(at - text);
}

// Copies an option, without the backslashes, to `to`, as two strings: key and value. The
// latter is null if there is none.
// Returns: the end of the copy.
char* CopyOption(const char* text, size_t length, char* to, const char** value) {
  *value = nullptr;
  for (size_t i = 0; i < length; ++i) {
    if (text[i] == '\\' && (text[i + 1] == ':' || text[i + 1] == '\\')) ++i;
    const bool separates = text[i] == '=' && *value == nullptr;
    *to++ = separates ? '\0' : text[i];
    if (separates) *value = to;
  }
  *to = '\0';
  return to + 1;
}

struct SignalName {
  const char* name;
  int number;
};
constexpr SignalName kCoreSignals[] = {
    {"QUIT", SIGQUIT}, {"ILL", SIGILL},   {"ABRT", SIGABRT}, {"FPE", SIGFPE},
    {"SEGV", SIGSEGV}, {"BUS", SIGBUS},   {"SYS", SIGSYS},   {"TRAP", SIGTRAP},
    {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}};
constexpr SignalName kDumpSignals[] = {
    {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"HUP", SIGHUP}, {"WINCH", SIGWINCH}};

template <size_t kCount>
int FindSignal(const SignalName (&table)[kCount], const char* name, size_t length) {
  if (length > 3 && strncmp(name, "SIG", 3) == 0) {
    name += 3;
    length -= 3;
  }
  for (const SignalName& signal : table) {
    if (strlen(signal.name) == length && strncmp(signal.name, name, length) == 0) {
      return signal.number;
    }
  }
  return 0;
}

// "RTMIN+3" or "RTMAX-3", of the signals that glibc leaves to programs. 0 if it is none.
int FindRealTimeSignal(const char* name) {
  if (strncmp(name, "SIG", 3) == 0) name += 3;
  const bool up = strncmp(name, "RTMIN", 5) == 0;
  if (!up && strncmp(name, "RTMAX", 5) != 0) return 0;
  name += 5;
  uint64_t distance = 0;
  if (*name != '\0') {
    const char* end;
    if (*name != (up ? '+' : '-') || !ParseNumber(name + 1, &end, &distance) ||
        *end != '\0') {
      return 0;
    }
  }
  if (distance > static_cast<uint64_t>(SIGRTMAX - SIGRTMIN)) return 0;
  return up ? SIGRTMIN + static_cast<int>(distance) : SIGRTMAX - static_cast<int>(distance);
}

// Calls visit(item, length) for each item of a comma-separated list.
template <typename Visit>
bool ForEachItem(const char* list, Visit visit) {
  while (*list != '\0') {
    const size_t length = strcspn(list, ",");
    if (length != 0 && !visit(list, length)) return false;
    list += length;
    if (*list == ',') ++list;
  }
  return true;
}

bool ReadSignals(const char* list, uint64_t* mask) {
  *mask = 0;
  const bool known = ForEachItem(list, [&](const char* item, size_t length) {
    const int number = FindSignal(kCoreSignals, item, length);
    if (number == 0) return false;
    *mask |= uint64_t{1} << (number - 1);
    return true;
  });
  return known && *mask != 0;
}

bool ReadEnvironmentNames(const char* text, char names[kMaxNameList]) {
  constexpr char kPrefix[] = "allow:";
  if (strncmp(text, kPrefix, sizeof(kPrefix) - 1) != 0) return false;
  size_t used = 0;
  memset(names, 0, kMaxNameList);
  return ForEachItem(text + sizeof(kPrefix) - 1, [&](const char* item, size_t length) {
    if (used + length + 2 > kMaxNameList) return false;
    memcpy(names + used, item, length);
    used += length + 1;
    return true;
  });
}

// More than 30 years is for ever, and can still be added to a clock.
uint64_t Microseconds(uint64_t milliseconds) {
  constexpr uint64_t kForEver = uint64_t{1} << 40;
  return (milliseconds < kForEver ? milliseconds : kForEver) * 1000;
}

}  // namespace

bool IsPathPattern(const char* pattern) {
  for (const char* at = pattern; *at != '\0'; ++at) {
    if (*at != '%') continue;
    ++at;
    if (*at == '\0' || strchr("pPiIugdsthefEc%", *at) == nullptr) return false;
  }
  return true;
}

int ParseOptions(const char* text, char storage[kMaxOptionText],
                 minicore_config* config, TagRules* rules,
                 void (*report)(const OptionError&)) {
  OptionError error;
  int bad = 0;
  const bool too_long = strlen(text) >= kMaxOptionText;
  if (too_long) {
    snprintf(error.text, sizeof(error.text), "the options are longer than %zu bytes",
             kMaxOptionText - 1);
    report(error);
    ++bad;
  }
  char* to = storage;
  for (size_t length; *text != '\0'; text += length + (text[length] == ':')) {
    length = OptionLength(text);
    // Only the rules count then, which leave nothing in `storage`.
    if (too_long && (!IsRule(text) || length >= kMaxOptionText)) continue;
    if (too_long) to = storage;
    const char* const key = to;
    const char* value;
    to = CopyOption(text, length, to, &value);
    if (*key == '\0' && value == nullptr) continue;
    // The colon of env's default stands where one ends an option.
    if (value != nullptr && text[length] == ':' && strcmp(value, "allow") == 0) {
      value = "allow:";
    }
    if (value == nullptr) {
      snprintf(error.text, sizeof(error.text), "option '%.80s' has no value: key=value is wanted",
               key);
    } else {
      // A value that reads well may still make no sense: it is tried at once, so that it
      // costs itself and none of the others.
      const minicore_config before = *config;
      Policy policy;
      TagRules ignored = {};
      if (SetOption(key, value, config, rules, &error) &&
          MakePolicy(*config, &policy, &ignored, &error)) {
        continue;
      }
      *config = before;
    }
    if (IsRule(key)) ElideInstead(NameOfRule(key), rules, &error);
    ++bad;
    report(error);
  }
  return bad;
}

// As the kernel's copy_struct_from_user() (include/linux/uaccess.h).
bool TakeFields(const minicore_config* caller, minicore_config* config) {
  const size_t size = caller->size;
  // A size like this was never set.
  constexpr size_t kMost = 65536;
  if (size < sizeof(caller->size) || size > kMost) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(caller);
  for (size_t i = sizeof(*config); i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  *config = minicore_default_config();
  memcpy(config, caller, size < sizeof(*config) ? size : sizeof(*config));
  config->size = sizeof(*config);
  return true;
}

bool MakePolicy(const minicore_config& asked, Policy* policy, TagRules* rules,
                OptionError* error) {
  minicore_config config = asked;
  const minicore_config defaults = minicore_default_config();
  // A null text means the default. A flag may come from a program that sets any number.
#define MINICORE_DEFAULT_STRING(name) \
  if (config.name == nullptr) config.name = defaults.name;
#define MINICORE_DEFAULT_SIZE(name)
#define MINICORE_DEFAULT_TIME(name)
#define MINICORE_DEFAULT_NUMBER(name)
#define MINICORE_DEFAULT_FLAG(name) \
  if (config.name > 1) return Fail(error, #name, config.name, kWantedFLAG);
#define MINICORE_DEFAULT_FD(name)
#define MINICORE_OPTION(name, type, fallback, help) MINICORE_DEFAULT_##type(name)
#include "minicore/options.def"
#undef MINICORE_OPTION

  *policy = {};
  if (config.path[0] == '\0' || strlen(config.path) >= sizeof(policy->path)) {
    return Fail(error, "path", config.path, "a path of at most 1023 bytes is wanted");
  }
  if (!IsPathPattern(config.path)) {
    return Fail(error, "path", config.path, "only the letters of core(5) may stand behind %");
  }
  strcpy(policy->path, config.path);
  if (config.fd < -1 || config.fd > INT32_MAX) {
    char text[24];
    snprintf(text, sizeof(text), "%lld", static_cast<long long>(config.fd));
    return Fail(error, "fd", text, kWantedFD);
  }
  policy->fd = static_cast<int>(config.fd);
  policy->preopen = config.preopen != 0;
  policy->max_bytes = config.max_bytes;
  policy->root_bytes = config.root_bytes;
  policy->object_bytes = config.object_bytes;
  policy->window_bytes = config.window_bytes;
  if (config.window_bytes > kMaxWindowBytes) {
    return Fail(error, "window_bytes", config.window_bytes, "at most 1M is possible");
  }
  policy->hops = config.hops;
  policy->tagged_pointers = config.tagged_pointers != 0;
  policy->stack_bytes = config.stack_bytes;
  policy->static_bytes = config.static_bytes;
  policy->segments = config.segments;
  if (config.segments < 64 || config.segments > kMaxSegments) {
    return Fail(error, "segments", config.segments, "64 to 65534 are possible");
  }
  if (strcmp(config.text, "none") == 0) {
    policy->text = TextPolicy::kNone;
  } else if (strcmp(config.text, "pc") == 0) {
    policy->text = TextPolicy::kProgramCounter;
  } else if (strcmp(config.text, "all") == 0) {
    policy->text = TextPolicy::kAll;
  } else {
    return Fail(error, "text", config.text, "none, pc or all is wanted");
  }
  if (!ReadEnvironmentNames(config.env, policy->env_allowed)) {
    return Fail(error, "env", config.env, "allow:NAME,NAME is wanted");
  }
  if (strcmp(config.argv, "elide") != 0 && strcmp(config.argv, "keep") != 0) {
    return Fail(error, "argv", config.argv, "keep or elide is wanted");
  }
  policy->secret_bytes = config.secret_bytes;
  if (config.secret_bytes > kMaxSecretBytes) {
    return Fail(error, "secret_bytes", config.secret_bytes, "at most 8M are possible");
  }
  if (strcmp(config.sanitize, "words") != 0 && strcmp(config.sanitize, "none") != 0) {
    return Fail(error, "sanitize", config.sanitize, "none or words is wanted");
  }
  policy->sanitize_words = strcmp(config.sanitize, "words") == 0;
  policy->lock_secrets = config.lock_secrets != 0;
  policy->elide_argv = strcmp(config.argv, "elide") == 0;
  constexpr char kWantedSomeTime[] = "at least 1ms is wanted";
  if (config.freeze_ms == 0) return Fail(error, "freeze_ms", uint64_t{0}, kWantedSomeTime);
  if (config.deadline == 0) return Fail(error, "deadline", uint64_t{0}, kWantedSomeTime);
  policy->freeze_us = Microseconds(config.freeze_ms);
  policy->deadline_us = Microseconds(config.deadline);
  if (!ReadSignals(config.signals, &policy->signals)) {
    return Fail(error, "signals", config.signals,
                "names of signals that dump core are wanted, such as SEGV,ABRT");
  }
  if (config.dump_signal[0] != '\0') {
    policy->dump_signal =
        FindSignal(kDumpSignals, config.dump_signal, strlen(config.dump_signal));
    if (policy->dump_signal == 0) {
      policy->dump_signal = FindRealTimeSignal(config.dump_signal);
    }
    if (policy->dump_signal == 0) {
      return Fail(error, "dump_signal", config.dump_signal,
                  "USR1, USR2, HUP, WINCH, RTMIN+3 or RTMAX-3 is wanted");
    }
  }
  policy->verbose = config.verbose != 0;
  policy->check_free = config.check_free != 0;
  if (config.tags != nullptr) {
    // "cache=keep:session=elide": the same syntax, without "tag.".
    char name[kMaxTagName + 2];
    for (const char* at = config.tags; *at != '\0';) {
      const size_t length = strcspn(at, ":");
      const auto* equals = static_cast<const char*>(memchr(at, '=', length));
      char value[16];
      const size_t name_length = equals == nullptr ? 0 : static_cast<size_t>(equals - at);
      if (equals == nullptr || name_length > kMaxTagName ||
          length - name_length - 1 >= sizeof(value)) {
        return Fail(error, "tags", config.tags, "NAME=keep|label|cut|elide is wanted");
      }
      memcpy(name, at, name_length);
      name[name_length] = '\0';
      memcpy(value, equals + 1, length - name_length - 1);
      value[length - name_length - 1] = '\0';
      if (!AddTagRule(name, value, rules, error)) return false;
      at += length;
      if (*at == ':') ++at;
    }
  }
  return true;
}

}  // namespace minicore

extern "C" void minicore_init_config(minicore_config* config, size_t size) {
  using namespace minicore;  // the readers that the table names
  minicore_config defaults = {};
#define MINICORE_OPTION(name, type, fallback, help) \
  (void)Read##type(fallback, &defaults.name);
#include "minicore/options.def"
#undef MINICORE_OPTION
  defaults.size = size;
  memset(config, 0, size);
  memcpy(config, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}
