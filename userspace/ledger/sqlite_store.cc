#include "userspace/ledger/columns.h"
#include "userspace/ledger/schema.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

class SqliteStore : public Store {
 public:
  static Result<std::unique_ptr<Store>> make(Database db) {
    auto begin = db.prepare("BEGIN IMMEDIATE");
    if (!begin) return std::move(begin).forward();
    auto insert = db.prepare(insert_sql());
    if (!insert) return std::move(insert).forward();
    auto commit = db.prepare("COMMIT");
    if (!commit) return std::move(commit).forward();
    auto rollback = db.prepare("ROLLBACK");
    if (!rollback) return std::move(rollback).forward();
    return std::unique_ptr<Store>(new SqliteStore(std::move(db), std::move(*begin),
                                                  std::move(*insert), std::move(*commit),
                                                  std::move(*rollback)));
  }

  // After a failed sync nothing is synced again and hoped for (a second fsync may lie): the
  // transaction is rolled back, and the next try writes its pages to the WAL anew before it syncs.
  Status append(std::span<const ringbuf::UsageRecord> records) override {
    if (records.empty()) return {};
    roll_back();
    auto status = begin_.run();
    for (size_t i = 0; status && i < records.size(); ++i) {
      bind_record(records[i], scratch_, insert_);
      status = insert_.run();
    }
    if (status) status = commit_.run();
    if (!status) roll_back();
    return status;
  }

 private:
  SqliteStore(Database db, Statement begin, Statement insert, Statement commit, Statement rollback)
      : db_(std::move(db)),
        begin_(std::move(begin)),
        insert_(std::move(insert)),
        commit_(std::move(commit)),
        rollback_(std::move(rollback)) {}

  // Some failures have rolled back by themselves. One of the rollback itself leaves the transaction
  // open; the next append starts here again.
  void roll_back() {
    if (::sqlite3_get_autocommit(db_.handle()) != 0) return;
    [[maybe_unused]] const auto status = rollback_.run();
  }

  Database db_;  // before the statements: they must be finalized first
  Statement begin_;
  Statement insert_;
  Statement commit_;
  Statement rollback_;
  RowScratch scratch_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& folder) {
  auto db = open_for_writing(folder);
  if (!db) return std::move(db).forward();
  return SqliteStore::make(std::move(*db));
}

}  // namespace tollgate::ledger
