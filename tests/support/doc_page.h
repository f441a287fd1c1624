// Sections of a page of docs/ that a test writes: between a comment that names the test and "<!-- end -->". With
// COPPICE_WRITE_DOCS=1 in the environment the test writes the page, else it checks it.
#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace coppice {

inline std::string read_doc_page(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The section behind the line that begins with `mark` is `section`, or becomes it.
inline void check_doc_section(const std::string& path, const std::string& mark, const std::string& section) {
  const std::string page = read_doc_page(path);
  const std::size_t line = page.find(mark);
  REQUIRE(line != std::string::npos);
  const std::size_t begin = page.find('\n', line) + 1;
  const std::size_t end = page.find("<!-- end -->\n", begin);
  REQUIRE(end != std::string::npos);
  if (std::getenv("COPPICE_WRITE_DOCS") != nullptr) {
    std::ofstream(path) << page.substr(0, begin) << section << page.substr(end);
    return;
  }
  CHECK(page.substr(begin, end - begin) == section);
}

}  // namespace coppice
