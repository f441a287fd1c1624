// The server's process of `coppice bench front`, and what both processes have noted.
#include "server/front_bench/front_bench.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <thread>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/engine_thread.h"
#include "server/app/host_setup.h"
#include "server/front_bench/stub_engine.h"
#include "server/grpc/grpc_server.h"
#include "server/http/http_server.h"
#include "server/http/router.h"

namespace coppice::server {
namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;          // of a second
constexpr std::int64_t kPatience = 30 * kNanoseconds;         // beyond the time that the streams should take
constexpr std::size_t kBodyBytesMax = std::size_t{1} << 20U;  // a request has less than 1 KiB
constexpr std::int32_t kContext = 1 << 20;                    // tokens: any number of them fits, nothing is computed

// CPU time of a process or of its ended children, nanoseconds.
std::int64_t cpu_time(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto nanoseconds = [](const timeval& time) { return time.tv_sec * kNanoseconds + time.tv_usec * 1000; };
  return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
}

// A token whose text is the letter that the clients count. ERRORS: NotFound.
absl::StatusOr<TokenId> find_letter(const text::Tokenizer& tokenizer) {
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    if (tokenizer.token_bytes(token) == "a") {
      return token;
    }
  }
  return absl::NotFoundError("the model has no token whose text is \"a\"");
}

// The parts of the server that stand between a socket and the engine. Members die bottom up.
struct Front {
  ServerState state{"stub", {}};
  Router router{state};
  ModelHost host;
  std::unique_ptr<StubEngine> engine;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<engine::EngineThread> engine_thread;
};

absl::Status open_front(const FrontBenchOptions& options, const ModelPackage& package, FrontBoard& board,
                        Front& front) {
  COPPICE_ASSIGN_OR_RETURN(models::ModelConfig config, package.config());
  COPPICE_RETURN_IF_ERROR(load_text(package, front.host));
  COPPICE_ASSIGN_OR_RETURN(const TokenId letter, find_letter(*front.host.tokenizer));
  const auto period = std::chrono::nanoseconds(std::llround(options.step_ms * 1e6));
  front.engine = std::make_unique<StubEngine>(board, letter, period);
  front.state.work = std::make_unique<WorkPool>(WorkPoolOptions{});
  front.host.name = "stub";
  front.host.engine = front.engine.get();
  front.host.engine_limits.model_tokens_max = kContext;
  front.host.engine_limits.queued_max = options.streams;
  front.host.metrics = &front.state.metrics;
  derive_request_limits(kBodyBytesMax, config, front.host);
  front.state.host = &front.host;
  front.state.phase = Phase::kServing;
  front.engine_thread = std::make_unique<engine::EngineThread>(*front.engine);
  if (options.api == "grpc") {
    GrpcOptions grpc;
    grpc.proxy.requests_bytes_max = MemoryLimits{}.server_bytes / 2;
    grpc.proxy.guard.streams_max = static_cast<std::size_t>(options.streams);
    grpc.loops = options.threads;
    grpc.message_bytes_max = kBodyBytesMax;
    COPPICE_ASSIGN_OR_RETURN(front.grpc, GrpcServer::open(grpc, front.state));
    board.port() = front.grpc->port();
  } else {
    HttpOptions http;
    http.threads = options.threads;
    http.connections_max = options.streams + 1;
    COPPICE_ASSIGN_OR_RETURN(front.http, HttpServer::start(http, front.router, front.state.memory));
    board.port() = front.http->port();
  }
  return absl::OkStatus();
}

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) {
    return 0;
  }
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

// The time in which all streams ran: from the last first token to the first last one, on the board's clock.
struct Window {
  std::int64_t begin = 0;
  std::int64_t end = std::numeric_limits<std::int64_t>::max();
};

Window find_window(FrontBoard& board) {
  Window window;
  for (std::int32_t i = 0; i < board.streams(); ++i) {
    window.begin = std::max<std::int64_t>(window.begin, board.emitted(i, 0));
    window.end = std::min<std::int64_t>(window.end, board.emitted(i, board.tokens() - 1));
  }
  return window;
}

FrontBenchResult summarize(FrontBoard& board) {
  const Window window = find_window(board);
  FrontBenchResult result;
  result.failures = board.failures();
  std::vector<double> added;
  std::vector<double> first_added;
  std::int64_t emitted = 0;
  for (std::int32_t i = 0; i < board.streams(); ++i) {
    first_added.push_back(
        static_cast<double>(board.submitted(i) - board.asked(i) + board.received(i, 0) - board.emitted(i, 0)) * 1e-6);
    for (std::int32_t k = 0; k < board.tokens(); ++k) {
      const std::int64_t at = board.emitted(i, k);
      const std::int64_t received = board.received(i, k);
      emitted += at > window.begin && at <= window.end ? 1 : 0;
      result.tokens += received > window.begin && received <= window.end ? 1 : 0;
      if (at > window.begin && at <= window.end && received != 0) {
        added.push_back(static_cast<double>(received - at) * 1e-6);
      }
    }
  }
  const double seconds = static_cast<double>(window.end - window.begin) * 1e-9;
  result.offered_tokens_per_s = static_cast<double>(emitted) / seconds;
  result.tokens_per_s = static_cast<double>(result.tokens) / seconds;
  result.added_p50 = percentile(added, 0.5);
  result.added_p99 = percentile(added, 0.99);
  result.added_max = percentile(added, 1);
  result.first_added_p50 = percentile(first_added, 0.5);
  result.first_added_p99 = percentile(first_added, 0.99);
  return result;
}

}  // namespace

FrontBoard::FrontBoard(std::int32_t streams, std::int32_t tokens)
    : streams_(streams),
      tokens_(tokens),
      bytes_((kShared + index(streams) * index(2 + 2 * tokens)) * sizeof(Cell)),
      cells_(nullptr) {
  void* const memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  COPPICE_CHECK(memory != MAP_FAILED, "no memory for the board of the benchmark");
  cells_ = static_cast<Cell*>(memory);
  std::uninitialized_value_construct_n(cells_, bytes_ / sizeof(Cell));
}

FrontBoard::~FrontBoard() {
  munmap(cells_, bytes_);
}

std::int64_t FrontBoard::now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

absl::StatusOr<FrontBenchResult> run_front_bench(const FrontBenchOptions& options, const ModelPackage& package) {
  spdlog::set_level(spdlog::level::warn);  // a line a request is written elsewhere, not to the terminal
  FrontBoard board(options.streams, options.tokens);
  const auto length = static_cast<std::int64_t>((options.ramp_s + options.step_ms * 1e-3 * options.tokens) * 1e9);
  const pid_t child = fork();
  if (child < 0) {
    return absl::InternalError("a second process cannot be started");
  }
  if (child == 0) {
    const std::int64_t deadline = FrontBoard::now() + length + kPatience;
    (options.api == "grpc" ? run_grpc_streams : run_http_streams)(options, board, deadline);
    _exit(0);
  }
  Front front;
  if (absl::Status status = open_front(options, package, board, front); !status.ok()) {
    board.port() = -1;
    waitpid(child, nullptr, 0);
    return status;
  }
  const std::int64_t before = cpu_time(RUSAGE_SELF);
  waitpid(child, nullptr, 0);
  const std::int64_t server = cpu_time(RUSAGE_SELF) - before;
  FrontBenchResult result = summarize(board);
  const double all = static_cast<double>(options.streams) * options.tokens;
  result.server_us_per_token = static_cast<double>(server) * 1e-3 / all;
  result.client_us_per_token = static_cast<double>(cpu_time(RUSAGE_CHILDREN)) * 1e-3 / all;
  if (result.failures > 0) {
    return absl::InternalError(fmt::format("{} of {} streams failed", result.failures, options.streams));
  }
  return result;
}

}  // namespace coppice::server
