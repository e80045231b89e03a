#include "control/auth/revocation.hpp"

#include <algorithm>
#include <utility>

#include "control/crypto/hash.hpp"

namespace culvert::control::auth {

using crypto::Certificate;
using crypto::Refusal;
using crypto::Status;

/// One path on its way. Each certificate has its sources: files, responders, lists.
struct Revocation::Job {
  std::vector<Certificate> path;
  TrustPtr trust;
  Done done;
  crypto::WallTime deadline;
  std::size_t at = 0;  ///< of `path`: asked about now
  bool files_asked = false;
  std::deque<std::string> responders, lists;
  std::vector<crypto::RevocationList> sent{};  ///< by the peer
  bool sent_asked = false;
  std::string why = "the certificate names no place to ask, and no revocation list is configured";  ///< of the last source
  bool named = false;                                                                               ///< whether there was any source

  [[nodiscard]] const Certificate& certificate() const { return path[at]; }
  [[nodiscard]] const Certificate& issuer() const { return path[at + 1]; }
};

Revocation::Revocation(Hooks hooks) : hooks_(std::move(hooks)) {}
Revocation::~Revocation() = default;

void Revocation::check(std::vector<Certificate> path, TrustPtr trust, Done done, std::vector<crypto::RevocationList> sent) {
  auto job = std::make_shared<Job>();
  job->path = std::move(path);
  job->trust = std::move(trust);
  job->done = std::move(done);
  job->sent = std::move(sent);
  job->deadline = hooks_.now() + kPatience;
  hooks_.post([this, job] { advance(job); });
}

/// The next source of the certificate that is asked about, or the verdict about it.
void Revocation::advance(const JobPtr& job) {
  if (job->at + 1 >= job->path.size()) return finish(job, std::nullopt);
  if (!job->files_asked) return ask_files(job);
  if (hooks_.now() > job->deadline) {
    job->why = "the answers took too long";
    return conclude(job);
  }
  if (!job->responders.empty()) return ask_responder(job, job->responders.front());
  if (!job->lists.empty()) return ask_list(job, job->lists.front());
  if (!ask_sent(job)) conclude(job);
}

/// The lists that the peer sent, once for each certificate. False: there is none to ask.
bool Revocation::ask_sent(const JobPtr& job) {
  const bool fits = std::ranges::any_of(job->sent, [&](const auto& list) { return list.issuer() == job->issuer().subject(); });
  if (job->sent_asked || !fits) return false;
  job->sent_asked = true;
  ask_lists(job, job->sent);
  return true;
}

void Revocation::ask_lists(const JobPtr& job, std::vector<crypto::RevocationList> lists) {
  compute<Status>([lists = std::move(lists), trust = job->trust, certificate = job->certificate(), issuer = job->issuer(),
                   now = hooks_.now()] { return crypto::status_by_lists(certificate, issuer, lists, now, trust->strength); },
                  [this, job](Status status) { judge(job, std::move(status)); }, gives_up(job));
}

void Revocation::ask_files(const JobPtr& job) {
  job->files_asked = true;
  for (auto& url : crypto::ocsp_places(job->certificate())) job->responders.push_back(std::move(url));
  for (auto& url : crypto::list_places(job->certificate())) job->lists.push_back(std::move(url));
  const auto& files = job->trust->lists;
  const bool ours = std::ranges::any_of(files, [&](const auto& list) { return list.issuer() == job->issuer().subject(); });
  job->named = ours || !job->responders.empty() || !job->lists.empty();
  if (!ours) return advance(job);
  ask_lists(job, job->trust->lists);
}

void Revocation::ask_responder(const JobPtr& job, const std::string& url) {
  const std::string key = url + " " + to_hex(job->issuer().subject()) + " " + job->certificate().serial();
  const auto* answer = kept(answers_, key);
  const auto* failure = kept(failures_, key);
  if (answer != nullptr || failure != nullptr) {
    job->responders.pop_front();
    return judge(job, answer != nullptr ? *answer : Status{Status::Kind::Unknown, std::nullopt, *failure});
  }
  Bytes nonce(crypto::kOcspNonce);
  crypto::random(nonce);
  Fetch question{url, "application/ocsp-request", crypto::ocsp_request(job->certificate(), job->issuer(), nonce), crypto::kMaxOcspAnswer};
  obtain(job, key, std::move(question), [this, job, key, nonce](Bytes body) {
    compute<Status>([certificate = job->certificate(), issuer = job->issuer(), nonce, body = std::move(body),
                     now = hooks_.now()] { return crypto::status_by_ocsp(certificate, issuer, nonce, body, now); },
                    [this, key](Status status) {
                      if (status.kind == Status::Kind::Unknown) {
                        failed(key, status.detail);
                      } else {
                        const auto until = status.until.value_or(hooks_.now() + kAnswerHolds);
                        keep(answers_, key, std::move(status), std::max(until, hooks_.now() + kFailureHolds));
                      }
                      wake(key);
                    },
                    fails(key));
  });
}

void Revocation::ask_list(const JobPtr& job, const std::string& url) {
  if (const auto* failure = kept(failures_, url)) {
    job->lists.pop_front();
    return judge(job, {Status::Kind::Unknown, std::nullopt, *failure});
  }
  if (const auto* list = kept(lists_, url)) {
    job->lists.pop_front();
    return ask_lists(job, {*list});
  }
  using Read = std::expected<crypto::RevocationList, std::string>;
  obtain(job, url, Fetch{url, {}, {}, crypto::kMaxList}, [this, url](Bytes body) {
    compute<Read>([body = std::move(body)] { return crypto::RevocationList::read(body); },
                  [this, url](Read list) {
                    const auto now = hooks_.now();
                    if (!list) {
                      failed(url, "what " + url + " has is no revocation list: " + list.error());
                    } else if (const auto next = list->next_update(); next && *next <= now) {
                      failed(url, "the revocation list at " + url + " is outdated since " + crypto::shown(*next));
                    } else {
                      keep(lists_, url, std::move(*list), std::min(next.value_or(now + kListHolds), now + kListHolds));
                    }
                    wake(url);
                  },
                  fails(url));
  });
}

void Revocation::judge(const JobPtr& job, Status status) {
  if (status.kind == Status::Kind::Revoked)
    return finish(job, Refusal{ike::Reason::CertRevoked, crypto::described(job->certificate()) + " is revoked " + status.detail});
  if (status.kind == Status::Kind::Unknown) {
    job->why = std::move(status.detail);
    return advance(job);
  }
  ++job->at;
  job->files_asked = false;
  job->responders.clear();
  job->lists.clear();
  job->sent_asked = false;
  advance(job);
}

/// No source had an answer.
void Revocation::conclude(const JobPtr& job) {
  if (job->trust->revocation == config::Revocation::Strict || job->named)
    return finish(job, Refusal{ike::Reason::CertRevoked,
                               "whether " + crypto::described(job->certificate()) + " is revoked could not be learnt: " + job->why});
  judge(job, {Status::Kind::Good, std::nullopt, {}});
}

void Revocation::finish(const JobPtr& job, std::optional<Refusal> refusal) {
  if (auto done = std::exchange(job->done, {})) done(std::move(refusal));
}

template <class T>
void Revocation::compute(std::function<T()> work, std::function<void(T)> then, std::function<void(std::string)> otherwise) {
  const bool taken = hooks_.compute([this, work = std::move(work), then = std::move(then), otherwise] {
    try {
      hooks_.post([then, value = std::make_shared<T>(work())] { then(std::move(*value)); });
    } catch (const std::exception& e) {
      hooks_.post([otherwise, what = std::string(e.what())] { otherwise(what); });
    }
  });
  if (!taken) hooks_.post([otherwise = std::move(otherwise)] { otherwise("too many computations wait already"); });
}

std::function<void(std::string)> Revocation::gives_up(const JobPtr& job) {
  return [this, job](const std::string& why) { finish(job, Refusal{ike::Reason::Limit, why}); };
}
std::function<void(std::string)> Revocation::fails(const std::string& key) {
  return [this, key](const std::string& why) {
    failed(key, why);
    wake(key);
  };
}

void Revocation::obtain(const JobPtr& job, const std::string& key, Fetch what, std::function<void(Bytes)> use) {
  const auto [waiting, first] = waiting_.try_emplace(key);
  waiting->second.push_back(job);
  if (!first) return;
  if (waiting_.size() > kMaxFetches) {
    failed(key, "too many questions are under way already");
    return hooks_.post([this, key] { wake(key); });
  }
  const std::string url = what.url;
  hooks_.fetch(std::move(what), [this, key, url, use = std::move(use)](std::expected<Bytes, std::string>&& body) {
    if (body) return use(std::move(*body));
    failed(key, url + ": " + body.error());
    wake(key);
  });
}

void Revocation::failed(const std::string& key, std::string why) { keep(failures_, key, std::move(why), hooks_.now() + kFailureHolds); }

void Revocation::wake(const std::string& key) {
  const auto waiting = waiting_.extract(key);
  if (waiting.empty()) return;
  for (const JobPtr& job : waiting.mapped()) advance(job);
}

template <class T>
void Revocation::keep(Table<T>& table, const std::string& key, T value, crypto::WallTime until) {
  if (table.size() >= kMaxKept && !table.contains(key))
    table.erase(std::ranges::min_element(table, {}, [](const auto& entry) { return entry.second.until; }));
  table.insert_or_assign(key, Kept<T>{std::move(value), until});
}

template <class T>
const T* Revocation::kept(Table<T>& table, const std::string& key) {
  const auto it = table.find(key);
  if (it == table.end()) return nullptr;
  if (it->second.until > hooks_.now()) return &it->second.value;
  table.erase(it);
  return nullptr;
}

}  // namespace culvert::control::auth
