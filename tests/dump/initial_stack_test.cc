// What execve() left, without /proc: the same that /proc tells.

#include "dump/initial_stack.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace minicore {
namespace {

std::string Contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

TEST(InitialStack, TellsTheAuxiliaryVectorAsProcDoes) {
  ProcessFacts facts{};
  LearnInitialStack(facts);
  const std::string auxv = Contents("/proc/self/auxv");
  ASSERT_FALSE(auxv.empty());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(facts.auxv), 8 * facts.auxv_words),
            auxv);
}

TEST(InitialStack, TellsWhereTheStringsAreAsProcDoes) {
  ProcessFacts facts{};
  LearnInitialStack(facts);
  const std::string stat = Contents("/proc/self/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::vector<std::string> field(3);
  for (std::string word; fields >> word;) field.push_back(word);
  ASSERT_GT(field.size(), 51u);
  EXPECT_EQ(facts.arguments_begin, std::stoull(field[48]));
  EXPECT_EQ(facts.arguments_end, std::stoull(field[49]));
  EXPECT_EQ(facts.environment_begin, std::stoull(field[50]));
  EXPECT_EQ(facts.environment_end, std::stoull(field[51]));
}

}  // namespace
}  // namespace minicore
