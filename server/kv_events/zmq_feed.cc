// ZeroMQ's sockets as owners, the form of messages, and the thread that replays. Frames are as vLLM's publisher sends
// them.
#include "server/kv_events/zmq_feed.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <zmq.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <exception>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace coppice::server {
namespace {

constexpr int kWaitingMax = 1024;  // messages for one reader; more are dropped, so a slow one costs some 40 MB at worst
constexpr std::int64_t kFrameBytesMax = 256;       // of what readers send: a number, a topic
constexpr std::size_t kFramesMax = 4;              // of a message that is looked at: one more than any has
constexpr int kReplayPatienceMs = 2000;            // for a reader who asked and does not read
constexpr int kLookMs = 100;                       // between two looks whether the server ends
constexpr std::size_t kSequenceBytes = 8;          // big-endian
constexpr std::string_view kTopic;                 // readers subscribe to everything
constexpr std::int32_t kPortMax = 65534;           // the next one is ROUTER's
constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // the number that ends a replay: -1

using SequenceFrame = std::array<unsigned char, kSequenceBytes>;

SequenceFrame to_frame(std::uint64_t sequence) {
  SequenceFrame frame{};
  for (std::size_t i = 0; i < kSequenceBytes; ++i) {
    frame[kSequenceBytes - 1 - i] = static_cast<unsigned char>(sequence >> (8 * i));
  }
  return frame;
}

std::optional<std::uint64_t> from_frame(std::string_view frame) {
  if (frame.size() != kSequenceBytes) {
    return std::nullopt;
  }
  std::uint64_t sequence = 0;
  for (const char byte : frame) {
    sequence = sequence << 8U | static_cast<unsigned char>(byte);
  }
  return sequence;
}

struct EndContext {
  void operator()(void* context) const { zmq_ctx_term(context); }
};
struct CloseSocket {
  void operator()(void* socket) const { zmq_close(socket); }
};
using Context = std::unique_ptr<void, EndContext>;

// Owner of one socket. Thread: one at a time.
class Socket {
 public:
  Socket(void* context, int type) : socket_(zmq_socket(context, type)) {
    set(ZMQ_LINGER, 0);
    set(ZMQ_SNDHWM, kWaitingMax);
    set(ZMQ_RCVHWM, kWaitingMax);
    (void)zmq_setsockopt(socket_.get(), ZMQ_MAXMSGSIZE, &kFrameBytesMax, sizeof(kFrameBytesMax));
  }

  void set(int option, int value) { (void)zmq_setsockopt(socket_.get(), option, &value, sizeof(value)); }

  // Where it listens then. ERRORS: InvalidArgument.
  absl::StatusOr<std::string> bind(const std::string& host, std::int32_t port) {
    const std::string wanted = fmt::format("tcp://{}:{}", host, port == 0 ? "*" : std::to_string(port));
    set(ZMQ_IPV6, host.starts_with('[') ? 1 : 0);
    if (zmq_bind(socket_.get(), wanted.c_str()) != 0) {
      return absl::InvalidArgumentError(
          fmt::format("--kv-events: cannot listen on {}: {}", wanted, zmq_strerror(zmq_errno())));
    }
    std::array<char, 256> bound{};  // more than any tcp endpoint has
    std::size_t size = bound.size();
    (void)zmq_getsockopt(socket_.get(), ZMQ_LAST_ENDPOINT, bound.data(), &size);
    const std::string_view endpoint(bound.data());
    const std::string_view number = endpoint.substr(endpoint.rfind(':') + 1);
    const bool is_everywhere = host == "*" || host == "0.0.0.0" || host == "[::]";
    return fmt::format("tcp://{}:{}", is_everywhere ? "*" : host, number);
  }

  // False: it could not be sent.
  bool send(std::string_view frame, int flags) {
    return zmq_send(socket_.get(), frame.data(), frame.size(), flags) >= 0;
  }
  bool send_last(const std::string& payload, std::uint64_t sequence, int flags) {
    const SequenceFrame number = to_frame(sequence);
    return send(kTopic, flags | ZMQ_SNDMORE) &&
           send({reinterpret_cast<const char*>(number.data()), number.size()}, flags | ZMQ_SNDMORE) &&
           send(payload, flags);
  }

  // The frames of one message; nothing within `patience_ms`: none.
  std::vector<std::string> receive(int patience_ms) {
    zmq_pollitem_t item{socket_.get(), 0, ZMQ_POLLIN, 0};
    std::vector<std::string> frames;
    if (zmq_poll(&item, 1, patience_ms) <= 0) {
      return frames;
    }
    int has_more = 1;
    while (has_more != 0) {
      zmq_msg_t message;
      zmq_msg_init(&message);
      if (zmq_msg_recv(&message, socket_.get(), ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        break;
      }
      if (frames.size() < kFramesMax) {
        frames.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
      }
      has_more = zmq_msg_more(&message);
      zmq_msg_close(&message);
    }
    return frames;
  }

 private:
  std::unique_ptr<void, CloseSocket> socket_;
};

// Members die bottom up: the thread, the sockets, their context.
class Feed final : public ZmqFeed {
 public:
  Feed(const KvEventLog& log, Encode encode)
      : log_(log),
        encode_(std::move(encode)),
        context_(zmq_ctx_new()),
        publisher_(context_.get(), ZMQ_PUB),
        replayer_(context_.get(), ZMQ_ROUTER) {
    replayer_.set(ZMQ_ROUTER_MANDATORY, 1);  // waits for a reader who is behind, rather than dropping
    replayer_.set(ZMQ_SNDTIMEO, kReplayPatienceMs);
  }
  ~Feed() override {
    is_ending_ = true;
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  absl::Status start(const ZmqAddress& address) {
    absl::StatusOr<std::string> endpoint = publisher_.bind(address.host, address.port);
    if (!endpoint.ok()) {
      return endpoint.status();
    }
    absl::StatusOr<std::string> replay = replayer_.bind(address.host, address.port == 0 ? 0 : address.port + 1);
    if (!replay.ok()) {
      return replay.status();
    }
    endpoint_ = *std::move(endpoint);
    replay_endpoint_ = *std::move(replay);
    try {
      thread_ = std::thread([this] { serve_replays(); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(fmt::format("--kv-events: no thread for replays: {}", error.what()));
    }
    return absl::OkStatus();
  }

  void publish(const KvEventBatch& batch) override {
    publisher_.send_last(encode_(batch), batch.sequence, ZMQ_DONTWAIT);
  }
  const std::string& endpoint() const override { return endpoint_; }
  const std::string& replay_endpoint() const override { return replay_endpoint_; }

 private:
  void serve_replays() {
    pthread_setname_np(pthread_self(), "kv_replay");  // for ps, top and debuggers
    while (!is_ending_) {
      try {
        serve_replay();
      } catch (const std::exception& error) {  // no memory: the reader asks again
        spdlog::warn("kv events: a replay was given up: {}", error.what());
      }
    }
  }

  void serve_replay() {
    const std::vector<std::string> frames = replayer_.receive(kLookMs);
    // Who asks; perhaps an empty frame; the number.
    if (frames.size() != 2 && !(frames.size() == 3 && frames[1].empty())) {
      return;
    }
    if (const std::optional<std::uint64_t> first = from_frame(frames.back())) {
      replay({frames.begin(), frames.end() - 1}, *first);
    }
  }

  void replay(const std::vector<std::string>& envelope, std::uint64_t first) {
    const std::uint64_t end = log_.next();
    std::uint64_t next = first;
    while (next < end && !is_ending_) {
      const KvEventBatchPointer batch = log_.find(next);
      if (batch == nullptr) {
        break;
      }
      if (!answer(envelope, encode_(*batch), batch->sequence)) {
        return;
      }
      next = batch->sequence + 1;
    }
    answer(envelope, "", kEnd);
  }

  bool answer(const std::vector<std::string>& envelope, const std::string& payload, std::uint64_t sequence) {
    for (const std::string& frame : envelope) {
      if (!replayer_.send(frame, ZMQ_SNDMORE)) {
        spdlog::warn("kv events: a replay was given up: {}", zmq_strerror(zmq_errno()));
        return false;
      }
    }
    return replayer_.send_last(payload, sequence, 0);
  }

  const KvEventLog& log_;
  const Encode encode_;
  const Context context_;
  Socket publisher_;  // used by who calls publish()
  Socket replayer_;   // used by thread_ alone
  std::string endpoint_;
  std::string replay_endpoint_;
  std::atomic<bool> is_ending_{false};
  std::thread thread_;
};

}  // namespace

absl::StatusOr<ZmqAddress> parse_zmq_address(std::string_view text) {
  constexpr std::string_view kScheme = "tcp://";
  const std::size_t colon = text.rfind(':');
  ZmqAddress address;
  if (text.starts_with(kScheme) && colon != std::string_view::npos && colon > kScheme.size()) {
    address.host = text.substr(kScheme.size(), colon - kScheme.size());
    const std::string_view number = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), address.port);
    if (error == std::errc() && end == number.data() + number.size() && address.port >= 0 && address.port <= kPortMax) {
      return address;
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("--kv-events {} cannot work: give tcp://HOST:PORT with a port up to {}, or grpc", text, kPortMax));
}

absl::StatusOr<std::unique_ptr<ZmqFeed>> ZmqFeed::open(const ZmqAddress& address, const KvEventLog& log,
                                                       Encode encode) {
  auto feed = std::make_unique<Feed>(log, std::move(encode));
  if (absl::Status status = feed->start(address); !status.ok()) {
    return status;
  }
  return feed;
}

}  // namespace coppice::server
