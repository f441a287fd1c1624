// The walk of check_schema over a schema. Private to text/grammar.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema_check.h"

namespace coppice::text {

// Ordered: properties come in the schema's order.
using SchemaJson = nlohmann::ordered_json;

// Where the walk is: what an error names.
struct SchemaPlace {
  std::string pointer = "#";
  int depth = 0;

  SchemaPlace at(std::string_view token) const;
  SchemaPlace at(std::size_t index) const { return at(std::to_string(index)); }
};

// Rewrites one document. Used once.
class SchemaWalk {
 public:
  SchemaWalk(const SchemaJson& root, const SchemaLimits& limits) : root_(root), limits_(limits) {}

  absl::StatusOr<CheckedSchema> run();

 private:
  absl::StatusOr<SchemaJson> schema(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> object_schema(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> reference(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> values(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> branches(const SchemaJson& in, const std::string& keyword, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> all_of(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> of_types(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> of_type(const SchemaJson& in, const std::string& type, const SchemaPlace& place);

  absl::StatusOr<SchemaJson> string(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> string_of_pattern(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> integer(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> number(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> array(const SchemaJson& in, const SchemaPlace& place);
  absl::StatusOr<SchemaJson> object(const SchemaJson& in, const SchemaPlace& place);
  absl::Status properties(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place);
  absl::Status additional(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place);
  absl::Status named_by_pattern(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place);
  absl::Status property_counts(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place);

  // Returns a bound as a number from 0 to repeat_max, or -1 where the keyword is missing.
  absl::StatusOr<std::int64_t> count(const SchemaJson& in, const char* keyword, const SchemaPlace& place);
  absl::Status count_nodes(const SchemaPlace& place, std::int64_t nodes);
  // Returns OutOfRange when the expressions so far are too large together.
  absl::Status check_expressions(const SchemaPlace& place) const;
  absl::StatusOr<std::string> expression(const std::string& pattern, ExpressionMatch match, const SchemaPlace& place,
                                         const char* keyword);
  void not_enforced(const SchemaPlace& place, std::string_view keyword, std::string_view reason);

  const SchemaJson& root_;
  SchemaLimits limits_;
  std::int64_t nodes_ = 0;
  std::int64_t expression_size_ = 0;  // of all expressions together
  std::int64_t optional_squares_ = 0;
  std::vector<UnenforcedKeyword> unenforced_;
  std::map<std::string, std::string> patterns_;     // large ones -> name in `definitions_json_`
  std::map<std::string, std::string> definitions_;  // reference -> its name in `definitions_json_`
  std::set<std::string> no_circle_;                 // references that lead to something
  SchemaJson definitions_json_ = SchemaJson::object();
};

// ERRORS: as check_schema.
absl::StatusOr<const SchemaJson*> resolve_reference(const SchemaJson& root, const std::string& reference,
                                                    const SchemaPlace& place);

// Returns whether no value can match two of the branches, as far as their types, their values and the values of a
// required property tell.
bool are_disjoint(const SchemaJson& root, const SchemaJson& branches);

absl::Status schema_error(const SchemaPlace& place, const std::string& message);

// Returns a pointer as messages show it: cut in its middle when it is long.
std::string shown_pointer(const std::string& pointer);

// Returns whether the value is of JSON schema's type `type`.
bool is_of_type(const SchemaJson& value, std::string_view type);

// Returns the expression of a `format`, or null where none is enforced.
const char* format_expression(std::string_view format);

}  // namespace coppice::text
