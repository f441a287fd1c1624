// Which answers an output has.
#include "server/batch/batch_output.h"

#include <utility>

#include "base/status_macros.h"

namespace coppice::server {

absl::StatusOr<BatchOutput> BatchOutput::open(const std::filesystem::path& path) {
  Names custom_ids;
  Names ids;
  const auto visit = [&](const openai::Json& answer) {
    const auto text_of = [&answer](const char* name) {
      const auto found = answer.find(name);
      return found != answer.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const std::string custom_id = text_of("custom_id");
    (custom_id.empty() ? ids : custom_ids).insert(custom_id.empty() ? text_of("id") : custom_id);
    return !text_of("id").empty();
  };
  COPPICE_ASSIGN_OR_RETURN(AnswerFile file, AnswerFile::open(path, visit));
  return BatchOutput(std::move(file), std::move(custom_ids), std::move(ids));
}

}  // namespace coppice::server
