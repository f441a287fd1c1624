// An exchange that follows redirects, and keeps secrets from the hosts it is led to.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/hub/https_client.h"

namespace coppice::server {

struct FollowRequest {
  Url url;
  bool is_head = false;
  bool stays = false;  // a redirect to another host is the answer
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string token = {};  // sent as a bearer to url's scheme, host and port alone; "" = none
};

// `on_head` sees the last answer alone. ERRORS: as HttpsClient::exchange(); InvalidArgument for redirects without end,
// to no address, or from https to http.
absl::StatusOr<HttpsReply> follow(const HttpsClient& client, const FollowRequest& request,
                                  const HttpsClient::OnHead& on_head, const HttpsClient::OnBody& on_body);

}  // namespace coppice::server
