#include "dump/handler/watchdog.h"

#include <time.h>

#include "dump/handler/dying.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr int kPatience = 2;  // ticks before a phase is abandoned
// Ticks before the process dies as it is: three seconds after the deadline.
constexpr int kMostTicks = 12;

// Written and read by the dumping thread only, in and out of its handler.
int g_timer = -1;
volatile int g_ticks = 0;

timespec FromMicroseconds(uint64_t microseconds) {
  return {static_cast<time_t>(microseconds / 1000000),
          static_cast<long>(microseconds % 1000000 * 1000)};
}

}  // namespace

void StartWatchdog(int signal, uint64_t deadline_us) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal;
  event._sigev_un._tid = safe::GetTid();
  g_ticks = 0;
  g_timer = -1;
  int timer = -1;
  if (safe::Syscall(SYS_timer_create, CLOCK_MONOTONIC, safe::Word(&event),
                    safe::Word(&timer)) != 0) {
    return;
  }
  g_timer = timer;
  // Zero would disarm it.
  const itimerspec times = {FromMicroseconds(kTickMicroseconds),
                            FromMicroseconds(deadline_us + 1)};
  safe::Syscall(SYS_timer_settime, timer, 0, safe::Word(&times), 0);
}

void StopWatchdog() {
  if (g_timer >= 0) safe::Syscall(SYS_timer_delete, g_timer);
  g_timer = -1;
}

bool OnWatchdogTick(const siginfo_t* info, ucontext_t* context) {
  if (info->si_code != SI_TIMER) return false;
  g_ticks = g_ticks + 1;
  const bool abandoned = g_ticks > kPatience && safe::AbandonStage(context);
  if (!abandoned && g_ticks > kMostTicks && MustDie()) DieOfFirst(info->si_signo, context);
  return true;
}

}  // namespace minicore
