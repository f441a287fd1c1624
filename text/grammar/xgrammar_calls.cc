// What the library calls to log and to fail.
#include "text/grammar/xgrammar_calls.h"

#include <stdexcept>
#include <string_view>

// The library's own headers declare these only for its sources; XGRAMMAR_LOG_CUSTOMIZE has it call them.
namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

}  // namespace xgrammar

namespace coppice::text {
namespace {

constexpr std::size_t kWarningsMax = 100;  // a schema can have one for each of its keywords; more say nothing new

thread_local std::vector<std::string>* collected = nullptr;

}  // namespace

XgrammarWarnings::XgrammarWarnings() {
  collected = &texts_;
}

XgrammarWarnings::~XgrammarWarnings() {
  collected = nullptr;
}

}  // namespace coppice::text

namespace xgrammar {

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
