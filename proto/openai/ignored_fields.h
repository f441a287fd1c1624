// IgnoredFields: which fields of a request were accepted and have no effect here. Clients send many that only their
// first server knows; refusing them would lock the clients out, and saying nothing would deceive them. The names go
// into one header of the answer.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::openai {

class FieldReader;

// The header's name; its value is "a, b".
inline constexpr const char* kIgnoredHeader = "x-coppice-ignored";

// A field that has no effect here.
struct IgnoredField {
  const char* name;
  const char* harmless = "";  // the value, as JSON, that asks for what this server does anyway; "": there is none
};

// A value. Names stand once, in the order in which they came.
class IgnoredFields {
 public:
  // Adds a name; one that is no plain word, or that comes after kNamesMax others, is left out.
  void add(std::string_view name);
  // Adds those of `table` that the reader's object has with a value that is neither empty nor the harmless one.
  void add_present(const FieldReader& reader, std::span<const IgnoredField> table);

  bool empty() const { return names_.empty(); }
  const std::vector<std::string>& names() const { return names_; }
  std::string header() const;

 private:
  static constexpr std::size_t kNamesMax = 64;      // more than any API has
  static constexpr std::size_t kNameBytesMax = 64;  // the longest name of a known API has some 30

  std::vector<std::string> names_;
};

}  // namespace coppice::openai
