#include "dump/handler/notes.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <ucontext.h>
#include <x86intrin.h>

#include <cstring>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

constexpr size_t kStateBytes = 2696;

// A thread whose vector registers are full of a secret, in pieces of 16 bytes, and
// whose general registers hold it too.
class NotesTest : public testing::Test {
 protected:
  NotesTest() {
    InstallFaultHandler();
    // Its last page cannot be read.
    memory_ = static_cast<uint8_t*>(mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + kPageSize, kPageSize, PROT_NONE);
    for (size_t i = 0; i < sizeof(secret_); ++i) {
      secret_[i] = static_cast<uint8_t>(0x80 + i * 37 % 128);
    }
    const auto begin = reinterpret_cast<Address>(secret_);
    process_.redactor.AddSecret({begin, begin + sizeof(secret_)}, HoleReason::kSecret, 1,
                                true);
    process_.redactor.Build(process_.arena);
    notes_ = NoteBuffer();
    memcpy(&process_.registers().rbx, secret_ + 3, 8);
    memcpy(process_.threads[0].name, secret_, 15);
  }
  ~NotesTest() override { munmap(memory_, 2 * kPageSize); }

  // An XSAVE image of which the first `readable` bytes are there.
  void GiveState(Thread& thread, size_t readable = kStateBytes) {
    uint8_t* const state = memory_ + kPageSize - readable;
    for (size_t at = 32; at < readable; at += 16) {  // behind the control words
      if (at >= 464 && at < 576) continue;           // the kernel's, and the header
      const size_t size = std::min<size_t>(16, readable - at);
      memcpy(state + at, secret_ + at % 48, size);
    }
    if (readable >= 520) {
      const uint64_t all = 0xe7;
      memcpy(state + 464 + 8, &all, 8);
      memcpy(state + 512, &all, 8);
    }
    thread.xstate = state;
    thread.xstate_bytes = kStateBytes;
  }

  void Build() {
    BuildNotes(process_.crash, process_.runtime, process_.map, images_, process_.threads,
               process_.redactor, process_.arena, notes_, process_.outcome);
  }

  // How often 8 consecutive bytes of the secret stand in all notes.
  size_t Leaks() const {
    size_t leaks = 0;
    for (size_t at = 0; at + 8 <= notes_.size(); at += 4) {
      leaks += memmem(secret_, sizeof(secret_), notes_.bytes() + at, 8) != nullptr;
    }
    return leaks;
  }

  struct Note {
    uint32_t type;
    std::vector<uint8_t> bytes;
  };
  std::vector<Note> Notes() const {
    std::vector<Note> notes;
    for (size_t at = 0; at < notes_.size();) {
      Elf64_Nhdr header;
      memcpy(&header, notes_.bytes() + at, sizeof(header));
      at += sizeof(header) + AlignUp(header.n_namesz, 4);
      notes.push_back({header.n_type, {notes_.bytes() + at,
                                       notes_.bytes() + at + header.n_descsz}});
      at += AlignUp(header.n_descsz, 4);
    }
    return notes;
  }
  size_t Count(uint32_t type) const {
    size_t count = 0;
    for (const Note& note : Notes()) count += note.type == type;
    return count;
  }

  uint8_t secret_[64];
  uint8_t* memory_;
  MadeUpProcess process_;
  Images images_;
  NoteBuffer notes_;
};

TEST_F(NotesTest, NoPieceOfASecretStaysInRegisters) {
  GiveState(process_.threads[0]);
  Build();
  EXPECT_EQ(Leaks(), 0u);
  EXPECT_EQ(Count(NT_PRSTATUS), 1u);
  EXPECT_EQ(Count(NT_FPREGSET), 1u);
  EXPECT_EQ(Count(NT_X86_XSTATE), 1u);
}

// A frame that lies at the end of what is mapped.
TEST_F(NotesTest, AStateThatCanBeReadInPartLeavesNothingOfItself) {
  for (const size_t readable : {16u, 100u, 511u, 512u, 600u, 2000u}) {
    notes_ = NoteBuffer();
    GiveState(process_.threads[0], readable);
    Build();
    EXPECT_EQ(Leaks(), 0u) << readable;
    EXPECT_EQ(Count(NT_PRSTATUS), 1u);
    EXPECT_EQ(Count(NT_FPREGSET), 1u);
    EXPECT_EQ(Count(NT_X86_XSTATE), 0u);
  }
}

// fxrstor64 loads them from memory, and rt_sigqueueinfo() takes what it is given.
TEST_F(NotesTest, NoWordOfASecretStaysWhereTheKernelHasNoUseForIt) {
  GiveState(process_.threads[0]);
  memcpy(memory_ + kPageSize - kStateBytes + 8, secret_ + 1, 16);  // FIP and FDP
  memcpy(reinterpret_cast<uint8_t*>(&process_.info) + 8, secret_ + 9, 8);
  int code;
  memcpy(&code, secret_ + 9, sizeof(code));
  Build();
  EXPECT_EQ(Leaks(), 0u);
  for (const Note& note : Notes()) {
    if (note.type != NT_SIGINFO) continue;
    siginfo_t written;
    memcpy(&written, note.bytes.data(), sizeof(written));
    EXPECT_EQ(written.si_code, code);
  }
}

// A thread may ask for a system call of any number, and stand still in it.
TEST_F(NotesTest, NoWordOfASecretStaysAsTheNumberOfASystemCall) {
  process_.threads[0].source = ThreadSource::kPtrace;
  memcpy(&process_.registers().orig_rax, secret_ + 5, 8);
  Build();
  EXPECT_EQ(Leaks(), 0u);
  process_.registers().orig_rax = 202;  // futex
  notes_ = NoteBuffer();
  Build();
  elf_prstatus status;
  memcpy(&status, Notes()[0].bytes.data(), sizeof(status));
  user_regs_struct written;
  memcpy(&written, &status.pr_reg, sizeof(written));
  EXPECT_EQ(written.orig_rax, 202u);
}

// The kernel puts it at another place for ptrace() than in a signal frame.
TEST_F(NotesTest, ComponentsOfTheStateAreThoseThatTheKernelNames) {
  for (const ThreadSource source : {ThreadSource::kSignal, ThreadSource::kPtrace}) {
    notes_ = NoteBuffer();
    Thread& thread = process_.threads[0];
    GiveState(thread);
    thread.source = source;
    const uint64_t words[2] = {0x46505853, 0xe7};  // FP_XSTATE_MAGIC1, xfeatures
    const uint64_t of_ptrace[2] = {0xe7, 0};
    memcpy(memory_ + kPageSize - kStateBytes + 464,
           source == ThreadSource::kPtrace ? of_ptrace : words, 16);
    Build();
    uint64_t xcr0 = 0;
    for (const Note& note : Notes()) {
      if (note.type == NT_X86_XSTATE) memcpy(&xcr0, note.bytes.data() + 464, 8);
    }
    EXPECT_EQ(xcr0, 0xe7u);
  }
}

// What is looked at after each instruction.
const NotesTest* g_stepped = nullptr;
size_t g_steps = 0;
size_t g_leaks = 0;
volatile bool g_stop = false;

// The phase may be abandoned between any two instructions (watchdog.h), and what the
// buffer holds then is written.
TEST_F(NotesTest, AtNoInstantDoesTheBufferHoldWhatIsNotRedacted) {
  struct Peek : NotesTest {
    using NotesTest::Leaks;
    void TestBody() override {}
  };
  GiveState(process_.threads[0]);
  g_stepped = this;
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    // Nearly all steps are within the search.
    if (++g_steps % 32 == 0) g_leaks += static_cast<const Peek*>(g_stepped)->Leaks();
    constexpr long long kTrapFlag = 0x100;
    if (g_stop) static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
  };
  sigaction(SIGTRAP, &action, nullptr);
  __writeeflags(__readeflags() | 0x100);
  Build();
  g_stop = true;
  signal(SIGTRAP, SIG_DFL);
  EXPECT_GT(g_steps, 10000u);
  EXPECT_EQ(g_leaks, 0u);
  EXPECT_EQ(Count(NT_X86_XSTATE), 1u);
}

// With 32,768 threads, searching their vector registers would outlast any deadline.
TEST_F(NotesTest, PastTheDeadlineThreadsHaveTheirGeneralRegistersOnly) {
  Thread other = process_.threads[0];
  other.source = ThreadSource::kSignal;
  for (int i = 1; i < 64; ++i) {
    other.tid = process_.crash.tid + i;
    (void)process_.threads.Push(other);
  }
  for (Thread& thread : process_.threads) GiveState(thread);
  process_.outcome.past_deadline = true;
  Build();
  EXPECT_EQ(Count(NT_PRSTATUS), 64u);
  EXPECT_EQ(Count(NT_FPREGSET), 1u);
  EXPECT_EQ(Count(NT_X86_XSTATE), 1u);
  EXPECT_EQ(Notes()[0].type, unsigned{NT_PRSTATUS});
  EXPECT_EQ(Leaks(), 0u);
}

TEST_F(NotesTest, ABufferThatIsTooSmallHasWholeNotesOnly) {
  GiveState(process_.threads[0]);
  TestArena small(8192);
  BuildNotes(process_.crash, process_.runtime, process_.map, images_, process_.threads,
             process_.redactor, small, notes_, process_.outcome);
  size_t bytes = 0;
  for (const Note& note : Notes()) bytes += note.bytes.size();
  EXPECT_GT(bytes, 0u);
  EXPECT_LE(notes_.size(), 4096u);
  EXPECT_EQ(Leaks(), 0u);
}

}  // namespace
}  // namespace minicore
