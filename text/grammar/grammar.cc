// The library behind compiled grammars and matchers. With xgrammar_calls.cc the only file that knows it.
#include "text/grammar/grammar.h"

#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "text/grammar/xgrammar_calls.h"

namespace coppice::text {
namespace {

constexpr std::int32_t kMaskBits = 32;  // of a word of a mask

DLTensor tensor_of(std::span<std::uint32_t> mask, std::int64_t& words) {
  words = static_cast<std::int64_t>(mask.size());
  DLTensor tensor{};
  tensor.data = mask.data();
  tensor.device = DLDevice{kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = xgrammar::GetBitmaskDLType();
  tensor.shape = &words;
  return tensor;
}

// What the engine takes for the text of a mark: it refuses tokens without one, and no UTF-8 has these bytes.
constexpr std::string_view kMarkText = "\xFF\xFE";

// The bytes of every token; empty for those that must never match.
std::vector<std::string> token_texts(const Tokenizer& tokenizer, const std::vector<TokenId>& marks) {
  std::vector<std::string> texts(static_cast<std::size_t>(tokenizer.vocab_size()));
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) {
      texts[static_cast<std::size_t>(id)] = tokenizer.token_bytes(id);
    }
  }
  for (const TokenId mark : marks) {
    texts[static_cast<std::size_t>(mark)] = kMarkText;
  }
  return texts;
}

}  // namespace

struct CompiledGrammar::State {
  xgrammar::CompiledGrammar grammar;
  std::vector<UnenforcedKeyword> unenforced;
  std::size_t memory_bytes = 0;
};

std::size_t CompiledGrammar::memory_bytes() const {
  return state_->memory_bytes;
}

const std::vector<UnenforcedKeyword>& CompiledGrammar::unenforced() const {
  return state_->unenforced;
}

struct GrammarCompiler::Vocabulary {
  xgrammar::TokenizerInfo tokens;
};

GrammarCompiler::GrammarCompiler(std::unique_ptr<Vocabulary> vocabulary, GrammarOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {}

GrammarCompiler::~GrammarCompiler() = default;

absl::StatusOr<std::unique_ptr<GrammarCompiler>> GrammarCompiler::create(const Tokenizer& tokenizer,
                                                                         std::int32_t vocab_size,
                                                                         std::span<const TokenId> end_tokens,
                                                                         GrammarOptions options) {
  for (const TokenId token : end_tokens) {
    if (token < 0 || token >= tokenizer.vocab_size()) {
      return absl::InvalidArgumentError("the end token " + std::to_string(token) + " is not in the vocabulary");
    }
  }
  if (std::any_of(options.marks.begin(), options.marks.end(),
                  [&](TokenId mark) { return mark < 0 || mark >= tokenizer.vocab_size(); })) {
    return absl::InvalidArgumentError("a mark is not in the vocabulary");
  }
  if (end_tokens.empty()) {
    return absl::InvalidArgumentError("a grammar needs an end token");
  }
  const std::vector<std::int32_t> ends(end_tokens.begin(), end_tokens.end());
  absl::StatusOr<xgrammar::TokenizerInfo> tokens = xgrammar_call([&] {
    return xgrammar::TokenizerInfo(token_texts(tokenizer, options.marks), xgrammar::VocabType::RAW, vocab_size, ends);
  });
  COPPICE_RETURN_IF_ERROR(tokens.status());
  return std::unique_ptr<GrammarCompiler>(
      new GrammarCompiler(std::make_unique<Vocabulary>(Vocabulary{*std::move(tokens)}), std::move(options)));
}

absl::StatusOr<CompiledGrammar> GrammarCompiler::compile(const GrammarSpec& spec,
                                                         const std::atomic<bool>* is_cancelled) const {
  COPPICE_ASSIGN_OR_RETURN(CheckedSpec checked, check_spec(spec, options_.limits, options_.white_space_max));
  const XgrammarWarnings warnings;
  absl::StatusOr<xgrammar::CompiledGrammar> grammar = xgrammar_call([&] {
    const WorkLimit limit(options_.compile_steps_max, is_cancelled);
    // Its own cache is off: ours bounds the bytes and lets one compile serve all (grammar_cache.h).
    xgrammar::GrammarCompiler compiler(vocabulary_->tokens, /*max_threads=*/1, /*cache_enabled=*/false);
    switch (checked.kind) {
      case GrammarKind::kRegex:
        return compiler.CompileRegex(checked.text);
      case GrammarKind::kEbnf:
        return compiler.CompileGrammar(checked.text);
      case GrammarKind::kStructuralTag:
        return compiler.CompileStructuralTag(checked.text);
      default:
        return compiler.CompileJSONSchema(checked.text, /*any_whitespace=*/true, std::nullopt, std::nullopt,
                                          /*strict_mode=*/false, options_.white_space_max);
    }
  });
  if (absl::IsOutOfRange(grammar.status())) {
    return absl::OutOfRangeError("it takes more than " + std::to_string(options_.compile_steps_max) +
                                 " steps to compile: it is too large or repeats too much inside repetitions");
  }
  COPPICE_RETURN_IF_ERROR(grammar.status());
  // The check before should leave nothing to warn of.
  for (const std::string& warning : warnings.texts()) {
    checked.unenforced.push_back({"#", "schema", warning});
  }
  if (spec.strict && !checked.unenforced.empty()) {
    return absl::InvalidArgumentError(checked.unenforced.front().message());
  }
  const std::size_t bytes = grammar->MemorySizeBytes();
  CompiledGrammar compiled(std::make_shared<const CompiledGrammar::State>(
      CompiledGrammar::State{*std::move(grammar), std::move(checked.unenforced), bytes}));
  COPPICE_RETURN_IF_ERROR(check_first_mask(compiled));
  return compiled;
}

absl::Status GrammarCompiler::check_first_mask(const CompiledGrammar& grammar) {
  constexpr std::int64_t kStepsMax = 20'000'000;  // half a second; a mask of a sequence may take a tenth
  const absl::Status too_slow = absl::OutOfRangeError("its first token can be read in too many ways");
  absl::StatusOr<GrammarMatcher> matcher = GrammarMatcher::create(grammar, kStepsMax);
  if (!matcher.ok()) {
    return absl::IsOutOfRange(matcher.status()) ? too_slow : matcher.status();
  }
  std::vector<std::uint32_t> mask(matcher->mask_words());
  if (const absl::Status filled = matcher->fill_mask(mask); !filled.ok()) {
    return absl::IsOutOfRange(filled) ? too_slow : filled;
  }
  if (std::all_of(mask.begin(), mask.end(), [](std::uint32_t word) { return word == 0; })) {
    return absl::InvalidArgumentError("the grammar accepts no text, or none that the model's tokens can write");
  }
  return absl::OkStatus();
}

struct GrammarMatcher::State {
  CompiledGrammar grammar;
  xgrammar::GrammarMatcher matcher;
  int ends = 0;  // end tokens after the first: the engine takes no more
  std::int64_t steps_left = kStepsUnlimited;
};

GrammarMatcher::GrammarMatcher(std::unique_ptr<State> state) : state_(std::move(state)) {}
GrammarMatcher::GrammarMatcher(GrammarMatcher&&) noexcept = default;
GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher&&) noexcept = default;
GrammarMatcher::~GrammarMatcher() = default;

absl::StatusOr<GrammarMatcher> GrammarMatcher::create(CompiledGrammar grammar, std::int64_t steps_max) {
  std::int64_t steps = 0;
  absl::StatusOr<xgrammar::GrammarMatcher> matcher = xgrammar_call([&] {
    const WorkLimit limit(steps_max);
    xgrammar::GrammarMatcher made(grammar.state().grammar);
    steps = limit.steps();
    return made;
  });
  COPPICE_RETURN_IF_ERROR(matcher.status());
  return GrammarMatcher(std::make_unique<State>(State{std::move(grammar), *std::move(matcher), 0, steps_max - steps}));
}

template <typename Call>
auto GrammarMatcher::counted_call(Call&& call) const {
  return xgrammar_call([&] {
    const WorkLimit limit(state_->steps_left);
    auto result = call();
    state_->steps_left -= limit.steps();
    return result;
  });
}

std::int64_t GrammarMatcher::steps_left() const {
  return state_->steps_left;
}

void GrammarMatcher::set_steps_left(std::int64_t steps) {
  state_->steps_left = steps;
}

absl::StatusOr<bool> GrammarMatcher::accept(TokenId token) {
  if (is_ended()) {
    const std::vector<int>& ends = state_->matcher.GetStopTokenIds();
    const bool is_end = std::find(ends.begin(), ends.end(), token) != ends.end();
    state_->ends += is_end ? 1 : 0;
    return is_end;
  }
  return counted_call([&] { return state_->matcher.AcceptToken(token); });
}

std::size_t GrammarMatcher::mask_words() const {
  const std::int32_t tokens = state_->grammar.state().grammar.GetTokenizerInfo().GetVocabSize();
  return static_cast<std::size_t>((tokens + kMaskBits - 1) / kMaskBits);
}

absl::Status GrammarMatcher::fill_mask(std::span<std::uint32_t> mask) {
  COPPICE_CHECK(mask.size() >= mask_words(), "a mask of another vocabulary");
  std::fill(mask.begin(), mask.end(), 0U);
  mask = mask.first(mask_words());
  if (is_ended()) {
    for (const int token : state_->matcher.GetStopTokenIds()) {
      mask[static_cast<std::size_t>(token / kMaskBits)] |= std::uint32_t{1} << (token % kMaskBits);
    }
    return absl::OkStatus();
  }
  std::int64_t words = 0;
  DLTensor tensor = tensor_of(mask, words);
  return counted_call([&] { return state_->matcher.FillNextTokenBitmask(&tensor); }).status();
}

absl::Status GrammarMatcher::walk_tree(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                                       absl::FunctionRef<absl::Status(std::size_t)> visit) {
  COPPICE_CHECK(parents.size() == tokens.size(), "a tree");
  // Lists of children, in ascending order; [0] and -1: of this state, [i + 1] and i: of node i.
  std::vector<std::int32_t> first(tokens.size() + 1, -1);
  std::vector<std::int32_t> next(tokens.size(), -1);
  for (std::size_t i = tokens.size(); i-- > 0;) {
    std::int32_t& head = first[static_cast<std::size_t>(parents[i] + 1)];
    next[i] = std::exchange(head, static_cast<std::int32_t>(i));
  }
  std::int32_t at = -1;
  std::int32_t child = first[0];
  while (at >= 0 || child >= 0) {
    if (child < 0) {
      COPPICE_RETURN_IF_ERROR(rollback(1));
      child = next[static_cast<std::size_t>(at)];
      at = parents[static_cast<std::size_t>(at)];
      continue;
    }
    const auto node = static_cast<std::size_t>(child);
    COPPICE_ASSIGN_OR_RETURN(const bool is_allowed, accept(tokens[node]));
    if (is_allowed) {
      at = child;
      child = first[node + 1];
      COPPICE_RETURN_IF_ERROR(visit(node));
    } else {
      child = next[node];
    }
  }
  return absl::OkStatus();
}

absl::Status GrammarMatcher::check_tree(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                                        std::span<std::uint8_t> allowed) {
  COPPICE_CHECK(allowed.size() == tokens.size(), "one entry a node");
  std::fill(allowed.begin(), allowed.end(), std::uint8_t{0});
  return walk_tree(parents, tokens, [&](std::size_t node) {
    allowed[node] = 1;
    return absl::OkStatus();
  });
}

absl::Status GrammarMatcher::fill_tree_masks(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                                             std::span<std::uint32_t> masks) {
  if (tokens.empty()) {
    return absl::OkStatus();
  }
  const std::size_t words = masks.size() / tokens.size();
  COPPICE_CHECK(words >= mask_words() && masks.size() == tokens.size() * words, "masks of a tree");
  std::fill(masks.begin(), masks.end(), 0U);
  return walk_tree(parents, tokens, [&](std::size_t node) { return fill_mask(masks.subspan(node * words, words)); });
}

absl::Status GrammarMatcher::rollback(int count) {
  if (count < 0) {
    return absl::InvalidArgumentError("tokens to take back must not be negative");
  }
  const int ends = std::min(count, state_->ends);
  const auto rolled = xgrammar_call([&] {
    if (count > ends) {
      state_->matcher.Rollback(count - ends);
    }
    return true;
  });
  COPPICE_RETURN_IF_ERROR(rolled.status());
  state_->ends -= ends;
  return absl::OkStatus();
}

absl::StatusOr<GrammarMatcher> GrammarMatcher::fork() const {
  absl::StatusOr<xgrammar::GrammarMatcher> matcher = xgrammar_call([&] { return state_->matcher.Fork(); });
  COPPICE_RETURN_IF_ERROR(matcher.status());
  return GrammarMatcher(
      std::make_unique<State>(State{state_->grammar, *std::move(matcher), state_->ends, state_->steps_left}));
}

bool GrammarMatcher::is_finished() const {
  return state_->matcher.IsCompleted() || is_ended();
}

bool GrammarMatcher::is_ended() const {
  return state_->matcher.IsTerminated();
}

absl::StatusOr<std::vector<TokenId>> GrammarMatcher::forced_tokens() const {
  if (is_ended()) {
    return std::vector<TokenId>();
  }
  return counted_call([&] { return state_->matcher.FindJumpForwardTokens(); });
}

}  // namespace coppice::text
