// One exchange after the other until an answer is no redirect.
#include "server/hub/follow.h"

#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/hub/hub_name.h"

namespace coppice::server {
namespace {

constexpr int kRedirectsMost = 8;  // the Hub uses two

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

absl::StatusOr<HttpsReply> follow(const HttpsClient& client, const FollowRequest& request,
                                  const HttpsClient::OnHead& on_head, const HttpsClient::OnBody& on_body) {
  Url url = request.url;
  for (int redirects = 0; redirects <= kRedirectsMost; ++redirects) {
    HttpsRequest ask{.url = url, .is_head = request.is_head, .headers = request.headers};
    if (!request.token.empty() && url.has_same_origin(request.url)) {
      ask.headers.emplace_back("Authorization", "Bearer " + request.token);
    }
    std::optional<Url> next;
    bool leads_on = false;
    const auto see_head = [&](const HttpsReply& reply) {
      if (is_redirect(reply.status)) {
        next = resolve_url(url, reply.header("location"));
        leads_on = !(request.stays && next.has_value() && !next->has_same_origin(url));
      }
      return leads_on ? absl::OkStatus() : on_head(reply);
    };
    COPPICE_ASSIGN_OR_RETURN(HttpsReply reply, client.exchange(ask, see_head, on_body));
    if (!leads_on) {
      return reply;
    }
    if (!next.has_value() || (url.is_tls && !next->is_tls)) {
      return absl::InvalidArgumentError(fmt::format("{} redirects to \"{}\", which is not followed", url.host_header(),
                                                    printable(reply.header("location"))));
    }
    url = *next;
  }
  return absl::InvalidArgumentError(
      fmt::format("{} redirects more than {} times", request.url.host_header(), kRedirectsMost));
}

}  // namespace coppice::server
