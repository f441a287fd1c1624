// One file out of a zip archive. Archives come from outside: every offset and size is checked against the archive
// before it is used, and no more is written than was promised.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "server/hub/part_file.h"

namespace coppice::server {

// Writes the content of `member` behind what `into` holds. `bytes`: what it must have. ERRORS: NotFound: no such
// member; InvalidArgument: no zip archive, several members of that name, another size, an encrypted or damaged one;
// Unimplemented: zip64, a method that is not deflate; as PartFile::append().
absl::Status extract_member(const std::filesystem::path& archive, const std::string& member, std::uint64_t bytes,
                            PartFile& into);

}  // namespace coppice::server
