// Expressions: what is written again, what is refused, and that what is written matches as it should.
#include <catch2/catch.hpp>

#include "text/grammar/code_points.h"
#include "text/grammar/expression.h"

namespace coppice::text {
namespace {

std::string of_text(std::string_view pattern) {
  return enforceable_expression(pattern, ExpressionUse::kText, ExpressionMatch::kWhole).value();
}

absl::Status error_of(std::string_view pattern, ExpressionUse use = ExpressionUse::kJsonString) {
  return enforceable_expression(pattern, use, ExpressionMatch::kSearch).status();
}

TEST_CASE("sets of characters: union, complement and difference, without surrogates") {
  const CodePointSet letters({{'a', 'z'}, {'A', 'Z'}, {'b', 'd'}});
  CHECK(letters.expression() == "[A-Za-z]");
  CHECK(letters.without(CodePointSet({{'b', 'y'}})).expression() == "[A-Zaz]");
  CHECK(letters.complement().complement().expression() == letters.expression());
  CHECK(CodePointSet().complement().expression() == "[\\u{0}-\\u{d7ff}\\u{e000}-\\u{10ffff}]");
  CHECK(CodePointSet({{0xD800, 0xDFFF}}).empty());
  CHECK(CodePointSet({{'"', '"'}}).expression() == "\\u{22}");
  CHECK(CodePointSet({{'x', 'x'}}).only() == U'x');
  CHECK_FALSE(letters.only().has_value());
}

TEST_CASE("what an expression means stays, its way of writing does not") {
  CHECK(of_text("^abc$") == "abc");
  CHECK(of_text("a.c") == "a[\\u{0}-\\u{9}\\u{b}-\\u{c}\\u{e}-\\u{2027}\\u{202a}-\\u{d7ff}\\u{e000}-\\u{10ffff}]c");
  CHECK(of_text("(?:a|b)(?<name>c)") == "(a|b)(c)");
  CHECK(of_text("a{2}b{3,}c{1,4}d*e+f*?") == "(a{2})(b{3,})(c{1,4})(d*)(e+)(f*)");
  CHECK(of_text("\\u0041\\x42\\u{43}\\.") == "ABC\\u{2e}");
  CHECK(of_text("[^\\d\\-x]") == "[\\u{0}-\\u{2c}\\u{2e}-\\u{2f}\\u{3a}-wy-\\u{d7ff}\\u{e000}-\\u{10ffff}]");
  CHECK(of_text("[a-c\\d_-]") == "[\\u{2d}0-9\\u{5f}a-c]");
  CHECK(of_text("\xC3\xA9") == "\\u{e9}");
  CHECK(of_text("a{0}") == "");
}

TEST_CASE("nothing is optional by a question mark: XGrammar 0.2.9 takes \"b\" for (ab+)?") {
  CHECK(of_text("(ab+)?") == "((a(b+)){0,1})");
  CHECK(of_text("a|") == "(a){0,1}");
  CHECK(of_text("(|a)") == "((a){0,1})");
}

TEST_CASE("a repetition of what may be empty or repeats itself becomes one of what that repeats") {
  CHECK(of_text("(a*)*x") == "((a*))x");
  CHECK(of_text("(a*)+") == "((a*))");
  CHECK(of_text("(a+)+") == "((a+))");
  CHECK(of_text("(a+)*") == "(a*)");
  CHECK(of_text("((a*)*)*") == "(((a*)))");
  CHECK(of_text("(a*b*)*") == "((a|b)*)");
  CHECK(of_text("(a*b*|c?)+") == "(((a|b)|c)*)");
  CHECK(of_text("(a?){3,}") == "(a*)");
  CHECK(of_text("((a?){2,5})*") == "(a*)");
  CHECK(of_text("(a*){2,5}") == "((a*))");
  CHECK(of_text("(a?)?") == "((a{0,1}))");
  // Not these: one text is read in one way, or the loop is another.
  CHECK(of_text("(ab*)*") == "((a(b*))*)");
  CHECK(of_text("(a*b)+") == "(((a*)b)+)");
  CHECK(of_text("(a{2,3})*") == "((a{2,3})*)");
  CHECK(of_text("(a?b?){2}") == "(((a{0,1})(b{0,1})){2})");
}

TEST_CASE("a search takes any characters where no anchor stands, for each alternative") {
  const auto searched = [](std::string_view pattern) {
    return enforceable_expression(pattern, ExpressionUse::kJsonString, ExpressionMatch::kSearch).value();
  };
  const std::string any = "[\\u{20}-\\u{21}\\u{23}-\\u{5b}\\u{5d}-\\u{d7ff}\\u{e000}-\\u{10ffff}]*";
  CHECK(searched("x") == any + "x" + any);
  CHECK(searched("^x") == "x" + any);
  CHECK(searched("x$") == any + "x");
  CHECK(searched("^a|b$") == "a" + any + "|" + any + "b");
  CHECK(searched("") == any);
  CHECK(searched("^") == any);
  CHECK(searched("^$") == "");
}

TEST_CASE("what cannot be enforced is named") {
  const std::pair<const char*, const char*> kCases[] = {
      {"a(?=b)", "a group that looks around or sets flags"},
      {"(?<!a)b", "a group that looks around or sets flags"},
      {"(?i)a", "a group that looks around or sets flags"},
      {"\\bfoo", "the escape \\b"},
      {"(a)\\1", "the escape \\1"},
      {"\\p{L}", "the escape \\p"},
      {"a^b", "an anchor inside"},
      {"a$b", "an anchor inside"},
      {"(^a)", "an anchor inside"},
      {"*a", "a repetition of nothing"},
      {"a{2,1}", "a repetition whose bounds cannot be read"},
      {"a**", "a repetition of nothing"},
      {"(a", "a `(` that is not closed"},
      {"a)", "a `)` that closes nothing"},
      {"[a", "a `[` that is not closed"},
      {"[b-a]", "a range of a class that cannot be read"},
      {"[\\d-z]", "a range of a class that cannot be read"},
      {"\\u12", "an escape whose digits cannot be read"},
      {"[]", "a class that matches nothing"},
      {"a\\", "a `\\` at the end"},
      {"^\"$", "a character that JSON writes with an escape"},
      {"[\\n\\t]", "a character that JSON writes with an escape"},
      {"\xC3", "text that is not UTF-8"},
  };
  for (const auto& [pattern, what] : kCases) {
    CAPTURE(pattern);
    CHECK(absl::IsInvalidArgument(error_of(pattern)));
    CHECK(std::string(error_of(pattern).message()) == what);
  }
  // In a text these are characters as others.
  CHECK(enforceable_expression("\"\\n", ExpressionUse::kText, ExpressionMatch::kWhole).ok());
}

TEST_CASE("what grows too large is refused with its limit") {
  CHECK(error_of("a{128}").ok());
  CHECK(absl::IsOutOfRange(error_of("a{129}")));
  CHECK(error_of("a{2000}", ExpressionUse::kText).ok());
  CHECK(absl::IsOutOfRange(error_of("a{2001}", ExpressionUse::kText)));
  CHECK(absl::IsOutOfRange(error_of("a{1,99999999999999999999}")));
  CHECK(absl::IsOutOfRange(error_of("((a{100}){100}){100}")));
  CHECK(absl::IsOutOfRange(error_of(std::string(100, '(') + "a" + std::string(100, ')'))));
  CHECK(error_of(std::string(60, '(') + "a" + std::string(60, ')')).ok());
}

}  // namespace
}  // namespace coppice::text
