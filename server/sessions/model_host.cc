// The name under which a model is served.
#include "server/sessions/model_host.h"

#include <fmt/format.h>

namespace coppice::server {

openai::MaybeError ModelHost::check_model(const std::string& model) const {
  if (model.empty() || model == name) {
    return std::nullopt;
  }
  return openai::not_found("model", "model_not_found",
                           fmt::format("the model '{}' does not exist; this server serves '{}'", model, name));
}

}  // namespace coppice::server
