// Typed parsing of option values, from flags and from YAML alike.
#include "server/config/option_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "yaml-cpp/yaml.h"

namespace coppice::server {
namespace {

constexpr std::size_t kYamlBytesMax = std::size_t{1} << 20;  // of a few dozen options

template <typename Integer>
bool parse_whole(std::string_view text, Integer& value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

absl::Status bad_value(const std::string& name, std::string_view value, const std::string& wanted) {
  return absl::InvalidArgumentError(fmt::format("--{} \"{}\": {}", name, value, wanted));
}

template <typename Integer>
absl::Status set_integer(const std::string& name, std::string_view text, Integer least, Integer most, Integer* target) {
  Integer value = 0;
  if (!parse_whole(text, value) || value < least || value > most) {
    return bad_value(name, text, fmt::format("must be a whole number from {} to {}", least, most));
  }
  *target = value;
  return absl::OkStatus();
}

absl::Status set_number(const std::string& name, std::string_view text, double least, double most, double* target) {
  double value = 0;
  if (!parse_whole(text, value) || !std::isfinite(value) || value < least || value > most) {
    return bad_value(name, text, fmt::format("must be a number from {} to {}", least, most));
  }
  *target = value;
  return absl::OkStatus();
}

absl::Status set_bytes(const std::string& name, std::string_view text, std::size_t least, std::size_t most,
                       std::size_t* target) {
  static constexpr std::pair<std::string_view, unsigned> kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30},
                                                                     {"TiB", 40}, {"B", 0},    {"", 0}};
  const std::size_t digits = text.find_first_not_of("0123456789");
  const std::string_view number = text.substr(0, digits);
  std::string_view unit = digits == std::string_view::npos ? std::string_view() : text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') {
    unit.remove_prefix(1);
  }
  std::uint64_t value = 0;
  for (const auto& [suffix, shift] : kUnits) {
    if (unit == suffix && parse_whole(number, value) &&
        value <= (std::numeric_limits<std::uint64_t>::max() >> (shift + 1))) {
      if (value << shift < least || value << shift > most) {
        return bad_value(name, text, fmt::format("must be a size from {} to {} bytes", least, most));
      }
      *target = static_cast<std::size_t>(value << shift);
      return absl::OkStatus();
    }
  }
  return bad_value(name, text, "must be a size: 1073741824, 512MiB, 4GiB");
}

std::string with_dashes(std::string_view name) {
  std::string dashed(name);
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  return dashed;
}

}  // namespace

std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t substituted = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
    }
  }
  return row.back();
}

void OptionTable::add_text(std::string name, std::string* target, std::string help, std::vector<std::string> choices) {
  const std::string kind = choices.empty() ? "TEXT" : fmt::format("{}", fmt::join(choices, "|"));
  add({name, kind, std::move(help), [name, target, choices](std::string_view text) {
         if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
           return bad_value(name, text, fmt::format("must be one of {}", fmt::join(choices, ", ")));
         }
         *target = std::string(text);
         return absl::OkStatus();
       }});
}

void OptionTable::add_integer(std::string name, std::int64_t* target, std::int64_t least, std::int64_t most,
                              std::string help) {
  add({name, "N", std::move(help),
       [name, target, least, most](std::string_view text) { return set_integer(name, text, least, most, target); }});
}

void OptionTable::add_integer(std::string name, std::int32_t* target, std::int32_t least, std::int32_t most,
                              std::string help) {
  add({name, "N", std::move(help),
       [name, target, least, most](std::string_view text) { return set_integer(name, text, least, most, target); }});
}

void OptionTable::add_number(std::string name, double* target, double least, double most, std::string help) {
  add({name, "X", std::move(help),
       [name, target, least, most](std::string_view text) { return set_number(name, text, least, most, target); }});
}

void OptionTable::add_choice(std::string_view name, std::optional<double>* target, double least, double most,
                             std::string help) {
  add({with_dashes(name), "X", std::move(help), [name = with_dashes(name), target, least, most](std::string_view text) {
         return set_number(name, text, least, most, &target->emplace());
       }});
}

void OptionTable::add_choice(std::string_view name, std::optional<std::int64_t>* target, double least, double most,
                             std::string help) {
  const auto low = static_cast<std::int64_t>(least);
  const auto high = static_cast<std::int64_t>(most);
  add({with_dashes(name), "N", std::move(help), [name = with_dashes(name), target, low, high](std::string_view text) {
         return set_integer(name, text, low, high, &target->emplace());
       }});
}

void OptionTable::add_switch(std::string name, bool* target, std::string help) {
  add({name, "on|off", std::move(help), [name, target](std::string_view text) {
         // YAML 1.1 writers turn on/off into true/false.
         if (text != "on" && text != "off" && text != "true" && text != "false") {
           return bad_value(name, text, "must be on or off");
         }
         *target = text == "on" || text == "true";
         return absl::OkStatus();
       }});
}

void OptionTable::add_flag(std::string name, bool* target, std::string help) {
  add_switch(std::move(name), target, std::move(help));
  rows_.back().is_flag = true;
}

void OptionTable::add_bytes(std::string name, std::size_t* target, std::size_t least, std::size_t most,
                            std::string help) {
  add({name, "BYTES", std::move(help),
       [name, target, least, most](std::string_view text) { return set_bytes(name, text, least, most, target); }});
}

void OptionTable::add_seed(std::string name, std::uint64_t* target, bool* given, std::string help) {
  add({name, "N", std::move(help), [name, target, given](std::string_view text) {
         *given = true;
         return set_integer(name, text, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(), target);
       }});
}

const OptionTable::Row* OptionTable::find(std::string_view name) const {
  const std::string dashed = with_dashes(name);
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.name == dashed; });
  return found == rows_.end() ? nullptr : &*found;
}

std::string OptionTable::nearest(std::string_view name) const {
  const std::string dashed = with_dashes(name);
  const auto closest = std::min_element(rows_.begin(), rows_.end(), [&](const Row& left, const Row& right) {
    return edit_distance(left.name, dashed) < edit_distance(right.name, dashed);
  });
  return closest == rows_.end() ? std::string() : closest->name;
}

absl::Status OptionTable::set(std::string_view name, std::string_view value) {
  const Row* row = find(name);
  if (row == nullptr) {
    return absl::InvalidArgumentError(fmt::format("unknown option \"{}\"; the nearest is \"{}\"", name, nearest(name)));
  }
  return row->set(value);
}

absl::Status OptionTable::read_yaml(const std::filesystem::path& path) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, kYamlBytesMax));
  return parse_yaml(text, path.string());
}

absl::Status OptionTable::parse_yaml(const std::string& text, const std::string& path) {
  try {
    return set_all(YAML::Load(text), path);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, error.mark.line + 1, error.msg));
  }
}

absl::Status OptionTable::set_all(const YAML::Node& root, const std::string& path) {
  if (root.IsNull()) {
    return absl::OkStatus();
  }
  if (!root.IsMap()) {
    return absl::InvalidArgumentError(fmt::format("{}: must be a mapping of option names to values", path));
  }
  std::set<std::string> seen;  // as rows are called: max_body is max-body
  for (const auto& entry : root) {
    const int line = entry.first.Mark().line + 1;
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
      return absl::InvalidArgumentError(fmt::format("{}:{}: must be \"name: value\"", path, line));
    }
    const std::string& name = entry.first.Scalar();
    if (!seen.insert(with_dashes(name)).second) {
      return absl::InvalidArgumentError(fmt::format("{}:{}: \"{}\" stands twice", path, line, name));
    }
    if (const absl::Status status = set(name, entry.second.Scalar()); !status.ok()) {
      return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, line, std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::Status OptionTable::apply(const std::string& config, const std::map<std::string, std::string>& flags) {
  if (!config.empty()) {
    COPPICE_RETURN_IF_ERROR(read_yaml(config));
  }
  for (const auto& [name, value] : flags) {
    COPPICE_RETURN_IF_ERROR(set(name, value));
  }
  return absl::OkStatus();
}

}  // namespace coppice::server
