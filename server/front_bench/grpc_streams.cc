// Many chats over gRPC on one thread, over connections that they share, as a router's are.
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "coppice/v1/inference.grpc.pb.h"
#include "server/front_bench/front_bench.h"

namespace coppice::server {
namespace {

constexpr std::chrono::seconds kConnectPatience{5};  // on loopback it takes a millisecond
constexpr std::int32_t kStreamsPerConnection = 100;  // what a client may have at once by default on most servers

// The chat of one stream. Owner: run_grpc_streams(). Its address is the tag of its operations.
struct GrpcStream {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateResponse>> reader;
  std::int32_t number = 0;
  std::int32_t received = 0;
  bool is_finishing = false;
  grpc::Status status;
};

void start(GrpcStream& stream, v1::Inference::Stub& stub, FrontBoard& board, grpc::CompletionQueue& queue) {
  v1::ChatRequest request;
  request.set_model("stub");
  v1::ChatMessage& message = *request.add_messages();
  message.set_role("user");
  message.set_content("Tell me.");
  request.mutable_sampling()->set_seed(stream.number);
  request.mutable_sampling()->set_max_tokens(board.tokens());
  board.asked(stream.number) = FrontBoard::now();
  stream.reader = stub.AsyncChat(&stream.context, request, &queue, &stream);
}

// After an operation of the stream. False: it has ended.
bool go_on(GrpcStream& stream, bool ok, FrontBoard& board) {
  if (stream.is_finishing) {
    return false;
  }
  const std::int64_t now = FrontBoard::now();
  for (std::size_t i = 0; i < stream.response.text().size() && stream.received < board.tokens(); ++i) {
    board.received(stream.number, stream.received++) = now;
  }
  stream.response.Clear();
  if (ok) {
    stream.reader->Read(&stream.response, &stream);
  } else {
    stream.is_finishing = true;
    stream.reader->Finish(&stream.status, &stream);
  }
  return true;
}

}  // namespace

void run_grpc_streams(const FrontBenchOptions& options, FrontBoard& board, std::int64_t deadline) {
  while (board.port() == 0) {
    usleep(1000);
  }
  if (board.port() < 0) {
    return;
  }
  const std::int32_t connections = options.connections > 0
                                       ? options.connections
                                       : (options.streams + kStreamsPerConnection - 1) / kStreamsPerConnection;
  std::vector<std::unique_ptr<v1::Inference::Stub>> stubs;
  for (std::int32_t i = 0; i < connections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all channels share one connection
    stubs.push_back(v1::Inference::NewStub(grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", board.port().load()),
                                                                     grpc::InsecureChannelCredentials(), arguments)));
  }
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<GrpcStream>> streams;
  const std::int64_t begin = FrontBoard::now();
  std::int32_t ended = 0;
  while (ended < options.streams && FrontBoard::now() < deadline) {
    const double due = static_cast<double>(FrontBoard::now() - begin) * 1e-9 / options.ramp_s * options.streams;
    while (static_cast<std::int32_t>(streams.size()) < options.streams && static_cast<double>(streams.size()) <= due) {
      streams.push_back(std::make_unique<GrpcStream>());
      streams.back()->number = static_cast<std::int32_t>(streams.size()) - 1;
      start(*streams.back(), *stubs[streams.size() % stubs.size()], board, queue);
    }
    void* tag = nullptr;
    bool ok = false;
    const auto soon = std::chrono::system_clock::now() + std::chrono::milliseconds(1);
    if (queue.AsyncNext(&tag, &ok, soon) == grpc::CompletionQueue::GOT_EVENT) {
      auto& stream = *static_cast<GrpcStream*>(tag);
      if (!go_on(stream, ok, board)) {
        board.failures() += stream.status.ok() && stream.received == board.tokens() ? 0 : 1;
        ++ended;
      }
    }
  }
  board.failures() += options.streams - ended;
}

}  // namespace coppice::server
