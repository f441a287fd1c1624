// Sends a load run's requests over HTTP/1.1 and reads the server-sent events: Boost.Beast coroutines on one thread.
// Beast is slow to compile, so it stays inside this file.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>
#include <string_view>

#include "base/random.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/bench/load.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kLineBytesMax = 16 << 20;  // of one event: a chunk with the most logprobs is far smaller

struct Target {
  std::string host;
  std::string port;
};

absl::StatusOr<Target> parse_url(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (url.rfind(kScheme, 0) != 0) {
    return absl::InvalidArgumentError(fmt::format("--url \"{}\": write http://HOST:PORT", url));
  }
  std::string rest = url.substr(kScheme.size());
  rest = rest.substr(0, rest.find('/'));
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) {
    return Target{rest, "80"};
  }
  return Target{rest.substr(0, colon), rest.substr(colon + 1)};
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Takes the text of one event out of its JSON and notes times and counts.
class EventReader {
 public:
  EventReader(LoadOutcome& outcome, Clock::time_point due) : outcome_(outcome), due_(due) {}

  void push(std::string_view bytes) {
    line_.append(bytes);
    std::size_t begin = 0;
    for (std::size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n', begin)) {
      take_line(std::string_view(line_).substr(begin, end - begin));
      begin = end + 1;
    }
    line_.erase(0, begin);
    if (line_.size() > kLineBytesMax) {
      outcome_.error = "an event larger than 16 MiB";
      line_.clear();
    }
  }

  bool done() const { return done_; }

 private:
  void take_line(std::string_view line) {
    constexpr std::string_view kData = "data:";
    if (line.substr(0, kData.size()) != kData) {
      return;
    }
    line.remove_prefix(kData.size());
    if (line.find("[DONE]") != std::string_view::npos && line.size() < 10) {
      done_ = true;
      return;
    }
    const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) {
      outcome_.error = "an event that is not JSON";
      return;
    }
    if (event.contains("error")) {
      outcome_.error = event["error"].dump();
      return;
    }
    take_usage(event);
    if (has_text(event)) {
      const double now_s = seconds_since(due_);
      if (outcome_.first_text_s == 0) {
        outcome_.first_text_s = now_s;
      } else {
        outcome_.gaps_s.push_back(now_s - last_text_s_);
      }
      last_text_s_ = now_s;
    }
  }

  static bool has_text(const json& event) {
    const auto choices = event.find("choices");
    if (choices == event.end() || !choices->is_array() || choices->empty()) {
      return false;
    }
    const json& choice = (*choices)[0];
    const json& holder = choice.contains("delta") ? choice["delta"] : choice;
    const auto text = holder.find(choice.contains("delta") ? "content" : "text");
    return text != holder.end() && text->is_string() && !text->get_ref<const std::string&>().empty();
  }

  void take_usage(const json& event) {
    const auto usage = event.find("usage");
    if (usage == event.end() || !usage->is_object()) {
      return;
    }
    outcome_.prompt_tokens = usage->value("prompt_tokens", std::int64_t{0});
    outcome_.output_tokens = usage->value("completion_tokens", std::int64_t{0});
    const auto details = usage->find("prompt_tokens_details");
    if (details != usage->end() && details->is_object()) {
      outcome_.cached_tokens = details->value("cached_tokens", std::int64_t{0});
    }
  }

  LoadOutcome& outcome_;
  const Clock::time_point due_;
  std::string line_;
  double last_text_s_ = 0;
  bool done_ = false;
};

// One load run: its I/O context, its clock, and the requests not yet sent.
class Run {
 public:
  Run(const LoadOptions& options, const std::vector<LoadRequest>& requests, Target target,
      const std::function<void(std::size_t, std::size_t)>& progress)
      : options_(options), requests_(requests), target_(std::move(target)), progress_(progress) {
    result_.outcomes.resize(requests.size());
  }

  LoadResult go() {
    std::set<std::string_view> sessions;
    for (const LoadRequest& request : requests_) {
      if (!request.session.empty()) {
        sessions.insert(request.session);
      }
    }
    result_.sessions = sessions.size();
    begin_ = Clock::now();
    if (options_.concurrency == 0) {
      asio::co_spawn(io_, arrivals(), asio::detached);
    } else {
      const auto workers = std::min<std::size_t>(static_cast<std::size_t>(options_.concurrency), requests_.size());
      for (std::size_t i = 0; i < workers; ++i) {
        asio::co_spawn(io_, worker(), asio::detached);
      }
    }
    io_.run();
    result_.wall_s = seconds_since(begin_);
    return std::move(result_);
  }

 private:
  // Sends one request after another until none is left.
  asio::awaitable<void> worker() {
    while (next_ < requests_.size()) {
      const std::size_t index = next_++;
      co_await one(index, Clock::now());
    }
  }

  // Open loop: each request is sent when it is due, whatever has become of those before. With a rate arrivals are
  // Poisson: the gap to the next request is exponential. A late loop does not shift the later requests' due times.
  asio::awaitable<void> arrivals() {
    asio::steady_timer timer(io_);
    double poisson_s = 0;
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      const double due_s = options_.rate > 0 ? poisson_s : requests_[index].due_s;
      const auto since = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(due_s));
      const Clock::time_point due = begin_ + since;
      timer.expires_at(due);
      co_await timer.async_wait(asio::use_awaitable);
      asio::co_spawn(io_, one(index, due), asio::detached);
      if (options_.rate > 0) {
        poisson_s -= std::log(1.0 - base::uniform01(options_.seed, index, 77)) / options_.rate;
      }
    }
  }

  asio::awaitable<void> one(std::size_t index, Clock::time_point due) {
    LoadOutcome& outcome = result_.outcomes[index];
    outcome.start_s = std::chrono::duration<double>(due - begin_).count();
    outcome.late_s = seconds_since(due);
    try {
      co_await exchange(requests_[index], due, outcome);
    } catch (const std::exception& error) {
      outcome.error = error.what();
    }
    outcome.end_s = seconds_since(due);
    outcome.ok = outcome.error.empty() && outcome.status == 200;
    if (!outcome.ok && outcome.error.empty()) {
      outcome.error = fmt::format("HTTP status {}", outcome.status);
    }
    ++done_;
    if (progress_) {
      progress_(done_, requests_.size());
    }
  }

  asio::awaitable<void> exchange(const LoadRequest& request, Clock::time_point due, LoadOutcome& outcome) {
    tcp::resolver resolver(io_);
    const auto endpoints = co_await resolver.async_resolve(target_.host, target_.port, asio::use_awaitable);
    beast::tcp_stream stream(io_);
    stream.expires_after(
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.timeout_s)));
    co_await stream.async_connect(endpoints, asio::use_awaitable);
    stream.socket().set_option(tcp::no_delay(true));

    http::request<http::string_body> post(http::verb::post, request.target, 11);
    post.set(http::field::host, target_.host);
    post.set(http::field::content_type, "application/json");
    post.set(http::field::connection, "close");
    if (!options_.api_key.empty()) {
      post.set(http::field::authorization, "Bearer " + options_.api_key);
    }
    post.body() = request.body;
    post.prepare_payload();
    co_await http::async_write(stream, post, asio::use_awaitable);
    co_await read_events(stream, due, outcome);
  }

  static asio::awaitable<void> read_events(beast::tcp_stream& stream, Clock::time_point due, LoadOutcome& outcome) {
    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
    outcome.status = static_cast<int>(parser.get().result_int());
    EventReader reader(outcome, due);
    std::string refusal;
    char chunk[16384];
    while (!parser.is_done()) {
      parser.get().body().data = chunk;
      parser.get().body().size = sizeof(chunk);
      beast::error_code error;
      co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error && error != http::error::need_buffer) {
        throw beast::system_error(error);
      }
      const std::string_view bytes(chunk, sizeof(chunk) - parser.get().body().size);
      if (outcome.status == 200) {
        reader.push(bytes);
      } else if (refusal.size() < 4096) {
        refusal.append(bytes);
      }
    }
    if (outcome.status != 200) {
      outcome.error = fmt::format("HTTP status {}: {}", outcome.status, refusal.substr(0, 200));
    } else if (!reader.done() && outcome.error.empty()) {
      outcome.error = "the stream ended without [DONE]";
    }
  }

  const LoadOptions& options_;
  const std::vector<LoadRequest>& requests_;
  const Target target_;
  const std::function<void(std::size_t, std::size_t)>& progress_;
  asio::io_context io_{1};
  Clock::time_point begin_;
  LoadResult result_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
};

}  // namespace

absl::StatusOr<LoadResult> run_load(const LoadOptions& options, const std::vector<LoadRequest>& requests,
                                    const std::function<void(std::size_t, std::size_t)>& progress) {
  const int paces = (options.concurrency > 0 ? 1 : 0) + (options.rate > 0 ? 1 : 0);
  if (paces > 1 || (paces == 0 && options.trace.path.empty())) {
    return absl::InvalidArgumentError("give either --concurrency N or --rate R");
  }
  auto target = parse_url(options.url);
  if (!target.ok()) {
    return target.status();
  }
  try {
    return Run(options, requests, *std::move(target), progress).go();
  } catch (const std::exception& error) {
    return absl::UnavailableError(fmt::format("{}: {}", options.url, error.what()));
  }
}

}  // namespace coppice::server
