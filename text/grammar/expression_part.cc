// Star normal form: A. Brueggemann-Klein, "Regular expressions into finite automata", 1993.
#include "text/grammar/expression_part.h"

#include <utility>

namespace coppice::text {

ExpressionPart single_part(std::string text, std::int64_t size) {
  ExpressionPart part;
  part.loop = text;
  part.text = std::move(text);
  part.size = size;
  part.may_be_empty = false;
  return part;
}

// In a group of its own, so that no two repetitions follow one another.
void repeat_part(ExpressionPart& part, std::int64_t min, std::int64_t max) {
  if (max == 0) {
    part = ExpressionPart{};
  }
  if (part.text.empty() || part.repeated == '*' || (part.repeated == '+' && min == 1)) {
    return;
  }
  if (max < 0 && (min == 0 || part.may_be_empty)) {
    part.text = "(" + part.loop + "*)";
    part.may_be_empty = true;
    part.repeated = '*';
    return;
  }
  if (part.may_be_empty && max == 1) {
    return;
  }
  const bool is_plus = min == 1 && max < 0;
  std::string bounds = "+";
  if (!is_plus) {
    bounds = "{" + std::to_string(min);
    bounds += max == min ? "}" : max < 0 ? ",}" : "," + std::to_string(max) + "}";
  }
  part.text = "(" + part.text + bounds + ")";
  if (min > 1 && !part.may_be_empty) {
    part.loop = part.text;  // any number of x{2,3} is not any number of x
  }
  part.may_be_empty = part.may_be_empty || min == 0;
  part.repeated = is_plus ? '+' : '\0';
}

void group_part(ExpressionPart& part) {
  if (!part.text.empty()) {
    part.text = "(" + part.text + ")";
  }
}

void ExpressionParts::add(const ExpressionPart& part) {
  if (part.text.empty()) {
    has_empty_ = true;
    return;
  }
  const bool is_first = count_++ == 0;
  const char* const separator = is_first ? "" : "|";
  whole_.text += (kind_ == Kind::kAlternatives ? separator : "") + part.text;
  whole_.size += part.size;
  whole_.repeated = is_first ? part.repeated : '\0';
  loops_ += separator + part.loop;
  may_all_be_ = may_all_be_ && part.may_be_empty;
  may_one_be_ = may_one_be_ || part.may_be_empty;
}

ExpressionPart ExpressionParts::join() && {
  if (count_ == 0) {
    return ExpressionPart{};
  }
  const bool are_alternatives = kind_ == Kind::kAlternatives;
  whole_.may_be_empty = are_alternatives ? may_one_be_ : may_all_be_;
  if (are_alternatives || may_all_be_) {
    whole_.loop = count_ == 1 ? std::move(loops_) : "(" + loops_ + ")";
  } else {
    whole_.loop = count_ == 1 ? std::move(loops_) : "(" + whole_.text + ")";
  }
  if (are_alternatives && has_empty_ && !whole_.may_be_empty) {
    whole_.text = "(" + whole_.text + ")" + kOptional;
    whole_.may_be_empty = true;
    whole_.repeated = '\0';
  }
  return std::move(whole_);
}

}  // namespace coppice::text
