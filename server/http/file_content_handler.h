// FileContentHandler: a file's content as an answer, read piece by piece as the client takes it, so that it costs the
// same memory however large it is.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "server/http/pool_task.h"
#include "server/http/route_call.h"

namespace coppice::server {

// Owner: the connection. Thread: the connection's; the pool reads.
class FileContentHandler final : public RequestHandler {
 public:
  // Begins the answer.
  FileContentHandler(ServerState& state, const CallPointer& call, base::RegularFile file);
  ~FileContentHandler() override;

  void on_drained() override;

 private:
  // A piece, or why there is none.
  using Piece = std::shared_ptr<absl::StatusOr<std::string>>;

  static Piece read(const base::RegularFile& file, std::size_t at);
  void send(const Piece& piece);

  ServerState& state_;
  const CallPointer call_;
  const std::shared_ptr<const base::RegularFile> file_;
  std::size_t at_ = 0;
  bool is_reading_ = false;
  bool is_finished_ = false;
  PoolTask task_;
};

}  // namespace coppice::server
