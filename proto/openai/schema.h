// Schema: what a JSON value may be, as data. One tree checks what a client sends, in the words of every refusal, and is
// written as JSON Schema into /openapi.json, so that the document says what the server does.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/openai/api_error.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/request.h"

namespace coppice::openai {

// A value; copies share the tree, which never changes. Thread: any.
class Schema {
 public:
  // What becomes of members of an object that its schema does not name.
  enum class Others : std::uint8_t { kIgnored, kRefused };
  // A member of an object. One that is not required may be null too.
  struct Member;
  struct Node;

  static constexpr std::int64_t kIntegerMax = std::numeric_limits<std::int64_t>::max();  // no bound
  static constexpr std::int64_t kIntegerMin = std::numeric_limits<std::int64_t>::min();  // no bound

  static Schema any();
  static Schema null();
  static Schema boolean();
  // Both bounds are allowed.
  static Schema integer(std::int64_t least = kIntegerMin, std::int64_t most = kIntegerMax);
  static Schema number();
  static Schema number(double least, double most);
  // Lengths in characters, as JSON Schema counts.
  static Schema string(std::size_t least = 0, std::optional<std::size_t> most = std::nullopt);
  // One of these strings.
  static Schema word(std::vector<std::string> words);
  // `noun` says in refusals what the items are: "an array of 1 to 400 questions".
  static Schema array(Schema items, std::size_t least = 0, std::optional<std::size_t> most = std::nullopt,
                      std::string noun = "items");
  static Schema object(std::vector<Member> members, Others others = Others::kIgnored);
  // An object from any names to values of one kind.
  static Schema map(Schema values);
  // Refusals are those of the first alternative of the value's JSON type, which of an array is also that of its first
  // item.
  // `what` is for refusals: "a string or an array of strings".
  static Schema one_of(std::string what, std::vector<Schema> alternatives);
  // Objects told apart by the member `tag`, a word; each alternative is an object that has it. `otherwise`: the word
  // that an object without the member means; "": the member must be there.
  static Schema tagged(std::string tag, std::vector<std::pair<std::string, Schema>> alternatives,
                       std::string otherwise = "");

  // The same, written once among the components of a document under this name, and by reference elsewhere.
  Schema named(std::string name) const;
  const std::string& name() const;

  // Of an object, in their order; none for other kinds.
  std::span<const Member> members() const;
  // Of an object, or of all alternatives, each once.
  std::vector<std::string> member_names() const;
  // For people: "an integer from 1 to 5".
  std::string form() const;

  // Whether `value` is as the schema says; `name` is what refusals call it. REQUIRES: bounded depth. ERRORS: 400 naming
  // the member at fault, what may be there and what came.
  MaybeError check(const Json& value, const std::string& name) const;

  // Appends the JSON Schema (2020-12): a reference where there is a name, except that `in_full` writes it out.
  void write(JsonWriter& out, bool in_full = false) const;
  // Appends the schemas with names that occur in this one, each once, each after those in it.
  void list_named(std::vector<Schema>& list) const;

 private:
  enum class Kind : std::uint8_t {
    kAny,
    kNull,
    kBoolean,
    kInteger,
    kNumber,
    kString,
    kWord,
    kArray,
    kObject,
    kMap,
    kOneOf,
    kTagged,
  };

  explicit Schema(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  template <typename Fill>
  static Schema make(Node node, Fill fill);

  MaybeError check_object(const Json& value, const std::string& name) const;
  MaybeError check_array(const Json& value, const std::string& name) const;
  MaybeError check_alternatives(const Json& value, const std::string& name) const;
  // Whether a value is meant to be what this schema describes, by its type.
  bool has_type_of(const Json& value) const;
  void write_bounds(JsonWriter& out) const;
  void write_object(JsonWriter& out) const;
  void write_alternatives(JsonWriter& out) const;

  std::shared_ptr<const Node> node_;
};

struct Schema::Member {
  std::string name;
  Schema schema;
  bool is_required = false;
  std::string meaning;  // one sentence; "" when the name says it
};

inline Schema::Member required(std::string name, Schema schema, std::string meaning = "") {
  return {std::move(name), std::move(schema), true, std::move(meaning)};
}
inline Schema::Member optional(std::string name, Schema schema, std::string meaning = "") {
  return {std::move(name), std::move(schema), false, std::move(meaning)};
}

}  // namespace coppice::openai
