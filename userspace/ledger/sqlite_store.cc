#include "userspace/ledger/columns.h"
#include "userspace/ledger/schema.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

// The row is there already: the record came before, and is the same.
constexpr const char* kHold =
    "INSERT INTO holds (request_id, record) SELECT ?1, ?2"
    " WHERE NOT EXISTS (SELECT 1 FROM usage WHERE request_id = ?1)"
    " ON CONFLICT (request_id) DO NOTHING";

Error undecodable_hold(const RequestId& id, const std::string& why) {
  return Error{Fault::system, 0, "read open hold " + to_string(id) + ": " + why,
               "start the tollgate that wrote it and stop it cleanly: that settles every hold; or "
               "compare the ledger with a backup"};
}

class SqliteStore : public Store {
 public:
  static Result<std::unique_ptr<Store>> make(Database db) {
    std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(db)));
    const struct {
      Statement& statement;
      std::string sql;
    } rows[] = {{store->begin_, "BEGIN IMMEDIATE"},
                {store->insert_, insert_sql()},
                {store->hold_, kHold},
                {store->resolve_, "DELETE FROM holds WHERE request_id = ?1"},
                {store->commit_, "COMMIT"},
                {store->rollback_, "ROLLBACK"}};
    for (const auto& row : rows) {
      auto prepared = store->db_.prepare(row.sql);
      if (!prepared) return std::move(prepared).forward();
      row.statement = std::move(*prepared);
    }
    return std::unique_ptr<Store>(std::move(store));
  }

  // After a failed sync nothing is synced again and hoped for (a second fsync may lie): the
  // transaction is rolled back, and the next try writes its pages to the WAL anew before it syncs.
  Status append(std::span<const Entry> entries) override {
    if (entries.empty()) return {};
    roll_back();
    auto status = begin_.run();
    for (size_t i = 0; status && i < entries.size(); ++i) {
      status = std::visit([this](const auto& record) { return put(record); }, entries[i]);
    }
    if (status) status = commit_.run();
    if (!status) roll_back();
    return status;
  }

  Result<std::vector<ringbuf::HoldRecord>> open_holds() override {
    auto statement = db_.prepare("SELECT request_id, record FROM holds ORDER BY request_id");
    if (!statement) return std::move(statement).forward();
    std::vector<ringbuf::HoldRecord> holds;
    for (;;) {
      auto row = statement->step();
      if (!row) return std::move(row).forward();
      if (!*row) return holds;
      RequestId id;
      parse_id_bytes(statement->blob(0), id);  // 16 bytes: the table checks it
      auto record = ringbuf::decode(std::as_bytes(statement->blob(1)));
      if (!record) return undecodable_hold(id, record.error().text);
      auto* hold = std::get_if<ringbuf::HoldRecord>(&record->body);
      if (hold == nullptr || hold->request.id != id) {
        return undecodable_hold(id, "another record lies in its place");
      }
      holds.push_back(std::move(*hold));
    }
  }

 private:
  explicit SqliteStore(Database db) : db_(std::move(db)) {}

  Status put(const ringbuf::UsageRecord& record) {
    bind_record(record, scratch_, insert_);
    if (auto inserted = insert_.run(); !inserted) return inserted;
    resolve_.bind(1, std::span<const uint8_t>(scratch_.id));
    return resolve_.run();
  }

  Status put(const ringbuf::HoldRecord& record) {
    scratch_.id = id_bytes(record.request.id);
    hold_bytes_.clear();
    ringbuf::encode({0, record}, hold_bytes_);
    hold_.bind(1, std::span<const uint8_t>(scratch_.id));
    hold_.bind(2, {reinterpret_cast<const uint8_t*>(hold_bytes_.data()), hold_bytes_.size()});
    return hold_.run();
  }

  // Some failures have rolled back by themselves. One of the rollback itself leaves the transaction
  // open; the next append starts here again.
  void roll_back() {
    if (::sqlite3_get_autocommit(db_.handle()) != 0) return;
    [[maybe_unused]] const auto status = rollback_.run();
  }

  Database db_;  // before the statements: they must be finalized first
  Statement begin_;
  Statement insert_;
  Statement hold_;
  Statement resolve_;
  Statement commit_;
  Statement rollback_;
  RowScratch scratch_;
  std::vector<std::byte> hold_bytes_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& folder) {
  auto db = open_for_writing(folder);
  if (!db) return std::move(db).forward();
  return SqliteStore::make(std::move(*db));
}

}  // namespace tollgate::ledger
