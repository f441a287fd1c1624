// TokenAutomaton: a constraint for tests. What may come is a function of a hash of the tokens so far: anything, a few
// tokens, one token in each of several places, or nothing but end tokens. It checks that the engine keeps to the
// contract (engine/constraint.h), and fails when it is told to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/check.h"
#include "base/random.h"
#include "engine/constraint.h"

namespace coppice::testing {

struct AutomatonOptions {
  std::uint64_t seed = 1;
  std::int32_t vocab = 50;
  std::vector<TokenId> ends = {3};
  std::int32_t length_min = 4;   // tokens before an end token may come, except where anything may
  std::int32_t length_max = 30;  // the text is complete with this number of tokens
  std::uint32_t forced_in = 4;   // a run of forced tokens begins in 1/forced_in of the places; 0 = none
  std::int32_t run = 5;          // its tokens
  std::uint32_t free_in = 8;     // anything may come in 1/free_in of the other places; 0 = nowhere
  bool fails_to_begin = false;
  std::int32_t accept_fails_at = -1;  // the acceptance of this token (1 = the first) fails; -1: of none
  std::int32_t call_fails_at = -1;    // likewise for any call
};

// How often the methods of all constraints of a source were called.
struct AutomatonCalls {
  std::int64_t accepted = 0;
  std::int64_t masks = 0;
  std::int64_t checked_nodes = 0;
  std::int64_t forced = 0;
};

// Where a text stands. A value.
class AutomatonPlace {
 public:
  explicit AutomatonPlace(const AutomatonOptions& options) : options_(&options), hash_(options.seed) { arrive(); }

  bool is_complete() const { return is_ended_ || count_ >= options_->length_max; }
  bool is_forced() const { return !is_complete() && forced_left_ > 0; }
  bool is_free() const {
    return !is_complete() && !is_forced() && options_->free_in != 0 && hash_ / 7 % options_->free_in == 0;
  }
  // REQUIRES: is_forced(), or none of the three; then it is one of those that may come.
  TokenId usual_token() const {
    auto token = static_cast<TokenId>(hash_ % static_cast<std::uint64_t>(options_->vocab));
    while (is_end(token)) {
      token = (token + 1) % options_->vocab;
    }
    return token;
  }
  bool allows(TokenId token) const {
    if (is_complete()) {
      return is_end(token);
    }
    if (is_forced() || is_free()) {
      return is_free() || token == usual_token();
    }
    if (is_end(token)) {
      return count_ >= options_->length_min && hash_ % 5 == 0;
    }
    return token == usual_token() || random(hash_, static_cast<std::uint64_t>(token)) % 4 == 0;
  }
  AutomatonPlace after(TokenId token) const {
    AutomatonPlace next = *this;
    next.hash_ = random(hash_, static_cast<std::uint64_t>(token) + 1000);
    ++next.count_;
    next.is_ended_ = is_ended_ || is_end(token);
    next.forced_left_ = std::max(0, forced_left_ - 1);
    next.arrive();
    return next;
  }

 private:
  static std::uint64_t random(std::uint64_t a, std::uint64_t b) {
    const auto words = base::philox4x32(a, b, 0xA070);
    return (std::uint64_t{words[1]} << 32) | words[0];
  }
  bool is_end(TokenId token) const { return std::ranges::find(options_->ends, token) != options_->ends.end(); }
  void arrive() {
    if (forced_left_ == 0 && options_->forced_in != 0 && hash_ / 3 % options_->forced_in == 0) {
      forced_left_ = options_->run;
    }
  }

  const AutomatonOptions* options_;
  std::uint64_t hash_;
  std::int32_t count_ = 0;
  std::int32_t forced_left_ = 0;
  bool is_ended_ = false;
};

// Owner: an engine. Thread: the engine's. `calls` may be null.
class TokenAutomaton final : public engine::TokenConstraint {
 public:
  TokenAutomaton(std::shared_ptr<const AutomatonOptions> options, AutomatonCalls* calls)
      : options_(std::move(options)), calls_(calls != nullptr ? calls : &own_calls_), place_(*options_) {}

  absl::Status accept(TokenId token) override {
    if (absl::Status failed = call(++accepted_ == options_->accept_fails_at); !failed.ok()) {
      return failed;
    }
    ++calls_->accepted;
    if (!place_.allows(token)) {
      has_failed_ = true;
      return absl::InvalidArgumentError("this token may not come here");
    }
    place_ = place_.after(token);
    return absl::OkStatus();
  }

  absl::Status check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) override {
    if (absl::Status failed = call(false); !failed.ok()) {
      return failed;
    }
    COPPICE_CHECK(allowed.size() == draft.tokens.size() && !allowed.empty(), "one entry a node");
    calls_->checked_nodes += static_cast<std::int64_t>(allowed.size());
    walk(draft, allowed);
    return absl::OkStatus();
  }

  absl::Status fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                          std::span<std::uint8_t> limited) override {
    if (absl::Status failed = call(false); !failed.ok()) {
      return failed;
    }
    const std::size_t entries = 1 + draft.tokens.size();
    const std::size_t words = masks.size() / entries;
    COPPICE_CHECK(limited.size() == entries && words * entries == masks.size(), "one mask an entry");
    COPPICE_CHECK(words == (static_cast<std::size_t>(options_->vocab) + 31) / 32, "a bit for each token");
    flags_.assign(draft.tokens.size(), 0);
    walk(draft, flags_);
    COPPICE_CHECK(std::ranges::count(flags_, 0) == 0, "no mask is made for a node that may not come");
    calls_->masks += static_cast<std::int64_t>(entries);
    for (std::size_t entry = 0; entry < entries; ++entry) {
      const AutomatonPlace& place = entry == 0 ? place_ : places_[entry - 1];
      limited[entry] = place.is_free() ? 0 : 1;
      const std::span<std::uint32_t> mask = masks.subspan(entry * words, words);
      std::ranges::fill(mask, limited[entry] != 0 ? 0U : 0xDEADBEEFU);
      for (TokenId token = 0; limited[entry] != 0 && token < static_cast<TokenId>(words) * 32; ++token) {
        const bool is_set = token >= options_->vocab || place.allows(token);  // beyond the vocabulary: anything
        mask[static_cast<std::size_t>(token) / 32] |= static_cast<std::uint32_t>(is_set ? 1 : 0) << (token % 32);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<TokenId>> forced_tokens() override {
    if (absl::Status failed = call(false); !failed.ok()) {
      return failed;
    }
    std::vector<TokenId> forced;
    for (AutomatonPlace place = place_; place.is_forced(); place = place.after(forced.back())) {
      forced.push_back(place.usual_token());
    }
    calls_->forced += static_cast<std::int64_t>(forced.size());
    return forced;
  }

 private:
  absl::Status call(bool fails) {
    COPPICE_CHECK(!has_failed_, "nothing is called after an error");
    has_failed_ = ++call_count_ == options_->call_fails_at || fails;
    return has_failed_ ? absl::ResourceExhaustedError("the automaton was told to fail") : absl::OkStatus();
  }

  // Sets allowed[i] for each node, and places_ to where the text stands after it.
  void walk(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) {
    places_.clear();
    for (std::size_t node = 0; node < draft.tokens.size(); ++node) {
      const std::int32_t parent = draft.parents[node];
      COPPICE_CHECK(parent < static_cast<std::int32_t>(node), "parents stand before children");
      const AutomatonPlace& above = parent < 0 ? place_ : places_[static_cast<std::size_t>(parent)];
      const bool may_come = parent < 0 || allowed[static_cast<std::size_t>(parent)] != 0;
      allowed[node] = may_come && above.allows(draft.tokens[node]) ? 1 : 0;
      const AutomatonPlace after = above.after(draft.tokens[node]);
      places_.push_back(after);
    }
  }

  const std::shared_ptr<const AutomatonOptions> options_;
  AutomatonCalls own_calls_;
  AutomatonCalls* const calls_;
  AutomatonPlace place_;
  std::int32_t accepted_ = 0;
  std::int32_t call_count_ = 0;
  bool has_failed_ = false;
  std::vector<AutomatonPlace> places_;  // after each draft node
  std::vector<std::uint8_t> flags_;
};

class AutomatonSource final : public engine::ConstraintSource {
 public:
  explicit AutomatonSource(AutomatonOptions options, AutomatonCalls* calls = nullptr)
      : options_(std::make_shared<const AutomatonOptions>(std::move(options))), calls_(calls) {}
  absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> begin() const override {
    if (options_->fails_to_begin) {
      return absl::ResourceExhaustedError("the automaton was told to fail");
    }
    return std::make_unique<TokenAutomaton>(options_, calls_);
  }
  const AutomatonOptions& options() const { return *options_; }

 private:
  const std::shared_ptr<const AutomatonOptions> options_;
  AutomatonCalls* const calls_;
};

}  // namespace coppice::testing
