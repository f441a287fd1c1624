// The names under which a model is served.
#include "server/sessions/model_host.h"

#include <fmt/format.h>

#include <algorithm>

namespace coppice::server {

absl::Status ModelHost::set_names(std::string_view names) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin <= names.size();) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    std::string one(names.substr(begin, end - begin));
    if (one.empty() || std::find(all.begin(), all.end(), one) != all.end()) {
      return absl::InvalidArgumentError(
          fmt::format("--served-model-name {}: {}; give one name, or several with commas between", names,
                      one.empty() ? "a name is empty" : fmt::format("'{}' comes twice", one)));
    }
    all.push_back(std::move(one));
    begin = end + 1;
  }
  name = all.front();
  other_names.assign(all.begin() + 1, all.end());
  return absl::OkStatus();
}

std::optional<ModelHost::TimePoint> ModelHost::deadline(TimePoint arrival, std::optional<TimePoint> of_client) const {
  if (request_timeout.count() == 0) {
    return of_client;
  }
  const TimePoint own = arrival + request_timeout;
  return of_client ? std::min(own, *of_client) : own;
}

openai::MaybeError ModelHost::check_model(const std::string& model) const {
  const bool is_other = std::find(other_names.begin(), other_names.end(), model) != other_names.end();
  if (model.empty() || model == name || is_other) {
    return std::nullopt;
  }
  std::string served = name;
  for (const std::string& other : other_names) {
    served += "', '" + other;
  }
  return openai::not_found("model", "model_not_found",
                           fmt::format("the model '{}' does not exist; this server serves '{}'", model, served));
}

}  // namespace coppice::server
