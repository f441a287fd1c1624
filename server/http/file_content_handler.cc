// Pieces, each asked for when the one before is gone.
#include "server/http/file_content_handler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <span>
#include <utility>

namespace coppice::server {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{256} << 10U;  // as much as one write takes

}  // namespace

FileContentHandler::FileContentHandler(ServerState& state, const CallPointer& call, base::RegularFile file)
    : state_(state),
      call_(call),
      file_(std::make_shared<const base::RegularFile>(std::move(file))),
      task_(call->exchange.poster(), [this](const openai::ApiError& error) {
        send(std::make_shared<absl::StatusOr<std::string>>(absl::InternalError(error.message)));
      }) {
  HttpResponse head;
  head.content_type = "application/octet-stream";
  // Whatever it is, no browser shall show it as a page of this server.
  head.headers = {{"x-request-id", call_->request_id},
                  {"x-content-type-options", "nosniff"},
                  {"content-disposition", "attachment"}};
  call_->exchange.begin_stream(head);
  if (file_->size() == 0 || call_->request.method == "HEAD") {
    is_finished_ = true;
    state_.metrics.count_answer("http", call_->route, 200);
    call_->exchange.end_stream(StreamEnd::kWhole);
  }
}

FileContentHandler::~FileContentHandler() {
  if (!is_finished_) {
    state_.metrics.count_answer("http", call_->route, openai::kClientLeftStatus);
  }
}

FileContentHandler::Piece FileContentHandler::read(const base::RegularFile& file, std::size_t at) {
  std::string bytes(std::min(kPieceBytes, file.size() - at), '\0');
  const absl::Status status = file.read(at, std::as_writable_bytes(std::span<char>(bytes)));
  return std::make_shared<absl::StatusOr<std::string>>(status.ok() ? absl::StatusOr<std::string>(std::move(bytes))
                                                                   : status);
}

void FileContentHandler::on_drained() {
  if (is_reading_ || is_finished_) {
    return;
  }
  is_reading_ = true;
  const bool is_queued =
      state_.work != nullptr &&
      task_.start(*state_.work, call_->tenant, kPieceBytes, [this, file = file_, at = at_](const auto& /*cancelled*/) {
        const Piece piece = read(*file, at);
        return [this, piece] { send(piece); };
      });
  if (!is_queued) {
    send(read(*file_, at_));
  }
}

// After a piece that cannot be read the connection ends: the client sees that the answer is not whole.
void FileContentHandler::send(const Piece& piece) {
  is_reading_ = false;
  if (!piece->ok()) {
    spdlog::error("files: {}", std::string(piece->status().message()));
    call_->exchange.end_stream(StreamEnd::kTorn);
    return;
  }
  at_ += (*piece)->size();
  call_->exchange.write(**piece);
  if (at_ == file_->size()) {
    is_finished_ = true;
    state_.metrics.count_answer("http", call_->route, 200);
    call_->exchange.end_stream(StreamEnd::kWhole);
  }
}

}  // namespace coppice::server
