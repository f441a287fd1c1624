// Whether a file has the content that its hash says. To read it whole takes a second for a gigabyte or two, so what was
// found is noted beside it with the file's time, and holds until that changes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace coppice::server {

// A file of that size and SHA-256 (lower-case hexadecimal). What cannot be read has not; a note that cannot be written
// is left out.
bool has_content(const std::filesystem::path& path, std::uint64_t bytes, const std::string& sha256);

}  // namespace coppice::server
