// Any bytes as a grammar of any kind: checking and compiling must end in a grammar or an error, without a crash. What a
// mask allows, the matcher accepts; what is taken back leaves no trace; a draft tree says what its paths say one by
// one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/text/grammar/byte_tokenizer.h"
#include "text/grammar/grammar.h"

namespace {

using coppice::TokenId;
using coppice::text::GrammarKind;
using coppice::text::GrammarMatcher;

constexpr int kKinds = 6;   // of GrammarKind
constexpr int kSteps = 48;  // of a walk: into a few nested values
constexpr int kWordBits = 32;

const coppice::text::ByteTokenizer& tokenizer() {
  static const coppice::text::ByteTokenizer instance({"{\"", "\":", "true", "ab", "\xC3\xA9", "}]", "  "});
  return instance;
}

// Small bounds: what is looked for is wrong, not slow.
const coppice::text::GrammarCompiler& compiler() {
  static const std::unique_ptr<coppice::text::GrammarCompiler> instance = [] {
    coppice::text::GrammarOptions options;
    options.limits.bytes_max = 4096;
    options.limits.nodes_max = 300;
    options.limits.repeat_max = 40;
    options.limits.alternatives_max = 40;
    options.limits.expression_size_max = 200;
    return coppice::text::GrammarCompiler::create(tokenizer(), tokenizer().vocab_size(), tokenizer().end_tokens(),
                                                  options)
        .value();
  }();
  return *instance;
}

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

std::vector<TokenId> allowed(GrammarMatcher& matcher, std::vector<std::uint32_t>& mask) {
  require(matcher.fill_mask(mask).ok());
  std::vector<TokenId> tokens;
  for (TokenId token = 0; token < tokenizer().vocab_size(); ++token) {
    if ((mask[static_cast<std::size_t>(token) / kWordBits] >> (token % kWordBits) & 1U) != 0) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

// Goes where the numbers of `random` lead.
void walk(const coppice::text::CompiledGrammar& grammar, std::uint32_t random) {
  GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
  std::vector<std::uint32_t> mask(matcher.mask_words());
  std::vector<std::uint32_t> again(matcher.mask_words());
  for (int step = 0; step < kSteps && !matcher.is_ended(); ++step) {
    const std::vector<TokenId> tokens = allowed(matcher, mask);
    if (tokens.empty()) {
      return;  // a grammar that no text can end
    }
    random = random * 1664525U + 1013904223U;  // Numerical Recipes' generator
    const TokenId token = tokens[(random >> 8U) % tokens.size()];
    const TokenId other = static_cast<TokenId>((random >> 4U) % static_cast<std::uint32_t>(tokenizer().vocab_size()));
    const std::int32_t parents[] = {-1, 0, -1};
    const TokenId nodes[] = {token, other, other};
    std::uint8_t can_come[] = {0, 0, 0};
    require(matcher.check_tree(parents, nodes, can_come).ok());
    require(can_come[0] == 1);
    require(allowed(matcher, again) == tokens && mask == again);
    require((can_come[2] == 1) ==
            ((mask[static_cast<std::size_t>(other) / kWordBits] >> (other % kWordBits) & 1U) != 0));
    require(matcher.accept(token).value());
    if (!matcher.is_ended()) {
      (void)allowed(matcher, again);
      require((can_come[1] == 1) ==
              ((again[static_cast<std::size_t>(other) / kWordBits] >> (other % kWordBits) & 1U) != 0));
    }
    (void)matcher.forced_tokens();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  coppice::text::GrammarSpec spec;
  spec.kind = static_cast<GrammarKind>(data[0] % kKinds);
  spec.strict = (data[0] & 0x80U) != 0;
  // The byte view of the input: the one place where bytes become characters.
  spec.text.assign(reinterpret_cast<const char*>(data + 1), size - 1);
  if (spec.kind == GrammarKind::kChoice) {
    for (std::size_t at = 0; at < spec.text.size();) {
      const std::size_t end = std::min(spec.text.find('\n', at), spec.text.size());
      spec.choices.push_back(spec.text.substr(at, end - at));
      at = end + 1;
    }
  }
  (void)canonical_text(spec);
  const auto compiled = compiler().compile(spec);
  if (compiled.ok()) {
    require(!spec.strict || compiled->unenforced().empty());
    walk(*compiled, static_cast<std::uint32_t>(size));
    walk(*compiled, 7);
  }
  return 0;
}
