// `minicore verify --secrets`.

#ifndef MINICORE_TOOLS_VERIFY_SECRETS_H_
#define MINICORE_TOOLS_VERIFY_SECRETS_H_

#include <string>

namespace minicore {

// Says on standard output whether one of the patterns in the file
// `patterns_path` ("-": standard input, so that they stand in no command line)
// occurs in the file `path`. Never shows a byte of what it looks for.
//
// Returns: the exit status: 0 if none does, 1 if one does, 2 after a sentence
//          on standard error if that can't be said.
int VerifySecrets(const std::string& path, const std::string& patterns_path,
                  bool as_json);

}  // namespace minicore

#endif  // MINICORE_TOOLS_VERIFY_SECRETS_H_
