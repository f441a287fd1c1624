// Compiled grammars and their matchers, over a vocabulary of bytes and some longer tokens.
#include "text/grammar/grammar.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <ctime>

#include "tests/unit/text/grammar/byte_tokenizer.h"

namespace coppice::text {
namespace {

const ByteTokenizer& tokenizer() {
  static const ByteTokenizer instance({"{\"", "name", "\":", "true", "abc"});
  return instance;
}

const GrammarCompiler& compiler() {
  static const std::unique_ptr<GrammarCompiler> instance =
      GrammarCompiler::create(tokenizer(), tokenizer().vocab_size() + 5, tokenizer().end_tokens()).value();
  return *instance;
}

CompiledGrammar compiled(GrammarKind kind, std::string text, bool strict = false) {
  return compiler().compile({kind, std::move(text), {}, strict}).value();
}

GrammarMatcher matcher_of(GrammarKind kind, std::string text) {
  return GrammarMatcher::create(compiled(kind, std::move(text))).value();
}

// Whether the text and then an end token are accepted; at each step the mask has to say the same.
bool accepts(const CompiledGrammar& grammar, const std::string& text) {
  GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
  std::vector<std::uint32_t> mask(matcher.mask_words());
  std::vector<TokenId> tokens = tokenizer().encode(text, {}).value();
  tokens.push_back(tokenizer().end_tokens()[1]);
  for (const TokenId token : tokens) {
    REQUIRE(matcher.fill_mask(mask).ok());
    const bool is_allowed = (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1U) != 0;
    REQUIRE(matcher.accept(token).value() == is_allowed);
    if (!is_allowed) {
      return false;
    }
  }
  return matcher.is_ended();
}

std::vector<TokenId> allowed(GrammarMatcher& matcher) {
  std::vector<std::uint32_t> mask(matcher.mask_words());
  REQUIRE(matcher.fill_mask(mask).ok());
  std::vector<TokenId> tokens;
  for (std::size_t token = 0; token < mask.size() * 32; ++token) {
    if ((mask[token / 32] >> (token % 32) & 1U) != 0) {
      tokens.push_back(static_cast<TokenId>(token));
    }
  }
  return tokens;
}

TEST_CASE("every kind of grammar compiles and decides") {
  CHECK(accepts(compiled(GrammarKind::kJsonObject, ""), R"({"a":[1,{"b":null}]})"));
  CHECK_FALSE(accepts(compiled(GrammarKind::kJsonObject, ""), "[]"));
  const CompiledGrammar schema = compiled(GrammarKind::kJsonSchema, R"({"properties":{"a":{"type":"integer"}}})", true);
  CHECK(accepts(schema, R"({"a": 12})"));
  CHECK_FALSE(accepts(schema, R"({"b":1})"));
  CHECK(accepts(compiled(GrammarKind::kRegex, "(ab+)?"), "abb"));
  CHECK_FALSE(accepts(compiled(GrammarKind::kRegex, "(ab+)?"), "b"));
  CHECK(accepts(compiled(GrammarKind::kEbnf, R"-(root ::= "x" | "(" root ")")-"), "((x))"));
  const CompiledGrammar choice = compiler().compile({GrammarKind::kChoice, "", {"yes", "n\"o\\"}, false}).value();
  CHECK(accepts(choice, "n\"o\\"));
  CHECK_FALSE(accepts(choice, "no"));
  const CompiledGrammar tag = compiled(GrammarKind::kStructuralTag, R"({"type":"structural_tag","format":{
      "type":"triggered_tags","triggers":["<t>"],"tags":[{"begin":"<t>","end":"</t>","content":{
      "type":"json_schema","json_schema":{"type":"string","maxLength":1}}}]}})");
  CHECK(accepts(tag, "text <t>\"a\"</t> text"));
  CHECK_FALSE(accepts(tag, "text <t>\"ab\"</t> text"));
}

TEST_CASE("a structural tag in its older form is the same as one of today") {
  const CompiledGrammar tag = compiled(GrammarKind::kStructuralTag, R"({"type":"structural_tag","triggers":["<f="],
      "structures":[{"begin":"<f=a>","schema":{"type":"boolean"},"end":"</f>"},
                    {"begin":"<f=b>","schema":{"type":"array","items":{"type":"null"}},"end":"</f>"}]})");
  CHECK(accepts(tag, "text <f=a>true</f> and <f=b>[null]</f>"));
  CHECK_FALSE(accepts(tag, "text <f=a>[null]</f>"));
  CHECK_FALSE(accepts(tag, "text <f=c>"));
  struct Row {
    const char* tag;
    const char* problem;
  };
  const Row rows[] = {
      {R"({"structures":[],"triggers":["<"]})", "#/structures is no array"},
      {R"({"structures":[{"begin":"<a>","schema":{},"end":""}],"triggers":[]})", "#/triggers is no array"},
      {R"({"structures":[{"begin":"<a>","end":""}],"triggers":["<"]})", "#/structures/0 is no object"},
      {R"({"structures":[{"begin":"<a>","schema":{},"end":""}],"triggers":["["]})", "#/structures/0/begin: begins"},
      {R"({"structures":[{"begin":"<a>","schema":{"type":7},"end":""}],"triggers":["<"]})", "#/structures/0/schema"}};
  for (const Row& row : rows) {
    const auto refused = compiler().compile({GrammarKind::kStructuralTag, row.tag, {}, false});
    INFO(row.tag);
    CHECK(std::string(refused.status().message()).rfind(row.problem, 0) == 0);
  }
}

TEST_CASE("what XGrammar alone takes wrongly is refused") {
  // A control character in a string with a length, another spelling of a declared name, an end of an optional part,
  // names that are required and not declared, a character beyond ASCII in a pattern.
  const auto refuses = [](const char* schema, const char* text) {
    return !accepts(compiled(GrammarKind::kJsonSchema, schema), text);
  };
  CHECK(refuses(R"({"type":"string","maxLength":5})", "\"a\tb\""));
  CHECK(refuses(R"({"properties":{"a":{"type":"null"}},"additionalProperties":true})", R"({"\u0061":1})"));
  CHECK(refuses(R"({"pattern":"^i(d[a-z]+|x)?$"})", R"("id")"));
  CHECK(refuses(R"({"type":"object","required":["a"]})", "{}"));
  CHECK(refuses(R"({"pattern":"^[^é]+$"})", R"("a"b")"));
  CHECK(refuses(R"({"type":"string","format":"date"})", R"("2023-02-29")"));
  CHECK(refuses(R"({"type":"string","format":"ipv4"})", R"("01.2.3.4")"));
}

TEST_CASE("a string with a length counts characters and has no escapes") {
  const CompiledGrammar grammar = compiled(GrammarKind::kJsonSchema, R"({"minLength":2,"maxLength":3})");
  CHECK(accepts(grammar, "\"\xC3\xA9\xF0\x9D\x84\x9E\""));
  CHECK(accepts(grammar, "\"\xED\x9F\xBF\xEE\x80\x80\x7F\""));
  CHECK_FALSE(accepts(grammar, R"("a")"));
  CHECK_FALSE(accepts(grammar, R"("abcd")"));
  CHECK_FALSE(accepts(grammar, R"("a\n")"));
  CHECK_FALSE(accepts(grammar, "\"a\xED\xA0\x80\""));  // a surrogate is no character of UTF-8
  for (char control = 0; control < ' '; ++control) {
    CHECK_FALSE(accepts(grammar, {'"', 'a', control, '"'}));
  }
}

TEST_CASE("strict refuses what is not enforced, otherwise it is listed") {
  const char* schema = R"({"properties":{"a":{"not":{}}}})";
  const auto strict = compiler().compile({GrammarKind::kJsonSchema, schema, {}, true});
  CHECK(std::string(strict.status().message()) == "#/properties/a: `not`: is not enforced");
  CHECK(compiled(GrammarKind::kJsonSchema, schema).unenforced().size() == 1);
  const std::string tag = std::string(R"({"type":"structural_tag","format":{"type":"tag","begin":"<","end":">",
      "content":{"type":"json_schema","json_schema":)") +
                          schema + "}}}";
  const auto in_tag = compiler().compile({GrammarKind::kStructuralTag, tag, {}, true});
  CHECK(std::string(in_tag.status().message()) == "#/format/content/json_schema/properties/a: `not`: is not enforced");
}

std::string object_with_blanks(std::size_t count) {
  return std::string("{\"a\":").append(count, ' ').append("1}");
}

std::string array_with_lines(std::size_t count) {
  return std::string("[").append(count, '\n').append("]");
}

TEST_CASE("white space is bounded, in schemas and in tags") {
  const CompiledGrammar grammar = compiled(GrammarKind::kJsonSchema, R"({"properties":{"a":{}}})");
  CHECK(accepts(grammar, object_with_blanks(16)));
  CHECK_FALSE(accepts(grammar, object_with_blanks(17)));
  const CompiledGrammar tag = compiled(GrammarKind::kStructuralTag, R"({"type":"structural_tag","format":{
      "type":"json_schema","json_schema":{"type":"array"}}})");
  CHECK(accepts(tag, array_with_lines(16)));
  CHECK_FALSE(accepts(tag, array_with_lines(17)));
}

TEST_CASE("special tokens never match, not even with an allowed text; end tokens only at the end") {
  GrammarMatcher matcher = matcher_of(GrammarKind::kRegex, "(abc)+");
  CHECK(allowed(matcher) == std::vector<TokenId>{'a', 260});
  CHECK_FALSE(matcher.accept(tokenizer().special_text_token()).value());
  CHECK_FALSE(matcher.accept(tokenizer().end_tokens()[0]).value());
  CHECK_FALSE(matcher.is_finished());
  CHECK(matcher.accept(260).value());
  CHECK(matcher.is_finished());
  CHECK_FALSE(matcher.is_ended());
  CHECK(allowed(matcher) == std::vector<TokenId>{'a', 260, 262, 263});
  CHECK_FALSE(matcher.accept(-1).value());
  CHECK_FALSE(matcher.accept(1 << 30).value());
}

TEST_CASE("after the end only end tokens, which can be taken back") {
  GrammarMatcher matcher = matcher_of(GrammarKind::kRegex, "a");
  const std::vector<TokenId> ends = tokenizer().end_tokens();
  REQUIRE(matcher.accept('a').value());
  CHECK(allowed(matcher) == ends);
  REQUIRE(matcher.accept(ends[0]).value());
  CHECK(matcher.is_ended());
  CHECK(allowed(matcher) == ends);
  CHECK_FALSE(matcher.accept('a').value());
  REQUIRE(matcher.accept(ends[1]).value());
  REQUIRE(matcher.accept(ends[1]).value());
  CHECK(matcher.forced_tokens().value().empty());
  REQUIRE(matcher.rollback(2).ok());
  CHECK(matcher.is_ended());
  REQUIRE(matcher.rollback(1).ok());
  CHECK_FALSE(matcher.is_ended());
  REQUIRE(matcher.rollback(1).ok());
  CHECK(allowed(matcher) == std::vector<TokenId>{'a'});
  CHECK(absl::IsInvalidArgument(matcher.rollback(1)));
}

TEST_CASE("a fork goes its own way") {
  GrammarMatcher matcher = matcher_of(GrammarKind::kRegex, "a(b|c)d");
  REQUIRE(matcher.accept('a').value());
  GrammarMatcher fork = matcher.fork().value();
  REQUIRE(fork.accept('b').value());
  CHECK(allowed(fork) == std::vector<TokenId>{'d'});
  CHECK(allowed(matcher) == std::vector<TokenId>{
                                'b',
                                'c',
                            });
}

TEST_CASE("a draft tree has a mask for each node, and none below what is not allowed") {
  GrammarMatcher matcher = matcher_of(GrammarKind::kRegex, "a(b|c)d?");
  const std::vector<std::int32_t> parents = {-1, 0, 0, 2, 0, 4, 3};
  const std::vector<TokenId> tokens = {'a', 'b', 'c', 'd', 'x', 'd', tokenizer().end_tokens()[0]};
  const std::size_t words = matcher.mask_words();
  std::vector<std::uint32_t> masks(tokens.size() * words);
  REQUIRE(matcher.fill_tree_masks(parents, tokens, masks).ok());
  std::vector<std::uint8_t> can_come(tokens.size(), 7);
  REQUIRE(matcher.check_tree(parents, tokens, can_come).ok());
  CHECK(can_come == std::vector<std::uint8_t>{1, 1, 1, 1, 0, 0, 1});
  for (std::size_t node = 0; node < tokens.size(); ++node) {
    CAPTURE(node);
    // The same by a fork that goes down the path.
    std::vector<TokenId> path;
    for (std::int32_t at = static_cast<std::int32_t>(node); at >= 0; at = parents[static_cast<std::size_t>(at)]) {
      path.insert(path.begin(), tokens[static_cast<std::size_t>(at)]);
    }
    GrammarMatcher fork = matcher.fork().value();
    bool is_allowed = true;
    for (const TokenId token : path) {
      is_allowed = is_allowed && fork.accept(token).value();
    }
    std::vector<std::uint32_t> mask(words, 0);
    if (is_allowed) {
      REQUIRE(fork.fill_mask(mask).ok());
    }
    CHECK(std::equal(mask.begin(), mask.end(), masks.begin() + static_cast<std::ptrdiff_t>(node * words)));
  }
  CHECK(allowed(matcher) == std::vector<TokenId>{'a'});
}

TEST_CASE("what must come next is told as tokens") {
  GrammarMatcher matcher = matcher_of(GrammarKind::kRegex, R"(\{"name":true[01])");
  std::string text;
  const std::vector<TokenId> tokens = matcher.forced_tokens().value();
  for (const TokenId token : tokens) {
    REQUIRE(matcher.accept(token).value());
    text += tokenizer().token_bytes(token);
  }
  CHECK(text == R"({"name":true)");
  CHECK(tokens.size() == 4);
  CHECK(matcher.forced_tokens().value().empty());
}

TEST_CASE("what cannot be compiled is an error, never an exception") {
  const std::pair<GrammarKind, std::string> kCases[] = {
      {GrammarKind::kJsonSchema, "nonsense"},
      {GrammarKind::kJsonSchema, "false"},
      {GrammarKind::kRegex, "a(?=b)"},
      {GrammarKind::kEbnf, "nonsense"},
      {GrammarKind::kEbnf, "root ::= missing"},
      {GrammarKind::kEbnf, "root ::= a\na ::= root"},  // accepts nothing
      {GrammarKind::kEbnf, std::string("root ::= ").append(5000, '(').append("\"a\"").append(5000, ')')},
      {GrammarKind::kEbnf, "root ::= \"a\"{1,3000}"},
      {GrammarKind::kChoice, ""},
      {GrammarKind::kStructuralTag, "[]"},
      {GrammarKind::kStructuralTag, R"({"type":"structural_tag","format":{"type":"nope"}})"},
      {GrammarKind::kStructuralTag, R"({"type":"structural_tag","format":{"type":"regex","pattern":"a{9999}"}})"},
  };
  for (const auto& [kind, text] : kCases) {
    CAPTURE(text.substr(0, 80));
    CHECK_FALSE(compiler().compile({kind, text, {}, false}).ok());
  }
  const auto failed = compiler().compile({GrammarKind::kStructuralTag, "{}", {}, false});
  CHECK(std::string(failed.status().message()).rfind("Check failed", 0) == std::string::npos);
}

TEST_CASE("a vocabulary that does not fit is refused") {
  const std::vector<TokenId> beyond = {tokenizer().vocab_size()};
  CHECK_FALSE(GrammarCompiler::create(tokenizer(), tokenizer().vocab_size(), beyond).ok());
  CHECK_FALSE(GrammarCompiler::create(tokenizer(), tokenizer().vocab_size(), {}).ok());
  CHECK_FALSE(GrammarCompiler::create(tokenizer(), tokenizer().vocab_size() - 1, tokenizer().end_tokens()).ok());
}

TEST_CASE("repetitions of repetitions match as they did before they were written again") {
  struct Row {
    const char* expression;
    std::vector<std::string> texts;
    std::vector<std::string> others;
  };
  const Row rows[] = {
      {"(a*)*x", {"x", "aaax"}, {"a", "xa"}},
      {"(a*b*|c?)+", {"", "abcacb", "cc"}, {"d", "abd"}},
      {"(a{2,3})*", {"", "aa", "aaaaa"}, {"a"}},
      {"(a?b?){2}", {"", "abab", "ba", "b"}, {"aaa", "bab b"}},
      {"(ab*){2,}", {"aa", "abba"}, {"a", "abb", "ba"}},
      {"((a+)+b?)+c", {"ac", "aabac"}, {"c", "abbc"}},
  };
  for (const Row& row : rows) {
    const CompiledGrammar grammar = compiled(GrammarKind::kRegex, row.expression);
    for (const std::string& text : row.texts) {
      CAPTURE(row.expression, text);
      CHECK(accepts(grammar, text));
    }
    for (const std::string& text : row.others) {
      CAPTURE(row.expression, text);
      CHECK_FALSE(accepts(grammar, text));
    }
  }
}

TEST_CASE("work is counted: the same steps always, and no more than are left") {
  const CompiledGrammar grammar = compiled(GrammarKind::kEbnf, "root ::= s\ns ::= s s | [a-z]");
  const auto steps_of = [&] {
    GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
    std::vector<std::uint32_t> mask(matcher.mask_words());
    matcher.set_steps_left(1'000'000'000);
    for (int i = 0; i < 40; ++i) {
      CHECK(matcher.accept('a').value());
      CHECK(matcher.fill_mask(mask).ok());
    }
    return 1'000'000'000 - matcher.steps_left();
  };
  const std::int64_t steps = steps_of();
  CHECK(steps > 1000);
  CHECK(steps == steps_of());
  GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
  matcher.set_steps_left(1000);
  absl::Status status;
  for (int i = 0; i < 40 && status.ok(); ++i) {
    status = matcher.accept('a').status();
  }
  CHECK(absl::IsOutOfRange(status));
}

TEST_CASE("a compile ends at its limit and when it is cancelled") {
  const GrammarSpec spec = {GrammarKind::kRegex, "[a-z]{1,300}x"};
  GrammarOptions options;
  options.compile_steps_max = 1000;
  const auto small = GrammarCompiler::create(tokenizer(), tokenizer().vocab_size(), tokenizer().end_tokens(), options);
  const auto refused = (*small)->compile(spec);
  CHECK(absl::IsOutOfRange(refused.status()));
  CHECK(std::string(refused.status().message()).find("1000 steps") != std::string::npos);
  CHECK(compiler().compile(spec).ok());
  const std::atomic<bool> is_cancelled = true;
  CHECK(absl::IsCancelled(compiler().compile(spec, &is_cancelled).status()));
}

TEST_CASE("a first token that can be read in too many ways is refused") {
  // Each rule may be empty, so the text's beginning is in all of them at once; the more so the more tokens there are.
  std::vector<std::string> words;
  for (int i = 0; i < 20'000; ++i) {
    words.push_back("abc" + std::to_string(i * 7919));
  }
  const ByteTokenizer large(words);
  const auto of_words = GrammarCompiler::create(large, large.vocab_size(), large.end_tokens()).value();
  std::string root = "root ::=";
  std::string rules;
  constexpr int kRules = 250;
  for (int i = 0; i < kRules; ++i) {
    root += fmt::format(" a{}", i);
    rules += fmt::format("\na{0} ::= \"\" | [a-z]+ | b{0}*\nb{0} ::= \"\" | [a-z0-9]*", i);
  }
  const auto refused = of_words->compile({GrammarKind::kEbnf, root + rules, {}, false});
  CHECK(absl::IsOutOfRange(refused.status()));
}

TEST_CASE("chains of references are followed once") {
  const auto chain = [](int links, bool is_used_by_all) {
    std::string defs;
    std::string names;
    for (int i = 0; i < links; ++i) {
      defs += fmt::format(R"("d{}":{{"$ref":"#/$defs/d{}"}},)", i, i + 1);
      names += is_used_by_all ? fmt::format(R"("p{0}":{{"$ref":"#/$defs/d{0}"}},)", i) : "";
    }
    return fmt::format(R"({{"type":"object","properties":{{{}"a":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{}"d{}":{{}}}}}})",
                       names, defs, links);
  };
  CHECK(compiler().compile({GrammarKind::kJsonSchema, chain(40, true), {}, true}).ok());
  const std::clock_t begin = std::clock();
  CHECK(absl::IsOutOfRange(compiler().compile({GrammarKind::kJsonSchema, chain(3000, false), {}, true}).status()));
#ifdef NDEBUG
  constexpr double kSecondsMax = 2;  // of the processor; followed for each of its links it takes 5, followed once 0.03
#else
  constexpr double kSecondsMax = 60;  // under a sanitizer, which takes up to 60 times as long
#endif
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < kSecondsMax);
}

}  // namespace
}  // namespace coppice::text
