// While it lives, no file of this process grows beyond some bytes, as on a disk that is full.
#pragma once

#include <sys/resource.h>

#include <csignal>
#include <cstddef>

namespace coppice {

class FullDisk {
 public:
  explicit FullDisk(std::size_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit tight{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  using Handler = void (*)(int);
  Handler signal_;
  rlimit before_{};
};

}  // namespace coppice
