// Many chats over HTTP on one thread, with as little work for each event as can be: the clients share the machine with
// the server that is measured.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "server/front_bench/front_bench.h"

namespace coppice::server {
namespace {

constexpr std::size_t kReadBytes = 16384;  // at once; an event has about 250

// The chat of one stream. Owner: run_http_streams().
class HttpStream {
 public:
  HttpStream(FrontBoard& board, std::int32_t number) : board_(board), number_(number) {}

  // Connects and asks. False: refused.
  bool start(std::int32_t port) {
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      return false;
    }
    const int yes = 1;
    (void)setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    const std::string body = fmt::format(
        R"({{"model":"stub","messages":[{{"role":"user","content":"Tell me."}}],"stream":true,"seed":{},"max_tokens":{}}})",
        number_, board_.tokens());
    const std::string text = fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        "content-length: {}\r\n\r\n{}",
        body.size(), body);
    board_.asked(number_) = FrontBoard::now();
    return send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  // Reads what there is. False: the stream has ended.
  bool read() {
    std::array<char, kReadBytes> bytes;
    const ssize_t count = recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count <= 0) {
      return false;
    }
    const std::int64_t now = FrontBoard::now();
    rest_.append(bytes.data(), static_cast<std::size_t>(count));
    std::size_t begin = 0;
    for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
      take_line(std::string_view(rest_).substr(begin, end - begin), now);
      begin = end + 1;
    }
    rest_.erase(0, begin);
    return !is_done_;
  }

  void close_socket() {
    close(socket_);
    if (received_ != board_.tokens()) {
      ++board_.failures();
    }
  }
  int socket_number() const { return socket_; }

 private:
  void take_line(std::string_view line, std::int64_t now) {
    constexpr std::string_view kText = "\"content\":\"";
    if (!line.starts_with("data: ")) {
      return;
    }
    is_done_ = line.starts_with("data: [DONE]");
    std::size_t at = line.find(kText);
    if (at == std::string_view::npos) {
      return;
    }
    for (at += kText.size(); at < line.size() && line[at] == 'a' && received_ < board_.tokens(); ++at) {
      board_.received(number_, received_++) = now;
    }
  }

  FrontBoard& board_;
  const std::int32_t number_;
  int socket_ = -1;
  std::int32_t received_ = 0;
  bool is_done_ = false;
  std::string rest_;
};

}  // namespace

void run_http_streams(const FrontBenchOptions& options, FrontBoard& board, std::int64_t deadline) {
  while (board.port() == 0) {
    usleep(1000);
  }
  std::vector<HttpStream> streams;
  for (std::int32_t i = 0; i < options.streams; ++i) {
    streams.emplace_back(board, i);
  }
  const int poll = epoll_create1(0);
  const std::int64_t begin = FrontBoard::now();
  std::int32_t started = 0;
  std::int32_t ended = 0;
  std::array<epoll_event, 256> events;
  while (ended < options.streams && FrontBoard::now() < deadline && board.port() > 0) {
    const double due = static_cast<double>(FrontBoard::now() - begin) * 1e-9 / options.ramp_s * options.streams;
    while (started < options.streams && started <= due) {
      HttpStream& stream = streams[static_cast<std::size_t>(started)];
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &stream;
      if (!stream.start(static_cast<std::int32_t>(board.port())) ||
          epoll_ctl(poll, EPOLL_CTL_ADD, stream.socket_number(), &event) != 0) {
        stream.close_socket();
        ++ended;
      }
      ++started;
    }
    const int count = epoll_wait(poll, events.data(), static_cast<int>(events.size()), 1);
    for (int i = 0; i < count; ++i) {
      auto& stream = *static_cast<HttpStream*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (!stream.read()) {
        stream.close_socket();
        ++ended;
      }
    }
  }
  board.failures() += options.streams - ended;
  close(poll);
}

}  // namespace coppice::server
