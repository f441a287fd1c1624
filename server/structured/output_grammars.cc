// From formats to grammars, and from what is wrong with them to refusals.
#include "server/structured/output_grammars.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>
#include <future>
#include <utility>

#include "base/status_macros.h"
#include "server/structured/grammar_trial.h"

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 2;  // a compile takes milliseconds, seldom a second

// Bytes of a grammar as the pool counts them. A schema of 8 KiB, larger than most, is a large job: it never occupies
// the last thread.
constexpr std::size_t kJobFactor = WorkPool::kLargeBytes / (std::size_t{8} << 10U);

WorkPoolOptions pool_options(const OutputGrammarsOptions& options) {
  constexpr std::size_t kJobsMax = 256;       // different grammars that wait; each is a request's at least
  constexpr std::size_t kTenantJobsMax = 64;  // so that one tenant never fills the queue
  WorkPoolOptions pool;
  pool.threads = options.threads;
  pool.jobs_max = kJobsMax;
  pool.tenant_jobs_max = kTenantJobsMax;
  pool.is_yielding = true;
  return pool;
}

text::GrammarKind kind_of(openai::OutputFormatKind kind) {
  switch (kind) {
    case openai::OutputFormatKind::kJsonSchema:
      return text::GrammarKind::kJsonSchema;
    case openai::OutputFormatKind::kRegex:
      return text::GrammarKind::kRegex;
    case openai::OutputFormatKind::kGrammar:
      return text::GrammarKind::kEbnf;
    case openai::OutputFormatKind::kChoice:
      return text::GrammarKind::kChoice;
    case openai::OutputFormatKind::kStructuralTag:
      return text::GrammarKind::kStructuralTag;
    default:
      return text::GrammarKind::kJsonObject;
  }
}

openai::ApiError closed_error() {
  return openai::unavailable("draining", "the server is shutting down; try another one", kRetryAfterSeconds);
}

// Clients look for OpenAI's words.
std::string message_of(const GrammarOrder& order, std::string_view problem) {
  if (order.spec.kind != text::GrammarKind::kJsonSchema) {
    return fmt::format("'{}': {}", order.field, problem);
  }
  return fmt::format("Invalid schema for {}{}: {}", order.field,
                     order.name.empty() ? "" : fmt::format(" '{}'", order.name), problem);
}

OutputGrammars::Grammar to_grammar(const GrammarOrder& order, const absl::StatusOr<text::CompiledGrammar>& compiled) {
  if (compiled.ok()) {
    return std::make_shared<const GrammarSource>(*compiled);
  }
  const std::string problem(compiled.status().message());
  switch (compiled.status().code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      return closed_error();
    case absl::StatusCode::kResourceExhausted:
      return openai::overloaded(message_of(order, problem), kRetryAfterSeconds);
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return openai::bad_value(order.field, message_of(order, problem));
    default:
      return openai::internal_error(message_of(order, problem));
  }
}

bool is_plain(char c) {
  constexpr std::string_view kOthers = "#/-_.~$";  // that may stand in a fragment of a URI
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kOthers.find(c) != std::string_view::npos;
}

std::string as_fragment(std::string_view pointer) {
  std::string text;
  for (const char c : pointer) {
    text += is_plain(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return text;
}

}  // namespace

// A compile that requests wait for: whatever becomes of the job, the cache hears how it ended.
class OutputGrammars::Job {
 public:
  Job(OutputGrammars& grammars, std::shared_ptr<const GrammarOrder> order)
      : grammars_(grammars), order_(std::move(order)) {}
  ~Job() { grammars_.cache_.finish(order_->key, result_); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void run() { result_ = grammars_.compile(*order_); }
  void refuse(absl::Status status) { result_ = std::move(status); }

 private:
  OutputGrammars& grammars_;
  const std::shared_ptr<const GrammarOrder> order_;
  absl::StatusOr<text::CompiledGrammar> result_ = absl::UnavailableError("closed");
};

OutputGrammars::OutputGrammars(const text::Tokenizer& tokenizer, std::int32_t vocab_size,
                               std::vector<TokenId> end_tokens, const OutputGrammarsOptions& options)
    : tokenizer_(tokenizer),
      vocab_size_(vocab_size),
      end_tokens_(std::move(end_tokens)),
      marks_(options.marks),
      cache_(options.memory_bytes),
      pool_(pool_options(options)) {}

OutputGrammars::~OutputGrammars() {
  close();
}

void OutputGrammars::close() {
  is_closed_ = true;
  pool_.close();
}

openai::Result<std::shared_ptr<const GrammarOrder>> OutputGrammars::order(openai::OutputFormat format) {
  const std::size_t bytes_max = text::SchemaLimits{}.bytes_max;
  auto order = std::make_shared<GrammarOrder>();
  order->field = std::move(format.field);
  order->name = std::move(format.name);
  order->spec = {kind_of(format.kind), std::move(format.text), std::move(format.choices), format.strict};
  std::size_t bytes = order->spec.text.size();
  for (const std::string& choice : order->spec.choices) {
    bytes += choice.size();
  }
  if (bytes > bytes_max) {
    return openai::bad_value(
        order->field, message_of(*order, fmt::format("it has {} bytes; at most {} are allowed", bytes, bytes_max)));
  }
  order->key = canonical_text(order->spec);
  return std::shared_ptr<const GrammarOrder>(std::move(order));
}

openai::MaybeError OutputGrammars::check(const GrammarOrder& order) {
  const absl::StatusOr<text::CheckedSpec> checked =
      text::check_spec(order.spec, {}, text::GrammarOptions{}.white_space_max);
  if (checked.ok()) {
    return std::nullopt;
  }
  return to_grammar(order, checked.status()).error();
}

std::size_t OutputGrammars::compile_bytes(const GrammarOrder& order) {
  constexpr std::size_t kTreeFactor = 48;  // the schema's tree, the one that is made of it, the grammar's rules
  return order.key.size() * kTreeFactor;
}

std::shared_ptr<const GrammarSource> OutputGrammars::find(const GrammarOrder& order) {
  const std::optional<text::CompiledGrammar> found = cache_.find(order.key);
  return found ? std::make_shared<const GrammarSource>(*found) : nullptr;
}

void OutputGrammars::get(const std::shared_ptr<const GrammarOrder>& order, std::string_view tenant, Done done) {
  const auto hand_over = [order, done = std::move(done)](const absl::StatusOr<text::CompiledGrammar>& compiled) {
    done(to_grammar(*order, compiled));
  };
  if (!cache_.join(order->key, hand_over)) {
    return;
  }
  const auto job = std::make_shared<Job>(*this, order);
  const std::size_t bytes = (order->key.size()) * kJobFactor;
  if (!pool_.post(tenant, bytes, [job] { job->run(); })) {
    job->refuse(is_closed_ ? absl::UnavailableError("closed")
                           : absl::ResourceExhaustedError("too many grammars wait to be compiled; try again later"));
  }
}

OutputGrammars::Grammar OutputGrammars::get(const std::shared_ptr<const GrammarOrder>& order) {
  const auto promise = std::make_shared<std::promise<Grammar>>();
  std::future<Grammar> grammar = promise->get_future();
  const auto hand_over = [order, promise](const absl::StatusOr<text::CompiledGrammar>& compiled) {
    promise->set_value(to_grammar(*order, compiled));
  };
  if (cache_.join(order->key, hand_over)) {
    Job(*this, order).run();
  }
  return grammar.get();
}

absl::StatusOr<const text::GrammarCompiler*> OutputGrammars::compiler() {
  const std::lock_guard lock(compiler_mutex_);
  if (compiler_ == nullptr) {
    text::GrammarOptions options;
    options.marks = marks_;
    COPPICE_ASSIGN_OR_RETURN(compiler_,
                             text::GrammarCompiler::create(tokenizer_, vocab_size_, end_tokens_, std::move(options)));
  }
  return compiler_.get();
}

absl::StatusOr<text::CompiledGrammar> OutputGrammars::compile(const GrammarOrder& order) {
  using Clock = std::chrono::steady_clock;
  try {
    COPPICE_ASSIGN_OR_RETURN(const text::GrammarCompiler* const compiler, compiler());
    const Clock::time_point begin = Clock::now();
    absl::StatusOr<text::CompiledGrammar> compiled = compiler->compile(order.spec, &is_closed_);
    if (compiled.ok()) {
      if (absl::Status trial = try_masks(*compiled, tokenizer_); !trial.ok()) {
        compiled = std::move(trial);
      }
    }
    const Clock::duration passed = Clock::now() - begin;
    compile_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count();
    const auto passed_ms = std::chrono::duration_cast<std::chrono::milliseconds>(passed).count();
    if (!compiled.ok()) {
      spdlog::info("a grammar of {} bytes was refused after {} ms", order.key.size(), passed_ms);
      return compiled;
    }
    const std::string unenforced = unenforced_header(compiled->unenforced());
    spdlog::info("a grammar of {} bytes was compiled in {} ms and takes {} bytes{}{}", order.key.size(), passed_ms,
                 compiled->memory_bytes(), unenforced.empty() ? "" : "; not enforced: ", unenforced);
    return compiled;
  } catch (const std::exception& error) {  // out of memory at worst
    return absl::ResourceExhaustedError(fmt::format("the grammar could not be compiled: {}", error.what()));
  }
}

GrammarNumbers OutputGrammars::numbers() const {
  const text::GrammarCacheCounts counts = cache_.counts();
  GrammarNumbers numbers;
  numbers.hits = static_cast<std::uint64_t>(counts.hits);
  numbers.compiles = static_cast<std::uint64_t>(counts.compiles);
  numbers.failures = static_cast<std::uint64_t>(counts.failures);
  numbers.compile_ns = static_cast<std::uint64_t>(compile_ns_.load());
  numbers.cache_bytes = counts.bytes;
  numbers.cached = counts.grammars;
  return numbers;
}

std::string unenforced_header(std::span<const text::UnenforcedKeyword> unenforced) {
  constexpr std::size_t kBytesMax = 2048;  // proxies take headers of 8 KiB; the log has long lines already
  std::string text;
  for (const text::UnenforcedKeyword& keyword : unenforced) {
    const std::string entry =
        fmt::format("{}{} {}", text.empty() ? "" : ", ", as_fragment(keyword.pointer), as_fragment(keyword.keyword));
    if (text.size() + entry.size() > kBytesMax) {
      return text + ", ...";
    }
    text += entry;
  }
  return text;
}

}  // namespace coppice::server
