// One thread a file, a few at a time; without a thread to be had, the caller's.
#include "server/hub/download.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/hub/follow.h"
#include "server/hub/hub_name.h"
#include "server/hub/part_file.h"
#include "spdlog/spdlog.h"

namespace coppice::server {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kThreadsMost = 4;  // files at once: fills any line that one connection does not
// Waits before the tries that follow one which brought too little. As many tries as there are waits, and one more.
constexpr std::array<milliseconds, 5> kWaits = {milliseconds(200), milliseconds(500), milliseconds(1000),
                                                milliseconds(2000), milliseconds(4000)};
// What a try must bring to count as none of those: bounds the tries that a server can cause by cutting.
constexpr std::uint64_t kBytesOfProgress = 1 << 20;
constexpr milliseconds kRedraw{100};  // between two looks at how far it is

// How far all are, and whether to go on.
struct Meter {
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> is_over{false};

  absl::Status check() const { return is_over ? absl::CancelledError("another file failed") : absl::OkStatus(); }
};

bool may_be_tried_again(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

// One file, through all its tries. Owner: its thread's stack.
class Fetch {
 public:
  Fetch(const HttpsClient& client, const Download& download, PartFile& file, Meter& meter)
      : client_(client), download_(download), file_(file), meter_(meter) {}

  absl::Status run() {
    meter_.done += file_.size();
    std::size_t poor_tries = 0;
    std::uint64_t best = file_.size();  // a server may make us begin again
    while (file_.size() < download_.bytes) {
      const absl::Status status = try_once();
      if (status.ok()) {
        continue;
      }
      poor_tries = file_.size() >= best + kBytesOfProgress ? 0 : poor_tries + 1;
      best = std::max(best, file_.size());
      if (!may_be_tried_again(status) || is_final_ || poor_tries > kWaits.size()) {
        return status;
      }
      COPPICE_RETURN_IF_ERROR(pause(kWaits[poor_tries == 0 ? 0 : poor_tries - 1]));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status try_once() {
    FollowRequest request{.url = download_.url, .token = download_.token};
    if (file_.size() > 0) {
      request.headers.emplace_back("Range", fmt::format("bytes={}-", file_.size()));
    }
    const auto reply = follow(
        client_, request, [this](const HttpsReply& head) { return take_head(head); },
        [this](std::string_view bytes) { return take_bytes(bytes); });
    COPPICE_RETURN_IF_ERROR(reply.status());
    return file_.size() < download_.bytes ? absl::DataLossError("the file ends early") : absl::OkStatus();
  }

  absl::Status take_head(const HttpsReply& head) {
    if (head.status == 206) {
      const std::string wanted = fmt::format("bytes {}-{}/{}", file_.size(), download_.bytes - 1, download_.bytes);
      return head.header("content-range") == wanted ? absl::OkStatus()
                                                    : clear("sends another range than was asked for");
    }
    if (head.status == 416) {
      return clear("has no such range");
    }
    if (head.status == 429 || head.status >= 500) {
      return absl::UnavailableError(fmt::format("HTTP status {}", head.status));
    }
    if (head.status != 200) {
      is_final_ = true;
      return absl::FailedPreconditionError(fmt::format("HTTP status {}", head.status));
    }
    if (file_.size() > 0) {  // the server does not know ranges
      meter_.done -= file_.size();
      COPPICE_RETURN_IF_ERROR(file_.clear());
    }
    if (const auto length = head.number("content-length"); length.has_value() && *length != download_.bytes) {
      is_final_ = true;
      return absl::DataLossError(
          fmt::format("{} bytes were promised, the server begins to send {}", download_.bytes, *length));
    }
    return absl::OkStatus();
  }

  // From the start again, as a try that brought nothing.
  absl::Status clear(const char* why) {
    meter_.done -= file_.size();
    COPPICE_RETURN_IF_ERROR(file_.clear());
    return absl::DataLossError(fmt::format("{} {}", download_.url.host_header(), why));
  }

  absl::Status take_bytes(std::string_view bytes) {
    COPPICE_RETURN_IF_ERROR(meter_.check());
    if (bytes.size() > download_.bytes - file_.size()) {
      is_final_ = true;
      return absl::DataLossError(fmt::format("more than the {} bytes that were promised", download_.bytes));
    }
    COPPICE_RETURN_IF_ERROR(file_.append(bytes));
    meter_.done += bytes.size();
    return absl::OkStatus();
  }

  absl::Status pause(milliseconds duration) {
    for (milliseconds slept{0}; slept < duration; slept += kRedraw) {
      COPPICE_RETURN_IF_ERROR(meter_.check());
      std::this_thread::sleep_for(kRedraw);
    }
    return absl::OkStatus();
  }

  const HttpsClient& client_;
  const Download& download_;
  PartFile& file_;
  Meter& meter_;
  bool is_final_ = false;  // another try would bring the same
};

bool is_there(const Download& download) {
  std::error_code error;
  return std::filesystem::is_regular_file(download.path, error) &&
         std::filesystem::file_size(download.path, error) == download.bytes;
}

absl::Status check_room(const Download& download, std::uint64_t missing) {
  struct statvfs facts {};
  if (::statvfs(download.path.parent_path().c_str(), &facts) != 0) {
    return absl::OkStatus();  // writing will say it
  }
  const std::uint64_t room = std::uint64_t{facts.f_bavail} * facts.f_frsize;
  return missing <= room ? absl::OkStatus()
                         : absl::ResourceExhaustedError(fmt::format("{} bytes are missing, {} has room for {}", missing,
                                                                    download.path.parent_path().string(), room));
}

absl::Status fetch_locked(const HttpsClient& client, const Download& download, Meter& meter) {
  COPPICE_ASSIGN_OR_RETURN(PartFile file, PartFile::open(download.path));
  if (file.size() > download.bytes) {
    COPPICE_RETURN_IF_ERROR(file.clear());
  }
  bool was_resumed = file.size() > 0;
  while (true) {
    COPPICE_RETURN_IF_ERROR(check_room(download, download.bytes - file.size()));
    COPPICE_RETURN_IF_ERROR(Fetch(client, download, file, meter).run());
    ContentHash hash(download.hash_kind, download.bytes);
    COPPICE_RETURN_IF_ERROR(file.hash(hash));
    const std::string found = hash.finish();
    if (found == download.hash) {
      return file.finish();
    }
    meter.done -= file.size();
    if (!was_resumed) {
      file.remove();
      return absl::DataLossError(fmt::format("its hash should be {}, and is {}: it was removed", download.hash, found));
    }
    was_resumed = false;  // what an earlier run left may be the fault
    COPPICE_RETURN_IF_ERROR(file.clear());
  }
}

absl::Status fetch_one(const HttpsClient& client, const Download& download, Meter& meter) {
  bool has_said = false;
  const auto wait = [&] {
    if (!has_said) {
      spdlog::info("{}: another process has {} locked; waiting for it", download.what, download.lock.string());
      has_said = true;
    }
    return meter.check();
  };
  COPPICE_ASSIGN_OR_RETURN(const LockFile lock, LockFile::take(download.lock, wait));
  if (is_there(download)) {
    meter.done += download.bytes;
    return absl::OkStatus();
  }
  const absl::Status status = fetch_locked(client, download, meter);
  return status.ok() ? status
                     : absl::Status(status.code(), fmt::format("{}: {}", download.what, std::string(status.message())));
}

// What the threads share with the caller.
struct Board {
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t next = 0;     // of the downloads; guarded by mutex
  std::size_t running = 0;  // threads; guarded by mutex
  absl::Status status;      // the first error; guarded by mutex
};

void work(const HttpsClient& client, const std::vector<Download>& downloads, Meter& meter, Board& board) {
  std::unique_lock<std::mutex> guard(board.mutex);
  while (board.status.ok() && board.next < downloads.size()) {
    const Download& download = downloads[board.next++];
    guard.unlock();
    const absl::Status status = fetch_one(client, download, meter);
    guard.lock();
    if (!status.ok()) {
      board.status.Update(status);
      meter.is_over = true;
    }
  }
  --board.running;
  board.ended.notify_all();
}

// As many threads as are asked for, or as the system gives.
template <typename Work>
std::vector<std::thread> start_threads(std::size_t count, const Work& work) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  try {
    while (threads.size() < count) {
      threads.emplace_back(work);
    }
  } catch (const std::system_error& error) {
    spdlog::info("fetching with {} of {} threads: {}", threads.size(), count, error.what());
  }
  return threads;
}

}  // namespace

absl::Status download_all(const HttpsClient& client, const std::vector<Download>& downloads,
                          const FetchProgress& progress) {
  std::uint64_t total = 0;
  for (const Download& download : downloads) {
    total += download.bytes;
  }
  Meter meter;
  Board board;
  const auto run = [&] { work(client, downloads, meter, board); };
  const std::size_t wanted = std::min(kThreadsMost, downloads.size());
  board.running = wanted;
  std::vector<std::thread> threads = start_threads(wanted, run);
  if (threads.empty() && wanted > 0) {
    board.running = 1;
    run();
  }
  {
    std::unique_lock<std::mutex> guard(board.mutex);
    board.running -= threads.empty() ? 0 : wanted - threads.size();
    while (!board.ended.wait_for(guard, kRedraw, [&board] { return board.running == 0; })) {
      if (progress) {
        progress(meter.done, total);
      }
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return board.status;
}

}  // namespace coppice::server
