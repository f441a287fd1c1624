// The rows that need no code of their own.
#include "proto/openai/api_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace coppice::openai {

void apply_table(FieldReader& reader, std::span<const ApiField> table, IgnoredFields& ignored) {
  for (const ApiField& field : table) {
    if (field.use != FieldUse::kIgnored && field.use != FieldUse::kRefused) {
      continue;
    }
    const IgnoredField row[] = {{field.name, field.harmless}};
    IgnoredFields found;
    found.add_present(reader, row);
    if (found.empty()) {
      continue;
    }
    if (field.use == FieldUse::kRefused) {
      reader.fail(not_supported(reader.full_name(field.name),
                                fmt::format("'{}' is not supported yet: leave it out", reader.full_name(field.name))));
      return;
    }
    ignored.add(found.names().front());
  }
}

void note_unknown(const FieldReader& reader, std::span<const ApiField> table, IgnoredFields& ignored) {
  for (const std::string& name : reader.unread()) {
    if (std::none_of(table.begin(), table.end(), [&name](const ApiField& field) { return field.name == name; })) {
      ignored.add(name);
    }
  }
}

}  // namespace coppice::openai
