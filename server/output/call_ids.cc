// Long ids are random. Nine characters are too few for that to be unique: short ids are a count, enciphered by a
// Feistel network (Luby, Rackoff, SIAM J. Comput. 1988) under a random key, so that they do not repeat before 62^9 of
// them.
#include "server/output/call_ids.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>
#include <string_view>

#include "base/random.h"

namespace coppice::server {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kShortLength = 9;                      // characters: Mistral's templates count them
constexpr std::size_t kLongLength = 24;                      // random characters behind "call_", as OpenAI has
constexpr std::uint64_t kShortIds = 13'537'086'546'263'552;  // 62^9
constexpr int kHalfBits = 27;                                // of a block: 2^54 is the next even power above 62^9
// The lower half of a block, in bits.
constexpr std::uint64_t kHalfMask = (std::uint64_t{1} << kHalfBits) - 1;
constexpr std::uint64_t kRounds = 6;  // of the network; four are enough against a reader of ids alone

std::uint64_t random_word() {
  std::random_device entropy;
  return std::uint64_t{entropy()} << 32U | entropy();
}

std::uint64_t encipher(std::uint64_t block) {
  static const std::uint64_t key = random_word();
  static const std::uint64_t tweak = random_word();
  std::uint64_t left = block >> kHalfBits;
  std::uint64_t right = block & kHalfMask;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t mixed = base::philox4x32(key, right, tweak ^ round)[0] & kHalfMask;
    const std::uint64_t next = left ^ mixed;
    left = right;
    right = next;
  }
  return left << kHalfBits | right;
}

std::string short_id() {
  static std::atomic<std::uint64_t> count{random_word() % kShortIds};
  std::uint64_t number = encipher(count.fetch_add(1) % kShortIds);
  while (number >= kShortIds) {  // walks the cycle back into the range: still one to one
    number = encipher(number);
  }
  std::string id(kShortLength, '0');
  for (char& character : id) {
    character = kAlphabet[number % kAlphabet.size()];
    number /= kAlphabet.size();
  }
  return id;
}

}  // namespace

std::string CallIds::next() const {
  if (is_short_) {
    return short_id();
  }
  std::random_device entropy;
  std::uniform_int_distribution<std::size_t> place(0, kAlphabet.size() - 1);
  std::string id = "call_";
  std::generate_n(std::back_inserter(id), kLongLength, [&] { return kAlphabet[place(entropy)]; });
  return id;
}

}  // namespace coppice::server
