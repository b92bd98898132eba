// Every scenario, by theme. `in_worker` says whether a worker thread crashes or
// main.

#ifndef MINICORE_TESTS_E2E_SCENARIOS_H_
#define MINICORE_TESTS_E2E_SCENARIOS_H_

namespace victim {

// service.cc
void Service(bool in_worker);

// crashes.cc
void NullWrite(bool in_worker);
void NullCall(bool in_worker);
void Abort(bool in_worker);
void Terminate(bool in_worker);
void Assert(bool in_worker);
void Divide(bool in_worker);
void Illegal(bool in_worker);
void Trap(bool in_worker);
void Bus(bool in_worker);
void Seccomp(bool in_worker);
void Quit(bool in_worker);
void Overflow(bool in_worker);
void Fork(bool in_worker);
void Signalled(bool in_worker);
void SignalsBlocked(bool in_worker);
void EightAtOnce(bool in_worker);
// The crash itself, for the other themes.
void WriteToNull();

// objects.cc
void ObjectsMiddle(bool in_worker);
void ObjectsLastByte(bool in_worker);
void ObjectsNextByte(bool in_worker);
void ObjectsFreed(bool in_worker);
void ObjectsChain(bool in_worker);

// secrets.cc
void Secrets(bool in_worker);

// handlers.cc
void HandlerRecovers(bool in_worker);
void HandlerExits(bool in_worker);
void HandlerRaises(bool in_worker);
void HandlerRaisesInside(bool in_worker);
void HandlerReturnsToTheFault(bool in_worker);
void HandlerIsForOneTime(bool in_worker);
void HandlerIsForOneTimeInVforkChild(bool in_worker);
void HandlerIgnores(bool in_worker);
void HandlerOnAlternateStack(bool in_worker);
void Dispositions(bool in_worker);

// heap_crashes.cc
void InsideMalloc(bool in_worker);
void Hammered(bool in_worker);
void WildFree(bool in_worker);
void DoubleFree(bool in_worker);
void HeapScribbled(bool in_worker);
void AbortAfterOverrun(bool in_worker);

// exhaustion.cc
void NoDescriptors(bool in_worker);

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_SCENARIOS_H_
