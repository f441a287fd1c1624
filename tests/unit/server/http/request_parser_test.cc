// Where a request ends and what its header may say, whole and in pieces.
#include "server/http/request_parser.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

namespace coppice::server {
namespace {

ParserLimits small_limits() {
  ParserLimits limits;
  limits.header_bytes_max = 1000;
  limits.header_fields_max = 10;
  limits.body_bytes_max = 100;
  return limits;
}

// What came of `bytes`, fed in pieces of `piece` bytes.
struct Outcome {
  int status = 0;  // 0: more is needed; 200: a request
  HttpRequest request;
  std::size_t used = 0;
};

Outcome parse(const std::string& bytes, std::size_t piece = 1'000'000) {
  RequestParser parser(small_limits());
  Outcome outcome;
  std::string inbox;
  std::size_t fed = 0;
  while (fed < bytes.size() && !parser.done() && !parser.error()) {
    const std::size_t count = std::min(piece, bytes.size() - fed);
    inbox += bytes.substr(fed, count);
    fed += count;
    const std::size_t used = parser.feed(inbox);
    outcome.used += used;
    inbox.erase(0, used);
  }
  if (parser.error()) {
    outcome.status = parser.error()->status;
  } else if (parser.done()) {
    outcome.status = 200;
    outcome.request = parser.take();
  }
  return outcome;
}

const std::string kHead = "POST /a HTTP/1.1\r\nhost: x\r\n";
const std::string kChunked = kHead + "transfer-encoding: chunked\r\n\r\n";

TEST_CASE("a request ends where it ends, in whatever pieces it comes") {
  const std::string requests[] = {
      "GET /a HTTP/1.1\r\nhost: x\r\n\r\n",
      kHead + "content-length: 5\r\n\r\nhello",
      kChunked + "5\r\nhello\r\n0\r\n\r\n",
      kChunked + "2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nx-a: b\r\n\r\n",
      "GET /a HTTP/1.0\r\n\r\n",
  };
  for (const std::string& request : requests) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
      INFO(request << " in pieces of " << piece);
      const Outcome outcome = parse(request + "GET /next", piece);
      CHECK(outcome.status == 200);
      CHECK(outcome.used == request.size());
      CHECK((outcome.request.body == "hello" || outcome.request.method == "GET"));
      for (std::size_t cut = 1; cut < request.size(); ++cut) {
        REQUIRE(parse(request.substr(0, cut), piece).status == 0);
      }
    }
  }
}

TEST_CASE("trailers never become headers") {
  const Outcome outcome = parse(kChunked + "1\r\nx\r\n0\r\nauthorization: Bearer k\r\nhost: y\r\n\r\n");
  REQUIRE(outcome.status == 200);
  CHECK(outcome.request.header("authorization").empty());
  CHECK(outcome.request.header("host") == "x");
  CHECK(outcome.request.headers.size() == 2);
}

struct Row {
  int status;
  std::string bytes;
};

TEST_CASE("bodies whose end is a matter of opinion, and other refusals") {
  const Row rows[] = {
      {400, kHead + "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {400, kHead + "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, kHead + "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, kHead + "transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n"},
      {400, kHead + "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"},
      {400, kHead + "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "POST /a HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n"},
      {400, "GET /a HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\nhost: x/y\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\nhost: u@x\r\n\r\n"},
      {400, "GET http:///a HTTP/1.1\r\nhost: x\r\n\r\n"},
      {400, "GET http://u@x/a HTTP/1.1\r\nhost: x\r\n\r\n"},
      {415, kHead + "content-encoding: gzip\r\ncontent-length: 3\r\n\r\n"},
      {431, kHead + "a: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n"},
      {431, kHead + "a: " + std::string(1000, 'b') + "\r\n\r\n"},
      {413, kHead + "content-length: 101\r\n\r\n"},
      {413, kChunked + "65\r\n"},
      {413, kChunked + "ffffffffffffffff\r\n"},
      {413, kChunked + "fffffffffffffffff\r\n"},
      {413, kChunked + "60\r\n" + std::string(0x60, 'x') + "\r\n5\r\n"},
      {400, kChunked + "\r\n"},
      {400, kChunked + "g\r\n"},
      {400, kChunked + "-1\r\n"},
      {400, kChunked + "0x1\r\n"},
      {400, kChunked + "1 \r\nx\r\n"},
      {400, kChunked + "1\nx\r\n"},
      {400, kChunked + "1\r\nxy\r\n"},
      {400, kChunked + "1\r\nx\n"},
      {400, kChunked + "1;" + std::string(5000, 'a')},
      {400, kChunked + "0\r\n x: y\r\n\r\n"},
      {400, kChunked + "0\r\nx\r\n\r\n"},
      {400, kChunked + "0\r\n: y\r\n\r\n"},
      {431, kChunked + "0\r\nx: " + std::string(1000, 'y')},
  };
  for (const Row& row : rows) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{1000000}}) {
      INFO(row.bytes.substr(0, 200) << " in pieces of " << piece);
      CHECK(parse(row.bytes, piece).status == row.status);
    }
  }
}

TEST_CASE("a whole URL as target is its path at its host") {
  const Outcome outcome = parse("GET http://y:80/a?b HTTP/1.1\r\nhost: x\r\n\r\n");
  REQUIRE(outcome.status == 200);
  CHECK(outcome.request.target == "/a?b");
  CHECK(outcome.request.header("host") == "y:80");
  CHECK(parse("GET http://y HTTP/1.1\r\nhost: x\r\n\r\n").request.target == "/");
  CHECK(parse("GET http HTTP/1.1\r\nhost: x\r\n\r\n").request.target == "http");
  CHECK(parse("GET HTTPS://y?q HTTP/1.1\r\nhost: x\r\n\r\n").request.target == "/?q");
}

}  // namespace
}  // namespace coppice::server
