// The part of the crash handler that guarded copies and guarded stages live by.

#ifndef MINICORE_TESTS_SUPPORT_FAULT_HANDLER_H_
#define MINICORE_TESTS_SUPPORT_FAULT_HANDLER_H_

namespace minicore {

// From now on SIGSEGV and SIGBUS go to safe::FixupFault(); a fault that is none
// of its own is fatal, as ever. May be called again.
void InstallFaultHandler();

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_FAULT_HANDLER_H_
