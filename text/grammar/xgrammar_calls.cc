// What the library calls to log and to fail.
#include "text/grammar/xgrammar_calls.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

// The library's own headers declare these only for its sources; XGRAMMAR_LOG_CUSTOMIZE has it call them, and what
// cmake/CoppiceXgrammarChanges.cmake writes into it.
namespace xgrammar {

extern __thread std::int64_t work_left;
void OnWorkSpent();
[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

}  // namespace xgrammar

namespace coppice::text {
namespace {

constexpr std::size_t kWarningsMax = 100;  // a schema can have one for each of its keywords; more say nothing new

thread_local std::vector<std::string>* collected = nullptr;
thread_local WorkLimit* work_limit = nullptr;

}  // namespace

WorkLimit::WorkLimit(std::int64_t steps_max, const std::atomic<bool>* is_cancelled)
    : steps_max_(steps_max), is_cancelled_(is_cancelled) {
  work_limit = this;
  xgrammar::work_left = 0;
}

WorkLimit::~WorkLimit() {
  work_limit = nullptr;
  xgrammar::work_left = INT64_MAX;
}

std::int64_t WorkLimit::steps() const {
  return granted_ - xgrammar::work_left;
}

void WorkLimit::on_spent() {
  constexpr std::int64_t kSlice = 100'000;  // some milliseconds: how late `is_cancelled` may be noticed
  const bool is_cancelled = is_cancelled_ != nullptr && *is_cancelled_;
  if (is_cancelled || granted_ >= steps_max_) {
    WorkEnded ended;
    ended.is_cancelled = is_cancelled;
    throw ended;
  }
  const std::int64_t slice = std::min(kSlice, steps_max_ - granted_);
  granted_ += slice;
  xgrammar::work_left += slice;
  if (xgrammar::work_left < 0) {  // one count was larger than the slice
    on_spent();
  }
}

XgrammarWarnings::XgrammarWarnings() {
  collected = &texts_;
}

XgrammarWarnings::~XgrammarWarnings() {
  collected = nullptr;
}

}  // namespace coppice::text

namespace xgrammar {

__thread std::int64_t work_left = INT64_MAX;

void OnWorkSpent() {
  if (coppice::text::work_limit == nullptr) {
    work_left = INT64_MAX;
    return;
  }
  coppice::text::work_limit->on_spent();
}

void LogFatalImpl(const std::string& /*file*/, int /*line*/, const std::string& message) {
  // A failed check of the user's input begins with the check itself, which means nothing to a user.
  constexpr std::string_view kCheckEnd = " is false: ";
  const std::size_t at = message.rfind("Check failed: ", 0) == 0 ? message.find(kCheckEnd) : std::string::npos;
  throw std::runtime_error(at == std::string::npos ? message : message.substr(at + kCheckEnd.size()));
}

void LogMessageImpl(const std::string& /*file*/, int /*line*/, int level, const std::string& message) {
  constexpr int kWarning = 2;  // XGRAMMAR_LOG_LEVEL_WARNING
  using coppice::text::collected;
  if (collected != nullptr && level >= kWarning && collected->size() < coppice::text::kWarningsMax) {
    collected->push_back(message);
  }
}

}  // namespace xgrammar
