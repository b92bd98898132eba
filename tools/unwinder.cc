#include "tools/unwinder.h"

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "tools/debug_sections.h"
#include "tools/rebuild_image.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr char kVdso[] = "linux-vdso.so.1";  // as ldd(1) calls it
constexpr size_t kMaxVdso = 16 * 4096;
constexpr size_t kMissingShown = 3;

// The numbers of System V's AMD64 ABI supplement, 3.6.2: rax, rdx, rcx, rbx, rsi, rdi, rbp,
// rsp, r8 to r15, the return address.
constexpr unsigned kDwarfRegisters = 17;
constexpr unsigned kStackPointer = 7;
void DwarfRegisters(const user_regs_struct& from, Dwarf_Word (&to)[kDwarfRegisters]) {
  const Dwarf_Word words[kDwarfRegisters] = {
      from.rax, from.rdx, from.rcx, from.rbx, from.rsi, from.rdi, from.rbp, from.rsp, from.r8,
      from.r9,  from.r10, from.r11, from.r12, from.r13, from.r14, from.r15, from.rip};
  std::memcpy(to, words, sizeof(to));
}

std::string Demangled(const char* name) {
  if (name == nullptr) return "";
  int status = 0;
  // "memcpy@@GLIBC_2.14"
  const std::string plain(name, std::strcspn(name, "@"));
  char* const text = abi::__cxa_demangle(plain.c_str(), nullptr, nullptr, &status);
  const std::string result = text != nullptr ? text : plain;
  std::free(text);
  return result;
}

// The build id of an ELF file, in hexadecimal.
std::string BuildIdOf(int fd) {
  elf_version(EV_CURRENT);
  Elf* const elf = elf_begin(fd, ELF_C_READ, nullptr);
  const void* bytes = nullptr;
  const ssize_t size = elf == nullptr ? -1 : dwelf_elf_gnu_build_id(elf, &bytes);
  std::string id;
  for (ssize_t i = 0; i < size; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    const uint8_t byte = static_cast<const uint8_t*>(bytes)[i];
    id += kDigits[byte >> 4];
    id += kDigits[byte & 15];
  }
  elf_end(elf);
  return id;
}

int InMemory(const std::string& bytes) {
  const int fd = memfd_create("minicore", MFD_CLOEXEC);
  if (fd < 0) return -1;
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = write(fd, bytes.data() + done, bytes.size() - done);
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  if (done == bytes.size()) return fd;
  close(fd);
  return -1;
}

// The name of a function, of one that was inlined as well.
std::string NameOf(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (const unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
    Dwarf_Attribute* const found = dwarf_attr_integrate(die, name, &attribute);
    if (found != nullptr) return Demangled(dwarf_formstring(found));
  }
  const char* const name = dwarf_diename(die);
  return name == nullptr ? "" : name;
}

bool IsFunction(Dwarf_Die* die) {
  const int tag = dwarf_tag(die);
  return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine ||
         tag == DW_TAG_entry_point;
}

}  // namespace

class Unwinder::Session {
 public:
  Session(const CoreReader& core, const ProcessNotes& process,
          const std::vector<ModuleInfo>& modules, const std::string& sysroot);
  ~Session() { dwfl_end(dwfl_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Backtrace Unwind(size_t index);
  std::string Missing() const;

 private:
  struct Place {  // what is mapped somewhere
    std::string path;
    uint64_t begin;
    uint64_t end;
  };

  // Through one thread.
  struct Walk {
    Session* session;
    Backtrace* backtrace;
    uint64_t last_sp = 0;
    bool from_call = false;  // the first program counter is within the call it returns to
    bool again = false;      // from start_
  };

  void ReportModule(const ModuleInfo& module, const std::string& sysroot);
  void ReportVdso();
  bool Report(const std::string& path, int fd, uint64_t begin);
  static std::string OpenFile(const ModuleInfo& module, const std::string& sysroot, int* fd);
  bool StepOverBadCall(Dwfl_Frame* state, uint64_t address, Walk* walk);
  bool IsSignalFrame(uint64_t address) const;
  bool GoToInterrupted(uint64_t sp, Walk* walk);
  Frame FrameAt(uint64_t address) const;
  void AddFrames(uint64_t address, uint64_t inside, Backtrace* backtrace);
  bool AddInlined(Dwfl_Module* module, uint64_t inside, const Frame& physical,
                  Backtrace* backtrace);
  static int OneFrame(Dwfl_Frame* state, void* walk);

  static pid_t NextThread(Dwfl*, void* self, void** position);
  static bool GetThread(Dwfl*, pid_t tid, void* self, void** position);
  static bool SetRegisters(Dwfl_Thread* thread, void* position);
  static bool ReadMemory(Dwfl*, Dwarf_Addr address, Dwarf_Word* word, void* self);

  const CoreReader& core_;
  const ProcessNotes& process_;
  Dwfl* dwfl_ = nullptr;
  bool attached_ = false;
  std::vector<Place> places_;
  std::vector<std::string> missing_;  // files
  bool all_images_ = true;            // of these are in the core
  user_regs_struct start_ = {};  // where a walk begins
};

namespace {

constexpr Dwfl_Callbacks kCallbacks = {
    [](Dwfl_Module*, void**, const char*, Dwarf_Addr, char**, Elf**) { return -1; },
    dwfl_standard_find_debuginfo, nullptr, nullptr};

}  // namespace

Unwinder::Session::Session(const CoreReader& core, const ProcessNotes& process,
                           const std::vector<ModuleInfo>& modules, const std::string& sysroot)
    : core_(core), process_(process), dwfl_(dwfl_begin(&kCallbacks)) {
  if (dwfl_ == nullptr) return;
  dwfl_report_begin(dwfl_);
  for (const ModuleInfo& module : modules) ReportModule(module, sysroot);
  ReportVdso();
  dwfl_report_end(dwfl_, nullptr, nullptr);
  static constexpr Dwfl_Thread_Callbacks kThreads = {
      NextThread, GetThread, ReadMemory, SetRegisters, nullptr, nullptr};
  // By which it takes the architecture from a module.
  attached_ = dwfl_attach_state(dwfl_, nullptr, 1, &kThreads, this);
}

// Returns: why there is none, "" with a descriptor.
std::string Unwinder::Session::OpenFile(const ModuleInfo& module, const std::string& sysroot,
                                        int* fd) {
  if (module.path.substr(0, 1) != "/") return "is no path";
  // Whatever a damaged core has for a name, nothing but files is opened.
  *fd = open((sysroot + module.path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  if (*fd < 0) return "cannot be opened";
  std::string why;
  if (fstat(*fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    why = "is no file";
  } else if (!module.build_id.empty() && BuildIdOf(*fd) != module.build_id) {
    why = "has another build id";
  }
  if (why.empty()) return "";
  close(*fd);
  *fd = -1;
  return why;
}

bool Unwinder::Session::Report(const std::string& path, int fd, uint64_t begin) {
  if (dwfl_report_elf(dwfl_, path.c_str(), path.c_str(), fd, begin, false) != nullptr) {
    return true;
  }
  close(fd);
  return false;
}

void Unwinder::Session::ReportModule(const ModuleInfo& module, const std::string& sysroot) {
  const auto vdso = process_.auxv.find(AT_SYSINFO_EHDR);
  if (vdso != process_.auxv.end() && vdso->second == module.begin) return;
  places_.push_back({module.path, module.begin, module.end});
  int fd = -1;
  std::string why = OpenFile(module, sysroot, &fd);
  if (fd >= 0 && Report(module.path, fd, module.begin)) return;
  missing_.push_back(Printable(module.path) + " " + (why.empty() ? "is damaged" : why));
  const auto image = RebuildImage(core_, module.begin, kDebugDirectory);
  fd = image && image->whole ? InMemory(image->bytes) : -1;
  all_images_ &= fd >= 0 && Report(module.path, fd, module.begin);
}

void Unwinder::Session::ReportVdso() {
  const auto found = process_.auxv.find(AT_SYSINFO_EHDR);
  if (found == process_.auxv.end()) return;
  std::string bytes(kMaxVdso, '\0');
  bytes.resize(core_.ReadUpTo(found->second, &bytes[0], bytes.size()));
  if (bytes.size() < sizeof(Elf64_Ehdr)) return;
  const int fd = InMemory(bytes);
  if (fd < 0 || !Report(kVdso, fd, found->second)) return;
  places_.push_back({kVdso, found->second, found->second + bytes.size()});
}

// There is one, whose registers are start_.
pid_t Unwinder::Session::NextThread(Dwfl*, void*, void**) { return 0; }

bool Unwinder::Session::GetThread(Dwfl*, pid_t, void* self, void** position) {
  *position = self;
  return true;
}

bool Unwinder::Session::SetRegisters(Dwfl_Thread* thread, void* self) {
  Dwarf_Word words[kDwarfRegisters];
  DwarfRegisters(static_cast<Session*>(self)->start_, words);
  return dwfl_thread_state_registers(thread, 0, kDwarfRegisters, words);
}

bool Unwinder::Session::ReadMemory(Dwfl*, Dwarf_Addr address, Dwarf_Word* word, void* self) {
  return static_cast<Session*>(self)->core_.Read(address, word, sizeof(*word));
}

Frame Unwinder::Session::FrameAt(uint64_t address) const {
  Frame frame;
  frame.address = address;
  for (const Place& place : places_) {
    if (address < place.begin || address >= place.end) continue;
    frame.module = place.path;
    frame.begin = place.begin;
  }
  return frame;
}

// A call to where there is no code, by a null pointer, say: no file tells how to return
// from there, but the return address is the word that the call left at the stack pointer.
// The walk begins again there.
bool Unwinder::Session::StepOverBadCall(Dwfl_Frame* state, uint64_t address, Walk* walk) {
  Dwarf_Word sp = 0;
  if (!FrameAt(address).module.empty() || dwfl_frame_reg(state, kStackPointer, &sp) != 0) {
    return false;
  }
  const auto caller = core_.ReadAs<uint64_t>(sp);
  if (!caller || FrameAt(*caller).module.empty()) return false;
  // A callee has not yet changed the others.
  Dwarf_Word rbx = 0, rbp = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  for (const auto& [number, word] : {std::pair{3u, &rbx}, {6u, &rbp}, {12u, &r12},
                                     {13u, &r13}, {14u, &r14}, {15u, &r15}}) {
    (void)dwfl_frame_reg(state, number, word);
  }
  start_ = {};
  start_.rbx = rbx;
  start_.rbp = rbp;
  start_.r12 = r12;
  start_.r13 = r13;
  start_.r14 = r14;
  start_.r15 = r15;
  start_.rsp = sp + sizeof(*caller);
  start_.rip = *caller - 1;
  walk->from_call = true;
  walk->again = true;
  return true;
}

bool Unwinder::Session::IsSignalFrame(uint64_t address) const {
  Dwfl_Module* const module = dwfl_addrmodule(dwfl_, address);
  if (module == nullptr) return false;
  Dwarf_Addr bias = 0;
  Dwarf_CFI* const cfi = dwfl_module_eh_cfi(module, &bias);
  Dwarf_Frame* frame = nullptr;
  if (cfi == nullptr || dwarf_cfi_addrframe(cfi, address - bias, &frame) != 0) return false;
  bool is_signal = false;
  (void)dwarf_frame_info(frame, nullptr, nullptr, &is_signal);
  std::free(frame);
  return is_signal;
}

// Where a signal interrupted what is no code, libdwfl sees the end of the walk. The frame
// that the kernel put up has the registers (Linux 6.1, arch/x86/include/asm/sigframe.h,
// struct rt_sigframe, whose first word the handler's return has taken).
bool Unwinder::Session::GoToInterrupted(uint64_t sp, Walk* walk) {
  gregset_t saved;
  if (!core_.Read(sp + offsetof(ucontext_t, uc_mcontext.gregs), saved, sizeof(saved)) ||
      !FrameAt(static_cast<uint64_t>(saved[REG_RIP])).module.empty()) {
    return false;
  }
  const auto word = [&saved](int number) { return static_cast<uint64_t>(saved[number]); };
  start_ = {};
  start_.rbx = word(REG_RBX);
  start_.rbp = word(REG_RBP);
  start_.r12 = word(REG_R12);
  start_.r13 = word(REG_R13);
  start_.r14 = word(REG_R14);
  start_.r15 = word(REG_R15);
  start_.rsp = word(REG_RSP);
  start_.rip = word(REG_RIP);
  walk->again = true;
  return true;
}

// The functions that were inlined at `inside`, and the one that has them.
bool Unwinder::Session::AddInlined(Dwfl_Module* module, uint64_t inside, const Frame& physical,
                                   Backtrace* backtrace) {
  Dwarf_Addr bias = 0;
  Dwarf_Die* const unit = dwfl_module_addrdie(module, inside, &bias);
  if (unit == nullptr) return false;
  Dwarf_Die* scopes = nullptr;
  const int around = dwarf_getscopes(unit, inside - bias, &scopes);
  std::optional<Dwarf_Die> innermost;
  for (int i = 0; i < around && !innermost; ++i) {
    if (IsFunction(&scopes[i])) innermost = scopes[i];
  }
  std::free(scopes);
  if (!innermost) return false;
  // From there outwards, as they stand in each other.
  scopes = nullptr;
  const int depth = dwarf_getscopes_die(&*innermost, &scopes);
  Dwarf_Files* files = nullptr;
  size_t file_count = 0;
  (void)dwarf_getsrcfiles(unit, &files, &file_count);
  bool complete = false;
  Frame frame = physical;
  for (int i = 0; i < depth && !complete && backtrace->frames.size() < kMaxFrames; ++i) {
    if (!IsFunction(&scopes[i])) continue;
    const std::string name = NameOf(&scopes[i]);
    frame.inlined = dwarf_tag(&scopes[i]) == DW_TAG_inlined_subroutine;
    frame.function = name;
    if (!frame.inlined) {
      complete = true;
      // The symbol has the whole signature, and the offset is from there.
      if (!physical.function.empty()) frame.function = physical.function;
      frame.offset = physical.offset;
    } else {
      frame.offset = 0;
    }
    backtrace->frames.push_back(frame);
    // Where it was called, in the next.
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0;
    Dwarf_Word line = 0;
    (void)dwarf_formudata(dwarf_attr(&scopes[i], DW_AT_call_file, &attribute), &file);
    (void)dwarf_formudata(dwarf_attr(&scopes[i], DW_AT_call_line, &attribute), &line);
    const char* const path =
        files != nullptr && file < file_count ? dwarf_filesrc(files, file, nullptr, nullptr) : nullptr;
    frame.file = path != nullptr ? path : "";
    frame.line = static_cast<int>(line);
  }
  std::free(scopes);
  return complete;
}

void Unwinder::Session::AddFrames(uint64_t address, uint64_t inside, Backtrace* backtrace) {
  Frame frame = FrameAt(address);
  Dwfl_Module* const module = dwfl_addrmodule(dwfl_, inside);
  if (module == nullptr) {
    backtrace->frames.push_back(frame);
    return;
  }
  GElf_Off offset = 0;
  GElf_Sym symbol;
  frame.function = Demangled(
      dwfl_module_addrinfo(module, inside, &offset, &symbol, nullptr, nullptr, nullptr));
  if (!frame.function.empty()) frame.offset = offset + (address - inside);
  if (Dwfl_Line* const line = dwfl_module_getsrc(module, inside)) {
    const char* const file =
        dwfl_lineinfo(line, nullptr, &frame.line, nullptr, nullptr, nullptr);
    if (file != nullptr) frame.file = file;
  }
  const size_t before = backtrace->frames.size();
  if (AddInlined(module, inside, frame, backtrace)) return;
  backtrace->frames.resize(before);
  backtrace->frames.push_back(frame);
}

int Unwinder::Session::OneFrame(Dwfl_Frame* state, void* argument) {
  auto* const walk = static_cast<Walk*>(argument);
  Session* const self = walk->session;
  Backtrace* const backtrace = walk->backtrace;
  if (backtrace->frames.size() >= kMaxFrames) {
    backtrace->end = "at most " + std::to_string(kMaxFrames) + " frames are looked for";
    return DWARF_CB_ABORT;
  }
  Dwarf_Addr address = 0;
  bool is_exact = false;  // and not a return address, which may be the next function's
  if (!dwfl_frame_pc(state, &address, &is_exact)) {
    backtrace->end = dwfl_errmsg(-1);
    return DWARF_CB_ABORT;
  }
  if (walk->from_call) {
    ++address;
    is_exact = walk->from_call = false;
  }
  Dwarf_Word sp = 0;
  const bool has_sp = dwfl_frame_reg(state, kStackPointer, &sp) == 0;
  if (has_sp && sp == walk->last_sp) {
    // Guessed without frame information; it would go on like this.
    backtrace->end = "the next frame is the same";
    return DWARF_CB_ABORT;
  }
  walk->last_sp = has_sp ? sp : 0;
  if (self->IsSignalFrame(address)) {
    Frame frame = self->FrameAt(address);
    frame.is_signal_handler = true;
    backtrace->frames.push_back(frame);
    return self->GoToInterrupted(sp, walk) ? DWARF_CB_ABORT : DWARF_CB_OK;
  }
  self->AddFrames(address, is_exact ? address : address - 1, backtrace);
  return is_exact && self->StepOverBadCall(state, address, walk) ? DWARF_CB_ABORT
                                                                 : DWARF_CB_OK;
}

Backtrace Unwinder::Session::Unwind(size_t index) {
  const CoreThread& thread = process_.threads[index];
  Backtrace backtrace;
  backtrace.tid = thread.tid;
  if (!attached_) {
    backtrace.frames.push_back(FrameAt(thread.registers.rip));
    backtrace.end = "no file of a module can be read";
    return backtrace;
  }
  start_ = thread.registers;
  Walk walk = {this, &backtrace};
  do {
    walk.again = false;
    // 1 is any number.
    const int result = dwfl_getthread_frames(dwfl_, 1, OneFrame, &walk);
    if (result < 0 && backtrace.end.empty()) backtrace.end = dwfl_errmsg(-1);
  } while (walk.again);
  return backtrace;
}

std::string Unwinder::Session::Missing() const {
  if (missing_.empty()) return "";
  std::string text = all_images_ ? "Names of functions may be missing: "
                                 : "Frames may be missing or wrong: ";
  for (size_t i = 0; i < missing_.size() && i < kMissingShown; ++i) {
    text += (i == 0 ? "" : ", ") + missing_[i];
  }
  if (missing_.size() > kMissingShown) {
    text += ", and so on for " + Count(missing_.size() - kMissingShown, "more file");
  }
  return text + ".";
}

Unwinder::Unwinder(const CoreReader& core, const ProcessNotes& process,
                   const std::vector<ModuleInfo>& modules, const std::string& sysroot)
    : session_(std::make_unique<Session>(core, process, modules, sysroot)) {}

Unwinder::~Unwinder() = default;

Backtrace Unwinder::Unwind(size_t index) { return session_->Unwind(index); }

std::string Unwinder::Missing() const { return session_->Missing(); }

}  // namespace minicore
