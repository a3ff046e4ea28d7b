// SQLite's C interface with owners and Results. Private to this folder.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate::ledger {

class Database;

// Parameters count from 1, columns from 0, as in SQLite. Text is bound without a copy: it must live
// until the next reset().
class Statement {
 public:
  void bind(int parameter, int64_t value);
  void bind(int parameter, std::string_view text);
  void bind(int parameter, std::span<const uint8_t> blob);
  // True: a row is there. False: done.
  Result<bool> step();
  // Runs to the end and resets.
  Status run();
  void reset() { ::sqlite3_reset(handle_.get()); }

  int64_t integer(int column) const { return ::sqlite3_column_int64(handle_.get(), column); }
  std::string_view text(int column) const;
  std::span<const uint8_t> blob(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

class Database {
 public:
  // One thread at a time uses a connection; waits up to five seconds for another's lock.
  static Result<Database> open(const std::string& path, int flags);

  Result<Statement> prepare(std::string_view sql);
  Status execute(const char* sql);
  Result<int64_t> integer(std::string_view sql);  // first column of the one row
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { ::sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// What the connection last failed at, with the file's path and what an operator can do.
Error sqlite_error(sqlite3* db, std::string_view verb);

}  // namespace tollgate::ledger
