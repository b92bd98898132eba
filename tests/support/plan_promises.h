// What the writer and every reader of a core rely on, whatever the pieces of
// the plan were.

#ifndef MINICORE_TESTS_SUPPORT_PLAN_PROMISES_H_
#define MINICORE_TESTS_SUPPORT_PLAN_PROMISES_H_

#include <string>

#include "dump/handler/dump_plan.h"

namespace minicore {

// The first promise that `plan`, laid out, does not keep; "" if it keeps them
// all.
std::string BrokenPromise(const DumpPlan& plan);

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_PLAN_PROMISES_H_
