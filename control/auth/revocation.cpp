#include "control/auth/revocation.hpp"

#include <algorithm>
#include <utility>

#include "common/dn.hpp"
#include "control/crypto/hash.hpp"

namespace culvert::control::auth {

using crypto::Certificate;
using crypto::Refusal;
using crypto::Status;

/// Where to ask: a responder, or a list.
struct Revocation::Place {
  bool responder = false;
  std::string url;
};

/// One path on its way. Each certificate has its sources: files, then places, then what the peer has sent.
struct Revocation::Job {
  std::vector<Certificate> path;
  TrustPtr trust;
  Done done;
  crypto::WallTime deadline;
  std::size_t at = 0;  ///< of `path`: asked about now
  bool files_asked = false;
  std::deque<Place> places;
  std::vector<crypto::RevocationList> sent{};  ///< by the peer
  bool sent_asked = false;
  std::string why = "the certificate names no place to ask, and no revocation list is configured";  ///< of the last source
  bool named = false;                                                                               ///< whether there was any source

  [[nodiscard]] const Certificate& certificate() const { return path[at]; }
  [[nodiscard]] const Certificate& issuer() const { return path[at + 1]; }
};

namespace {
bool of_issuer(const crypto::RevocationList& list, ByteView issuer) { return same_name(list.issuer(), issuer); }
constexpr const char* kTooMany = "too many questions are under way already";
constexpr const char* kNoIssuer = "its issuer is none of remote.cacerts";
Status unknown(std::string why) { return {Status::Kind::Unknown, std::nullopt, std::move(why)}; }
}  // namespace

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
  if (job->path.size() == 1) return ask_alone(job);
  if (job->at + 1 >= job->path.size()) return finish(job, std::nullopt);
  if (!job->files_asked) return ask_files(job);
  if (hooks_.now() > job->deadline) {
    job->why = "the answers took too long";
    return conclude(job);
  }
  if (!job->places.empty()) return job->places.front().responder ? ask_responder(job) : ask_list(job);
  if (!ask_sent(job)) conclude(job);
}

/// The lists that the peer sent, once for each certificate. False: there is none to ask.
bool Revocation::ask_sent(const JobPtr& job) {
  const bool fits = std::ranges::any_of(job->sent, [&](const auto& list) { return of_issuer(list, job->issuer().subject()); });
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

/// What the configured lists say; nullopt: none is of this issuer.
using Filed = std::expected<std::optional<Status>, std::string>;

void Revocation::ask_files(const JobPtr& job) {
  job->files_asked = true;
  for (auto& url : crypto::ocsp_places(job->certificate())) job->places.push_back({true, std::move(url)});
  for (auto& url : crypto::list_places(job->certificate())) job->places.push_back({false, std::move(url)});
  job->named = !job->places.empty();
  if (!job->trust->lists) return advance(job);
  compute<Filed>(
      [trust = job->trust, certificate = job->certificate(), issuer = job->issuer(), now = hooks_.now()]() -> Filed {
        const auto lists = trust->lists();
        if (!lists) return std::unexpected(lists.error());
        if (std::ranges::none_of(**lists, [&](const auto& list) { return of_issuer(list, issuer.subject()); })) return std::nullopt;
        return crypto::status_by_lists(certificate, issuer, **lists, now, trust->strength);
      },
      [this, job](const Filed& filed) {
        if (!filed) return refuse(job, filed.error());
        if (!*filed) return advance(job);
        job->named = true;
        judge(job, Status(**filed));
      },
      gives_up(job));
}

/// A certificate that is trusted without its issuer, which is not known: nothing proves what a list or a responder says of it.
void Revocation::ask_alone(const JobPtr& job) {
  if (job->trust->revocation == config::Revocation::Strict) return refuse(job, kNoIssuer);
  if (!job->trust->lists) return finish(job, std::nullopt);
  compute<std::string>(
      [trust = job->trust, certificate = job->certificate()] {
        const auto lists = trust->lists();
        if (!lists) return lists.error();
        const bool named = std::ranges::any_of(**lists, [&](const auto& list) { return of_issuer(list, certificate.issuer()); });
        return std::string(named ? kNoIssuer : "");
      },
      [this, job](const std::string& problem) { return problem.empty() ? finish(job, std::nullopt) : refuse(job, problem); },
      gives_up(job));
}

/// Of a place, and of the one whose word is asked for there.
std::string Revocation::key_of(const Job& job) {
  return job.places.front().url + " " + to_hex(crypto::digest(Prf::HmacSha2_256, {job.issuer().der()})) +
         (job.trust->strength.sha1 ? " sha1" : "");
}

void Revocation::ask_responder(const JobPtr& job) {
  const std::string url = job->places.front().url, key = key_of(*job) + " " + job->certificate().serial();
  if (const auto* answer = kept(answers_, key)) return pass_over(job, *answer);
  if (const auto* failure = kept(failures_, key)) return pass_over(job, unknown(*failure));
  Bytes nonce(crypto::kOcspNonce);
  crypto::random(nonce);
  Fetch question{url, "application/ocsp-request", crypto::ocsp_request(job->certificate(), job->issuer(), nonce), crypto::kMaxOcspAnswer};
  obtain(job, key, std::move(question),
         [this, key, nonce, certificate = job->certificate(), issuer = job->issuer(), strength = job->trust->strength](Bytes body) {
           compute<Status>([=, body = std::move(body),
                            now = hooks_.now()] { return crypto::status_by_ocsp(certificate, issuer, nonce, body, now, strength); },
                           [this, key](Status status) {
                             if (status.kind == Status::Kind::Unknown) return failed(key, status.detail);
                             const auto now = hooks_.now();
                             const auto until = std::min(status.until.value_or(now + kAnswerHolds), now + kMostAnswerHolds);
                             keep(answers_, key, std::move(status), std::max(until, now + kFailureHolds));
                             wake(key);
                           },
                           gives_up(key));
         });
}

void Revocation::ask_list(const JobPtr& job) {
  const std::string url = job->places.front().url, key = key_of(*job);
  if (const auto* failure = kept(failures_, key)) return pass_over(job, unknown(*failure));
  if (const auto* list = kept(lists_, key)) {
    job->places.pop_front();
    return ask_lists(job, {*list});
  }
  using Read = std::expected<crypto::RevocationList, std::string>;
  obtain(job, key, Fetch{url, {}, {}, crypto::kMaxList},
         [this, key, url, issuer = job->issuer(), strength = job->trust->strength](Bytes body) {
           compute<Read>(
               [=, body = std::move(body), now = hooks_.now()]() -> Read {
                 auto list = crypto::RevocationList::read(body);
                 if (!list) return std::unexpected("what " + url + " has is no revocation list: " + list.error());
                 if (const auto next = list->next_update(); next && *next <= now)
                   return std::unexpected("the revocation list at " + url + " is outdated since " + crypto::shown(*next));
                 if (auto flaw = crypto::unproven(*list, issuer, strength)) return std::unexpected(std::move(*flaw));
                 return list;
               },
               [this, key](Read list) {
                 if (!list) return failed(key, list.error());
                 const auto now = hooks_.now();
                 const auto until = std::min(list->next_update().value_or(now + kListHolds), now + kListHolds);
                 keep(lists_, key, std::move(*list), until);
                 wake(key);
               },
               gives_up(key));
         });
}

/// What the place that was asked has said.
void Revocation::pass_over(const JobPtr& job, Status status) {
  job->places.pop_front();
  judge(job, std::move(status));
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
  job->places.clear();
  job->sent_asked = false;
  advance(job);
}

/// No source had an answer.
void Revocation::conclude(const JobPtr& job) {
  if (job->trust->revocation == config::Revocation::Strict || job->named) return refuse(job, job->why);
  judge(job, {Status::Kind::Good, std::nullopt, {}});
}

void Revocation::refuse(const JobPtr& job, const std::string& why) {
  finish(job,
         Refusal{ike::Reason::CertRevoked, "whether " + crypto::described(job->certificate()) + " is revoked could not be learnt: " + why});
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
/// A limit of our own is no failure of the place: those who wait pass it over, others may ask it.
void Revocation::give_up(const std::string& key, const std::string& why) {
  const auto waiting = waiting_.extract(key);
  for (const JobPtr& job : waiting.mapped()) pass_over(job, unknown(why));
  hooks_.post([this] { next_question(); });
}
std::function<void(std::string)> Revocation::gives_up(const std::string& key) {
  return [this, key](const std::string& why) { give_up(key, why); };
}

void Revocation::obtain(const JobPtr& job, const std::string& key, Fetch what, std::function<void(Bytes)> use) {
  if (const auto waiting = waiting_.find(key); waiting != waiting_.end()) return waiting->second.push_back(job);
  if (waiting_.size() >= kMaxFetches + kMaxQueued) return pass_over(job, unknown(kTooMany));
  waiting_[key].push_back(job);
  queue_.push_back({key, std::move(what), std::move(use), hooks_.now()});
  hooks_.post([this] { next_question(); });
}

/// Asks what waits, as many at a time as are allowed. What has waited too long is not asked.
void Revocation::next_question() {
  while (!queue_.empty() && waiting_.size() - queue_.size() < kMaxFetches) {
    Question q = std::move(queue_.front());
    queue_.pop_front();
    if (hooks_.now() > q.since + kQueueHolds) {
      give_up(q.key, kTooMany);
      continue;
    }
    const std::string url = q.what.url;
    hooks_.fetch(std::move(q.what), [this, key = q.key, url, use = std::move(q.use)](std::expected<Bytes, std::string>&& body) {
      if (body) return use(std::move(*body));
      failed(key, url + ": " + body.error());
    });
  }
}

void Revocation::failed(const std::string& key, std::string why) {
  keep(failures_, key, std::move(why), hooks_.now() + kFailureHolds);
  wake(key);
}

void Revocation::wake(const std::string& key) {
  const auto waiting = waiting_.extract(key);
  for (const JobPtr& job : waiting.mapped()) advance(job);
  hooks_.post([this] { next_question(); });
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
