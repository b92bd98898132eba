// The signal stacks that threads get, and leave to the next ones: sigaltstack() means to a
// program what it always meant, and yet there is room for our signals.

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "minicore/minicore.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace {

constexpr size_t kSmall = 8192;
constexpr size_t kLarge = 64 * 1024;

alignas(16) char g_small[kSmall];
alignas(16) char g_large[kLarge];

// In a thread that minicore knows.
void InThread(const std::function<void()>& body) {
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* pointer) -> void* {
                  (*static_cast<const std::function<void()>*>(pointer))();
                  return nullptr;
                },
                const_cast<std::function<void()>*>(&body)),
            0);
  pthread_join(thread, nullptr);
}

stack_t Kernels() {
  stack_t stack;
  EXPECT_EQ(syscall(SYS_sigaltstack, nullptr, &stack), 0);
  return stack;
}

stack_t Asked() {
  stack_t stack;
  EXPECT_EQ(sigaltstack(nullptr, &stack), 0);
  return stack;
}

void Expect(const stack_t& stack, const void* begin, size_t size, int flags) {
  EXPECT_EQ(stack.ss_sp, begin);
  EXPECT_EQ(stack.ss_size, size);
  EXPECT_EQ(stack.ss_flags, flags);
}

size_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

class AltStack : public testing::Test {
 protected:
  AltStack() { EXPECT_EQ(minicore_install(nullptr), 0); }
};

TEST_F(AltStack, OfOursIsNotSeen) {
  InThread([] {
    Expect(Asked(), nullptr, 0, SS_DISABLE);
    EXPECT_EQ(Kernels().ss_flags, 0);
    EXPECT_GE(Kernels().ss_size, kLarge);
  });
  Expect(Asked(), nullptr, 0, SS_DISABLE);
}

TEST_F(AltStack, ThatIsSmallIsAnsweredAndOursIsUsed) {
  InThread([] {
    const void* const ours = Kernels().ss_sp;
    const stack_t small = {g_small, 0, kSmall};
    stack_t old;
    ASSERT_EQ(sigaltstack(&small, &old), 0);
    Expect(old, nullptr, 0, SS_DISABLE);
    Expect(Asked(), g_small, kSmall, 0);
    EXPECT_EQ(Kernels().ss_sp, ours);
    const stack_t none = {nullptr, SS_DISABLE, 0};
    ASSERT_EQ(sigaltstack(&none, &old), 0);
    Expect(old, g_small, kSmall, 0);
    Expect(Asked(), nullptr, 0, SS_DISABLE);
    EXPECT_EQ(Kernels().ss_sp, ours);
  });
}

TEST_F(AltStack, ThatIsLargeIsUsedAndOursComesBackBehindIt) {
  InThread([] {
    const void* const ours = Kernels().ss_sp;
    const stack_t large = {g_large, 0, kLarge};
    ASSERT_EQ(sigaltstack(&large, nullptr), 0);
    Expect(Asked(), g_large, kLarge, 0);
    EXPECT_EQ(Kernels().ss_sp, g_large);
    const stack_t small = {g_small, 0, kSmall};
    stack_t old;
    ASSERT_EQ(sigaltstack(&small, &old), 0);
    Expect(old, g_large, kLarge, 0);
    EXPECT_EQ(Kernels().ss_sp, ours);
    ASSERT_EQ(sigaltstack(&large, &old), 0);
    Expect(old, g_small, kSmall, 0);
    const stack_t none = {nullptr, SS_DISABLE, 0};
    ASSERT_EQ(sigaltstack(&none, nullptr), 0);
    EXPECT_EQ(Kernels().ss_sp, ours);
  });
}

// One that the program means to leave while a handler is on it.
TEST_F(AltStack, ThatIsToBeDisarmedIsUsed) {
  InThread([] {
    constexpr int kAutoDisarm = INT32_MIN;  // SS_AUTODISARM
    const stack_t small = {g_small, kAutoDisarm, kSmall};
    ASSERT_EQ(sigaltstack(&small, nullptr), 0);
    Expect(Asked(), g_small, kSmall, kAutoDisarm);
    EXPECT_EQ(Kernels().ss_sp, g_small);
  });
}

TEST_F(AltStack, ThatTheKernelRefusesIsRefused) {
  InThread([] {
    const stack_t tiny = {g_small, 0, 1000};
    errno = 0;
    EXPECT_EQ(sigaltstack(&tiny, nullptr), -1);
    EXPECT_EQ(errno, ENOMEM);
    const stack_t odd = {g_small, 64, kSmall};
    EXPECT_EQ(sigaltstack(&odd, nullptr), -1);
    EXPECT_EQ(errno, EINVAL);
    Expect(Asked(), nullptr, 0, SS_DISABLE);
  });
}

TEST_F(AltStack, CanNotBeChangedByAHandlerThatRunsOnIt) {
  InThread([] {
    const stack_t small = {g_small, 0, kSmall};
    ASSERT_EQ(sigaltstack(&small, nullptr), 0);
    static stack_t seen;
    static int error;
    struct sigaction action = {};
    action.sa_flags = SA_ONSTACK;
    action.sa_handler = [](int) {
      sigaltstack(nullptr, &seen);
      const stack_t none = {nullptr, SS_DISABLE, 0};
      error = sigaltstack(&none, nullptr) == 0 ? 0 : errno;
    };
    struct sigaction old;
    ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &old, nullptr);
    Expect(seen, g_small, kSmall, SS_ONSTACK);
    EXPECT_EQ(error, EPERM);
    Expect(Asked(), g_small, kSmall, 0);
  });
}

TEST_F(AltStack, OfAThreadThatHasEndedServesAnother) {
  const void* first = nullptr;
  const void* second = nullptr;
  InThread([&] {
    first = Kernels().ss_sp;
    const stack_t small = {g_small, 0, kSmall};
    ASSERT_EQ(sigaltstack(&small, nullptr), 0);
  });
  InThread([&] { second = Kernels().ss_sp; });
  EXPECT_EQ(first, second);
}

// Who ends leaves his stack to who begins, also when many do both at once.
TEST_F(AltStack, ThreadsThatComeAndGoLeaveNoMappings) {
  constexpr int kStarters = 6;
  constexpr int kThreads = 4000;
  const size_t before = Mappings();
  std::vector<std::thread> starters;
  for (int i = 0; i < kStarters; ++i) {
    starters.emplace_back([] {
      for (int j = 0; j < kThreads; ++j) std::thread([] {}).join();
    });
  }
  for (std::thread& starter : starters) starter.join();
  // A stack and its guard, for as many as there were at once, and what libc and
  // malloc keep.
  EXPECT_LT(Mappings(), before + 60);
}

}  // namespace
