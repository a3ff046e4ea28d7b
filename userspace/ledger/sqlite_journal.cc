#include "userspace/ledger/schema.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

// The latest moment that anything was ever written down for. For usage, the newest row says what to
// look at: whatever was settled after it has started less than two days before that, or is in
// usage_ahead (schema.cc), so that two short searches replace one of the whole table.
constexpr const char* kLatest = R"sql(
  SELECT max(window_ms) FROM (
    SELECT ?1 AS window_ms
    UNION ALL SELECT max(window_ms) FROM clock
    UNION ALL SELECT max(made_window_ms) FROM adjustment
    UNION ALL SELECT max(settled_window_ms) FROM usage INDEXED BY usage_ahead
      WHERE settled_window_ms > started_unix_ms + 172800000
    UNION ALL SELECT max(settled_window_ms) FROM usage INDEXED BY usage_by_time
      WHERE started_unix_ms >= -172800000 +
        (SELECT settled_window_ms FROM usage ORDER BY started_unix_ms DESC LIMIT 1)
  )
)sql";

class SqliteJournal : public Journal {
 public:
  explicit SqliteJournal(Database db) : db_(std::move(db)) {}

  Result<int64_t> add(const Adjustment& adjustment) override {
    auto insert = db_.prepare(
        "INSERT INTO adjustment (kind, scope, subject, unit, amount, made_unix_ms, made_window_ms,"
        " expires_window_ms, uid, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    if (!insert) return std::move(insert).forward();
    const bool grant = adjustment.kind == Adjustment::Kind::grant;
    insert->bind(1, std::string_view(grant ? "grant" : "reset"));
    insert->bind(2, std::string_view(adjustment.scope));
    insert->bind(3, std::string_view(adjustment.subject));
    insert->bind(4, std::string_view(adjustment.unit));
    insert->bind(5, adjustment.amount);
    insert->bind(6, adjustment.made_unix_ms);
    insert->bind(7, adjustment.made_window_ms);
    insert->bind(8, adjustment.expires_window_ms);
    insert->bind(9, int64_t{adjustment.uid});
    insert->bind(10, std::string_view(adjustment.reason));
    if (auto added = insert->run(); !added) return std::move(added).forward();
    return int64_t{::sqlite3_last_insert_rowid(db_.handle())};
  }

  Result<std::vector<Adjustment>> adjustments(int64_t since_window_ms) override {
    auto statement = db_.prepare(
        "SELECT id, kind, scope, subject, unit, amount, made_unix_ms, made_window_ms,"
        " expires_window_ms, uid, reason FROM adjustment WHERE made_window_ms >= ?1 ORDER BY id");
    if (!statement) return std::move(statement).forward();
    statement->bind(1, since_window_ms);
    std::vector<Adjustment> found;
    for (;;) {
      auto row = statement->step();
      if (!row) return std::move(row).forward();
      if (!*row) return found;
      auto adjustment = read_adjustment(*statement);
      if (!adjustment) return std::move(adjustment).forward();
      found.push_back(std::move(*adjustment));
    }
  }

  Status revoke(const Revocation& revocation) override {
    auto insert = db_.prepare(
        "INSERT OR REPLACE INTO revocation (scope, subject, made_unix_ms, uid, reason)"
        " VALUES (?1, ?2, ?3, ?4, ?5)");
    if (!insert) return std::move(insert).forward();
    insert->bind(1, std::string_view(revocation.scope));
    insert->bind(2, std::string_view(revocation.subject));
    insert->bind(3, revocation.made_unix_ms);
    insert->bind(4, int64_t{revocation.uid});
    insert->bind(5, std::string_view(revocation.reason));
    return insert->run();
  }

  Status restore(const std::string& scope, const std::string& subject) override {
    auto remove = db_.prepare("DELETE FROM revocation WHERE scope = ?1 AND subject = ?2");
    if (!remove) return std::move(remove).forward();
    remove->bind(1, std::string_view(scope));
    remove->bind(2, std::string_view(subject));
    return remove->run();
  }

  Result<std::vector<Revocation>> revocations() override {
    auto statement = db_.prepare(
        "SELECT scope, subject, made_unix_ms, uid, reason FROM revocation"
        " ORDER BY made_unix_ms, subject");
    if (!statement) return std::move(statement).forward();
    std::vector<Revocation> found;
    for (;;) {
      auto row = statement->step();
      if (!row) return std::move(row).forward();
      if (!*row) return found;
      found.push_back({.scope = std::string(statement->text(0)),
                       .subject = std::string(statement->text(1)),
                       .made_unix_ms = statement->integer(2),
                       .uid = static_cast<uint32_t>(statement->integer(3)),
                       .reason = std::string(statement->text(4))});
    }
  }

  // One transaction from the look to the write; a reader's would have to be upgraded, and that is
  // refused at once when the ledger thread has written in between.
  Result<Anchor> anchored(const std::string& boot_id, int64_t boottime_ms,
                          int64_t wall_unix_ms) override {
    if (auto begun = db_.execute("BEGIN IMMEDIATE"); !begun) return std::move(begun).forward();
    auto anchor = find_anchor(boot_id);
    if (anchor && !*anchor) anchor = make_anchor(boot_id, boottime_ms, wall_unix_ms);
    auto ended = anchor ? db_.execute("COMMIT") : Status();
    if (anchor && ended) return **anchor;
    [[maybe_unused]] const auto rolled_back = db_.execute("ROLLBACK");
    if (!anchor) return std::move(anchor).forward();
    return std::move(ended).forward();
  }

 private:
  static Result<Adjustment> read_adjustment(const Statement& row) {
    Adjustment read;
    read.id = row.integer(0);
    if (row.text(1) == "reset") {
      read.kind = Adjustment::Kind::reset;
    } else if (row.text(1) != "grant") {
      return Error{Fault::system, 0,
                   "read adjustment " + std::to_string(read.id) + ": unknown kind \"" +
                       std::string(row.text(1)) + "\"",
                   "compare with a backup; the file was changed by something else"};
    }
    read.scope = row.text(2);
    read.subject = row.text(3);
    read.unit = row.text(4);
    read.amount = row.integer(5);
    read.made_unix_ms = row.integer(6);
    read.made_window_ms = row.integer(7);
    read.expires_window_ms = row.integer(8);
    read.uid = static_cast<uint32_t>(row.integer(9));
    read.reason = row.text(10);
    return read;
  }

  // A boot without a name could be any: its anchor is made anew each time.
  Result<std::optional<Anchor>> find_anchor(const std::string& boot_id) {
    auto find = db_.prepare("SELECT boottime_ms, window_ms FROM clock WHERE boot_id = ?1");
    if (!find) return std::move(find).forward();
    find->bind(1, std::string_view(boot_id));
    auto row = find->step();
    if (!row) return std::move(row).forward();
    if (!*row || boot_id.empty()) return std::optional<Anchor>();
    return std::optional(Anchor{find->integer(0), find->integer(1)});
  }

  // The earlier boots' rows have had their say in kLatest and go.
  Result<std::optional<Anchor>> make_anchor(const std::string& boot_id, int64_t boottime_ms,
                                            int64_t wall_unix_ms) {
    auto latest = db_.prepare(kLatest);
    if (!latest) return std::move(latest).forward();
    latest->bind(1, wall_unix_ms);
    auto row = latest->step();
    if (!row) return std::move(row).forward();
    const Anchor anchor{boottime_ms, latest->integer(0)};
    latest->reset();
    if (auto cleared = db_.execute("DELETE FROM clock"); !cleared) {
      return std::move(cleared).forward();
    }
    auto insert = db_.prepare(
        "INSERT INTO clock (boot_id, boottime_ms, window_ms)"
        " VALUES (?1, ?2, ?3)");
    if (!insert) return std::move(insert).forward();
    insert->bind(1, std::string_view(boot_id));
    insert->bind(2, anchor.boottime_ms);
    insert->bind(3, anchor.window_ms);
    if (auto added = insert->run(); !added) return std::move(added).forward();
    return std::optional(anchor);
  }

  Database db_;
};

}  // namespace

Result<std::unique_ptr<Journal>> open_sqlite_journal(const std::string& folder) {
  auto db = open_beside_writer(folder);
  if (!db) return std::move(db).forward();
  return std::unique_ptr<Journal>(new SqliteJournal(std::move(*db)));
}

}  // namespace tollgate::ledger
