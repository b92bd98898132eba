// Secrets that come and go while live dumps are made: at every instant one is either known
// as a secret, or wiped.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "minicore/minicore.h"
#include "tests/secrets/needles.h"

namespace minicore {
namespace {

constexpr size_t kBytes = 256;
constexpr int kDumps = 60;

// The secret stands nowhere but in its allocation: each byte is computed.
uint8_t ByteAt(size_t i) {
  static volatile uint64_t seed = 0x9e3779b97f4a7c15;
  uint64_t x = (i + 1) * seed;
  x ^= x >> 29;
  return static_cast<uint8_t>(x * 0xbf58476d1ce4e5b9 >> 56);
}

void HaveOne() {
  auto* secret = static_cast<volatile uint8_t*>(malloc(kBytes));
  ASSERT_EQ(minicore_tag(const_cast<uint8_t*>(secret), "secret"), 0);
  for (size_t i = 0; i < kBytes; ++i) secret[i] = ByteAt(i);
  free(const_cast<uint8_t*>(secret));
}

std::vector<uint8_t> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(LiveChurn, ASecretThatComesAndGoesIsInNoLiveDump) {
  char directory[] = "/tmp/live_churn.XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  ASSERT_EQ(minicore_install(nullptr), 0);
  std::atomic<bool> stop{false};
  std::thread churn([&stop] {
    while (!stop.load(std::memory_order_relaxed)) HaveOne();
  });
  std::vector<std::string> paths;
  for (int i = 0; i < kDumps; ++i) {
    paths.push_back(std::string(directory) + "/core." + std::to_string(i));
    EXPECT_EQ(minicore_dump(paths.back().c_str()), 0);
  }
  stop.store(true);
  churn.join();
  // Only now may the secret stand in this process.
  std::vector<uint8_t> secret;
  for (size_t i = 0; i < kBytes; ++i) secret.push_back(ByteAt(i));
  Needles needles;
  needles.Add("secret", secret);
  needles.Finish();
  EXPECT_EQ(needles.FindIn(secret).size(), 1u);
  for (const std::string& path : paths) {
    const std::vector<uint8_t> file = ReadAll(path);
    EXPECT_GT(file.size(), 4096u) << path;
    EXPECT_TRUE(needles.FindIn(file).empty()) << path;
    unlink(path.c_str());
  }
  rmdir(directory);
}

}  // namespace
}  // namespace minicore
