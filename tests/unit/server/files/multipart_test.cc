// Forms as clients send them, and as hostile ones do.
#include "server/files/multipart.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace coppice::server {
namespace {

constexpr const char* kType = "multipart/form-data; boundary=XX";

std::vector<FormPart> parse(const std::string& body, const char* type = kType) {
  const openai::Result<std::vector<FormPart>> parts = parse_form(type, body);
  INFO((parts.ok() ? "" : parts.error().message));
  REQUIRE(parts.ok());
  return parts.value();
}

std::string refusal(const std::string& body, const char* type = kType) {
  const openai::Result<std::vector<FormPart>> parts = parse_form(type, body);
  REQUIRE_FALSE(parts.ok());
  CHECK(parts.error().status == 400);
  return parts.error().message;
}

std::string part(const std::string& name, const std::string& content) {
  return "--XX\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + content + "\r\n";
}

}  // namespace

TEST_CASE("boundaries, quoted or not", "[multipart]") {
  CHECK(form_boundary("multipart/form-data; boundary=abc") == "abc");
  CHECK(form_boundary("Multipart/Form-Data ;charset=utf-8; BOUNDARY=\"a b:c\"") == "a b:c");
  CHECK(form_boundary("multipart/form-data;boundary=----WebKitFormBoundary7MA4") == "----WebKitFormBoundary7MA4");
  for (const char* const none : {"", "application/json", "multipart/mixed; boundary=a", "multipart/form-data",
                                 "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a",
                                 "multipart/form-data; boundary=\"a \"", "multipart/form-data; boundary=a\x01z",
                                 "multipart/form-data; boundary=a*b", "multipart/form-datax; boundary=a"}) {
    INFO(none);
    CHECK(form_boundary(none).empty());
  }
  CHECK(form_boundary("multipart/form-data; boundary=" + std::string(70, 'x')).size() == 70);
  CHECK(form_boundary("multipart/form-data; boundary=" + std::string(71, 'x')).empty());
}

TEST_CASE("parts of a form, with preamble, epilogue and bytes of any kind", "[multipart]") {
  const std::string binary("\0\r\n--X\r\n\xff--XX", 14);  // nearly a boundary
  const std::string body = "a preamble\r\n" + part("purpose", "batch") +
                           "--XX \t\r\ncontent-type: text/plain\r\n"
                           "CONTENT-DISPOSITION: form-data; filename=\"a\\\"b.jsonl\"; name=file\r\n\r\n" +
                           binary + "\r\n" + part("empty", "") + "--XX--\r\nan epilogue --XX";
  const std::vector<FormPart> parts = parse(body);
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].name == "purpose");
  CHECK(parts[0].content == "batch");
  CHECK_FALSE(parts[0].is_file);
  CHECK(parts[1].name == "file");
  CHECK(parts[1].filename == "a\"b.jsonl");
  CHECK(parts[1].is_file);
  CHECK(parts[1].content == binary);
  CHECK(parts[2].content.empty());
  CHECK(parse("--XX--").empty());
}

TEST_CASE("what is no form is refused, saying why", "[multipart]") {
  using Catch::Contains;
  CHECK_THAT(refusal("", "application/json"), Contains("names no boundary"));
  CHECK_THAT(refusal(""), Contains("not in the body"));
  CHECK_THAT(refusal("--XY\r\n"), Contains("not in the body"));
  CHECK_THAT(refusal(part("a", "b")), Contains("last boundary is missing"));
  CHECK_THAT(refusal("--XX\r\n\r\nx\r\n--XX--"), Contains("headers do not end"));
  CHECK_THAT(refusal("--XXY\r\n"), Contains("followed by something else"));
  CHECK_THAT(refusal("--XX\n\nx\n--XX--"), Contains("followed by something else"));
  CHECK_THAT(refusal("--XX\r\nno header\r\n\r\nx\r\n--XX--"), Contains("header is malformed"));
  CHECK_THAT(refusal("--XX\r\na: b\nc: d\r\n\r\nx\r\n--XX--"), Contains("header is malformed"));
  CHECK_THAT(refusal("--XX\r\na: b\r\n\r\nx\r\n--XX--"), Contains("no content-disposition"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: attachment; name=a\r\n\r\nx\r\n--XX--"), Contains("not form-data"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data; name=\"a\r\n\r\nx\r\n--XX--"), Contains("malformed"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data\r\n\r\nx\r\n--XX--"), Contains("needs a name"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b\r\n\r\n"
                     "x\r\n--XX--"),
             Contains("two content-disposition"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data; name=a\r\ncontent-transfer-encoding: base64\r\n\r\n"
                     "eA==\r\n--XX--"),
             Contains("content-transfer-encoding"));
  CHECK_THAT(refusal(part(std::string(65, 'n'), "x") + "--XX--"), Contains("at most 64"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data; name=a; filename=\"" + std::string(256, 'f') +
                     "\"\r\n\r\nx\r\n--XX--"),
             Contains("at most 255"));
  CHECK_THAT(refusal("--XX\r\ncontent-disposition: form-data; name=\"\xff\"\r\n\r\nx\r\n--XX--"), Contains("UTF-8"));
  CHECK_THAT(refusal("--XX\r\na: " + std::string(5000, 'x') + "\r\n\r\nx\r\n--XX--"), Contains("within 4096 bytes"));
  std::string many;
  for (int i = 0; i < 17; ++i) {
    many += part("a", "b");
  }
  CHECK_THAT(refusal(many + "--XX--"), Contains("more than 16 parts"));
}

TEST_CASE("a form cut off at any byte is refused, not misread", "[multipart]") {
  const std::string body = part("purpose", "batch") + part("file", "line\r\n") + "--XX--";
  for (std::size_t cut = 0; cut < body.size() - 1; ++cut) {
    CHECK_FALSE(parse_form(kType, std::string_view(body).substr(0, cut)).ok());
  }
  CHECK(parse(body)[1].content == "line\r\n");
}

}  // namespace coppice::server
