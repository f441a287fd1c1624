// PCRE2: the caller has checked the text (PCRE2_NO_UTF_CHECK), matching continues at an offset in one subject, and
// match data and JIT stacks are pooled, each used by one thread at a time.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/pattern.h"

#include <pcre2.h>

#include <array>
#include <mutex>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::size_t kPatternBytesMax = 16 << 10;  // of one pattern; bounds compile time and memory
// Steps of one match attempt. Real patterns take a few per character.
constexpr std::uint32_t kMatchStepsMax = 20'000'000;
constexpr std::size_t kJitStackBytesMin = 32 << 10;
constexpr std::size_t kJitStackBytesMax = 8 << 20;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeJitStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// Working memory of one thread while it matches.
struct Workspace {
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
  std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack;
};

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  std::string text;
  for (const PCRE2_UCHAR unit : buffer) {
    if (unit == 0) {
      break;
    }
    text.push_back(static_cast<char>(unit));
  }
  return text;
}

PCRE2_SPTR units(std::string_view text) {
  return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data()));
}

}  // namespace

// Thread: immutable except for the pool, which mutex_ guards.
class Pattern::Compiled {
 public:
  Compiled(pcre2_code* code, bool jit) : code_(code), jit_(jit) {}

  std::unique_ptr<Workspace> borrow() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!pool_.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(pool_.back());
        pool_.pop_back();
        return workspace;
      }
    }
    auto workspace = std::make_unique<Workspace>();
    workspace->context.reset(pcre2_match_context_create(nullptr));
    workspace->data.reset(pcre2_match_data_create(1, nullptr));
    workspace->stack.reset(pcre2_jit_stack_create(kJitStackBytesMin, kJitStackBytesMax, nullptr));
    pcre2_set_match_limit(workspace->context.get(), kMatchStepsMax);
    pcre2_jit_stack_assign(workspace->context.get(), nullptr, workspace->stack.get());
    return workspace;
  }

  void give_back(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard<std::mutex> lock(mutex_);
    pool_.push_back(std::move(workspace));
  }

  std::size_t characters_min() const {
    std::uint32_t characters = 0;
    const int error = pcre2_pattern_info(code_.get(), PCRE2_INFO_MINLENGTH, &characters);
    return error == 0 ? characters : 0;
  }

  // Returns PCRE2's result for the next match at or after `at`.
  int match(std::string_view subject, std::size_t at, Workspace& workspace) const {
    if (jit_) {
      return pcre2_jit_match(code_.get(), units(subject), subject.size(), at, PCRE2_NO_UTF_CHECK, workspace.data.get(),
                             workspace.context.get());
    }
    return pcre2_match(code_.get(), units(subject), subject.size(), at, PCRE2_NO_UTF_CHECK, workspace.data.get(),
                       workspace.context.get());
  }

 private:
  std::unique_ptr<pcre2_code, FreeCode> code_;
  bool jit_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> pool_;  // GUARDED_BY(mutex_)
};

Pattern::Pattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

absl::StatusOr<Pattern> Pattern::compile(std::string_view oniguruma) {
  if (oniguruma.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError(fmt::format("pattern: longer than {} bytes", kPatternBytesMax));
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string translated, translate_pattern(oniguruma));
  // In Ruby's syntax ^ and $ are line anchors and only \n ends a line.
  return compile_pcre(translated,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C);
}

absl::StatusOr<Pattern> Pattern::compile_literal(std::string_view literal) {
  if (literal.size() > kPatternBytesMax || !is_valid_utf8(literal)) {
    return absl::InvalidArgumentError("pattern: too long, or not UTF-8");
  }
  absl::StatusOr<Pattern> pattern = compile_pcre(literal, PCRE2_UTF | PCRE2_LITERAL);
  if (pattern.ok()) {
    pattern->literal_ = literal;
  }
  return pattern;
}

absl::StatusOr<Pattern> Pattern::compile_pcre(std::string_view pattern, std::uint32_t options) {
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(units(pattern), pattern.size(), options, &error, &offset, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("pattern \"{}\": {} at offset {}", pattern, error_text(error), offset));
  }
  const bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  return Pattern(std::make_unique<Compiled>(code, jit));
}

std::size_t Pattern::bytes_min() const {
  return std::max(literal_.size(), compiled_->characters_min());
}

absl::Status Pattern::find_all(std::string_view text, Span range, std::vector<Span>& matches) const {
  matches.clear();
  return for_each(text, range, [&matches](Span match) { matches.push_back(match); });
}

absl::Status Pattern::for_each(std::string_view text, Span range, absl::FunctionRef<void(Span match)> visit) const {
  const std::string_view subject = text.substr(range.begin, range.end - range.begin);
  std::unique_ptr<Workspace> workspace = compiled_->borrow();
  std::size_t at = 0;
  std::size_t last_end = std::string_view::npos;
  int result = 0;
  while (at <= subject.size()) {
    result = compiled_->match(subject, at, *workspace);
    if (result < 0) {
      break;
    }
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(workspace->data.get());
    const std::size_t begin = offsets[0];
    at = offsets[1];
    if (begin == at && at == last_end) {
      at += at < subject.size() ? utf8_step(subject, at).length : 1;
      continue;
    }
    last_end = at;
    visit({static_cast<std::uint32_t>(begin + range.begin), static_cast<std::uint32_t>(at + range.begin)});
  }
  compiled_->give_back(std::move(workspace));
  if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
    return absl::ResourceExhaustedError(fmt::format("the pre-tokenizer's pattern gave up: {}", error_text(result)));
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
