// Threads of a victim: started, parked at a known place, counted.

#ifndef MINICORE_TESTS_E2E_THREADS_H_
#define MINICORE_TESTS_E2E_THREADS_H_

#include <pthread.h>

#include <functional>

namespace victim {

// Starts a thread that calls `body` and states its id as fact "thread.<name>".
pthread_t StartThread(const char* name, std::function<void()> body);

// The same for the calling thread.
void NameThisThread(const char* name);

// Counts the caller as parked and sleeps for ever (as far as the compiler can
// tell, it might return: what the callers hold stays alive).
void Park();

// Counts the caller as parked; the caller sees to it that it stays where it is.
void CountAsParked();

// Returns when `threads` threads have been counted.
void AwaitParked(int threads);

// Tells the parent that it may act now (send a signal, say).
void AnnounceReady();

// Makes the compiler believe that `object` is read and written here.
template <class T>
void Keep(T& object) {
  asm volatile("" : : "r"(&object) : "memory");
}

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_THREADS_H_
