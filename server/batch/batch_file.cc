// Reading requests, resuming and appending answers.
#include "server/batch/batch_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status_macros.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/json_writer.h"

namespace coppice::server {
namespace {

using openai::Json;

absl::Status system_error(std::string_view what, const std::string& name) {
  return absl::InternalError(fmt::format("{}: cannot {}: {}", name, what, std::strerror(errno)));
}

// A named text of an object; "" when it is missing or something else.
std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// What a prompt begins with, as text: tools and messages in the order in which templates write them, or the prompt.
std::string prefix_key(const Json& body) {
  std::string key;
  for (const char* const name : {"tools", "messages", "prompt"}) {
    if (const auto found = body.find(name); found != body.end()) {
      key += found->dump(-1, ' ', false, Json::error_handler_t::replace);
    }
  }
  return key;
}

// Fills the line from its JSON, or returns why not.
std::string parse_line(std::string_view text, const openai::RequestLimits& limits, BatchLine& line) {
  openai::Result<Json> parsed = openai::parse_json(text, limits, "the line");
  if (!parsed.ok()) {
    return parsed.error().message;
  }
  Json& object = parsed.value();
  if (!object.is_object()) {
    return "not an object; a line is {\"custom_id\",\"method\",\"url\",\"body\"}";
  }
  line.custom_id = text_of(object, "custom_id");
  if (line.custom_id.empty()) {
    return "'custom_id' must be a string that is not empty";
  }
  if (text_of(object, "method") != "POST") {
    return "'method' must be \"POST\"";
  }
  const std::string url = text_of(object, "url");
  if (url != "/v1/chat/completions" && url != "/v1/completions") {
    return fmt::format("'url' must be \"/v1/chat/completions\" or \"/v1/completions\"; got \"{}\"", url.substr(0, 100));
  }
  const auto body = object.find("body");
  if (body == object.end() || !body->is_object()) {
    return "'body' must be an object";
  }
  line.kind = url == "/v1/completions" ? openai::RequestKind::kCompletion : openai::RequestKind::kChat;
  line.prefix_key = prefix_key(*body);
  line.body = std::move(*body);
  return {};
}

openai::JsonWriter begin_answer(const BatchLine& line) {
  openai::JsonWriter json;
  json.begin_object().key("id").string(line.id()).key("custom_id").string_or_null(line.custom_id);
  return json;
}

}  // namespace

absl::StatusOr<std::vector<BatchLine>> read_batch(const std::filesystem::path& path,
                                                  const openai::RequestLimits& limits) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    return absl::NotFoundError(
        fmt::format("{}: cannot be read; give a file of batch requests, one a line", path.string()));
  }
  std::vector<BatchLine> lines;
  absl::flat_hash_map<std::string, std::size_t> first_use;
  std::string text;
  for (std::size_t number = 1; std::getline(file, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    BatchLine line;
    line.number = number;
    line.refusal = parse_line(text, limits, line);
    if (!line.custom_id.empty()) {
      const auto [earlier, is_new] = first_use.emplace(line.custom_id, number);
      if (!is_new) {
        line.refusal =
            fmt::format("custom_id '{}' is already used by line {}", line.custom_id.substr(0, 100), earlier->second);
        line.custom_id.clear();  // the answer to it is the other line's
        line.body = nullptr;
      }
    }
    if (!line.refusal.empty()) {
      line.refusal = fmt::format("line {}: {}", number, line.refusal);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string write_batch_answer(const BatchLine& line, int status, std::string_view body) {
  openai::JsonWriter json = begin_answer(line);
  json.key("response").begin_object();
  json.key("status_code").integer(status).key("request_id").string(line.id()).key("body").raw(body);
  json.end_object().key("error").null().end_object();
  return json.take();
}

std::string write_batch_refusal(const BatchLine& line) {
  openai::JsonWriter json = begin_answer(line);
  json.key("response").null().key("error").begin_object();
  json.key("code").string("invalid_line").key("message").string(line.refusal);
  json.end_object().end_object();
  return json.take();
}

absl::StatusOr<BatchOutput> BatchOutput::open(const std::filesystem::path& path, const openai::RequestLimits& limits) {
  const std::string name = path.string();
  const int file = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) {
    return system_error("open it for writing", name);
  }
  BatchOutput output(file);
  struct stat facts {};
  if (::fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not a regular file; answers go to a file that can be read again to resume", name));
  }
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: another process is writing to it", name));
  }
  COPPICE_RETURN_IF_ERROR(output.resume(name, limits));
  return output;
}

BatchOutput::BatchOutput(BatchOutput&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      lines_(other.lines_),
      custom_ids_(std::move(other.custom_ids_)),
      ids_(std::move(other.ids_)) {}

BatchOutput::~BatchOutput() {
  if (file_ >= 0) {
    ::close(file_);
  }
}

absl::Status BatchOutput::resume(const std::string& name, const openai::RequestLimits& limits) {
  openai::RequestLimits answer_limits = limits;  // answers, with logprobs, may be larger than requests
  answer_limits.body_bytes_max = std::size_t{1} << 30U;
  answer_limits.json_values_max = std::size_t{1} << 28U;
  answer_limits.json_tree_bytes_max = std::size_t{1} << 34U;
  std::ifstream file(name, std::ios::binary);
  std::string text;
  off_t whole = 0;
  while (std::getline(file, text) && !file.eof()) {  // eof: no newline at its end, so it is torn
    ++lines_;
    const openai::Result<Json> parsed = openai::parse_json(text, answer_limits);
    if (!parsed.ok() || !parsed.value().is_object() || text_of(parsed.value(), "id").empty()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: line {} is no answer of a batch; name another output, or move that file away", name, lines_));
    }
    const std::string custom_id = text_of(parsed.value(), "custom_id");
    if (custom_id.empty()) {
      ids_.insert(text_of(parsed.value(), "id"));
    } else {
      custom_ids_.insert(custom_id);
    }
    whole += static_cast<off_t>(text.size()) + 1;
  }
  if (::ftruncate(file_, whole) != 0 || ::lseek(file_, whole, SEEK_SET) != whole) {
    return system_error("cut off its torn last line", name);
  }
  return absl::OkStatus();
}

bool BatchOutput::has(const BatchLine& line) const {
  return line.custom_id.empty() ? ids_.contains(line.id()) : custom_ids_.contains(line.custom_id);
}

absl::Status BatchOutput::append(std::string line) {
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      return system_error("write to it", "the batch's output");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  ++lines_;
  return absl::OkStatus();
}

}  // namespace coppice::server
