// /v1/files: upload, list, card, content, delete.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/file_schema.h"
#include "proto/openai/files.h"
#include "proto/openai/ignored_fields.h"
#include "server/files/file_store.h"
#include "server/files/multipart.h"
#include "server/http/file_content_handler.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

using Handler = std::unique_ptr<RequestHandler>;

constexpr std::int64_t kListMax = 10'000;  // OpenAI's bound and default
// What OpenAI's API keeps for a batch, in seconds: 30 days.
constexpr std::int64_t kBatchInputTime = openai::kExpiresMax;

openai::ApiError no_files() {
  return openai::not_found("", "files_off", "this server keeps no files: start it with --files-folder");
}

// The fields of an upload. Unset: absent; one that is there and empty is wrong.
struct Upload {
  NewFile file;
  std::string_view content;
  bool has_file = false;
  std::optional<std::string> purpose;
  std::optional<std::string> anchor;
  std::optional<std::string> seconds;
  openai::IgnoredFields ignored;
};

openai::MaybeError take_part(const FormPart& part, Upload& upload) {
  const auto once = [&part](bool is_there) -> openai::MaybeError {
    return is_there ? openai::MaybeError(openai::bad_value(part.name, fmt::format("'{}' is there twice", part.name)))
                    : std::nullopt;
  };
  const auto text = [&](std::optional<std::string>& out) -> openai::MaybeError {
    openai::MaybeError error = once(out.has_value());
    out = part.content;
    return error;
  };
  if (part.name == "file") {
    openai::MaybeError error = once(upload.has_file);
    upload.has_file = true;
    upload.content = part.content;
    upload.file.filename = part.filename.empty() ? "file" : part.filename;
    return error;
  }
  if (part.name == "purpose") {
    return text(upload.purpose);
  }
  if (part.name == "expires_after[anchor]") {
    return text(upload.anchor);
  }
  if (part.name == "expires_after[seconds]") {
    return text(upload.seconds);
  }
  upload.ignored.add(part.name);
  return std::nullopt;
}

openai::MaybeError check_upload(Upload& upload) {
  if (!upload.has_file) {
    return openai::bad_value("file", "'file' is missing: send a part of that name with the file's content");
  }
  upload.file.purpose = upload.purpose.value_or("");
  const auto* const known =
      std::find(std::begin(openai::kFilePurposes), std::end(openai::kFilePurposes), upload.file.purpose);
  if (known == std::end(openai::kFilePurposes)) {
    return openai::bad_value(
        "purpose", fmt::format("'purpose' must be one of {}; got \"{}\"", fmt::join(openai::kFilePurposes, ", "),
                               upload.file.purpose.substr(0, 40)));
  }
  upload.file.expires_after_s = upload.file.purpose == "batch" ? kBatchInputTime : 0;
  if (!upload.anchor && !upload.seconds) {
    return std::nullopt;
  }
  const std::string text = upload.seconds.value_or("");
  std::int64_t seconds = 0;
  const auto [last, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (problem != std::errc() || last != text.data() + text.size()) {
    return openai::bad_value("expires_after", "'expires_after[seconds]' must be a whole number");
  }
  upload.file.expires_after_s = seconds;
  return openai::check_expiry("expires_after", upload.anchor.value_or(""), seconds);
}

// On the pool.
openai::Result<std::string> write_upload(ServerState& state, const RouteCall& call, std::string& ignored) {
  const openai::Result<std::vector<FormPart>> parts =
      parse_form(call.request.header("content-type"), call.request.body);
  if (!parts.ok()) {
    return parts.error();
  }
  Upload upload;
  for (const FormPart& part : parts.value()) {
    if (openai::MaybeError error = take_part(part, upload)) {
      return *std::move(error);
    }
  }
  if (openai::MaybeError error = check_upload(upload)) {
    return *std::move(error);
  }
  ignored = upload.ignored.header();
  const openai::Result<openai::FileCard> card = state.files->add(call.tenant, upload.file, upload.content);
  return card.ok() ? openai::Result<std::string>(openai::write_file(card.value())) : card.error();
}

Handler upload(ServerState& state, const CallPointer& call) {
  if (state.files == nullptr) {
    answer(state, *call, no_files());
    return nullptr;
  }
  return DeferredHandler::start(
      state, call, DeferredHandler::kNever,
      [&state, call](const JobContext& /*job*/) -> DeferredHandler::Finish {
        std::string ignored;
        const auto written = std::make_shared<openai::Result<std::string>>(write_upload(state, *call, ignored));
        drop_body(*call);
        return [&state, call, written, ignored]() -> Handler {
          if (!ignored.empty()) {
            call->exchange.add_header(openai::kIgnoredHeader, ignored);
          }
          if (written->ok()) {
            answer(state, *call, std::move(written->value()));
          } else {
            answer(state, *call, written->error());
          }
          return nullptr;
        };
      },
      [&state, call](const openai::ApiError& error) { answer(state, *call, error); });
}

Handler list(ServerState& state, const CallPointer& call) {
  if (state.files == nullptr) {
    answer(state, *call, no_files());
    return nullptr;
  }
  return defer(
      state, call,
      [&state](const RouteCall& asked, const JobContext& /*job*/) -> openai::Result<std::string> {
        const openai::Result<openai::ListQuery> query = openai::read_list_query(
            query_value(asked, "after"), query_value(asked, "limit"), query_value(asked, "order"), kListMax, kListMax);
        if (!query.ok()) {
          return query.error();
        }
        openai::Result<std::vector<openai::FileCard>> cards =
            state.files->list(asked.tenant, query.value(), query_value(asked, "purpose"));
        if (!cards.ok()) {
          return cards.error();
        }
        const bool has_more = static_cast<std::int64_t>(cards.value().size()) > query.value().limit;
        cards.value().resize(cards.value().size() - (has_more ? 1 : 0));
        return openai::write_file_list(cards.value(), has_more);
      },
      DeferredHandler::kNever);
}

Handler card(ServerState& state, const CallPointer& call) {
  if (state.files == nullptr) {
    answer(state, *call, no_files());
    return nullptr;
  }
  const openai::Result<openai::FileCard> card = state.files->find(call->tenant, call->parts[0]);
  if (card.ok()) {
    answer(state, *call, openai::write_file(card.value()));
  } else {
    answer(state, *call, card.error());
  }
  return nullptr;
}

Handler content(ServerState& state, const CallPointer& call) {
  if (state.files == nullptr) {
    answer(state, *call, no_files());
    return nullptr;
  }
  openai::Result<base::RegularFile> file = state.files->content(call->tenant, call->parts[0]);
  if (!file.ok()) {
    answer(state, *call, file.error());
    return nullptr;
  }
  return std::make_unique<FileContentHandler>(state, call, std::move(file.value()));
}

Handler drop(ServerState& state, const CallPointer& call) {
  if (state.files == nullptr) {
    answer(state, *call, no_files());
    return nullptr;
  }
  return defer(
      state, call,
      [&state](const RouteCall& asked, const JobContext& /*job*/) -> openai::Result<std::string> {
        if (openai::MaybeError error = state.files->remove(asked.tenant, asked.parts[0])) {
          return *std::move(error);
        }
        return openai::write_file_deleted(asked.parts[0]);
      },
      DeferredHandler::kNever);
}

Operation describe_upload(const openai::RequestLimits& /*limits*/) {
  return {.name = "createFile",
          .summary = "Stores a file, sent as a form.",
          .body = openai::file_form_schema(),
          .body_type = "multipart/form-data",
          .answer = openai::file_schema()};
}

Operation describe_list(const openai::RequestLimits& /*limits*/) {
  return {.name = "listFiles",
          .summary = "The caller's files, the newest first.",
          .answer = openai::file_list_schema(),
          .query = {{"after", openai::Schema::string(), "The id behind which the list goes on."},
                    {"limit", openai::Schema::integer(1, kListMax), "Default: the most."},
                    {"order", openai::Schema::word({"asc", "desc"}), "Of the times of creation."},
                    {"purpose", openai::Schema::string(), "Only files of this one."}}};
}

Operation describe_card(const openai::RequestLimits& /*limits*/) {
  return {.name = "retrieveFile", .summary = "What is known of a file.", .answer = openai::file_schema()};
}

Operation describe_drop(const openai::RequestLimits& /*limits*/) {
  return {.name = "deleteFile",
          .summary = "Deletes a file that no unfinished batch reads.",
          .answer = openai::file_deleted_schema()};
}

Operation describe_content(const openai::RequestLimits& /*limits*/) {
  return {.name = "downloadFile",
          .summary = "A file's content.",
          .answer = openai::Schema::string(),
          .content_types = {"application/octet-stream"}};
}

constexpr Route kRoutes[] = {
    {.method = "POST", .path = "/v1/files", .action = &upload, .describe = &describe_upload, .body = BodyKind::kForm},
    {.method = "GET", .path = "/v1/files", .action = &list, .describe = &describe_list},
    {.method = "GET", .path = "/v1/files/{file_id}", .action = &card, .describe = &describe_card},
    {.method = "DELETE", .path = "/v1/files/{file_id}", .action = &drop, .describe = &describe_drop},
    {.method = "GET", .path = "/v1/files/{file_id}/content", .action = &content, .describe = &describe_content},
};

}  // namespace

std::span<const Route> file_routes() {
  return kRoutes;
}

}  // namespace coppice::server
