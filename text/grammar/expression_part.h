// Parts of an expression as they are written again, and how they are put together. Private to text/grammar.
//
// A repetition of what may be empty or repeats itself, as (a*)*, has ever more ways to read one text, and the engine
// follows them all. It is written as the repetition of what its part repeats, a*: the star normal form.
#pragma once

#include <cstdint>
#include <string>

namespace coppice::text {

// What `?` means. XGrammar 0.2.9 makes of (ab+)? an automaton that takes "b" too: it joins the start with an end that
// has a way back. Its bounded repetition has a start of its own.
inline constexpr const char* kOptional = "{0,1}";

struct ExpressionPart {
  std::string text;          // empty where only an empty text matches
  std::int64_t size = 0;     // characters and classes, repetitions written out
  std::string loop = {};     // one atom that matches no empty text; any number of it is any number of `text`
  bool may_be_empty = true;  // may match an empty text
  char repeated = 0;         // '*' or '+' where the whole is that of one thing
};

// One character or class.
ExpressionPart single_part(std::string text, std::int64_t size);

// Repeats it from `min` times to `max`, -1 for any number.
void repeat_part(ExpressionPart& part, std::int64_t min, std::int64_t max);

// Puts it into a group.
void group_part(ExpressionPart& part);

// Parts one after the other, or one of them.
class ExpressionParts {
 public:
  enum class Kind : std::uint8_t { kSequence, kAlternatives };
  explicit ExpressionParts(Kind kind) : kind_(kind) {}

  void add(const ExpressionPart& part);
  std::int64_t size() const { return whole_.size; }
  ExpressionPart join() &&;

 private:
  Kind kind_;
  ExpressionPart whole_;
  std::string loops_;        // of all parts, as alternatives
  int count_ = 0;            // parts with a text
  bool has_empty_ = false;   // a part without
  bool may_all_be_ = true;   // empty
  bool may_one_be_ = false;  // empty
};

}  // namespace coppice::text
