// Resuming and appending.
#include "server/batch/answer_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"

namespace coppice::server {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10;  // of one read: few system calls

// Answers, with logprobs, may be larger than requests.
openai::RequestLimits answer_limits() {
  openai::RequestLimits limits;
  limits.body_bytes_max = std::size_t{1} << 30U;
  limits.json_values_max = std::size_t{1} << 28U;
  limits.json_tree_bytes_max = std::size_t{1} << 34U;
  return limits;
}

}  // namespace

absl::Status AnswerFile::failed(const char* doing) const {
  return absl::InternalError(fmt::format("{}: cannot {}: {}", name_, doing, std::strerror(errno)));
}

absl::StatusOr<AnswerFile> AnswerFile::open(const std::filesystem::path& path, const Visit& visit) {
  const std::string name = path.string();
  const int file = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) {
    return absl::InternalError(fmt::format("{}: cannot open it for writing: {}", name, std::strerror(errno)));
  }
  return take(file, name, visit);
}

absl::StatusOr<AnswerFile> AnswerFile::take(int descriptor, std::string name, const Visit& visit) {
  AnswerFile answers(descriptor, std::move(name));
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not a regular file; answers go to a file that can be read again to resume", answers.name_));
  }
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: another process is writing to it", answers.name_));
  }
  COPPICE_RETURN_IF_ERROR(answers.resume(visit));
  return answers;
}

AnswerFile::AnswerFile(AnswerFile&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      name_(std::move(other.name_)),
      lines_(other.lines_),
      bytes_(other.bytes_) {}

AnswerFile::~AnswerFile() {
  if (file_ >= 0) {
    ::close(file_);
  }
}

absl::Status AnswerFile::resume(const Visit& visit) {
  const openai::RequestLimits limits = answer_limits();
  std::string line;
  std::string buffer(kReadBytes, '\0');
  std::size_t at = 0;
  while (true) {
    const ssize_t count = ::pread(file_, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return failed("read it");
    }
    if (count == 0) {
      break;  // what is in `line` has no end: it is torn
    }
    at += static_cast<std::size_t>(count);
    std::string_view fresh(buffer.data(), static_cast<std::size_t>(count));
    for (std::size_t end = 0; (end = fresh.find('\n')) != std::string_view::npos; fresh.remove_prefix(end + 1)) {
      line += fresh.substr(0, end);
      ++lines_;
      const openai::Result<openai::Json> parsed = openai::parse_json(line, limits);
      if (!parsed.ok() || !parsed.value().is_object() || !visit(parsed.value())) {
        return absl::InvalidArgumentError(fmt::format(
            "{}: line {} is no answer of a batch; name another output, or move that file away", name_, lines_));
      }
      bytes_ += line.size() + 1;
      line.clear();
    }
    line += fresh;
  }
  const auto whole = static_cast<off_t>(bytes_);
  if (::ftruncate(file_, whole) != 0 || ::lseek(file_, whole, SEEK_SET) != whole) {
    return failed("cut off its torn last line");
  }
  return absl::OkStatus();
}

absl::Status AnswerFile::append(std::string line) {
  line += '\n';
  if (!base::write_all(file_, line)) {
    absl::Status status = failed("write to it");
    // What was written of the line goes: the file may be published as it is.
    const auto whole = static_cast<off_t>(bytes_);
    if (::ftruncate(file_, whole) != 0 || ::lseek(file_, whole, SEEK_SET) != whole) {
      return absl::InternalError(fmt::format("{}; its torn last line stays", std::string(status.message())));
    }
    return status;
  }
  ++lines_;
  bytes_ += line.size();
  return absl::OkStatus();
}

absl::Status AnswerFile::sync() {
  return ::fsync(file_) == 0 ? absl::OkStatus() : failed("force it to the disk");
}

}  // namespace coppice::server
