// The files of the console page, as they are built into the program (cmake/CoppiceEmbed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace coppice::server {

struct ConsoleFile {
  std::string_view name;  // "main.js"
  std::string_view contents;
};

std::span<const ConsoleFile> console_files();

}  // namespace coppice::server
